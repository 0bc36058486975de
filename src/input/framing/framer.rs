//! Finds the spans of a text: lines of whole values, and values in any other layout.
//!
//! By default a line is a span. Its end shows the exceptions. A valid value continues after a line feed only in two cases:
//! the last byte before it is an opening bracket, a comma or a colon, or the first byte after it does not open a value.
//! Only in these cases is the text scanned byte by byte, for quotes and brackets:
//!
//! - An object that spans several lines is one span.
//! - Each element of an array that spans several lines is a span. So is each value of a line that exceeds the maximum
//!   length of a value; arrays in such a line are split as well.
//! - Malformed JSON extends to the end of the line that it begins in. If it spans several lines, it includes
//!   the following more deeply indented lines and its closing bracket.
//!
//! Invariant: spans depend only on the text, not on where it is split, except for [`Ahead::Settle`] and [`Ahead::CutOff`].
//!
//! Invariant: the time is linear in the text, because scans without a result are limited by the amount framed.

pub(crate) mod ending;
pub(crate) mod recovery;
pub(crate) mod separators;

use memchr::{memchr, memchr_iter, memrchr};

use crate::input::framing::framer::recovery::Skipping;
use crate::input::framing::framer::separators::{SEPARATOR, ends_in_mark, is_space, skip_separators};
use crate::input::framing::scan::{Scanned, ValueScan};

/// The maximum number of white space bytes skipped after a line to find the next value.
const LOOK_AHEAD_BYTES: usize = 4 << 10;

/// The number of bytes that may be scanned without a result before the limit applies.
const WASTED_BYTES_MIN: u64 = 64 << 20;

/// A text with one or several values, or a part that is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The start of the text, in bytes from the start of the segment.
    pub start: usize,
    /// The end of the text.
    pub end: usize,
    /// The number of lines of the segment before it.
    pub line: u64,
    /// Its index, counted from 0, if it is an element of an array that begins outside the span.
    pub index: Option<u64>,
}

/// Whether more text follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// More text may follow.
    More,
    /// More text may follow, but not soon. Everything that can be a span becomes one.
    Settle,
    /// The text was cut off. As for `Settle`, but the values of an unfinished line become spans too. An unfinished value does
    /// not.
    CutOff,
    /// The text is complete.
    Nothing,
}

/// The result of framing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A span. Everything before `next` is framed.
    Span { span: Span, next: usize, kind: SpanKind },
    /// More text is needed.
    More,
    /// A value exceeds the maximum length. The framer drops its text. Pass the text after it to [`Framer::skip`].
    TooLong(Span),
    /// The text ends.
    End,
}

/// The kind of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// A whole line.
    Line,
    /// White space that is not a whole line.
    Blank,
    /// Any other text.
    Part,
}

/// Finds spans. See the module documentation.
#[derive(Debug, Clone)]
pub(crate) struct Framer {
    value_max_bytes: usize,
    /// Everything before this offset is framed.
    start: usize,
    /// Lines before `start`.
    lines: u64,
    /// The column of the text's first byte in its line, in bytes.
    column: usize,
    /// There is no line feed between `start` and this offset.
    sought: usize,
    /// The index of the next element, inside an array that spans several lines.
    array: Option<u64>,
    /// Whether the array contained malformed JSON, which may have included its end.
    array_faulty: bool,
    /// The separators since the last element of the array.
    joint: Joint,
    /// Whether the current line exceeds the maximum length of a value.
    long_line: bool,
    /// The scan of the value at `start`.
    scan: Option<ValueScan>,
    fault: Option<usize>,
    skipping: Option<Skipping>,
    /// Bytes that were scanned without a result.
    wasted: u64,
    framed: u64,
    /// Bytes framed since the last span.
    unspanned: usize,
}

/// The separators since the last element of an array.
#[derive(Debug, Clone, Copy, Default)]
struct Joint {
    /// Whether a comma must follow. False after malformed JSON, which may have included it.
    needs_comma: bool,
    comma: bool,
    line_feed: bool,
}

impl Framer {
    /// Creates a framer for the start of a text.
    pub(crate) fn new(value_max_bytes: usize) -> Self {
        Self {
            value_max_bytes,
            start: 0,
            lines: 0,
            column: 0,
            sought: 0,
            array: None,
            array_faulty: false,
            joint: Joint::default(),
            long_line: false,
            scan: None,
            fault: None,
            skipping: None,
            wasted: 0,
            framed: 0,
            unspanned: 0,
        }
    }

    /// Returns whether the text ends in an unclosed array without malformed JSON, which might have included the end.
    pub(crate) fn is_open(&self) -> bool {
        self.array.is_some() && !self.array_faulty
    }

    /// Returns the number of lines in the framed part of the text.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Adjusts the offsets after the first `removed` bytes of the text, all framed, were removed with `lines` line feeds.
    pub(crate) fn rebase(&mut self, text: &[u8], removed: usize, lines: u64) {
        self.column = self.column_of(text, removed);
        self.start -= removed;
        self.lines -= lines;
        self.sought = self.sought.saturating_sub(removed);
        self.fault = self.fault.map(|fault| fault - removed);
        if let Some(scan) = &mut self.scan {
            scan.rebase(removed);
        }
        if let Some(Skipping::Value(scan)) = &mut self.skipping {
            scan.rebase(removed);
        }
    }

    /// Finds the next span. The text must begin with the text of the previous call.
    pub(crate) fn next(&mut self, text: &[u8], ahead: Ahead) -> Framed {
        loop {
            let found = if self.scan.is_some() {
                Some(self.value(text, ahead))
            } else if self.array.is_some() {
                self.element(text, ahead)
            } else if self.long_line {
                self.long_line(text, ahead)
            } else {
                self.line(text, ahead)
            };
            if let Some(found) = found {
                return found;
            }
        }
    }

