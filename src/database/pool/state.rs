//! What the database does at the moment, for those who show it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the database does at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// It does as it is asked, or nothing else is known.
    Present,
    /// It is away, and waited for.
    Away {
        /// For how long.
        elapsed: Duration,
        /// How long until it is looked for again; none while it is.
        next_try: Option<Duration>,
    },
    /// It builds an index that was put off, and nobody writes.
    Building {
        /// The index.
        index: String,
        /// For how long.
        elapsed: Duration,
    },
}

/// The index that is being built, and since when.
#[derive(Debug, Default)]
pub(crate) struct Building(Mutex<Option<(String, Instant)>>);

impl Building {
    /// Notes that an index is being built, until the result is dropped.
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
