//! Computes the row of an event in layout `aegis`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Nul;
use super::fields::{BIGINT, Fields, INT};
use super::tables::{Cell, Row};

/// The names of a player's columns, and the maximum lengths of four texts.
struct Columns {
    id: (&'static str, usize),
    name: (&'static str, usize),
    guild: (&'static str, usize),
    alliance: (&'static str, usize),
    item_power: &'static str,
    equipment: &'static str,
}

const KILLER: Columns = Columns {
    id: ("killerId", 64),
    name: ("killerName", 48),
    guild: ("killerGuild", 64),
    alliance: ("killerAlliance", 16),
    item_power: "killerAvgIP",
    equipment: "killerEquipment",
};
const VICTIM: Columns = Columns {
    id: ("victimId", 64),
    name: ("victimName", 48),
    guild: ("victimGuild", 64),
    alliance: ("victimAlliance", 16),
    item_power: "victimAvgIP",
    equipment: "victimEquipment",
};

/// The row of an event without other faults, the paths for which it must be rejected, and those for which it may be.
pub(super) fn read(
    event: &Map<String, Value>,
    nul: Nul,
) -> (Row, BTreeSet<String>, BTreeMap<String, &'static str>) {
    let mut fields = Fields::new(nul);
    let fame = fields.integer("TotalVictimKillFame", event.get("TotalVictimKillFame"), INT);
    let at = match fields.time("TimeStamp", event.get("TimeStamp")) {
        Cell::Time(micros) => Cell::Time(micros - micros.rem_euclid(1000)),
        other => other,
    };
    let mut row = Row::from([
        ("TimeStamp", at),
        ("TotalVictimKillFame", fame),
        ("battleAlbionId", fields.integer("BattleId", event.get("BattleId"), BIGINT)),
    ]);
    for (key, columns) in [("Killer", KILLER), ("Victim", VICTIM)] {
        if let Some(Value::Object(player)) = event.get(key) {
            read_player(key, player, &columns, &mut fields, &mut row);
        }
    }
    let (faults, doubts) = fields.into_findings();
    (row, faults, doubts)
}

fn read_player(
    key: &str,
    player: &Map<String, Value>,
    columns: &Columns,
    fields: &mut Fields,
    row: &mut Row,
) {
    for (name, (column, characters_max)) in [
        ("Id", columns.id),
        ("Name", columns.name),
        ("GuildName", columns.guild),
        ("AllianceName", columns.alliance),
    ] {
        let path = format!("{key}.{name}");
        let text = fields.text(&path, player.get(name));
        if matches!(&text, Cell::Text(text) if text.chars().count() > characters_max) {
            fields.fault(path);
        }
        row.insert(column, text);
    }
    let item_power = match fields.float(&format!("{key}.AverageItemPower"), player.get("AverageItemPower")) {
        Cell::Null => Cell::Float(0.0),
        power => power,
    };
    row.insert(columns.item_power, item_power);
    row.insert(columns.equipment, fields.json(&format!("{key}.Equipment"), player.get("Equipment")));
}
