//! Finds the spans of a text: lines of whole values, and values in any other layout.
//!
//! By default a line is a span. Its end shows the exceptions. A valid value continues after a line feed only in two cases:
//! the last byte before it is not a closing bracket, or the first byte after it does not open a value.
//! Only in these cases is the text scanned byte by byte, for quotes and brackets:
//!
//! - An object that spans several lines is one span.
//! - Each element of an array that spans several lines is a span. So is each value of a line that exceeds the maximum
//!   length of a value; arrays in such a line are split as well.
//! - An object on the path to the events that exceeds the maximum length of a value is split like an array: each value on
//!   the path is a span, and other members are passed over.
//! - An object on the path that spans several lines is split in the same way if it contains malformed JSON.
//! - The first line of an array or an envelope is scanned if it seems to be malformed, because the next lines may continue it.
//! - In a malformed envelope, keys and columns at the start of a line show what brackets do not: see [`following`].
//! - Malformed JSON extends to the end of the line that it begins in. If it spans several lines, it includes
//!   the following more deeply indented lines and its closing bracket. In an array it includes the lines that begin with the
//!   rest of a string. If it ends with a bracket and no comma follows, the array ends with it.
//!
//! Invariant: spans depend only on the text, not on where it is split, except for [`Ahead::Settle`] and [`Ahead::CutOff`].
//!
//! Invariant: the time is linear in the text, because scans without a result are limited by the amount framed.

pub(crate) mod division;
pub(crate) mod ending;
pub(crate) mod envelope;
pub(crate) mod following;
pub(crate) mod lines;
pub(crate) mod members;
pub(crate) mod recovery;
pub(crate) mod separators;

use std::sync::Arc;

use memchr::{memchr, memchr_iter, memrchr};

use crate::input::framing::framer::envelope::{Aside, EnvelopeLevel, EnvelopeSoFar, ValueEnd};
use crate::input::framing::framer::recovery::Skipping;
use crate::input::framing::framer::separators::{ends_in_mark, skip_separators};
use crate::input::framing::path::{EventPath, Surroundings};
use crate::input::framing::scan::{Scanned, ValueScan};

/// The number of bytes that may be scanned without a result before the limit applies.
const WASTED_BYTES_MIN: u64 = 64 << 20;

/// A text with one or several values, or a part that is not JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// The start of the text, in bytes from the start of the segment.
    pub start: usize,
    /// The end of the text.
    pub end: usize,
    /// The number of lines of the segment before it.
    pub line: u64,
    /// Its index, counted from 0, if it is in an array that begins outside the span.
    pub index: Option<u64>,
    /// What surrounds it, if it was taken out of an envelope that is too long to hold, or cut off.
    pub surroundings: Option<Arc<Surroundings>>,
    /// For malformed JSON whose line is too long to hold: the offset from `start` of the byte that shows it.
    pub fault: Option<usize>,
    /// For malformed JSON in an envelope, or the end of one that is not closed: the bytes of the envelope that may hold values
    /// on the path, and that are in no span.
    pub unread: Option<u64>,
}

/// Whether more text follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// More text may follow.
    More,
    /// More text may follow, but not soon. Everything that can be a span becomes one. So do the values of an unfinished line,
    /// if its first value is whole.
    Settle,
    /// The text was cut off. As for `Settle`, but the values of each unfinished line become spans. An unfinished value does not.
    CutOff,
    /// The text is complete.
    Nothing,
}

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
    /// Whether the values of the current line are spans, because it exceeds the maximum length of a value, or has no end yet.
    long_line: bool,
    /// The scan of the value at `start`.
    scan: Option<ValueScan>,
    fault: Option<usize>,
    skipping: Option<Skipping>,
    path: Option<Arc<EventPath>>,
    /// The objects and arrays of an envelope around `start`, outermost first. If the last one is an array, `array` is its
    /// next index.
    levels: Vec<EnvelopeLevel>,
    /// Whether a text that matters came after values of its object.
    has_late_note: bool,
    /// The member of an envelope that is being passed over.
    aside: Option<Aside>,
    envelope: EnvelopeSoFar,
    /// Bytes that were scanned without a result.
    wasted: u64,
    framed: u64,
    /// Bytes framed since the last span.
    unspanned: usize,
}

/// The separators since the last element of an array.
#[derive(Debug, Clone, Copy, Default)]
struct Joint {
    /// Whether a comma must follow. False at the start, and after malformed JSON that may lack its end.
    needs_comma: bool,
    comma: bool,
    line_feed: bool,
}

impl Joint {
    /// Returns whether the next value begins a line without the comma that it needs.
    fn is_apart(self, needs_comma: bool) -> bool {
        (self.needs_comma || needs_comma) && !self.comma && self.line_feed
    }
}

