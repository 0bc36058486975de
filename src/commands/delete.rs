//! `delete`: old events, or those of dumps, go, and the ledger forgets that they were loaded.

use super::database::OpenDatabase;
use super::next::{delete_again, piped_delete};
use super::signals::Listener;
use super::sources::{self, FoundSources};
use super::{Process, write_output, write_text};
use crate::causes::in_full;
use crate::cli::DeleteArgs;
use crate::database::store::StoreError;
use crate::database::{DELETE_BATCH_MAX, DeleteScope, Deleted, Deleter, Patience, Schemas, identity};
use crate::error::{CommandError, Ending};
use crate::input::{PipedCommand, Reader, Source};
use crate::layout::Repeats;
use crate::pipeline::{Halt, HaltReason, Monitor, Prepared, Preparer, Reading, VerifyRun};
use crate::report::{DeleteReport, LiveRun, Progress, Status};
use crate::settings::{DeleteSettings, DoomedEvents, Environment, EventSettings};
use anyhow::Context as _;
use jiff::Timestamp;
use roaring::RoaringTreemap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use uuid::Uuid;

/// Threads that read dumps: one parses while the other deletes.
const READERS: usize = 2;

/// Runs the command.
///
/// # Errors
///
/// Nothing could be deleted: a setting, a dump or the database. Later failures are part of the report.
pub fn run(
    args: &DeleteArgs,
    env: Environment<'_>,
    quiet: bool,
    process: &Process<'_>,
) -> Result<Ending, CommandError> {
    let begun = Instant::now();
    let (mut reader, mut found) = (None, FoundSources::default());
    let find = |settings: &DeleteSettings| {
        found = FoundSources::find(settings.sources(), &[]);
        found.sources.clone()
    };
    let settings = DeleteSettings::new(args, env, Timestamp::now())?
        .with_sources(find)
        .named(|settings| sources::first_server(settings.sources(), &settings.event, &mut reader))?;
    found.check()?;
    let EventSettings { server, layout, .. } = settings.event;
    let database = OpenDatabase::open(&settings.database, Uuid::new_v4())?;
    let halt = Arc::<Halt>::default();
    let Process { signals, panics, screen } = process;
    let listener = Listener::start(signals, panics, &halt, settings.drain_timeout, (*screen).clone(), None)?;
    let ledger = settings.database.ledger_schema.as_deref();
    let schemas = Schemas::find(&database.manager, layout, settings.database.schema(), ledger)?;
    let scope = DeleteScope { layout, schemas, server };
    let patience = Patience::until_told(halt.given_up());
    let tables = identity(&database.manager, layout, &scope.schemas)?;
    let deleter = Deleter::open(database.manager.clone(), scope, patience)?;
    let piped = piped_delete(args, env);
    let deletion =
        Deletion { settings: &settings, tables, piped, deleter, halt: &halt, tally: Mutex::default() };
    let done = match &settings.events {
        DoomedEvents::Before(time) => deletion.before(*time),
        DoomedEvents::Of(sources) => {
            let monitor = Arc::<Monitor>::default();
            let live = LiveRun {
                begun,
                monitor: Arc::clone(&monitor),
                halt: Arc::clone(&halt),
                manager: Some(database.manager.clone()),
                bytes_total: sources::bytes_total(sources),
            };
            let progress = Progress::start(live, (*screen).clone()).context("a thread can't be started")?;
            let done = deletion.of_dumps(sources, reader, &monitor);
            let unread = found.source_errors().into_iter().next();
            let done = done
                .and(unread.map_or(Ok(()), |error| Err(Early::Failed(CommandError::Other(error.into())))));
            drop(progress);
            done
        }
    };
    let Deletion { tally, deleter, .. } = deletion;
    drop(deleter);
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (status, ending, error) = outcome(done, halt.take_reason(), tally.rejected);
    drop(listener);
    if let Err(error) = database.close() {
        log::warn!("{}", in_full(&error));
    }
    let report = DeleteReport {
        status,
        dry_run: args.dry_run,
        server,
        layout,
        before: match settings.events {
            DoomedEvents::Before(time) => Some(time),
            DoomedEvents::Of(_) => None,
        },
        events: tally.events,
        deleted: tally.deleted.events,
        not_stored: tally.events - tally.rejected - tally.deleted.events,
        rejected: tally.rejected,
        segments: tally.deleted.segments,
        files: tally.deleted.files,
        elapsed: begun.elapsed(),
        error,
        again: delete_again(args, env),
    };
    if args.json {
        write_output(&format!("{}\n", report.to_json().context("the result can't be written as JSON")?))?;
    } else if !quiet || ending != Ending::Complete {
        write_text(&report.in_words())?;
    }
    Ok(ending)
}

