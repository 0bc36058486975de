//! The buffer between generator and output. It writes large pieces and keeps recent events for repeats.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;

/// Minimum size of a write.
const WRITE_BYTES_MIN: usize = 256 * 1024;
/// Size beyond which bytes that are written and not recent are dropped from the front.
const BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum number of recent events, as on one page of the game's API.
const RECENT_EVENTS_MAX: usize = 51;

/// Whether recent events can be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// No events are kept.
    None,
    /// The last 51 events are kept.
    Page,
}

/// Buffered lines. Invariant: the ranges of `recent` lie in `buffer`.
pub(crate) struct Spool<'a, W> {
    out: &'a mut W,
    memory: Memory,
    buffer: Vec<u8>,
    /// Number of bytes at the start of `buffer` that are written.
    written: usize,
    /// The latest distinct events, oldest first.
    recent: VecDeque<Range<usize>>,
    bytes_total: u64,
}

impl<'a, W: Write> Spool<'a, W> {
    pub(crate) fn new(out: &'a mut W, memory: Memory) -> Self {
        Self { out, memory, buffer: Vec::new(), written: 0, recent: VecDeque::new(), bytes_total: 0 }
    }

    /// Adds a line that `append` writes.
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

    /// Number of events that can be repeated.
    pub(crate) fn recent(&self) -> usize {
        self.recent.len()
    }

    /// Adds a recent event again byte for byte. `position` counts from the oldest and is below `recent()`.
    pub(crate) fn repeat(&mut self, position: usize) -> io::Result<()> {
        self.buffer.extend_from_within(self.recent[position].clone());
        self.write_if_full()
    }

    /// Writes the remaining bytes, flushes the output, and returns the total number of bytes.
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
