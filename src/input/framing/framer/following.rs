//! What follows malformed JSON in an envelope: the rest of the envelope, or another one.
//!
//! Brackets do not show it, because the malformed JSON may contain them. Keys and columns at the start of a line do.

use memchr::{memchr, memchr_iter};

use crate::input::framing::framer::envelope::EnvelopeLevel;
use crate::input::framing::framer::members::{LOOK_AHEAD_BYTES, MemberHead, first_key, skip_space};
use crate::input::framing::framer::separators::is_space;
use crate::input::framing::framer::{Ahead, Framed, Framer};

/// The text after a place, as far as it is examined.
struct TextAfter<'t> {
    window: &'t [u8],
    /// Whether more of it may follow.
    is_open: bool,
}

impl<'t> TextAfter<'t> {
    fn of(text: &'t [u8], start: usize, ahead: Ahead) -> Self {
        let end = start + LOOK_AHEAD_BYTES;
        Self { window: &text[..text.len().min(end)], is_open: ahead != Ahead::Nothing && text.len() < end }
    }
}

impl Framer {
    /// Enters the object or array at `start`, which the text shows to be malformed, or not closed, if it is on the path. Returns
    /// whether it is.
    pub(crate) fn enter_faulty(&mut self, text: &[u8]) -> bool {
        let start = self.start;
        let is_entered = self.enter_envelope(text);
        if is_entered {
            self.envelope.is_faulty = true;
            self.wasted += (text.len() - start) as u64;
        }
        is_entered
    }

    /// Enters the object or array at `start`, which has no end in the text, if it is on the path and no text follows. Returns
    /// whether it is.
    pub(crate) fn enter_unclosed(&mut self, text: &[u8], ahead: Ahead) -> bool {
        let is_divided = match ahead {
            Ahead::More | Ahead::Settle => false,
            Ahead::CutOff => true,
            Ahead::Nothing => {
                !self.scans_too_much() && memchr(b'\n', text[self.start..].trim_ascii_end()).is_some()
            }
        };
        is_divided && self.enter_faulty(text)
    }

    /// Returns whether the value at `start`, with malformed JSON at `fault`, spans several lines, or is in the first line of an
    /// envelope that does. None if more text is needed.
    pub(crate) fn is_in_several_lines(&self, text: &[u8], fault: usize, ahead: Ahead) -> Option<bool> {
        if memchr(b'\n', text[self.start..fault].trim_ascii_end()).is_some() {
            return Some(true);
        }
        let is_in_first_line = self.levels.is_empty() || !self.envelope.is_spread;
        if self.path.is_none() || !is_in_first_line || !matches!(text[self.start], b'{' | b'[') {
            return Some(false);
        }
        let window = self.window(text, 1);
        let is_full = window.len() - self.start > self.value_max_bytes;
        match memchr(b'\n', &window[self.start..]) {
            Some(found) => self.continues(text, self.start + found, ahead),
            None if is_full || matches!(ahead, Ahead::CutOff | Ahead::Nothing) => Some(false),
            None => None,
        }
    }

    /// Returns whether malformed JSON in the first line of an envelope, which ends at `end`, does not end the envelope. None if
    /// more text is needed.
    pub(crate) fn continues(&self, text: &[u8], end: usize, ahead: Ahead) -> Option<bool> {
        let is_element = match self.levels.first() {
            Some(outermost) => outermost.is_element(),
            None => self.array.is_some(),
        };
        let TextAfter { window, is_open } = TextAfter::of(text, end, ahead);
        let at = skip_space(window, end);
        match window.get(at) {
            None => (!is_open).then_some(false),
            Some(b'{') => self.begins_envelope(text, at, ahead).map(|is_other| !is_other),
            // Around an envelope in an array they can be those of the array.
            Some(b',' | b']' | b'}' | b'"') => Some(!is_element),
            Some(_) => Some(false),
        }
    }

    /// Returns whether another envelope follows the malformed value at `start` in the line at `next`. None if more text is
    /// needed.
    pub(crate) fn is_before_envelope(&self, text: &[u8], next: usize, ahead: Ahead) -> Option<bool> {
        if self.levels.is_empty() {
            return Some(false);
        }
        let TextAfter { window, is_open } = TextAfter::of(text, next, ahead);
        let at = skip_space(window, next);
        match window.get(at) {
            None => (!is_open).then_some(false),
            Some(b'{') => self.begins_envelope(text, at, ahead),
            Some(_) => Some(false),
        }
    }

