//! Follows the path of `--events-at` inside a value.
//!
//! Invariant: the events before malformed JSON are passed on, and the place of the malformed text is noted.

use crate::conceal::shown;
use crate::event::fault::{Fault, FaultKind};
use crate::event::field::Field;
use crate::event::forms::envelope::{EventsAt, PathStep};
use crate::event::forms::reject_record;
use crate::event::json::{Cursor, CursorPlace, Parsed};
use crate::event::kill_event::Event;
use crate::event::line::{Each, guessed_path, line, read_decoded, read_event};
use crate::event::parse;
use crate::event::rules::{Enclosing, ReadRules, SERVER_KEYS};
use crate::event::server::Server;
use std::cell::Cell;

/// Maximum length of an array of events, which bounds memory use. The API's pages have at most 51.
const ELEMENTS_MAX: usize = 32_768;

fn bound_elements(index: usize) -> Parsed<()> {
    if index == ELEMENTS_MAX {
        return Err(FaultKind::ArrayTooLong(ELEMENTS_MAX).into());
    }
    Ok(())
}

/// The malformed part of an array or an envelope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MalformedElement {
    /// The index, if it is an element of an array.
    pub(crate) index: Option<usize>,
    /// The start in the text.
    pub(crate) start: usize,
    /// The game server that the values around it name before it.
    pub(crate) server: Option<Server>,
}

/// The place of malformed JSON in an array or an envelope.
#[derive(Debug, Default)]
pub(crate) struct MalformedPlace {
    element: Cell<Option<MalformedElement>>,
    /// The start of the first member beside the path that may hold events, after the last value that was read on the path. If
    /// a brace is missing, the members after it are inside that value.
    beside: Cell<Option<usize>>,
    /// The start of the last member on the path, if members with keys of an event follow it. If there is a brace too many, they
    /// are the rest of its event.
    cut: Cell<Option<usize>>,
}

impl MalformedPlace {
    pub(crate) fn get(&self) -> Option<MalformedElement> {
        self.element.get()
    }

    /// Returns the start of the text that belongs elsewhere if the object around it was closed too early.
    fn misplaced(&self) -> Option<usize> {
        self.cut.get().or(self.beside.get())
    }

    /// Notes a place, unless one further inside is known.
    fn note(&self, index: Option<usize>, start: usize, server: Option<Server>) {
        self.element.set(self.element.get().or(Some(MalformedElement { index, start, server })));
    }

    /// Parses an array. `each` receives the index of each element and must parse the element. The cursor is at `[`. `server`
    /// is the game server that the values around the array name.
    pub(crate) fn elements<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        server: Option<Server>,
        mut each: impl FnMut(&mut Cursor<'a>, usize) -> Parsed<()>,
    ) -> Parsed<()> {
        let mut element = (0, cursor.at());
        let read = cursor.array(|cursor, index| {
            cursor.peek();
            element = (index, cursor.at());
            bound_elements(index)?;
            each(cursor, index)?;
            cursor.peek();
            element = (index + 1, cursor.at());
            Ok(())
        });
        if read.is_err() {
            self.note(Some(element.0), element.1, server);
        }
        // The brackets of the elements match.
        self.beside.set(None);
        self.cut.set(None);
        read
    }
}

/// What an object on the path contains.
#[derive(Default)]
struct Members {
    /// The game server that it names.
    server: Option<Server>,
    /// The values on the path.
    found: Vec<CursorPlace>,
    /// Whether it is itself an event.
    is_event: bool,
    /// Whether it can be a line of a reject file.
    has_raw: bool,
    /// Whether a whole value on the path was read.
    is_partly_read: bool,
    /// The start of the last member.
    last: usize,
    /// The start of the last member on the path, if it is an object.
    last_found: Option<usize>,
    /// The start of the first object or array beside the path, after a value on the path.
    beside: Option<usize>,
    /// The start of the last member on the path, if it is an object and a member with a key of an event follows it.
    cut: Option<usize>,
}

impl Members {
    fn read(&mut self, cursor: &mut Cursor<'_>, step: &PathStep) -> Parsed<()> {
        self.last = cursor.at() + 1;
        let mut key = cursor.first_key()?;
        while let Some(name) = key {
            let fits = step.fits(&name);
            let is_server = SERVER_KEYS.contains(&&*name);
            let is_of_event = !self.found.is_empty() && !is_server && Field::of(&name) != Field::Other;
            if is_of_event {
                self.cut = self.last_found;
            }
            if fits {
                // The last of several equal keys counts.
                if matches!(step, PathStep::Member(_)) {
                    self.found.clear();
                }
                bound_elements(self.found.len())?;
                self.found.push(cursor.place());
                if !is_of_event {
                    self.last_found = (cursor.peek() == Some(b'{')).then_some(self.last);
                }
            }
            if is_server {
                self.server = self.server.or(parse::named_server(cursor)?);
            } else {
                self.is_event |= name == "EventId";
                self.has_raw |= name == "raw";
                if !fits && !self.found.is_empty() && matches!(cursor.peek(), Some(b'{' | b'[')) {
                    self.beside = self.beside.or(Some(self.last));
                }
                cursor.skip()?;
            }
            self.is_partly_read |= fits;
            let is_comma = cursor.peek() == Some(b',');
            self.last = cursor.at() + usize::from(is_comma);
            key = cursor.following_key()?;
        }
        Ok(())
    }
}

