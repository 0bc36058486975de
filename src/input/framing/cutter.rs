//! Cuts text into segments, without threads and without a clock.
//!
//! Invariant: cuts depend only on the text, not on the size of its pieces. The exceptions are [`Cutter::settle`], which the
//! caller uses when input is slow, and [`Cutter::cut_off`], for text whose end is missing.

pub(crate) mod ending;

use crate::input::buffers::LargePermit;
use std::mem;
use std::sync::Arc;

use memchr::memchr_iter;

use crate::input::buffers::Buffer;
use crate::input::framing::framer::{Ahead, Framed, Framer, Span, SpanKind};
use crate::input::framing::path::EventPath;
use crate::input::segment::{Segment, SegmentLimits};

/// The number of bytes kept of a value that is too long.
pub(crate) const HEAD_BYTES: usize = 4 << 10;

/// The maximum capacity kept for an unfinished span between segments. A larger allocation is freed.
const CARRY_KEPT_BYTES: usize = 256 << 10;

/// The minimum step by which a full buffer grows to find the end of a span. Equal to the framer's look-ahead.
const STEP_BYTES: usize = 4 << 10;

/// A value that is too long.
struct Oversized {
    span: Span,
    bytes: u64,
    /// Line feeds, including those before the value that are in no segment.
    feeds: u64,
    /// Whether the last byte so far is a line feed.
    ends_line: bool,
    /// The length of the text that the framer last examined.
    seen: usize,
}

/// Builds segments from text.
pub(crate) struct Cutter {
    limits: SegmentLimits,
    path: Option<Arc<EventPath>>,
    source: Arc<str>,
    /// The number of the current segment, over all sources.
    number: u64,
    /// The number of its first line in the source.
    first_line: u64,
    /// The offset of its start in the source.
    byte_offset: u64,
    /// Its bytes. None until the cutter gets a buffer.
    filling: Option<Buffer>,
    /// The remainder of the previous segment. Empty while there is a buffer.
    carry: Vec<u8>,
    framer: Framer,
    /// The length of the whole spans at the start of `filling`.
    whole_bytes: usize,
    /// Line feeds in them.
    whole_feeds: u64,
    /// Whether the segment begins at the start of a line.
    begins_line: bool,
    spans: Vec<Span>,
    /// Whether each span is exactly one line.
    is_lines: bool,
    /// A span that was found but did not fit.
    found: Option<Framed>,
    /// A value that is too long. Only its head is in `filling`. Text read beyond it is in `carry`.
    oversized: Option<Oversized>,
    needs_permit: bool,
}