    /// Returns whether the object at `at` is another envelope: it begins with the same key as the one around `start`, or at
    /// `start`, and not further right. None if more text is needed.
    fn begins_envelope(&self, text: &[u8], at: usize, ahead: Ahead) -> Option<bool> {
        let own = first_key(text, self.start).unwrap_or_default();
        let (column, key) = if self.levels.is_empty() {
            (self.column_of(text, self.start), own)
        } else {
            (self.envelope.column, &self.envelope.first_key[..])
        };
        // Elements with the same key are no envelopes.
        let is_ambiguous = key.is_empty() || !self.levels.is_empty() && own == key;
        if is_ambiguous || self.column_of(text, at) > column {
            return Some(false);
        }
        let TextAfter { window, is_open } = TextAfter::of(text, at, ahead);
        match MemberHead::first_of(window, at) {
            MemberHead::Value(found, _) => Some(found == key),
            MemberHead::Open => (!is_open).then_some(false),
            MemberHead::Malformed(_) => Some(false),
        }
    }

    /// Returns the first key in a malformed envelope's member at `start`, up to the end of the text, that begins a line outside of
    /// it: further left than its first member, or not indented deeper than its line. Its end is not where it should be.
    pub(crate) fn key_outside(&self, text: &[u8]) -> Option<usize> {
        let is_member = self.array.is_none() && !self.levels.is_empty() && text[self.start] == b'{';
        if !self.envelope.is_faulty || !is_member {
            return None;
        }
        let first = skip_space(text, self.start + 1);
        let inside = if memchr(b'\n', &text[self.start..first]).is_none() {
            self.indent(text) + 1
        } else if text.get(first) == Some(&b'"') && self.is_in_object() && self.is_left_of_inside(text, first)
        {
            return Some(first);
        } else {
            self.column_of(text, first)
        };
        memchr_iter(b'\n', &text[self.start..]).map(|found| self.start + found + 1).find_map(|line| {
            let indent = text[line..].iter().take(inside).take_while(|byte| is_space(**byte)).count();
            (indent < inside && text.get(line + indent) == Some(&b'"')).then_some(line + indent)
        })
    }

    /// Notes where the members of the innermost object begin. The next one begins at `at`.
    pub(crate) fn note_column(&mut self, text: &[u8], at: usize) {
        let column = self.joint.line_feed.then(|| self.column_of(text, at));
        if let Some(level) = self.levels.last_mut() {
            level.note_column(column);
        }
    }

    /// Returns whether the innermost object is a member of another one, so that another member may follow it.
    pub(crate) fn is_in_object(&self) -> bool {
        self.levels.len() > 1 && self.levels.last().is_some_and(|level| !level.is_element())
    }

    /// Returns whether the text at `at` begins a line outside of the innermost object, which has no end before it: a value not
    /// further right than the envelope, which has no key, or, after malformed JSON, a key further left than the object's.
    pub(crate) fn is_outside(&self, text: &[u8], at: usize) -> bool {
        self.joint.line_feed
            && match text[at] {
                b'"' => self.envelope.is_faulty && self.is_in_object() && self.is_left_of_inside(text, at),
                _ => self.column_of(text, at) <= self.envelope.column,
            }
    }

    /// Leaves the envelope, or its objects, that have no end before the text at `at`.
    pub(crate) fn leave_before(&mut self, text: &[u8], at: usize) {
        if text[at] != b'"' {
            self.leave_envelope();
            return;
        }
        while self.is_in_object() && self.is_left_of_inside(text, at) {
            self.levels.pop();
        }
        (self.envelope.unread, self.envelope.last_bytes) = (0, 0);
    }

    /// Returns whether a key at `at`, which begins a line, is outside of the innermost object.
    pub(crate) fn is_left_of_inside(&self, text: &[u8], at: usize) -> bool {
        let inside = self.levels.last().and_then(|level| level.inside_column);
        inside.is_some_and(|inside| self.column_of(text, at) < inside)
    }

    /// Frames the text from `start` to the value at `at` as the place where an envelope is not closed.
    pub(crate) fn unclosed(&mut self, text: &[u8], start: usize, at: usize) -> Framed {
        let unread = self.envelope.unread + self.envelope.last_bytes;
        let mut framed = self.part(text, start, at, at);
        if let Framed::Span { span, .. } = &mut framed {
            span.unread = Some(unread);
        }
        framed
    }
}

impl EnvelopeLevel {
    /// Notes the column of its next member, if that begins a line.
    fn note_column(&mut self, column: Option<usize>) {
        self.inside_column.get_or_insert(column.unwrap_or(self.line_column + 1));
    }
}
