//! Confirms, before a load reports its counts, that the events it counted as stored are in the database.

use crate::cli::LoadArgs;
use crate::commands::common::next_steps as next;
use crate::database::ledger::confirmation::MissingSegments;
use crate::database::schema::trust::{set_logged, unlogged_faults, unlogged_remedy};
use crate::database::session::deadline::Deadline;
use crate::database::store::{FailureKind, StoreError};
use crate::database::write::postgres_store::PostgresStore;
use crate::error_chain::{in_full, without_hint};
use crate::panics::inject;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::report::format::grouped;
use crate::settings::environment::Environment;
use std::time::Duration;

/// The longest confirmation of a run that was stopped. After a signal, the database may be stopping at the same time, and the
/// drain timeout can end the confirmation earlier.
const STOPPED_MAX: Duration = Duration::from_secs(5);

/// The commands that load the input of a run again.
#[derive(Debug)]
pub(crate) struct ReloadCommands {
    same: String,
    /// Loads segments that the ledger has.
    force: String,
    /// Restores missing rows of stored events.
    update: String,
}

impl ReloadCommands {
    pub(crate) fn new(args: &LoadArgs, env: Environment<'_>) -> Self {
        Self {
            same: next::load_again(args, env),
            force: next::load_again(&LoadArgs { force: true, ..args.clone() }, env),
            update: next::load_again(
                &LoadArgs { on_conflict: Some("update".to_owned()), ..args.clone() },
                env,
            ),
        }
    }

    /// The command that loads all missing events again.
    fn of(&self, missing: &MissingSegments) -> &str {
        if missing.stripped.segments > 0 {
            &self.update
        } else if missing.emptied.segments > 0 {
            &self.force
        } else {
            &self.same
        }
    }
}

/// Looks up everything that the run reported as stored. Missing events become unfinished, and the run fails. `reloads` are the
/// commands that load the input again.
///
/// A run that has failed keeps its failure. If the database was unreachable or the program panicked, the events are not
/// confirmed: the database cannot be asked.
pub(crate) fn confirm(
    store: &PostgresStore,
    report: &mut RunReport,
    reloads: &ReloadCommands,
    shutdown: &Shutdown,
) {
    inject("confirm");
    let aborted = shutdown.aborted();
    let has_failed = match &report.halted {
        Some(ShutdownReason::Panicked(_)) => return,
        Some(ShutdownReason::Failed(error)) if error.is_passing() => return,
        Some(ShutdownReason::Failed(_)) => true,
        _ => false,
    };
    let has_ended = report.halted.is_none();
    let deadline = match (has_ended, has_failed) {
        (true, _) => Deadline::until_cancelled(aborted),
        // A failure aborts all other calls.
        (false, true) => Deadline::unbounded().at_most_for(STOPPED_MAX),
        (false, false) => Deadline::until_cancelled(aborted).at_most_for(STOPPED_MAX),
    };
    let error = match store.confirm(&deadline) {
        Ok(missing) if missing.all().segments > 0 => {
            let all = missing.all();
            let counts = &mut report.counts;
            counts.inserted = counts.inserted.saturating_sub(all.inserted);
            counts.updated = counts.updated.saturating_sub(all.updated);
            counts.duplicate = counts.duplicate.saturating_sub(all.duplicate);
            counts.already_loaded = counts.already_loaded.saturating_sub(all.already_loaded);
            let reload = reloads.of(&missing);
            report.reload = (reload != reloads.same).then(|| reload.to_owned());
            StoreError::plain(describe(&missing, report.counts.events, reload))
        }
        // The events are stored, but the next load will refuse the tables for this reason.
        Ok(missing) if !missing.unlogged.is_empty() => {
            let (faults, remedy) = (unlogged_faults(&missing.unlogged), unlogged_remedy(&missing.unlogged));
            StoreError::refused(format!("{faults}\nhint: {remedy}"))
        }
        Ok(_) => return,
        // All is stored, but a stop request has ended the wait for the answer.
        Err(error) if has_ended && error.is_aborted() => {
            report.halted = shutdown.take_reason();
            return log::warn!("the stored events are not confirmed, because the load was stopped");
        }
        // The run has its reason to end, so it is no failure that the database is unavailable now.
        Err(error) if has_failed || !has_ended && error.kind() == FailureKind::Passing => {
            let cause = in_full(&error);
            return log::warn!("the stored events are not confirmed: {}", without_hint(&cause));
        }
        Err(error) => error,
    };
    if has_failed {
        log::error!("{}", in_full(&error));
    } else {
        report.halted = Some(ShutdownReason::Failed(error.into()));
    }
}

/// The message about missing events, of `events` read.
fn describe(missing: &MissingSegments, events: u64, reload: &str) -> String {
    let (count, events) = (grouped(missing.all().events()), grouped(events));
    if missing.lost.segments == missing.all().segments {
        return format!(
            "{count} of {events} events were committed but are missing in the database now: the server was replaced by one \
             that had not received them, or lost them in a crash\nhint: run the same command again"
        );
    }
    let what = format!("{count} of {events} events were committed in segments whose events");
    let (mut cause, mut remedy) =
        ("another session truncated the tables or deleted rows".to_owned(), String::new());
    if !missing.user_code.is_empty() {
        cause = format!("{cause}, or a trigger or rule removed them ({})", missing.user_code.join("; "));
        "correct or disable a trigger or rule that removes rows; then ".clone_into(&mut remedy);
    }
    if missing.stripped.segments + missing.emptied.segments == 0 {
        return format!(
            "{what} and ledger rows are missing in the database now: {cause}\nhint: {remedy}run the same command again"
        );
    }
    let which = if missing.stripped.segments > 0 { " lack rows" } else { " are missing" };
    if !missing.unlogged.is_empty() {
        cause = format!("{cause}, or the server crashed: {}", unlogged_faults(&missing.unlogged));
        remedy = format!("run in psql as the owner: {}; then ", set_logged(&missing.unlogged));
    }
    format!("{what}{which} in the database now: {cause}\nhint: {remedy}load the input again with: {reload}")
}
