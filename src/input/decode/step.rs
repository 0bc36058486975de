//! The steps that all decoders share: buffering raw input, and the reasons why a source broke.

use std::io;

use crate::input::decode::format::Compression;
use crate::input::decode::raw::RawInput;
use crate::input::error::Breakage;

/// The state of the source after a chunk.
pub(crate) enum DecodeStatus {
    /// More text may follow.
    More,
    /// The source ended correctly.
    End,
    /// The source broke.
    Broken(Break),
}

/// The reason why a source broke.
pub(crate) struct Break {
    pub(crate) breakage: Breakage,
    /// Bytes of raw input before the break.
    pub(crate) raw_offset: u64,
    pub(crate) cause: io::Error,
}

/// The availability of raw input.
pub(crate) enum InputState {
    Ready,
    /// Reading more may block, and decoded text must be returned first.
    Later,
    /// The source has no more input.
    Ended,
}

/// Buffers `wanted` bytes, unless that may block while there is text to return.
pub(crate) fn supply(raw: &mut RawInput, wanted: usize, bytes: usize) -> Result<InputState, Break> {
    while raw.buffered().len() < wanted {
        if raw.ended() {
            return Ok(InputState::Ended);
        }
        if bytes > 0 {
            return Ok(InputState::Later);
        }
        let raw_offset = raw.taken() + raw.buffered().len() as u64;
        raw.refill().map_err(|cause| Break { breakage: Breakage::Read, raw_offset, cause })?;
    }
    Ok(InputState::Ready)
}

pub(crate) fn cut_short(compression: Compression, raw: &RawInput) -> Break {
    Break {
        breakage: Breakage::CutShort(compression),
        raw_offset: raw.taken(),
        cause: io::ErrorKind::UnexpectedEof.into(),
    }
}

pub(crate) fn trailing(compression: Compression, raw: &RawInput) -> Break {
    let cause = io::Error::new(io::ErrorKind::InvalidData, "no magic number at the start of the next part");
    Break { breakage: Breakage::Trailing(compression), raw_offset: raw.taken(), cause }
}
