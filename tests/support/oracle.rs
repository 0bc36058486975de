//! Owns the oracle: from the text of a dump, what the tables of a layout hold once it is loaded.
//!
//! Invariant: nothing of the program under test is used here, so that the two can only agree by both being right.
//!
//! Where the promises leave room (a known key twice, nesting deeper than a parser must bear, a lone surrogate in a
//! string that is not kept) the event is *tolerated*: loading it and refusing it are both right. Its rows are those
//! of an event that was loaded; [`expect_given`] says what follows where it was refused.

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

/// Where an event stands: its line, from 1, and its index in the line's array, from 0, if it came in one.
pub(crate) type Place = (u64, Option<u64>);

/// What becomes of a `\u0000` in a string that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nul {
    /// The event is rejected.
    Reject,
    /// The character is left out.
    Strip,
    /// U+FFFD takes its place.
    Replace,
}

/// Which tables a dump is loaded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `kill_event`, `kill_player` and `kill_loot`.
    Archive,
    /// `"KillEvent"`, which refuses what the other takes, and takes nothing that it refuses.
    Aegis,
}

/// What a load of one or more dumps into empty tables must come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// Lines, blank ones too.
    pub(crate) lines: u64,
    /// Events, rejected ones too: always `duplicates + rejected.len()`, and those that have rows.
    pub(crate) events: u64,
    /// Valid events whose id an earlier valid event has.
    pub(crate) duplicates: u64,
    /// What must be refused, in the order of the input.
    pub(crate) rejected: Vec<ExpectedReject>,
    /// What may be refused, and is counted as loaded above. Empty: all of the above must hold to the letter.
    pub(crate) tolerated: Vec<Tolerated>,
    /// The rows.
    pub(crate) tables: Tables,
}

/// An event, or a line that is none, that must be refused.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedReject {
    /// From 1.
    pub(crate) line: u64,
    /// From 0; none for an event that is alone on its line.
    pub(crate) index: Option<u64>,
    /// Paths of every field at fault, any of which may be named; with none of them, no field is to be named.
    pub(crate) fields: BTreeSet<String>,
    /// How much of the above is sure.
    pub(crate) certainty: Certainty,
}

/// How much of an [`ExpectedReject`] is sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// Line, index and fields.
    Exact,
    /// The line alone: how far a parser comes in a text that is no JSON is its own affair.
    LineOnly,
}

/// An event of which loading and refusing are both right.
#[derive(Clone, Debug)]
pub(crate) struct Tolerated {
    /// From 1.
    pub(crate) line: u64,
    /// From 0. A line with an array can be tolerated as a whole too, then there is none.
    pub(crate) index: Option<u64>,
    /// The event's id, where it is one event.
    pub(crate) event_id: Option<i64>,
    /// What leaves the choice, for a test's message.
    pub(crate) why: &'static str,
}

/// What `dump` comes to, every tolerated event taken as loaded. The first event of an id wins.
pub(crate) fn expect(dump: &[u8], nul: Nul) -> Expected {
    expect_given(dump, nul, &BTreeSet::new())
}

/// As [`expect`], but tolerated events at the places `refused` count as rejected. Other places in it change nothing,
/// so all places of a reject file can be given.
pub(crate) fn expect_given(dump: &[u8], nul: Nul, refused: &BTreeSet<Place>) -> Expected {
    expect_in(Layout::Archive, dump, nul, refused)
}

/// As [`expect_given`], in one layout or the other.
pub(crate) fn expect_in(layout: Layout, dump: &[u8], nul: Nul, refused: &BTreeSet<Place>) -> Expected {
    let mut run = Run { layout, nul, refused, expected: Expected::default() };
    let mut lines: Vec<&[u8]> = dump.split(|&byte| byte == b'\n').collect();
    // What follows the last line's end is no line.
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    for (number, line) in (1..).zip(lines) {
        run.line(number, line);
    }
    run.expected
}

/// Several dumps, loaded in order by runs of which each sees what those before it stored. Line numbers stay those of
/// each dump.
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
    /// The events that have rows.
    pub(crate) fn loaded(&self) -> u64 {
        (self.tables.kill_event.len() + self.tables.aegis.len()) as u64
    }
}

impl ExpectedReject {
    /// Whether a reject with this index and field is this one.
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

    /// The field that must be named, if there is just one choice.
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
    refused: &'a BTreeSet<Place>,
    expected: Expected,
}

impl Run<'_> {
    fn line(&mut self, line: u64, bytes: &[u8]) {
        self.expected.lines += 1;
        self.text(line, bytes);
    }

    /// The values of a line, one after the other: what is no JSON costs the rest of it.
    fn text(&mut self, line: u64, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let read = json::read_line(rest);
            let several = matches!(read, Line::Refused).then(|| json::first_value(rest)).flatten();
            let Some((first, after)) = several else { return self.outcome(line, read) };
            let first = json::read_line(first);
            if matches!(first, Line::Refused) {
                return self.outcome(line, first);
            }
            self.outcome(line, first);
            rest = after;
        }
    }

    fn outcome(&mut self, line: u64, read: Line) {
        match read {
            Line::Blank => {}
            Line::Refused => self.reject(line, None, BTreeSet::new(), Certainty::LineOnly),
            Line::Json(elements) => {
                for element in elements {
                    self.element(line, element);
                }
            }
            Line::Doubtful { elements, why } => self.doubtful(line, elements, why),
        }
    }

    fn element(&mut self, line: u64, element: Element) {
        let Element { index, value, duplicates } = element;
        let Some(event) = value.as_object() else {
            self.reject(line, index, BTreeSet::new(), Certainty::Exact);
            return;
        };
        let mut reading = event::read(self.layout, event, self.nul);
        for path in duplicates {
            reading.doubts.entry(path).or_insert("a known key is there twice");
        }
        let doubt = reading.doubts.values().next().copied();
        if reading.faults.is_empty() && !(doubt.is_some() && self.refused.contains(&(line, index))) {
            self.load(line, index, doubt, reading);
        } else {
            let mut fields = reading.faults;
            fields.extend(reading.doubts.into_keys());
            self.reject(line, index, fields, Certainty::Exact);
        }
    }

    /// A line that had to be mended before it could be read. See [`Line::Doubtful`].
    fn doubtful(&mut self, line: u64, elements: Vec<Element>, why: &'static str) {
        if self.refused.contains(&(line, None)) {
            self.reject(line, None, BTreeSet::new(), Certainty::LineOnly);
            return;
        }
        let is_array = elements.iter().any(|element| element.index.is_some());
        if is_array && elements.len() > 1 {
            self.expected.tolerated.push(Tolerated { line, index: None, event_id: None, why });
        }
        for Element { index, value, .. } in elements {
            // What was mended in a kept string reads as a NUL, in a kept number as a wrong type: a fault both times.
            let is_faultless = |event: &_| event::read(self.layout, event, Nul::Reject).faults.is_empty();
            let event = value.as_object().filter(|event| is_faultless(*event));
            match event {
                Some(event) if !self.refused.contains(&(line, index)) => {
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
