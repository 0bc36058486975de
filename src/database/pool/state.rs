//! The current state of the database, for displays.

use crate::database::active_calls::ActiveCalls;
use crate::database::pool::gate::OutageProgress;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// The database is reachable, or nothing else is known.
    Present,
    /// No call has had an answer for this time, at least 5 s. The server is stalled or overloaded, or others hold
    /// locks.
    Stalled(Duration),
    /// The database is unusable, and calls wait for it.
    Away(OutageProgress),
    /// The database builds a deferred index, and nothing is written.
    Building {
        index: String,
        /// The time since the build began.
        elapsed: Duration,
    },
}

/// The minimum of [`DatabaseState::Stalled`]. A busy server answers sooner.
const STALLED_TIME_MIN: Duration = Duration::from_secs(5);

impl DatabaseState {
    /// The state, with the most severe fact first.
    pub(crate) fn of(outage: Option<OutageProgress>, building: &Building, calls: &ActiveCalls) -> Self {
        if let Some(outage) = outage {
            return Self::Away(outage);
        }
        let stalled = || calls.unanswered().filter(|time| *time >= STALLED_TIME_MIN).map(Self::Stalled);
        building.state().or_else(stalled).unwrap_or(Self::Present)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::failure::outage_kind::OutageKind;
    use std::sync::Arc;

    #[test]
    fn an_outage_or_an_index_build_explains_a_stall() {
        let (building, calls) = (Building::default(), ActiveCalls::default());
        assert_eq!(DatabaseState::of(None, &building, &calls), DatabaseState::Present);
        let _call = calls.begin(Arc::default());
        assert_eq!(DatabaseState::of(None, &building, &calls), DatabaseState::Present, "not yet");
        let build = building.begin("newest");
        assert!(matches!(DatabaseState::of(None, &building, &calls), DatabaseState::Building { .. }));
        drop(build);
        let outage = OutageProgress {
            kind: OutageKind::Unreachable,
            cause: String::new(),
            elapsed: Duration::ZERO,
            attempts: 1,
            next_try: None,
            left: Duration::ZERO,
        };
        assert!(matches!(DatabaseState::of(Some(outage), &building, &calls), DatabaseState::Away(_)));
    }
}