impl Framer {
    /// Creates a framer for the start of a text with values at `path`, if any.
    pub(crate) fn new(value_max_bytes: usize, path: Option<Arc<EventPath>>) -> Self {
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
            path,
            levels: Vec::new(),
            has_late_note: false,
            aside: None,
            envelope: EnvelopeSoFar::default(),
            wasted: 0,
            framed: 0,
            unspanned: 0,
        }
    }

    /// Returns whether the text ends in an unclosed array or envelope without malformed JSON, which might have included the
    /// end, or in an envelope of which a part may hold values and is in no span.
    pub(crate) fn is_open(&self) -> bool {
        let may_be_sound = !self.array_faulty || self.envelope.unread > 0;
        (self.array.is_some() || !self.levels.is_empty()) && may_be_sound
    }

    /// Returns whether a part of the open envelope may hold values that are in no span, if a closing brace is missing before.
    pub(crate) fn may_lack_values(&self) -> bool {
        self.envelope.unread + self.envelope.last_bytes > 0
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
        if let Some(aside) = &mut self.aside {
            aside.rebase(removed);
        }
    }

    /// Finds the next span. The text must begin with the text of the previous call.
    pub(crate) fn next(&mut self, text: &[u8], ahead: Ahead) -> Framed {
        loop {
            let found = if self.scan.is_some() {
                self.value(text, ahead)
            } else if self.array.is_some() {
                self.element(text, ahead)
            } else if !self.levels.is_empty() {
                self.member(text, ahead)
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
        let commas = memchr_iter(b',', &text[start..self.start]).count();
        self.envelope.stray_commas += commas.saturating_sub(usize::from(self.joint.needs_comma));
        self.joint.comma |= commas > 0;
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
            Some(b']') => self.leave(text, at + 1),
            // A new line without a preceding comma: the array ended or was truncated, so the next lines are not its elements.
            // An array on a new line shows this after any malformed JSON.
            Some(first @ (b'{' | b'[')) if self.joint.is_apart(*first == b'[' && self.array > Some(0)) => {
                let is_unread = self.envelope.unread > 0;
                let unclosed = is_unread.then(|| self.unclosed(text, at, at));
                self.leave_envelope();
                self.array = None;
                return unclosed;
            }
            Some(_) => self.scan = Some(ValueScan::new(at)),
        }
        None
    }

    /// Continues the scan of the value at `start`.
    fn value(&mut self, text: &[u8], ahead: Ahead) -> Option<Framed> {
        let window = self.window(text, 1);
        let is_full = window.len() - self.start > self.value_max_bytes;
        let is_last = ahead == Ahead::Nothing && !is_full;
        let is_known = self.fault.is_some();
        let scan = self.scan.as_mut()?;
        let start = self.start;
        let scanned = self.fault.map_or_else(|| scan.advance(window), Scanned::Fault);
        let may_end = scan.may_end();
        Some(match scanned {
            Scanned::End(end) => match self
                .key_outside(&window[..end])
                .map_or_else(|| self.value_end(text, start, end, ahead), ValueEnd::TooEarly)
            {
                ValueEnd::Open => {
                    self.scan = Some(ValueScan::ended(end));
                    Framed::More
                }
                ValueEnd::At(end) => self.part(text, start, end, end),
                ValueEnd::TooEarly(rest) => {
                    let is_spread = memchr(b'\n', &window[start..end]).is_some();
                    if !is_spread || self.scans_too_much() || !self.enter_faulty(&window[..end]) {
                        self.fault = Some(rest);
                    }
                    return None;
                }
            },
            // The rest of the line is too long to hold. The values before the fault are framed one by one.
            Scanned::Fault(_)
                if is_full && memchr(b'\n', &window[start..]).is_none() && self.enter_envelope(window) =>
            {
                self.fault = None;
                return None;
            }
            // The values of an envelope in several lines are framed one by one, so that only one of them is malformed.
            Scanned::Fault(fault) if !is_known && !self.scans_too_much() => {
                match self.is_in_several_lines(text, fault, ahead) {
                    None => {
                        self.scan = Some(ValueScan::new(start));
                        Framed::More
                    }
                    Some(true) if self.enter_faulty(&window[..fault]) => return None,
                    Some(_) => self.faulty(text, fault, ahead),
                }
            }
            Scanned::Fault(fault) => self.faulty(text, fault, ahead),
            Scanned::Open if is_last && may_end => self.part(text, start, text.len(), text.len()),
            Scanned::Open if is_full && self.enter_envelope(window) => return None,
            Scanned::Open if !is_full && self.enter_unclosed(window, ahead) => return None,
            Scanned::Open if is_last => self.faulty(text, text.len(), ahead),
            Scanned::Open if is_full => match self.other_value(window) {
                Some(fault) => self.faulty(text, fault, ahead),
                None => self.too_long(window),
            },
            Scanned::Open => Framed::More,
        })
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
        let feeds = memchr_iter(b'\n', &text[self.start..at]).count() as u64;
        self.lines += feeds;
        self.envelope.is_spread |= feeds > 0;
        self.framed += (at - self.start) as u64;
        self.unspanned += at - self.start;
        self.start = at;
    }

    fn whole_line(&mut self, text: &[u8], end: usize) -> Framed {
        let next = text.len().min(end + 1);
        let is_whole = self.column_of(text, self.start) == 0;
        // A comma may end a line.
        let is_blank = || matches!(text[self.start..end].trim_ascii(), b"" | b",");
        let kind = if is_whole {
            SpanKind::Line
        } else if is_blank() {
            SpanKind::Blank
        } else {
            SpanKind::Part
        };
        let span = Span { start: self.start, end, line: self.lines, ..Span::default() };
        self.lines += (next - end) as u64;
        self.framed += (next - self.start) as u64;
        self.unspanned = 0;
        self.start = next;
        Framed::Span { span, next, kind }
    }

    fn part(&mut self, text: &[u8], start: usize, end: usize, next: usize) -> Framed {
        (self.scan, self.fault) = (None, None);
        self.joint = Joint { needs_comma: true, comma: false, line_feed: false };
        let (index, surroundings) = (self.index(), self.surroundings());
        self.envelope.has_values |= surroundings.is_some();
        let may_hold_more = text.get(start) == Some(&b'{') && self.leads_on();
        self.envelope.last_bytes = if may_hold_more { (end - start) as u64 } else { 0 };
        let span = Span { start, end, line: self.lines, index, surroundings, fault: None, unread: None };
        self.array = self.array.map(|index| index + 1);
        self.move_to(text, next);
        self.unspanned = 0;
        Framed::Span { span, next, kind: SpanKind::Part }
    }
}
