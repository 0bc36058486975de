//! Where dumps come from: opens files and standard input, decompresses, and cuts the text into segments of whole values.
//!
//! ```text
//! sources ─► thread "reader": open, tell the format, decompress ─► pieces ─► Segmenter, on the caller's thread ─► segments
//! ```
//!
//! Invariant: this module knows no SQL, and of JSON the quotes and brackets alone: where a value ends, not what it is.
//!
//! Invariant: where a segment begins and ends depends on the uncompressed bytes of its source alone, never on how many
//! bytes a read returns, so that a dump is always cut the same way. The one exception is input slower than
//! [`flush_interval`](segment::SegmentLimits::flush_interval).
//!
//! Invariant: memory is bounded by the caller's segment buffers, the reader's pieces (2 MiB), the compressed bytes in
//! hand (256 KiB), the decoder's window, and the unfinished value between two segments (16 MiB at most). No segment
//! exists twice.
//!
//! Invariant: nothing that was decoded before a source broke is lost, and no end of input is taken for complete that is not.

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
