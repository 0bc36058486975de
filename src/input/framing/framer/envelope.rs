//! Follows the path to the events into a value that is too long to hold, or that is cut off.
//!
//! Each value on the path becomes a span of its own. If it is too long as well, the framer follows the path further.

use std::mem;
use std::sync::Arc;

use memchr::{memchr, memchr_iter, memrchr};

use crate::input::framing::framer::members::{
    Following, MemberHead, first_key, fits, leads_to_events, skip_between,
};
use crate::input::framing::framer::separators::is_space;
use crate::input::framing::framer::{Ahead, Framed, Framer, Joint};
use crate::input::framing::path::Surroundings;
use crate::input::framing::scan::{DEPTH_MAX, Scanned, ValueScan};

/// The maximum length of a text that matters for events, with its quotes, in bytes.
const NOTE_BYTES_MAX: usize = 64;

/// An object or an array in an envelope whose values are framed one by one.
#[derive(Debug, Clone)]
pub(crate) struct EnvelopeLevel {
    /// The surroundings of its values.
    inside: Arc<Surroundings>,
    /// Its index, if it is an element of an array.
    index: Option<u64>,
    /// Whether it is an object with a value on the path so far.
    has_value: bool,
    /// The indent of the line in which it begins.
    pub(crate) line_column: usize,
    /// The column from which on a key at the start of a line is inside. None before the first member.
    pub(crate) inside_column: Option<usize>,
}

impl EnvelopeLevel {
    /// Creates the level around a value that was taken out of an envelope.
    pub(crate) fn around(inside: &Arc<Surroundings>, index: Option<u64>) -> Self {
        Self { inside: Arc::clone(inside), index, has_value: true, line_column: 0, inside_column: None }
    }

    /// Returns whether it is an array or an element of one.
    pub(crate) fn is_in_array(&self) -> bool {
        self.inside.is_element || self.is_element()
    }

    /// Returns whether it is an element of an array.
    pub(crate) fn is_element(&self) -> bool {
        self.index.is_some()
    }
}

/// The part of an envelope that was framed.
#[expect(clippy::struct_excessive_bools, reason = "each is a separate finding")]
#[derive(Debug, Clone, Default)]
pub(crate) struct EnvelopeSoFar {
    /// Whether it has a line feed.
    pub(crate) is_spread: bool,
    /// Whether it has a whole value on the path.
    pub(crate) has_values: bool,
    /// The column of its first byte.
    pub(crate) column: usize,
    /// The key of its first member. Empty if there is none.
    pub(crate) first_key: Vec<u8>,
    /// Whether it contains malformed JSON, or is not closed.
    pub(crate) is_faulty: bool,
    /// The number of commas without a value before them.
    pub(crate) stray_commas: usize,
    /// Whether the member that is being passed over is an object or an array after a value on the path. If a brace is missing,
    /// it may hold events.
    counts_aside: bool,
    /// The bytes of such members.
    pub(crate) unread: u64,
    /// The bytes of the last value on the path, if it is an object around values. If a brace is missing, it may hold other
    /// members.
    pub(crate) last_bytes: u64,
}

/// The state of passing over a member beside the path.
#[derive(Debug, Clone)]
pub(crate) enum Aside {
    /// Its value, which may be a text that matters.
    Value(ValueScan, bool),
    /// It ends at this offset.
    Until(usize),
    /// Malformed JSON begins at this offset.
    Malformed(usize),
}

impl Aside {
    /// Adjusts the offsets after the first bytes of the text were removed.
    pub(crate) fn rebase(&mut self, removed: usize) {
        match self {
            Self::Value(scan, _) => scan.rebase(removed),
            Self::Until(at) | Self::Malformed(at) => *at -= removed,
        }
    }
}

/// How a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueEnd {
    /// More text is needed.
    Open,
    /// At this offset. A closing brace too many after an object belongs to it: the object may be a part of one.
    At(usize),
    /// Before its rest, as after a closing brace too many in it. The byte at this offset shows that.
    TooEarly(usize),
}

