//! The framer's recovery from malformed JSON and from values that are too long.

use memchr::{memchr, memchr_iter};

use crate::input::framing::framer::separators::is_space;
use crate::input::framing::framer::{Ahead, Framed, Framer, Joint, Span};
use crate::input::framing::scan::{Scanned, ValueScan};

/// The column after a value that was too long.
const FAR_COLUMN: usize = 1 << 40;

/// The state of skipping a value that is too long.
#[derive(Debug, Clone)]
pub(crate) enum Skipping {
    Value(ValueScan),
    /// After its end. A line feed that follows immediately belongs to it.
    Tail,
    Line,
}

impl Framer {
    /// Frames malformed JSON. `fault` is the offset of the offending byte.
    pub(crate) fn faulty(&mut self, text: &[u8], fault: usize, ahead: Ahead) -> Framed {
        self.fault = Some(fault);
        let (start, window) = (self.start, self.window(text, 1));
        let newline = memchr(b'\n', &window[start..]).map(|found| start + found);
        let end = match newline {
            Some(end) => end,
            None if window.len() - start > self.value_max_bytes => return self.too_long(window),
            None if ahead == Ahead::Nothing => text.len(),
            None => return Framed::More,
        };
        // The rest of a line that holds the whole envelope so far includes its end.
        let is_end = fault <= end || self.is_cut_before(text, end, fault);
        let ends_envelope = !self.envelope.is_spread && is_end;
        let is_in_lines = !self.levels.is_empty() && self.envelope.is_spread;
        let (end, next) = if fault > end || is_in_lines {
            match self.deeper_lines(text, end, ahead, fault > end) {
                Some(found) => found,
                None => return Framed::More,
            }
        } else {
            (end, text.len().min(end + 1))
        };
        self.wasted += (fault - start) as u64;
        self.array_faulty = true;
        let unread = self.take_unread();
        let mut framed = self.part(text, start, end, next);
        if let Framed::Span { span, .. } = &mut framed {
            span.unread = unread;
        }
        self.envelope.last_bytes = 0;
        self.joint.needs_comma = false;
        self.long_line &= next <= end;
        if ends_envelope {
            self.leave_envelope();
        }
        framed
    }

    /// Returns whether malformed JSON that ends at the line feed `end` is the end of an envelope that is cut off: the next line,
    /// which contains the fault or is before it, begins with another value, and not further right than the envelope.
    fn is_cut_before(&self, text: &[u8], end: usize, fault: usize) -> bool {
        let next = text[..text.len().min(fault + 1)][end..].iter().position(|byte| !is_space(*byte));
        next.is_some_and(|next| {
            let at = end + next;
            matches!(text[at], b'{' | b'[') && self.column_of(text, at) <= self.envelope.column
        })
    }

    /// Finds the lines after `end` that are indented deeper than the value at `start`. Returns their end and the start of
    /// the next text, or none if more text is needed. A closing bracket after them is included, and without them only if the
    /// value `spans_lines`.
    fn deeper_lines(
        &self,
        text: &[u8],
        mut end: usize,
        ahead: Ahead,
        mut spans_lines: bool,
    ) -> Option<(usize, usize)> {
        let column = self.indent(text);
        let text = self.window(text, 2);
        let is_last = ahead == Ahead::Nothing || text.len() - self.start > self.value_max_bytes * 2;
        let mut next = text.len().min(end + 1);
        let mut line = next;
        while line - self.start <= self.value_max_bytes {
            let indent = text[line..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            match text.get(line + indent) {
                None if is_last => break,
                None => return None,
                Some(b'\n') => line += indent + 1,
                Some(b'}' | b']') if spans_lines && indent == column => {
                    return Some((line + indent + 1, line + indent + 1));
                }
                Some(_) if indent <= column => break,
                Some(_) => {
                    spans_lines = true;
                    let newline = memchr(b'\n', &text[line..]).map(|found| line + found);
                    end = newline.or(is_last.then_some(text.len()))?;
                    next = text.len().min(end + 1);
                    line = next;
                }
            }
        }
        Some((end, next))
    }

    /// Finds another value that seems to begin inside an unfinished one: at the start of a line, and not indented deeper.
    pub(crate) fn other_value(&self, text: &[u8]) -> Option<usize> {
        let column = self.indent(text);
        memchr_iter(b'\n', &text[self.start..]).map(|found| self.start + found + 1).find_map(|line| {
            let indent = text[line..].iter().take(column + 1).take_while(|byte| is_space(**byte)).count();
            matches!(text.get(line + indent), Some(b'{' | b'[')).then_some(line + indent)
        })
    }

    /// Begins to skip the value at `start`.
    pub(crate) fn too_long(&mut self, text: &[u8]) -> Framed {
        let (fault, scan) = (self.fault.take(), self.scan.take());
        let unread = if fault.is_some() { self.take_unread() } else { None };
        let known = Span {
            start: self.start,
            end: text.len(),
            line: self.lines,
            index: self.index(),
            surroundings: self.surroundings(),
            fault: fault.map(|fault| fault - self.start),
            unread,
        };
        self.skipping = Some(match (fault, scan) {
            (None, Some(scan)) => {
                self.envelope.is_spread |= memchr(b'\n', &text[self.start..]).is_some();
                Skipping::Value(scan)
            }
            _ => Skipping::Line,
        });
        Framed::TooLong(known)
    }

    /// Skips the next text of a value that is too long. Returns the end of the value, or none if it is not in this text. The
    /// next text must begin after that end. `before` is the length of the previous text.
    pub(crate) fn skip(&mut self, before: usize, text: &[u8], ahead: Ahead) -> Option<usize> {
        let skipping = self.skipping.as_mut()?;
        let is_last = ahead == Ahead::Nothing;
        let mut from = 0;
        if let Skipping::Value(scan) = skipping {
            scan.rebase(before);
            let scanned = scan.advance(text);
            from = match scanned {
                Scanned::End(end) => {
                    *skipping = Skipping::Tail;
                    end
                }
                Scanned::Open if is_last => return Some(self.end_skip(text.len())),
                Scanned::Open => text.len(),
                Scanned::Fault(fault) => {
                    *skipping = Skipping::Line;
                    fault
                }
            };
            self.envelope.is_spread |= memchr(b'\n', &text[..from]).is_some();
            if scanned == Scanned::Open {
                return None;
            }
        }
        if matches!(self.skipping, Some(Skipping::Tail)) {
            return match text.get(from) {
                Some(b'\n') => {
                    self.envelope.is_spread = true;
                    Some(self.end_skip_with_line(from))
                }
                None if !is_last => None,
                _ => Some(self.end_skip(from)),
            };
        }
        self.array_faulty = true;
        match memchr(b'\n', &text[from..]) {
            Some(found) => {
                let end = self.end_skip_with_line(from + found);
                if !self.envelope.is_spread {
                    self.leave_envelope();
                }
                Some(end)
            }
            None if is_last => Some(self.end_skip(text.len())),
            None => None,
        }
    }

    /// Ends the skip after the line feed at `feed`.
    fn end_skip_with_line(&mut self, feed: usize) -> usize {
        self.end_skip(feed);
        self.long_line = false;
        self.column = 0;
        feed + 1
    }

    fn end_skip(&mut self, end: usize) -> usize {
        self.skipping = None;
        self.array = self.array.map(|index| index + 1);
        self.joint = Joint::default();
        (self.start, self.lines, self.sought, self.unspanned) = (0, 0, 0, 0);
        // Any large number works, because the next value is not the first of its line.
        self.column = FAR_COLUMN;
        end
    }
}
