//! Segments and their size limits.

use std::sync::Arc;
use std::time::Duration;

use crate::input::buffers::Buffer;
use crate::input::framing::framer::Span;

/// The maximum length of a value, in bytes. Longer values are rejected.
pub const LINE_MAX_BYTES: usize = 16 << 20;

/// Whole lines or values of one source, or the beginning of one value that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The number of the segment in the run, counted from 0 over all sources.
    pub number: u64,
    /// The display name of the source.
    pub source: Arc<str>,
    /// The line number of its first byte in the source, counted from 1.
    pub first_line: u64,
    /// The offset of its first byte in the uncompressed source, counted from 0.
    pub byte_offset: u64,
    /// The number of lines that begin in the segment.
    pub lines: u64,
    /// The unchanged text of the source.
    pub bytes: Buffer,
    /// The spans of its values, in order. None if each line is a span. Only the last line of a source may lack its newline.
    pub spans: Option<Vec<Span>>,
    /// The length, without the newline, of a single value or non-JSON line longer than [`SegmentLimits::line_max_bytes`].
    /// In this case `bytes` holds its first 4 KiB, which may end within a character. None for all other segments.
    pub oversized: Option<u64>,
}

/// Limits of segment size and waiting time. Each size is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// The target size. A segment is the longest sequence of whole spans that fits in it, or one longer span.
    pub segment_bytes: usize,
    /// The maximum number of spans per segment. It bounds the memory for data kept per span.
    pub lines_max: usize,
    /// The maximum length of a value, in bytes. For a value or a line longer than a segment, the buffer may grow to an
    /// eighth more than this.
    pub line_max_bytes: usize,
    /// The time after which whole values are returned as a partial segment when input is slow.
    pub flush_interval: Duration,
}

impl SegmentLimits {
    /// The maximum size of a buffer without a permit: a segment, plus the look-ahead that shows that the next span does
    /// not fit.
    pub fn usual_bytes_max(&self) -> usize {
        const LOOK_AHEAD_MIN: usize = 8 << 10;
        self.segment_bytes.saturating_add((self.segment_bytes / 8).max(LOOK_AHEAD_MIN))
    }
}