impl Framer {
    /// Enters the object or array at `start` if it is on the path. Returns whether it is.
    pub(crate) fn enter_envelope(&mut self, text: &[u8]) -> bool {
        let Some(path) = &self.path else { return false };
        if self.levels.len() >= DEPTH_MAX as usize {
            return false;
        }
        let outer = self.levels.last().map(|level| &*level.inside);
        let steps = outer.map_or(0, |outer| outer.steps);
        let is_array = text[self.start] == b'[';
        let is_entered = match (text[self.start], path.steps.get(steps)) {
            (b'{', Some(step)) => leads_to_events(&text[self.start..], step.as_deref(), path),
            (b'[', Some(_)) => true,
            // The elements of an array at the end of the path are events.
            (b'[', None) => outer.is_some_and(|outer| !outer.is_element),
            _ => false,
        };
        if !is_entered {
            return false;
        }
        let inside = Surroundings {
            steps: steps + usize::from(!is_array),
            is_element: is_array,
            note: outer.and_then(|outer| outer.note.clone()),
        };
        if self.levels.is_empty() {
            let column = self.column_of(text, self.start);
            let first_key = first_key(text, self.start).unwrap_or_default().to_vec();
            self.envelope = EnvelopeSoFar { column, first_key, ..EnvelopeSoFar::default() };
            self.array_faulty &= self.array.is_some();
        }
        let line_column = self.indent(text);
        let index = self.array.take();
        self.levels.push(EnvelopeLevel {
            inside: Arc::new(inside),
            index,
            has_value: false,
            line_column,
            inside_column: None,
        });
        self.array = is_array.then_some(0);
        self.joint = Joint::default();
        self.scan = None;
        self.long_line = false;
        self.move_to(text, self.start + 1);
        true
    }

    /// Leaves the innermost array or object, which ends before `end`.
    pub(crate) fn leave(&mut self, text: &[u8], end: usize) {
        let index = self.levels.pop().and_then(|level| level.index);
        self.array = index.map(|index| index + 1);
        self.joint = Joint { needs_comma: true, ..Joint::default() };
        if self.levels.is_empty() {
            (self.envelope.unread, self.envelope.last_bytes) = (0, 0);
        }
        self.move_to(text, end);
    }

    /// Returns whether the path leads into the values at `start`.
    pub(crate) fn leads_on(&self) -> bool {
        let steps = self.levels.last().map(|level| level.inside.steps);
        self.path.as_ref().zip(steps).is_some_and(|(path, steps)| steps < path.steps.len())
    }

    /// Takes the number of bytes that may hold events and are in no span, unless it is 0.
    pub(crate) fn take_unread(&mut self) -> Option<u64> {
        Some(mem::take(&mut self.envelope.unread)).filter(|unread| *unread > 0)
    }

    /// Leaves the whole envelope, because the rest of its line is malformed, or it is not closed.
    pub(crate) fn leave_envelope(&mut self) {
        if let Some(outermost) = self.levels.first() {
            self.array = outermost.index.map(|index| index + 1);
            self.levels.clear();
            self.aside = None;
            (self.envelope.unread, self.envelope.last_bytes) = (0, 0);
        }
    }

    /// Returns the index of the value at `start`: its own, or that of the envelope's innermost part in an array.
    pub(crate) fn index(&self) -> Option<u64> {
        self.array.or_else(|| self.levels.iter().rev().find_map(|level| level.index))
    }

    /// Returns the surroundings of the value at `start`, if it is in an envelope.
    pub(crate) fn surroundings(&self) -> Option<Arc<Surroundings>> {
        self.levels.last().map(|level| Arc::clone(&level.inside))
    }

