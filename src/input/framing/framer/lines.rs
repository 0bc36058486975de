//! Lines, and the values of lines that are not spans themselves.

use memchr::memchr;

use crate::input::framing::framer::separators::{SEPARATOR, ends_in_mark, is_space, skip_separators};
use crate::input::framing::framer::{Ahead, Framed, Framer};
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
            self.long_line = ahead == Ahead::CutOff
                || ahead == Ahead::Settle && self.begins_with_value(text)
                || text.len() - self.start > self.value_max_bytes;
            return (!self.long_line).then_some(Framed::More);
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
            (Some(b'{' | b'['), _) if !matches!(last, b',' | b':' | b'[') => {}
            (None, Ahead::Nothing) if following.len() < LOOK_AHEAD_BYTES => {}
            (None, Ahead::More) if following.len() < LOOK_AHEAD_BYTES => return Some(Framed::More),
            _ => return self.values_of_line(text, end, newline.is_some()),
        }
        Some(self.whole_line(text, end))
    }

    /// Returns whether the line begins with a whole value.
    fn begins_with_value(&self, text: &[u8]) -> bool {
        let at = skip_separators(text, self.start);
        matches!(ValueScan::new(at).advance(text), Scanned::End(_))
    }

    /// Scans a line that may end within a value.
    fn values_of_line(&mut self, text: &[u8], end: usize, has_end: bool) -> Option<Framed> {
        let first = skip_separators(&text[..end], self.start);
        let mut at = first;
        while at < end {
            let mut scan = ValueScan::new(at);
            match scan.advance(&text[..end]) {
                Scanned::End(value_end) => {
                    at = skip_separators(&text[..end], value_end);
                    continue;
                }
                Scanned::Open if !scan.may_end() && has_end && !self.scans_too_much() => {
                    if let Scanned::Fault(_) = scan.advance(&text[..=end]) {
                        break;
                    }
                }
                Scanned::Open | Scanned::Fault(_) => break,
            }
            if at > first {
                return Some(self.part(text, self.start, at, at));
            }
            self.move_to(text, at);
            if text[at] == b'[' {
                self.enter_array(text);
            } else {
                self.scan = Some(scan);
            }
            return None;
        }
        Some(self.whole_line(text, end))
    }

    /// Takes the next value of a line that is too long to buffer, or that arrives slowly.
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
