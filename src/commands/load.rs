//! `load`: dumps in, events in the database, an account of each.

use crate::cli::LoadArgs;
use crate::commands::common::confirm::confirm;
use crate::commands::common::load_summary::{Printed, stop_summary};
use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::observe::{Farewell, Observer};
use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::outcome::{cause, has_succeeded, outcome, run_outcome};
use crate::commands::common::signals::{EarlySignals, Listener};
use crate::commands::common::sources::FoundSources;
use crate::commands::common::unchanged::Files;
use crate::commands::common::{load_summary, next_steps as next, observe, sources};
use crate::database::failure::public::in_public;
use crate::database::ledger::runs::{RunCounts, RunEnd, RunLog};
use crate::database::options::StoreSettings;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::{deferred_indexes as indexes, ensure as schema};
use crate::database::schemas::{Schemas, identity};
use crate::database::session::deadline::Deadline;
use crate::database::store::Store;
use crate::database::write::postgres_store::PostgresStore;
use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::exit::ExitStatus;
use crate::input::convert::PipedCommand;
use crate::input::reader::Reader;
use crate::layout::ddl::Indexes;
use crate::layout::table::Distribution;
use crate::panics::Panics;
use crate::pipeline;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::run::RunReport;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::SourceError;
use crate::report::snapshot::LiveRun;
use crate::report::summary::Summary;
use crate::report::terminal::progress::Progress;
use crate::report::terminal::screen::Screen;
use crate::settings::LoadSettings;
use crate::settings::database::DatabaseSettings;
use crate::settings::environment::{Environment, SettingError};
use anyhow::Context as _;
use jiff::Timestamp;
use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What a load has of its process.
#[derive(Debug)]
pub(crate) struct Process<'p> {
    /// Signals until the load listens for itself.
    pub signals: &'p EarlySignals,
    /// What a panic does.
    pub panics: &'p Panics,
    /// Where log and progress go.
    pub screen: &'p Screen,
}

/// Runs the command.
pub(crate) fn run(
    args: &LoadArgs,
    env: Environment<'_>,
    quiet: bool,
    process: &Process<'_>,
) -> Result<ExitStatus, CommandError> {
    let (mut reader, mut found) = (None, FoundSources::default());
    let find = |settings: &LoadSettings| {
        found = FoundSources::find(&settings.named, &settings.written());
        found.sources.clone()
    };
    let settings = LoadSettings::new(args, env)?
        .with_sources(find)
        .named(|settings| sources::first_server(&settings.sources, &settings.event, &mut reader))?;
    // Before anything is written, the file of metrics as well.
    refuse_overwriting(&settings)?;
    let id = Uuid::new_v4();
    let shutdown = Arc::<Shutdown>::default();
    let printed = Printed { is_json: args.json, is_quiet: quiet };
    let mut next = next::commands(args, env);
    let stop = stop_summary(&settings, id, next.clone(), args.dry_run, printed);
    let Process { signals, panics, screen } = process;
    let requests =
        Listener::start(signals, panics, &shutdown, settings.drain_timeout, (*screen).clone(), Some(stop))?;
    let (rejects, listener) =
        prepare(&settings, &mut found, id, process.screen).inspect_err(|_| tell_of_failure(&settings, id))?;
    let started = Instant::now();
    let monitor = Arc::<Monitor>::default();
    let parts = LoadParts {
        settings: &settings,
        reader: Cell::new(reader),
        unread: Cell::new(found.source_errors()),
        piped: next::piped_load(args, env),
        hints: SchemaHints::new(&args.database, args.event.layout.as_deref(), env),
        id,
        started,
        rejects: &rejects,
        process,
        requests: &requests,
        shutdown: &shutdown,
        monitor: &monitor,
    };
    let done = match &settings.database {
        Some(place) => load(&parts, listener, place),
        None => read_only(&parts, listener),
    };
    requests.end();
    if done.is_err() {
        tell_of_failure(&settings, id);
    }
    // The page is told the end while the summary is printed, and is waited for after that.
    let Done { report, store, metrics, farewell: _farewell } = match done {
        // Scripts that ask for JSON get it of a database that could not be used, too.
        Err(CommandError::Database(error)) if args.json => Done {
            report: RunReport::failed(error),
            store: StoreFigures::default(),
            metrics: Ok(()),
            farewell: None,
        },
        done => done?,
    };
    let (status, exit_status) = outcome(&report);
    if report.has_damaged_source() {
        // A sound copy has the same events, perhaps with other values.
        let corrected = LoadArgs { on_conflict: Some("update".to_owned()), ..args.clone() };
        next.again = next::commands(&corrected, env).again;
    }
    let summary = Summary {
        status,
        run: id,
        server: settings.event.server,
        layout: settings.event.layout,
        counts: report.counts,
        bytes_read: report.bytes_read,
        bytes_uncompressed: report.bytes_uncompressed,
        retries: store.retries,
        connection_errors: store.connection_errors,
        elapsed: started.elapsed(),
        rejects_file: rejects.path_if_made().map(PathBuf::from),
        earlier_rejects: store.earlier_rejects,
        reasons: monitor.reject_kinds(),
        error: cause(&report, in_full),
        database_failed: matches!(exit_status, ExitStatus::DatabaseFailed | ExitStatus::DatabaseRefused),
        dry_run: args.dry_run,
        next,
    };
    // A terminal that has closed shows no summary; why the load ended is known all the same.
    if let Err(error) = load_summary::print(&summary, printed).and(metrics) {
        log::error!("{error:#}");
        return Ok(if has_stored_all(exit_status) { ExitStatus::Failed } else { exit_status });
    }
    Ok(exit_status)
}

