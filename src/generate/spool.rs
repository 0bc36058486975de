//! The buffer between the events and the output: written in large pieces, and long enough to repeat
//! an event given out shortly before.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;

/// How much is written at a time.
const WRITE_BYTES_MIN: usize = 256 * 1024;
/// Past this size, what is neither unwritten nor recent is dropped from the front.
const BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The game's API gives pages of up to 51 events.
const RECENT_EVENTS_MAX: usize = 51;

/// Whether lines may be asked for again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Never: nothing is kept.
    None,
    /// The last 51 events can be repeated.
    Page,
}

/// Lines on their way out. Invariant: the ranges of `recent` lie in `buffer`.
pub(crate) struct Spool<'a, W> {
    out: &'a mut W,
    memory: Memory,
    buffer: Vec<u8>,
    /// What stands before it in `buffer` was written.
    written: usize,
    /// The latest events, oldest first, repeats not among them.
    recent: VecDeque<Range<usize>>,
    bytes_total: u64,
}

impl<'a, W: Write> Spool<'a, W> {
    /// An empty spool before `out`.
    pub(crate) fn new(out: &'a mut W, memory: Memory) -> Self {
        Self { out, memory, buffer: Vec::new(), written: 0, recent: VecDeque::new(), bytes_total: 0 }
    }

    /// Adds the line that `append` appends.
    pub(crate) fn add(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let start = self.buffer.len();
        append(&mut self.buffer);
        if self.memory == Memory::Page {
            if self.recent.len() == RECENT_EVENTS_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(start..self.buffer.len());
        }
        self.write_if_full()
    }

    /// How many events can be repeated.
    pub(crate) fn recent(&self) -> usize {
        self.recent.len()
    }

    /// Adds a recent event again, byte for byte; `position` counts from the oldest and is below `recent()`.
    pub(crate) fn repeat(&mut self, position: usize) -> io::Result<()> {
        self.buffer.extend_from_within(self.recent[position].clone());
        self.write_if_full()
    }

    /// Writes what is left and flushes the output; returns how many bytes went through.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.write()?;
        self.out.flush()?;
        Ok(self.bytes_total)
    }

    fn write_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() - self.written >= WRITE_BYTES_MIN { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let pending = &self.buffer[self.written..];
        self.out.write_all(pending)?;
        self.bytes_total += pending.len() as u64;
        self.written = self.buffer.len();
        if self.memory == Memory::None {
            self.drop_front(self.written);
        } else if self.buffer.len() > BUFFER_BYTES_MAX {
            self.drop_front(self.recent.front().map_or(self.written, |event| event.start));
        }
        Ok(())
    }

    fn drop_front(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.written -= bytes;
        for event in &mut self.recent {
            *event = event.start - bytes..event.end - bytes;
        }
    }
}
