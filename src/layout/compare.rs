//! Compares the encoded rows of an event with the stored rows, both as bytes of binary `COPY`.
//!
//! Invariant: columns are compared by their bytes, which are equal exactly when the values are. `jsonb` is compared by
//! value, because the database stores it in its own form. So are numbers with a fraction: 0 and -0 have other bytes, but an
//! update takes them for equal.
//!
//! Invariant: the time is linear in the rows of both sides. A dump decides how many rows an event has.

#[cfg(test)]
mod tests;

use crate::layout::copy::{COPY_HEADER, COPY_TRAILER, POSTGRES_EPOCH_US};
use crate::layout::json_value::{self, JsonDifference};
use crate::layout::table::{Column, ColumnType, Table};
use crate::visible::visible;
use jiff::Timestamp;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// Maximum number of characters of a value in a [`Difference`].
const SHOWN_CHARS_MAX: usize = 60;

/// Characters before the first difference of two long values in a [`Difference`].
const SAME_CHARS_SHOWN: usize = 20;

/// The stored rows of events in one table, as returned by `COPY … TO STDOUT (FORMAT binary)`.
#[derive(Debug)]
pub(crate) struct StoredRows<'b> {
    table: &'static Table,
    of_events: HashMap<i64, EventPieces<'b>>,
}

/// The stored rows of an event.
#[derive(Debug, Default)]
struct EventPieces<'b> {
    /// Mostly one slice of the answer, because the rows are in the order of the key.
    pieces: Vec<&'b [u8]>,
    /// Number of rows in all pieces.
    count: usize,
}

/// The bytes are not a valid binary `COPY` of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rows are not in the format of binary COPY")]
pub(crate) struct MalformedRows;

/// The first difference between the stored rows of an event and the rows of the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub table: &'static str,
    /// The row within the event, such as `slot 4`. Empty in a table with one row per event.
    pub row: String,
    pub kind: DifferenceKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DifferenceKind {
    /// The row is in the dump only.
    Missing,
    /// The row is stored only.
    Extra,
    /// The values of a column differ. They are shortened.
    Column {
        /// The column, and the place within its value if that is JSON.
        name: String,
        stored: String,
        expected: String,
    },
}

impl<'b> StoredRows<'b> {
    /// Splits a complete answer, whose columns are those of the table, into the rows of events.
    pub(crate) fn of_answer(table: &'static Table, answer: &'b [u8]) -> Result<Self, MalformedRows> {
        let body = answer.strip_prefix(COPY_HEADER).ok_or(MalformedRows)?;
        let mut rest = body.strip_suffix(COPY_TRAILER).ok_or(MalformedRows)?;
        let id_position =
            table.columns.iter().position(|column| column.name == table.id).ok_or(MalformedRows)?;
        let mut of_events: HashMap<i64, EventPieces<'b>> = HashMap::new();
        // Consecutive rows of one event form one slice.
        let (mut piece, mut piece_id, mut piece_length, mut piece_count) = (rest, None, 0, 0);
        while !rest.is_empty() {
            let start = rest;
            let (row, id) = take_row(&mut rest, Some(id_position))?;
            let id = id.and_then(|id| id.try_into().ok()).map(i64::from_be_bytes).ok_or(MalformedRows)?;
            if piece_id != Some(id) {
                note(&mut of_events, piece_id, &piece[..piece_length], piece_count);
                (piece, piece_id, piece_length, piece_count) = (start, Some(id), 0, 0);
            }
            piece_length += row.len();
            piece_count += 1;
        }
        note(&mut of_events, piece_id, &piece[..piece_length], piece_count);
        Ok(Self { table, of_events })
    }

    /// Whether a row of the event is stored.
    pub(crate) fn contains(&self, event_id: i64) -> bool {
        self.of_events.contains_key(&event_id)
    }

    /// Returns the first difference between the encoded and the stored rows of an event.
    pub(crate) fn first_difference(
        &self,
        event_id: i64,
        expected: &[u8],
    ) -> Result<Option<Difference>, MalformedRows> {
        let pieces = self.of_events.get(&event_id).map_or(&[][..], |stored| stored.pieces.as_slice());
        match pieces {
            [] if expected.is_empty() => Ok(None),
            [piece] if *piece == expected => Ok(None),
            _ => first_difference(self.table, expected, pieces),
        }
    }