    fn line(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let from = self.sought.max(self.start);
        let newline = memchr(b'\n', &text[from..]).map(|found| from + found);
        let Some(end) = newline.or((ahead == Ahead::Nothing).then_some(text.len())) else {
            self.sought = text.len();
            self.long_line = ahead == Ahead::CutOff || text.len() - self.start > self.value_max_bytes;
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

    /// Scans a line that may end within a value.
    fn values_of_line(&mut self, text: &[u8], end: usize, has_end: bool) -> Option<Framed> {
        let first = skip_separators(&text[..end], self.start);
        let mut at = first;
        while at < end {
            let mut scan = ValueScan::new(at);
            match scan.advance(&text[..end]) {
                Scanned::End(value_end) => at = skip_separators(&text[..end], value_end),
                Scanned::Open if !scan.may_end() && has_end && !self.scans_too_much() => {
                    if let Scanned::Fault(_) = scan.advance(&text[..=end]) {
                        break;
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
                Scanned::Open | Scanned::Fault(_) => break,
            }
        }
        Some(self.whole_line(text, end))
    }

    /// Takes the next value of a line that is too long to buffer.
    fn long_line(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
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

    fn element(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let mut at = self.start;
        loop {
            at = skip_separators(text, at);
            if text.get(at) != Some(&b'\n') {
                break;
            }
            at += 1;
        }
        let start = self.start;
        let blank = self.skip_to(text, at);
        self.joint.comma |= text[start..self.start].contains(&b',');
        self.joint.line_feed |= text[start..self.start].contains(&b'\n');
        if blank.is_some() {
            return blank;
        }
        if ends_in_mark(&text[at..], ahead) {
            return Some(Framed::More);
        }
        match text.get(at) {
            None if ahead == Ahead::Nothing => return Some(Framed::End),
            None => return Some(Framed::More),
            Some(b']') => {
                self.array = None;
                self.move_to(text, at + 1);
            }
            // A new line without a preceding comma: the array was truncated, and the next lines are not its elements.
            Some(b'{' | b'[') if self.joint.needs_comma && !self.joint.comma && self.joint.line_feed => {
                self.array = None;
            }
            Some(_) => self.scan = Some(ValueScan::new(at)),
        }
        None
    }

    /// Continues the scan of the value at `start`.
    fn value(&mut self, text: &[u8], ahead: Ahead) -> Framed {
        let window = self.window(text, 1);
        let is_full = window.len() - self.start > self.value_max_bytes;
        let is_last = ahead == Ahead::Nothing && !is_full;
        let Some(scan) = &mut self.scan else { return Framed::More };
        let start = self.start;
        let scanned = self.fault.map_or_else(|| scan.advance(window), Scanned::Fault);
        match scanned {
            Scanned::End(end) => self.part(text, start, end, end),
            Scanned::Fault(fault) => self.faulty(text, fault, ahead),
            Scanned::Open if is_last && scan.may_end() => self.part(text, start, text.len(), text.len()),
            Scanned::Open if is_last => self.faulty(text, text.len(), ahead),
            Scanned::Open if is_full => match self.other_value(window) {
                Some(fault) => self.faulty(text, fault, ahead),
                None => self.too_long(window),
            },
            Scanned::Open => Framed::More,
        }
    }

    /// Returns the text up to `times` the maximum length of a value, plus one byte.
    fn window<'t>(&self, text: &'t [u8], times: usize) -> &'t [u8] {
        let bytes = self.value_max_bytes.saturating_mul(times).saturating_add(self.start + 1);
        &text[..bytes.min(text.len())]
    }

    fn enter_array(&mut self, text: &[u8]) {
        (self.array, self.array_faulty, self.joint) = (Some(0), false, Joint::default());
        self.move_to(text, self.start + 1);
    }

    /// Returns whether too many bytes were scanned without a result.
    fn scans_too_much(&self) -> bool {
        self.wasted > WASTED_BYTES_MIN + 4 * self.framed
    }

    fn column_of(&self, text: &[u8], at: usize) -> usize {
        memrchr(b'\n', &text[..at]).map_or(self.column + at, |newline| at - newline - 1)
    }

    /// Marks everything before `at` as framed.
    fn move_to(&mut self, text: &[u8], at: usize) {
        self.lines += memchr_iter(b'\n', &text[self.start..at]).count() as u64;
        self.framed += (at - self.start) as u64;
        self.unspanned += at - self.start;
        self.start = at;
    }

    fn whole_line(&mut self, text: &[u8], end: usize) -> Framed {
        let next = text.len().min(end + 1);
        let is_whole = self.column_of(text, self.start) == 0;
        let is_blank = || text[self.start..end].iter().all(|byte| is_space(*byte));
        let kind = if is_whole {
            SpanKind::Line
        } else if is_blank() {
            SpanKind::Blank
        } else {
            SpanKind::Part
        };
        let span = Span { start: self.start, end, line: self.lines, index: None };
        self.lines += (next - end) as u64;
        self.framed += (next - self.start) as u64;
        self.unspanned = 0;
        self.start = next;
        Framed::Span { span, next, kind }
    }

    fn part(&mut self, text: &[u8], start: usize, end: usize, next: usize) -> Framed {
        (self.scan, self.fault) = (None, None);
        self.joint = Joint { needs_comma: true, comma: false, line_feed: false };
        let span = Span { start, end, line: self.lines, index: self.array };
        self.array = self.array.map(|index| index + 1);
        self.move_to(text, next);
        self.unspanned = 0;
        Framed::Span { span, next, kind: SpanKind::Part }
    }
}
