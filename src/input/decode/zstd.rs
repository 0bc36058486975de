//! Decodes zstd step by step.

use std::io;

use zstd::zstd_safe::{self, DCtx, InBuffer, OutBuffer, zstd_sys::ZSTD_ErrorCode};

use crate::input::decode::format;
use crate::input::decode::format::Compression;
use crate::input::decode::raw::RawInput;
use crate::input::decode::step::{Break, DecodeStatus, InputState, cut_short, supply, trailing};
use crate::input::error::Breakage;

/// Decodes zstd, frame after frame, including skippable frames.
///
/// The decoder is fed unit by unit (a header, a block or a checksum). After an error it does not report the output of the
/// same call, so no call may cross the end of a unit.
pub(crate) struct Zstd {
    context: DCtx<'static>,
    place: ZstdPlace,
    output: ZstdOutput,
}

/// Whether the decoder may hold output of a unit that it has consumed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ZstdOutput {
    Given,
    /// The output buffer was full. The rest is fetched separately, so that an error in the next unit cannot lose it.
    Pending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ZstdPlace {
    /// Before a frame or the end.
    Between,
    /// In a unit that began at `start` in the raw input, with `left` bytes to come.
    Unit { start: u64, left: usize },
}

/// The length of the magic number at the start of every frame.
const ZSTD_MAGIC_BYTES: usize = 4;
/// The length of a block header. The decoder's size hint for a block includes the header of the next block.
const ZSTD_BLOCK_HEADER_BYTES: usize = 3;

impl Zstd {
    pub(crate) fn new() -> Self {
        Self { context: DCtx::create(), place: ZstdPlace::Between, output: ZstdOutput::Given }
    }

    pub(crate) fn fill(
        &mut self,
        raw: &mut RawInput,
        out: &mut [u8],
        bytes: &mut usize,
    ) -> Result<DecodeStatus, Break> {
        while *bytes < out.len() {
            let ZstdPlace::Unit { left, .. } = self.place else {
                match supply(raw, ZSTD_MAGIC_BYTES, *bytes)? {
                    InputState::Later => return Ok(DecodeStatus::More),
                    InputState::Ended if raw.buffered().is_empty() => return Ok(DecodeStatus::End),
                    InputState::Ended if format::may_begin_zstd(raw.buffered()) => {
                        return Err(cut_short(Compression::Zstd, raw));
                    }
                    InputState::Ready if format::may_begin_zstd(&raw.buffered()[..ZSTD_MAGIC_BYTES]) => {
                        self.place = ZstdPlace::Unit { start: raw.taken(), left: ZSTD_MAGIC_BYTES };
                    }
                    InputState::Ended | InputState::Ready => return Err(trailing(Compression::Zstd, raw)),
                }
                continue;
            };
            let flushing = self.output == ZstdOutput::Pending;
            let feed = if flushing { 0 } else { left };
            let (taken, given) = self.step(raw, out, *bytes, feed)?;
            *bytes += given;
            if flushing || taken > 0 || given > 0 {
                continue;
            }
            match supply(raw, 1, *bytes)? {
                InputState::Ready => {}
                InputState::Later => return Ok(DecodeStatus::More),
                InputState::Ended => return Err(cut_short(Compression::Zstd, raw)),
            }
        }
        Ok(DecodeStatus::More)
    }

    /// Continues a unit with at most `feed` input bytes. Returns the numbers of input bytes taken and output bytes given.
    fn step(
        &mut self,
        raw: &mut RawInput,
        out: &mut [u8],
        bytes: usize,
        feed: usize,
    ) -> Result<(usize, usize), Break> {
        let ZstdPlace::Unit { start, left } = self.place else {
            return Ok((0, 0));
        };
        let room = out.len();
        let buffered = raw.buffered();
        let mut input = InBuffer::around(&buffered[..feed.min(buffered.len())]);
        let mut output = OutBuffer::around_pos(out, bytes);
        let result = self.context.decompress_stream(&mut output, &mut input);
        let (taken, given) = (input.pos(), output.pos() - bytes);
        match result {
            Ok(hint) => {
                raw.take(taken);
                self.output = if bytes + given == room { ZstdOutput::Pending } else { ZstdOutput::Given };
                self.place = match (hint, left - taken) {
                    (0, _) => ZstdPlace::Between,
                    (_, 0) => {
                        let ahead = if hint > ZSTD_BLOCK_HEADER_BYTES { ZSTD_BLOCK_HEADER_BYTES } else { 0 };
                        ZstdPlace::Unit { start: raw.taken(), left: hint - ahead }
                    }
                    (_, left) => ZstdPlace::Unit { start, left },
                };
                Ok((taken, given))
            }
            Err(code) => {
                let too_wide =
                    zstd_safe::is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge);
                let needs_dictionary =
                    zstd_safe::is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dictionary_wrong);
                let breakage = match (too_wide, needs_dictionary) {
                    (true, _) => Breakage::Window,
                    (_, true) => Breakage::Dictionary,
                    _ => Breakage::Damaged(Compression::Zstd),
                };
                let cause = io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code));
                Err(Break { breakage, raw_offset: start, cause })
            }
        }
    }
}
