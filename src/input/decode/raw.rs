//! The bytes of one source as they come, with a place to look ahead.
//!
//! Invariant: `buffer[start..end]` came from the source and was not taken yet; `taken` counts what came before it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the reader has read, over all sources: up to 2 MiB ahead of the segments.
#[derive(Debug, Default)]
pub(crate) struct ReadCounters {
    bytes_read: AtomicU64,
    pub(crate) bytes_uncompressed: AtomicU64,
}

impl ReadCounters {
    /// Bytes read as they came, compressed or not.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes of text that they made.
    pub(crate) fn bytes_uncompressed(&self) -> u64 {
        self.bytes_uncompressed.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, count: u64) {
        self.bytes_read.fetch_add(count, Ordering::Relaxed);
    }
}

pub(crate) struct RawInput {
    reader: Box<dyn Read>,
    counters: Arc<ReadCounters>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    taken: u64,
    /// Whether a read found the end: it is not asked again, as a terminal would then begin anew.
    ended: bool,
    /// An error that was met while looking ahead, kept for whoever comes to its place.
    deferred: Option<io::Error>,
}

impl RawInput {
    pub(crate) fn new(reader: Box<dyn Read>, counters: Arc<ReadCounters>, buffer_bytes: usize) -> Self {
        Self {
            reader,
            counters,
            buffer: vec![0; buffer_bytes],
            start: 0,
            end: 0,
            taken: 0,
            ended: false,
            deferred: None,
        }
    }

    /// What was read and not taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the source has no more than what is buffered.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes taken since the start of the source.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the first bytes of what is buffered.
    pub(crate) fn take(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        self.taken += count as u64;
    }

    /// Keeps an error of [`RawInput::refill`] for the next read behind what is buffered.
    pub(crate) fn defer(&mut self, error: io::Error) {
        self.deferred = Some(error);
    }

    /// Reads once, and so may block; false at the end of the source. What is buffered stays, and must leave room.
    pub(crate) fn refill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        debug_assert!(self.end < self.buffer.len(), "there is room to read into");
        if let Some(error) = self.deferred.take() {
            return Err(error);
        }
        if !self.ended {
            let count = read_some(&mut *self.reader, &mut self.buffer[self.end..], &self.counters)?;
            self.end += count;
            self.ended = count == 0;
        }
        Ok(!self.ended)
    }

    /// Reads once, straight into `out` if nothing is buffered; 0 at the end of the source.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = if self.start < self.end {
            let count = out.len().min(self.end - self.start);
            out[..count].copy_from_slice(&self.buffer[self.start..][..count]);
            self.start += count;
            count
        } else if let Some(error) = self.deferred.take() {
            return Err(error);
        } else if self.ended {
            0
        } else {
            let count = read_some(&mut *self.reader, out, &self.counters)?;
            self.ended = count == 0;
            count
        };
        self.taken += count as u64;
        Ok(count)
    }
}

/// One read, begun again when a signal interrupts it.
fn read_some(reader: &mut dyn Read, out: &mut [u8], counters: &ReadCounters) -> io::Result<usize> {
    loop {
        match reader.read(out) {
            Ok(count) => {
                counters.add_read(count as u64);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
