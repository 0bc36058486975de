//! Reads the values of a dump: one event, an array of events, an envelope of either, or nothing.

use crate::event::fault::Fault;
use crate::event::forms::envelope::{EventsAt, PathStep, guess_path};
use crate::event::forms::reject_record::{self, RejectLine};
use crate::event::json::{Cursor, Parsed};
use crate::event::kill_event::Event;
use crate::event::line::walk::{MalformedElement, MalformedPlace, Walk};
use crate::event::parse;
use crate::event::rules::{Enclosing, ReadRules, ValueContext};
use crate::event::server::Server;
use crate::event::text::NulPolicy;

pub(crate) mod walk;

/// One event of a value, as passed to the callback of [`LineReader::read`].
#[derive(Debug)]
pub struct Line<'e, 'a> {
    /// The index of the event in the innermost array that contains it, or `None` outside of arrays.
    pub index: Option<usize>,
    /// The start of the event in the text, in bytes. For an event decoded from a string: the start of the value that
    /// contains it.
    pub byte_offset: usize,
    /// The length of the event, or of the value that contains it, in bytes.
    pub byte_len: usize,
    /// The text of the event.
    pub text: &'a str,
    /// For an event decoded from a string: its index among the events of the value.
    pub decoded: Option<usize>,
    /// The game server that the enclosing values name.
    pub enclosing_server: Option<Server>,
    /// The event, or the reason why it was rejected.
    pub event: Result<&'e Event<'a>, Fault>,
}

/// Reads values: an event, an array of events, or white space. Caches from earlier values make later ones faster and do
/// not change results.
#[derive(Debug)]
pub struct LineReader<'a, 'r> {
    cursor: Cursor<'a>,
    rules: ReadRules<'r>,
}

#[derive(Debug)]
pub(crate) struct MalformedValue {
    pub(crate) fault: Fault,
    /// The malformed part, if it is in an array or an envelope. The events before it were passed on.
    pub(crate) element: Option<MalformedElement>,
}

impl From<Fault> for MalformedValue {
    fn from(fault: Fault) -> Self {
        Self { fault, element: None }
    }
}

type Each<'c> = &'c mut dyn FnMut(Line<'_, '_>);

impl<'a, 'r> LineReader<'a, 'r> {
    /// Creates a reader with default rules.
    pub fn new(nul: NulPolicy) -> Self {
        Self::with_rules(ReadRules { nul, ..ReadRules::default() })
    }

    /// Creates a reader with these rules.
    pub fn with_rules(rules: ReadRules<'r>) -> Self {
        Self { cursor: Cursor::new(rules.nul), rules }
    }

    /// Reads a text with one value and passes each event to `each`.
    ///
    /// A byte order mark at the start is ignored. `event` is reused for all events.
    ///
    /// # Errors
    ///
    /// The text is not JSON, or an array is too long. The caller must then discard the events of this text, and count
    /// the text as one rejected event.
    pub fn read(
        &mut self,
        line: &'a str,
        event: &mut Event<'a>,
        mut each: impl FnMut(Line<'_, '_>),
    ) -> Result<(), Fault> {
        let read = self.read_value(line, 0, ValueContext::default(), event, &mut each);
        read.map_err(|malformed| malformed.fault)?;
        self.cursor.expect_end()
    }

