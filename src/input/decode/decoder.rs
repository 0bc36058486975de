//! From the bytes as they came to plain text, a piece at a time.
//!
//! Invariant: what was decoded before an error is in `out`, and counted. So the decoders are driven a step at a time
//! here: the readers that wrap them lose, at an error, what the same call had decoded before it.
//!
//! Invariant: [`Decoder::fill`] reads from the source only while it has nothing to give, so that a slow pipe's text is
//! not held back.

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

/// What [`Decoder::fill`] did.
pub(crate) struct Chunk {
    /// Bytes of text at the start of `out`.
    pub(crate) bytes: usize,
    pub(crate) then: DecodeStatus,
}

/// What comes after the bytes that were filled in.
pub(crate) enum DecodeStatus {
    /// Perhaps more.
    More,
    /// Nothing: the source ended where it should.
    End,
    /// Nothing: the source broke.
    Broken(Break),
}

/// Why a source gives no more.
pub(crate) struct Break {
    pub(crate) breakage: Breakage,
    /// Bytes of the input as it came before the break.
    pub(crate) raw_offset: u64,
    pub(crate) cause: io::Error,
}

impl Decoder {
    pub(crate) fn new(packing: Option<Compression>) -> Self {
        match packing {
            None => Self::Plain,
            Some(Compression::Gzip) => Self::Gzip(Gzip::new()),
            Some(Compression::Zstd) => Self::Zstd(Zstd::new()),
        }
    }

    /// Decodes into `out`, which must not be empty, as much as fits and can be had without blocking; blocks only for the
    /// first byte.
    pub(crate) fn fill(&mut self, raw: &mut RawInput, out: &mut [u8]) -> Chunk {
        let mut bytes = 0;
        let then = match self {
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
        Chunk { bytes, then: then.unwrap_or_else(DecodeStatus::Broken) }
    }
}

/// Whether there is input to go on with.
enum InputState {
    /// There is.
    Ready,
    /// There may be, but getting it may block, and there is text to give out first.
    Later,
    /// The source has no more.
    Ended,
}

/// Sees to it that `wanted` bytes are buffered, unless that may block while there is text to give out.
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

fn cut_short(packing: Compression, raw: &RawInput) -> Break {
    Break {
        breakage: Breakage::CutShort(packing),
        raw_offset: raw.taken(),
        cause: io::ErrorKind::UnexpectedEof.into(),
    }
}

fn trailing(packing: Compression, raw: &RawInput) -> Break {
    let cause = io::Error::new(io::ErrorKind::InvalidData, "no magic number where another part could begin");
    Break { breakage: Breakage::Trailing(packing), raw_offset: raw.taken(), cause }
}

/// gzip, member after member; zero bytes after the last (a tape's padding) are skipped.
pub(crate) struct Gzip {
    inflate: Decompress,
    place: GzipPlace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GzipPlace {
    /// Before a member, or the end.
    Between,
    Member,
    Padding,
}

/// The largest window that gzip has, as a power of two (RFC 1951, 2).
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
                    if let Some(then) = self.inflate(raw, out, bytes)? {
                        return Ok(then);
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

    /// What begins after a member, by its first two bytes, or its only one.
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

    /// One step inside a member; Some if `fill` is to return.
    fn inflate(
        &mut self,
        raw: &mut RawInput,
        out: &mut [u8],
        bytes: &mut usize,
    ) -> Result<Option<DecodeStatus>, Break> {
        let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
        let result = self.inflate.decompress(raw.buffered(), &mut out[*bytes..], FlushDecompress::None);
        // The totals hold after an error, too.
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
            // Without progress, and with room for more: it has used up what is buffered.
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

/// zstd, frame after frame, skippable ones among them.
///
/// It is fed unit by unit (a header, a block, a checksum): after an error the decoder does not tell what the same call had
/// given before it, so no call may reach from one unit into the next.
pub(crate) struct Zstd {
    context: DCtx<'static>,
    place: ZstdPlace,
    output: ZstdOutput,
}

/// What the decoder may have left of a unit that it took.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ZstdOutput {
    Given,
    /// There was no room for all: the rest is asked for alone, lest an error in the next unit swallows it.
    Pending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ZstdPlace {
    /// Before a frame, or the end.
    Between,
    /// In a unit that began at `start` in the input as it came; `left` bytes of it are to come.
    Unit { start: u64, left: usize },
}

/// Every frame begins with a magic number of this length.
const ZSTD_MAGIC_BYTES: usize = 4;
/// What the decoder adds to the length of a block when it tells how much it wants: the header of the block after it.
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

    /// Goes on in a unit with `feed` bytes of it at most: bytes taken and given.
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

/// A count of bytes within a buffer.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).expect("no more bytes than the buffer holds")
}
