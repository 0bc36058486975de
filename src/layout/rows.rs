//! The encoded rows of a segment's events, and which bytes belong to which event.

/// The most tables that a layout has.
pub const TABLES_MAX: usize = 3;

/// Rows of events as the bytes of binary COPY, without header and trailer.
///
/// Invariant: the rows of one event lie together in each table, and events lie in the order in which they were encoded.
#[derive(Debug, Default)]
pub struct Rows {
    tables: [Vec<u8>; TABLES_MAX],
    events: Vec<EncodedEvent>,
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

    /// The rows of an event in a table of the layout.
    pub fn of(&self, event: usize, table: usize) -> &[u8] {
        let start = match event.checked_sub(1) {
            Some(before) => self.events[before].ends[table],
            None => 0,
        };
        let end = self.events[event].ends[table];
        &self.tables[table][start as usize..end as usize]
    }

    /// All bytes of all tables.
    pub fn byte_len(&self) -> usize {
        self.tables.iter().map(Vec::len).sum()
    }

    /// Forgets all events but the first `events`.
    pub fn truncate(&mut self, events: usize) {
        self.events.truncate(events);
        let ends = self.events.last().map_or([0; TABLES_MAX], |last| last.ends);
        for (table, end) in self.tables.iter_mut().zip(ends) {
            table.truncate(end as usize);
        }
    }

    pub(super) fn table(&mut self, table: usize) -> &mut Vec<u8> {
        &mut self.tables[table]
    }

    /// Ends the rows of an event.
    pub(super) fn end_event(&mut self, id: i64) {
        let ends = std::array::from_fn(|table| {
            u32::try_from(self.tables[table].len())
                .expect("rows are a few times as long as their segment, which has at most 256 MiB")
        });
        self.events.push(EncodedEvent { id, ends });
    }
}
