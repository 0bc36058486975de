//! Valid and invalid numbers in number fields.

use super::{Forge, NO_JSON, Verdict, at, rejected};

pub(super) fn add(forge: &mut Forge) {
    for id in [
        "9223372036854775808",
        "-9223372036854775809",
        "1.0",
        "1.5",
        "1e3",
        "-0",
        "\"17\"",
        "99999999999999999999999",
    ] {
        forge.add_with("an id that is no 64-bit integer", "/EventId", id, at("EventId"));
    }
    for id in ["-1", "0", "9223372036854775807", "-9223372036854775808"] {
        forge.add_with("an id at the limits", "/EventId", id, Verdict::Loaded);
    }
    for raw in [
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "0x10",
        "1_000",
        "--1",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul",
        "True",
    ] {
        forge.add_with("no number, in a kept field", "/Killer/AverageItemPower", raw, NO_JSON);
        forge.add_with("no number, in a field that is not kept", "/Killer/FameRatio", raw, NO_JSON);
    }
    forge.add_with("a number without bounds, kept", "/Killer/AverageItemPower", "1e999", rejected(None));
    forge.add_with("a number without bounds as an id", "/BattleId", "1e999", rejected(None));
    forge.add_with("a number without bounds, not kept", "/Killer/FameRatio", "-1e999", Verdict::Either);
    for (pointer, raw, field) in [
        ("/BattleId", "1.5", "BattleId"),
        ("/BattleId", "\"17\"", "BattleId"),
        ("/Killer/AverageItemPower", "1.7976931348623157e308", "Killer.AverageItemPower"),
        ("/Victim/AverageItemPower", "-1000000000001", "Victim.AverageItemPower"),
        ("/Killer/AverageItemPower", "5e-324", "Killer.AverageItemPower"),
        ("/Killer/AverageItemPower", "123456789012345678901234567890", "Killer.AverageItemPower"),
        ("/Participants/0/DamageDone", "1e13", "Participants[0].DamageDone"),
        ("/Participants/0/SupportHealingDone", "-1e308", "Participants[0].SupportHealingDone"),
        ("/TotalVictimKillFame", "241000.0", "TotalVictimKillFame"),
        ("/numberOfParticipants", "2147483648", "numberOfParticipants"),
        ("/groupMemberCount", "-2147483649", "groupMemberCount"),
        ("/Version", "-0", "Version"),
        ("/Killer/KillFame", "1e3", "Killer.KillFame"),
        ("/Victim/DeathFame", "9223372036854775808", "Victim.DeathFame"),
        ("/Participants/1/KillFame", "0.0", "Participants[1].KillFame"),
        ("/Killer/Equipment/MainHand/Quality", "32768", "Killer.Equipment.MainHand.Quality"),
        ("/GroupMembers/0/Equipment/MainHand/Quality", "2.0", "GroupMembers[0].Equipment.MainHand.Quality"),
        ("/Killer/Equipment/Potion/Count", "2147483648", "Killer.Equipment.Potion.Count"),
        ("/Victim/Inventory/7/Count", "\"525\"", "Victim.Inventory[7].Count"),
        ("/Victim/Inventory/7/Quality", "-32769", "Victim.Inventory[7].Quality"),
    ] {
        forge.add_with("a number that its column can't hold", pointer, raw, at(field));
    }
    for (pointer, raw) in [
        ("/TotalVictimKillFame", "-9223372036854775808"),
        ("/numberOfParticipants", "2147483647"),
        ("/Killer/Equipment/MainHand/Quality", "-32768"),
        ("/Killer/AverageItemPower", "1e12"),
        ("/Killer/AverageItemPower", "-1000000000000.0"),
        ("/Killer/AverageItemPower", "1e-100"),
        ("/Killer/AverageItemPower", "1e-400"),
        ("/Participants/0/DamageDone", "-0.0"),
        ("/Participants/0/DamageDone", "0.1234567890123456789012345678901234567890"),
        ("/Participants/0/DamageDone", "7"),
    ] {
        forge.add_with("a number at the limits", pointer, raw, Verdict::Loaded);
    }
}