impl Cutter {
    /// Creates a cutter for sources with values at `path`, if any.
    pub(crate) fn new(limits: SegmentLimits, path: Option<Arc<EventPath>>) -> Self {
        Self {
            limits,
            source: Arc::from(""),
            number: 0,
            first_line: 1,
            byte_offset: 0,
            filling: None,
            carry: Vec::new(),
            framer: Framer::new(limits.line_max_bytes, path.clone()),
            path,
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

    /// Begins a source. The previous one must be finished.
    pub(crate) fn begin(&mut self, source: Arc<str>) {
        debug_assert!(self.is_empty());
        self.source = source;
        self.first_line = 1;
        self.byte_offset = 0;
        self.begins_line = true;
        self.framer = Framer::new(self.limits.line_max_bytes, self.path.clone());
    }

    pub(crate) fn limits(&self) -> SegmentLimits {
        self.limits
    }

    fn remaining(&self) -> &[u8] {
        self.filling.as_ref().map_or(&self.carry[..], |filling| &filling[..])
    }

    /// Returns the name of the current source.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Returns whether no text remains to be returned.
    pub(crate) fn is_empty(&self) -> bool {
        self.carry.is_empty() && self.filling.as_ref().is_none_or(|filling| filling.is_empty())
    }

    /// Returns whether [`Cutter::give`] must precede the next [`Cutter::feed`] or [`Cutter::finish`].
    pub(crate) fn needs_buffer(&self) -> bool {
        self.filling.is_none()
    }

    /// Returns whether [`Cutter::permit`] must precede the next [`Cutter::feed`], because a span is longer than a segment.
    pub(crate) fn needs_permit(&self) -> bool {
        self.needs_permit
    }

    /// Allows the current buffer to become large.
    pub(crate) fn permit(&mut self, permit: LargePermit) {
        self.needs_permit = false;
        if let Some(filling) = &mut self.filling {
            filling.permit(permit);
        }
    }

    /// Provides a buffer for the next segment.
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

    /// Takes the first bytes of `data`. Returns their number, and the segment that they complete, if any. Takes all of
    /// them if they complete none, unless [`Cutter::needs_permit`].
    pub(crate) fn feed(&mut self, data: &[u8]) -> (usize, Option<Segment>) {
        let mut filling = self.filling.take().expect("give() precedes feed()");
        let mut taken = 0;
        loop {
            if self.oversized.is_none() && self.frame(&mut filling, Ahead::More) {
                return (taken, Some(self.close_whole(filling)));
            }
            if self.oversized.is_some() {
                let (skipped, is_over) = self.skip(&mut filling, &data[taken..], Ahead::More);
                taken += skipped;
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
            let mut limit = if step > room { self.limits.line_max_bytes } else { self.limits.segment_bytes };
            if filling.len() < usual {
                step = step.min(usual - filling.len());
                limit = limit.min(usual);
            }
            reserve(&mut filling, step, limit);
            filling.extend_from_slice(&data[taken..][..step]);
            taken += step;
        }
    }

    /// Returns the whole spans so far, if any, because input is slow. An unfinished span is kept.
    pub(crate) fn settle(&mut self) -> Option<Segment> {
        self.whole_spans(Ahead::Settle)
    }

    fn whole_spans(&mut self, ahead: Ahead) -> Option<Segment> {
        let mut filling = self.filling.take()?;
        let is_full = self.oversized.is_none() && self.frame(&mut filling, ahead);
        if is_full || self.oversized.is_none() && self.whole_bytes > 0 {
            return Some(self.close_whole(filling));
        }
        // A value that is too long may have ended, with more values after it.
        let (_, is_over) = self.skip(&mut filling, &[], Ahead::More);
        if is_over {
            return Some(self.close_oversized(filling));
        }
        self.filling = Some(filling);
        None
    }

    /// Returns the next segment of the remaining text, if any. The last line of a source is complete without a line feed.
    pub(crate) fn finish(&mut self) -> Option<Segment> {
        let mut filling = self.filling.take()?;
        if filling.is_empty() && self.oversized.is_none() {
            self.filling = Some(filling);
            return None;
        }
        let is_full = self.oversized.is_none() && self.frame(&mut filling, Ahead::Nothing);
        if self.oversized.is_some() {
            self.skip(&mut filling, &[], Ahead::Nothing);
            return Some(self.close_oversized(filling));
        }
        if !is_full {
            // Only white space and closing brackets remain.
            self.is_lines &= self.whole_bytes == filling.len();
            (self.whole_bytes, self.whole_feeds) = (filling.len(), self.framer.lines());
        }
        Some(self.close_whole(filling))
    }

    /// Frames the available text. Returns whether the segment is full, or ends before a value that is too long.
    fn frame(&mut self, filling: &mut Buffer, ahead: Ahead) -> bool {
        let SegmentLimits { segment_bytes, lines_max, .. } = self.limits;
        loop {
            let framed = self.found.take().unwrap_or_else(|| self.framer.next(filling, ahead));
            match framed {
                Framed::Span { span, next, kind } => {
                    let is_full = next > segment_bytes || self.spans.len() == lines_max;
                    if self.whole_bytes > 0 && is_full {
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
                // The next span does not fit, wherever it ends.
                Framed::More => {
                    return self.whole_bytes > 0 && filling.len() >= self.limits.usual_bytes_max();
                }
                Framed::End => return false,
            }
        }
    }

    /// Keeps only the head of a value.
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

    /// Skips a value that is too long. Returns the number of bytes skipped, and whether the value's end was found.
    fn skip(&mut self, head: &mut Buffer, data: &[u8], ahead: Ahead) -> (usize, bool) {
        let Some(Oversized { bytes, feeds, ends_line, seen, .. }) = &mut self.oversized else {
            return (0, false);
        };
        let carry = mem::take(&mut self.carry);
        for (text, is_carry) in [(&carry[..], true), (data, false)] {
            if text.is_empty() && (is_carry || ahead == Ahead::More) {
                continue;
            }
            let last = if is_carry { Ahead::More } else { ahead };
            let end = self.framer.skip(*seen, text, last);
            let skipped = end.unwrap_or(text.len());
            *bytes += skipped as u64;
            *feeds += count_feeds(&text[..skipped]);
            *ends_line = text[..skipped].last().map_or(*ends_line, |last| *last == b'\n');
            let content =
                text[..skipped].strip_suffix(b"\n").filter(|_| end.is_some()).unwrap_or(&text[..skipped]);
            let room = HEAD_BYTES.saturating_sub(head.len());
            head.extend_from_slice(&content[..content.len().min(room)]);
            *seen = text.len();
            if end.is_some() {
                if is_carry {
                    self.carry = text[skipped..].to_vec();
                }
                return (if is_carry { 0 } else { skipped }, true);
            }
        }
        (data.len(), false)
    }

    /// Returns the number of lines that begin in the segment that ends now.
    fn lines_begun(&mut self, feeds: u64, ends_line: bool) -> u64 {
        let begins_line = mem::replace(&mut self.begins_line, ends_line);
        feeds + u64::from(begins_line) - u64::from(ends_line)
    }

    fn close_oversized(&mut self, mut bytes: Buffer) -> Segment {
        let Some(oversized) = self.oversized.take() else { return self.close_whole(bytes) };
        let Oversized { mut span, bytes: value_bytes, feeds, ends_line, .. } = oversized;
        if ends_line && bytes.len() as u64 == value_bytes {
            bytes.pop();
        }
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
            // A line feed at the end does not count.
            oversized: Some(value_bytes - u64::from(ends_line)),
        };
        self.number += 1;
        self.first_line += feeds - feeds_before;
        self.byte_offset += value_bytes;
        segment
    }

    fn close_whole(&mut self, mut bytes: Buffer) -> Segment {
        let (removed, feeds) = (self.whole_bytes, self.whole_feeds);
        self.carry.extend_from_slice(&bytes[removed..]);
        self.framer.rebase(&bytes, removed, feeds);
        if let Some(Framed::Span { span, .. } | Framed::TooLong(span)) = &mut self.found {
            span.start -= removed;
            span.end -= removed;
            span.line -= feeds;
        }
        if let Some(Framed::Span { next, .. }) = &mut self.found {
            *next -= removed;
        }
        bytes.truncate(removed);
        bytes.settle(self.limits.usual_bytes_max());
        let lines = self.lines_begun(feeds, bytes.last() == Some(&b'\n'));
        let spans = (!self.is_lines).then(|| mem::take(&mut self.spans));
        self.spans.clear();
        let segment = Segment {
            number: self.number,
            source: Arc::clone(&self.source),
            first_line: self.first_line,
            byte_offset: self.byte_offset,
            lines,
            bytes,
            spans,
            oversized: None,
        };
        self.number += 1;
        self.first_line += feeds;
        self.byte_offset += removed as u64;
        (self.whole_bytes, self.whole_feeds, self.is_lines) = (0, 0, true);
        segment
    }
}

fn count_feeds(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

/// Reserves room for `more` bytes. Doubles the capacity like a vector, but exceeds `limit` only if necessary.
fn reserve(buffer: &mut Vec<u8>, more: usize, limit: usize) {
    let wanted = buffer.len() + more;
    if wanted > buffer.capacity() {
        let grown = buffer.capacity().saturating_mul(2).min(limit).max(wanted);
        buffer.reserve_exact(grown - buffer.len());
    }
}
