//! Decodes gzip step by step.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use crate::input::decode::format;
use crate::input::decode::format::Compression;
use crate::input::decode::raw::RawInput;
use crate::input::decode::step::{Break, DecodeStatus, InputState, cut_short, supply, trailing};
use crate::input::error::Breakage;

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
    pub(crate) fn new() -> Self {
        Self { inflate: Decompress::new_gzip(GZIP_WINDOW_BITS), place: GzipPlace::Between }
    }

    pub(crate) fn fill(
        &mut self,
        raw: &mut RawInput,
        out: &mut [u8],
        bytes: &mut usize,
    ) -> Result<DecodeStatus, Break> {
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

fn to_usize(count: u64) -> usize {
    usize::try_from(count).expect("no more bytes than the buffer holds")
}
