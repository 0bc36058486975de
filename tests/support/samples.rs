//! Events for tests: real ones if available, and a built one with all fields.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The dumps of real events next to the project, sorted by name, or none.
pub(crate) fn real_dumps() -> Option<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let dumps = dumps_in(&directory, "real-");
    (!dumps.is_empty()).then_some(dumps)
}

/// The real events, else those of `tests/fixtures`, else built ones: lines that each end in a line feed.
pub(crate) fn sample_events() -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let dumps = real_dumps().unwrap_or_else(|| dumps_in(&fixtures, ""));
    let mut events = Vec::new();
    for dump in &dumps {
        let text = fs::read(dump).unwrap_or_else(|error| panic!("{} can't be read: {error}", dump.display()));
        events.extend_from_slice(&text);
        if !text.ends_with(b"\n") {
            events.push(b'\n');
        }
    }
    if events.is_empty() {
        for id in 1..=20 {
            events.extend_from_slice(format!("{}\n", event(id)).as_bytes());
        }
    }
    events
}

/// An event with every stored field, and some others.
///
/// Its players: a killer in both lists, a victim in neither, a helper in both lists, a stranger who took part but is in
/// no group, and a healer who is only in the group.
pub(crate) fn event(id: i64) -> Value {
    let mut killer = player("killer", 120_500);
    killer["DamageDone"] = Value::Null;
    let mut victim = player("victim", 0);
    victim["DeathFame"] = json!(241_000);
    let mut slots = vec![Value::Null; 48];
    slots[0] = item("T4_BAG", 1);
    slots[7] = item("T6_RUNE", 525);
    slots[47] = item("T8_2H_BOW@3", 1);
    slots[47]["LegendarySoul"] = soul("inventory");
    victim["Inventory"] = Value::Array(slots);

    json!({
        "groupMemberCount": 3,
        "numberOfParticipants": 3,
        "EventId": id,
        "TimeStamp": "2024-08-18T20:45:46.725895400Z",
        "Version": 4,
        "Killer": killer,
        "Victim": victim,
        "TotalVictimKillFame": 241_000,
        "Location": "Martlock",
        "Participants": [
            participant("killer", 812.5, 0.0),
            participant("helper", 0.0, 1_030.25),
            participant("stranger", 97.0, 0.0),
        ],
        "GroupMembers": [member("killer", 120_500), member("helper", 60_250), member("healer", 60_250)],
        "GvGMatch": {"MatchType": "20v20", "Points": [150, 37.5], "Guild": null},
        "BattleId": id - 1,
        "KillArea": "OPEN_WORLD",
        "Category": "solo",
        "Type": "KILL",
        "lootValue": {"equipment": 1_234_567, "inventory": null},
    })
}

/// [`event`] with each kind of part once: few equipment slots, and in the inventory an item, a gap and an item with a
/// soul.
pub(crate) fn lean_event(id: i64) -> Value {
    let mut event = event(id);
    let slots = event["Victim"]["Inventory"].as_array().expect("slots").clone();
    event["Victim"]["Inventory"] = json!([slots[0], null, slots[47]]);
    for part in event.as_object_mut().expect("an object").values_mut() {
        match part {
            Value::Array(players) => players.iter_mut().for_each(|player| keep_slots(player, &["MainHand"])),
            player @ Value::Object(_) => keep_slots(player, &["MainHand", "Potion", "Cape"]),
            _ => {}
        }
    }
    event
}

/// The files in `directory` whose name begins with `prefix` and ends in `.ndjson`, sorted. Empty without the directory.
fn dumps_in(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut dumps: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory can be read to its end").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(prefix) && name.ends_with(".ndjson")
        })
        .collect();
    dumps.sort();
    dumps
}

fn participant(name: &str, damage: f64, healing: f64) -> Value {
    let mut participant = player(name, 0);
    participant["DamageDone"] = json!(damage);
    participant["SupportHealingDone"] = json!(healing);
    participant
}

/// Group members have no item power, and only a main hand.
fn member(name: &str, kill_fame: i64) -> Value {
    let mut member = player(name, kill_fame);
    member["AverageItemPower"] = json!(0.0);
    for (slot, item) in member["Equipment"].as_object_mut().expect("equipment") {
        if slot != "MainHand" {
            *item = Value::Null;
        }
    }
    member
}

fn player(name: &str, kill_fame: i64) -> Value {
    let mut main_hand = item("T8_2H_BOW@3", 1);
    main_hand["LegendarySoul"] = soul(name);
    json!({
        "AverageItemPower": 1264.71912,
        "Equipment": {
            "MainHand": main_hand,
            "OffHand": item("T5_OFF_TORCH", 1),
            "Head": item("T6_HEAD_LEATHER_MORGANA", 1),
            "Armor": item("T6_ARMOR_LEATHER_HELL", 1),
            "Shoes": item("T6_SHOES_PLATE_SET1", 1),
            "Bag": item("T6_BAG_INSIGHT@2", 1),
            "Cape": item("T4_CAPEITEM_FW_CAERLEON", 1),
            "Mount": item("UNIQUE_MOUNT_DIVINE_OWL_ADC", 1),
            "Potion": item("T7_POTION_REVIVE", 6),
            "Food": item("T7_MEAL_PIE", 3),
        },
        "Inventory": [],
        "Name": format!("The {name}"),
        "Id": format!("{name}-id"),
        "GuildName": format!("Guild of the {name}"),
        "GuildId": format!("{name}-guild-id"),
        "AllianceName": "ALLY",
        "AllianceId": format!("{name}-alliance-id"),
        "AllianceTag": "",
        "Avatar": "AVATAR_09",
        "AvatarRing": "RING1",
        "DeathFame": 0,
        "KillFame": kill_fame,
        "FameRatio": 875_999.99,
        "LifetimeStatistics": {"PvE": {"Total": 0}, "Timestamp": null},
    })
}

fn keep_slots(player: &mut Value, slots: &[&str]) {
    if let Some(equipment) = player.get_mut("Equipment").and_then(Value::as_object_mut) {
        equipment.retain(|slot, _| slots.contains(&slot.as_str()));
    }
}

fn item(kind: &str, count: i64) -> Value {
    json!({
        "Type": kind,
        "Count": count,
        "Quality": 2,
        "ActiveSpells": ["SPELL"],
        "PassiveSpells": [],
        "LegendarySoul": null,
    })
}

fn soul(name: &str) -> Value {
    json!({
        "id": format!("soul-of-{name}"),
        "subtype": 1,
        "era": 0,
        "name": null,
        "attunement": 571_997_723_623_i64,
        "traits": [{"roll": 0.123_456_789_012_345_67, "trait": "TRAIT_CDR"}],
    })
}
