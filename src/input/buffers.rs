//! The buffers that text is read into: a fixed number, which return by themselves.
//!
//! Invariant: a buffer is in the pool or has one owner, and its drop returns it, also when a thread panics. So none is lost,
//! and whoever waits for one waits for someone who still works.
//!
//! Invariant: of the buffers of a pool one at a time is large, beyond what a free one keeps. It holds the pool's permit, which
//! returns in the same way. So memory is bounded by the usual size of a buffer, not by the largest one.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

/// The capacity of what is large. The allocator of glibc maps memory of more than 32 MiB, whatever it was given before, so that
/// it returns to the system as it is freed; of less than that each thread can keep a part. Pages that are not written take nothing.
pub(crate) const LARGE_CAPACITY: usize = 33 << 20;

/// A fixed number of buffers; clones share them.
#[derive(Debug, Clone)]
pub struct BufferPool {
    free: Receiver<Vec<u8>>,
    home: Sender<Vec<u8>>,
    /// The length of a buffer that is free.
    len: usize,
    kept_bytes_max: usize,
    permit: Receiver<()>,
    permit_home: Sender<()>,
}

/// The right of one buffer to be large, until this is dropped.
#[derive(Debug)]
pub struct LargePermit(Sender<()>);

impl Drop for LargePermit {
    fn drop(&mut self) {
        // There is room for the one that there is.
        let _ = self.0.try_send(());
    }
}

impl BufferPool {
    /// A pool of `count` empty buffers, at least 1. A buffer that has grown beyond `kept_bytes_max` bytes returns without
    /// its memory.
    pub fn new(count: usize, kept_bytes_max: usize) -> Self {
        Self::filled(count, 0, kept_bytes_max)
    }

    /// A pool of `count` buffers of `len` bytes, at least 1 of each. Bytes that are appended to a buffer are dropped when
    /// it returns; the others keep what they have.
    pub(crate) fn with_len(count: usize, len: usize) -> Self {
        Self::filled(count, len, usize::MAX)
    }

    fn filled(count: usize, len: usize, kept_bytes_max: usize) -> Self {
        let (home, free) = bounded(count);
        let new = std::iter::repeat_with(|| vec![0; len]);
        let filled = new.take(count).all(|buffer| home.try_send(buffer).is_ok());
        let (permit_home, permit) = bounded(1);
        let filled = filled && permit_home.try_send(()).is_ok();
        debug_assert!(filled, "the channel has room for each");
        Self { free, home, len, kept_bytes_max, permit, permit_home }
    }

    /// Waits for a buffer; none once `stop` gets a message or ends.
    pub fn take(&self, stop: &Receiver<()>) -> Option<Buffer> {
        select_biased! {
            recv(stop) -> _ => None,
            recv(self.free) -> bytes => bytes.ok().map(|bytes| self.owned(bytes)),
        }
    }

    /// A buffer, if one is free at this moment.
    pub fn try_take(&self) -> Option<Buffer> {
        self.free.try_recv().ok().map(|bytes| self.owned(bytes))
    }

    /// The length above which a buffer needs a permit.
    pub fn usual_bytes_max(&self) -> usize {
        self.kept_bytes_max
    }

    /// Waits for the permit for a large buffer; none once `stop` gets a message or ends.
    pub fn take_permit(&self, stop: &Receiver<()>) -> Option<LargePermit> {
        select_biased! {
            recv(stop) -> _ => None,
            recv(self.permit) -> permit => permit.ok().map(|()| LargePermit(self.permit_home.clone())),
        }
    }

    /// The permit, if it is free at this moment.
    pub fn try_take_permit(&self) -> Option<LargePermit> {
        self.permit.try_recv().ok().map(|()| LargePermit(self.permit_home.clone()))
    }

    /// How many buffers are with an owner.
    pub fn in_use(&self) -> usize {
        self.free.capacity().unwrap_or_default() - self.free.len()
    }

    fn owned(&self, bytes: Vec<u8>) -> Buffer {
        Buffer { bytes, home: Some(self.clone()), permit: None }
    }

    fn put_back(&self, mut bytes: Vec<u8>) {
        bytes.truncate(self.len);
        if bytes.capacity() > self.kept_bytes_max {
            bytes = Vec::new();
        }
        // There is room for every buffer there is.
        let _ = self.home.try_send(bytes);
    }
}

/// A vector of bytes that returns to its pool when it is dropped. A clone, or one made from a vector, has no pool.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Option<BufferPool>,
    /// Where the buffer may be large.
    permit: Option<LargePermit>,
}

impl Buffer {
    /// Allows the buffer to be large.
    pub fn permit(&mut self, permit: LargePermit) {
        self.permit = Some(permit);
        self.bytes.reserve_exact(LARGE_CAPACITY.saturating_sub(self.bytes.len()));
    }

    /// Whether the buffer has the permit to be large.
    pub fn is_permitted(&self) -> bool {
        self.permit.is_some()
    }

    /// Returns the permit of a buffer that has at most `usual_bytes` by now.
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
        if let Some(home) = self.home.take() {
            home.put_back(bytes);
        }
        // The permit is dropped last: the next large buffer comes when this one's memory is gone.
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
        Self { bytes, home: None, permit: None }
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
    fn each_buffer_returns_whatever_becomes_of_its_owner() {
        let pool = BufferPool::new(2, 100);
        let mut first = pool.try_take().unwrap();
        first.extend_from_slice(b"text");
        let second = pool.try_take().unwrap();
        assert!(pool.try_take().is_none() && pool.in_use() == 2);
        drop(first.clone());
        assert_eq!(pool.in_use(), 2, "a clone is not of the pool");
        drop(first);
        assert!(pool.try_take().unwrap().is_empty());
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _held = second;
            panic!("as the test wants");
        }));
        assert!(panicked.is_err() && pool.in_use() == 0);
    }

    #[test]
    fn a_buffer_that_has_grown_gives_its_memory_back() {
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
        first.resize(101, 0);
        first.settle(100);
        assert!(pool.try_take_permit().is_none(), "it is large still");
        first.truncate(100);
        first.settle(100);
        second.permit(pool.take_permit(&stopped).unwrap());
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _held = second;
            panic!("as the test wants");
        }));
        assert!(panicked.is_err());
        first.permit(pool.take_permit(&stopped).unwrap());
        drop(stop);
        assert!(pool.take_permit(&stopped).is_none(), "whoever waits for it can be stopped");
    }

    #[test]
    fn whoever_waits_for_a_buffer_can_be_stopped() {
        let pool = BufferPool::new(1, 100);
        let (stop, stopped) = bounded::<()>(0);
        let held = pool.take(&stopped).unwrap();
        drop(stop);
        assert!(pool.take(&stopped).is_none());
        drop(held);
        assert!(pool.take(&stopped).is_none(), "the stop counts first");
    }
}