    /// Returns the indent that the value at `start` and the lines inside it are compared by. The value of a member begins
    /// behind its key.
    pub(crate) fn indent(&self, text: &[u8]) -> usize {
        let column = self.column_of(text, self.start);
        if self.array.is_some() || self.levels.is_empty() {
            return column;
        }
        memrchr(b'\n', &text[..self.start]).map_or(column, |feed| {
            text[feed + 1..self.start].iter().take_while(|byte| is_space(**byte)).count()
        })
    }

    /// Takes the next member of an object in an envelope.
    pub(crate) fn member(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        if self.aside.is_some() {
            return self.pass_aside(text, ahead);
        }
        let (start, at) = (self.start, skip_between(text, self.start));
        // The last separator is kept for the case that the object is not closed.
        let blank = self.skip_to(text, at.saturating_sub(1).max(start));
        self.joint.line_feed |= text[start..at].contains(&b'\n');
        self.envelope.stray_commas += memchr_iter(b',', &text[start..at]).count().saturating_sub(1);
        if blank.is_some() {
            return blank;
        }
        match text.get(at) {
            None if ahead == Ahead::Nothing => return self.skip_to(text, at).or(Some(Framed::End)),
            None => return Some(Framed::More),
            Some(b'{' | b'[' | b'"') if self.is_outside(text, at) => {
                // Malformed JSON directly before it may have included the end.
                let is_noted = at > self.start || self.envelope.unread > 0;
                let unclosed = is_noted.then(|| self.unclosed(text, self.start, at));
                self.leave_before(text, at);
                return unclosed;
            }
            Some(_) => {}
        }
        if let Some(blank) = self.skip_to(text, at) {
            return Some(blank);
        }
        let window = self.window(text, 1);
        let is_full = window.len() - at > self.value_max_bytes;
        match window.get(at) {
            None => return Some(Framed::More),
            Some(b'}') if self.is_in_object() => self.leave(text, at + 1),
            Some(b'}') => match Following::of(text, at + 1, ahead) {
                Following::Unknown => return Some(Framed::More),
                Following::Member(_) => self.malformed(at, at),
                // The members beside the path may belong into the object that was closed too early.
                Following::Brace(_) if self.envelope.unread > 0 => self.malformed(at, at),
                _ => self.leave(text, at + 1),
            },
            Some(b'"') => match MemberHead::of(window, at) {
                MemberHead::Value(key, value) => {
                    self.note_column(text, at);
                    self.begin_member(text, key, value);
                }
                MemberHead::Open if is_full => self.malformed(at, at),
                MemberHead::Open if ahead == Ahead::Nothing => return Some(self.pass_rest(text)),
                MemberHead::Open => return Some(Framed::More),
                MemberHead::Malformed(fault) => self.malformed(at, fault),
            },
            Some(_) => self.malformed(at, at),
        }
        None
    }

    /// Returns how the value from `start` to `end` ends, as the text after it shows.
    pub(crate) fn value_end(&self, text: &[u8], start: usize, end: usize, ahead: Ahead) -> ValueEnd {
        let is_element = self.array.is_some();
        let is_member = !is_element && !self.levels.is_empty();
        let matters = match text[start] {
            b'{' => !(is_member && self.is_in_object()),
            b'[' => false,
            _ => is_element,
        };
        if !matters {
            return ValueEnd::At(end);
        }
        let is_object = text[start] == b'{';
        let has_line_feed = |text: &[u8]| memchr(b'\n', text).is_some();
        match Following::of(text, end, ahead) {
            Following::Unknown => ValueEnd::Open,
            Following::Brace(after) if is_object && after - start <= self.value_max_bytes => {
                // The brace closes the object around a member, unless that is closed again, or has another member.
                match Following::of(text, after, ahead) {
                    _ if !is_member => ValueEnd::At(after),
                    Following::Unknown => ValueEnd::Open,
                    Following::Member(_) | Following::Brace(_) => ValueEnd::At(after),
                    Following::Text(_) | Following::Other => ValueEnd::At(end),
                }
            }
            // A value of one line is whole: the next line lacks its beginning.
            Following::Member(key) if !is_object || is_member && !self.is_cut(text, key) => ValueEnd::At(end),
            Following::Member(key) if has_line_feed(&text[start..end]) || !has_line_feed(&text[end..key]) => {
                ValueEnd::TooEarly(key)
            }
            Following::Text(rest) if !is_object => ValueEnd::TooEarly(rest),
            _ => ValueEnd::At(end),
        }
    }

