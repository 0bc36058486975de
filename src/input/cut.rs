//! Cuts text into segments: no threads, no clock, bytes in and segments out.
//!
//! Invariant: each byte is looked at for a newline once, however small the pieces that it comes in.
//!
//! Invariant: where it cuts depends on the bytes since the last cut, not on how many came at a time; only [`Cutter::cut_whole`],
//! which the caller's clock asks for, is an exception.

use std::mem;
use std::sync::Arc;

use memchr::{memchr, memchr_iter, memrchr};

use super::buffers::Buffer;
use super::segment::{Segment, SegmentLimits};

/// How much of a line that is too long is kept, to name it by.
pub(super) const HEAD_BYTES: usize = 4 << 10;

/// The room for an unfinished line that is kept between segments; a longer line's is given back.
const CARRY_KEPT_BYTES: usize = 256 << 10;

/// A segment in the making.
pub(super) struct Cutter {
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
    /// The unfinished line that the segment before left; empty while there is a buffer.
    carry: Vec<u8>,
    /// Bytes of `filling` that are whole lines, and how many lines those are.
    whole_bytes: usize,
    whole_lines: usize,
    /// The bytes so far of a line that is too long, whose head alone is in `filling`.
    oversized: Option<u64>,
}

impl Cutter {
    pub(super) fn new(limits: SegmentLimits) -> Self {
        Self {
            limits,
            source: Arc::from(""),
            number: 0,
            first_line: 1,
            byte_offset: 0,
            filling: None,
            carry: Vec::new(),
            whole_bytes: 0,
            whole_lines: 0,
            oversized: None,
        }
    }

    /// Begins a source. The one before must be finished.
    pub(super) fn begin(&mut self, source: Arc<str>) {
        debug_assert!(self.is_empty());
        self.source = source;
        self.first_line = 1;
        self.byte_offset = 0;
    }

    /// The source that is being cut.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether nothing waits to be given out.
    pub(super) fn is_empty(&self) -> bool {
        self.carry.is_empty() && self.filling.as_ref().is_none_or(|filling| filling.is_empty())
    }

    /// Whether whole lines wait to be given out.
    pub(super) fn has_whole_lines(&self) -> bool {
        self.whole_bytes > 0
    }

    /// Whether [`Cutter::give`] must come before the next [`Cutter::feed`] or [`Cutter::finish`].
    pub(super) fn needs_buffer(&self) -> bool {
        self.filling.is_none()
    }

