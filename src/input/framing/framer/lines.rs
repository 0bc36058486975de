//! Lines, and the values of lines that are not spans themselves.

use memchr::memchr;
use serde::de::IgnoredAny;

use crate::input::framing::framer::members::{leads_to_events, skip_space};
use crate::input::framing::framer::separators::{SEPARATOR, ends_in_mark, is_space, skip_separators};
use crate::input::framing::framer::{Ahead, Framed, Framer};
use crate::input::framing::path::EventPath;
use crate::input::framing::scan::{Scanned, ValueScan};

/// The maximum number of white space bytes skipped after a line to find the next value.
const LOOK_AHEAD_BYTES: usize = 4 << 10;

impl Framer {
    /// Takes a line, or the values of a line that ends within a value.
    pub(super) fn line(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let from = self.sought.max(self.start);
        let newline = memchr(b'\n', &text[from..]).map(|found| from + found);
        let Some(end) = newline.or((ahead == Ahead::Nothing).then_some(text.len())) else {
            self.sought = text.len();
            self.long_line = ahead == Ahead::CutOff || text.len() - self.start > self.value_max_bytes;
            let value =
                if ahead == Ahead::Settle && !self.long_line { self.first_of_line(text) } else { None };
            return value.or((!self.long_line).then_some(Framed::More));
        };
        self.sought = end;
        if end == self.start && newline.is_none() {
            return Some(Framed::End);
        }
        if end - self.start > self.value_max_bytes {
            self.long_line = true;
            return None;
        }
        let Some(last) = text[self.start..end].iter().rfind(|byte| !is_space(**byte)) else {
            return Some(self.whole_line(text, end));
        };
        let following = text.get(end + 1..).unwrap_or_default();
        let next =
            following.iter().take(LOOK_AHEAD_BYTES).find(|byte| !is_space(**byte) && **byte != SEPARATOR);
        match (next, ahead) {
            (Some(b'{' | b'['), _) if matches!(last, b'}' | b']') => {}
            (None, Ahead::Nothing) if following.len() < LOOK_AHEAD_BYTES => {}
            (None, Ahead::More) if following.len() < LOOK_AHEAD_BYTES => return Some(Framed::More),
            _ => return self.values_of_line(text, end, newline.and(next.copied().or(Some(b'\n')))),
        }
        Some(self.whole_line(text, end))
    }

    /// Takes the first value of an unfinished line if it is whole. If it is not JSON, the rest of the line belongs to it.
    fn first_of_line(&mut self, text: &[u8]) -> Option<Framed> {
        let start = self.start;
        let at = skip_separators(text, start);
        if text[start..at].contains(&b',') || !matches!(text.get(at), Some(b'{' | b'[')) {
            return None;
        }
        let Scanned::End(end) = ValueScan::new(at).advance(text) else { return None };
        let value = str::from_utf8(&text[at..end]).ok()?;
        serde_json::from_str::<IgnoredAny>(value).ok()?;
        Some(self.part(text, start, end, end))
    }

    /// Scans a line that may end within a value. `next` is the first byte of the next text. None if the line has no end.
    fn values_of_line(&mut self, text: &[u8], end: usize, next: Option<u8>) -> Option<Framed> {
        let has_end = next.is_some();
        let first = skip_separators(&text[..end], self.start);
        let mut at = first;
        while at < end {
            let mut scan = ValueScan::new(at);
            let mut scanned = scan.advance(&text[..end]);
            if scanned == Scanned::Open && !scan.may_end() && has_end {
                scanned = scan.advance(&text[..=end]);
            }
            let is_divided = match scanned {
                Scanned::End(value_end) => {
                    at = skip_separators(&text[..end], value_end);
                    continue;
                }
                Scanned::Open => has_end && !scan.may_end(),
                Scanned::Fault(_) => has_end && self.may_continue(&text[at..end], next),
            };
            if !is_divided || self.scans_too_much() {
                break;
            }
            if at > first {
                return Some(self.part(text, self.start, at, at));
            }
            self.move_to(text, at);
            if text[at] == b'[' {
                self.enter_array(text);
            } else {
                self.scan = Some(ValueScan::new(at));
            }
            return None;
        }
        Some(self.whole_line(text, end))
    }

    /// Returns whether a malformed value, which ends a line before the byte `next`, can continue in the next line: an array of
    /// objects, or an envelope.
    fn may_continue(&self, value: &[u8], next: Option<u8>) -> bool {
        let is_envelope = |path: &EventPath| {
            path.steps.first().is_some_and(|step| leads_to_events(value, step.as_deref(), path))
        };
        match value[0] {
            b'[' => match next {
                Some(b',') => true,
                Some(b'{' | b'[' | b']' | b'\n') => {
                    value.trim_ascii_end().ends_with(b",") || value.get(skip_space(value, 1)) == Some(&b'{')
                }
                _ => false,
            },
            b'{' => self.path.as_deref().is_some_and(is_envelope),
            _ => false,
        }
    }

    /// Takes the next value of a line that is too long to buffer, or that is cut off.
    pub(super) fn long_line(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let at = skip_separators(text, self.start);
        if let Some(blank) = self.skip_to(text, at) {
            return Some(blank);
        }
        if ends_in_mark(&text[at..], ahead) {
            return Some(Framed::More);
        }
        match text.get(at) {
            None if ahead == Ahead::Nothing => return Some(Framed::End),
            None => return Some(Framed::More),
            Some(b'\n') => {
                self.long_line = false;
                self.move_to(text, at + 1);
            }
            Some(b'[') => {
                self.long_line = false;
                self.enter_array(text);
            }
            Some(_) => self.scan = Some(ValueScan::new(at)),
        }
        None
    }
}
