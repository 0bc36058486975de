//! A value of a dump: nothing, one event, an array of events, or an envelope of either.

use crate::event::fault::Fault;
use crate::event::forms::envelope::{EventsAt, PathStep, seeming_path};
use crate::event::forms::reject_record;
use crate::event::json::{Cursor, Parsed};
use crate::event::kill_event::Event;
use crate::event::parse;
use crate::event::server::Server;
use crate::event::text::NulPolicy;

/// The longest array of events: a bound on the space that is taken by what is noted of each. The API's pages have
/// at most 51.
const ELEMENTS_MAX: usize = 32_768;

/// One event of a value, as it is handed to the caller of [`LineReader::read`].
#[derive(Debug)]
pub struct Line<'e, 'a> {
    /// The event's place in the innermost array that holds it, from 0; `None` where no array does.
    pub index: Option<usize>,
    /// Where the event begins, in bytes from the start of the text; of an event that was in a string, where the value
    /// that holds it begins.
    pub byte_offset: usize,
    /// How many bytes it takes there; of an event that was in a string, how many the value takes.
    pub byte_len: usize,
    /// The event's text.
    pub text: &'a str,
    /// Of an event that was in a string: which of the value's events it is, from 0.
    pub decoded: Option<usize>,
    /// The event, or why it was rejected.
    pub event: Result<&'e Event<'a>, Fault>,
}

/// What is taken for an event, and what is made of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadRules<'r> {
    /// What becomes of a NUL.
    pub nul: NulPolicy,
    /// Where events lie in each value; at its top where this is not set.
    pub events_at: Option<&'r EventsAt>,
    /// The game server that events must not contradict.
    pub server: Option<Server>,
    /// Whether each event must name its game server.
    pub must_name_server: bool,
    /// The battle of events that name none.
    pub battle: Option<i64>,
    /// Whether each event must name its battle.
    pub must_name_battle: bool,
}

/// Reads values, which may hold an event, an array of events or white space. What it has seen in one makes the next ones
/// faster, and changes nothing else.
#[derive(Debug)]
pub struct LineReader<'a, 'r> {
    cursor: Cursor<'a>,
    rules: ReadRules<'r>,
}

/// Who gets the events of a value.
type Each<'c> = &'c mut dyn FnMut(Line<'_, '_>);

/// What is known of an event from what it lies in.
#[derive(Debug, Clone, Copy, Default)]
struct Around {
    index: Option<usize>,
    server: Option<Server>,
}

impl<'a, 'r> LineReader<'a, 'r> {
    /// A reader that has seen nothing yet.
    pub fn new(nul: NulPolicy) -> Self {
        Self::with_rules(ReadRules { nul, ..ReadRules::default() })
    }

    /// The same, for events that are not alone in their values, or of which more is known.
    pub fn with_rules(rules: ReadRules<'r>) -> Self {
        Self { cursor: Cursor::new(rules.nul), rules }
    }

    /// Reads a text of one value and hands out each event of it.
    ///
    /// A byte order mark at the start is dropped. `event` is space that is used for all events.
    ///
    /// # Errors
    ///
    /// The text is no JSON, or an array too long. Events handed out before are then to be forgotten: the text counts as
    /// one event that is rejected.
    pub fn read(
        &mut self,
        line: &'a str,
        event: &mut Event<'a>,
        mut each: impl FnMut(Line<'_, '_>),
    ) -> Result<(), Fault> {
        self.read_value(line, 0, None, event, &mut each)?;
        self.cursor.expect_end()
    }

    /// Reads the value that begins at byte `start` of a text, behind white space, and hands out each event of it. `index` is
    /// its place in an array that is not part of the text: such a value is no array of events. Returns where the value ends.
    /// What follows is not looked at, but a number, a word or a string must not go on.
    ///
    /// A byte order mark at the start of the text is dropped. `event` is space that is used for all events.
    ///
    /// # Errors
    ///
    /// The value is no JSON, or an array too long. Events handed out before are then to be forgotten.
    pub fn read_value(
        &mut self,
        text: &'a str,
        start: usize,
        index: Option<usize>,
        event: &mut Event<'a>,
        mut each: impl FnMut(Line<'_, '_>),
    ) -> Result<usize, Fault> {
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
        let around = Around { index, server: None };
        match (first, rules.events_at) {
            (None, _) => {}
            (Some(_), Some(path)) => {
                let walk = Walk { rules, path };
                walk.read(cursor, event, path.steps(), around, &mut each)?;
            }
            (Some(b'['), None) if index.is_none() => cursor.array(|cursor, index| {
                bound_elements(index)?;
                read_event(cursor, event, rules, Around { index: Some(index), server: None }, &mut each)
            })?,
            (Some(_), None) => read_event(cursor, event, rules, around, &mut each)?,
        }
        if first.is_some_and(|first| !b"{[".contains(&first)) {
            cursor.expect_space()?;
        }
        Ok(mark + cursor.at())
    }
}