    /// Whether the encoded and the stored rows of an event are the same. Unlike in
    /// [`first_difference`](Self::first_difference), the time depends only on the length of the encoded rows: a dump may
    /// have many short versions of an event with many stored rows.
    pub(crate) fn is_same(&self, event_id: i64, expected: &[u8]) -> Result<bool, MalformedRows> {
        let stored = self.of_events.get(&event_id).map_or(0, |stored| stored.count);
        let count = row_count(expected)?;
        Ok(count == stored && self.first_difference(event_id, expected)?.is_none())
    }
}

fn note<'b>(of_events: &mut HashMap<i64, EventPieces<'b>>, id: Option<i64>, piece: &'b [u8], count: usize) {
    if let Some(id) = id {
        let stored = of_events.entry(id).or_default();
        stored.pieces.push(piece);
        stored.count += count;
    }
}

/// Number of rows.
pub(crate) fn row_count(mut rest: &[u8]) -> Result<usize, MalformedRows> {
    let mut count = 0;
    while !rest.is_empty() {
        take_row(&mut rest, None)?;
        count += 1;
    }
    Ok(count)
}

/// Takes the next row. Returns its bytes and its field at `position`, if it has one that is not NULL.
fn take_row<'b>(
    rest: &mut &'b [u8],
    position: Option<usize>,
) -> Result<(&'b [u8], Option<&'b [u8]>), MalformedRows> {
    let whole = *rest;
    let mut wanted = None;
    for number in 0..field_count(rest)? {
        let field = take_field(rest)?;
        if Some(number) == position {
            wanted = field;
        }
    }
    Ok((&whole[..whole.len() - rest.len()], wanted))
}

/// The values of a row in the order of the columns; `None` is NULL.
fn fields_of(mut row: &[u8]) -> Result<Vec<Option<&[u8]>>, MalformedRows> {
    (0..field_count(&mut row)?).map(|_| take_field(&mut row)).collect()
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

/// The column that identifies a row within its event, and its position.
fn own_key(table: &Table) -> Option<(usize, &'static Column)> {
    let last = table.key.last().filter(|&&last| last != table.id)?;
    table.columns.iter().enumerate().find(|(_, column)| column.name == *last)
}

/// Returns the first difference between rows of one event. `pieces` are the stored rows, in any order.
fn first_difference(
    table: &Table,
    mut expected: &[u8],
    pieces: &[&[u8]],
) -> Result<Option<Difference>, MalformedRows> {
    let position = own_key(table).map(|(position, _)| position);
    // The stored rows by their key within the event, and whether each is expected.
    let mut stored: HashMap<Option<&[u8]>, (&[u8], bool)> = HashMap::new();
    // A second row with the same key, in a table whose key is not enforced.
    let mut repeated = None;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let (row, key) = take_row(&mut rest, position)?;
            match stored.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert((row, false));
                }
                Entry::Occupied(_) => repeated = repeated.or(Some(key)),
            }
        }
    }
    let mut extra = stored.len();
    while !expected.is_empty() {
        let (row, key) = take_row(&mut expected, position)?;
        let Some((found, is_expected)) = stored.get_mut(&key) else {
            return Ok(Some(Difference::new(table, key, DifferenceKind::Missing)));
        };
        if !std::mem::replace(is_expected, true) {
            extra -= 1;
        }
        if *found != row
            && let Some(kind) = different_column(table, row, found)?
        {
            return Ok(Some(Difference::new(table, key, kind)));
        }
    }
    if extra > 0 {
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (_, key) = take_row(&mut rest, position)?;
                if stored.get(&key).is_some_and(|(_, is_expected)| !is_expected) {
                    return Ok(Some(Difference::new(table, key, DifferenceKind::Extra)));
                }
            }
        }
    }
    Ok(repeated.map(|key| Difference::new(table, key, DifferenceKind::Extra)))
}

fn different_column(
    table: &Table,
    expected: &[u8],
    stored: &[u8],
) -> Result<Option<DifferenceKind>, MalformedRows> {
    let (expected, stored) = (fields_of(expected)?, fields_of(stored)?);
    let mut pairs = table.columns.iter().zip(expected.into_iter().zip(stored));
    let different = pairs.find(|(column, (expected, stored))| !is_equal(column, *expected, *stored));
    Ok(different.map(|(column, (expected, stored))| column_difference(column, expected, stored)))
}

