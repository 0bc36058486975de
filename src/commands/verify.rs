//! `verify`: compares the events of dumps with the database.

use crate::cli::VerifyArgs;
use crate::commands::common::next_steps::{
    SchemaHints, directory, load_of_verified, piped_verify, verify_again,
};
use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::output::{write_output, write_text};
use crate::commands::common::signals::{DrainPolicy, Listener, Process};
use crate::commands::common::sources;
use crate::commands::common::sources::FoundSources;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::access::{self, TableUse};
use crate::database::schema::citus::{HalfCommitted, finish_commits};
use crate::database::schema::locate::{self, Located};
use crate::database::schema::misfits::{ComparedColumns, check_compared};
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::database::write::compare::{Comparer, StoredEvent};
use crate::database::write::exists::present_ids;
use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::exit::ExitStatus;
use crate::input::convert::PipedCommand;
use crate::input::reader::Reader;
use crate::layout::table::Distribution;
use crate::panics::NO_THREAD;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::SourceError;
use crate::pipeline::verify::VerifyRun;
use crate::report::snapshot::{LiveRun, RunTask};
use crate::report::terminal::progress::Progress;
use crate::report::verify::{Finding, VerifyReport};
use crate::settings::VerifySettings;
use crate::settings::environment::Environment;
use crate::settings::event::EventSettings;
use anyhow::Context as _;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use uuid::Uuid;

pub(crate) fn run(
    args: &VerifyArgs,
    env: Environment<'_>,
    quiet: bool,
    process: &Process<'_>,
) -> Result<ExitStatus, CommandError> {
    let mut settings = VerifySettings::new(args, env)?;
    let mut found = FoundSources::find(&settings.sources, &[], &mut settings.event)?;
    found.check()?;
    settings.sources.clone_from(&found.sources);
    let database = OpenDatabase::open(&settings.database, Uuid::new_v4())?;
    let hints = SchemaHints::new(&args.database, args.event.layout.as_deref(), env);
    let Compared { mut report, mut sources_whole, stopped } =
        compare(&settings, found.reader.take(), piped_verify(args, env), &hints, &database.manager, process)?;
    sources_whole &= found.errors.is_empty();
    report.again = stopped.map(|_| verify_again(args, env));
    report.directory = directory();
    match database.close() {
        // The server may be unreachable, and the report does not depend on it.
        Err(error) if stopped.is_some() => log::warn!("{}", in_full(&error)),
        closed => closed?,
    }
    let is_different = report.missing() + report.different() > 0;
    if args.json {
        write_output(&format!("{}\n", report.to_json(sources_whole)))?;
    } else if !quiet || is_different || stopped.is_some() {
        write_text(&report.to_text(sources_whole, &load_of_verified(args, env)))?;
    }
    Ok(match (stopped, sources_whole, is_different) {
        (Some(signal), _, _) => ExitStatus::Interrupted(signal),
        (None, false, _) => ExitStatus::Failed,
        (None, true, false) => ExitStatus::Complete,
        (None, true, true) => ExitStatus::Missing,
    })
}

struct Compared {
    report: VerifyReport,
    /// Whether all sources were read to the end, unless a signal stopped the comparison.
    sources_whole: bool,
    /// The signal that stopped the comparison.
    stopped: Option<i32>,
}

/// The source errors of a comparison, and the signal that stopped it.
fn end_of(
    done: Result<Vec<SourceError>, CommandError>,
    reason: Option<ShutdownReason>,
) -> Result<(Vec<SourceError>, Option<i32>), CommandError> {
    match (done, reason) {
        (Err(error), _) if !error.is_aborted() => Err(error),
        (Ok(errors), None) => Ok((errors, None)),
        (done, Some(ShutdownReason::Signal(signal))) => Ok((done.unwrap_or_default(), Some(signal))),
        (_, Some(ShutdownReason::Panicked(message))) => Err(anyhow::anyhow!(message).into()),
        _ => Err(anyhow::anyhow!("the comparison was cancelled").into()),
    }
}