    /// Reads the value at byte `start` of a text, after white space, and passes each event to `each`. Returns the end
    /// of the value. `context` is its place outside of the text; an element of an array there can't be an array of events.
    /// The text after the value is not checked, except that a number, a word or a string must end there.
    ///
    /// A byte order mark at the start of the text is ignored. `event` is reused for all events.
    ///
    /// # Errors
    ///
    /// The value is not JSON, or an array is too long. The caller must then discard the events of this value. It may keep
    /// those before a malformed element.
    pub(crate) fn read_value(
        &mut self,
        text: &'a str,
        start: usize,
        context: ValueContext,
        event: &mut Event<'a>,
        mut each: impl FnMut(Line<'_, '_>),
    ) -> Result<usize, MalformedValue> {
        let marked = text;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mark = marked.len() - text.len();
        let (cursor, rules) = (&mut self.cursor, &self.rules);
        cursor.start_at(text, start.saturating_sub(mark));
        let first = cursor.peek();
        let value_at = cursor.at();
        let (mut number, mut value_len) = (0, None);
        let mut each = |found: Line<'_, '_>| {
            each(if found.decoded.is_none() {
                Line { byte_offset: mark + found.byte_offset, ..found }
            } else {
                let byte_len = *value_len.get_or_insert_with(|| value_len_at(text, value_at));
                Line { byte_offset: mark + value_at, byte_len, decoded: Some(number), ..found }
            });
            number += 1;
        };
        let malformed = MalformedPlace::default();
        let ValueContext { index, server, steps: done, is_element } = context;
        let mut read = |cursor: &mut Cursor<'a>, index| {
            let context = Enclosing { index, server, is_member: false };
            let steps = rules.events_at.and_then(|path| path.steps().get(done.unwrap_or(0)..));
            match (rules.events_at, steps.unwrap_or_default()) {
                // An element of the array at the end of the path is no array of events, but may be a string.
                (Some(path), steps) if !(is_element && steps.is_empty()) || first == Some(b'"') => {
                    let walk = Walk { rules, path, malformed: &malformed };
                    walk.read(cursor, event, steps, context, &mut each)
                }
                _ => read_event(cursor, event, rules, context, &mut each),
            }
        };
        let read = match first {
            None => Ok(()),
            Some(b'[') if index.is_none() && done.is_none() => {
                malformed.elements(cursor, server, |cursor, index| read(cursor, Some(index)))
            }
            Some(_) => read(cursor, index),
        };
        read.map_err(|fault| {
            let shifted =
                |element: MalformedElement| MalformedElement { start: mark + element.start, ..element };
            MalformedValue { fault, element: malformed.get().map(shifted) }
        })?;
        if first.is_some_and(|first| !b"{[".contains(&first)) {
            cursor.expect_space()?;
        }
        Ok(mark + cursor.at())
    }
}

/// Returns the length of the value at `start`, or of the remaining text if it is not JSON.
#[cold]
fn value_len_at(text: &str, start: usize) -> usize {
    let mut cursor = Cursor::new(NulPolicy::Replace);
    cursor.start_at(text, start);
    match cursor.skip_leniently() {
        Ok(()) => cursor.at() - start,
        Err(_) => text.len() - start,
    }
}

/// Reads an event. Invalid JSON is an error; JSON that is not a valid event is passed on as a rejected event.
#[inline]
fn read_event<'a>(
    cursor: &mut Cursor<'a>,
    event: &mut Event<'a>,
    rules: &ReadRules<'_>,
    context: Enclosing,
    each: &mut impl FnMut(Line<'_, '_>),
) -> Parsed<()> {
    cursor.peek();
    let (start, place) = (cursor.at(), cursor.place());
    let result = parse::event(cursor, event).and_then(|()| rules.apply(event, context));
    if let Err(fault) = &result {
        if fault.rejects_line() {
            return Err(fault.clone());
        }
        // The fault occurred inside the value. The text after it must be JSON, too. A lone surrogate rejects only this value,
        // whose end is known.
        cursor.return_to(place);
        cursor.skip_leniently()?;
    }
    let text = cursor.text_since(start);
    if !context.is_member && text.starts_with('{') {
        cursor.expect_no_member()?;
    }
    if let Err(fault) = &result {
        let path = rules.events_at.map(EventsAt::steps).unwrap_or_default();
        if let Some(record) = reject_record::read(text, path) {
            read_rejected(text, start, record, rules, context, each);
            return Ok(());
        }
        let (fault, is_other) = (fault.clone(), fault.field().is_none_or(|field| field == "EventId"));
        let path = if is_other { guessed_path(text, rules.events_at, 0) } else { None };
        each(line(text, start, context, Err(fault.with_events_at(path))));
        return Ok(());
    }
    each(line(text, start, context, Ok(event)));
    Ok(())
}

