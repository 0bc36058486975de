//! Confirms, before a load reports its counts, that the events it counted as stored are in the database.

use crate::database::ledger::confirmation::MissingSegments;
use crate::database::store::{FailureKind, StoreError};
use crate::database::write::postgres_store::PostgresStore;
use crate::error_chain::{in_full, without_hint};
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::ShutdownReason;
use crate::report::format::grouped;
use std::time::Duration;

/// The longest confirmation of a run that was stopped. After a signal, the database may be stopping at the same time, and the
/// drain timeout can end the confirmation earlier.
const STOPPED_MAX: Duration = Duration::from_secs(5);

/// Looks up everything that the run reported as stored. Missing events become unfinished, and the run fails. `reload` is the
/// command that loads the input again although the ledger has its segments.
///
/// A run that has failed is not confirmed: its database or its program is unreliable, and the next run finds what is missing.
pub(crate) fn confirm(store: &PostgresStore, report: &mut RunReport, reload: &str) {
    let time_max = match report.halted {
        Some(ShutdownReason::Failed(_) | ShutdownReason::Panicked(_)) => return,
        Some(ShutdownReason::Signal(_) | ShutdownReason::RejectLimit | ShutdownReason::RejectBytes(_)) => {
            Some(STOPPED_MAX)
        }
        None => None,
    };
    let error = match store.confirm(time_max) {
        Ok(MissingSegments { lost, emptied }) if lost.segments + emptied.segments == 0 => return,
        Ok(MissingSegments { lost, emptied }) => {
            let counts = &mut report.counts;
            let mut missing = lost;
            missing.add(emptied);
            counts.inserted = counts.inserted.saturating_sub(missing.inserted);
            counts.updated = counts.updated.saturating_sub(missing.updated);
            counts.duplicate = counts.duplicate.saturating_sub(missing.duplicate);
            counts.already_loaded = counts.already_loaded.saturating_sub(missing.already_loaded);
            report.needs_force = emptied.segments > 0;
            let (missing, events) = (grouped(missing.events()), grouped(counts.events));
            StoreError::plain(if report.needs_force {
                format!(
                    "{missing} of {events} events were committed in segments whose events are missing in the database now: \
                     another session truncated the tables or deleted rows\nhint: load the input again with: {reload}"
                )
            } else {
                format!(
                    "{missing} of {events} events were committed but are missing in the database now: the server was \
                     replaced by one that had not received them, or lost them in a crash\nhint: run the same command again"
                )
            })
        }
        // The run has its reason to end, so it is no failure that the database is unavailable now.
        Err(error) if time_max.is_some() && error.kind() == FailureKind::Passing => {
            let cause = in_full(&error);
            return log::warn!("the stored events are not confirmed: {}", without_hint(&cause));
        }
        Err(error) => error,
    };
    report.halted = Some(ShutdownReason::Failed(error.into()));
}
