//! The course of a load: tables, ledger row, events, end of the run. A dry run does the same without a database.

use crate::commands::common::sources;
use crate::commands::load::confirm::confirm;
use crate::commands::load::outcome::{has_succeeded, run_outcome};
use crate::commands::load::outputs::{new_metrics, write_metrics};
use crate::commands::load::pages::{FinalStatus, LoadPages};
use crate::commands::load::parts::LoadParts;
use crate::commands::load::recorded_run::{RecordedRun, StoreFigures};
use crate::commands::load::target::LoadTarget;
use crate::database::session::deadline::Deadline;
use crate::database::store::Store;
use crate::database::write::postgres_store::PostgresStore;
use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::input::reader::Reader;
use crate::input::source::Source;
use crate::panics::{NO_THREAD, inject};
use crate::pipeline;
use crate::pipeline::run::PipelineSettings;
use crate::pipeline::run_report::RunReport;
use crate::report::snapshot::{LiveRun, RunTask};
use crate::report::terminal::progress::Progress;
use anyhow::Context as _;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The result of a load.
pub(crate) struct Done {
    pub(crate) report: RunReport,
    pub(crate) store: StoreFigures,
    /// The result of writing the metrics file.
    pub(crate) metrics: anyhow::Result<()>,
    /// Serves the final status to an open page.
    pub(crate) final_status: Option<FinalStatus>,
}

impl Done {
    /// The result of a load of which only the report is left.
    pub(crate) fn of(report: RunReport) -> Self {
        Self { report, store: StoreFigures::default(), metrics: Ok(()), final_status: None }
    }
}

/// Loads into the database of the settings, if there is one, and closes it.
pub(crate) fn load(parts: &LoadParts<'_>, listener: Option<TcpListener>) -> Result<Done, CommandError> {
    let place = parts.settings.database.as_ref();
    let open = |place| {
        let screen = parts.process.screen.clone();
        let _shown = Progress::of_preparation(parts.started, screen).context(NO_THREAD)?;
        LoadTarget::open(parts, place)
    };
    let target = place.map(open).transpose()?;
    let done = run_observed(parts, listener, target.as_ref())?;
    if let Some(Err(error)) = target.map(|target| target.database.close()) {
        // Everything is stored, so a server that does not stop is only a warning.
        log::warn!("{}", in_full(&error));
    }
    Ok(done)
}

/// Shows the run on the pages and the terminal and in the metrics. At the end nothing of it holds the database.
fn run_observed(
    parts: &LoadParts<'_>,
    listener: Option<TcpListener>,
    target: Option<&LoadTarget>,
) -> Result<Done, CommandError> {
    let settings = parts.settings;
    let live = LiveRun {
        begun: parts.started,
        monitor: Arc::clone(parts.monitor),
        shutdown: Arc::clone(parts.shutdown),
        manager: target.map(|target| target.database.manager.clone()),
        bytes_total: sources::bytes_total(&settings.sources),
        task: RunTask::Load,
    };
    let last_success = target.and_then(|target| target.last_success);
    let (monitor, manager) = (Arc::clone(parts.monitor), live.manager.clone());
    let metrics = Arc::new(new_metrics(settings, parts.id, monitor, manager, last_success)?);
    let database = target.map(|target| &target.database);
    let serve = |listener| {
        LoadPages::start(listener, settings, &live, parts.id, &metrics, database, parts.rejects.path())
    };
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let url = address.map(|address| format!("http://{address}/"));
    let pages = listener.map(serve).transpose()?;
    parts.requests.begin();
    let recorded = match target.map(|target| RecordedRun::begin(target, parts)).transpose() {
        Err(error) if error.is_aborted() => None,
        recorded => Some(recorded?),
    };
    let (report, store, metrics) = if let Some(recorded) = recorded {
        // The ledger now has the run, so its end must be recorded on every path.
        let mut progress = None;
        let run = || match Progress::start(live, parts.process.screen.clone(), url).context(NO_THREAD) {
            Ok(started) => {
                progress = Some(started);
                read_and_store(parts, recorded.as_ref())
            }
            Err(error) => RunReport::failed(anyhow::anyhow!(in_full(error.as_ref()))),
        };
        // A panic is logged where it happens.
        let mut report = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| RunReport::counted(parts.monitor, parts.shutdown));
        // The run has taken its reason before the confirmation.
        report.note_panic(parts.shutdown);
        let store = recorded.map_or_else(StoreFigures::default, |recorded| recorded.end(&mut report));
        inject("recorded");
        let written = write_metrics(settings, &metrics, has_succeeded(&report));
        drop(progress);
        (report, store, written)
    } else {
        (RunReport::stopped(parts.shutdown), StoreFigures::default(), Ok(()))
    };
    let final_status = pages.and_then(|pages| pages.serve_final_status(&run_outcome(&report)));
    Ok(Done { report, store, metrics, final_status })
}

/// Reads all sources, and stores their events unless this is a dry run.
fn read_and_store(parts: &LoadParts<'_>, recorded: Option<&RecordedRun<'_>>) -> RunReport {
    let settings = parts.settings;
    let reader = parts.reader.take();
    let mut pipeline = settings.pipeline(parts.piped.clone());
    let Some(recorded) = recorded else {
        return read(parts, settings.sources.clone(), reader, &pipeline, None);
    };
    pipeline.reading.tables.clone_from(&recorded.target.identity);
    // If the game server was read from the first event, reading has already started, so no file can be skipped.
    let rereads = settings.rereads || reader.is_some();
    let files = match recorded.examine(&settings.sources, pipeline.preparer(), rereads) {
        Ok(files) => files,
        Err(error) if error.is_aborted() => return RunReport::stopped(parts.shutdown),
        Err(error) => return RunReport::failed(error),
    };
    for file in &files.skipped {
        parts.monitor.skip_file(&file.counts);
        recorded.store.note_skipped(&file.segments);
    }
    let mut report = read(parts, files.sources.clone(), reader, &pipeline, Some(&recorded.store));
    confirm(&recorded.store, &mut report, &parts.reloads, parts.shutdown);
    recorded.target.explain(&mut report, &parts.hints);
    let deadline = Deadline::until_cancelled(parts.shutdown.aborted());
    files.record(&recorded.target.database.manager, parts.id, &report, parts.monitor, &deadline);
    report
}

fn read(
    parts: &LoadParts<'_>,
    sources: Vec<Source>,
    reader: Option<Reader>,
    pipeline: &PipelineSettings,
    store: Option<&PostgresStore>,
) -> RunReport {
    let store = store.map(|store| store as &dyn Store);
    let mut report =
        pipeline::run::run(sources, reader, pipeline, store, parts.rejects, parts.shutdown, parts.monitor);
    report.source_errors.splice(0..0, parts.unread.take());
    report
}