fn line<'e, 'a>(
    text: &'a str,
    byte_offset: usize,
    context: Enclosing,
    event: Result<&'e Event<'a>, Fault>,
) -> Line<'e, 'a> {
    let Enclosing { index, server: enclosing_server, .. } = context;
    Line { index, byte_offset, byte_len: text.len(), text, decoded: None, enclosing_server, event }
}

/// The path to an event inside the value, if there seems to be one. All but the last `left` steps of `events_at` led to it.
#[cold]
fn guessed_path(text: &str, events_at: Option<&EventsAt>, left: usize) -> Option<String> {
    let found = guess_path(text)?;
    Some(match events_at {
        Some(walked) => walked.extended(left, &found),
        None => found,
    })
}

/// Reads the rejected value in a line of a reject file.
#[cold]
fn read_rejected(
    text: &str,
    start: usize,
    record: RejectLine,
    rules: &ReadRules<'_>,
    context: Enclosing,
    each: Each<'_>,
) {
    let rules = rules.of_rejected(&record.source, record.battle);
    let context = Enclosing { server: record.server.or(context.server), ..context };
    let steps = rules.events_at.map(EventsAt::steps).unwrap_or_default();
    match record.value {
        Ok(value) => read_decoded(&value, &rules, steps, context, each),
        Err(fault) => each(line(text, start, context, Err(fault))),
    }
}

/// Reads the values of a text decoded from a string. Invalid JSON counts as one rejected event.
fn read_decoded(text: &str, rules: &ReadRules<'_>, steps: &[PathStep], context: Enclosing, each: Each<'_>) {
    let mut cursor = Cursor::new(rules.nul);
    cursor.start_at(text, 0);
    let checked = cursor.leniently(Cursor::skip_all);
    let mut each = |line: Line<'_, '_>| each(Line { decoded: Some(0), ..line });
    let malformed = &MalformedPlace::default();
    let read = checked.and_then(|()| {
        cursor.start_at(text, 0);
        let mut event = Event::default();
        while cursor.peek().is_some() {
            match rules.events_at {
                Some(path) => {
                    let walk = Walk { rules, path, malformed };
                    walk.read(&mut cursor, &mut event, steps, context, &mut each)?;
                }
                None => read_top(&mut cursor, &mut event, rules, context, malformed, &mut each)?,
            }
        }
        Ok(())
    });
    if let Err(fault) = read {
        each(line(text, 0, context, Err(fault.in_string())));
    }
}

fn read_top<'a>(
    cursor: &mut Cursor<'a>,
    event: &mut Event<'a>,
    rules: &ReadRules<'_>,
    context: Enclosing,
    malformed: &MalformedPlace,
    each: Each<'_>,
) -> Parsed<()> {
    let mut each = each;
    if cursor.peek() != Some(b'[') {
        return read_event(cursor, event, rules, context, &mut each);
    }
    malformed.elements(cursor, context.server, |cursor, index| {
        let context = Enclosing { index: Some(index), is_member: false, ..context };
        read_event(cursor, event, rules, context, &mut each)
    })
}

/// Returns the text of event `number` of a value, if that event was decoded from a string.
pub(crate) fn decoded_text(
    value: &str,
    number: usize,
    rules: ReadRules<'_>,
    context: ValueContext,
) -> Option<String> {
    let mut text = None;
    // Malformed JSON may follow the event.
    let _ = LineReader::with_rules(rules).read_value(value, 0, context, &mut Event::default(), |line| {
        if line.decoded == Some(number) {
            text = Some(line.text.to_owned());
        }
    });
    text
}