/// The length of a value whose end is not read yet; of what is no JSON, that of the rest.
#[cold]
fn value_len_at(text: &str, start: usize) -> usize {
    let mut cursor = Cursor::new(NulPolicy::Replace);
    cursor.start_at(text, start);
    match cursor.skip() {
        Ok(()) => cursor.at() - start,
        Err(_) => text.len() - start,
    }
}

fn bound_elements(index: usize) -> Parsed<()> {
    if index == ELEMENTS_MAX {
        return Err(Fault::line(format!("an array of more than {ELEMENTS_MAX} elements")));
    }
    Ok(())
}

/// Reads an event; one that is JSON but does not fit is an outcome, not an error.
#[inline]
fn read_event<'a>(
    cursor: &mut Cursor<'a>,
    event: &mut Event<'a>,
    rules: &ReadRules<'_>,
    around: Around,
    each: &mut impl FnMut(Line<'_, '_>),
) -> Parsed<()> {
    cursor.peek();
    let (start, place) = (cursor.at(), cursor.place());
    let result = parse::event(cursor, event).and_then(|()| settle(event, rules, around));
    if let Err(fault) = &result {
        if fault.refuses_line() {
            return Err(fault.clone());
        }
        // The fault was met somewhere inside: what follows it must be JSON all the same.
        cursor.return_to(place);
        cursor.skip()?;
        let text = cursor.text_since(start);
        if let Some(record) = reject_record::read(text) {
            read_rejected(text, start, record, rules, around, each);
            return Ok(());
        }
        let fault = fault.clone();
        let fault = if fault.field() == Some("EventId") { fault.and(&advice(text)) } else { fault };
        each(line(text, start, around, Err(fault)));
        return Ok(());
    }
    each(line(cursor.text_since(start), start, around, Ok(event)));
    Ok(())
}

fn line<'e, 'a>(
    text: &'a str,
    byte_offset: usize,
    around: Around,
    event: Result<&'e Event<'a>, Fault>,
) -> Line<'e, 'a> {
    Line { index: around.index, byte_offset, byte_len: text.len(), text, decoded: None, event }
}

/// Applies what is known from elsewhere.
fn settle(event: &mut Event<'_>, rules: &ReadRules<'_>, around: Around) -> Parsed<()> {
    let named = parse::one_server(event.server, around.server).map_err(|fault| fault.within("server"))?;
    event.server = named;
    match (rules.server, named) {
        (Some(expected), Some(named)) if expected != named => {
            let reason = format!("the event is of {named}, and this load is of {expected}");
            return Err(Fault::value(reason).within("server"));
        }
        (_, None) if rules.must_name_server => {
            let reason = "names no game server, as the events before it do; load it with --server";
            return Err(Fault::value(reason).within("server"));
        }
        _ => {}
    }
    if event.battle_id.is_none() {
        event.battle_id = rules.battle;
        if rules.must_name_battle {
            let reason = "names no battle, and neither does the name of the file, for --battle from-name";
            return Err(Fault::value(reason).within("BattleId"));
        }
    }
    Ok(())
}

/// Where an event seems to lie, for someone who has to name the place.
#[cold]
fn advice(text: &str) -> String {
    match seeming_path(text) {
        Some(path) => format!("an event seems to be at '{path}': add --events-at '{path}'"),
        None => String::new(),
    }
}

/// Reads the value of a line of a reject file.
#[cold]
fn read_rejected(
    text: &str,
    start: usize,
    record: Result<String, Fault>,
    rules: &ReadRules<'_>,
    around: Around,
    each: Each<'_>,
) {
    let steps = rules.events_at.map(EventsAt::steps).unwrap_or_default();
    match record {
        Ok(value) => read_decoded(&value, rules, steps, around, each),
        Err(fault) => each(line(text, start, around, Err(fault))),
    }
}

/// Reads JSON that was in a string. What is no JSON is one rejected event.
fn read_decoded(text: &str, rules: &ReadRules<'_>, steps: &[PathStep], around: Around, each: Each<'_>) {
    let mut cursor = Cursor::new(rules.nul);
    cursor.start_at(text, 0);
    let checked = cursor.skip().and_then(|()| cursor.expect_end());
    let mut each = |line: Line<'_, '_>| each(Line { decoded: Some(0), ..line });
    let read = checked.and_then(|()| {
        cursor.start_at(text, 0);
        cursor.peek();
        let mut event = Event::default();
        match rules.events_at {
            Some(path) => Walk { rules, path }.read(&mut cursor, &mut event, steps, around, &mut each),
            None => read_top(&mut cursor, &mut event, rules, around, &mut each),
        }
    });
    if let Err(fault) = read {
        each(line(text, 0, around, Err(Fault::value(fault.reason().to_owned()))));
    }
}

