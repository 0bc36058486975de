//! Receives pieces from the reader and cuts them into segments.
//!
//! Invariant: it waits only for a piece, a buffer, its permit, the clock or the stop request. Every wait also ends on the
//! stop request, and no wait polls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::input::buffers::{Buffer, BufferPool};
use crate::input::error::InputError;
use crate::input::framing::cutter::Cutter;
use crate::input::framing::cutter::ending::UnclosedValue;
use crate::input::framing::framer::ending::TextEnd;
use crate::input::framing::path::EventPath;
use crate::input::reader::{Message, Reader};
use crate::input::segment::{Segment, SegmentLimits};
use crate::sync::channel::{Receiver, RecvTimeoutError, TryRecvError, at, never, select_biased};

/// The next result of a [`Segmenter`].
#[derive(Debug)]
pub enum Next {
    /// A segment.
    Segment(Segment),
    /// A source could not be opened or ended early. Everything before that was returned. The next source follows.
    SourceFailed(InputError),
    /// The segmenter was stopped. All further calls return the same.
    Stopped,
    /// All sources were read. All further calls return the same.
    End,
}

/// Receives pieces from the reader and cuts segments on the caller's thread.
pub struct Segmenter {
    reader: Reader,
    flush_interval: Duration,
    buffers: BufferPool,
    stop: Receiver<()>,
    cutter: Cutter,
    /// The piece that is being cut.
    piece: Option<Piece>,
    /// The arrival time of the first whole line that was not yet returned.
    waiting_since: Option<Instant>,
    /// Whether the source has ended and its remainder is being returned.
    is_ending: bool,
    /// Whether a source that ends within a value has waited for a stop request.
    has_waited: bool,
    /// The error of a source, returned after its last segment.
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
    /// Stop requested: returns data that was already received, and does not wait.
    Stopping,
    Stopped,
    Ended,
}

/// The event that ended [`Segmenter::wait`].
enum Wakeup {
    Message(Message),
    ReaderLost,
    FlushDue,
    Stop,
}

impl Segmenter {
    /// Creates a segmenter for the text from `reader`. Each segment uses one of `buffers`. Their number bounds memory and
    /// provides backpressure; one is enough. A message on `stop`, or its disconnection, stops the segmenter.
    pub fn new(reader: Reader, limits: SegmentLimits, buffers: BufferPool, stop: Receiver<()>) -> Self {
        Self {
            reader,
            flush_interval: limits.flush_interval,
            buffers,
            stop,
            cutter: Cutter::new(limits, None),
            piece: None,
            waiting_since: None,
            is_ending: false,
            has_waited: false,
            failure: None,
            is_reader_lost: false,
            state: SegmenterState::Running,
        }
    }

    /// Follows the path to the events into values that are too long to hold.
    #[must_use]
    pub fn following(mut self, path: Option<Arc<EventPath>>) -> Self {
        self.cutter = Cutter::new(self.cutter.limits(), path);
        self
    }

