//! Segments, and who pulls them out of the reader.
//!
//! Invariant: it waits for five things only (a piece, a buffer, its permit, the clock, the order to stop), always for the order to stop too,
//! and never by asking again and again.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, at, never, select_biased};

use crate::input::buffers::{Buffer, BufferPool};
use crate::input::error::InputError;
use crate::input::framing::cutter::Cutter;
use crate::input::reader::{Message, Reader};
use crate::input::segment::{Segment, SegmentLimits};

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
    /// Whether the source has ended, and what is left of it is to be given out.
    is_ending: bool,
    /// The error of a source, once its last segment is given out.
    failure: Option<InputError>,
    is_reader_lost: bool,
    state: SegmenterState,
}

struct Piece {
    bytes: Buffer,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SegmenterState {
    Running,
    /// Told to stop: gives out what is there already, and waits for nothing.
    Stopping,
    Stopped,
    Ended,
}

/// What [`Segmenter::wait`] waited for.
enum Wakeup {
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
            is_ending: false,
            failure: None,
            is_reader_lost: false,
            state: SegmenterState::Running,
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
            if let Some(failure) = self.failure.take_if(|_| !self.is_ending) {
                return Next::SourceFailed(failure);
            }
            match self.state {
                SegmenterState::Stopped => return Next::Stopped,
                SegmenterState::Ended => return Next::End,
                SegmenterState::Running if self.stop.try_recv() != Err(TryRecvError::Empty) => {
                    self.state = SegmenterState::Stopping;
                }
                SegmenterState::Running | SegmenterState::Stopping => {}
            }
            let segment = if self.is_ending {
                self.finish_source()
            } else if self.piece.is_some() {
                self.cut_piece()
            } else {
                self.go_on()
            };
            if let Some(segment) = segment {
                if self.state == SegmenterState::Stopping {
                    self.state = SegmenterState::Stopped;
                }
                // What follows it may be the last for long.
                self.waiting_since = (!self.cutter.is_empty()).then(Instant::now);
                return Next::Segment(segment);
            }
        }
    }

    /// Puts the piece in hand into the segment, as far as it fits.
    fn cut_piece(&mut self) -> Option<Segment> {
        if !self.have_buffer() || !self.have_permit() {
            return None;
        }
        let mut piece = self.piece.take()?;
        let (taken, segment) = self.cutter.feed(&piece.bytes[piece.start..piece.end]);
        piece.start += taken;
        if piece.start < piece.end {
            self.piece = Some(piece);
        }
        if self.waiting_since.is_none() && !self.cutter.is_empty() {
            self.waiting_since = Some(Instant::now());
        }
        segment
    }

    /// Waits for what comes next and sees to it.
    fn go_on(&mut self) -> Option<Segment> {
        match self.wait() {
            Wakeup::Message(Message::Opened(source)) => {
                self.cutter.begin(source);
                None
            }
            Wakeup::Message(Message::Piece(bytes, end)) => {
                self.piece = Some(Piece { bytes, start: 0, end });
                None
            }
            Wakeup::Message(Message::Closed(failure)) => {
                self.failure = failure;
                self.is_ending = true;
                None
            }
            Wakeup::Message(Message::Done) => {
                debug_assert_eq!(self.reader.pieces.in_use(), 0, "pieces of the reader are lost");
                self.state = SegmenterState::Ended;
                None
            }
            Wakeup::ReaderLost => {
                self.failure = Some(InputError::ReaderLost { input: self.cutter.source().to_owned() });
                self.is_ending = true;
                self.is_reader_lost = true;
                None
            }
            Wakeup::FlushDue => {
                // What is not whole waits as long again.
                self.waiting_since = Some(Instant::now());
                if self.have_buffer() { self.cutter.settle() } else { None }
            }
            Wakeup::Stop => {
                let last = self.cutter.settle();
                self.state = SegmenterState::Stopped;
                last
            }
        }
    }

    /// Gives out what is left of a source that has ended.
    fn finish_source(&mut self) -> Option<Segment> {
        if !self.cutter.is_empty() {
            if !self.have_buffer() {
                return None;
            }
            if self.was_stopped() {
                // Whoever wrote into the pipe was stopped too, in the middle of a line.
                self.state = SegmenterState::Stopped;
                return self.cutter.settle();
            }
            let segment = self.cutter.finish();
            if segment.is_some() {
                return segment;
            }
        }
        self.is_ending = false;
        self.waiting_since = None;
        if self.failure.is_none() && self.cutter.is_open() {
            self.failure = Some(InputError::Unclosed { input: self.cutter.source().to_owned() });
        }
        if self.is_reader_lost {
            self.state = SegmenterState::Ended;
        }
        None
    }

    /// Whether the source ends within a line, and the order to stop came, or comes at once: a pipe may end before the signal
    /// is seen that ended it.
    fn was_stopped(&self) -> bool {
        const MOMENT: Duration = Duration::from_millis(100);
        match self.state {
            SegmenterState::Running if self.cutter.is_cut_off() => {
                self.stop.recv_timeout(MOMENT) != Err(RecvTimeoutError::Timeout)
            }
            SegmenterState::Running => false,
            _ => !self.cutter.ends_line(),
        }
    }

    /// Sees to it that there is a buffer to fill. False: there is none, and it is time to stop.
    fn have_buffer(&mut self) -> bool {
        if !self.cutter.needs_buffer() {
            return true;
        }
        let mut buffer = None;
        if self.state == SegmenterState::Running {
            buffer = self.buffers.take(&self.stop);
            if buffer.is_none() {
                self.state = SegmenterState::Stopping;
            }
        }
        if self.state == SegmenterState::Stopping {
            buffer = self.buffers.try_take();
        }
        if let Some(buffer) = buffer {
            self.cutter.give(buffer);
            true
        } else {
            self.state = SegmenterState::Stopped;
            false
        }
    }

    /// Sees to it that a buffer that must become large may. False: it may not, and it is time to stop.
    fn have_permit(&mut self) -> bool {
        if !self.cutter.needs_permit() {
            return true;
        }
        let mut permit = None;
        if self.state == SegmenterState::Running {
            permit = self.buffers.take_permit(&self.stop);
            if permit.is_none() {
                self.state = SegmenterState::Stopping;
            }
        }
        if self.state == SegmenterState::Stopping {
            permit = self.buffers.try_take_permit();
        }
        if let Some(permit) = permit {
            self.cutter.permit(permit);
            true
        } else {
            self.state = SegmenterState::Stopped;
            false
        }
    }

    fn wait(&mut self) -> Wakeup {
        if let Some(message) = self.reader.ahead.pop_front() {
            return Wakeup::Message(message);
        }
        // What is there already goes first: the clock is for input that keeps us waiting.
        match self.reader.messages.try_recv() {
            Ok(message) => return Wakeup::Message(message),
            Err(TryRecvError::Disconnected) => return Wakeup::ReaderLost,
            Err(TryRecvError::Empty) if self.state == SegmenterState::Stopping => return Wakeup::Stop,
            Err(TryRecvError::Empty) => {}
        }
        // An interval past the end of time never ends.
        let due = self
            .waiting_since
            .and_then(|since| since.checked_add(self.flush_interval))
            .map_or_else(never, at);
        select_biased! {
            recv(self.stop) -> _ => {
                self.state = SegmenterState::Stopping;
                self.wait()
            }
            recv(self.reader.messages) -> message => message.map_or(Wakeup::ReaderLost, Wakeup::Message),
            recv(due) -> _ => Wakeup::FlushDue,
        }
    }
}
