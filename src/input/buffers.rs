//! A pool with a fixed number of text buffers. A dropped buffer returns to its pool.
//!
//! Invariant: a buffer is in the pool or has one owner. Its drop returns it, also when a thread panics. No buffer is
//! lost, and a thread that waits for one always waits for a thread that is still working.
//!
//! Invariant: at most one buffer per pool is larger than a free buffer may be. It holds the pool's permit, which
//! returns in the same way. Memory is therefore bounded by the usual buffer size, not by the largest one.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::sync::channel::{Receiver, Sender, bounded, select_biased};

/// The capacity of a large buffer. glibc always maps allocations of more than 32 MiB, so freed memory returns to the system.
/// Each thread can retain a part of smaller allocations. Unwritten pages use no memory.
pub(crate) const LARGE_CAPACITY: usize = 33 << 20;

/// A fixed number of buffers, shared by all clones.
#[derive(Debug, Clone)]
pub struct BufferPool {
    free: Receiver<Vec<u8>>,
    free_sender: Sender<Vec<u8>>,
    /// The length of a free buffer.
    len: usize,
    kept_bytes_max: usize,
    permit: Receiver<()>,
    permit_sender: Sender<()>,
}

/// Permission for one buffer to be large, until this is dropped.
#[derive(Debug)]
pub struct LargePermit(Sender<()>);

impl Drop for LargePermit {
    fn drop(&mut self) {
        // The channel has room for the only permit.
        let _ = self.0.try_send(());
    }
}

impl BufferPool {
    /// Creates a pool of `count` empty buffers, at least 1. A buffer that has grown beyond `kept_bytes_max` bytes returns
    /// without its memory.
    pub fn new(count: usize, kept_bytes_max: usize) -> Self {
        Self::filled(count, 0, kept_bytes_max)
    }

    /// Creates a pool of `count` buffers of `len` bytes, both at least 1. Returning a buffer truncates it to `len` bytes
    /// and does not clear them.
    pub(crate) fn with_len(count: usize, len: usize) -> Self {
        Self::filled(count, len, usize::MAX)
    }

    fn filled(count: usize, len: usize, kept_bytes_max: usize) -> Self {
        let (free_sender, free) = bounded(count);
        let new = std::iter::repeat_with(|| vec![0; len]);
        let filled = new.take(count).all(|buffer| free_sender.try_send(buffer).is_ok());
        let (permit_sender, permit) = bounded(1);
        let filled = filled && permit_sender.try_send(()).is_ok();
        debug_assert!(filled, "the channel has room for each");
        Self { free, free_sender, len, kept_bytes_max, permit, permit_sender }
    }

    /// Waits for a buffer. Returns none once `stop` receives a message or is disconnected.
    pub fn take(&self, stop: &Receiver<()>) -> Option<Buffer> {
        select_biased! {
            recv(stop) -> _ => None,
            recv(self.free) -> bytes => bytes.ok().map(|bytes| self.owned(bytes)),
        }
    }

    /// Takes a buffer if one is free now.
    pub fn try_take(&self) -> Option<Buffer> {
        self.free.try_recv().ok().map(|bytes| self.owned(bytes))
    }

    /// Returns the length above which a buffer needs a permit.
    pub fn usual_bytes_max(&self) -> usize {
        self.kept_bytes_max
    }

    /// Waits for the permit for a large buffer. Returns none once `stop` receives a message or is disconnected.
    pub fn take_permit(&self, stop: &Receiver<()>) -> Option<LargePermit> {
        select_biased! {
            recv(stop) -> _ => None,
            recv(self.permit) -> permit => permit.ok().map(|()| LargePermit(self.permit_sender.clone())),
        }
    }

    /// Takes the permit if it is free now.
    pub fn try_take_permit(&self) -> Option<LargePermit> {
        self.permit.try_recv().ok().map(|()| LargePermit(self.permit_sender.clone()))
    }

    /// Returns the number of buffers outside the pool.
    pub fn in_use(&self) -> usize {
        self.free.capacity().unwrap_or_default() - self.free.len()
    }

