//! Where dumps come from: opens files and standard input, decompresses, and cuts the text into segments of whole lines.
//!
//! ```text
//! sources ─► thread "reader": open, tell the format, decompress ─► pieces ─► Segmenter, on the caller's thread ─► segments
//! ```
//!
//! Invariant: this module knows no JSON and no SQL; a line is what ends with a newline, whatever it holds.
//!
//! Invariant: where a segment begins and ends depends on the uncompressed bytes of its source alone, never on how many
//! bytes a read returns, so that a dump is always cut the same way. The one exception is input slower than
//! [`SegmentLimits::flush_interval`].
//!
//! Invariant: memory is bounded by the caller's segment buffers, the reader's pieces (2 MiB), the compressed bytes in
//! hand (256 KiB), the decoder's window, and the unfinished line between two segments (less than a segment). No segment
//! exists twice.
//!
//! Invariant: nothing that was decoded before a source broke is lost, and no end of input is taken for complete that is not.

mod again;
mod buffers;
mod content;
mod cut;
mod decompress;
mod error;
mod format;
mod pretty;
mod raw;
mod reader;
mod segment;
mod source;
#[cfg(test)]
mod tests;

pub use again::{Place, Rereader, lasting_file};
pub use buffers::{Buffer, BufferPool};
pub use content::Content;
pub(crate) use error::shell_quoted;
pub use error::{Breakage, InputError};
pub use format::{Foreign, Packing};
pub use reader::{ReadCounters, Reader, spawn_reader};
pub use segment::{LINE_MAX_BYTES, Next, Segment, SegmentLimits, Segmenter};
pub use source::Source;