    /// Blocks until the next segment, and returns it or the reason why there is none.
    ///
    /// After a stop request it returns the whole values received so far, at most one segment and only if a buffer is free.
    /// Then it returns [`Next::Stopped`], and drops an unfinished value. If all input was already returned, it
    /// returns [`Next::End`]. Of a source that breaks, it drops an unfinished value at the end too: its remainder is missing.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's None would not distinguish a stop from the end"
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
                self.receive()
            };
            if let Some(segment) = segment {
                if self.state == SegmenterState::Stopping {
                    self.state = SegmenterState::Stopped;
                }
                // The remaining data may be the last for a long time.
                self.waiting_since = (!self.cutter.is_empty()).then(Instant::now);
                return Next::Segment(segment);
            }
        }
    }

    /// Appends the current piece to the segment, as far as it fits.
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

    /// Waits for the next event and handles it.
    fn receive(&mut self) -> Option<Segment> {
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
                debug_assert_eq!(self.reader.pieces.in_use(), 0, "a piece of the reader was lost");
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
                // An unfinished value waits for another interval.
                self.waiting_since = Some(Instant::now());
                if self.have_buffer() { self.cutter.settle() } else { None }
            }
            Wakeup::Stop => {
                let last = if self.have_buffer() { self.cutter.cut_off() } else { None };
                self.state = SegmenterState::Stopped;
                last
            }
        }
    }

    /// Returns the next remaining segment of a source that has ended.
    fn finish_source(&mut self) -> Option<Segment> {
        if !self.cutter.is_empty() {
            if !self.have_buffer() {
                return None;
            }
            let is_broken = self.failure.is_some();
            let text_end = if is_broken { TextEnd::Within } else { self.cutter.text_end() };
            if !is_broken && self.was_stopped(text_end) {
                // The pipe's writer was stopped by the same signal, in the middle of a value.
                self.state = SegmenterState::Stopped;
                return self.cutter.cut_off();
            }
            // An unclosed array is cut off like compressed data: the value at its end is not read.
            let is_cut_off = is_broken || text_end == TextEnd::Unclosed;
            let segment = if is_cut_off { self.cutter.cut_off() } else { self.cutter.finish() };
            if segment.is_some() {
                return segment;
            }
        }
        if self.failure.is_none()
            && let Some(UnclosedValue { kind, line, may_lack_values }) = self.cutter.unclosed()
        {
            let input = self.cutter.source().to_owned();
            self.failure = Some(InputError::Unclosed { input, kind, line, may_lack_values });
        }
        self.cutter.discard();
        (self.is_ending, self.has_waited) = (false, false);
        self.waiting_since = None;
        if self.is_reader_lost {
            self.state = SegmenterState::Ended;
        }
        None
    }

    /// Returns whether the source ends within a value because of a stop request. Waits for a moment, because a pipe may end
    /// before the signal that ended it is noticed.
    fn was_stopped(&mut self, text_end: TextEnd) -> bool {
        const MOMENT: Duration = Duration::from_millis(100);
        match (self.state, text_end) {
            (_, TextEnd::Between) => false,
            // Once for all segments of the remaining text.
            (SegmenterState::Running, _) => {
                !std::mem::replace(&mut self.has_waited, true)
                    && self.stop.recv_timeout(MOMENT) != Err(RecvTimeoutError::Timeout)
            }
            _ => true,
        }
    }

    /// Ensures that there is a buffer to fill. Returns false if there is none and the segmenter must stop.
    fn have_buffer(&mut self) -> bool {
        if !self.cutter.needs_buffer() {
            return true;
        }
        let buffer = self.obtain(BufferPool::take, BufferPool::try_take);
        buffer.map(|buffer| self.cutter.give(buffer)).is_some()
    }

    /// Ensures that the buffer has a permit if it needs one. Returns false if there is none and the segmenter must stop.
    fn have_permit(&mut self) -> bool {
        if !self.cutter.needs_permit() {
            return true;
        }
        let permit = self.obtain(BufferPool::take_permit, BufferPool::try_take_permit);
        permit.map(|permit| self.cutter.permit(permit)).is_some()
    }

    /// Waits for a part of the pool, or takes a free one after a stop request. Without one, the segmenter has stopped.
    fn obtain<T>(
        &mut self,
        wait: impl FnOnce(&BufferPool, &Receiver<()>) -> Option<T>,
        take: impl FnOnce(&BufferPool) -> Option<T>,
    ) -> Option<T> {
        let mut part = None;
        if self.state == SegmenterState::Running {
            part = wait(&self.buffers, &self.stop);
            if part.is_none() {
                self.state = SegmenterState::Stopping;
            }
        }
        if self.state == SegmenterState::Stopping {
            part = take(&self.buffers);
        }
        if part.is_none() {
            self.state = SegmenterState::Stopped;
        }
        part
    }

    fn wait(&mut self) -> Wakeup {
        if let Some(message) = self.reader.ahead.pop_front() {
            return Wakeup::Message(message);
        }
        // Received messages have priority over the clock, which applies only to slow input.
        match self.reader.messages.try_recv() {
            Ok(message) => return Wakeup::Message(message),
            Err(TryRecvError::Disconnected) => return Wakeup::ReaderLost,
            Err(TryRecvError::Empty) if self.state == SegmenterState::Stopping => return Wakeup::Stop,
            Err(TryRecvError::Empty) => {}
        }
        // An interval that overflows the clock never ends.
        let due = self
            .waiting_since
            .and_then(|since| since.checked_add(self.flush_interval))
            .map_or_else(never, at);
        select_biased! {
            recv(self.stop) -> _ => {
                self.state = SegmenterState::Stopping;
                self.wait()
            },
            recv(self.reader.messages) -> message => message.map_or(Wakeup::ReaderLost, Wakeup::Message),
            recv(due) -> _ => Wakeup::FlushDue,
        }
    }
}
