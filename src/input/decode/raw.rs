//! Raw bytes of one source, with a buffer for look-ahead.
//!
//! Invariant: `buffer[start..end]` was read from the source and not yet taken. `taken` counts the bytes before it.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use crate::sync::Mutex;

/// Bytes read over all sources, up to 2 MiB ahead of the segments, and the current source.
#[derive(Debug, Default)]
pub(crate) struct ReadCounters {
    bytes_read: AtomicU64,
    pub(crate) bytes_uncompressed: AtomicU64,
    current: Mutex<Option<CurrentSource>>,
}

/// The source that is being read, or the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentSource {
    /// From 1.
    pub number: usize,
    /// The number of sources to read.
    pub count: usize,
    /// The name of the file without its directory. None for standard input.
    pub file_name: Option<String>,
}

impl ReadCounters {
    /// Raw bytes read, compressed or not.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes of uncompressed text.
    pub(crate) fn bytes_uncompressed(&self) -> u64 {
        self.bytes_uncompressed.load(Ordering::Relaxed)
    }

    /// The current source; none before the first is opened.
    pub(crate) fn current(&self) -> Option<CurrentSource> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_current(&self, current: CurrentSource) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
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
    /// Whether a read returned the end. No further read follows, because a terminal would then accept new input.
    ended: bool,
    /// A read error during look-ahead, returned once the bytes before it are taken.
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

    /// Returns the bytes that were read and not yet taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Returns whether the source has no more bytes than the buffered ones.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes taken since the start of the source.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the first `count` buffered bytes.
    pub(crate) fn take(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        self.taken += count as u64;
    }

    /// Keeps an error of [`RawInput::refill`] until the buffered bytes are taken.
    pub(crate) fn defer(&mut self, error: io::Error) {
        self.deferred = Some(error);
    }

    /// Reads once and may block. Returns false at the end of the source. Buffered bytes are kept, and must leave room.
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

    /// Reads once, directly into `out` if nothing is buffered. Returns 0 at the end of the source.
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

/// Reads once, and repeats the read if a signal interrupts it.
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
