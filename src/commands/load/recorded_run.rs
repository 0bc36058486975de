//! The run of a load in the ledger, from its row's insertion to its end.

use crate::commands::load::outcome::{cause, outcome};
use crate::commands::load::parts::LoadParts;
use crate::commands::load::target::LoadTarget;
use crate::commands::load::unchanged::Files;
use crate::database::failure::public::in_public;
use crate::database::ledger::runs::{RunCounts, RunEnd, RunLog};
use crate::database::options::StoreSettings;
use crate::database::schema::statistics;
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::database::write::postgres_store::PostgresStore;
use crate::error_chain::in_full;
use crate::input::source::Source;
use crate::layout::table::Distribution;
use crate::panics::inject;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::ShutdownReason;
use log::Level;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long a stopped run tries to write its row or its end to the ledger.
const END_MAX: Duration = Duration::from_secs(5);

/// Counts of the store other than events.
#[derive(Default)]
pub(crate) struct StoreFigures {
    pub(crate) retries: u64,
    pub(crate) connection_errors: u64,
    /// The reject files of earlier runs with rejects of these dumps, the latest first.
    pub(crate) earlier_rejects: Vec<String>,
}

/// A run that the ledger has. [`end`](Self::end) records its end.
pub(crate) struct RecordedRun<'r> {
    pub(crate) target: &'r LoadTarget,
    pub(crate) store: PostgresStore,
    parts: &'r LoadParts<'r>,
    log: RunLog,
}

impl<'r> RecordedRun<'r> {
    /// Inserts the run's row. Until reading starts, a stop request ends every wait.
    pub(crate) fn begin(target: &'r LoadTarget, parts: &'r LoadParts<'r>) -> Result<Self, StoreError> {
        let LoadTarget { database, store_settings, .. } = target;
        let manager = &database.manager;
        let sources: Vec<String> = parts.settings.named.iter().map(Source::to_string).collect();
        let begin =
            |deadline: &Deadline| RunLog::begin(manager, store_settings, parts.id, &sources, deadline);
        // Retry after a stop, because the row may already be written and then needs its end.
        let log = begin(&Deadline::until_cancelled(parts.shutdown.stopped())).or_else(|error| {
            if error.is_aborted() { begin(&Deadline::at_most(END_MAX)) } else { Err(error) }
        });
        let log = log.map_err(|error| target.with_grants(error))?;
        let deadline = Deadline::until_cancelled(parts.shutdown.aborted());
        let idle_deadline = Deadline::until_cancelled(parts.shutdown.stopped());
        let store = PostgresStore::new(
            manager.clone(),
            store_settings,
            parts.id,
            log.server_start,
            deadline,
            idle_deadline,
        );
        Ok(Self { target, store, parts, log })
    }

    /// Finds the files that need not be read.
    pub(crate) fn examine(
        &self,
        sources: &[Source],
        preparer: Preparer,
        rereads: bool,
    ) -> Result<Files, StoreError> {
        let LoadTarget { database, store_settings, .. } = self.target;
        let deadline = Deadline::until_cancelled(self.parts.shutdown.stopped());
        Files::examine(&database.manager, store_settings, sources, preparer, rereads, &deadline)
    }

    /// Records the end of the run, and builds missing indexes. A panic meanwhile is recorded as the run's failure.
    pub(crate) fn end(self, report: &mut RunReport) -> StoreFigures {
        let mut figures = self.figures(Vec::new());
        // A panic is logged where it happens.
        let ended = catch_unwind(AssertUnwindSafe(|| self.complete(report, &mut figures)));
        if report.note_panic(self.parts.shutdown) || ended.is_err() {
            // After a second panic, the next load marks the run.
            let _ = catch_unwind(AssertUnwindSafe(|| self.record_end(report, &figures)));
        }
        figures
    }

    fn complete(&self, report: &RunReport, figures: &mut StoreFigures) {
        *figures = self.figures(self.earlier_rejects());
        inject("end");
        let has_indexes = self.record_end(report, figures);
        inject("ended");
        if report.halted.is_none() {
            // After the end is in the ledger, so that one of two runs that end together builds the indexes.
            if !has_indexes {
                self.store.build_indexes();
            }
            self.refresh_statistics(report.counts.inserted);
            // Building an index can meet an outage.
            *figures = self.figures(std::mem::take(&mut figures.earlier_rejects));
        }
    }

    fn figures(&self, earlier_rejects: Vec<String>) -> StoreFigures {
        let metrics = self.target.database.manager.figures();
        StoreFigures {
            retries: metrics.retries(),
            connection_errors: metrics.connection_errors(),
            earlier_rejects,
        }
    }

    fn refresh_statistics(&self, inserted: u64) {
        let LoadTarget { database, store_settings, catalog, .. } = self.target;
        if store_settings.distribution == Distribution::OneServer {
            let deadline = Deadline::until_cancelled(self.parts.shutdown.stopped());
            let StoreSettings { layout, schemas, .. } = store_settings;
            statistics::refresh(&database.manager, catalog, *layout, schemas, inserted, &deadline);
        }
    }

    /// The reject files of earlier runs. A failed lookup does not fail the load.
    fn earlier_rejects(&self) -> Vec<String> {
        let runs = self.parts.monitor.reported_by();
        if runs.is_empty() {
            return Vec::new();
        }
        self.store.reject_files(&runs).unwrap_or_else(|error| {
            log::debug!("{}", in_full(&error));
            Vec::new()
        })
    }

    /// Returns whether all indexes are known to exist.
    fn record_end(&self, report: &RunReport, figures: &StoreFigures) -> bool {
        inject("record");
        let rejects = self.parts.rejects;
        let rejects_file = rejects.path_if_written().map(|_| rejects.absolute_path());
        let end = RunEnd {
            status: outcome(report).0.name(),
            counts: ledger_counts(report, figures),
            rejects_file: rejects_file.map(|path| path.to_string_lossy().into_owned()),
            // The ledger can be readable for other users.
            error: cause(report, in_public),
        };
        // After a failure or a stop, do not wait long for the database again.
        let deadline = match report.halted {
            Some(ShutdownReason::Failed(_) | ShutdownReason::Panicked(_) | ShutdownReason::Signal(_)) => {
                Deadline::at_most(END_MAX)
            }
            _ => Deadline::until_cancelled(self.parts.shutdown.aborted()),
        };
        let LoadTarget { database, store_settings, .. } = self.target;
        self.log.end(&database.manager, store_settings, &end, &deadline).unwrap_or_else(|error| {
            // The events are committed. Only the run's row lacks its end. After a failure, the summary has the cause.
            let has_failed = matches!(report.halted, Some(ShutdownReason::Failed(_)));
            let level = if has_failed { Level::Info } else { Level::Warn };
            let effect = "the next load marks this run as failed if the ledger lacks its end";
            log::log!(level, "{effect}: {}", in_full(&error));
            false
        })
    }
}

fn ledger_counts(report: &RunReport, store: &StoreFigures) -> RunCounts {
    let counts = &report.counts;
    [
        ("lines", counts.lines),
        ("events", counts.events),
        ("inserted", counts.inserted),
        ("updated", counts.updated),
        ("duplicate", counts.duplicate),
        ("already_loaded", counts.already_loaded),
        ("rejected", counts.rejected),
        ("rejected_before", counts.rejected_before),
        ("unfinished", counts.unfinished()),
        ("bytes_read", report.bytes_read),
        ("bytes_uncompressed", report.bytes_uncompressed),
        ("segments", counts.segments),
        ("segments_skipped", counts.segments_skipped),
        ("retries", store.retries),
        ("connection_errors", store.connection_errors),
    ]
}
