//! The current state of the database, for displays.

use crate::database::pool::gate::OutageProgress;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The current state of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// The database is reachable, or nothing else is known.
    Present,
    /// The database is unusable, and calls wait for it.
    Away(OutageProgress),
    /// The database builds a deferred index, and nothing is written.
    Building {
        /// The index.
        index: String,
        /// The time since the build began.
        elapsed: Duration,
    },
}

/// The index that is being built, and the start of its build.
#[derive(Debug, Default)]
pub(crate) struct Building(Mutex<Option<(String, Instant)>>);

impl Building {
    /// Records that an index is being built, until the result is dropped.
    pub(crate) fn begin(&self, index: &str) -> BuildingGuard<'_> {
        self.set(Some((index.to_owned(), Instant::now())));
        BuildingGuard(self)
    }

    pub(crate) fn state(&self) -> Option<DatabaseState> {
        let building = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        building.map(|(index, since)| DatabaseState::Building { index, elapsed: since.elapsed() })
    }

    fn set(&self, building: Option<(String, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = building;
    }
}

/// See [`Building::begin`].
pub(crate) struct BuildingGuard<'b>(&'b Building);

impl Drop for BuildingGuard<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
