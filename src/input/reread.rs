//! Rereads segments whose text was not kept. Each is read at its recorded place instead of cutting the text again, because
//! the flush interval could cut slow input differently.
//!
//! Invariant: a reread segment has the recorded length. The caller compares its hash to detect changed text.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::input::buffers::Buffer;
use crate::input::convert::PipedCommand;
use crate::input::decode::decoder::Decoder;
use crate::input::decode::format::Format;
use crate::input::decode::raw::{RawInput, ReadCounters};
use crate::input::decode::step::{Break, DecodeStatus};
use crate::input::error::{Breakage, InputError};
use crate::input::reader::first_bytes;
use crate::input::segment::Segment;
use crate::input::source::Source;

/// Size of the buffer for compressed input, and of one step when text is skipped, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// The place of a segment in its source. Ascending order is the order of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentPlace {
    /// The offset of its first byte in the uncompressed source, counted from 0.
    byte_offset: u64,
    /// The number of its first line in the source, counted from 1.
    first_line: u64,
    lines: u64,
    bytes: usize,
}

impl SegmentPlace {
    /// Returns the place of a segment of whole lines. Other segments would need more data, such as their spans.
    pub(crate) fn of(segment: &Segment) -> Option<Self> {
        let is_lines = segment.spans.is_none() && segment.oversized.is_none();
        is_lines.then(|| Self {
            lines: segment.lines,
            byte_offset: segment.byte_offset,
            first_line: segment.first_line,
            bytes: segment.bytes.len(),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Builds the segment at this place, with another number.
    pub(crate) fn segment(&self, number: u64, source: Arc<str>, bytes: Buffer) -> Segment {
        let Self { byte_offset, first_line, lines, .. } = *self;
        Segment { number, source, first_line, byte_offset, lines, bytes, spans: None, oversized: None }
    }
}

/// A file whose segments are reread one after the other.
pub(crate) struct Rereader {
    path: PathBuf,
    text: RereadText,
}

enum RereadText {
    Plain(File),
    Compressed(Box<CompressedText>),
}

struct CompressedText {
    raw: RawInput,
    decoder: Decoder,
    /// The decoder's position in the text.
    offset: u64,
    skipped: Vec<u8>,
}

impl Rereader {
    /// Opens the file. Bytes read here are not counted.
    pub(crate) fn open(path: &Path) -> Result<Self, InputError> {
        let source = Source::File(path.to_owned());
        let opened = File::open(path).and_then(|file| Ok((file.try_clone()?, file)));
        let (file, clone) = opened.map_err(|cause| InputError::opening(&source, cause))?;
        let counters = Arc::<ReadCounters>::default();
        let mut raw = RawInput::new(Box::new(clone), counters, BUFFER_BYTES);
        let text = match first_bytes(&mut raw) {
            Format::Plain => RereadText::Plain(file),
            Format::Compressed(compression) => RereadText::Compressed(Box::new(CompressedText {
                raw,
                decoder: Decoder::new(Some(compression)),
                offset: 0,
                skipped: vec![0; BUFFER_BYTES],
            })),
            Format::Foreign(format) => {
                return Err(InputError::Foreign { input: source, format, piped: PipedCommand::default() });
            }
        };
        Ok(Self { path: path.to_owned(), text })
    }

    /// Reads the text at a place into `buffer`. Returns false if the file is too short. Read segments in ascending order:
    /// for a compressed file, any other order decompresses again from the start.
    pub(crate) fn read(&mut self, place: &SegmentPlace, buffer: &mut Vec<u8>) -> Result<bool, InputError> {
        if matches!(&self.text, RereadText::Compressed(text) if text.offset > place.byte_offset) {
            *self = Self::open(&self.path)?;
        }
        buffer.clear();
        buffer.resize(place.bytes, 0);
        let read = match &mut self.text {
            RereadText::Plain(file) => read_plain(file, place.byte_offset, buffer),
            RereadText::Compressed(text) => text.read(place.byte_offset, buffer),
        };
        read.map_err(|Break { breakage, raw_offset, cause }| InputError::Broken {
            input: Source::File(self.path.clone()),
            breakage,
            text_offset: place.byte_offset,
            raw_offset,
            piped: PipedCommand::default(),
            cause,
        })
    }
}

fn read_plain(file: &File, offset: u64, buffer: &mut [u8]) -> Result<bool, Break> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(Break { breakage: Breakage::Read, raw_offset: offset, cause }),
    }
}

impl CompressedText {
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<bool, Break> {
        while self.offset < offset {
            let limit = usize::try_from(offset - self.offset).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            let chunk = self.decoder.fill(&mut self.raw, &mut self.skipped[..limit]);
            self.offset += chunk.bytes as u64;
            if !may_continue(chunk.status)? && self.offset < offset {
                return Ok(false);
            }
        }
        let mut done = 0;
        while done < buffer.len() {
            let chunk = self.decoder.fill(&mut self.raw, &mut buffer[done..]);
            done += chunk.bytes;
            self.offset += chunk.bytes as u64;
            if done < buffer.len() && !may_continue(chunk.status)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns whether more text may follow.
fn may_continue(status: DecodeStatus) -> Result<bool, Break> {
    match status {
        DecodeStatus::More => Ok(true),
        DecodeStatus::End => Ok(false),
        DecodeStatus::Broken(broken) => Err(broken),
    }
}

/// Returns the path of a source that can be reread: a regular file.
pub(crate) fn rereadable_file(source: &Source) -> Option<&Path> {
    match source {
        Source::File(path) if fs::metadata(path).is_ok_and(|found| found.is_file()) => Some(path),
        Source::File(_) | Source::Stdin => None,
    }
}
