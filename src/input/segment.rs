//! Segments, and who pulls them out of the reader.
//!
//! Invariant: it waits for four things only (a piece, a buffer, the clock, the order to stop), always for the order to stop too,
//! and never by asking again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, at, never, select_biased};

use super::buffers::{Buffer, BufferPool};
use super::cut::Cutter;
use super::error::InputError;
use super::reader::{Message, Reader};

/// The longest line that a load keeps, in bytes without its newline.
pub const LINE_MAX_BYTES: usize = 16 << 20;

/// Whole lines of one source, or the head of one line that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the run, from 0, over all sources.
    pub number: u64,
    /// Its source, as it is shown.
    pub source: Arc<str>,
    /// The number of its first line in its source, from 1.
    pub first_line: u64,
    /// Where its first byte is in the uncompressed source, from 0.
    pub byte_offset: u64,
    /// Whole lines; only the last of a source may lack its newline.
    pub bytes: Buffer,
    /// Some if the line is longer than [`SegmentLimits::line_max_bytes`]: then `bytes` is its first 4 KiB, which may end within a
    /// character, and this is its length, its newline not counted. It counts as one line.
    pub oversized: Option<u64>,
}

/// How large a segment, and how long a wait, may be. Each size is 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// A segment is the longest run of whole lines that fits in this many bytes, or one line that is longer.
    pub segment_bytes: usize,
    /// A segment has at most this many lines, so that what is noted of each line takes a bounded space too.
    pub lines_max: usize,
    /// The longest line that is kept, in bytes without its newline. A segment's buffer may grow to one more than this.
    pub line_max_bytes: usize,
    /// How long whole lines wait for more of them, when input is slow, before they are given out.
    pub flush_interval: Duration,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// A segment.
    Segment(Segment),
    /// A source could not be opened, or ended early. What preceded was given out; the next source goes on.
    SourceFailed(InputError),
    /// It was told to stop. From now on it says nothing else.
    Stopped,
    /// All sources were read. From now on it says nothing else.
    End,
}

/// Pulls pieces from the reader and cuts segments, on the thread of whoever asks.
pub struct Segmenter {
    reader: Reader,
    flush_interval: Duration,
    buffers: BufferPool,
    stop: Receiver<()>,
    cutter: Cutter,
    /// The piece in hand.
    piece: Option<Piece>,
    /// When the first of the whole lines came that wait to be given out.
    waiting_since: Option<Instant>,
    /// The error of a source whose last segment was just given out.
    failure: Option<InputError>,
    state: State,
}

struct Piece {
    bytes: Buffer,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Told to stop: gives out what is there already, and waits for nothing.
    Stopping,
    Stopped,
    Ended,
}

/// What [`Segmenter::wait`] waited for.
enum Event {
    Message(Message),
    ReaderLost,
    FlushDue,
    Stop,
}

impl Segmenter {
    /// Cuts what `reader` reads. Each segment's bytes are in one of `buffers`: their number bounds memory and holds the
    /// reader back. One is enough. A message or the end of `stop` ends it.
    pub fn new(reader: Reader, limits: SegmentLimits, buffers: BufferPool, stop: Receiver<()>) -> Self {
        Self {
            reader,
            flush_interval: limits.flush_interval,
            buffers,
            stop,
            cutter: Cutter::new(limits),
            piece: None,
            waiting_since: None,
            failure: None,
            state: State::Running,
        }
    }