fn column_difference(column: &Column, expected: Option<&[u8]>, stored: Option<&[u8]>) -> DifferenceKind {
    let name = column.name.to_owned();
    if let (ColumnType::Jsonb, Some(expected), Some(stored)) = (column.kind, expected, stored)
        && let Some(JsonDifference { path, stored, expected }) =
            json_value::first_difference(json_text(stored), json_text(expected))
    {
        let (stored, expected) = (stored.map(json), expected.map(json));
        let skipped = same_chars(stored.as_deref(), expected.as_deref());
        let part =
            |text: Option<String>| text.map_or_else(|| "absent".to_owned(), |text| shortened(&text, skipped));
        return DifferenceKind::Column { name: name + &path, stored: part(stored), expected: part(expected) };
    }
    let skipped = same_chars(
        stored.map(String::from_utf8_lossy).as_deref(),
        expected.map(String::from_utf8_lossy).as_deref(),
    );
    DifferenceKind::Column {
        name,
        stored: shown(column.kind, stored, skipped),
        expected: shown(column.kind, expected, skipped),
    }
}

fn is_equal(column: &Column, expected: Option<&[u8]>, stored: Option<&[u8]>) -> bool {
    match (expected, stored) {
        // An update keeps the stored value.
        (None, _) if column.keep_on_update => true,
        (Some(expected), Some(stored)) if column.kind == ColumnType::Jsonb => {
            expected == stored
                || json_value::first_difference(json_text(stored), json_text(expected)).is_none()
        }
        (Some(expected), Some(stored)) if column.kind == ColumnType::Float8 => {
            expected == stored || float(expected).is_some_and(|expected| Some(expected) == float(stored))
        }
        (expected, stored) => expected == stored,
    }
}

fn float(field: &[u8]) -> Option<f64> {
    field.try_into().ok().map(f64::from_be_bytes)
}

/// The text of a `jsonb` value, after its version byte.
fn json_text(field: &[u8]) -> &[u8] {
    field.split_first().map_or(field, |(_, text)| text)
}

impl Difference {
    /// `key` is the value that identifies the row within its event.
    fn new(table: &Table, key: Option<&[u8]>, kind: DifferenceKind) -> Self {
        let row = match own_key(table) {
            Some((_, column)) => format!("{} {}", column.name, shown(column.kind, key, 0)),
            None => String::new(),
        };
        Self { table: table.name, row, kind }
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

/// Formats a value for display, without control characters. A text lacks its first `skipped` characters.
fn shown(kind: ColumnType, field: Option<&[u8]>, skipped: usize) -> String {
    let Some(field) = field else { return "NULL".to_owned() };
    let integer = || match *field {
        [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        _ => field.try_into().ok().map(i64::from_be_bytes),
    };
    let text = |field| format!("{:?}", shortened(&String::from_utf8_lossy(field), skipped));
    match kind {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => integer().map(|value| value.to_string()),
        ColumnType::Float8 => float(field).map(|value| value.to_string().replace("inf", "Infinity")),
        ColumnType::Bool => Some((field != [0]).to_string()),
        ColumnType::Timestamptz | ColumnType::TimestampMs => integer().map(moment),
        ColumnType::Jsonb => Some(shortened(&json(&String::from_utf8_lossy(json_text(field))), 0)),
        ColumnType::Server
        | ColumnType::Role
        | ColumnType::Id
        | ColumnType::Text
        | ColumnType::Varchar(_) => Some(text(field)),
    }
    .unwrap_or_else(|| text(field))
}

/// A time, given in microseconds since the PostgreSQL epoch. PostgreSQL can store later years than this program.
fn moment(value: i64) -> String {
    match value {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => value
            .checked_add(POSTGRES_EPOCH_US)
            .and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok())
            .map_or_else(|| "after the year 9999".to_owned(), |moment| moment.to_string()),
    }
}

/// A JSON text in one line. Equal strings have equal texts.
fn json(text: &str) -> String {
    let string = serde_json::from_str::<String>(text).ok();
    let string = string.and_then(|string| serde_json::to_string(&string).ok());
    visible(&string.as_deref().unwrap_or(text).replace(['\n', '\r', '\t'], " ")).into_owned()
}

/// The number of equal characters at the beginning of two values to skip, so that a [`Difference`] shows how they differ.
fn same_chars(stored: Option<&str>, expected: Option<&str>) -> usize {
    let (Some(stored), Some(expected)) = (stored, expected) else { return 0 };
    let same =
        stored.chars().zip(expected.chars()).take_while(|(stored, expected)| stored == expected).count();
    if same < SHOWN_CHARS_MAX { 0 } else { same - SAME_CHARS_SHOWN }
}

fn shortened(text: &str, skipped: usize) -> String {
    let mut shown = if skipped > 0 { "…" } else { "" }.to_owned();
    let mut rest = text.chars().skip(skipped);
    shown.extend(rest.by_ref().take(SHOWN_CHARS_MAX));
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}