/// Reads an event or an array of events.
fn read_top<'a>(
    cursor: &mut Cursor<'a>,
    event: &mut Event<'a>,
    rules: &ReadRules<'_>,
    around: Around,
    each: Each<'_>,
) -> Parsed<()> {
    let mut each = each;
    if cursor.peek() != Some(b'[') {
        return read_event(cursor, event, rules, around, &mut each);
    }
    cursor.array(|cursor, index| {
        bound_elements(index)?;
        read_event(cursor, event, rules, Around { index: Some(index), ..around }, &mut each)
    })
}

/// Follows a path to events.
struct Walk<'w, 'r> {
    rules: &'w ReadRules<'r>,
    path: &'w EventsAt,
}

impl Walk<'_, '_> {
    /// Reads the value at which the cursor stands, of which the events are at the end of `steps`.
    fn read<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        event: &mut Event<'a>,
        steps: &[PathStep],
        around: Around,
        each: Each<'_>,
    ) -> Parsed<()> {
        match (cursor.peek(), steps) {
            (Some(b'"'), _) if steps.len() < self.path.steps().len() => {
                let text = cursor.whole_string()?;
                read_decoded(&text, self.rules, steps, around, each);
                Ok(())
            }
            (_, []) => read_top(cursor, event, self.rules, around, each),
            (Some(b'['), _) => cursor.array(|cursor, index| {
                bound_elements(index)?;
                self.read(cursor, event, steps, Around { index: Some(index), ..around }, &mut *each)
            }),
            (Some(b'{'), [step, rest @ ..]) => self.member(cursor, event, (step, rest), around, each),
            _ => self.nothing(cursor, around, each),
        }
    }

    fn member<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        event: &mut Event<'a>,
        (step, rest): (&PathStep, &[PathStep]),
        around: Around,
        each: Each<'_>,
    ) -> Parsed<()> {
        let (start, place) = (cursor.at(), cursor.place());
        let (mut server, mut found, mut is_event) = (None, Vec::new(), false);
        let mut key = cursor.first_key()?;
        while let Some(name) = key {
            if step.fits(&name) {
                // Of two equal keys the last one counts.
                if matches!(step, PathStep::Member(_)) {
                    found.clear();
                }
                bound_elements(found.len())?;
                found.push(cursor.place());
            }
            if matches!(&*name, "server" | "region" | "source_region") {
                server = server.or(parse::named_server(cursor)?);
            } else {
                is_event |= name == "EventId";
                cursor.skip()?;
            }
            key = cursor.following_key()?;
        }
        let end = cursor.place();
        if is_event || found.is_empty() {
            let text = cursor.text_since(start);
            let is_record = found.is_empty() && reject_record::read(text).is_some();
            if is_event || is_record {
                // An event that lies at the top, as in a reject file.
                cursor.return_to(place);
                let mut each = each;
                return read_event(cursor, event, self.rules, around, &mut each);
            }
            cursor.return_to(place);
            return self.nothing(cursor, around, each);
        }
        let around = Around { server: around.server.or(server), ..around };
        for member in found {
            cursor.return_to(member);
            cursor.peek();
            self.read(cursor, event, rest, around, &mut *each)?;
        }
        cursor.return_to(end);
        Ok(())
    }

    /// Hands out the value at which the cursor stands as one that has nothing at the path.
    fn nothing(&self, cursor: &mut Cursor<'_>, around: Around, each: Each<'_>) -> Parsed<()> {
        let start = cursor.at();
        cursor.skip()?;
        let text = cursor.text_since(start);
        let fault = Fault::value(format!("no value at '{}', the path of --events-at", self.path));
        each(line(text, start, around, Err(fault.and(&advice(text)))));
        Ok(())
    }
}

/// The text of an event that was in a string: event `number` of a value. None if the value has no such event.
pub(crate) fn decoded_text(value: &str, number: usize, rules: ReadRules<'_>) -> Option<String> {
    let mut text = None;
    let read = LineReader::with_rules(rules).read(value, &mut Event::default(), |line| {
        if line.decoded == Some(number) {
            text = Some(line.text.to_owned());
        }
    });
    read.ok().and(text)
}
