//! The tables: columns, reading of stored rows, comparison.
//!
//! Invariant: every column is compared except `server` (a parameter), `loaded_at` and `ingestedAt` (not in the dump).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};

use postgres::Client;
use serde_json::Value;

/// The maximum number of differences in a report.
const DIFFERENCES_MAX: usize = 20;

/// One row without the key columns.
pub(crate) type Row = BTreeMap<&'static str, Cell>;

/// The rows of one game server, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tables {
    /// By event id.
    pub(crate) kill_event: BTreeMap<i64, Row>,
    /// By event id and player id.
    pub(crate) kill_player: BTreeMap<(i64, String), Row>,
    /// By event id and slot.
    pub(crate) kill_loot: BTreeMap<(i64, i16), Row>,
    /// The table `"KillEvent"` of layout `aegis`, by event id.
    pub(crate) aegis: BTreeMap<i64, Row>,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    /// Zeros of both signs are equal, as in PostgreSQL.
    Float(f64),
    Text(String),
    Bool(bool),
    Json(Document),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
}

/// A JSON document. Equal if no query can distinguish them: `1e1` equals `10`.
#[derive(Clone, Debug)]
pub(crate) struct Document(Value);

/// A slot of a player's equipment.
pub(super) struct Slot {
    /// Its key in the payload.
    pub(super) key: &'static str,
    /// The column of the item's type.
    pub(super) item: &'static str,
    /// The column of the item's quality.
    pub(super) quality: &'static str,
}

/// The slots, in the order of their columns.
pub(super) const SLOTS: [Slot; 10] = [
    slot("MainHand", "main_hand", "main_hand_quality"),
    slot("OffHand", "off_hand", "off_hand_quality"),
    slot("Head", "head", "head_quality"),
    slot("Armor", "armor", "armor_quality"),
    slot("Shoes", "shoes", "shoes_quality"),
    slot("Bag", "bag", "bag_quality"),
    slot("Cape", "cape", "cape_quality"),
    slot("Mount", "mount", "mount_quality"),
    slot("Potion", "potion", "potion_quality"),
    slot("Food", "food", "food_quality"),
];

/// The type of a column.
#[derive(Clone, Copy)]
enum Kind {
    Int,
    Float,
    Text,
    Bool,
    Json,
    Time,
}