fn has_stored_all(exit_status: ExitStatus) -> bool {
    matches!(exit_status, ExitStatus::Complete | ExitStatus::Rejects)
}

fn refuse_overwriting(settings: &LoadSettings) -> Result<(), SettingError> {
    let written = [("--rejects", &settings.rejects), ("--metrics-file", &settings.metrics_file)];
    let named = written.into_iter().filter_map(|(place, file)| Some((place, file.as_ref()?)));
    named.into_iter().try_for_each(|(place, file)| sources::check_apart(&settings.sources, place, file))?;
    match (&settings.rejects, &settings.metrics_file) {
        (Some(rejects), Some(metrics)) if are_one_file(rejects, metrics) => Err(SettingError::Value {
            place: "--metrics-file",
            value: metrics.display().to_string(),
            wanted: "the rejects are written to that file; another file is needed".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Whether two paths are of one file, which need not be there. Devices and pipes can be written by both.
fn are_one_file(one: &Path, other: &Path) -> bool {
    let is_special = |path: &Path| path.metadata().is_ok_and(|found| !found.is_file());
    if is_special(one) || is_special(other) {
        return false;
    }
    let whole = |path: &Path| {
        let directory =
            path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize()
            .or_else(|_| Ok(directory.canonicalize()?.join(path.file_name().unwrap_or_default())))
    };
    let both: (io::Result<PathBuf>, io::Result<PathBuf>) = (whole(one), whole(other));
    matches!(both, (Ok(one), Ok(other)) if one == other)
}

/// Looks at what is read and written beside the database, and takes the address that pages are served at.
fn prepare(
    settings: &LoadSettings,
    found: &mut FoundSources,
    id: Uuid,
    screen: &Screen,
) -> Result<(RejectFile, Option<TcpListener>), CommandError> {
    let listener =
        settings.listen.as_ref().map(|listen| observe::listen(listen, screen)).transpose()?.flatten();
    found.check()?;
    let rejects = match &settings.rejects {
        Some(path) => RejectFile::new(path.clone())?,
        None => RejectFile::by_default(default_rejects(id)),
    };
    Ok((rejects, listener))
}

/// Whoever watches the file of metrics must see a run as well that did not come to its end.
fn tell_of_failure(settings: &LoadSettings, id: Uuid) {
    if settings.metrics_file.is_none() || settings.database.is_none() {
        return;
    }
    let live = LiveRun {
        begun: Instant::now(),
        monitor: Arc::default(),
        shutdown: Arc::default(),
        manager: None,
        bytes_total: None,
    };
    let told = Observer::start(settings, &live, None, id, None, None)
        .and_then(|observer| observer.write_metrics(false));
    if let Err(error) = told {
        log::warn!("{}", in_full(error.as_ref()));
    }
}

/// What a run came to.
struct Done {
    report: RunReport,
    store: StoreFigures,
    /// Whether the file of metrics could be written.
    metrics: anyhow::Result<()>,
    /// Whoever still looks at its page.
    farewell: Option<Farewell>,
}

/// What the store counted beside the events.
#[derive(Default)]
struct StoreFigures {
    retries: u64,
    connection_errors: u64,
    /// The reject files that have what counts as rejected before, the last one first.
    earlier_rejects: Vec<String>,
}

/// The reject files of earlier runs. It is no reason to end a load if they can't be looked up.
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

/// What both kinds of runs are given.
struct LoadParts<'r> {
    settings: &'r LoadSettings,
    /// Where someone has begun to read the sources.
    reader: Cell<Option<Reader>>,
    /// What errors of inputs suggest.
    piped: PipedCommand,
    /// What errors of the tables suggest.
    hints: SchemaHints,
    /// What was named and can't be read.
    unread: Cell<Vec<SourceError>>,
    id: Uuid,
    started: Instant,
    rejects: &'r RejectFile,
    process: &'r Process<'r>,
    requests: &'r Listener,
    shutdown: &'r Arc<Shutdown>,
    monitor: &'r Arc<Monitor>,
}

impl LoadParts<'_> {
    /// What a run is looked at with.
    fn live(&self, manager: Option<&DatabaseManager>) -> LiveRun {
        LiveRun {
            begun: self.started,
            monitor: Arc::clone(self.monitor),
            shutdown: Arc::clone(self.shutdown),
            manager: manager.cloned(),
            bytes_total: sources::bytes_total(&self.settings.sources),
        }
    }

    /// Shows the progress for as long as the result lives.
    fn show(&self, run: LiveRun) -> anyhow::Result<Progress> {
        Progress::start(run, self.process.screen.clone()).context("a thread can't be started")
    }
}

fn read_only(parts: &LoadParts<'_>, listener: Option<TcpListener>) -> Result<Done, CommandError> {
    let settings = parts.settings;
    let shutdown = parts.shutdown;
    let live = parts.live(None);
    let observer = Observer::start(settings, &live, listener, parts.id, None, None)?;
    if settings.metrics_file.is_some() {
        log::warn!("the metrics file is left as it is: it is of loads, and a dry run is none");
    }
    let _progress = parts.show(live)?;
    let sources = settings.sources.clone();
    let (reader, run) = (parts.reader.take(), settings.pipeline(parts.piped.clone()));
    parts.requests.begin();
    let mut report = pipeline::run::run(sources, reader, &run, None, parts.rejects, shutdown, parts.monitor);
    report.source_errors.splice(0..0, parts.unread.take());
    let farewell = observer.serve_final_status(&run_outcome(&report));
    Ok(Done { report, store: StoreFigures::default(), metrics: Ok(()), farewell })
}

fn load(
    parts: &LoadParts<'_>,
    listener: Option<TcpListener>,
    place: &DatabaseSettings,
) -> Result<Done, CommandError> {
    let (settings, id) = (parts.settings, parts.id);
    let database = OpenDatabase::open(place, id)?;
    let layout = settings.event.layout;
    let schemas = Schemas::find(&database.manager, layout, place.schema(), place.ledger_schema.as_deref())?;
    let tables = schema::ensure(&database.manager, layout, &schemas, Indexes::Later, Distribution::OneServer)
        .map_err(|error| error.map_message(|words| parts.hints.fill(words)))?;
    if tables.distribution == Distribution::OneServer {
        indexes::defer(&database.manager, layout, &schemas, id);
    }
    let identity = identity(&database.manager, layout, &schemas)?;
    let store_settings = store_settings(parts, schemas, tables.distribution);
    let is_watched = settings.listen.is_some() || settings.metrics_file.is_some();
    let last_success =
        if is_watched { RunLog::last_success(&database.manager, &store_settings)? } else { None };
    let (shutdown, live) = (parts.shutdown, parts.live(Some(&database.manager)));
    let observer = Observer::start(settings, &live, listener, id, Some(&database), last_success)?;
    let sources: Vec<String> = settings.named.iter().map(ToString::to_string).collect();
    parts.requests.begin();
    // Until something is read, a request to stop ends each wait.
    let at_start = Deadline::until_cancelled(shutdown.stopped());
    let begin =
        |deadline: &Deadline| RunLog::begin(&database.manager, &store_settings, id, &sources, deadline);
    // Once more, as the row may be written by now, and needs its end.
    let log = begin(&at_start)
        .or_else(|error| if error.is_given_up() { begin(&Deadline::at_most(END_MAX)) } else { Err(error) });
    let log = match log {
        Err(error) if error.is_given_up() => {
            let report = RunReport::stopped(shutdown);
            let farewell = observer.serve_final_status(&run_outcome(&report));
            return Ok(Done { report, store: StoreFigures::default(), metrics: Ok(()), farewell });
        }
        log => log?,
    };
    // From here on the ledger has the run, and gets its end.
    let progress = parts.show(live);
    let deadline = Deadline::until_cancelled(shutdown.aborted());
    let idle_deadline = Deadline::until_cancelled(shutdown.stopped());
    let store = PostgresStore::new(database.manager.clone(), &store_settings, id, deadline, idle_deadline);
    // Where the server was looked up in the first event, reading has begun, of all files.
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
            Ok(_) => unreachable!("it is an error"),
        },
    };
    let earlier_rejects = earlier_rejects(&store, parts.monitor);
    let figures = StoreFigures { earlier_rejects, ..StoreFigures::of(&database.manager) };
    end_in_ledger(&log, &database.manager, parts.rejects, &report, &figures, shutdown);
    if report.halted.is_none() {
        // With its end in the ledger, so that of two runs that end together one builds them.
        store.build_indexes();
    }
    let metrics = observer.write_metrics(has_succeeded(&report));
    drop(progress);
    let farewell = observer.serve_final_status(&run_outcome(&report));
    drop(store);
    if let Err(error) = database.close() {
        // All is stored; the account of it is worth more than a server that did not stop.
        log::warn!("{}", in_full(&error));
    }
    Ok(Done { report, store: figures, metrics, farewell })
}

