//! The encoded rows of a segment's events, and the byte ranges of each event.

use std::borrow::Cow;
use std::fmt;

/// Which of several events with the same id in a segment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// The first, because a stored event stays unchanged.
    KeepFirst,
    /// The last, because a stored event is replaced.
    KeepLast,
}

/// Maximum number of tables of a layout.
pub(crate) const TABLES_MAX: usize = 3;

/// Rows of events in the format of binary COPY, without header and trailer.
///
/// Invariant: in each table, the rows of one event are contiguous, and events are in the order of encoding.
///
/// A few kilobytes of text can become megabytes of rows. In that case only the ids are held, and an event is encoded
/// again each time its rows are sent.
#[derive(Debug, Default)]
pub struct Rows {
    tables: [Vec<u8>; TABLES_MAX],
    events: Vec<EncodedEvent>,
    /// The battle of each event; only in a layout that also takes it from other events.
    battles: Vec<Option<i64>>,
    is_held: HeldRows,
    /// The earliest time of all added events, in microseconds since 1970.
    oldest_us: Option<i64>,
    recoder: Option<Box<dyn Recode>>,
    /// Number of encoded bytes that are not held.
    dropped_bytes: usize,
}

/// Whether the bytes of the rows are held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum HeldRows {
    #[default]
    All,
    /// The rows of each event are dropped after a successful encoding.
    Nothing,
}

/// Encodes an event again from its source text.
pub trait Recode: fmt::Debug + Send + Sync {
    /// Encodes the event with index `event` into `rows`, which are empty. `battles` are the noted battles of all events, or
    /// empty if the layout notes none.
    fn recode(&self, event: usize, battles: &[Option<i64>], rows: &mut Rows);
}

#[derive(Debug, Clone, Copy)]
pub struct EncodedEvent {
    /// Its `EventId`.
    pub id: i64,
    /// The end of its rows in each table.
    ends: [u32; TABLES_MAX],
}

impl Rows {
    /// The events, in the order of the segment.
    pub fn events(&self) -> &[EncodedEvent] {
        &self.events
    }

    /// The time of the oldest event, in microseconds since 1970, or `None` without events. It can be too early, because
    /// it includes events that were removed since.
    pub fn oldest_us(&self) -> Option<i64> {
        self.oldest_us
    }

    /// Returns the ids of events, in the order of `events`.
    pub fn ids(&self, events: &[usize]) -> Vec<i64> {
        events.iter().map(|&event| self.events[event].id).collect()
    }

    /// The rows of an event in a table of the layout. The rows must be held.
    pub fn of(&self, event: usize, table: usize) -> &[u8] {
        let start = match event.checked_sub(1) {
            Some(before) => self.events[before].ends[table],
            None => 0,
        };
        let end = self.events[event].ends[table];
        &self.tables[table][start as usize..end as usize]
    }

