//! Confirms, before a load reports success, that the events it counted as stored are in the database.

use crate::database::store::StoreError;
use crate::database::write::postgres_store::PostgresStore;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::ShutdownReason;

/// Looks up everything that the run reported as stored. Missing events become unfinished, and the run fails.
pub(crate) fn confirm(store: &PostgresStore, report: &mut RunReport) {
    let error = match store.confirm() {
        Ok(missing) if missing.segments == 0 => return,
        Ok(missing) => {
            let counts = &mut report.counts;
            counts.inserted = counts.inserted.saturating_sub(missing.inserted);
            counts.updated = counts.updated.saturating_sub(missing.updated);
            counts.duplicate = counts.duplicate.saturating_sub(missing.duplicate);
            counts.already_loaded = counts.already_loaded.saturating_sub(missing.already_loaded);
            StoreError::plain(format!(
                "{} of {} events were committed but are missing in the database now: the server was replaced by \
                 one that had not received them, or lost them in a crash\nhint: run the same command again",
                missing.events(),
                counts.events
            ))
        }
        Err(error) => error,
    };
    report.halted = Some(ShutdownReason::Failed(error.into()));
}