/// A path, and the rules for the events at its end.
pub(super) struct Walk<'w, 'r> {
    pub(super) rules: &'w ReadRules<'r>,
    pub(super) path: &'w EventsAt,
    pub(super) malformed: &'w MalformedPlace,
}

impl Walk<'_, '_> {
    /// Reads the value at the cursor. `steps` lead to its events.
    pub(super) fn read<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        event: &mut Event<'a>,
        steps: &[PathStep],
        context: Enclosing,
        each: Each<'_>,
    ) -> Parsed<()> {
        match (cursor.peek(), steps) {
            (Some(b'"'), _) if steps.len() < self.path.steps().len() => {
                let start = cursor.at();
                match cursor.whole_string() {
                    Ok(text) => read_decoded(&text, self.rules, steps, context, each),
                    Err(fault) if fault.rejects_line() => return Err(fault),
                    Err(fault) => each(line(cursor.text_since(start), start, context, Err(fault))),
                }
                Ok(())
            }
            (Some(b'['), _) => self.malformed.elements(cursor, context.server, |cursor, index| {
                let context = Enclosing { index: Some(index), is_member: false, ..context };
                // An array in the array at the end of the path is no array of events.
                if steps.is_empty() && cursor.peek() != Some(b'"') {
                    return read_event(cursor, event, self.rules, context, &mut &mut *each);
                }
                self.read(cursor, event, steps, context, &mut *each)
            }),
            (_, []) => read_event(cursor, event, self.rules, context, &mut &mut *each),
            (Some(b'{'), [step, tail @ ..]) => self.member(cursor, event, (step, tail), context, each),
            _ => self.nothing(cursor, steps.len(), context, each),
        }
    }

    fn member<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        event: &mut Event<'a>,
        (step, tail): (&PathStep, &[PathStep]),
        context: Enclosing,
        each: Each<'_>,
    ) -> Parsed<()> {
        let (start, place) = (cursor.at(), cursor.place());
        let mut members = Members::default();
        // A lone surrogate beside the events does not matter, and one in an event is found when that is read.
        let scanned = cursor.leniently(|cursor| members.read(cursor, step));
        let Members { server, found, is_event, has_raw, is_partly_read, last, beside, cut, .. } = members;
        let inside = Enclosing { server: context.server.or(server), is_member: true, ..context };
        if let Err(fault) = scanned {
            let ends_after_member = cursor.peek().is_none()
                && cursor.at() >= last
                && cursor.text_since(last).trim_ascii().is_empty();
            if !is_event {
                // The last value found may contain the fault. The events before it are kept.
                let read = self.found(cursor, event, found, tail, inside, each);
                // Without an event before it, the whole object is the malformed value.
                if is_partly_read {
                    // The members after a missing brace are not lost: they are part of the malformed text.
                    let inner = self.malformed.beside.get().filter(|_| ends_after_member);
                    self.malformed.note(context.index, inner.or(beside).unwrap_or(last), inside.server);
                }
                read?;
            }
            return Err(fault);
        }
        let end = cursor.place();
        // `*` stands for the members of a line of a reject file too.
        let may_be_record = has_raw && (found.is_empty() || *step == PathStep::Each);
        if is_event || may_be_record && reject_record::read(cursor.text_since(start), &[]).is_some() {
            // An event at the top level, as in a reject file.
            cursor.return_to(place);
            let mut each = each;
            return read_event(cursor, event, self.rules, context, &mut each);
        }
        if found.is_empty() {
            cursor.return_to(place);
            return self.nothing(cursor, tail.len() + 1, context, each);
        }
        self.found(cursor, event, found, tail, inside, each)?;
        let MalformedPlace { beside: inner_beside, cut: inner_cut, .. } = self.malformed;
        inner_beside.set(inner_beside.get().or(beside));
        inner_cut.set(inner_cut.get().or(cut));
        cursor.return_to(end);
        match self.malformed.misplaced() {
            Some(start) if !context.is_member => cursor
                .expect_no_rest()
                .inspect_err(|_| self.malformed.note(context.index, start, inside.server)),
            _ => Ok(()),
        }
    }

    /// Reads the values on the path of an object.
    fn found<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        event: &mut Event<'a>,
        found: Vec<CursorPlace>,
        steps: &[PathStep],
        context: Enclosing,
        each: Each<'_>,
    ) -> Parsed<()> {
        for member in found {
            self.malformed.beside.set(None);
            self.malformed.cut.set(None);
            cursor.return_to(member);
            cursor.peek();
            self.read(cursor, event, steps, context, &mut *each)?;
        }
        Ok(())
    }

    /// Rejects the value at the cursor, because it has nothing at the path.
    fn nothing(&self, cursor: &mut Cursor<'_>, left: usize, at: Enclosing, each: Each<'_>) -> Parsed<()> {
        let start = cursor.at();
        cursor.skip_leniently()?;
        let text = cursor.text_since(start);
        let fault = Fault::from(FaultKind::NothingAtPath(shown(&self.path.to_string()).into_owned()));
        let path = guessed_path(text, Some(self.path), left);
        each(line(text, start, at, Err(fault.with_events_at(path))));
        Ok(())
    }
}
