//! Encodes the events of a segment again if its rows are not held.
//!
//! Invariant: an event has the same rows each time.

use crate::event::kill_event::Event;
use crate::event::line::{Line, LineReader};
use crate::event::rules::ReadRules;
use crate::input::buffers::LARGE_CAPACITY;
use crate::input::segment::Segment;
use crate::layout::rows::{Recode, Rows};
use crate::pipeline::prepare::parts::EventPlace;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::prepare::span_text::context_at;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// The start of the value with the string, in the segment.
    value: usize,
    /// The events by their numbers in the value, in the order of `rows`.
    numbers: Vec<usize>,
    rows: Rows,
}

impl Window {
    /// Returns the index of an event in `rows`.
    fn find(&self, value: usize, number: usize) -> Option<usize> {
        if value == self.value { self.numbers.binary_search(&number).ok() } else { None }
    }
}

impl Recoder {
    pub(crate) fn new(segment: Arc<Segment>, places: Arc<Vec<EventPlace>>, preparer: Preparer) -> Self {
        Self { segment, places, preparer, window: Mutex::default() }
    }

    /// Encodes the event with this text.
    #[expect(clippy::option_option, reason = "no battle noted, or noted as unknown")]
    fn recode_text(&self, text: &str, battle: Option<Option<i64>>, rows: &mut Rows) {
        // The requirements were already checked.
        let rules = ReadRules {
            events_at: None,
            server: None,
            must_name_server: false,
            must_name_battle: false,
            ..self.preparer.rules(&self.segment.source)
        };
        let mut encoder = self.preparer.encoder();
        let encode = |found: Line<'_, '_>| {
            if let (None, Ok(event)) = (found.decoded, found.event) {
                let mut event = event.clone();
                event.battle_id = battle.unwrap_or(event.battle_id);
                let _ = encoder.encode(&event, rows);
            }
        };
        // Errors are impossible: reading and encoding succeeded before with the same text.
        let _ = LineReader::with_rules(rules).read(text, &mut Event::default(), encode);
    }

    /// Reads the value at this place, and passes the number of each event of a string in it, and the event.
    fn each_decoded(&self, place: EventPlace, text: &str, mut each: impl FnMut(usize, &Event<'_>)) {
        // All rules apply, because a reject can have its own battle.
        let rules = self.preparer.rules(&self.segment.source);
        let context = context_at(&self.segment, place.text().start);
        let pass = |found: Line<'_, '_>| {
            if let (Some(number), Ok(event)) = (found.decoded, found.event) {
                each(number, event);
            }
        };
        let _ = LineReader::with_rules(rules).read_value(text, 0, context, &mut Event::default(), pass);
    }

    /// Encodes event `number` of the strings in a value, and neighbors.
    fn window(&self, place: EventPlace, text: &str, number: usize) -> Window {
        let first = number - number % WINDOW_EVENTS;
        let numbers = first..first + WINDOW_EVENTS;
        let empty = || {
            let mut window = Window { value: place.text().start, ..Window::default() };
            if text.len() > LARGE_EVENT_MIN {
                window.rows.reserve(LARGE_CAPACITY);
            }
            window
        };
        let (mut window, mut encoder) = (empty(), self.preparer.encoder());
        self.each_decoded(place, text, |found, event| {
            let is_full = window.rows.byte_len() >= WINDOW_BYTES;
            if !numbers.contains(&found) || is_full && found > number {
                return;
            }
            if is_full {
                window = empty();
            }
            if encoder.encode(event, &mut window.rows).is_ok() {
                window.numbers.push(found);
            }
        });
        window
    }

    /// Encodes event `number` of the strings in a value, and keeps the rows of its neighbors.
    fn recode_neighbor(&self, place: EventPlace, text: &str, number: usize, rows: &mut Rows) {
        let value = place.text().start;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.find(value, number).is_none() {
            // Frees the memory before the next window needs it.
            *window = Window::default();
            *window = self.window(place, text, number);
        }
        let is_large = window.rows.byte_len() > 2 * WINDOW_BYTES;
        if is_large {
            rows.reserve(LARGE_CAPACITY);
        }
        if let Some(event) = window.find(value, number) {
            rows.append(&window.rows, event);
        }
        if is_large {
            // Waiting batches keep their windows, so those are small.
            *window = Window::default();
        }
    }
}

impl Recode for Recoder {
    fn recode(&self, event: usize, battle: Option<Option<i64>>, rows: &mut Rows) {
        let place = self.places[event];
        let Ok(text) = str::from_utf8(&self.segment.bytes[place.text()]) else { return };
        if let (Some(number), None) = (place.decoded(), battle) {
            return self.recode_neighbor(place, text, number, rows);
        }
        if text.len() > LARGE_EVENT_MIN {
            rows.reserve(LARGE_CAPACITY);
        }
        let Some(number) = place.decoded() else { return self.recode_text(text, battle, rows) };
        let mut encoder = self.preparer.encoder();
        self.each_decoded(place, text, |found, event| {
            if found == number {
                let battle_id = battle.unwrap_or(event.battle_id);
                let _ = encoder.encode(&Event { battle_id, ..event.clone() }, rows);
            }
        });
    }
}
