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

    /// How many rows an event has in a table of the layout.
    pub fn count(&self, event: usize, table: usize) -> usize {
        EncodedRows(self.of(event, table)).count()
    }

    /// The event that has the `line`th row, counted from 1, of what `events` have in a table.
    pub fn event_at(&self, table: usize, events: &[usize], line: usize) -> Option<usize> {
        let mut rows = 0;
        events.iter().copied().find(|&event| {
            rows += self.count(event, table);
            line > 0 && rows >= line
        })
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

/// The rows that a text of binary COPY holds, each with its count of fields.
struct EncodedRows<'r>(&'r [u8]);

impl<'r> Iterator for EncodedRows<'r> {
    type Item = &'r [u8];

    fn next(&mut self) -> Option<&'r [u8]> {
        let (fields, mut rest) = self.0.split_first_chunk::<2>()?;
        for _ in 0..i16::from_be_bytes(*fields) {
            let (length, after) = rest.split_first_chunk::<4>()?;
            // NULL has the length -1, and no bytes.
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

    /// A row of one field of two bytes, and one that is NULL.
    const ROW: [u8; 12] = [0, 2, 0, 0, 0, 2, 7, 7, 0xff, 0xff, 0xff, 0xff];

    #[test]
    fn rows_of_events() {
        let mut rows = Rows::default();
        for count in [2, 0, 1] {
            rows.table(1).extend_from_slice(&ROW.repeat(count));
            rows.end_event(7);
        }
        assert_eq!([0, 1, 2].map(|event| rows.count(event, 1)), [2, 0, 1]);
        assert_eq!([0, 1, 2].map(|event| rows.count(event, 0)), [0, 0, 0]);
        let at = |line| rows.event_at(1, &[2, 1, 0], line);
        assert_eq!([0, 1, 2, 3, 4].map(at), [None, Some(2), Some(0), Some(0), None]);
    }
}
