//! Finds the spans of a text: lines of whole values, and values that are laid out in another way.
//!
//! A line is a span if nothing says otherwise. What says so is its end: where a valid value goes on behind a line feed, the
//! last byte before it is an opening bracket, a comma or a colon, or the first byte behind it is none that opens a value.
//! Only there is the text looked at byte by byte, for quotes and brackets:
//!
//! - An object that goes over lines is a span of its own.
//! - Of an array that goes over lines each element is a span. So is each value of a line that is longer than a value
//!   may be, with arrays opened.
//! - What is no JSON costs the line that it begins in. Of a value that goes over lines, the lines behind it that are indented
//!   deeper, and its closing bracket, are part of it.
//!
//! Invariant: spans depend on the text alone, not on where it is split, but for [`Ahead::Settle`].
//!
//! Invariant: the time is linear in the text: what is looked at in vain is limited by what was framed.

pub(crate) mod recovery;

use memchr::{memchr, memchr_iter, memrchr};

use crate::input::framing::framer::recovery::Passing;
use crate::input::framing::scan::{Scanned, ValueScan};

/// How many bytes of white space behind a line are passed over to see what comes.
const LOOK_AHEAD_BYTES: usize = 4 << 10;

/// How many bytes may be looked at in vain before it counts.
const VAIN_BYTES: u64 = 64 << 20;

/// A text that holds one value or several, or a part that is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where its text begins, in bytes from the start of the segment.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// How many lines of the segment precede it.
    pub line: u64,
    /// Its index in an array, from 0, if it is an element of one that is not within the span.
    pub index: Option<u64>,
}

/// What follows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// More of it may.
    More,
    /// More may, but not soon: what can be a span is one.
    Settle,
    /// Nothing.
    Nothing,
}

/// What is found next in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A span; all before `next` is framed.
    Span { span: Span, next: usize, kind: SpanKind },
    /// More of the text is needed.
    More,
    /// This is longer than a value may be. The framer has forgotten the text, and must be given what follows it by
    /// [`Framer::pass_over`].
    TooLong(Span),
    /// The text ends.
    End,
}

/// What a span is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// A line, from its first byte to its end.
    Line,
    /// White space that is no whole line.
    Blank,
    /// Something else.
    Part,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Framer {
    value_max_bytes: usize,
    /// All before it is framed.
    start: usize,
    /// Lines before `start`.
    lines: u64,
    /// The column of the text's first byte in its line, in bytes.
    column: usize,
    /// Between `start` and this there is no line feed.
    sought: usize,
    /// Inside an array that goes over lines: the index of its next element.
    array: Option<u64>,
    /// Whether something in the array was no JSON, which may have held its end.
    array_faulty: bool,
    /// What came since the last element of the array.
    joint: Joint,
    /// In the rest of a line that is longer than a value may be.
    long_line: bool,
    /// Of the value at `start`.
    scan: Option<ValueScan>,
    fault: Option<usize>,
    passing: Option<Passing>,
    /// Bytes that were looked at in vain, and those that were framed.
    vain: u64,
    framed: u64,
}

/// What came since the last element of an array.
#[derive(Debug, Clone, Copy, Default)]
struct Joint {
    /// Whether a comma must come; not where it may be in what was no JSON.
    needs_comma: bool,
    comma: bool,
    line_feed: bool,
}

