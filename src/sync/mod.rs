//! Threads, locks and channels of the crate. In every build but one, they are those of the standard library, crossbeam and
//! rayon.
//!
//! The exception is unit tests with `--cfg shuttle` (`scripts/schedules`): `explored` replaces them, so that shuttle
//! decides which thread runs next, and tests try thousands of orders.
//!
//! Invariant: `input` and `pipeline` use locks, threads and channels only through this module. A thread that waits
//! elsewhere would block the exploration.

#[cfg(all(test, shuttle))]
pub(crate) mod explored;

#[cfg(all(test, shuttle))]
pub(crate) use explored::{channel, locks::Condvar, pool, thread};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};

#[cfg(not(all(test, shuttle)))]
pub(crate) use crossbeam_channel as channel;
#[cfg(not(all(test, shuttle)))]
pub(crate) use rayon as pool;
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::thread;

use std::sync::PoisonError;

/// Locks, also after a panic of another holder: the data is consistent after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
