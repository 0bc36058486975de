//! The framer's recovery from malformed JSON and from values that are too long.

use memchr::{memchr, memchr_iter};

use crate::input::framing::framer::members::MemberHead;
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
        let is_in_line = fault <= end;
        // The rest of a line that holds the whole envelope so far includes its end.
        let is_end = is_in_line || self.is_cut_before(text, end, fault);
        let is_first_line = !self.levels.is_empty() && !self.envelope.is_spread;
        let Some(continues) = (if is_first_line { self.continues(text, end, ahead) } else { Some(true) })
        else {
            return Framed::More;
        };
        let Some((end, next)) = self.malformed_lines(text, end, ahead, fault) else { return Framed::More };
        let Some(is_before_envelope) = self.is_before_envelope(text, next, ahead) else {
            return Framed::More;
        };
        let ends_envelope = is_first_line && is_end && !continues || is_before_envelope;
        self.wasted += (fault - start) as u64;
        self.array_faulty = true;
        self.envelope.is_faulty = true;
        let unread = self.take_unread();
        let mut framed = self.part(text, start, end, next);
        if let Framed::Span { span, .. } = &mut framed {
            span.unread = unread;
        }
        self.envelope.last_bytes = 0;
        self.long_line &= next <= end;
        if ends_envelope {
            self.leave_envelope();
        }
        // Without a comma after its last bracket, it may have included the end of the array.
        let malformed = text[start..end].trim_ascii_end();
        self.joint = Joint {
            needs_comma: is_in_line && matches!(malformed, [.., b'}' | b']']),
            // Otherwise the comma is in an object that is cut off.
            comma: is_in_line && malformed.ends_with(b","),
            line_feed: next > end,
        };
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

    /// Finds the lines after the line feed `end` that belong to malformed JSON: deeper indented ones, those with the rest of an
    /// object that was closed too early, and in an array those with the rest of a string. Returns their end and the start of
    /// the next text, or none if more text is needed. A closing bracket after them is included, and without them only if the
    /// value spans lines.
    fn malformed_lines(
        &self,
        text: &[u8],
        mut end: usize,
        ahead: Ahead,
        fault: usize,
    ) -> Option<(usize, usize)> {
        let mut spans_lines = fault > end;
        let takes_deeper = spans_lines || !self.levels.is_empty() && self.envelope.is_spread;
        // A key after a comma is at fault if it continues an object that was closed too early.
        let is_key =
            text.get(fault) == Some(&b'"') && text[self.start..fault].trim_ascii_end().ends_with(b",");
        // Unless it is the key of an object around it.
        let is_inside = || self.key_outside(&text[..=fault]).is_none();
        let key = if is_key && fault > end && is_inside() { fault } else { 0 };
        let mut is_cut = key > 0 || self.is_cut_at(text, fault);
        let mut next = text.len().min(end + 1);
        if !takes_deeper && !is_cut {
            return Some((end, next));
        }
        let column = self.indent(text);
        let text = self.window(text, 2);
        let is_last = ahead == Ahead::Nothing || text.len() - self.start > self.value_max_bytes * 2;
        let mut line = next;
        while line - self.start <= self.value_max_bytes {
            let indent = text[line..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            match text.get(line + indent) {
                None if is_last => break,
                None => return None,
                Some(b'\n') => line += indent + 1,
                Some(bracket @ (b'}' | b']'))
                    if spans_lines
                        && indent == column
                        && line >= key
                        && self.may_close(text, *bracket, column) =>
                {
                    return Some((line + indent + 1, line + indent + 1));
                }
                Some(first) => {
                    let is_deeper = takes_deeper && indent > column;
                    // The line of another element begins with a bracket or a comma.
                    let is_rest = is_cut && (line <= fault || !b"{}[],".contains(first));
                    let newline = || memchr(b'\n', &text[line..]).map(|found| line + found);
                    let line_end = || newline().or(is_last.then_some(text.len()));
                    // A bracket at fault belongs to the text, unless only brackets follow: the end of what is around it.
                    let is_stray = line + indent == fault
                        && b"}]".contains(first)
                        && text[fault..line_end()?].iter().any(|byte| !b"}], \t\r".contains(byte));
                    if !is_deeper && !is_rest && !is_stray {
                        break;
                    }
                    spans_lines = true;
                    end = line_end()?;
                    next = text.len().min(end + 1);
                    is_cut &= end <= fault || !ends_object(&text[line..end]);
                    line = next;
                }
            }
        }
        Some((end, next))
    }

    /// Returns whether the malformed text is an object in an array that ends at the line feed `fault`, in a string. Its rest is
    /// in the next line, unless only a quote is missing.
    fn is_cut_at(&self, text: &[u8], fault: usize) -> bool {
        let is_element = self.array.is_some() && text.get(self.start) == Some(&b'{');
        is_element && text.get(fault) == Some(&b'\n') && !ends_object(&text[self.start..fault])
    }

    /// Returns whether the value before the member whose key begins at `key` is an event that was closed too early. Each
    /// member is at the end of the path, which ends with `*`, but this one has a key of an event.
    pub(crate) fn is_cut(&self, text: &[u8], key: usize) -> bool {
        let Some(path) = &self.path else { return false };
        if self.leads_on() || path.steps.last() != Some(&None) {
            return false;
        }
        let MemberHead::Value(name, _) = MemberHead::of(text, key) else { return false };
        str::from_utf8(name).is_ok_and(path.is_of_event)
    }

    /// Returns whether a bracket at the start of a line can be the end of the malformed text at `start`, which has this column.
    fn may_close(&self, text: &[u8], bracket: u8, column: usize) -> bool {
        let is_of_envelope = !self.levels.is_empty() && column <= self.envelope.column;
        !is_of_envelope && !matches!((text[self.start], bracket), (b'{', b']') | (b'[', b'}'))
    }

    /// Finds another value or member that seems to begin inside an unfinished one: at the start of a line, and not indented
    /// deeper.
    pub(crate) fn other_value(&self, text: &[u8]) -> Option<usize> {
        let column = self.indent(text);
        let mut lines = memchr_iter(b'\n', &text[self.start..]).map(|found| self.start + found + 1);
        let value = lines.find_map(|line| {
            let indent = text[line..].iter().take(column + 1).take_while(|byte| is_space(**byte)).count();
            matches!(text.get(line + indent), Some(b'{' | b'[')).then_some(line + indent)
        });
        value.or_else(|| self.key_outside(text))
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
        self.joint.line_feed = true;
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

/// Returns whether a line ends with the closing brace of an object.
fn ends_object(line: &[u8]) -> bool {
    matches!(line.trim_ascii_end(), [.., b'}'] | [.., b'}', b','])
}
