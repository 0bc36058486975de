//! Compares the rows of an event as they were encoded with the rows that the database returns, both as the bytes of binary
//! `COPY`.
//!
//! Invariant: columns are compared by their bytes, which are equal exactly when the values are; `jsonb` is compared by value,
//! as the database stores it in a form of its own.

use super::json_value;
use super::table::{Column, ColumnType, Table};
use jiff::Timestamp;
use std::fmt;

/// PostgreSQL counts time from 2000-01-01 UTC; this is that day in microseconds since 1970.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// The most characters of a value that a [`Difference`] shows.
const SHOWN_CHARS_MAX: usize = 60;

/// The rows of one table in a stream of binary `COPY`, without its header and trailer.
#[derive(Debug, Clone)]
pub struct RowReader<'b> {
    bytes: &'b [u8],
}

/// The stream of rows is not what binary `COPY` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database sent rows that are not in the format of binary COPY")]
pub struct MalformedRows;

/// One row, cut into its fields.
#[derive(Debug, Clone)]
pub struct RowFields<'b> {
    /// The bytes of the whole row.
    bytes: &'b [u8],
    /// The values in the order of the columns; none for NULL.
    fields: Vec<Option<&'b [u8]>>,
}

/// How the stored rows of an event differ from those of the dump: the first difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// Which row of the event, such as `slot 4`; empty in a table that has one row per event.
    pub row: String,
    /// What is different.
    pub kind: DifferenceKind,
}

/// What is different in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The row is not stored.
    Missing,
    /// The row is stored, and the dump has none.
    Extra,
    /// The values of a column, shortened.
    Column {
        /// The column.
        name: &'static str,
        /// The value in the database.
        stored: String,
        /// The value in the dump.
        expected: String,
    },
}

impl<'b> RowReader<'b> {
    /// The rows in a whole answer to `COPY … TO STDOUT (FORMAT binary)`.
    ///
    /// # Errors
    ///
    /// The header or the trailer is missing.
    pub fn of_answer(answer: &'b [u8]) -> Result<Self, MalformedRows> {
        let body = answer.strip_prefix(super::COPY_HEADER).ok_or(MalformedRows)?;
        Ok(Self { bytes: body.strip_suffix(super::COPY_TRAILER).ok_or(MalformedRows)? })
    }

    /// The rows in bytes without header and trailer.
    pub fn of_rows(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// Cuts the next row off.
    ///
    /// # Errors
    ///
    /// The bytes end within a row.
    pub fn next_row(&mut self) -> Result<Option<RowFields<'b>>, MalformedRows> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let whole = self.bytes;
        let count = i16::from_be_bytes(self.take()?);
        let mut fields = Vec::with_capacity(usize::try_from(count).map_err(|_| MalformedRows)?);
        for _ in 0..count {
            fields.push(match usize::try_from(i32::from_be_bytes(self.take()?)) {
                Ok(length) => {
                    let (field, rest) = self.bytes.split_at_checked(length).ok_or(MalformedRows)?;
                    self.bytes = rest;
                    Some(field)
                }
                Err(_) => None,
            });
        }
        Ok(Some(RowFields { bytes: &whole[..whole.len() - self.bytes.len()], fields }))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], MalformedRows> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(MalformedRows)?;
        self.bytes = rest;
        Ok(*taken)
    }
}

impl RowFields<'_> {
    /// The event's id.
    ///
    /// # Errors
    ///
    /// The row has no such column, or it is not of 64 bits.
    pub fn event_id(&self, table: &Table) -> Result<i64, MalformedRows> {
        let position = table.columns.iter().position(|column| column.name == table.id);
        let field = position.and_then(|position| self.fields.get(position).copied().flatten());
        Ok(i64::from_be_bytes(field.ok_or(MalformedRows)?.try_into().map_err(|_| MalformedRows)?))
    }

    /// What tells the row from the others of its event: the last column of the key, where the key has more than the event.
    fn name(&self, table: &Table) -> String {
        match own_key(table) {
            Some((position, column)) => {
                format!("{} {}", column.name, shown(column.kind, self.fields[position]))
            }
            None => String::new(),
        }
    }

    fn own_key_value(&self, table: &Table) -> Option<&[u8]> {
        own_key(table).and_then(|(position, _)| self.fields[position])
    }
}

