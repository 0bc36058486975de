//! `health`: checks whether the database is reachable and writable, and whether the pool settings suit it.

use crate::cli::HealthArgs;
use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::open_database::DatabaseLocation;
use crate::commands::common::output::{write_output, write_text};
use crate::commands::common::signals::{Ends, ends};
use crate::database::health::HealthProbe;
use crate::database::ledger::runs::application_name;
use crate::error::CommandError;
use crate::exit::ExitStatus;
use crate::panics::NO_THREAD;
use crate::report::health::HealthReport;
use crate::report::terminal::watch::{TerminalSize, Watch};
use crate::settings::HealthSettings;
use crate::settings::environment::Environment;
use crate::sync::channel::{Receiver, bounded, select_biased};
use anyhow::Context as _;
use std::io::{self, IsTerminal as _};
use std::thread;
use std::time::Duration;
use uuid::Uuid;

const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Runs the command. With `--watch` it ends on a signal or when its output is closed. With `quiet` a healthy database has no
/// report.
pub(crate) fn run(args: &HealthArgs, env: Environment<'_>, quiet: bool) -> Result<ExitStatus, CommandError> {
    let settings = HealthSettings::new(args, env)?;
    let place = DatabaseLocation::open(&settings.database)?;
    let name = application_name(place.target.application_name(), Uuid::new_v4());
    let probe = HealthProbe::new(&place.target, &name, settings.database.pool.connection_timeout);
    let hints = SchemaHints::new(&args.database, args.layout.as_deref(), env);
    let exit_status = if args.watch {
        watch(args, probe, settings, hints)?
    } else {
        let report = check(&probe, &settings, &hints);
        if args.json {
            write_output(&format!("{}\n", report.to_json()))?;
        } else if !quiet || !report.status.is_healthy() {
            write_text(&format!("{report}\n"))?;
        }
        exit_status(report.status.is_healthy())
    };
    place.close()?;
    Ok(exit_status)
}

fn exit_status(is_healthy: bool) -> ExitStatus {
    if is_healthy { ExitStatus::Complete } else { ExitStatus::Missing }
}

fn watch(
    args: &HealthArgs,
    probe: HealthProbe,
    settings: HealthSettings,
    hints: SchemaHints,
) -> anyhow::Result<ExitStatus> {
    let Ends { signals, .. } = &ends()?;
    let reports = start_watching(probe, settings, hints)?;
    let mut watch = Watch::default();
    loop {
        let report = select_biased! {
            recv(signals) -> signal => {
                if !args.json && terminal().is_some() {
                    // The terminal may have printed `^C` in the line of the next shell prompt.
                    write_output("\n")?;
                }
                return Ok(signal.map_or(ExitStatus::Failed, ExitStatus::Interrupted));
            },
            recv(reports) -> report => report.context("a health check panicked")?,
        };
        let healthy = report.status.is_healthy();
        let text = if args.json { watch.json(report) } else { watch.text(report, terminal()) };
        if !write_output(&text)? {
            return Ok(exit_status(healthy));
        }
    }
}

/// The current size of the terminal, if standard output is one that supports redrawing.
fn terminal() -> Option<TerminalSize> {
    let (out, is_dumb) = (io::stdout(), std::env::var_os("TERM").is_some_and(|name| name == "dumb"));
    if is_dumb || !out.is_terminal() {
        return None;
    }
    // If the terminal does not report its size, assume the traditional one.
    let size = terminal_size::terminal_size_of(out);
    let (columns, rows) = size.map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()));
    Some(TerminalSize { rows, columns })
}

/// Runs the checks on a separate thread, because a check can take long and Ctrl-C must end the watch immediately.
fn start_watching(
    probe: HealthProbe,
    settings: HealthSettings,
    hints: SchemaHints,
) -> anyhow::Result<Receiver<HealthReport>> {
    let (sender, reports) = bounded(0);
    let checks = move || {
        while sender.send(check(&probe, &settings, &hints)).is_ok() {
            thread::sleep(WATCH_INTERVAL);
        }
    };
    let thread = thread::Builder::new().name("watch".to_owned()).spawn(checks);
    thread.context(NO_THREAD)?;
    Ok(reports)
}

fn check(probe: &HealthProbe, settings: &HealthSettings, hints: &SchemaHints) -> HealthReport {
    let ledger = settings.database.ledger_schema.as_deref();
    let (mut status, mut inspection) = probe.examine(settings.layout, settings.database.schema(), ledger);
    status.error = status.error.map(|error| hints.fill(&error));
    if let Some(inspection) = &mut inspection {
        inspection.index_faults.iter_mut().for_each(|fault| *fault = hints.fill(fault));
    }
    HealthReport {
        connection_errors: u64::from(status.server.is_none()),
        status,
        inspection,
        pool: settings.database.pool,
        workers: settings.workers,
        pool_total: 0,
        schema_apply: hints.fill("aegis-kills schema apply"),
    }
}