    /// Takes a buffer for the next segment.
    pub(super) fn give(&mut self, mut buffer: Buffer) {
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

    /// Takes the first bytes of `data`: how many, and the segment that they finish, if they do. Takes all if they don't.
    pub(super) fn feed(&mut self, data: &[u8]) -> (usize, Option<Segment>) {
        let mut filling = self.filling.take().expect("a buffer is given before data is fed");
        let mut taken = 0;
        while taken < data.len() {
            let step = self.step(&mut filling, &data[taken..]);
            taken += step.taken;
            if let Some(close) = step.close {
                return (taken, Some(self.close(filling, close)));
            }
        }
        self.filling = Some(filling);
        (taken, None)
    }

    /// Gives out the whole lines so far, if there are any; the unfinished one stays.
    pub(super) fn cut_whole(&mut self) -> Option<Segment> {
        let filling = self.filling.take_if(|_| self.whole_bytes > 0)?;
        Some(self.close(filling, Close::WholeLines))
    }

    /// Gives out all that is left of a source, if there is any: its last line is whole without a newline.
    pub(super) fn finish(&mut self) -> Option<Segment> {
        let filling = self.filling.take_if(|filling| !filling.is_empty())?;
        let close =
            self.oversized.map_or(Close::All, |line_bytes| Close::Oversized { line_bytes, with_newline: 0 });
        Some(self.close(filling, close))
    }

    fn step(&mut self, filling: &mut Vec<u8>, data: &[u8]) -> Step {
        if let Some(line_bytes) = self.oversized {
            return self.pass_over(filling, data, line_bytes);
        }
        let SegmentLimits { segment_bytes, line_max_bytes, .. } = self.limits;
        let line_bytes = filling.len() - self.whole_bytes;
        let line_room = line_max_bytes - line_bytes;
        let room = segment_bytes.saturating_sub(filling.len());

        // Within both limits no line can be too long, so the newlines need only be counted and the last one found.
        let (taken, lines) = self.within_lines_max(&data[..data.len().min(room).min(line_room)]);
        if taken > 0 {
            self.append(filling, &data[..taken], lines);
            return Step::went_on(taken, self.is_full());
        }
        if self.whole_bytes > 0 && (room == 0 || data[0] != b'\n') {
            return Step { taken: 0, close: Some(Close::WholeLines) };
        }
        if line_room == 0 {
            if data[0] == b'\n' {
                self.append(filling, &data[..1], 1);
                return Step::went_on(1, self.is_full());
            }
            filling.truncate(HEAD_BYTES);
            self.oversized = Some(line_bytes as u64);
            return Step::went_on(0, false);
        }
        // A first line that is longer than a segment should be.
        let span = &data[..data.len().min(line_room)];
        let newline = memchr(b'\n', span);
        let taken = newline.map_or(span.len(), |newline| newline + 1);
        self.append(filling, &span[..taken], usize::from(newline.is_some()));
        Step::went_on(taken, self.is_full())
    }

    /// Goes on in a line that is too long, keeping no more than its head.
    fn pass_over(&mut self, filling: &mut Vec<u8>, data: &[u8], line_bytes: u64) -> Step {
        let newline = memchr(b'\n', data);
        let rest = &data[..newline.unwrap_or(data.len())];
        let head = rest.len().min(HEAD_BYTES.saturating_sub(filling.len()));
        filling.extend_from_slice(&rest[..head]);
        let line_bytes = line_bytes + rest.len() as u64;
        self.oversized = Some(line_bytes);
        match newline {
            Some(at) => Step { taken: at + 1, close: Some(Close::Oversized { line_bytes, with_newline: 1 }) },
            None => Step::went_on(data.len(), false),
        }
    }

    /// Adds bytes that have so many newlines.
    fn append(&mut self, filling: &mut Vec<u8>, bytes: &[u8], lines: usize) {
        let most = if filling.len() + bytes.len() > self.limits.segment_bytes {
            self.limits.line_max_bytes.saturating_add(1)
        } else {
            self.limits.segment_bytes
        };
        reserve(filling, bytes.len(), most);
        if let Some(newline) = memrchr(b'\n', bytes) {
            self.whole_bytes = filling.len() + newline + 1;
            self.whole_lines += lines;
        }
        filling.extend_from_slice(bytes);
    }

    /// How much of `data` may be added until the segment has all the lines that it may have, and how many newlines that has.
    fn within_lines_max(&self, data: &[u8]) -> (usize, usize) {
        let lines_room = self.limits.lines_max - self.whole_lines;
        let lines = memchr_iter(b'\n', data).count();
        if lines < lines_room {
            return (data.len(), lines);
        }
        let last = memchr_iter(b'\n', data).nth(lines_room - 1);
        last.map_or((data.len(), lines), |newline| (newline + 1, lines_room))
    }

    /// Whether no line can be added any more.
    fn is_full(&self) -> bool {
        self.whole_lines == self.limits.lines_max
            || self.whole_bytes > 0 && self.whole_bytes >= self.limits.segment_bytes
    }

    fn close(&mut self, mut bytes: Buffer, close: Close) -> Segment {
        let (text_bytes, lines, oversized) = match close {
            Close::WholeLines => {
                self.carry.extend_from_slice(&bytes[self.whole_bytes..]);
                bytes.truncate(self.whole_bytes);
                (bytes.len() as u64, self.whole_lines as u64, None)
            }
            Close::All => (bytes.len() as u64, self.whole_lines as u64, None),
            Close::Oversized { line_bytes, with_newline } => (line_bytes + with_newline, 1, Some(line_bytes)),
        };
        let segment = Segment {
            number: self.number,
            source: Arc::clone(&self.source),
            first_line: self.first_line,
            byte_offset: self.byte_offset,
            bytes,
            oversized,
        };
        self.number += 1;
        self.first_line += lines;
        self.byte_offset += text_bytes;
        self.whole_bytes = 0;
        self.whole_lines = 0;
        self.oversized = None;
        segment
    }
}

/// What [`Cutter::step`] did with the data.
struct Step {
    taken: usize,
    close: Option<Close>,
}

impl Step {
    fn went_on(taken: usize, full: bool) -> Self {
        Self { taken, close: full.then_some(Close::WholeLines) }
    }
}

/// Where a segment ends.
#[derive(Clone, Copy)]
enum Close {
    /// After the whole lines; the unfinished one is carried to the next.
    WholeLines,
    /// After all there is, at the end of a source.
    All,
    /// After a line that is too long, of `line_bytes` and 0 or 1 bytes of newline.
    Oversized { line_bytes: u64, with_newline: u64 },
}

/// Makes room for `more` bytes: grows by doubling, as a vector does, but not past `most` unless it must.
fn reserve(buffer: &mut Vec<u8>, more: usize, most: usize) {
    let wanted = buffer.len() + more;
    if wanted > buffer.capacity() {
        let grown = buffer.capacity().saturating_mul(2).min(most).max(wanted);
        buffer.reserve_exact(grown - buffer.len());
    }
}
