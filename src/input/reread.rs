//! Reads segments again that were given out and not kept: not by cutting the text anew, but each from its place, so that no
//! slowness of either reading makes a difference.
//!
//! Invariant: what it gives has the place's length. Whether the text is still the same, the caller sees by its hash.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::input::buffers::Buffer;
use crate::input::convert::PipedCommand;
use crate::input::decode::decoder::{Break, DecodeStatus, Decoder};
use crate::input::decode::format::Format;
use crate::input::decode::raw::{RawInput, ReadCounters};
use crate::input::error::{Breakage, InputError};
use crate::input::reader::first_bytes;
use crate::input::segment::Segment;
use crate::input::source::Source;

/// Compressed bytes in hand, and bytes of text that are passed over at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Where a segment is in its source. In ascending order they are in the order of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentPlace {
    /// Where its first byte is in the uncompressed source, from 0.
    byte_offset: u64,
    /// The number of its first line in its source, from 1.
    first_line: u64,
    lines: u64,
    bytes: usize,
}

impl SegmentPlace {
    /// The place of a segment of whole lines; of other segments more would have to be kept.
    pub(crate) fn of(segment: &Segment) -> Option<Self> {
        let is_lines = segment.spans.is_none() && segment.oversized.is_none();
        is_lines.then(|| Self {
            lines: segment.lines,
            byte_offset: segment.byte_offset,
            first_line: segment.first_line,
            bytes: segment.bytes.len(),
        })
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The segment that is there, under another number.
    pub(crate) fn segment(&self, number: u64, source: Arc<str>, bytes: Buffer) -> Segment {
        let Self { byte_offset, first_line, lines, .. } = *self;
        Segment { number, source, first_line, byte_offset, lines, bytes, spans: None, oversized: None }
    }
}

/// A file that is read again, at one place after the other.
pub(crate) struct Rereader {
    path: PathBuf,
    text: RereadText,
}

enum RereadText {
    Plain(File),
    Packed(Box<Packed>),
}

struct Packed {
    raw: RawInput,
    decoder: Decoder,
    /// Where in the text the decoder is.
    offset: u64,
    passed_over: Vec<u8>,
}

impl Rereader {
    /// Opens the file. What is read here counts nowhere.
    pub(crate) fn open(path: &Path) -> Result<Self, InputError> {
        let source = Source::File(path.to_owned());
        let opened = File::open(path).and_then(|file| Ok((file.try_clone()?, file)));
        let (file, clone) = opened.map_err(|cause| InputError::opening(&source, cause))?;
        let counters = Arc::<ReadCounters>::default();
        let mut raw = RawInput::new(Box::new(clone), counters, BUFFER_BYTES);
        let text = match first_bytes(&mut raw) {
            Format::Plain => RereadText::Plain(file),
            Format::Packed(packing) => RereadText::Packed(Box::new(Packed {
                raw,
                decoder: Decoder::new(Some(packing)),
                offset: 0,
                passed_over: vec![0; BUFFER_BYTES],
            })),
            Format::Foreign(format) => {
                return Err(InputError::Foreign { input: source, format, piped: PipedCommand::default() });
            }
        };
        Ok(Self { path: path.to_owned(), text })
    }

    /// Puts what is at a place into `buffer`; false if the text ends before. In the order of their places segments are
    /// found fastest: what is packed is otherwise read from its start.
    pub(crate) fn read(&mut self, place: &SegmentPlace, buffer: &mut Vec<u8>) -> Result<bool, InputError> {
        if matches!(&self.text, RereadText::Packed(packed) if packed.offset > place.byte_offset) {
            *self = Self::open(&self.path)?;
        }
        buffer.clear();
        buffer.resize(place.bytes, 0);
        let read = match &mut self.text {
            RereadText::Plain(file) => read_plain(file, place.byte_offset, buffer),
            RereadText::Packed(packed) => packed.read(place.byte_offset, buffer),
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

impl Packed {
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<bool, Break> {
        while self.offset < offset {
            let most = usize::try_from(offset - self.offset).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            let filled = self.decoder.fill(&mut self.raw, &mut self.passed_over[..most]);
            self.offset += filled.bytes as u64;
            if !goes_on(filled.then)? && self.offset < offset {
                return Ok(false);
            }
        }
        let mut done = 0;
        while done < buffer.len() {
            let filled = self.decoder.fill(&mut self.raw, &mut buffer[done..]);
            done += filled.bytes;
            self.offset += filled.bytes as u64;
            if done < buffer.len() && !goes_on(filled.then)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether there may be more text.
fn goes_on(then: DecodeStatus) -> Result<bool, Break> {
    match then {
        DecodeStatus::More => Ok(true),
        DecodeStatus::End => Ok(false),
        DecodeStatus::Broken(broken) => Err(broken),
    }
}

/// The file of a source that can be read again as it was.
pub(crate) fn lasting_file(source: &Source) -> Option<&Path> {
    match source {
        Source::File(path) if fs::metadata(path).is_ok_and(|found| found.is_file()) => Some(path),
        Source::File(_) | Source::Stdin => None,
    }
}