impl Framer {
    /// For a text from its start.
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
            passing: None,
            vain: 0,
            framed: 0,
        }
    }

    /// Whether the text ends in an array that is not closed, and nothing in which may have been its end.
    pub(crate) fn is_open(&self) -> bool {
        self.array.is_some() && !self.array_faulty
    }

    /// Lines before the place up to which the text is framed.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Follows a text whose first bytes are gone, all of them framed. They held `lines` line feeds.
    pub(crate) fn rebase(&mut self, text: &[u8], gone: usize, lines: u64) {
        self.column = self.column_of(text, gone);
        self.start -= gone;
        self.lines -= lines;
        self.sought = self.sought.saturating_sub(gone);
        self.fault = self.fault.map(|fault| fault - gone);
        if let Some(scan) = &mut self.scan {
            scan.rebase(gone);
        }
        if let Some(Passing::Value(scan)) = &mut self.passing {
            scan.rebase(gone);
        }
    }

    /// Finds the next span of a text that begins as that of the call before.
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
            self.long_line = text.len() - self.start > self.value_max_bytes;
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
        let behind = text.get(end + 1..).unwrap_or_default();
        let next = behind.iter().take(LOOK_AHEAD_BYTES).find(|byte| !is_space(**byte) && **byte != SEPARATOR);
        match (next, ahead) {
            (Some(b'{' | b'['), _) if !matches!(last, b',' | b':' | b'[') => {}
            (None, Ahead::Nothing) if behind.len() < LOOK_AHEAD_BYTES => {}
            (None, Ahead::More) if behind.len() < LOOK_AHEAD_BYTES => return Some(Framed::More),
            _ => return self.values_of_line(text, end, newline.is_some()),
        }
        Some(self.whole_line(text, end))
    }

    /// Looks into a line whose end does not say that it is whole.
    fn values_of_line(&mut self, text: &[u8], end: usize, has_end: bool) -> Option<Framed> {
        let first = pass_separators(&text[..end], self.start);
        let mut at = first;
        while at < end {
            let mut scan = ValueScan::new(at);
            match scan.advance(&text[..end]) {
                Scanned::End(value_end) => at = pass_separators(&text[..end], value_end),
                Scanned::Open if !scan.may_end() && has_end && !self.is_vain() => {
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

    /// Takes the next value of a line that is too long to be held.
    fn long_line(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let at = pass_separators(text, self.start);
        self.move_to(text, at);
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
            at = pass_separators(text, at);
            if text.get(at) != Some(&b'\n') {
                break;
            }
            at += 1;
        }
        self.joint.comma |= text[self.start..at].contains(&b',');
        self.joint.line_feed |= text[self.start..at].contains(&b'\n');
        self.move_to(text, at);
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
            // Lines that hold a value each: the array was cut off, and they are none of its elements.
            Some(b'{' | b'[') if self.joint.needs_comma && !self.joint.comma && self.joint.line_feed => {
                self.array = None;
            }
            Some(_) => self.scan = Some(ValueScan::new(at)),
        }
        None
    }

    /// Goes on in the value at `start`.
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

    /// What a value may have of the text, and one byte more, so many times.
    fn window<'t>(&self, text: &'t [u8], times: usize) -> &'t [u8] {
        let bytes = self.value_max_bytes.saturating_mul(times).saturating_add(self.start + 1);
        &text[..bytes.min(text.len())]
    }

    fn enter_array(&mut self, text: &[u8]) {
        (self.array, self.array_faulty, self.joint) = (Some(0), false, Joint::default());
        self.move_to(text, self.start + 1);
    }

    /// Whether too much was looked at in vain.
    fn is_vain(&self) -> bool {
        self.vain > VAIN_BYTES + 4 * self.framed
    }

    fn column_of(&self, text: &[u8], at: usize) -> usize {
        memrchr(b'\n', &text[..at]).map_or(self.column + at, |newline| at - newline - 1)
    }

    /// Frames all before `at`.
    fn move_to(&mut self, text: &[u8], at: usize) {
        self.lines += memchr_iter(b'\n', &text[self.start..at]).count() as u64;
        self.framed += (at - self.start) as u64;
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
        self.start = next;
        Framed::Span { span, next, kind }
    }

    fn part(&mut self, text: &[u8], start: usize, end: usize, next: usize) -> Framed {
        (self.scan, self.fault) = (None, None);
        self.joint = Joint { needs_comma: true, comma: false, line_feed: false };
        let span = Span { start, end, line: self.lines, index: self.array };
        self.array = self.array.map(|index| index + 1);
        self.move_to(text, next);
        Framed::Span { span, next, kind: SpanKind::Part }
    }
}

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Begins each text of a sequence (RFC 7464).
const SEPARATOR: u8 = 0x1e;

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The place behind what may stand between values of a line.
fn pass_separators(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(&(b' ' | b'\t' | b'\r' | b',' | SEPARATOR)) => at += 1,
            Some(0xef) if text[at..].starts_with(MARK) => at += MARK.len(),
            _ => return at,
        }
    }
}

/// Whether the text is the beginning of a byte order mark, the rest of which may follow.
fn ends_in_mark(text: &[u8], ahead: Ahead) -> bool {
    ahead != Ahead::Nothing && !text.is_empty() && text.len() < MARK.len() && MARK.starts_with(text)
}
