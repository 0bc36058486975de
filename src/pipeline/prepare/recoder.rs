//! Encodes the events of a segment again if its rows are not held.
//!
//! Invariant: an event has the same rows each time.

use crate::event::kill_event::Event;
use crate::event::line::LineReader;
use crate::event::rules::ReadRules;
use crate::input::buffers::LARGE_CAPACITY;
use crate::input::segment::Segment;
use crate::layout::rows::{Recode, Rows};
use crate::pipeline::prepare::parts::EventPlace;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::prepare::span_text::context_at;
use crate::sync::{Mutex, lock};
use std::sync::Arc;

/// Above this text length, the rows of an event are encoded into memory that returns to the system when freed.
const LARGE_EVENT_MIN: usize = 4 << 20;

/// The number of events of a string that are encoded together.
const WINDOW_EVENTS: usize = 2048;

/// No further events are encoded together beyond this size of their rows, in bytes.
const WINDOW_BYTES: usize = 1 << 20;

/// Encodes the events of a segment.
#[derive(Debug)]
pub(crate) struct Recoder {
    segment: Arc<Segment>,
    places: Arc<Vec<EventPlace>>,
    preparer: Preparer,
    window: Mutex<Window>,
}

/// Rows of neighboring events of one string. To read an event of a string takes as long as to read the whole string, so
/// events are not read one by one.
#[derive(Debug, Default)]
struct Window {
    /// The events in ascending order, which is that of `rows`.
    events: Vec<usize>,
    rows: Rows,
}

impl Window {
    /// Returns the index in `rows` of an event of the segment.
    fn find(&self, event: usize) -> Option<usize> {
        self.events.binary_search(&event).ok()
    }
}

impl Recoder {
    pub(crate) fn new(segment: Arc<Segment>, places: Arc<Vec<EventPlace>>, preparer: Preparer) -> Self {
        Self { segment, places, preparer, window: Mutex::default() }
    }

    /// Appends the rows of the event with this index. Returns false if it has none.
    fn encode(&self, event: &Event<'_>, index: usize, battles: &[Option<i64>], rows: &mut Rows) -> bool {
        // An encoder remembers the battles of earlier events, which do not count here.
        let mut encoder = self.preparer.encoder();
        let result = match battles.get(index) {
            Some(&battle_id) => encoder.encode(&Event { battle_id, ..event.clone() }, rows),
            None => encoder.encode(event, rows),
        };
        result.is_ok()
    }

    /// Encodes the event with this text and index.
    fn recode_text(&self, text: &str, index: usize, battles: &[Option<i64>], rows: &mut Rows) {
        // The requirements were already checked.
        let rules = ReadRules {
            events_at: None,
            server: None,
            must_name_server: false,
            must_name_battle: false,
            ..self.preparer.rules(&self.segment.source)
        };
        if text.len() > LARGE_EVENT_MIN {
            rows.reserve(LARGE_CAPACITY);
        }
        // Errors are impossible: reading and encoding succeeded before with the same text.
        let _ = LineReader::with_rules(rules).read(text, &mut Event::default(), |found| {
            if let (None, Ok(event)) = (found.decoded, found.event) {
                self.encode(event, index, battles, rows);
            }
        });
    }

    /// Encodes an event of a string, and keeps the rows of its neighbors.
    fn recode_neighbor(&self, event: usize, text: &str, battles: &[Option<i64>], rows: &mut Rows) {
        let mut window = lock(&self.window);
        if window.find(event).is_none() {
            // Frees the memory before the next window needs it.
            *window = Window::default();
            *window = self.window(event, text, battles);
        }
        let is_large = window.rows.byte_len() > 2 * WINDOW_BYTES;
        if is_large {
            rows.reserve(LARGE_CAPACITY);
        }
        if let Some(found) = window.find(event) {
            rows.append(&window.rows, found);
        }
        if is_large {
            // Waiting batches keep their windows, so those are small.
            *window = Window::default();
        }
    }

    /// Encodes an event of a string and neighbors. `text` is the value that contains the string.
    fn window(&self, wanted: usize, text: &str, battles: &[Option<i64>]) -> Window {
        let value = self.places[wanted].text();
        let first = wanted - wanted % WINDOW_EVENTS;
        let neighbors = first..first + WINDOW_EVENTS;
        // The events of the value by their numbers. Events beside the string have none.
        let first = self.places.partition_point(|place| place.text().start < value.start);
        let numbered: Vec<(usize, usize)> = (first..self.places.len())
            .take_while(|&event| self.places[event].text().start < value.end)
            .filter_map(|event| Some((self.places[event].decoded()?, event)))
            .collect();
        let empty = || {
            let mut window = Window::default();
            if text.len() > LARGE_EVENT_MIN {
                window.rows.reserve(LARGE_CAPACITY);
            }
            window
        };
        let mut window = empty();
        // All rules apply, because a reject can have its own battle.
        let rules = self.preparer.rules(&self.segment.source);
        let context = context_at(&self.segment, value.start);
        let _ = LineReader::with_rules(rules).read_value(text, 0, context, &mut Event::default(), |found| {
            let (Some(number), Ok(event)) = (found.decoded, found.event) else { return };
            let Ok(at) = numbered.binary_search_by_key(&number, |(number, _)| *number) else { return };
            let (_, index) = numbered[at];
            let is_full = window.rows.byte_len() >= WINDOW_BYTES;
            if !neighbors.contains(&index) || is_full && index > wanted {
                return;
            }
            if is_full {
                window = empty();
            }
            if self.encode(event, index, battles, &mut window.rows) {
                window.events.push(index);
            }
        });
        window
    }
}

impl Recode for Recoder {
    fn recode(&self, event: usize, battles: &[Option<i64>], rows: &mut Rows) {
        let place = self.places[event];
        let Ok(text) = str::from_utf8(&self.segment.bytes[place.text()]) else { return };
        if place.decoded().is_some() {
            self.recode_neighbor(event, text, battles, rows);
        } else {
            self.recode_text(text, event, battles, rows);
        }
    }
}