/// Why a deletion ended early.
enum Early {
    /// It was stopped.
    Stopped,
    Failed(CommandError),
}

impl From<StoreError> for Early {
    fn from(error: StoreError) -> Self {
        if error.is_given_up() { Early::Stopped } else { Early::Failed(error.into()) }
    }
}

impl From<anyhow::Error> for Early {
    fn from(error: anyhow::Error) -> Self {
        Early::Failed(error.into())
    }
}

/// A failure counts before a wish to stop.
fn outcome(
    done: Result<(), Early>,
    halted: Option<HaltReason>,
    rejected: u64,
) -> (Status, Ending, Option<String>) {
    match (done, halted) {
        (Err(Early::Failed(error)), _) => (Status::Failed, error.ending(), Some(in_full(&error))),
        (_, Some(HaltReason::Panicked(message))) => (Status::Failed, Ending::Failed, Some(message)),
        (_, Some(HaltReason::Signal(signal))) => (Status::Interrupted, Ending::Interrupted(signal), None),
        (Err(Early::Stopped), _) | (_, Some(_)) => (Status::Failed, Ending::Failed, None),
        (Ok(()), None) if rejected > 0 => (Status::Rejects, Ending::Rejects, None),
        (Ok(()), None) => (Status::Complete, Ending::Complete, None),
    }
}

/// A deletion under way.
struct Deletion<'r> {
    settings: &'r DeleteSettings,
    /// What tells the tables from others that the same ledger knows.
    tables: Option<String>,
    /// What errors of inputs suggest.
    piped: PipedCommand,
    deleter: Deleter,
    halt: &'r Halt,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    events: u64,
    rejected: u64,
    deleted: Deleted,
    /// In a dry run: the ids and the segments that were counted.
    counted: RoaringTreemap,
    segments: BTreeSet<Vec<u8>>,
}

impl Tally {
    fn add(&mut self, Deleted { events, segments, files }: Deleted) {
        self.deleted.events += events;
        self.deleted.segments += segments;
        self.deleted.files += files;
    }
}

impl Deletion<'_> {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        // What is in it is whole after every statement.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_stop(&self) -> Result<(), Early> {
        if self.halt.stopping().is_some() { Err(Early::Stopped) } else { Ok(()) }
    }

    fn before(&self, time: Timestamp) -> Result<(), Early> {
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
            let mut tally = self.tally();
            tally.events += deleted.events;
            tally.add(deleted);
            log::info!("deleted {} events so far", tally.events);
            next = after;
        }
        Ok(())
    }

    fn of_dumps(&self, sources: &[Source], reader: Option<Reader>, monitor: &Monitor) -> Result<(), Early> {
        let EventSettings { server, layout, nul, ref reading } = self.settings.event;
        let run = VerifyRun {
            workers: READERS,
            segment: self.settings.segment,
            preparer: Preparer {
                layout,
                server,
                nul,
                repeats: Repeats::FirstCounts,
                reading: Reading { tables: self.tables.clone(), ..reading.clone() },
            },
            piped: self.piped.clone(),
            stop: self.halt.stopped(),
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
        match errors.into_iter().next() {
            Some(error) => Err(Early::Failed(CommandError::Other(error.into()))),
            None => Ok(()),
        }
    }

    /// Deletes the events of a segment.
    fn delete(&self, prepared: &Prepared) -> Result<(), Early> {
        let batch = &prepared.batch;
        let ids = batch.rows.ids(&batch.order);
        for ids in ids.chunks(DELETE_BATCH_MAX) {
            self.check_stop()?;
            if self.settings.dry_run {
                self.count(prepared, ids)?;
            } else {
                let deleted = self.deleter.delete_events(batch.hash, ids.to_vec())?;
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

    /// Counts what would be deleted. An event that the dumps have twice is deleted once.
    fn count(&self, prepared: &Prepared, ids: &[i64]) -> Result<(), Early> {
        let mut stored = self.deleter.stored(ids.to_vec())?;
        stored.sort_unstable();
        let segments = self.deleter.segments_of(prepared.batch.hash, &stored)?;
        let mut tally = self.tally();
        let new = stored.iter().filter(|id| tally.counted.insert(id.cast_unsigned())).count();
        tally.deleted.events += new as u64;
        tally.segments.extend(segments);
        Ok(())
    }
}