    fn begin_member(&mut self, text: &[u8], key: &[u8], value: usize) {
        // The malformed JSON before a member did not include the end of the envelope.
        self.array_faulty &= self.levels.first().is_some_and(|level| level.index.is_some());
        let (Some(path), Some(level)) = (&self.path, self.levels.last_mut()) else { return };
        self.joint = Joint::default();
        // The steps of the values include that of the key.
        let step = path.steps.get(level.inside.steps.saturating_sub(1));
        if step.is_some_and(|step| fits(step.as_deref(), key)) {
            level.has_value = true;
            self.envelope.last_bytes = 0;
            self.scan = Some(ValueScan::new(value));
        } else {
            self.envelope.counts_aside = level.has_value && matches!(text[value], b'{' | b'[');
            let may_be_note = path.note_keys.iter().any(|note| note.as_bytes() == key);
            self.aside = Some(Aside::Value(ValueScan::new(value), may_be_note));
        }
        self.move_to(text, value);
    }

    /// Marks the text at `start` as malformed. `fault` is the offset of the offending byte.
    fn malformed(&mut self, start: usize, fault: usize) {
        debug_assert_eq!(start, self.start);
        self.scan = Some(ValueScan::new(start));
        self.fault = Some(fault);
    }

    /// Passes over a member beside the path, without holding it.
    fn pass_aside(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let start = self.start;
        let found = self.pass_on(text, ahead);
        if self.envelope.counts_aside {
            self.envelope.unread += (self.start - start) as u64;
        }
        found
    }

    fn pass_on(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let mut aside = self.aside.take()?;
        if let Aside::Value(scan, may_be_note) = &mut aside {
            match scan.advance(text) {
                Scanned::End(end) => {
                    if *may_be_note && end - self.start <= NOTE_BYTES_MAX {
                        self.note(&text[self.start..end]);
                    }
                    aside = Aside::Until(end);
                }
                // With a byte before a line feed, so that the malformed text is not empty.
                Scanned::Fault(fault) => {
                    aside = Aside::Malformed(fault - usize::from(text[fault] == b'\n' && fault > self.start));
                }
                Scanned::Open => {
                    *may_be_note &= text.len() - self.start <= NOTE_BYTES_MAX;
                    let waits = *may_be_note;
                    self.aside = Some(aside);
                    if ahead == Ahead::Nothing {
                        return Some(self.pass_rest(text));
                    }
                    let last = text.len().saturating_sub(1).max(self.start);
                    let blank = if waits { None } else { self.pass_to(text, last) };
                    return blank.or(Some(Framed::More));
                }
            }
        }
        let (Aside::Until(at) | Aside::Malformed(at)) = aside else { return None };
        let blank = self.pass_to(text, at);
        if blank.is_some() {
            self.aside = Some(aside);
        } else if matches!(aside, Aside::Malformed(_)) {
            self.malformed(at, at);
        }
        blank
    }

    /// Notes a text of the innermost object, if it matters and an enclosing one has none.
    fn note(&mut self, value: &[u8]) {
        let (Some(path), Some(level)) = (&self.path, self.levels.last_mut()) else { return };
        let value = str::from_utf8(value).ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
        if let Some(text) = value.filter(|text| (path.is_note)(text))
            && level.inside.note.is_none()
        {
            self.has_late_note |= level.has_value;
            let note = Some(text.to_owned());
            level.inside = Arc::new(Surroundings { note, ..(*level.inside).clone() });
        }
    }
}
