//! A load into a database: tables, ledger row, events, end of the run.

use crate::commands::common::confirm::confirm;
use crate::commands::common::observe::Observer;
use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::outcome::{cause, has_succeeded, outcome, run_outcome};
use crate::commands::common::unchanged::Files;
use crate::database::failure::public::in_public;
use crate::database::ledger::runs::{RunCounts, RunEnd, RunLog};
use crate::database::options::StoreSettings;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::ensure::Tables;
use crate::database::schema::{deferred_indexes as indexes, ensure as schema, statistics};
use crate::database::schemas::Schemas;
use crate::database::session::deadline::Deadline;
use crate::database::store::Store;
use crate::database::write::postgres_store::PostgresStore;
use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::layout::ddl::Indexes;
use crate::layout::table::Distribution;
use crate::pipeline;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::settings::database::DatabaseSettings;
use std::net::TcpListener;
use std::time::Duration;

use crate::commands::load::parts::{Done, LoadParts, StoreFigures};

pub(crate) fn load(
    parts: &LoadParts<'_>,
    listener: Option<TcpListener>,
    place: &DatabaseSettings,
) -> Result<Done, CommandError> {
    let (settings, id) = (parts.settings, parts.id);
    let database = OpenDatabase::open(place, id)?;
    let layout = settings.event.layout;
    let schemas = Schemas::find(&database.manager, layout, place.schema(), place.ledger_schema.as_deref())?;
    let tables = schema::ensure(&database.manager, layout, &schemas, Indexes::Later, Distribution::OneServer)
        .map_err(|error| error.map_message(|text| parts.hints.fill(text)))?;
    if tables.distribution == Distribution::OneServer {
        indexes::defer(&database.manager, &tables.catalog, layout, &schemas, id);
    }
    let identity = tables.catalog.identity(layout, &schemas);
    let store_settings = store_settings(parts, schemas, &tables);
    let is_watched = settings.listen.is_some() || settings.metrics_file.is_some();
    let last_success =
        if is_watched { RunLog::last_success(&database.manager, &store_settings)? } else { None };
    let (shutdown, live) = (parts.shutdown, parts.live(Some(&database.manager)));
    let observer = Observer::start(settings, &live, listener, id, Some(&database), last_success)?;
    let sources: Vec<String> = settings.named.iter().map(ToString::to_string).collect();
    parts.requests.begin();
    // Until reading starts, a stop request ends every wait.
    let at_start = Deadline::until_cancelled(shutdown.stopped());
    let begin =
        |deadline: &Deadline| RunLog::begin(&database.manager, &store_settings, id, &sources, deadline);
    // Retry after a stop, because the row may already be written and then needs its end.
    let log = begin(&at_start)
        .or_else(|error| if error.is_given_up() { begin(&Deadline::at_most(END_MAX)) } else { Err(error) });
    let log = match log {
        Err(error) if error.is_given_up() => {
            let report = RunReport::stopped(shutdown);
            let final_status = observer.serve_final_status(&run_outcome(&report));
            return Ok(Done { report, store: StoreFigures::default(), metrics: Ok(()), final_status });
        }
        log => log?,
    };
    // The ledger now has the run, so its end must be recorded on every path.
    let progress = parts.show(live);
    let deadline = Deadline::until_cancelled(shutdown.aborted());
    let idle_deadline = Deadline::until_cancelled(shutdown.stopped());
    let store = PostgresStore::new(
        database.manager.clone(),
        &store_settings,
        id,
        log.server_start,
        deadline,
        idle_deadline,
    );
    // If the game server was read from the first event, reading has already started, so no file can be skipped.
    let reader = parts.reader.take();
    let rereads = settings.rereads || reader.is_some();
    let mut pipeline = settings.pipeline(parts.piped.clone());
    pipeline.reading.tables = identity;
    let preparer = pipeline.preparer();
    let manager = &database.manager;
    let files = Files::examine(manager, &store_settings, &settings.sources, preparer, rereads, &at_start);
    let report = match (&files, &progress) {
        (Ok(files), Ok(_)) => {
            files.skipped.iter().for_each(|held| parts.monitor.skip_file(held));
            let mut report = pipeline::run::run(
                files.sources.clone(),
                reader,
                &pipeline,
                Some(&store as &dyn Store),
                parts.rejects,
                shutdown,
                parts.monitor,
            );
            report.source_errors.splice(0..0, parts.unread.take());
            if report.halted.is_none() {
                confirm(&store, &mut report);
            }
            let deadline = Deadline::until_cancelled(shutdown.aborted());
            files.record(&database.manager, id, &report, parts.monitor, &deadline);
            report
        }
        (_, Err(error)) => RunReport::failed(anyhow::anyhow!("{error:#}")),
        (Err(_), _) => match files {
            Err(error) if error.is_given_up() => RunReport::stopped(shutdown),
            Err(error) => RunReport::failed(error),
            Ok(_) => unreachable!("matched above"),
        },
    };
    let earlier_rejects = earlier_rejects(&store, parts.monitor);
    let figures = StoreFigures { earlier_rejects, ..StoreFigures::of(&database.manager) };
    let has_indexes =
        end_in_ledger(&log, &database.manager, &store_settings, parts.rejects, &report, &figures, shutdown);
    if report.halted.is_none() {
        // After the end is in the ledger, so that one of two runs that end together builds the indexes.
        if !has_indexes {
            store.build_indexes();
        }
        if tables.distribution == Distribution::OneServer {
            let (inserted, deadline) =
                (report.counts.inserted, Deadline::until_cancelled(shutdown.stopped()));
            let schemas = &store_settings.schemas;
            statistics::refresh(&database.manager, &tables.catalog, layout, schemas, inserted, &deadline);
        }
    }
    let metrics = observer.write_metrics(has_succeeded(&report));
    drop(progress);
    let final_status = observer.serve_final_status(&run_outcome(&report));
    drop(store);
    if let Err(error) = database.close() {
        // Everything is stored, so a server that does not stop is only a warning.
        log::warn!("{}", in_full(&error));
    }
    Ok(Done { report, store: figures, metrics, final_status })
}

