//! Confirms, before a load reports success, that the events it counted as stored are in the database.

use crate::database::ledger::confirmation::MissingSegments;
use crate::database::store::StoreError;
use crate::database::write::postgres_store::PostgresStore;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::ShutdownReason;

/// Looks up everything that the run reported as stored. Missing events become unfinished, and the run fails. `reload` is the
/// command that loads the input again although the ledger has its segments.
pub(crate) fn confirm(store: &PostgresStore, report: &mut RunReport, reload: &str) {
    let error = match store.confirm() {
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
            let (missing, events) = (missing.events(), counts.events);
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
        Err(error) => error,
    };
    report.halted = Some(ShutdownReason::Failed(error.into()));
}
