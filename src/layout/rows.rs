//! The encoded rows of a segment's events, and which bytes belong to which event.

use std::fmt;

/// The most tables that a layout has.
pub const TABLES_MAX: usize = 3;

/// Rows of events as the bytes of binary COPY, without header and trailer.
///
/// Invariant: the rows of one event lie together in each table, and events lie in the order in which they were encoded.
///
/// A few kilobytes of text can become megabytes of rows. Then only the ids are held, and an event is encoded again each
/// time that its rows are sent.
#[derive(Debug, Default)]
pub struct Rows {
    tables: [Vec<u8>; TABLES_MAX],
    events: Vec<EncodedEvent>,
    /// The battles that events were stored with; only of the layout that takes them from other events too.
    battles: Vec<Option<i64>>,
    is_held: Held,
    recoder: Option<Box<dyn Recode>>,
}

/// Whether the bytes of rows are there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Held {
    #[default]
    All,
    /// Each event's rows were dropped once it was known that it can be encoded.
    Nothing,
}

/// Encodes an event again, from the text that it came from.
pub trait Recode: fmt::Debug + Send + Sync {
    /// Encodes the event that was added as number `event`, into rows that are empty. `battle` is the one that it was stored
    /// with, where the layout noted any.
    fn recode(&self, event: usize, battle: Option<Option<i64>>, rows: &mut Rows);
}

/// An event that has been encoded.
#[derive(Debug, Clone, Copy)]
pub struct EncodedEvent {
    /// Its `EventId`.
    pub id: i64,
    /// Where its rows end, for each table.
    ends: [u32; TABLES_MAX],
}

impl Rows {
    /// The events, in the order of the segment.
    pub fn events(&self) -> &[EncodedEvent] {
        &self.events
    }

    /// The ids of events, in the order in which these are named.
    pub fn ids(&self, events: &[usize]) -> Vec<i64> {
        events.iter().map(|&event| self.events[event].id).collect()
    }

    /// The rows of an event in a table of the layout, of rows that are held.
    pub fn of(&self, event: usize, table: usize) -> &[u8] {
        let start = match event.checked_sub(1) {
            Some(before) => self.events[before].ends[table],
            None => 0,
        };
        let end = self.events[event].ends[table];
        &self.tables[table][start as usize..end as usize]
    }

    /// Appends the rows of an event in a table of the layout to `out`.
    pub fn append(&self, event: usize, table: usize, out: &mut Vec<u8>) {
        match (self.is_held, &self.recoder) {
            (Held::Nothing, Some(recoder)) => {
                let mut rows = Rows::default();
                recoder.recode(event, self.battles.get(event).copied(), &mut rows);
                out.extend_from_slice(&rows.tables[table]);
            }
            _ => out.extend_from_slice(self.of(event, table)),
        }
    }

    /// All bytes of all tables that are held.
    pub fn byte_len(&self) -> usize {
        self.tables.iter().map(Vec::len).sum()
    }

    /// Whether rows are encoded again when they are sent.
    pub fn is_recoded(&self) -> bool {
        self.is_held == Held::Nothing
    }

    /// Drops the bytes of all rows. The rows of events that are added from now on are dropped at their end.
    pub fn drop_bytes(&mut self) {
        self.is_held = Held::Nothing;
        self.tables = Default::default();
    }

    /// Where the rows come from that were dropped.
    pub fn set_recoder(&mut self, recoder: Box<dyn Recode>) {
        self.recoder = Some(recoder);
    }

    /// Forgets all events but the first `events`.
    pub fn truncate(&mut self, events: usize) {
        self.events.truncate(events);
        self.battles.truncate(events);
        let ends = self.events.last().map_or([0; TABLES_MAX], |last| last.ends);
        for (table, end) in self.tables.iter_mut().zip(ends) {
            table.truncate(end as usize);
        }
    }

    pub(super) fn table(&mut self, table: usize) -> &mut Vec<u8> {
        &mut self.tables[table]
    }

    /// Notes which battle the event is stored with that is added next.
    pub(super) fn note_battle(&mut self, battle: Option<i64>) {
        self.battles.push(battle);
    }

    /// Ends the rows of an event.
    pub(super) fn end_event(&mut self, id: i64) {
        if self.is_held == Held::Nothing {
            self.events.push(EncodedEvent { id, ends: [0; TABLES_MAX] });
            self.tables.iter_mut().for_each(Vec::clear);
            return;
        }
        let ends = std::array::from_fn(|table| {
            u32::try_from(self.tables[table].len()).expect("rows are dropped long before they have 4 GiB")
        });
        self.events.push(EncodedEvent { id, ends });
    }
}
