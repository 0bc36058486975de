//! Decodes raw input to plain text, one piece at a time.
//!
//! Invariant: data decoded before an error is in `out`, and counted. The decoders are therefore driven step by step.
//! On an error, the `Read` wrappers of these libraries lose the data that the same call had decoded before.
//!
//! Invariant: [`Decoder::fill`] reads from the source only while it has no text to return, so that text from a slow pipe is
//! not delayed.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{self, DCtx, InBuffer, OutBuffer, zstd_sys::ZSTD_ErrorCode};

use crate::input::decode::format;
use crate::input::decode::format::Compression;
use crate::input::decode::raw::RawInput;
use crate::input::error::Breakage;

/// Decodes one source.
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

/// The state of the source after a [`Chunk`].
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

/// The availability of raw input.
enum InputState {
    Ready,
    /// Reading more may block, and decoded text must be returned first.
    Later,
    /// The source has no more input.
    Ended,
}

/// Buffers `wanted` bytes, unless that may block while there is text to return.
fn supply(raw: &mut RawInput, wanted: usize, bytes: usize) -> Result<InputState, Break> {
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

fn cut_short(compression: Compression, raw: &RawInput) -> Break {
    Break {
        breakage: Breakage::CutShort(compression),
        raw_offset: raw.taken(),
        cause: io::ErrorKind::UnexpectedEof.into(),
    }
}

fn trailing(compression: Compression, raw: &RawInput) -> Break {
    let cause = io::Error::new(io::ErrorKind::InvalidData, "no magic number at the start of the next part");
    Break { breakage: Breakage::Trailing(compression), raw_offset: raw.taken(), cause }
}

/// Decodes gzip, member after member. Skips zero bytes after the last member, which are padding on tapes.
pub(crate) struct Gzip {
    inflate: Decompress,
    place: GzipPlace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GzipPlace {
    /// Before a member or the end.
    Between,
    Member,
    Padding,
}

/// The maximum window size of gzip, as a power of two (RFC 1951, 2).
const GZIP_WINDOW_BITS: u8 = 15;

impl Gzip {
    fn new() -> Self {
        Self { inflate: Decompress::new_gzip(GZIP_WINDOW_BITS), place: GzipPlace::Between }
    }

    fn fill(&mut self, raw: &mut RawInput, out: &mut [u8], bytes: &mut usize) -> Result<DecodeStatus, Break> {
        while *bytes < out.len() {
            match self.place {
                GzipPlace::Between => match supply(raw, format::GZIP.len(), *bytes)? {
                    InputState::Later => return Ok(DecodeStatus::More),
                    InputState::Ended if raw.buffered().is_empty() => return Ok(DecodeStatus::End),
                    InputState::Ended | InputState::Ready => self.place = Self::next_place(raw)?,
                },
                GzipPlace::Member => {
                    if let Some(status) = self.inflate(raw, out, bytes)? {
                        return Ok(status);
                    }
                }
                GzipPlace::Padding => {
                    let zeros = raw.buffered().iter().take_while(|&&byte| byte == 0).count();
                    raw.take(zeros);
                    match supply(raw, 1, *bytes)? {
                        InputState::Ready if raw.buffered()[0] == 0 => {}
                        InputState::Ready => return Err(trailing(Compression::Gzip, raw)),
                        InputState::Later => return Ok(DecodeStatus::More),
                        InputState::Ended => return Ok(DecodeStatus::End),
                    }
                }
            }
        }
        Ok(DecodeStatus::More)
    }

    /// Determines what follows a member from its first two bytes, or from the only byte left.
    fn next_place(raw: &RawInput) -> Result<GzipPlace, Break> {
        let first = raw.buffered();
        if first.starts_with(&format::GZIP) {
            Ok(GzipPlace::Member)
        } else if first[0] == 0 {
            Ok(GzipPlace::Padding)
        } else if first == &format::GZIP[..1] {
            Err(cut_short(Compression::Gzip, raw))
        } else {
            Err(trailing(Compression::Gzip, raw))
        }
    }

    /// Decodes one step inside a member. Returns a status if `fill` must return.
    fn inflate(
        &mut self,
        raw: &mut RawInput,
        out: &mut [u8],
        bytes: &mut usize,
    ) -> Result<Option<DecodeStatus>, Break> {
        let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
        let result = self.inflate.decompress(raw.buffered(), &mut out[*bytes..], FlushDecompress::None);
        // The totals are valid even after an error.
        let taken = to_usize(self.inflate.total_in() - in_before);
        let given = to_usize(self.inflate.total_out() - out_before);
        raw.take(taken);
        *bytes += given;
        match result {
            Ok(Status::StreamEnd) => {
                self.inflate = Decompress::new_gzip(GZIP_WINDOW_BITS);
                self.place = GzipPlace::Between;
                Ok(None)
            }
            Ok(Status::Ok | Status::BufError) if taken > 0 || given > 0 => Ok(None),
            // No progress although there is room in the output: the buffered input is used up.
            Ok(Status::Ok | Status::BufError) => match supply(raw, 1, *bytes)? {
                InputState::Ready => Ok(None),
                InputState::Later => Ok(Some(DecodeStatus::More)),
                InputState::Ended => Err(cut_short(Compression::Gzip, raw)),
            },
            Err(error) => {
                let cause = io::Error::new(io::ErrorKind::InvalidData, error);
                Err(Break { breakage: Breakage::Damaged(Compression::Gzip), raw_offset: raw.taken(), cause })
            }
        }
    }
}

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
    fn new() -> Self {
        Self { context: DCtx::create(), place: ZstdPlace::Between, output: ZstdOutput::Given }
    }

    fn fill(&mut self, raw: &mut RawInput, out: &mut [u8], bytes: &mut usize) -> Result<DecodeStatus, Break> {
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

fn to_usize(count: u64) -> usize {
    usize::try_from(count).expect("no more bytes than the buffer holds")
}
