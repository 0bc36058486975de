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
//! [`SegmentLimits::flush_interval`].
//!
//! Invariant: memory is bounded by the caller's segment buffers, the reader's pieces (2 MiB), the compressed bytes in
//! hand (256 KiB), the decoder's window, and the unfinished value between two segments (16 MiB at most). No segment
//! exists twice.
//!
//! Invariant: nothing that was decoded before a source broke is lost, and no end of input is taken for complete that is not.

mod again;
mod buffers;
mod content;
mod convert;
mod cut;
mod decompress;
mod error;
mod format;
mod framer;
mod raw;
mod reader;
mod scan;
mod segment;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use crate::shell::shell_quoted;
pub use again::{Place, Rereader, lasting_file};
pub use buffers::{Buffer, BufferPool, LARGE_CAPACITY, LargePermit};
pub use content::Content;
pub use convert::PipedCommand;
pub use error::{Breakage, InputError};
pub use format::{Foreign, Packing};
pub use framer::Span;
pub use reader::{ReadCounters, Reader, spawn_reader};
pub use segment::{LINE_MAX_BYTES, Next, Segment, SegmentLimits, Segmenter};
pub use source::Source;