fn store_settings(parts: &LoadParts<'_>, schemas: Schemas, distribution: Distribution) -> StoreSettings {
    let settings = parts.settings;
    StoreSettings {
        schema_apply: parts.hints.fill("aegis-kills schema apply"),
        layout: settings.event.layout,
        schemas,
        server: settings.event.server,
        on_conflict: settings.on_conflict,
        held: settings.held,
        distribution,
    }
}

/// How long a run that was stopped tries to write its end into the ledger.
const END_MAX: Duration = Duration::from_secs(5);

fn end_in_ledger(
    log: &RunLog,
    manager: &DatabaseManager,
    rejects: &RejectFile,
    report: &RunReport,
    figures: &StoreFigures,
    shutdown: &Shutdown,
) {
    let rejects_file = rejects.path_if_made().map(|_| rejects.absolute_path());
    let end = RunEnd {
        status: outcome(report).0.name(),
        counts: ledger_counts(report, figures),
        rejects_file: rejects_file.map(|path| path.to_string_lossy().into_owned()),
        // All who may read the ledger see it.
        error: cause(report, in_public),
    };
    // A database that was waited for in vain gets one more moment, no more.
    let deadline = match report.halted {
        Some(ShutdownReason::Failed(_) | ShutdownReason::Panicked(_) | ShutdownReason::Signal(_)) => {
            Deadline::at_most(END_MAX)
        }
        _ => Deadline::until_cancelled(shutdown.aborted()),
    };
    if let Err(error) = log.end(manager, &end, &deadline) {
        // The events are committed; only this run's row lacks its end.
        log::warn!("{}", in_full(&error));
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

fn default_rejects(run: Uuid) -> PathBuf {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("rejects-{now}-{run}.ndjson"))
}