/// The column that tells the rows of one event apart, and its position.
fn own_key(table: &Table) -> Option<(usize, &'static Column)> {
    let last = table.key.last().filter(|&&last| last != table.id)?;
    table.columns.iter().enumerate().find(|(_, column)| column.name == *last)
}

/// The first difference between the rows of one event in a table: those of the dump, and those that are stored.
///
/// # Errors
///
/// The rows of the dump are not what the encoder writes.
pub fn first_difference(
    table: &Table,
    expected: &[u8],
    stored: &[RowFields<'_>],
) -> Result<Option<Difference>, MalformedRows> {
    let mut reader = RowReader::of_rows(expected);
    let mut matched = 0;
    while let Some(row) = reader.next_row()? {
        // Both sides come in the order of the key, so that the row is nearly always the next one.
        let is_same_row = |other: &&RowFields<'_>| other.own_key_value(table) == row.own_key_value(table);
        let found = stored.get(matched).filter(is_same_row).or_else(|| stored.iter().find(is_same_row));
        let Some(found) = found else {
            return Ok(Some(Difference::new(table, &row, DifferenceKind::Missing)));
        };
        matched += 1;
        if found.bytes != row.bytes
            && let Some(kind) = different_column(table, &row, found)
        {
            return Ok(Some(Difference::new(table, &row, kind)));
        }
    }
    if matched == stored.len() {
        return Ok(None);
    }
    let extra = stored.iter().find(|row| !has_row(table, expected, row));
    Ok(extra.map(|row| Difference::new(table, row, DifferenceKind::Extra)))
}

fn has_row(table: &Table, expected: &[u8], wanted: &RowFields<'_>) -> bool {
    let mut reader = RowReader::of_rows(expected);
    while let Ok(Some(row)) = reader.next_row() {
        if row.own_key_value(table) == wanted.own_key_value(table) {
            return true;
        }
    }
    false
}

fn different_column(
    table: &Table,
    expected: &RowFields<'_>,
    stored: &RowFields<'_>,
) -> Option<DifferenceKind> {
    let pairs = expected.fields.iter().zip(&stored.fields);
    table
        .columns
        .iter()
        .zip(pairs)
        .find(|(column, (expected, stored))| !is_equal(column, **expected, **stored))
        .map(|(column, (expected, stored))| DifferenceKind::Column {
            name: column.name,
            stored: shown(column.kind, *stored),
            expected: shown(column.kind, *expected),
        })
}

fn is_equal(column: &Column, expected: Option<&[u8]>, stored: Option<&[u8]>) -> bool {
    match (expected, stored) {
        // An update leaves what is known there.
        (None, _) if column.lasting => true,
        (Some(expected), Some(stored)) if column.kind == ColumnType::Jsonb => {
            expected == stored || json_value::is_equal(json_text(expected), json_text(stored))
        }
        (expected, stored) => expected == stored,
    }
}

/// The text of a `jsonb` value, which follows its version.
fn json_text(field: &[u8]) -> &[u8] {
    field.split_first().map_or(field, |(_, text)| text)
}

impl Difference {
    fn new(table: &Table, row: &RowFields<'_>, kind: DifferenceKind) -> Self {
        Self { table: table.name, row: row.name(table), kind }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, row, kind } = self;
        write!(f, "{table}")?;
        if !row.is_empty() {
            write!(f, " {row}")?;
        }
        match kind {
            DifferenceKind::Missing => write!(f, ": row is missing"),
            DifferenceKind::Extra => write!(f, ": row is not in the dump"),
            DifferenceKind::Column { name, stored, expected } => {
                write!(f, ": {name} is {stored}, in the dump {expected}")
            }
        }
    }
}