/// Compares the dumps with the tables, until a signal stops it.
fn compare(
    settings: &VerifySettings,
    reader: Option<Reader>,
    piped: PipedCommand,
    hints: &SchemaHints,
    manager: &DatabaseManager,
    process: &Process<'_>,
) -> Result<Compared, CommandError> {
    let EventSettings { server, layout, .. } = settings.event;
    let schema = settings.database.schema();
    let ledger = settings.database.ledger_schema.as_deref();
    let hinted = |error: StoreError| error.map_message(|text| hints.fill(text));
    let Located { schemas, tables } = locate::find(manager, layout, schema, ledger).map_err(hinted)?;
    let (compared, columns) = if settings.ids_only {
        (1, ComparedColumns::Ids)
    } else {
        (layout.tables().len(), ComparedColumns::All)
    };
    let missing_table = tables.missing(&layout.tables()[..compared], layout, schema);
    let columns = if missing_table.is_some() { ComparedColumns::Nothing } else { columns };
    let (distribution, before_load) =
        check_compared(manager, layout, &schemas, columns, server).map_err(hinted)?;
    // Until here, a signal ends the program at once.
    let shutdown = Arc::<Shutdown>::default();
    let listener = Listener::start(process, &shutdown, DrainPolicy::without_writes(), None)?;
    let monitor = Arc::<Monitor>::default();
    let comparison = Comparison {
        monitor: Arc::clone(&monitor),
        settings,
        manager,
        shutdown: &shutdown,
        deadline: Deadline::until_cancelled(shutdown.aborted()).without_outages_after(shutdown.stopped()),
        distribution,
        comparer: Comparer::new(layout, schema, server, distribution),
        missing_table,
        report: Mutex::default(),
    };
    let live = LiveRun {
        begun: Instant::now(),
        monitor: Arc::clone(&monitor),
        shutdown: Arc::clone(&shutdown),
        manager: Some(manager.clone()),
        bytes_total: sources::bytes_total(&settings.sources),
        task: RunTask::Verify,
    };
    let progress = Progress::start(live, process.screen.clone(), None).context(NO_THREAD)?;
    let run = VerifyRun {
        workers: settings.workers,
        segment: settings.segment,
        preparer: settings.event.preparer(),
        piped,
        stop: shutdown.stopped(),
    };
    let add = |prepared: &Prepared| comparison.add(prepared).map_err(CommandError::from);
    let done = run.run(settings.sources.clone(), reader, &monitor, add);
    drop(progress);
    let (errors, stopped) = end_of(done, shutdown.take_reason()).map_err(|error| match error {
        CommandError::Database(error) => {
            CommandError::Database(access::with_grants(error, manager, layout, &schemas, TableUse::Read))
        }
        other => other,
    })?;
    drop(listener);
    for error in &errors {
        log::error!("{}", in_full(error));
    }
    let mut report = comparison.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    errors.iter().filter_map(SourceError::damaged).for_each(|source| report.distrust(&source.to_string()));
    report.ids_only = settings.ids_only;
    report.before_load = before_load;
    report.finish();
    Ok(Compared { report, sources_whole: errors.is_empty(), stopped })
}

/// The state shared by the threads.
struct Comparison<'r> {
    monitor: Arc<Monitor>,
    settings: &'r VerifySettings,
    manager: &'r DatabaseManager,
    shutdown: &'r Shutdown,
    /// Over once a stop request has waited long enough.
    deadline: Deadline,
    distribution: Distribution,
    comparer: Comparer,
    /// The message about a table that is missing, if one is. A table that another role creates later is not read.
    missing_table: Option<String>,
    report: Mutex<VerifyReport>,
}

impl Comparison<'_> {
    /// Compares the events of a segment, unless the comparison is stopped before.
    fn add(&self, prepared: &Prepared) -> Result<(), StoreError> {
        if self.shutdown.stopping().is_some() {
            return Err(StoreError::aborted("the comparison was stopped"));
        }
        let mut stored = self.stored(prepared)?;
        let mut half_committed = false;
        if self.distribution == Distribution::Citus
            && stored.iter().any(|(_, found)| *found == StoredEvent::Missing)
        {
            let commits = finish_commits(self.manager, &self.deadline)?;
            if commits != HalfCommitted::None {
                stored = self.stored(prepared)?;
            }
            half_committed = commits == HalfCommitted::Some;
        }
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.half_committed |= half_committed;
        report.events += prepared.batch.counts.events;
        let (segment, source) = (prepared.segment.number, &*prepared.segment.source);
        let (mut place, mut missing, mut different) = (0, 0, 0);
        let mut add = |line, finding: Finding| {
            match &finding {
                Finding::Missing(_) | Finding::Unloadable(_) => missing += 1,
                Finding::Different(..) => different += 1,
            }
            report.add((segment, place), source, line, finding);
            place += 1;
        };
        let mut same = Vec::new();
        for (id, line) in prepared.ids() {
            match state_of(&stored, id) {
                Some(StoredEvent::Same) => same.push(id),
                Some(StoredEvent::Different(difference)) => {
                    add(line, Finding::Different(id, (**difference).clone()));
                }
                Some(StoredEvent::Missing) | None => add(line, Finding::Missing(id)),
            }
        }
        let Ok(()) = prepared.each_reject::<Infallible>(|reject| {
            add(reject.line, Finding::Unloadable(reject.cause.to_string()));
            Ok(())
        });
        for id in same {
            report.add_same(id);
        }
        self.monitor.findings.add(missing, different, 0);
        Ok(())
    }

    /// The states of the events that can be stored, by id in ascending order. Those of ids without a state are missing.
    fn stored(&self, prepared: &Prepared) -> Result<Vec<(i64, StoredEvent)>, StoreError> {
        if prepared.batch.order.is_empty() {
            return Ok(Vec::new());
        }
        let schema = self.settings.database.schema();
        if let Some(message) = &self.missing_table {
            return Err(StoreError::refused(message.clone()));
        }
        if !self.settings.ids_only {
            return self.comparer.compare(self.manager, &self.deadline, &prepared.batch);
        }
        let EventSettings { server, layout, .. } = self.settings.event;
        let ids = prepared.batch.rows.ids(&prepared.batch.order);
        let (manager, deadline) = (self.manager, &self.deadline);
        let present = present_ids(manager, deadline, layout, schema, server, self.distribution, ids)?;
        let mut present: Vec<_> = present.into_iter().map(|id| (id, StoredEvent::Same)).collect();
        present.sort_unstable_by_key(|(id, _)| *id);
        Ok(present)
    }
}

/// The state of the event with this id. `stored` is in the order of the ids.
fn state_of(stored: &[(i64, StoredEvent)], id: i64) -> Option<&StoredEvent> {
    let at = stored.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(&stored[at].1)
}
