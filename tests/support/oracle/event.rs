//! Computes the rows of an event, and finds its faults.
//!
//! Invariant: all faults are found, because it is not specified which one a program meets first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::{BIGINT, Fields, INT, SMALLINT, Weight};
use super::tables::{Cell, Row, SLOTS, Tables};
use super::{Layout, Nul, aegis};

/// The contents of an event.
pub(super) struct Reading {
    pub(super) id: Option<i64>,
    /// Paths of the fields for which it must be rejected.
    pub(super) faults: BTreeSet<String>,
    /// Paths of the fields for which it may be rejected, with the reason.
    pub(super) doubts: BTreeMap<String, &'static str>,
    layout: Layout,
    event: Row,
    players: BTreeMap<String, Row>,
    loot: BTreeMap<i16, Row>,
}

impl Reading {
    /// The rows, meaningful only without faults.
    pub(super) fn tables(self, id: i64) -> Tables {
        if self.layout == Layout::Aegis {
            return Tables { aegis: BTreeMap::from([(id, self.event)]), ..Tables::default() };
        }
        Tables {
            aegis: BTreeMap::new(),
            kill_event: BTreeMap::from([(id, self.event)]),
            kill_player: self.players.into_iter().map(|(player, row)| ((id, player), row)).collect(),
            kill_loot: self.loot.into_iter().map(|(slot, row)| ((id, slot), row)).collect(),
        }
    }
}

/// Reads one event. A fault in layout `archive` is one in `aegis` too.
pub(super) fn read(layout: Layout, event: &Map<String, Value>, nul: Nul) -> Reading {
    let reading = Reading {
        layout,
        id: None,
        faults: BTreeSet::new(),
        doubts: BTreeMap::new(),
        event: Row::new(),
        players: BTreeMap::new(),
        loot: BTreeMap::new(),
    };
    let mut reader = Reader { fields: Fields::new(nul), reading };
    let records = reader.records(event);
    reader.event(event, &records);
    reader.players(&records);
    if let Some(Value::Object(victim)) = event.get("Victim") {
        reader.loot(victim.get("Inventory"));
    }
    let (faults, doubts) = reader.fields.into_findings();
    let mut reading = Reading { faults, doubts, ..reader.reading };
    if layout == Layout::Aegis {
        let (row, faults, doubts) = aegis::read(event, nul);
        reading.event = row;
        reading.faults.extend(faults);
        reading.doubts.extend(doubts);
    }
    reading
}

/// The place of a player's record, richest first. This is also the order of roles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Killer,
    Victim,
    Participants,
    GroupMembers,
}

impl Source {
    fn role(self) -> &'static str {
        match self {
            Self::Killer => "killer",
            Self::Victim => "victim",
            Self::Participants => "participant",
            Self::GroupMembers => "group",
        }
    }
}

/// One record of a player.
struct Record<'a> {
    source: Source,
    path: String,
    /// None if it is faulty.
    id: Option<String>,
    fields: &'a Map<String, Value>,
}

struct Reader {
    fields: Fields,
    reading: Reading,
}

impl Reader {
    fn event(&mut self, event: &Map<String, Value>, records: &[Record]) {
        let id_of = |source| {
            let record = records.iter().find(|record| record.source == source);
            record.and_then(|record| record.id.clone()).map_or(Cell::Null, Cell::Text)
        };
        let id = self.fields.integer("EventId", event.get("EventId"), BIGINT);
        self.fields.need("EventId", &id);
        if let Cell::Int(id) = id {
            self.reading.id = Some(id);
        }
        let occurred_at = self.fields.time("TimeStamp", event.get("TimeStamp"));
        self.fields.need("TimeStamp", &occurred_at);
        let fame = self.fields.integer("TotalVictimKillFame", event.get("TotalVictimKillFame"), BIGINT);
        self.fields.need("TotalVictimKillFame", &fame);
        let participants =
            self.fields.integer("numberOfParticipants", event.get("numberOfParticipants"), INT);
        self.reading.event = Row::from([
            ("occurred_at", occurred_at),
            ("battle_id", self.fields.integer("BattleId", event.get("BattleId"), BIGINT)),
            ("fame", fame),
            ("killer_id", id_of(Source::Killer)),
            ("victim_id", id_of(Source::Victim)),
            ("participant_count", participants),
            ("group_size", self.fields.integer("groupMemberCount", event.get("groupMemberCount"), INT)),
            ("kill_area", self.fields.text("KillArea", event.get("KillArea"))),
            ("category", self.fields.text("Category", event.get("Category"))),
            ("kind", self.fields.text("Type", event.get("Type"))),
            ("location", self.fields.text("Location", event.get("Location"))),
            ("version", self.fields.integer("Version", event.get("Version"), INT)),
            ("gvg_match", self.fields.json("GvGMatch", event.get("GvGMatch"))),
        ]);
    }

