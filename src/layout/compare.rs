//! Compares the encoded rows of an event with the stored rows, both as bytes of binary `COPY`.
//!
//! Invariant: columns are compared by their bytes, which are equal exactly when the values are. `jsonb` is compared by
//! value, because the database stores it in its own form.

#[cfg(test)]
mod tests;

use crate::layout::json_value;
use crate::layout::table::{Column, ColumnType, Table};
use jiff::Timestamp;
use std::collections::HashMap;
use std::fmt;

/// The PostgreSQL epoch, 2000-01-01 UTC, in microseconds since 1970.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// Maximum number of characters of a value in a [`Difference`].
const SHOWN_CHARS_MAX: usize = 60;

/// The stored rows of events in one table, as returned by `COPY … TO STDOUT (FORMAT binary)`.
#[derive(Debug)]
pub(crate) struct StoredRows<'b> {
    table: &'static Table,
    /// The rows of each event, mostly one slice of the answer, because the rows are in the order of the key.
    of_events: HashMap<i64, Vec<&'b [u8]>>,
}

/// The bytes are not a valid binary `COPY` of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rows are not in the format of binary COPY")]
pub(crate) struct MalformedRows;

/// One row, split into its fields.
#[derive(Debug, Clone)]
struct RowFields<'b> {
    bytes: &'b [u8],
    /// The values in the order of the columns; `None` is NULL.
    fields: Vec<Option<&'b [u8]>>,
}

/// The first difference between the stored rows of an event and the rows of the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row within the event, such as `slot 4`. Empty in a table with one row per event.
    pub row: String,
    /// The kind of difference.
    pub kind: DifferenceKind,
}

/// The kind of difference of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DifferenceKind {
    /// The row is in the dump only.
    Missing,
    /// The row is stored only.
    Extra,
    /// The values of a column differ. They are shortened.
    Column {
        /// The column.
        name: &'static str,
        /// The value in the database.
        stored: String,
        /// The value in the dump.
        expected: String,
    },
}

impl<'b> StoredRows<'b> {
    /// Splits a complete answer, whose columns are those of the table, into the rows of events.
    ///
    /// # Errors
    ///
    /// The answer is truncated or has other columns.
    pub(crate) fn of_answer(table: &'static Table, answer: &'b [u8]) -> Result<Self, MalformedRows> {
        let body = answer.strip_prefix(crate::layout::copy::COPY_HEADER).ok_or(MalformedRows)?;
        let mut rest = body.strip_suffix(crate::layout::copy::COPY_TRAILER).ok_or(MalformedRows)?;
        let id_position =
            table.columns.iter().position(|column| column.name == table.id).ok_or(MalformedRows)?;
        let mut of_events: HashMap<i64, Vec<&[u8]>> = HashMap::new();
        // Consecutive rows of one event form one slice.
        let (mut piece, mut piece_id, mut piece_length) = (rest, None, 0);
        while !rest.is_empty() {
            let row = row_length(rest, id_position)?;
            if piece_id != Some(row.event_id) {
                note(&mut of_events, piece_id, &piece[..piece_length]);
                (piece, piece_id, piece_length) = (rest, Some(row.event_id), 0);
            }
            piece_length += row.length;
            rest = &rest[row.length..];
        }
        note(&mut of_events, piece_id, &piece[..piece_length]);
        Ok(Self { table, of_events })
    }

    /// Whether a row of the event is stored.
    pub(crate) fn contains(&self, event_id: i64) -> bool {
        self.of_events.contains_key(&event_id)
    }

    /// Returns the first difference between the encoded and the stored rows of an event.
    ///
    /// # Errors
    ///
    /// The encoded rows are malformed.
    pub(crate) fn first_difference(
        &self,
        event_id: i64,
        expected: &[u8],
    ) -> Result<Option<Difference>, MalformedRows> {
        let pieces = self.of_events.get(&event_id).map_or(&[][..], Vec::as_slice);
        match pieces {
            [] if expected.is_empty() => return Ok(None),
            [piece] if *piece == expected => return Ok(None),
            _ => {}
        }
        let mut stored = Vec::new();
        for piece in pieces {
            stored.extend(cut_rows(piece)?);
        }
        Ok(first_difference(self.table, &cut_rows(expected)?, &stored))
    }
}

