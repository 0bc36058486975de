//! Decides when the pool library may open connections. The library asks for the minimum at once.

use crate::database::session::opener::Session;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When a pool opens its minimum of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Minimum {
    /// When it is built.
    AtOnce,
    /// When the pool is in use: once two callers need a connection at the same time, or one says that it needs more. Until
    /// then the pool has one connection.
    InUse,
}

/// The connections that a pool may open.
pub(crate) struct Supply {
    /// The minimum of idle connections.
    min: u32,
    state: Mutex<SupplyState>,
    changed: Condvar,
}

struct SupplyState {
    /// The connection that tested whether the database is reachable, until the pool takes it.
    first: Option<Session>,
    /// Whether the pool is in use, so that it keeps its minimum.
    is_open: bool,
    has_ended: bool,
    /// The number of connections that are being opened.
    opening: u32,
    demand: Option<Demand>,
}

/// Returns the numbers of idle connections and of waiting callers.
pub(crate) type Demand = Box<dyn Fn() -> (u32, u32) + Send>;

/// A connection that the pool may have.
pub(crate) enum Supplied<'s> {
    /// This one.
    First(Box<Session>),
    /// One that the caller opens while it holds this.
    New(OpeningGuard<'s>),
    /// None, because the pool is no longer used.
    Ended,
}

/// Counts a connection that is being opened.
pub(crate) struct OpeningGuard<'s>(&'s Supply);

impl Drop for OpeningGuard<'_> {
    fn drop(&mut self) {
        self.0.lock().opening -= 1;
    }
}

/// The interval at which a waiting thread checks whether the pool has lost connections.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

impl Supply {
    /// A supply that begins with `first`, if it is usable. `min` is the minimum of idle connections.
    pub(crate) fn new(first: Option<Session>, minimum: Minimum, min: u32) -> Arc<Self> {
        // Without a first connection, the pool has to open one.
        let is_open = minimum == Minimum::AtOnce || first.is_none();
        let state = SupplyState { first, is_open, has_ended: false, opening: 0, demand: None };
        Arc::new(Self { min, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Whether it still has a first connection.
    pub(crate) fn has_first(&self) -> bool {
        self.lock().first.is_some()
    }

    /// Sets how to find the demand of the pool. Until then, only the first connection is supplied.
    pub(crate) fn serve(&self, demand: Demand) {
        self.lock().demand = Some(demand);
        self.changed.notify_all();
    }

    /// Makes the pool keep its minimum from now on, and checks the demand.
    pub(crate) fn open(&self) {
        self.lock().is_open = true;
        self.changed.notify_all();
    }

    /// Waits until the pool needs a further connection. The pool library asks for more than it needs: for the minimum
    /// with each connection that it hands out, also if others are being opened.
    pub(crate) fn next(&self) -> Supplied<'_> {
        let mut state = self.lock();
        loop {
            if state.has_ended {
                return Supplied::Ended;
            }
            if let Some(first) = state.first.take() {
                return Supplied::First(Box::new(first));
            }
            if let Some(demand) = &state.demand {
                let (idle, waiting) = demand();
                let kept = if state.is_open { self.min } else { 0 };
                if idle + state.opening < kept + waiting {
                    state.opening += 1;
                    return Supplied::New(OpeningGuard(self));
                }
            }
            state = self.changed.wait_timeout(state, LOOK_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, SupplyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply").field("is_open", &self.lock().is_open).finish_non_exhaustive()
    }
}

/// Ends a supply on drop, so that no thread of the pool library waits for it and holds the pool.
#[derive(Debug)]
pub(crate) struct SupplyEnd(pub(crate) Arc<Supply>);

impl Drop for SupplyEnd {
    fn drop(&mut self) {
        let held = {
            let mut state = self.0.lock();
            state.has_ended = true;
            // The demand holds the pool, which holds this supply.
            (state.first.take(), state.demand.take())
        };
        self.0.changed.notify_all();
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    /// A supply in use without a first connection, and the number of idle connections that it sees.
    fn supply(min: u32) -> (Arc<Supply>, Arc<AtomicU32>) {
        let (supply, idle) = (Supply::new(None, Minimum::InUse, min), Arc::<AtomicU32>::default());
        let seen = Arc::clone(&idle);
        supply.serve(Box::new(move || (seen.load(Ordering::Relaxed), 0)));
        (supply, idle)
    }

    #[test]
    fn no_more_connections_than_needed_are_opened() {
        let (supply, idle) = supply(2);
        let (first, second) = (supply.next(), supply.next());
        assert!(matches!((&first, &second), (Supplied::New(_), Supplied::New(_))));
        thread::scope(|scope| {
            let third = scope.spawn(|| matches!(supply.next(), Supplied::New(_)));
            idle.store(1, Ordering::Relaxed);
            drop((first, second));
            assert!(third.join().expect("no panic"), "one is missing again");
        });
    }

    #[test]
    fn the_end_wakes_all_waiting_threads() {
        let (supply, _) = supply(0);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let supply = Arc::clone(&supply);
                thread::spawn(move || matches!(supply.next(), Supplied::Ended))
            })
            .collect();
        drop(SupplyEnd(supply));
        assert!(waiting.into_iter().all(|thread| thread.join().expect("no panic")));
    }
}