type Column = (&'static str, Kind);

const EVENT_COLUMNS: [Column; 13] = [
    ("occurred_at", Kind::Time),
    ("battle_id", Kind::Int),
    ("fame", Kind::Int),
    ("killer_id", Kind::Text),
    ("victim_id", Kind::Text),
    ("participant_count", Kind::Int),
    ("group_size", Kind::Int),
    ("kill_area", Kind::Text),
    ("category", Kind::Text),
    ("kind", Kind::Text),
    ("location", Kind::Text),
    ("version", Kind::Int),
    ("gvg_match", Kind::Json),
];

/// Without the slots' columns.
const PLAYER_COLUMNS: [Column; 15] = [
    ("role", Kind::Text),
    ("in_group", Kind::Bool),
    ("name", Kind::Text),
    ("guild_id", Kind::Text),
    ("guild_name", Kind::Text),
    ("alliance_id", Kind::Text),
    ("alliance_name", Kind::Text),
    ("item_power", Kind::Float),
    ("kill_fame", Kind::Int),
    ("death_fame", Kind::Int),
    ("damage_done", Kind::Float),
    ("healing_done", Kind::Float),
    ("potion_count", Kind::Int),
    ("food_count", Kind::Int),
    ("main_hand_soul", Kind::Json),
];

const LOOT_COLUMNS: [Column; 4] =
    [("item", Kind::Text), ("quality", Kind::Int), ("count", Kind::Int), ("soul", Kind::Json)];

const AEGIS_COLUMNS: [Column; 15] = [
    ("TimeStamp", Kind::Time),
    ("TotalVictimKillFame", Kind::Int),
    ("battleAlbionId", Kind::Int),
    ("killerId", Kind::Text),
    ("killerName", Kind::Text),
    ("killerGuild", Kind::Text),
    ("killerAlliance", Kind::Text),
    ("killerAvgIP", Kind::Float),
    ("victimId", Kind::Text),
    ("victimName", Kind::Text),
    ("victimGuild", Kind::Text),
    ("victimAlliance", Kind::Text),
    ("victimAvgIP", Kind::Float),
    ("killerEquipment", Kind::Json),
    ("victimEquipment", Kind::Json),
];

/// The rows of layout `aegis` in `schema`.
pub(crate) fn read_aegis(client: &mut Client, schema: &str) -> Tables {
    let mut tables = Tables::default();
    let statement = select(schema, "KillEvent", &[("EventId", Kind::Int)], &AEGIS_COLUMNS);
    for row in client.query(&statement, &[]).expect("rows of \"KillEvent\"") {
        let (key, row) = read_row(&row, 1, &AEGIS_COLUMNS);
        insert(&mut tables.aegis, number(&key[0]), row);
    }
    tables
}

/// The rows of `server` in `schema` in layout `archive`.
pub(crate) fn read_tables(client: &mut Client, schema: &str, server: &str) -> Tables {
    let mut tables = Tables::default();
    let mut table = |name: &str, key: &[Column], columns: &[Column]| {
        let statement = format!("{} WHERE server::text = $1", select(schema, name, key, columns));
        let rows = client
            .query(&statement, &[&server])
            .unwrap_or_else(|error| panic!("{name} can't be read: {error:?}"));
        rows.iter().map(|row| read_row(row, key.len(), columns)).collect::<Vec<_>>()
    };
    let event_id = ("event_id", Kind::Int);

    for (key, row) in table("kill_event", &[event_id], &EVENT_COLUMNS) {
        insert(&mut tables.kill_event, number(&key[0]), row);
    }
    let player_columns = player_columns();
    for (key, row) in table("kill_player", &[event_id, ("player_id", Kind::Text)], &player_columns) {
        insert(&mut tables.kill_player, (number(&key[0]), key[1].clone()), row);
    }
    for (key, row) in table("kill_loot", &[event_id, ("slot", Kind::Int)], &LOOT_COLUMNS) {
        insert(&mut tables.kill_loot, (number(&key[0]), number(&key[1])), row);
    }
    tables
}

/// Panics with the first differences, if there are any.
#[track_caller]
pub(crate) fn assert_same(expected: &Tables, found: &Tables) {
    let differences = differences(expected, found);
    assert!(differences.is_empty(), "the tables differ:\n{}", differences.join("\n"));
}

/// The differences: counts of the tables first, then rows and columns by key, the first of each table.
pub(crate) fn differences(expected: &Tables, found: &Tables) -> Vec<String> {
    [
        table_differences("kill_event", &expected.kill_event, &found.kill_event),
        table_differences("kill_player", &expected.kill_player, &found.kill_player),
        table_differences("kill_loot", &expected.kill_loot, &found.kill_loot),
        table_differences("KillEvent", &expected.aegis, &found.aegis),
    ]
    .concat()
}

impl Tables {
    /// Adds the rows of events in `later` that are not here yet. Returns the number of events in `later`.
    pub(crate) fn add(&mut self, later: Tables) -> u64 {
        let ids = later.kill_event.keys().chain(later.aegis.keys()).copied();
        let is_known = |id: &i64| self.kill_event.contains_key(id) || self.aegis.contains_key(id);
        let known: BTreeSet<i64> = ids.filter(is_known).collect();
        let (duplicates, is_new) = (known.len(), |id: &i64| !known.contains(id));
        self.kill_event.extend(later.kill_event.into_iter().filter(|(id, _)| is_new(id)));
        self.kill_player.extend(later.kill_player.into_iter().filter(|((id, _), _)| is_new(id)));
        self.kill_loot.extend(later.kill_loot.into_iter().filter(|((id, _), _)| is_new(id)));
        self.aegis.extend(later.aegis.into_iter().filter(|(id, _)| is_new(id)));
        duplicates as u64
    }
}

impl Cell {
    /// A document, not NULL.
    pub(crate) fn json(value: Value) -> Self {
        Self::Json(Document(value))
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        same_json(&self.0, &other.0)
    }
}

const fn slot(key: &'static str, item: &'static str, quality: &'static str) -> Slot {
    Slot { key, item, quality }
}

fn player_columns() -> Vec<Column> {
    let slots = SLOTS.iter().flat_map(|slot| [(slot.item, Kind::Text), (slot.quality, Kind::Int)]);
    PLAYER_COLUMNS.into_iter().chain(slots).collect()
}

fn same_json(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_i128(), other.as_i128()) {
            (Some(one), Some(other)) => one == other,
            _ => one.as_f64() == other.as_f64(),
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_json(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(key, value)| other.get(key).is_some_and(|other| same_json(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

/// Selects every column as text, so that a column may have a narrower type than specified.
fn select(schema: &str, table: &str, key: &[Column], columns: &[Column]) -> String {
    let columns: Vec<String> =
        key.iter().chain(columns).map(|(name, kind)| expression(&format!("\"{name}\""), *kind)).collect();
    let schema = schema.replace('"', "\"\"");
    format!("SELECT {} FROM \"{schema}\".\"{table}\"", columns.join(", "))
}

/// An expression whose text preserves the value with any session settings.
fn expression(column: &str, kind: Kind) -> String {
    match kind {
        Kind::Int => format!("{column}::bigint::text"),
        Kind::Float => format!("encode(float8send({column}::float8), 'hex')"),
        Kind::Text => format!("{column}::text"),
        Kind::Bool => format!("{column}::boolean::text"),
        Kind::Json => format!("{column}::jsonb::text"),
        // In two parts, because before PostgreSQL 14 extract returns a float8, which cannot hold both.
        Kind::Time => format!(
            "(extract(epoch FROM date_trunc('second', {column}))::bigint * 1000000 \
             + extract(microseconds FROM {column})::bigint % 1000000)::text"
        ),
    }
}

fn read_row(row: &postgres::Row, key_columns: usize, columns: &[Column]) -> (Vec<String>, Row) {
    let key = (0..key_columns).map(|index| row.get(index)).collect();
    let cells = columns.iter().enumerate().map(|(index, (name, kind))| {
        let text: Option<String> = row.get(key_columns + index);
        (*name, text.map_or(Cell::Null, |text| cell(&text, *kind)))
    });
    (key, cells.collect())
}

fn cell(text: &str, kind: Kind) -> Cell {
    match kind {
        Kind::Int => Cell::Int(number(text)),
        Kind::Float => {
            Cell::Float(f64::from_bits(u64::from_str_radix(text, 16).expect("eight bytes in hex")))
        }
        Kind::Text => Cell::Text(text.to_owned()),
        Kind::Bool => Cell::Bool(text == "true"),
        Kind::Json => Cell::json(serde_json::from_str(text).expect("jsonb is JSON")),
        Kind::Time => Cell::Time(number(text)),
    }
}

fn number<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text:?} is no such number: {error:?}"))
}

fn insert<K: Ord + Debug>(table: &mut BTreeMap<K, Row>, key: K, row: Row) {
    let description = format!("{key:?}");
    assert!(table.insert(key, row).is_none(), "the key {description} is there twice");
}

fn table_differences<K: Ord + Debug>(
    table: impl Display,
    expected: &BTreeMap<K, Row>,
    found: &BTreeMap<K, Row>,
) -> Vec<String> {
    let mut differences = Vec::new();
    for (key, row) in expected {
        match found.get(key) {
            None => differences.push(format!("{table} {key:?}: the row is missing")),
            Some(other) => differences.extend(row_differences(&format!("{table} {key:?}"), row, other)),
        }
    }
    let unexpected = found.keys().filter(|key| !expected.contains_key(key));
    differences.extend(unexpected.map(|key| format!("{table} {key:?}: the row is unexpected")));

    let more = differences.len().saturating_sub(DIFFERENCES_MAX);
    differences.truncate(DIFFERENCES_MAX);
    if more > 0 {
        differences.push(format!("{table}: and {more} differences more"));
    }
    if !differences.is_empty() {
        differences.insert(0, format!("{table}: expected {} rows, found {}", expected.len(), found.len()));
    }
    differences
}

fn row_differences(place: &str, expected: &Row, found: &Row) -> Vec<String> {
    let mut columns: Vec<_> = expected.keys().chain(found.keys()).collect();
    columns.sort_unstable();
    columns.dedup();
    let differing = columns.into_iter().filter(|column| expected.get(*column) != found.get(*column));
    differing
        .map(|column| {
            let show = |row: &Row| {
                row.get(column).map_or_else(|| "no such column".to_owned(), |cell| format!("{cell:?}"))
            };
            format!("{place} {column}: expected {}, found {}", show(expected), show(found))
        })
        .collect()
}
