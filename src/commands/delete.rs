//! `delete`: deletes old events, or the events of dumps, and removes them from the ledger.

use crate::cli::DeleteArgs;
use crate::commands::common::next_steps::{SchemaHints, delete_again, directory, piped_delete};
use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::output::{write_output, write_text};
use crate::commands::common::signals::{DrainPolicy, Listener, Process};
use crate::commands::common::sources;
use crate::commands::common::sources::FoundSources;
use crate::database::schema::locate::{self, Located};
use crate::database::schemas::identity;
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::database::write::deletable::DeleteScope;
use crate::database::write::delete::{DELETE_BATCH_MAX, Deleted, Deleter};
use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::exit::ExitStatus;
use crate::input::convert::PipedCommand;
use crate::input::reader::Reader;
use crate::input::source::Source;
use crate::panics::NO_THREAD;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::SourceError;
use crate::pipeline::verify::VerifyRun;
use crate::report::delete::DeleteReport;
use crate::report::format::counted;
use crate::report::snapshot::{LiveRun, RunTask};
use crate::report::summary::RunStatus;
use crate::report::terminal::progress::Progress;
use crate::settings::delete::DeleteSettings;
use crate::settings::environment::Environment;
use crate::settings::event::EventSettings;
use anyhow::Context as _;
use jiff::Timestamp;
use roaring::RoaringTreemap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use uuid::Uuid;

/// Threads that read dumps: one parses while the other deletes.
const READERS: usize = 2;

/// Runs the command. Failures after the start of the deletion are part of the report.
pub(crate) fn run(
    args: &DeleteArgs,
    env: Environment<'_>,
    quiet: bool,
    process: &Process<'_>,
) -> Result<ExitStatus, CommandError> {
    let begun = Instant::now();
    let mut settings = DeleteSettings::new(args, env, Timestamp::now())?;
    let mut found = FoundSources::find(&settings.sources, &[], &mut settings.event)?;
    found.check()?;
    let EventSettings { server, layout, .. } = settings.event;
    let hints = SchemaHints::new(&args.database, args.event.layout.as_deref(), env);
    let hinted = |error: StoreError| error.map_message(|text| hints.fill(text));
    let database = OpenDatabase::open(&settings.database, Uuid::new_v4())?;
    let ledger = settings.database.ledger_schema.as_deref();
    let Located { schemas, .. } =
        locate::find(&database.manager, layout, settings.database.schema(), ledger).map_err(hinted)?;
    let scope = DeleteScope { layout, schemas, server };
    let tables = identity(&database.manager, layout, &scope.schemas)?;
    let shutdown = Arc::<Shutdown>::default();
    // An open transaction is lost with the server, so a stop request need not wait until it is reachable again.
    let deadline = Deadline::until_cancelled(shutdown.aborted()).without_outages_after(shutdown.stopped());
    let deleter = Deleter::open(database.manager.clone(), scope, deadline).map_err(hinted)?;
    // Nothing was deleted until here, so a signal ends the program at once.
    let policy = if args.dry_run {
        DrainPolicy::without_writes()
    } else {
        DrainPolicy::of_delete(settings.drain_timeout)
    };
    let listener = Listener::start(process, &shutdown, policy, None)?;
    let piped = piped_delete(args, env);
    let monitor = Arc::<Monitor>::default();
    let deletion = Deletion {
        monitor: Arc::clone(&monitor),
        settings: &settings,
        tables,
        piped,
        deleter,
        shutdown: &shutdown,
        tally: Mutex::default(),
    };
    let live = LiveRun {
        begun,
        monitor: Arc::clone(&monitor),
        shutdown: Arc::clone(&shutdown),
        manager: Some(database.manager.clone()),
        bytes_total: sources::bytes_total(&found.sources).filter(|_| settings.before.is_none()),
        task: RunTask::Delete,
    };
    let progress = Progress::start(live, process.screen.clone(), None).context(NO_THREAD)?;
    let done = if let Some(time) = settings.before {
        deletion.before(time).map(|()| Vec::new())
    } else {
        deletion.of_dumps(&found.sources, found.reader.take(), &monitor)
    };
    drop(progress);
    let Deletion { tally, deleter, .. } = deletion;
    drop(deleter);
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let reason = shutdown.take_reason();
    // Everything that can be read is deleted, and the same command would end in the same way.
    let is_broken =
        done.as_ref().is_ok_and(|errors| !errors.is_empty() && errors.iter().all(SourceError::is_lasting));
    let is_all_done = is_broken && found.errors.is_empty() && reason.is_none();
    let done = done.map(|errors| errors.into_iter().chain(found.source_errors()).next());
    let (status, exit_status, error) = outcome(done, reason, tally.rejected);
    drop(listener);
    if let Err(error) = database.close() {
        log::warn!("{}", in_full(&error));
    }
    let report = DeleteReport {
        status,
        dry_run: args.dry_run,
        server,
        layout,
        before: settings.before,
        events: tally.events,
        deleted: tally.deleted.events,
        not_stored: tally.events - tally.rejected - tally.deleted.events,
        rejected: tally.rejected,
        segments: tally.deleted.segments,
        files: tally.deleted.files,
        elapsed: begun.elapsed(),
        error,
        again: (!is_all_done).then(|| delete_again(args, env)),
        directory: directory(),
    };
    if args.json {
        write_output(&format!("{}\n", report.to_json()))?;
    } else if !quiet || exit_status != ExitStatus::Complete {
        write_text(&report.to_text())?;
    }
    Ok(exit_status)
}

