//! Opens files and standard input, decompresses them, and cuts the text into segments of whole values.
//!
//! ```text
//! sources ─► thread "reader": open, detect the format, decompress ─► pieces ─► Segmenter, on the caller's thread ─► segments
//! ```
//!
//! Invariant: this module knows no SQL. Of JSON it knows only quotes and brackets, which is enough to find the end of a
//! value, and the keys on the path of `--events-at`.
//!
//! Invariant: segment boundaries depend only on the uncompressed bytes of the source, never on the size of a read. A dump
//! is therefore always cut the same way. The only exception is input slower than
//! [`flush_interval`](segment::SegmentLimits::flush_interval).
//!
//! Invariant: memory is bounded by the caller's segment buffers, the reader's pieces (2 MiB), the buffered compressed
//! bytes (256 KiB), the decoder's window, and the unfinished value between two segments (at most 16 MiB). No segment
//! exists twice.
//!
//! Invariant: data decoded before a source broke is never lost, and a truncated input is never treated as complete.

pub(crate) mod buffers;
pub(crate) mod content;
pub(crate) mod convert;
pub(crate) mod decode;
pub(crate) mod error;
pub(crate) mod framing;
pub(crate) mod open;
pub(crate) mod reader;
pub(crate) mod reread;
pub(crate) mod segment;
pub(crate) mod segmenter;
pub(crate) mod source;
#[cfg(test)]
mod tests;