    /// Gives the next segment, or says why there is none. Blocks until it can.
    ///
    /// Told to stop, it gives out the whole lines that were received, up to one segment and if a buffer is free, and then
    /// [`Next::Stopped`]; an unfinished line is dropped. If all input was given out by then, it says [`Next::End`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's None would not tell a stop from the end"
    )]
    pub fn next(&mut self) -> Next {
        loop {
            if let Some(failure) = self.failure.take() {
                return Next::SourceFailed(failure);
            }
            match self.state {
                State::Stopped => return Next::Stopped,
                State::Ended => return Next::End,
                State::Running if self.stop.try_recv() != Err(TryRecvError::Empty) => {
                    self.state = State::Stopping;
                }
                State::Running | State::Stopping => {}
            }
            let segment = if self.piece.is_some() { self.cut_piece() } else { self.go_on() };
            if let Some(segment) = segment {
                if self.state == State::Stopping {
                    self.state = State::Stopped;
                }
                self.waiting_since = None;
                return Next::Segment(segment);
            }
        }
    }

    /// Puts the piece in hand into the segment, as far as it fits.
    fn cut_piece(&mut self) -> Option<Segment> {
        if !self.have_buffer() {
            return None;
        }
        let mut piece = self.piece.take()?;
        let (taken, segment) = self.cutter.feed(&piece.bytes[piece.start..piece.end]);
        piece.start += taken;
        if piece.start < piece.end {
            self.piece = Some(piece);
        }
        if self.waiting_since.is_none() && self.cutter.has_whole_lines() {
            self.waiting_since = Some(Instant::now());
        }
        segment
    }

    /// Waits for what comes next and sees to it.
    fn go_on(&mut self) -> Option<Segment> {
        match self.wait() {
            Event::Message(Message::Opened(source)) => {
                self.cutter.begin(source);
                None
            }
            Event::Message(Message::Piece(bytes, end)) => {
                self.piece = Some(Piece { bytes, start: 0, end });
                None
            }
            Event::Message(Message::Closed(failure)) => {
                self.failure = failure;
                self.finish_source()
            }
            Event::Message(Message::Done) => {
                debug_assert_eq!(self.reader.pieces.in_use(), 0, "pieces of the reader are lost");
                self.state = State::Ended;
                None
            }
            Event::ReaderLost => {
                self.failure = Some(InputError::ReaderLost { input: self.cutter.source().to_owned() });
                let last = self.finish_source();
                self.state = State::Ended;
                last
            }
            Event::FlushDue => self.cutter.cut_whole(),
            Event::Stop => {
                let last = self.cutter.cut_whole();
                self.state = State::Stopped;
                last
            }
        }
    }

    fn finish_source(&mut self) -> Option<Segment> {
        if self.cutter.is_empty() || !self.have_buffer() {
            return None;
        }
        self.cutter.finish()
    }

    /// Sees to it that there is a buffer to fill. False: there is none, and it is time to stop.
    fn have_buffer(&mut self) -> bool {
        if !self.cutter.needs_buffer() {
            return true;
        }
        let mut buffer = None;
        if self.state == State::Running {
            buffer = self.buffers.take(&self.stop);
            if buffer.is_none() {
                self.state = State::Stopping;
            }
        }
        if self.state == State::Stopping {
            buffer = self.buffers.try_take();
        }
        if let Some(buffer) = buffer {
            self.cutter.give(buffer);
            true
        } else {
            self.state = State::Stopped;
            false
        }
    }

    fn wait(&mut self) -> Event {
        // What is there already goes first: the clock is for input that keeps us waiting.
        match self.reader.messages.try_recv() {
            Ok(message) => return Event::Message(message),
            Err(TryRecvError::Disconnected) => return Event::ReaderLost,
            Err(TryRecvError::Empty) if self.state == State::Stopping => return Event::Stop,
            Err(TryRecvError::Empty) => {}
        }
        // An interval past the end of time never ends.
        let due = self
            .waiting_since
            .and_then(|since| since.checked_add(self.flush_interval))
            .map_or_else(never, at);
        select_biased! {
            recv(self.stop) -> _ => {
                self.state = State::Stopping;
                self.wait()
            }
            recv(self.reader.messages) -> message => message.map_or(Event::ReaderLost, Event::Message),
            recv(due) -> _ => Event::FlushDue,
        }
    }
}