fn note<'b>(of_events: &mut HashMap<i64, Vec<&'b [u8]>>, id: Option<i64>, piece: &'b [u8]) {
    if let Some(id) = id {
        of_events.entry(id).or_default().push(piece);
    }
}

/// The length of a row in bytes, and the id of its event.
struct RowLength {
    length: usize,
    event_id: i64,
}

fn row_length(bytes: &[u8], id_position: usize) -> Result<RowLength, MalformedRows> {
    let mut rest = bytes;
    let mut event_id = None;
    for position in 0..field_count(&mut rest)? {
        let field = take_field(&mut rest)?;
        if position == id_position {
            event_id = field.and_then(|field| field.try_into().ok()).map(i64::from_be_bytes);
        }
    }
    Ok(RowLength { length: bytes.len() - rest.len(), event_id: event_id.ok_or(MalformedRows)? })
}

fn cut_rows(mut rest: &[u8]) -> Result<Vec<RowFields<'_>>, MalformedRows> {
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let whole = rest;
        let mut fields = Vec::new();
        for _ in 0..field_count(&mut rest)? {
            fields.push(take_field(&mut rest)?);
        }
        rows.push(RowFields { bytes: &whole[..whole.len() - rest.len()], fields });
    }
    Ok(rows)
}

fn field_count(rest: &mut &[u8]) -> Result<usize, MalformedRows> {
    let (count, after) = rest.split_first_chunk().ok_or(MalformedRows)?;
    *rest = after;
    usize::try_from(i16::from_be_bytes(*count)).map_err(|_| MalformedRows)
}

/// Reads the next field; `None` is NULL.
fn take_field<'b>(rest: &mut &'b [u8]) -> Result<Option<&'b [u8]>, MalformedRows> {
    let (length, after) = rest.split_first_chunk().ok_or(MalformedRows)?;
    *rest = after;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Ok(None) };
    let (field, after) = rest.split_at_checked(length).ok_or(MalformedRows)?;
    *rest = after;
    Ok(Some(field))
}

impl RowFields<'_> {
    /// Identifies the row within its event by the last column of the key. Empty if the key has only the event.
    fn name(&self, table: &Table) -> String {
        match own_key(table) {
            Some((position, column)) => {
                format!(
                    "{} {}",
                    column.name,
                    shown(column.kind, self.fields.get(position).copied().flatten())
                )
            }
            None => String::new(),
        }
    }

    fn is_same_row(&self, other: &Self, table: &Table) -> bool {
        own_key(table).is_none_or(|(position, _)| self.fields.get(position) == other.fields.get(position))
    }
}

/// The column that identifies a row within its event, and its position.
fn own_key(table: &Table) -> Option<(usize, &'static Column)> {
    let last = table.key.last().filter(|&&last| last != table.id)?;
    table.columns.iter().enumerate().find(|(_, column)| column.name == *last)
}

fn first_difference(
    table: &Table,
    expected: &[RowFields<'_>],
    stored: &[RowFields<'_>],
) -> Option<Difference> {
    for (number, row) in expected.iter().enumerate() {
        // Both sides are in the order of the key, so the row is nearly always at the same position.
        let is_same_row = |other: &&RowFields<'_>| other.is_same_row(row, table);
        let found = stored.get(number).filter(is_same_row).or_else(|| stored.iter().find(is_same_row));
        let Some(found) = found else {
            return Some(Difference::new(table, row, DifferenceKind::Missing));
        };
        if found.bytes != row.bytes
            && let Some(kind) = different_column(table, row, found)
        {
            return Some(Difference::new(table, row, kind));
        }
    }
    let is_extra = |row: &&RowFields<'_>| !expected.iter().any(|other| other.is_same_row(row, table));
    stored.iter().find(is_extra).map(|row| Difference::new(table, row, DifferenceKind::Extra))
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
        // An update keeps the stored value.
        (None, _) if column.keep_on_update => true,
        (Some(expected), Some(stored)) if column.kind == ColumnType::Jsonb => {
            expected == stored || json_value::is_equal(json_text(expected), json_text(stored))
        }
        (expected, stored) => expected == stored,
    }
}

/// The text of a `jsonb` value, after its version byte.
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

/// Formats a value for display, without control characters.
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
