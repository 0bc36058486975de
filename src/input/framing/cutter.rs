//! Cuts text into segments: no threads, no clock, bytes in and segments out.
//!
//! Invariant: where it cuts depends on the text alone, not on how much of it came at a time; only [`Cutter::settle`], which the
//! caller's clock asks for, is an exception.

use crate::input::buffers::LargePermit;
use std::mem;
use std::sync::Arc;

use memchr::memchr_iter;

use crate::input::buffers::Buffer;
use crate::input::framing::framer::{Ahead, Framed, Framer, Span, SpanKind};
use crate::input::segment::{Segment, SegmentLimits};

/// How much of a value that is too long is kept, to name it by.
pub(crate) const HEAD_BYTES: usize = 4 << 10;

/// The room for an unfinished span that is kept between segments; a longer one's is given back.
const CARRY_KEPT_BYTES: usize = 256 << 10;

/// The least that is added to a full buffer at a time, to find the end of a span: as much as the framer looks ahead.
const STEP_BYTES: usize = 4 << 10;

/// What is known of a value that is too long.
struct Oversized {
    span: Span,
    bytes: u64,
    /// Line feeds, also those before it that no segment has.
    feeds: u64,
    /// Whether the last byte so far is one.
    ends_line: bool,
    /// The length of the text that the framer saw last.
    seen: usize,
}

/// A segment in the making.
pub(crate) struct Cutter {
    limits: SegmentLimits,
    source: Arc<str>,
    /// The number of the segment in the making, over all sources.
    number: u64,
    /// The number of its first line in its source.
    first_line: u64,
    /// Where it begins in its source.
    byte_offset: u64,
    /// Its bytes; None until there is data and a buffer to put it in.
    filling: Option<Buffer>,
    /// What the segment before left; empty while there is a buffer.
    carry: Vec<u8>,
    framer: Framer,
    /// Bytes of `filling` that are whole spans, and what they are.
    whole_bytes: usize,
    /// Line feeds in them.
    whole_feeds: u64,
    /// Whether a line begins where the segment begins.
    begins_line: bool,
    spans: Vec<Span>,
    /// Whether each span is a line, and nothing else.
    is_lines: bool,
    /// A span that was found and did not fit.
    found: Option<Framed>,
    /// A value that is too long, whose head alone is in `filling`; what was read behind it is in `carry`.
    oversized: Option<Oversized>,
    needs_permit: bool,
}

impl Cutter {
    pub(crate) fn new(limits: SegmentLimits) -> Self {
        Self {
            limits,
            source: Arc::from(""),
            number: 0,
            first_line: 1,
            byte_offset: 0,
            filling: None,
            carry: Vec::new(),
            framer: Framer::new(limits.line_max_bytes),
            whole_bytes: 0,
            whole_feeds: 0,
            begins_line: true,
            spans: Vec::new(),
            is_lines: true,
            found: None,
            oversized: None,
            needs_permit: false,
        }
    }

    /// Begins a source. The one before must be finished.
    pub(crate) fn begin(&mut self, source: Arc<str>) {
        debug_assert!(self.is_empty());
        self.source = source;
        self.first_line = 1;
        self.byte_offset = 0;
        self.begins_line = true;
        self.framer = Framer::new(self.limits.line_max_bytes);
    }

    /// Whether what is left does not end in a newline, and in a closing bracket neither.
    pub(crate) fn is_cut_off(&self) -> bool {
        !self.ends_line() && self.left().trim_ascii_end().last().is_some_and(|last| !b"}]".contains(last))
    }

    /// Whether what is left ends in a newline.
    pub(crate) fn ends_line(&self) -> bool {
        self.oversized.is_none() && self.left().last().is_none_or(|last| *last == b'\n')
    }

    fn left(&self) -> &[u8] {
        self.filling.as_ref().map_or(&self.carry[..], |filling| &filling[..])
    }

    /// The source that is being cut.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the source ended in an array that was not closed.
    pub(crate) fn is_open(&self) -> bool {
        self.framer.is_open()
    }

    /// Whether nothing waits to be given out.
    pub(crate) fn is_empty(&self) -> bool {
        self.carry.is_empty() && self.filling.as_ref().is_none_or(|filling| filling.is_empty())
    }

    /// Whether [`Cutter::give`] must come before the next [`Cutter::feed`] or [`Cutter::finish`].
    pub(crate) fn needs_buffer(&self) -> bool {
        self.filling.is_none()
    }

    /// Whether [`Cutter::permit`] must come before the next [`Cutter::feed`]: what is being read is longer than a segment.
    pub(crate) fn needs_permit(&self) -> bool {
        self.needs_permit
    }

    /// Allows the buffer that is being filled to become large.
    pub(crate) fn permit(&mut self, permit: LargePermit) {
        self.needs_permit = false;
        if let Some(filling) = &mut self.filling {
            filling.permit(permit);
        }
    }

