//! Decodes encoded rows: binary COPY bytes to the oracle's tables.
//!
//! Invariant: the format follows PostgreSQL's documentation. Only the names and types of columns come from the program,
//! as in its COPY statements.

use std::collections::{BTreeMap, BTreeSet};

use aegis_kills::internals::Server;
use aegis_kills::internals::{ColumnType, Layout, Rows, Table};

use super::oracle::{Cell, Row, Tables};

/// 2000-01-01, PostgreSQL's epoch, in microseconds since 1970-01-01.
const YEAR_2000_MICROS: i64 = 10_957 * 24 * 60 * 60 * 1_000_000;

/// The contents of the tables after `rows`. The first event of an id wins.
pub(crate) fn tables(rows: &Rows, layout: Layout, server: Server) -> Tables {
    let mut tables = Tables::default();
    let mut known = BTreeSet::new();
    for (event, encoded) in rows.events().iter().enumerate() {
        if !known.insert(encoded.id) {
            continue;
        }
        for (index, table) in layout.tables().iter().enumerate() {
            for row in decode(rows.of(event, index), table) {
                insert(&mut tables, table.name, row, encoded.id, server);
            }
        }
    }
    tables
}

/// Decodes the rows of `bytes`, which have neither header nor trailer.
fn decode(mut bytes: &[u8], table: &Table) -> Vec<BTreeMap<&'static str, Cell>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let count = i16::from_be_bytes(take(&mut bytes));
        assert_eq!(usize::try_from(count), Ok(table.columns.len()), "{}: fields of a row", table.name);
        let cells = table.columns.iter().map(|column| {
            let length = i32::from_be_bytes(take(&mut bytes));
            let Ok(length) = usize::try_from(length) else {
                assert_eq!(length, -1, "{}: the length of a null", column.name);
                assert!(!column.needed, "{} is never null", column.name);
                return (column.name, Cell::Null);
            };
            let (field, rest) = bytes.split_at(length);
            bytes = rest;
            (column.name, cell(field, column.kind))
        });
        rows.push(cells.collect());
    }
    rows
}

fn cell(mut field: &[u8], kind: ColumnType) -> Cell {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).expect("text is UTF-8");
        assert!(!text.contains('\0'), "no text holds a NUL: {text:?}");
        text.to_owned()
    };
    let cell = match kind {
        ColumnType::Server
        | ColumnType::Role
        | ColumnType::Id
        | ColumnType::Text
        | ColumnType::Varchar(_) => {
            return Cell::Text(text(field));
        }
        ColumnType::Jsonb => {
            assert_eq!(field[0], 1, "the version of jsonb");
            let document = serde_json::from_str(&text(&field[1..])).expect("jsonb is JSON");
            assert!(!holds_nul(&document), "no document holds a NUL: {document}");
            return Cell::json(document);
        }
        ColumnType::Int2 => Cell::Int(i16::from_be_bytes(take(&mut field)).into()),
        ColumnType::Int4 => Cell::Int(i32::from_be_bytes(take(&mut field)).into()),
        ColumnType::Int8 => Cell::Int(i64::from_be_bytes(take(&mut field))),
        ColumnType::Float8 => Cell::Float(f64::from_be_bytes(take(&mut field))),
        ColumnType::Timestamptz | ColumnType::TimestampMs => {
            Cell::Time(i64::from_be_bytes(take(&mut field)) + YEAR_2000_MICROS)
        }
        ColumnType::Bool => {
            let [byte] = take(&mut field);
            assert!(byte < 2, "a boolean is 0 or 1");
            Cell::Bool(byte == 1)
        }
    };
    assert!(field.is_empty(), "{kind:?} has a fixed length");
    cell
}

fn holds_nul(document: &serde_json::Value) -> bool {
    match document {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(values) => values.iter().any(holds_nul),
        serde_json::Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value))
        }
        _ => false,
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = bytes.split_first_chunk().expect("no field is cut off");
    *bytes = rest;
    *taken
}

fn insert(tables: &mut Tables, table: &str, mut row: Row, event: i64, server: Server) {
    if table == "KillEvent" {
        assert_eq!(row.remove("EventId"), Some(Cell::Int(event)), "{table}: the event");
        assert!(tables.aegis.insert(event, row).is_none(), "{table}: the key {event} is there twice");
        return;
    }
    assert_eq!(row.remove("server"), Some(Cell::Text(server.name().to_owned())), "{table}: the server");
    assert_eq!(row.remove("event_id"), Some(Cell::Int(event)), "{table}: the event");
    let old = match table {
        "kill_event" => tables.kill_event.insert(event, row),
        "kill_player" => match row.remove("player_id") {
            Some(Cell::Text(player)) => tables.kill_player.insert((event, player), row),
            other => panic!("a player's id: {other:?}"),
        },
        "kill_loot" => match row.remove("slot") {
            Some(Cell::Int(slot)) => {
                tables.kill_loot.insert((event, i16::try_from(slot).expect("a smallint")), row)
            }
            other => panic!("a slot: {other:?}"),
        },
        other => panic!("a table that the oracle does not know: {other}"),
    };
    assert!(old.is_none(), "{table}: a key of event {event} is there twice");
}