    /// Every record of a player, richest first.
    fn records<'a>(&mut self, event: &'a Map<String, Value>) -> Vec<Record<'a>> {
        let mut records = Vec::new();
        for (source, key) in [(Source::Killer, "Killer"), (Source::Victim, "Victim")] {
            records.extend(self.record(source, key.to_owned(), event.get(key)));
        }
        for (source, key) in [(Source::Participants, "Participants"), (Source::GroupMembers, "GroupMembers")]
        {
            for (index, player) in self.fields.list(key, event.get(key)).iter().enumerate() {
                records.extend(self.record(source, format!("{key}[{index}]"), Some(player)));
            }
        }
        records
    }

    fn record<'a>(&mut self, source: Source, path: String, value: Option<&'a Value>) -> Option<Record<'a>> {
        let Some(Value::Object(fields)) = value else {
            self.fields.fault(path);
            return None;
        };
        let id_path = format!("{path}.Id");
        let id = if let Cell::Text(id) = self.fields.indexed_text(&id_path, fields.get("Id")) {
            Some(id)
        } else {
            self.fields.fault(id_path);
            None
        };
        Some(Record { source, path, id, fields })
    }

    /// The rows of the players. The first record of an Id is the richest, and the first of its list.
    fn players(&mut self, records: &[Record]) {
        let mut known = BTreeSet::new();
        let fame_order = [Source::Killer, Source::Victim, Source::GroupMembers, Source::Participants];
        for record in records {
            let is_richest = record.id.as_ref().is_none_or(|id| known.insert(id));
            self.fields.weight = if is_richest { Weight::Kept } else { Weight::Spare };
            let mut row = self.player(record);
            self.fields.weight = Weight::Kept;

            let (Some(id), true) = (&record.id, is_richest) else {
                continue;
            };
            let first_in = |source: Source| {
                records.iter().find(|other| other.source == source && other.id.as_ref() == Some(id))
            };
            row.insert("role", Cell::Text(record.source.role().to_owned()));
            row.insert("in_group", Cell::Bool(first_in(Source::GroupMembers).is_some()));
            let kill_fame = match fame_order.into_iter().find_map(first_in) {
                Some(source) => {
                    let path = format!("{}.KillFame", source.path);
                    self.fields.integer(&path, source.fields.get("KillFame"), BIGINT)
                }
                None => Cell::Null,
            };
            row.insert("kill_fame", kill_fame);
            for (column, key) in [("damage_done", "DamageDone"), ("healing_done", "SupportHealingDone")] {
                let done = match first_in(Source::Participants) {
                    Some(source) => {
                        self.fields.float(&format!("{}.{key}", source.path), source.fields.get(key))
                    }
                    None => Cell::Null,
                };
                row.insert(column, done);
            }
            self.reading.players.insert(id.clone(), row);
        }
    }

    /// The values of a single record, and the faults of all its fields.
    fn player(&mut self, record: &Record) -> Row {
        let path = |key: &str| format!("{}.{key}", record.path);
        let field = |key: &str| record.fields.get(key);
        let name = self.fields.text(&path("Name"), field("Name"));
        if matches!(record.source, Source::Killer | Source::Victim) {
            self.fields.need(&path("Name"), &name);
        }
        let item_power = match self.fields.float(&path("AverageItemPower"), field("AverageItemPower")) {
            Cell::Float(0.0) if record.source == Source::GroupMembers => Cell::Null,
            power => power,
        };
        let mut row = Row::from([
            ("name", name),
            ("guild_id", self.fields.indexed_text(&path("GuildId"), field("GuildId"))),
            ("guild_name", self.fields.indexed_text(&path("GuildName"), field("GuildName"))),
            ("alliance_id", self.fields.indexed_text(&path("AllianceId"), field("AllianceId"))),
            ("alliance_name", self.fields.indexed_text(&path("AllianceName"), field("AllianceName"))),
            ("item_power", item_power),
            ("death_fame", self.fields.integer(&path("DeathFame"), field("DeathFame"), BIGINT)),
        ]);
        self.fields.integer(&path("KillFame"), field("KillFame"), BIGINT);
        let weight = self.fields.weight;
        if record.source != Source::Participants {
            self.fields.weight = Weight::Ignored;
        }
        self.fields.float(&path("DamageDone"), field("DamageDone"));
        self.fields.float(&path("SupportHealingDone"), field("SupportHealingDone"));
        self.fields.weight = weight;

        self.equipment(&path("Equipment"), field("Equipment"), &mut row);
        row
    }

    fn equipment(&mut self, path: &str, value: Option<&Value>, row: &mut Row) {
        let equipment = self.fields.object(path, value);
        for slot in SLOTS {
            let path = format!("{path}.{}", slot.key);
            let item = self.fields.object(&path, equipment.and_then(|equipment| equipment.get(slot.key)));
            let field = |key: &str| item.and_then(|item| item.get(key));
            row.insert(slot.item, self.fields.text(&format!("{path}.Type"), field("Type")));
            row.insert(
                slot.quality,
                self.fields.integer(&format!("{path}.Quality"), field("Quality"), SMALLINT),
            );
            if slot.key == "MainHand" {
                let soul = self.fields.json(&format!("{path}.LegendarySoul"), field("LegendarySoul"));
                row.insert("main_hand_soul", soul);
            }
            let count_path = format!("{path}.Count");
            let column = match slot.key {
                "Potion" => "potion_count",
                "Food" => "food_count",
                _ => {
                    let weight = std::mem::replace(&mut self.fields.weight, Weight::Ignored);
                    self.fields.integer(&count_path, field("Count"), INT);
                    self.fields.weight = weight;
                    continue;
                }
            };
            row.insert(column, self.fields.integer(&count_path, field("Count"), INT));
        }
    }

    fn loot(&mut self, inventory: Option<&Value>) {
        for (index, value) in self.fields.list("Victim.Inventory", inventory).iter().enumerate() {
            let path = format!("Victim.Inventory[{index}]");
            let Some(item) = self.fields.object(&path, Some(value)) else {
                continue;
            };
            let row = Row::from([
                ("item", self.fields.text(&format!("{path}.Type"), item.get("Type"))),
                ("quality", self.fields.integer(&format!("{path}.Quality"), item.get("Quality"), SMALLINT)),
                ("count", self.fields.integer(&format!("{path}.Count"), item.get("Count"), INT)),
                ("soul", self.fields.json(&format!("{path}.LegendarySoul"), item.get("LegendarySoul"))),
            ]);
            match i16::try_from(index) {
                Ok(slot) => drop(self.reading.loot.insert(slot, row)),
                Err(_) => self.fields.fault(path),
            }
        }
    }
}
