//! `load`: loads dumps into the database and accounts for every event.

mod advice;
mod confirm;
mod health_page;
mod load_summary;
mod outcome;
mod outputs;
mod pages;
mod parts;
mod recorded_run;
mod run;
mod target;
mod unchanged;

use crate::cli::LoadArgs;
use crate::commands::common::next_steps as next;
use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::signals::{DrainPolicy, Listener, Process};
use crate::commands::common::sources::FoundSources;
use crate::commands::load::advice::advise;
use crate::commands::load::confirm::ReloadCommands;
use crate::commands::load::load_summary::{Printed, empty_summary, print, print_when_stopped};
use crate::commands::load::outcome::{cause, has_succeeded, is_logged, outcome};
use crate::commands::load::outputs::{prepare, refuse_overwriting, write_failure_metrics};
use crate::commands::load::parts::LoadParts;
use crate::commands::load::run::{Done, load};
use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::exit::ExitStatus;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::Shutdown;
use crate::report::summary::Summary;
use crate::settings::LoadSettings;
use crate::settings::environment::Environment;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

pub(crate) fn run(
    args: &LoadArgs,
    env: Environment<'_>,
    quiet: bool,
    process: &Process<'_>,
) -> Result<ExitStatus, CommandError> {
    let mut settings = LoadSettings::new(args, env)?;
    let written = [&settings.rejects, &settings.metrics_file].into_iter().flatten();
    let written: Vec<&Path> = written.map(PathBuf::as_path).collect();
    let mut found = FoundSources::find(&settings.named, &written, &mut settings.event)?;
    settings.sources.clone_from(&found.sources);
    // Before anything is written, including the metrics file.
    refuse_overwriting(&settings)?;
    let id = Uuid::new_v4();
    let shutdown = Arc::<Shutdown>::default();
    let printed = Printed { is_json: args.json, is_quiet: quiet };
    let mut next = next::commands(args, env);
    let stop = print_when_stopped(empty_summary(&settings, id, next.clone(), args.dry_run), printed);
    let policy = DrainPolicy::of_load(settings.drain_timeout);
    let requests = Listener::start(process, &shutdown, policy, Some(stop))?;
    let (rejects, listener) = prepare(&settings, &mut found, id, process.screen)
        .inspect_err(|_| write_failure_metrics(&settings, id))?;
    let started = Instant::now();
    let monitor = Arc::<Monitor>::default();
    let parts = LoadParts {
        settings: &settings,
        reader: Cell::new(found.reader.take()),
        unread: Cell::new(found.source_errors()),
        piped: next::piped_load(args, env),
        reloads: ReloadCommands::new(args, env),
        hints: SchemaHints::of_load(args, env),
        id,
        started,
        rejects: &rejects,
        process,
        requests: &requests,
        shutdown: &shutdown,
        monitor: &monitor,
    };
    // A panic is logged where it happens. Here the ledger has no row of the run, or its row has an end.
    let done = catch_unwind(AssertUnwindSafe(|| load(&parts, listener)))
        .unwrap_or_else(|_| Ok(Done::of(RunReport::counted(&monitor, &shutdown))));
    requests.end();
    if done.is_err() {
        write_failure_metrics(&settings, id);
    }
    // An open page can fetch the final status while the summary is printed. The drop at the end waits for it.
    let Done { mut report, store, metrics, final_status: _final_status } = match done {
        // With --json, an unusable database also produces a summary.
        Err(CommandError::Database(error)) if args.json => Done::of(RunReport::failed(error)),
        done => done?,
    };
    // Since the ledger has the end of the run. The exit code is 1 then.
    report.note_panic(&shutdown);
    let (status, exit_status) = outcome(&report);
    let reasons = monitor.reject_kinds();
    advise(&mut next, &report, &reasons, args, env);
    let summary = Summary {
        metrics_error: metrics.as_ref().err().map(|error| in_full(error.as_ref())),
        status,
        counts: report.counts,
        bytes_read: report.bytes_read,
        bytes_uncompressed: report.bytes_uncompressed,
        retries: store.retries,
        connection_errors: store.connection_errors,
        elapsed: started.elapsed(),
        rejects_file: rejects.path_if_written().map(PathBuf::from),
        earlier_rejects: store.earlier_rejects,
        reasons,
        error: cause(&report, in_full),
        is_logged: is_logged(&report),
        database_failed: matches!(exit_status, ExitStatus::DatabaseFailed | ExitStatus::DatabaseRefused),
        ..empty_summary(&settings, id, next, args.dry_run)
    };
    // If the summary cannot be printed, a failed load keeps its own exit code.
    if let Err(error) = print(&summary, printed).and(metrics) {
        log::error!("{}", in_full(error.as_ref()));
        return Ok(if has_succeeded(&report) { ExitStatus::Failed } else { exit_status });
    }
    Ok(exit_status)
}