/// A value as a person reads it, without control characters.
fn shown(kind: ColumnType, field: Option<&[u8]>) -> String {
    let Some(field) = field else { return "NULL".to_owned() };
    let integer = || match *field {
        [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        _ => field.try_into().ok().map(i64::from_be_bytes),
    };
    let text = |field| format!("{:?}", shortened(&String::from_utf8_lossy(field)));
    match kind {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => integer().map(|value| value.to_string()),
        ColumnType::Float8 => field.try_into().ok().map(|bytes| f64::from_be_bytes(bytes).to_string()),
        ColumnType::Bool => Some((field != [0]).to_string()),
        ColumnType::Timestamptz | ColumnType::TimestampMs => integer()
            .and_then(|value| value.checked_add(POSTGRES_EPOCH_US))
            .and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok())
            .map(|moment| moment.to_string()),
        ColumnType::Jsonb => Some(text(json_text(field))),
        ColumnType::Server
        | ColumnType::Role
        | ColumnType::Id
        | ColumnType::Text
        | ColumnType::Varchar(_) => Some(text(field)),
    }
    .unwrap_or_else(|| text(field))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::copy::Row;
    use super::super::table::ColumnType::{Int2, Int8, Jsonb, Text};
    use super::super::table::{Keeper, lasting, needed, optional};
    use super::*;

    static COLUMNS: [Column; 5] = [
        needed("event_id", Int8),
        needed("slot", Int2),
        optional("item", Text),
        optional("soul", Jsonb),
        lasting("battle", Int8),
    ];

    const TABLE: Table = Table {
        name: "kill_loot",
        columns: &COLUMNS,
        defaulted: &[],
        id: "event_id",
        key: &["event_id", "slot"],
        indexes: &[],
        keeper: Keeper::Us,
    };

    fn row(slot: i16, item: Option<&str>, soul: Option<&str>, battle: Option<i64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut row = Row::begin(&mut bytes, &COLUMNS);
        row.int8(7);
        row.int2(slot);
        row.optional_text(item);
        row.optional_jsonb(soul);
        row.optional_int8(battle);
        row.end();
        bytes
    }

    fn check(expected: &[Vec<u8>], stored: &[Vec<u8>], difference: Option<&str>) {
        let (expected, stored) = (expected.concat(), stored.concat());
        let mut reader = RowReader::of_rows(&stored);
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row().expect("rows are whole") {
            assert_eq!(row.event_id(&TABLE), Ok(7));
            rows.push(row);
        }
        let found = first_difference(&TABLE, &expected, &rows).expect("rows are whole");
        assert_eq!(found.map(|found| found.to_string()).as_deref(), difference);
    }

    #[test]
    fn differences() {
        let (one, two) = (row(1, Some("A"), None, None), row(2, Some("B"), None, None));
        check(&[one.clone(), two.clone()], &[one.clone(), two.clone()], None);
        check(&[one.clone(), two.clone()], &[two.clone(), one.clone()], None);
        check(&[], &[], None);
        check(&[one.clone(), two.clone()], &[one.clone()], Some("kill_loot slot 2: row is missing"));
        check(&[two.clone()], &[one.clone(), two.clone()], Some("kill_loot slot 1: row is not in the dump"));
        check(
            std::slice::from_ref(&one),
            &[row(1, Some("X\u{1b}"), None, None)],
            Some(r#"kill_loot slot 1: item is "X\u{1b}", in the dump "A""#),
        );
        check(
            std::slice::from_ref(&one),
            &[row(1, None, None, None)],
            Some(r#"kill_loot slot 1: item is NULL, in the dump "A""#),
        );
    }

    #[test]
    fn json_is_compared_by_value() {
        let stored = row(1, None, Some(r#"{"a": 1.0, "bb": [1, "é"]}"#), None);
        check(
            &[row(1, None, Some(r#"{"bb":[1e0,"\u00e9"],"a":1.0}"#), None)],
            std::slice::from_ref(&stored),
            None,
        );
        check(
            &[row(1, None, Some(r#"{"bb":[2,"é"],"a":1.0}"#), None)],
            &[stored],
            Some(
                r#"kill_loot slot 1: soul is "{\"a\": 1.0, \"bb\": [1, \"é\"]}", in the dump "{\"bb\":[2,\"é\"],\"a\":1.0}""#,
            ),
        );
    }

    #[test]
    fn what_an_update_keeps_is_no_difference() {
        check(&[row(1, None, None, None)], &[row(1, None, None, Some(5))], None);
        check(
            &[row(1, None, None, Some(5))],
            &[row(1, None, None, None)],
            Some("kill_loot slot 1: battle is NULL, in the dump 5"),
        );
    }

    #[test]
    fn rows_that_are_cut_off() {
        let whole = row(1, Some("A"), None, None);
        for end in 1..whole.len() {
            assert!(RowReader::of_rows(&whole[..end]).next_row().is_err(), "{end}");
        }
        assert!(RowReader::of_answer(&whole).is_err());
    }
}
