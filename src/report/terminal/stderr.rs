//! Standard error, written by a thread of its own: no other thread ever waits for whoever reads it.
//!
//! Invariant: what waits to be written is bounded. When a reader stops reading (a pager, a log pipe that is full, a terminal
//! that was paused), further text is dropped and counted, and the count is written once the reader reads again.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// So much text waits at most, in bytes.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Text on its way to standard error; clones share it.
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
    /// Whether the thread is writing at this moment.
    is_writing: bool,
    /// How many texts were written.
    written: u64,
    /// How many texts were dropped since the last that was written.
    dropped: u64,
    /// How many were written when a flush last waited in vain: until there are more, none waits again.
    stuck_at: Option<u64>,
}

impl StderrQueue {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(|text| {
            let mut out = io::stderr();
            // Standard error may be gone, and then there is nobody left to read it.
            let _ = out.write_all(text).and_then(|()| out.flush());
        })
    }

    fn start_with(write: impl FnMut(&[u8]) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<StderrShared>::default();
        let own = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || own.write_all(write))?;
        Ok(Self(shared))
    }

    /// Has the text written, without waiting for that.
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

    /// Whether all is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.lock().is_idle()
    }

    /// Waits until all is written; no longer than `idle_max` in which nothing was.
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
                text.extend_from_slice(b"log messages were dropped, as standard error was not read\n");
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
        // What is in it is whole after every statement.
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
    use crossbeam_channel::{bounded, unbounded};

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
        // It reads again.
        drop(release);
        while !queue.is_idle() {
            // It returns at once until the first text is written.
            queue.flush(Duration::MAX);
            thread::yield_now();
        }
        let texts: Vec<Vec<u8>> = read.try_iter().collect();
        assert!((5..=6).contains(&texts.len()), "{}", texts.len());
        let told = texts.iter().filter(|text| text.ends_with(b"was not read\n")).count();
        assert_eq!(told, 1);
        queue.push(b"more\n");
        queue.flush(Duration::MAX);
        assert_eq!(read.try_recv().unwrap(), b"more\n");
    }
}