    /// Takes a buffer for the next segment.
    pub(crate) fn give(&mut self, mut buffer: Buffer) {
        buffer.clear();
        let carry = mem::take(&mut self.carry);
        reserve(&mut buffer, carry.len(), self.limits.segment_bytes);
        buffer.extend_from_slice(&carry);
        if carry.capacity() <= CARRY_KEPT_BYTES {
            self.carry = carry;
            self.carry.clear();
        }
        self.filling = Some(buffer);
    }

    /// Takes the first bytes of `data`: how many, and the segment that they finish, if they do. Takes all if they don't,
    /// unless [`Cutter::needs_permit`].
    pub(crate) fn feed(&mut self, data: &[u8]) -> (usize, Option<Segment>) {
        let mut filling = self.filling.take().expect("a buffer is given before data is fed");
        let mut taken = 0;
        loop {
            if self.oversized.is_none() && self.frame(&mut filling, Ahead::More) {
                return (taken, Some(self.close_whole(filling)));
            }
            if self.oversized.is_some() {
                let (passed, is_over) = self.pass_over(&mut filling, &data[taken..], Ahead::More);
                taken += passed;
                if is_over {
                    return (taken, Some(self.close_oversized(filling)));
                }
            }
            if taken == data.len() {
                self.filling = Some(filling);
                return (taken, None);
            }
            let usual = self.limits.usual_bytes_max();
            if filling.len() >= usual && !filling.is_permitted() {
                self.needs_permit = true;
                self.filling = Some(filling);
                return (taken, None);
            }
            let room = self.limits.segment_bytes.saturating_sub(filling.len());
            let mut step = room.max(filling.len() / 8).max(STEP_BYTES).min(data.len() - taken);
            let mut most = if step > room { self.limits.line_max_bytes } else { self.limits.segment_bytes };
            if filling.len() < usual {
                step = step.min(usual - filling.len());
                most = most.min(usual);
            }
            reserve(&mut filling, step, most);
            filling.extend_from_slice(&data[taken..][..step]);
            taken += step;
        }
    }

    /// Gives out the whole spans so far, if there are any, as input is slow; an unfinished one stays.
    pub(crate) fn settle(&mut self) -> Option<Segment> {
        let mut filling = self.filling.take()?;
        let is_full = self.oversized.is_none() && self.frame(&mut filling, Ahead::Settle);
        if is_full || self.oversized.is_none() && self.whole_bytes > 0 {
            return Some(self.close_whole(filling));
        }
        self.filling = Some(filling);
        None
    }

    /// Gives out the next segment of what is left of a source, if there is one: its last line is whole without a line feed.
    pub(crate) fn finish(&mut self) -> Option<Segment> {
        let mut filling = self.filling.take()?;
        if filling.is_empty() && self.oversized.is_none() {
            self.filling = Some(filling);
            return None;
        }
        let is_full = self.oversized.is_none() && self.frame(&mut filling, Ahead::Nothing);
        if self.oversized.is_some() {
            self.pass_over(&mut filling, &[], Ahead::Nothing);
            return Some(self.close_oversized(filling));
        }
        if !is_full {
            // What is left of it is white space and closing brackets.
            self.is_lines &= self.whole_bytes == filling.len();
            (self.whole_bytes, self.whole_feeds) = (filling.len(), self.framer.lines());
        }
        Some(self.close_whole(filling))
    }

    /// Frames what there is. Whether the segment is full, or ends before something that is too long.
    fn frame(&mut self, filling: &mut Buffer, ahead: Ahead) -> bool {
        let SegmentLimits { segment_bytes, lines_max, .. } = self.limits;
        loop {
            let framed = self.found.take().unwrap_or_else(|| self.framer.next(filling, ahead));
            match framed {
                Framed::Span { span, next, kind } => {
                    let is_too_much = next > segment_bytes || self.spans.len() == lines_max;
                    if self.whole_bytes > 0 && is_too_much {
                        self.found = Some(Framed::Span { span, next, kind });
                        return true;
                    }
                    (self.whole_bytes, self.whole_feeds) = (next, self.framer.lines());
                    self.is_lines &= kind == SpanKind::Line;
                    if kind != SpanKind::Blank {
                        self.spans.push(span);
                    }
                    if next >= segment_bytes || self.spans.len() == lines_max {
                        return true;
                    }
                }
                Framed::TooLong(span) if self.whole_bytes > 0 => {
                    self.found = Some(Framed::TooLong(span));
                    return true;
                }
                Framed::TooLong(span) => {
                    self.begin_oversized(filling, span);
                    return false;
                }
                // What follows does not fit, wherever it ends.
                Framed::More => {
                    return self.whole_bytes > 0 && filling.len() >= self.limits.usual_bytes_max();
                }
                Framed::End => return false,
            }
        }
    }