fn store_settings(parts: &LoadParts<'_>, schemas: Schemas, tables: &Tables) -> StoreSettings {
    let settings = parts.settings;
    StoreSettings {
        schema_apply: parts.hints.fill("aegis-kills schema apply"),
        layout: settings.event.layout,
        schemas,
        server: settings.event.server,
        on_conflict: settings.on_conflict,
        held: settings.held,
        distribution: tables.distribution,
        has_user_code: tables.catalog.has_user_code,
        uses_files: tables.catalog.uses_files,
    }
}

/// The reject files of earlier runs. A failed lookup does not fail the load.
fn earlier_rejects(store: &PostgresStore, monitor: &Monitor) -> Vec<String> {
    let runs = monitor.reported_by();
    if runs.is_empty() {
        return Vec::new();
    }
    store.reject_files(&runs).unwrap_or_else(|error| {
        log::debug!("{}", in_full(&error));
        Vec::new()
    })
}

impl StoreFigures {
    fn of(manager: &DatabaseManager) -> Self {
        Self {
            retries: manager.figures().retries(),
            connection_errors: manager.figures().connection_errors(),
            earlier_rejects: Vec::new(),
        }
    }
}

/// How long a stopped run tries to write its end to the ledger.
const END_MAX: Duration = Duration::from_secs(5);

/// Returns whether all indexes are known to exist.
fn end_in_ledger(
    log: &RunLog,
    manager: &DatabaseManager,
    settings: &StoreSettings,
    rejects: &RejectFile,
    report: &RunReport,
    figures: &StoreFigures,
    shutdown: &Shutdown,
) -> bool {
    let rejects_file = rejects.path_if_made().map(|_| rejects.absolute_path());
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
        _ => Deadline::until_cancelled(shutdown.aborted()),
    };
    log.end(manager, settings, &end, &deadline).unwrap_or_else(|error| {
        // The events are committed. Only the run's row lacks its end.
        log::warn!("{}", in_full(&error));
        false
    })
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
