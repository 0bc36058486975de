//! Standard error, written by a separate thread, so that no other thread blocks on its reader.
//!
//! Invariant: the queue is bounded. If the reader stops (a pager, a full log pipe, a paused terminal), further text is
//! dropped. A message says so when the reader resumes.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The limit of the queue in bytes.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// The queue to standard error. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct StderrQueue(Arc<StderrShared>);

#[derive(Debug, Default)]
struct StderrShared {
    state: Mutex<StderrState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct StderrState {
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    is_writing: bool,
    written: u64,
    /// The number of texts dropped since the last write.
    dropped: u64,
    /// The value of `written` when a flush timed out. No flush waits until it grows.
    stuck_at: Option<u64>,
}

impl StderrQueue {
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(|text| {
            let mut out = io::stderr();
            // If standard error is closed, the text has no reader.
            let _ = out.write_all(text).and_then(|()| out.flush());
        })
    }

    fn start_with(write: impl FnMut(&[u8]) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<StderrShared>::default();
        let own = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || own.write_all(write))?;
        Ok(Self(shared))
    }

    /// Queues the text and returns immediately.
    pub(crate) fn push(&self, text: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting_bytes + text.len() > WAITING_BYTES_MAX {
            state.dropped += 1;
            return;
        }
        state.waiting_bytes += text.len();
        state.waiting.push_back(text.to_vec());
        self.0.changed.notify_all();
    }

    /// Whether the queue is empty and nothing is being written.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.lock().is_idle()
    }

    /// Waits until the queue is written. Gives up after `idle_max` without progress.
    pub(crate) fn flush(&self, idle_max: Duration) {
        let mut state = self.0.lock();
        while !state.is_idle() && state.stuck_at != Some(state.written) {
            let written = state.written;
            let wait = self
                .0
                .changed
                .wait_timeout_while(state, idle_max, |state| !state.is_idle() && state.written == written);
            let (after, waited) = wait.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if waited.timed_out() {
                state.stuck_at = Some(written);
            }
        }
    }
}

impl StderrShared {
    fn write_all(&self, mut write: impl FnMut(&[u8])) {
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let mut text = state.waiting.pop_front().unwrap_or_default();
            state.waiting_bytes -= text.len();
            if std::mem::take(&mut state.dropped) > 0 {
                text.extend_from_slice(b"log messages dropped: standard error was not read\n");
            }
            state.is_writing = true;
            drop(state);
            write(&text);
            let mut state = self.lock();
            state.is_writing = false;
            state.written += 1;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, StderrState> {
        // The state is consistent after every statement, so a poisoned lock is safe.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StderrState {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_writing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::channel::{bounded, unbounded};

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (reader, read) = unbounded::<Vec<u8>>();
        let (release, released) = bounded::<()>(0);
        let queue = StderrQueue::start_with(move |text| {
            let _ = released.recv();
            let _ = reader.send(text.to_vec());
        })
        .unwrap();
        for _ in 0..10 {
            queue.push(&vec![b'x'; WAITING_BYTES_MAX / 5]);
        }
        assert!(!queue.is_idle());
        queue.flush(Duration::from_millis(1));
        assert!(!queue.is_idle(), "it does not wait for ever");
        // The reader resumes.
        drop(release);
        while !queue.is_idle() {
            // Returns immediately until the first text is written.
            queue.flush(Duration::MAX);
            thread::yield_now();
        }
        let texts: Vec<Vec<u8>> = read.try_iter().collect();
        assert!((5..=6).contains(&texts.len()), "{}", texts.len());
        let notices = texts.iter().filter(|text| text.ends_with(b"was not read\n")).count();
        assert_eq!(notices, 1);
        queue.push(b"more\n");
        queue.flush(Duration::MAX);
        assert_eq!(read.try_recv().unwrap(), b"more\n");
    }
}
