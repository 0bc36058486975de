//! Buffers that circulate: a fixed number of them, lent out one at a time.
//!
//! Invariant: a buffer that was lent goes back when its owner is dropped, on every path, a panic's too. Nothing is sent back
//! by hand, so nothing can be forgotten.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

/// A fixed number of buffers. A clone lends the same ones.
#[derive(Debug, Clone)]
pub struct BufferPool {
    free: Receiver<Vec<u8>>,
    home: Home,
    count: usize,
}

/// The place that a buffer goes back to.
#[derive(Debug, Clone)]
struct Home {
    free: Sender<Vec<u8>>,
    /// The memory of a buffer that has grown beyond this many bytes is released.
    kept_bytes_max: usize,
}

impl BufferPool {
    /// `count` empty buffers, 1 or more. A buffer that has grown beyond `kept_bytes_max` is empty again when it is back.
    pub fn new(count: usize, kept_bytes_max: usize) -> Self {
        Self::with_len(count, 0, kept_bytes_max)
    }

    /// `count` buffers of `len` zero bytes.
    pub(super) fn with_len(count: usize, len: usize, kept_bytes_max: usize) -> Self {
        let (sender, free) = bounded(count);
        for _ in 0..count {
            sender.send(vec![0; len]).expect("the receiver is in this function, and has room for all");
        }
        Self { free, home: Home { free: sender, kept_bytes_max }, count }
    }

    /// Waits for a buffer; None if `stop` gets a message, or is closed, before there is one.
    pub fn take_unless<T>(&self, stop: &Receiver<T>) -> Option<PooledBuffer> {
        select_biased! {
            recv(stop) -> _ => None,
            recv(self.free) -> bytes => bytes.ok().map(|bytes| self.lend(bytes)),
        }
    }

    /// A buffer, if one is free.
    pub(super) fn try_take(&self) -> Option<PooledBuffer> {
        self.free.try_recv().ok().map(|bytes| self.lend(bytes))
    }

    /// How many buffers are lent out.
    pub fn lent(&self) -> usize {
        self.count - self.free.len()
    }

    fn lend(&self, bytes: Vec<u8>) -> PooledBuffer {
        PooledBuffer { bytes, home: Some(self.home.clone()) }
    }
}

/// Bytes in a buffer that goes back to its [`BufferPool`] when this is dropped. A clone, or one that is made from a vector,
/// belongs to no pool.
pub struct PooledBuffer {
    bytes: Vec<u8>,
    home: Option<Home>,
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(Home { free, kept_bytes_max }) = self.home.take() {
            let mut bytes = std::mem::take(&mut self.bytes);
            if bytes.capacity() > kept_bytes_max {
                bytes = Vec::new();
            }
            // There is room for every buffer of the pool. If the pool itself is gone, nobody needs the buffer.
            let _ = free.try_send(bytes);
        }
    }
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl From<Vec<u8>> for PooledBuffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl Clone for PooledBuffer {
    fn clone(&self) -> Self {
        self.bytes.clone().into()
    }
}

impl PartialEq for PooledBuffer {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PooledBuffer {}

impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::never;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn buffers_go_back_when_they_are_dropped() {
        let pool = BufferPool::new(2, 100);
        let (first, second) = (pool.try_take().unwrap(), pool.try_take().unwrap());
        assert!(pool.try_take().is_none());
        assert_eq!(pool.lent(), 2);
        drop(first.clone());
        assert_eq!(pool.lent(), 2, "a clone is no buffer of the pool");
        drop(first);
        assert_eq!(pool.lent(), 1);
        let panic = catch_unwind(AssertUnwindSafe(move || {
            let _held = second;
            panic!("while a buffer is held");
        }));
        assert!(panic.is_err());
        assert_eq!(pool.lent(), 0);
    }

    #[test]
    fn memory_beyond_the_limit_is_released() {
        let pool = BufferPool::new(1, 100);
        for (bytes, is_kept) in [(100, true), (1000, false)] {
            let mut buffer = pool.take_unless(&never::<()>()).unwrap();
            buffer.clear();
            buffer.reserve_exact(bytes);
            drop(buffer);
            assert_eq!(pool.try_take().unwrap().capacity() > 0, is_kept, "{bytes}");
        }
    }

    #[test]
    fn the_wait_for_a_buffer_ends_with_the_order_to_stop() {
        let pool = BufferPool::new(1, 100);
        let _held = pool.try_take().unwrap();
        let (stop, stopped) = bounded::<()>(1);
        let waiting = std::thread::spawn({
            let pool = pool.clone();
            move || pool.take_unless(&stopped).is_none()
        });
        drop(stop);
        assert!(waiting.join().unwrap());
    }
}
