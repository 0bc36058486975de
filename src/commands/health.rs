//! `health`: is the database there and fit to be written, and do the settings go with it?

use super::database::Place;
use super::write_output;
use crate::causes::in_full;
use crate::cli::HealthArgs;
use crate::database::{HealthProbe, application_name};
use crate::error::{CommandError, Ending};
use crate::report::HealthReport;
use crate::settings::{Environment, HealthSettings};
use std::io::{self, IsTerminal as _};
use std::time::Duration;
use uuid::Uuid;

/// Between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Runs the command. With `--watch` it goes on until a signal ends it, or nobody reads it.
pub fn run(args: &HealthArgs, env: Environment<'_>) -> Result<Ending, CommandError> {
    let settings = HealthSettings::new(args, env)?;
    let place = Place::open(&settings.database)?;
    let name = application_name(place.target.application_name(), Uuid::new_v4());
    let probe = HealthProbe::new(&place.target, &name, settings.database.pool.connection_timeout);
    let healthy = loop {
        let report = look(&probe, &settings);
        let is_read = show(&report, args)?;
        if !args.watch || !is_read {
            break report.status.is_healthy();
        }
        std::thread::sleep(WATCH_INTERVAL);
    };
    place.close()?;
    Ok(if healthy { Ending::Complete } else { Ending::Missing })
}

fn look(probe: &HealthProbe, settings: &HealthSettings) -> HealthReport {
    let status = probe.check();
    let inspection = status.server.as_ref().and_then(|_| {
        let found = probe.inspect(settings.layout, settings.database.schema());
        found.inspect_err(|error| log::warn!("{}", in_full(error))).ok()
    });
    HealthReport {
        connection_errors: u64::from(status.server.is_none()),
        status,
        inspection,
        pool: settings.database.pool,
        workers: settings.workers,
        pool_total: 0,
    }
}

/// Whether someone still reads what is shown.
fn show(report: &HealthReport, args: &HealthArgs) -> anyhow::Result<bool> {
    let text = if args.json { report.to_json().to_string() } else { report.to_string() };
    let clear = if args.watch && !args.json && io::stdout().is_terminal() { CLEAR } else { "" };
    write_output(&format!("{clear}{text}\n"))
}
