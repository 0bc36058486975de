//! The oracle: computes from the text of a dump the contents of a layout's tables.
//!
//! Invariant: it shares no code with the program under test, so that the two agree only if both are right.
//!
//! The specification leaves some cases open: a duplicate known key, nesting deeper than a parser must support, a lone
//! surrogate in a string that is not stored. Such an event is *tolerated*: loading and rejecting it are both right. Its
//! rows are those of a loaded event. [`expect_given`] returns the result if it was rejected.

mod aegis;
mod event;
mod fields;
mod json;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
mod time;

use std::collections::BTreeSet;

use self::event::Reading;
use self::json::{Element, Line};
pub(crate) use self::tables::{Cell, Row, Tables, assert_same, differences, read_aegis, read_tables};
use postgres::Client;

/// The place of an event: its line, from 1, and its index in the line's array, from 0, if it came in one.
pub(crate) type Place = (u64, Option<u64>);

/// The treatment of `\u0000` in a stored string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nul {
    /// Reject the event.
    Reject,
    /// Remove the character.
    Strip,
    /// Replace it by U+FFFD.
    Replace,
}

/// The tables of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `kill_event`, `kill_player` and `kill_loot`.
    Archive,
    /// `"KillEvent"`, which rejects some events that `archive` accepts, and accepts none that `archive` rejects.
    Aegis,
}

impl Layout {
    pub(crate) const ALL: [Self; 2] = [Self::Archive, Self::Aegis];

    /// The value of `--layout`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Aegis => "aegis",
        }
    }

    /// Each table, quoted, with its column for the event's id. The table of the events is the first.
    pub(crate) fn tables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Archive => {
                &[("kill_event", "event_id"), ("kill_player", "event_id"), ("kill_loot", "event_id")]
            }
            Self::Aegis => &[("\"KillEvent\"", "\"EventId\"")],
        }
    }

    /// The names of the tables, without quotes.
    pub(crate) fn table_names(self) -> Vec<&'static str> {
        self.tables().iter().map(|(table, _)| table.trim_matches('"')).collect()
    }

    /// The column of the victim's fame.
    pub(crate) fn fame(self) -> &'static str {
        match self {
            Self::Archive => "fame",
            Self::Aegis => "\"TotalVictimKillFame\"",
        }
    }

    /// The schema of the ledger by default, if the tables are in `schema`.
    pub(crate) fn ledger(self, schema: &str) -> &str {
        match self {
            Self::Archive => schema,
            Self::Aegis => "aegis_kills",
        }
    }

    /// The stored rows of a server.
    pub(crate) fn read(self, client: &mut Client, schema: &str, server: &str) -> Tables {
        match self {
            Self::Archive => read_tables(client, schema, server),
            Self::Aegis => read_aegis(client, schema),
        }
    }
}

/// The expected result of loading one or more dumps into empty tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// Lines, including blank ones.
    pub(crate) lines: u64,
    /// Events, including rejected ones: always `duplicates + rejected.len()` plus the events with rows.
    pub(crate) events: u64,
    /// Valid events with the id of an earlier valid event.
    pub(crate) duplicates: u64,
    /// Required rejects, in the order of the input.
    pub(crate) rejected: Vec<ExpectedReject>,
    /// Events that may be rejected, counted as loaded above. If empty, everything above is exact.
    pub(crate) tolerated: Vec<Tolerated>,
    pub(crate) tables: Tables,
}

/// An event, or a line that is none, that must be rejected.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedReject {
    /// From 1.
    pub(crate) line: u64,
    /// From 0, or none for a single event on its line.
    pub(crate) index: Option<u64>,
    /// Paths of every faulty field, any of which may be named. If empty, no field may be named.
    pub(crate) fields: BTreeSet<String>,
    /// How much of the above is certain.
    pub(crate) certainty: Certainty,
}

/// How much of an [`ExpectedReject`] is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// Line, index and fields.
    Exact,
    /// Only the line: how far a parser reads invalid JSON is not specified.
    LineOnly,
}