/// The status, exit code and error. `done` has the error of a dump. A failure takes precedence over a stop request.
fn outcome(
    done: Result<Option<SourceError>, CommandError>,
    halted: Option<ShutdownReason>,
    rejected: u64,
) -> (RunStatus, ExitStatus, Option<String>) {
    match (done, halted) {
        (Err(error), _) if !error.is_aborted() => {
            (RunStatus::Failed, error.exit_status(), Some(in_full(&error)))
        }
        (Ok(Some(error)), _) => (RunStatus::Failed, ExitStatus::Failed, Some(in_full(&error))),
        (_, Some(ShutdownReason::Panicked(message))) => {
            (RunStatus::Failed, ExitStatus::Failed, Some(message))
        }
        (_, Some(ShutdownReason::Signal(signal))) => {
            (RunStatus::Interrupted, ExitStatus::Interrupted(signal), None)
        }
        (Err(_), _) | (_, Some(_)) => (RunStatus::Failed, ExitStatus::Failed, None),
        (Ok(None), None) if rejected > 0 => (RunStatus::Rejects, ExitStatus::Rejects, None),
        (Ok(None), None) => (RunStatus::Complete, ExitStatus::Complete, None),
    }
}

struct Deletion<'r> {
    /// The counts for the progress.
    monitor: Arc<Monitor>,
    settings: &'r DeleteSettings,
    /// Identifies the tables among others in the same ledger.
    tables: Option<String>,
    /// The command that input errors suggest.
    piped: PipedCommand,
    deleter: Deleter,
    shutdown: &'r Shutdown,
    tally: Mutex<DeleteTally>,
}

#[derive(Default)]
struct DeleteTally {
    events: u64,
    rejected: u64,
    deleted: Deleted,
    /// In a dry run, the counted ids and segments.
    counted: RoaringTreemap,
    segments: BTreeSet<Vec<u8>>,
}

impl DeleteTally {
    fn add(&mut self, Deleted { events, segments, files }: Deleted) {
        self.deleted.events += events;
        self.deleted.segments += segments;
        self.deleted.files += files;
    }
}

impl Deletion<'_> {
    fn tally(&self) -> MutexGuard<'_, DeleteTally> {
        // The state is consistent after every statement, so a poisoned lock is safe.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_stop(&self) -> Result<(), StoreError> {
        let aborted = || StoreError::aborted("the deletion was stopped");
        if self.shutdown.stopping().is_some() { Err(aborted()) } else { Ok(()) }
    }

    fn before(&self, time: Timestamp) -> Result<(), CommandError> {
        let time = time.to_string();
        if self.settings.dry_run {
            let counted = self.deleter.count_before(&time)?;
            let mut tally = self.tally();
            tally.events = counted.events;
            tally.add(counted);
            return Ok(());
        }
        let mut next = Some("-infinity".to_owned());
        while let Some(cursor) = next {
            self.check_stop()?;
            let (deleted, after) = self.deleter.delete_before(&time, &cursor)?;
            self.monitor.findings.add(0, 0, deleted.events);
            let mut tally = self.tally();
            tally.events += deleted.events;
            tally.add(deleted);
            log::info!("deleted {} so far", counted(tally.events, "event"));
            next = after;
        }
        Ok(())
    }

    /// Deletes the events of the dumps. Returns the dumps that could not be read completely.
    fn of_dumps(
        &self,
        sources: &[Source],
        reader: Option<Reader>,
        monitor: &Monitor,
    ) -> Result<Vec<SourceError>, CommandError> {
        let mut preparer = self.settings.event.preparer();
        preparer.reading.tables.clone_from(&self.tables);
        let run = VerifyRun {
            workers: READERS,
            segment: self.settings.segment,
            preparer,
            piped: self.piped.clone(),
            stop: self.shutdown.stopped(),
        };
        let errors = run.run(sources.to_vec(), reader, monitor, |prepared| self.delete(prepared))?;
        if self.settings.dry_run {
            let segments: Vec<Vec<u8>> = std::mem::take(&mut self.tally().segments).into_iter().collect();
            let files = self.deleter.files_of(&segments)?;
            self.tally().add(Deleted { events: 0, segments: segments.len() as u64, files });
        }
        for error in &errors {
            log::error!("{}", in_full(error));
        }
        Ok(errors)
    }

    /// Deletes the events of a segment.
    fn delete(&self, prepared: &Prepared) -> Result<(), CommandError> {
        let batch = &prepared.batch;
        let ids = batch.rows.ids(&batch.order);
        for ids in ids.chunks(DELETE_BATCH_MAX) {
            self.check_stop()?;
            if self.settings.dry_run {
                self.count(prepared, ids)?;
            } else {
                let deleted = self.deleter.delete_events(batch.hash, ids.to_vec())?;
                self.monitor.findings.add(0, 0, deleted.events);
                self.tally().add(deleted);
            }
            self.tally().events += ids.len() as u64;
        }
        if ids.is_empty() && !self.settings.dry_run {
            let deleted = self.deleter.delete_events(batch.hash, Vec::new())?;
            self.tally().add(deleted);
        }
        let mut tally = self.tally();
        tally.events += batch.counts.events - ids.len() as u64;
        tally.rejected += prepared.rejected();
        Ok(())
    }

    /// Counts the events to delete. Repeated events count once.
    fn count(&self, prepared: &Prepared, ids: &[i64]) -> Result<(), StoreError> {
        let mut stored = self.deleter.stored(ids.to_vec())?;
        stored.sort_unstable();
        let segments = self.deleter.segments_of(prepared.batch.hash, &stored)?;
        let mut tally = self.tally();
        let new = stored.iter().filter(|id| tally.counted.insert(id.cast_unsigned())).count();
        tally.deleted.events += new as u64;
        self.monitor.findings.add(0, 0, new as u64);
        tally.segments.extend(segments);
        Ok(())
    }
}