    /// The rows of an event in a table of the layout. They are encoded again if they are not held.
    ///
    /// # Panics
    ///
    /// The event is not found again.
    pub fn get(&self, event: usize, table: usize) -> Cow<'_, [u8]> {
        match (self.is_held, &self.recoder) {
            (HeldRows::Nothing, Some(recoder)) => {
                let mut rows = Rows::default();
                recoder.recode(event, &self.battles, &mut rows);
                // Each event has a row in the first table. Without its rows it would count as stored, and be lost.
                assert!(!rows.tables[0].is_empty(), "an event that was encoded before is encoded again");
                Cow::Owned(std::mem::take(&mut rows.tables[table]))
            }
            _ => Cow::Borrowed(self.of(event, table)),
        }
    }

    /// Number of rows of an event in a table of the layout.
    pub fn count(&self, event: usize, table: usize) -> usize {
        EncodedRows(&self.get(event, table)).count()
    }

    /// Returns the event of row number `line`, from 1, among the rows of `events` in a table.
    pub fn event_at(&self, table: usize, events: &[usize], line: usize) -> Option<usize> {
        let mut rows = 0;
        events.iter().copied().find(|&event| {
            rows += self.count(event, table);
            line > 0 && rows >= line
        })
    }

    /// Number of held bytes in all tables.
    pub fn byte_len(&self) -> usize {
        self.tables.iter().map(Vec::len).sum()
    }

    /// Number of encoded bytes in all tables, held or not. It can be too high, because it includes events that were removed
    /// since.
    pub fn encoded_len(&self) -> usize {
        self.byte_len() + self.dropped_bytes
    }

    /// Whether rows are encoded again each time they are sent.
    pub fn is_recoded(&self) -> bool {
        self.is_held == HeldRows::Nothing
    }

    /// Reserves `bytes` in each table for the rows of an event.
    pub fn reserve(&mut self, bytes: usize) {
        self.tables.iter_mut().for_each(|table| table.reserve_exact(bytes));
    }

    /// Drops the bytes of all rows, and from now on those of each added event at its end.
    pub fn drop_bytes(&mut self) {
        self.is_held = HeldRows::Nothing;
        self.dropped_bytes += self.byte_len();
        self.tables = Default::default();
    }

    /// Sets the source of dropped rows.
    pub fn set_recoder(&mut self, recoder: Box<dyn Recode>) {
        self.recoder = Some(recoder);
    }

    /// Removes all events after the first `events`.
    pub fn truncate(&mut self, events: usize) {
        self.events.truncate(events);
        self.battles.truncate(events);
        let ends = self.events.last().map_or([0; TABLES_MAX], |last| last.ends);
        for (table, end) in self.tables.iter_mut().zip(ends) {
            table.truncate(end as usize);
        }
    }

    /// Appends the rows of an event of `other`, which are held, to those of the current event.
    pub(crate) fn append(&mut self, other: &Rows, event: usize) {
        for (number, table) in self.tables.iter_mut().enumerate() {
            table.extend_from_slice(other.of(event, number));
        }
    }

    pub(crate) fn table(&mut self, table: usize) -> &mut Vec<u8> {
        &mut self.tables[table]
    }

    /// Notes the battle of the event that is added next.
    pub(crate) fn note_battle(&mut self, battle: Option<i64>) {
        self.battles.push(battle);
    }

    /// Ends the rows of an event. `occurred_at_us` is in microseconds since 1970.
    pub(crate) fn end_event(&mut self, id: i64, occurred_at_us: i64) {
        self.oldest_us = Some(self.oldest_us.map_or(occurred_at_us, |oldest| oldest.min(occurred_at_us)));
        if self.is_held == HeldRows::Nothing {
            self.events.push(EncodedEvent { id, ends: [0; TABLES_MAX] });
            self.dropped_bytes += self.byte_len();
            self.tables.iter_mut().for_each(Vec::clear);
            return;
        }
        let ends = std::array::from_fn(|table| {
            u32::try_from(self.tables[table].len()).expect("rows are dropped long before they reach 4 GiB")
        });
        self.events.push(EncodedEvent { id, ends });
    }
}

/// An iterator over rows in binary COPY, which start with their number of fields.
struct EncodedRows<'r>(&'r [u8]);

impl<'r> Iterator for EncodedRows<'r> {
    type Item = &'r [u8];

    fn next(&mut self) -> Option<&'r [u8]> {
        let (fields, mut rest) = self.0.split_first_chunk::<2>()?;
        for _ in 0..i16::from_be_bytes(*fields) {
            let (length, after) = rest.split_first_chunk::<4>()?;
            // NULL has the length -1 and no bytes.
            rest = after.get(usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0)..)?;
        }
        let (row, rest) = self.0.split_at(self.0.len() - rest.len());
        self.0 = rest;
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row with a field of two bytes and a NULL field.
    const ROW: [u8; 12] = [0, 2, 0, 0, 0, 2, 7, 7, 0xff, 0xff, 0xff, 0xff];

    #[test]
    fn rows_of_events() {
        let mut rows = Rows::default();
        for count in [2, 0, 1] {
            rows.table(1).extend_from_slice(&ROW.repeat(count));
            rows.end_event(7, 0);
        }
        assert_eq!([0, 1, 2].map(|event| rows.count(event, 1)), [2, 0, 1]);
        assert_eq!([0, 1, 2].map(|event| rows.count(event, 0)), [0, 0, 0]);
        let at = |line| rows.event_at(1, &[2, 1, 0], line);
        assert_eq!([0, 1, 2, 3, 4].map(at), [None, Some(2), Some(0), Some(0), None]);
    }
}