    /// Keeps no more of a value than its head.
    fn begin_oversized(&mut self, filling: &mut Buffer, span: Span) {
        self.carry.extend_from_slice(&filling[span.end..]);
        filling.truncate(span.end);
        let (before, value) = filling.split_at(span.start);
        let feeds = count_feeds(before) + count_feeds(value);
        let ends_line = value.last() == Some(&b'\n');
        let (bytes, seen) = (value.len() as u64, span.end);
        self.byte_offset += span.start as u64;
        self.first_line += span.line;
        filling.drain(..span.start);
        filling.truncate(HEAD_BYTES);
        filling.settle(self.limits.usual_bytes_max());
        self.oversized = Some(Oversized { span, bytes, feeds, ends_line, seen });
    }

    /// Passes over a value that is too long: how much of the data, and whether its end was there.
    fn pass_over(&mut self, head: &mut Buffer, data: &[u8], ahead: Ahead) -> (usize, bool) {
        let Some(Oversized { bytes, feeds, ends_line, seen, .. }) = &mut self.oversized else {
            return (0, false);
        };
        let carry = mem::take(&mut self.carry);
        for (text, is_carry) in [(&carry[..], true), (data, false)] {
            if text.is_empty() && (is_carry || ahead == Ahead::More) {
                continue;
            }
            let last = if is_carry { Ahead::More } else { ahead };
            let end = self.framer.pass_over(*seen, text, last);
            let passed = end.unwrap_or(text.len());
            *bytes += passed as u64;
            *feeds += count_feeds(&text[..passed]);
            *ends_line = text[..passed].last().map_or(*ends_line, |last| *last == b'\n');
            let content =
                text[..passed].strip_suffix(b"\n").filter(|_| end.is_some()).unwrap_or(&text[..passed]);
            let room = HEAD_BYTES.saturating_sub(head.len());
            head.extend_from_slice(&content[..content.len().min(room)]);
            *seen = text.len();
            if end.is_some() {
                if is_carry {
                    self.carry = text[passed..].to_vec();
                }
                return (if is_carry { 0 } else { passed }, true);
            }
        }
        (data.len(), false)
    }

    /// How many lines begin in the segment that ends now.
    fn lines_begun(&mut self, feeds: u64, ends_line: bool) -> u64 {
        let begins_line = mem::replace(&mut self.begins_line, ends_line);
        feeds + u64::from(begins_line) - u64::from(ends_line)
    }

    fn close_oversized(&mut self, bytes: Buffer) -> Segment {
        let Some(oversized) = self.oversized.take() else { return self.close_whole(bytes) };
        let Oversized { mut span, bytes: value_bytes, feeds, ends_line, .. } = oversized;
        let (lines, feeds_before) = (self.lines_begun(feeds, ends_line), span.line);
        (span.start, span.end, span.line) = (0, bytes.len(), 0);
        let segment = Segment {
            number: self.number,
            source: Arc::clone(&self.source),
            first_line: self.first_line,
            byte_offset: self.byte_offset,
            lines,
            bytes,
            spans: Some(vec![span]),
            // A line feed at its end is none of its bytes.
            oversized: Some(value_bytes - u64::from(ends_line)),
        };
        self.number += 1;
        self.first_line += feeds - feeds_before;
        self.byte_offset += value_bytes;
        segment
    }

    fn close_whole(&mut self, mut bytes: Buffer) -> Segment {
        let (gone, feeds) = (self.whole_bytes, self.whole_feeds);
        self.carry.extend_from_slice(&bytes[gone..]);
        self.framer.rebase(&bytes, gone, feeds);
        if let Some(Framed::Span { span, .. } | Framed::TooLong(span)) = &mut self.found {
            span.start -= gone;
            span.end -= gone;
            span.line -= feeds;
        }
        if let Some(Framed::Span { next, .. }) = &mut self.found {
            *next -= gone;
        }
        bytes.truncate(gone);
        bytes.settle(self.limits.usual_bytes_max());
        let lines = self.lines_begun(feeds, bytes.last() == Some(&b'\n'));
        let spans = mem::take(&mut self.spans);
        let segment = Segment {
            number: self.number,
            source: Arc::clone(&self.source),
            first_line: self.first_line,
            byte_offset: self.byte_offset,
            lines,
            bytes,
            spans: (!self.is_lines).then_some(spans),
            oversized: None,
        };
        self.number += 1;
        self.first_line += feeds;
        self.byte_offset += gone as u64;
        (self.whole_bytes, self.whole_feeds, self.is_lines) = (0, 0, true);
        segment
    }
}

fn count_feeds(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

/// Makes room for `more` bytes: grows by doubling, as a vector does, but not past `most` unless it must.
fn reserve(buffer: &mut Vec<u8>, more: usize, most: usize) {
    let wanted = buffer.len() + more;
    if wanted > buffer.capacity() {
        let grown = buffer.capacity().saturating_mul(2).min(most).max(wanted);
        buffer.reserve_exact(grown - buffer.len());
    }
}
