//! Decodes raw input to plain text, one piece at a time.
//!
//! Invariant: data decoded before an error is in `out`, and counted. The decoders are therefore driven step by step.
//! On an error, the `Read` wrappers of their libraries lose the data that the same call had decoded before.
//!
//! Invariant: [`Decoder::fill`] reads from the source only while it has no text to return, so that text from a slow pipe is
//! not delayed.

use crate::input::decode::format::Compression;
use crate::input::decode::gzip::Gzip;
use crate::input::decode::raw::RawInput;
use crate::input::decode::step::{Break, DecodeStatus};
use crate::input::decode::zstd::Zstd;
use crate::input::error::Breakage;

pub(crate) enum Decoder {
    Plain,
    Gzip(Gzip),
    Zstd(Zstd),
}

/// The result of [`Decoder::fill`].
pub(crate) struct Chunk {
    /// Bytes of text at the start of `out`.
    pub(crate) bytes: usize,
    pub(crate) status: DecodeStatus,
}

impl Decoder {
    pub(crate) fn new(compression: Option<Compression>) -> Self {
        match compression {
            None => Self::Plain,
            Some(Compression::Gzip) => Self::Gzip(Gzip::new()),
            Some(Compression::Zstd) => Self::Zstd(Zstd::new()),
        }
    }

    /// Decodes into `out`, which must not be empty, as much as fits without blocking. Blocks only for the first byte.
    pub(crate) fn fill(&mut self, raw: &mut RawInput, out: &mut [u8]) -> Chunk {
        let mut bytes = 0;
        let status = match self {
            Self::Plain => match raw.read(out) {
                Ok(0) => Ok(DecodeStatus::End),
                Ok(count) => {
                    bytes = count;
                    Ok(DecodeStatus::More)
                }
                Err(cause) => Err(Break { breakage: Breakage::Read, raw_offset: raw.taken(), cause }),
            },
            Self::Gzip(gzip) => gzip.fill(raw, out, &mut bytes),
            Self::Zstd(zstd) => zstd.fill(raw, out, &mut bytes),
        };
        Chunk { bytes, status: status.unwrap_or_else(DecodeStatus::Broken) }
    }
}