/// An event that may be loaded or rejected.
#[derive(Clone, Debug)]
pub(crate) struct Tolerated {
    /// From 1.
    pub(crate) line: u64,
    /// From 0. None for a single event, or if a line with an array is tolerated as a whole.
    pub(crate) index: Option<u64>,
    /// The event's id, if it is a single event.
    pub(crate) event_id: Option<i64>,
    /// The open point of the specification, for failure messages.
    pub(crate) why: &'static str,
}

/// The expected result of `dump` if every tolerated event is loaded. The first event of an id wins.
pub(crate) fn expect(dump: &[u8], nul: Nul) -> Expected {
    expect_given(dump, nul, &BTreeSet::new())
}

/// As [`expect`], but tolerated events at `rejected_places` count as rejected. Other places have no effect, so all places
/// of a reject file can be given.
pub(crate) fn expect_given(dump: &[u8], nul: Nul, rejected_places: &BTreeSet<Place>) -> Expected {
    expect_in(Layout::Archive, dump, nul, rejected_places)
}

/// As [`expect_given`], for a layout.
pub(crate) fn expect_in(
    layout: Layout,
    dump: &[u8],
    nul: Nul,
    rejected_places: &BTreeSet<Place>,
) -> Expected {
    let mut run = Run { layout, nul, rejected_places, expected: Expected::default() };
    let mut lines: Vec<&[u8]> = dump.split(|&byte| byte == b'\n').collect();
    // Nothing follows the last line end.
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    for (number, line) in (1..).zip(lines) {
        run.line(number, line);
    }
    run.expected
}

/// Several dumps, loaded in order by runs that see the events of earlier ones. Line numbers stay those of each dump.
pub(crate) fn merge(parts: Vec<Expected>) -> Expected {
    let mut whole = Expected::default();
    for part in parts {
        whole.lines += part.lines;
        whole.events += part.events;
        whole.duplicates += part.duplicates + whole.tables.add(part.tables);
        whole.rejected.extend(part.rejected);
        whole.tolerated.extend(part.tolerated);
    }
    whole
}

impl Expected {
    /// The number of events with rows.
    pub(crate) fn loaded(&self) -> u64 {
        (self.tables.kill_event.len() + self.tables.aegis.len()) as u64
    }
}

impl ExpectedReject {
    /// Whether a reject with this index and field matches.
    pub(crate) fn allows(&self, index: Option<u64>, field: Option<&str>) -> bool {
        match self.certainty {
            Certainty::LineOnly => true,
            Certainty::Exact => {
                index == self.index
                    && match field {
                        Some(field) => self.fields.contains(field),
                        None => self.fields.is_empty(),
                    }
            }
        }
    }

    /// The field that must be named, if there is only one choice.
    pub(crate) fn field(&self) -> Option<&str> {
        match (self.certainty, self.fields.len()) {
            (Certainty::Exact, 1) => self.fields.first().map(String::as_str),
            _ => None,
        }
    }
}

/// One pass over a dump.
struct Run<'a> {
    layout: Layout,
    nul: Nul,
    rejected_places: &'a BTreeSet<Place>,
    expected: Expected,
}

