//! Segments, and how large they may be.

use std::sync::Arc;
use std::time::Duration;

use crate::input::buffers::Buffer;
use crate::input::framing::framer::Span;

/// The longest value that a load keeps, in bytes.
pub const LINE_MAX_BYTES: usize = 16 << 20;

/// Whole lines or values of one source, or the head of one value that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the run, from 0, over all sources.
    pub number: u64,
    /// Its source, as it is shown.
    pub source: Arc<str>,
    /// The number, in its source, of the line that its first byte is in, from 1.
    pub first_line: u64,
    /// Where its first byte is in the uncompressed source, from 0.
    pub byte_offset: u64,
    /// How many lines begin in it.
    pub lines: u64,
    /// Its text, as the source has it.
    pub bytes: Buffer,
    /// Where its values are, in their order. None if each line is a span; only the last of a source may lack its newline.
    pub spans: Option<Vec<Span>>,
    /// Some if its only value, or a line that is no JSON, is longer than [`SegmentLimits::line_max_bytes`]: then `bytes` is
    /// its first 4 KiB, which may end within a character, and this is its length, its newline not counted.
    pub oversized: Option<u64>,
}

/// How large a segment, and how long a wait, may be. Each size is 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// A segment is the longest run of whole spans that fits in this many bytes, or one span that is longer.
    pub segment_bytes: usize,
    /// A segment has at most this many spans, so that what is noted of each takes a bounded space too.
    pub lines_max: usize,
    /// The longest value that is kept, in bytes. A segment's buffer may grow to an eighth more than this, for a value or a
    /// line that is longer than a segment.
    pub line_max_bytes: usize,
    /// How long whole values wait for more of them, when input is slow, before they are given out.
    pub flush_interval: Duration,
}

impl SegmentLimits {
    /// The most bytes of a buffer that needs no permit: a segment, and as much more as is needed to see that the next span
    /// does not fit.
    pub fn usual_bytes_max(&self) -> usize {
        const LOOK_AHEAD_MIN: usize = 8 << 10;
        self.segment_bytes.saturating_add((self.segment_bytes / 8).max(LOOK_AHEAD_MIN))
    }
}