    /// Returns the number of permits outside the pool, 0 or 1.
    pub(crate) fn permits_in_use(&self) -> usize {
        self.permit.capacity().unwrap_or_default() - self.permit.len()
    }

    fn owned(&self, bytes: Vec<u8>) -> Buffer {
        Buffer { bytes, pool: Some(self.clone()), permit: None }
    }

    fn put_back(&self, mut bytes: Vec<u8>) {
        bytes.truncate(self.len);
        if bytes.capacity() > self.kept_bytes_max {
            bytes = Vec::new();
        }
        // The channel has room for every buffer.
        let _ = self.free_sender.try_send(bytes);
    }
}

/// A byte vector that returns to its pool when dropped. A clone, or a buffer made from a vector, has no pool.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    pool: Option<BufferPool>,
    /// Held while the buffer may be large.
    permit: Option<LargePermit>,
}

impl Buffer {
    /// Allows the buffer to be large.
    pub fn permit(&mut self, permit: LargePermit) {
        self.permit = Some(permit);
        self.bytes.reserve_exact(LARGE_CAPACITY.saturating_sub(self.bytes.len()));
    }

    /// Returns whether the buffer holds the permit.
    pub fn is_permitted(&self) -> bool {
        self.permit.is_some()
    }

    /// Returns the permit if the buffer now has at most `usual_bytes`.
    pub(crate) fn settle(&mut self, usual_bytes: usize) {
        if self.permit.is_some() && self.bytes.len() <= usual_bytes {
            self.bytes.shrink_to(usual_bytes);
            self.permit = None;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(pool) = self.pool.take() {
            pool.put_back(bytes);
        }
        // The permit is dropped last, so the next large buffer is allocated only after this one's memory is freed.
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pool: None, permit: None }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        self.bytes.clone().into()
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn each_buffer_returns_even_if_its_owner_panics() {
        let pool = BufferPool::new(2, 100);
        let mut first = pool.try_take().unwrap();
        first.extend_from_slice(b"text");
        let second = pool.try_take().unwrap();
        assert!(pool.try_take().is_none() && pool.in_use() == 2);
        drop(first.clone());
        assert_eq!(pool.in_use(), 2, "a clone does not belong to the pool");
        drop(first);
        assert!(pool.try_take().unwrap().is_empty());
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _held = second;
            panic!("intended by the test");
        }));
        assert!(panicked.is_err() && pool.in_use() == 0);
    }

    #[test]
    fn a_buffer_that_has_grown_frees_its_memory() {
        let pool = BufferPool::new(1, 100);
        for (bytes, kept) in [(100, true), (101, false)] {
            pool.try_take().unwrap().reserve_exact(bytes);
            assert_eq!(pool.try_take().unwrap().capacity() > 0, kept, "{bytes}");
        }
    }

    #[test]
    fn one_buffer_at_a_time_is_large() {
        let pool = BufferPool::new(2, 100);
        let (stop, stopped) = bounded::<()>(0);
        let [mut first, mut second] = [pool.try_take().unwrap(), pool.try_take().unwrap()];
        first.permit(pool.take_permit(&stopped).unwrap());
        assert!(first.is_permitted() && pool.try_take_permit().is_none());
        assert_eq!(pool.permits_in_use(), 1);
        first.resize(101, 0);
        first.settle(100);
        assert!(pool.try_take_permit().is_none(), "it is still large");
        first.truncate(100);
        first.settle(100);
        second.permit(pool.take_permit(&stopped).unwrap());
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _held = second;
            panic!("intended by the test");
        }));
        assert!(panicked.is_err());
        assert_eq!(pool.permits_in_use(), 0);
        first.permit(pool.take_permit(&stopped).unwrap());
        drop(stop);
        assert!(pool.take_permit(&stopped).is_none(), "waiting for the permit can be stopped");
    }

    #[test]
    fn waiting_for_a_buffer_can_be_stopped() {
        let pool = BufferPool::new(1, 100);
        let (stop, stopped) = bounded::<()>(0);
        let held = pool.take(&stopped).unwrap();
        drop(stop);
        assert!(pool.take(&stopped).is_none());
        drop(held);
        assert!(pool.take(&stopped).is_none(), "the stop has priority");
    }
}