impl Run<'_> {
    fn line(&mut self, line: u64, bytes: &[u8]) {
        self.expected.lines += 1;
        self.text(line, bytes);
    }

    /// Reads the values of a line in order. Invalid JSON rejects the rest of the line, from the invalid element of an array
    /// if an event comes before it.
    fn text(&mut self, line: u64, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let read = json::read_line(rest);
            let several = matches!(read, Line::Rejected).then(|| json::first_value(rest)).flatten();
            let Some((first, after)) = several else {
                let (elements, doubt) = json::elements_before_fault(rest).unwrap_or_default();
                let is_loaded = |element| match doubt {
                    None => self.is_loaded(line, element),
                    Some(_) => self.is_loaded_in_doubt(line, element),
                };
                if !matches!(read, Line::Rejected) || !elements.iter().any(is_loaded) {
                    return self.outcome(line, read);
                }
                let index = elements.len() as u64;
                match doubt {
                    None => self.outcome(line, Line::Json(elements)),
                    Some(why) => self.outcome(line, Line::Doubtful { elements, why }),
                }
                return self.reject(line, Some(index), BTreeSet::new(), Certainty::LineOnly);
            };
            let first = json::read_line(first);
            if matches!(first, Line::Rejected) {
                return self.outcome(line, first);
            }
            self.outcome(line, first);
            rest = after;
        }
    }

    fn outcome(&mut self, line: u64, read: Line) {
        match read {
            Line::Blank => {}
            Line::Rejected => self.reject(line, None, BTreeSet::new(), Certainty::LineOnly),
            Line::Json(elements) => {
                for element in elements {
                    self.element(line, &element);
                }
            }
            Line::Doubtful { elements, why } => self.doubtful(line, elements, why),
        }
    }

    /// What an element contains, if it is an object.
    fn reading(&self, element: &Element) -> Option<Reading> {
        let mut reading = event::read(self.layout, element.value.as_object()?, self.nul);
        for path in &element.duplicates {
            reading.doubts.entry(path.clone()).or_insert("a known key is there twice");
        }
        Some(reading)
    }

    fn is_faultless(&self, line: u64, index: Option<u64>, reading: &Reading) -> bool {
        let is_rejected = || self.rejected_places.contains(&(line, index));
        reading.faults.is_empty() && (reading.doubts.is_empty() || !is_rejected())
    }

    fn is_loaded(&self, line: u64, element: &Element) -> bool {
        self.reading(element).is_some_and(|reading| self.is_faultless(line, element.index, &reading))
    }

    /// As [`Run::is_loaded`], for an element that had to be corrected. See [`Run::doubtful`].
    fn is_loaded_in_doubt(&self, line: u64, Element { index, value, .. }: &Element) -> bool {
        let is_faultless = |event| event::read(self.layout, event, Nul::Reject).faults.is_empty();
        value.as_object().is_some_and(is_faultless) && !self.rejected_places.contains(&(line, *index))
    }

    fn element(&mut self, line: u64, element: &Element) {
        let index = element.index;
        let Some(reading) = self.reading(element) else {
            self.reject(line, index, BTreeSet::new(), Certainty::Exact);
            return;
        };
        let doubt = reading.doubts.values().next().copied();
        if self.is_faultless(line, index, &reading) {
            self.load(line, index, doubt, reading);
        } else {
            let mut fields = reading.faults;
            fields.extend(reading.doubts.into_keys());
            self.reject(line, index, fields, Certainty::Exact);
        }
    }

    /// Reads a line that had to be corrected before parsing. See [`Line::Doubtful`].
    fn doubtful(&mut self, line: u64, elements: Vec<Element>, why: &'static str) {
        if self.rejected_places.contains(&(line, None)) {
            self.reject(line, None, BTreeSet::new(), Certainty::LineOnly);
            return;
        }
        let is_array = elements.iter().any(|element| element.index.is_some());
        if is_array && elements.len() > 1 {
            self.expected.tolerated.push(Tolerated { line, index: None, event_id: None, why });
        }
        for Element { index, value, .. } in elements {
            // A corrected part of a stored string is a NUL, and of a stored number a wrong type. Both are faults.
            let is_faultless = |event: &_| event::read(self.layout, event, Nul::Reject).faults.is_empty();
            let event = value.as_object().filter(|event| is_faultless(*event));
            match event {
                Some(event) if !self.rejected_places.contains(&(line, index)) => {
                    let reading = event::read(self.layout, event, self.nul);
                    self.load(line, index, Some(why), reading);
                }
                _ => self.reject(line, index, BTreeSet::new(), Certainty::LineOnly),
            }
        }
    }

    fn load(&mut self, line: u64, index: Option<u64>, doubt: Option<&'static str>, reading: Reading) {
        let id = reading.id.expect("an event without faults has an id");
        if let Some(why) = doubt {
            self.expected.tolerated.push(Tolerated { line, index, event_id: Some(id), why });
        }
        self.expected.events += 1;
        self.expected.duplicates += self.expected.tables.add(reading.tables(id));
    }

    fn reject(&mut self, line: u64, index: Option<u64>, fields: BTreeSet<String>, certainty: Certainty) {
        self.expected.events += 1;
        self.expected.rejected.push(ExpectedReject { line, index, fields, certainty });
    }
}
