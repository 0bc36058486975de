//! The output files of a load, and the address of its pages.

use crate::commands::common::sources;
use crate::commands::common::sources::FoundSources;
use crate::commands::load::pages;
use crate::database::pool::manager::DatabaseManager;
use crate::error::CommandError;
use crate::error_chain::{in_full, system_text};
use crate::file_system::output_place::OutputPlace;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::rejects::file::RejectFile;
use crate::report::metrics::{Metrics, check_place};
use crate::report::terminal::screen::Screen;
use crate::settings::LoadSettings;
use crate::settings::environment::SettingError;
use anyhow::Context as _;
use jiff::Timestamp;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

const METRICS_HINT: &str =
    "\nhint: choose a file in a writable directory with --metrics-file or KILLS_METRICS_FILE";

pub(crate) fn refuse_overwriting(settings: &LoadSettings) -> Result<(), SettingError> {
    let written = [("--rejects", &settings.rejects), ("--metrics-file", &settings.metrics_file)];
    let named = written.into_iter().filter_map(|(place, file)| Some((place, file.as_ref()?)));
    named.into_iter().try_for_each(|(place, file)| sources::check_apart(&settings.sources, place, file))?;
    match (&settings.rejects, &settings.metrics_file) {
        (Some(rejects), Some(metrics)) if are_one_file(rejects, metrics) => Err(SettingError::Value {
            place: "--metrics-file",
            value: metrics.display().to_string(),
            wanted: "it is the reject file, choose another file".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Whether two paths name one file, also if it does not exist yet. Two outputs can share a device or a pipe.
fn are_one_file(one: &Path, other: &Path) -> bool {
    let is_special = |path: &Path| path.metadata().is_ok_and(|found| !found.is_file());
    if is_special(one) || is_special(other) {
        return false;
    }
    matches!((OutputPlace::of(one), OutputPlace::of(other)), (Ok(one), Ok(other)) if one == other)
}

/// Checks the sources and the output files, and binds the address of the pages.
pub(crate) fn prepare(
    settings: &LoadSettings,
    found: &mut FoundSources,
    id: Uuid,
    screen: &Screen,
) -> Result<(RejectFile, Option<TcpListener>), CommandError> {
    let listener =
        settings.listen.as_ref().map(|listen| pages::listen(listen, screen)).transpose()?.flatten();
    found.check()?;
    let metrics_file = settings.metrics_file.as_ref().filter(|_| settings.database.is_some());
    if let Some((path, error)) = metrics_file.and_then(|path| Some((path, check_place(path).err()?))) {
        log::warn!(
            "cannot write the metrics file {}: {}; the load stores the events and ends with exit code 1{METRICS_HINT}",
            path.display(),
            system_text(&error)
        );
    }
    let rejects = match &settings.rejects {
        Some(path) => RejectFile::new(path.clone())?,
        None => RejectFile::by_default(default_rejects(id)),
    };
    Ok((rejects, listener))
}

/// The metrics of a run. `last_success` is the end of the last successful run.
pub(crate) fn new_metrics(
    settings: &LoadSettings,
    run: Uuid,
    monitor: Arc<Monitor>,
    manager: Option<DatabaseManager>,
    last_success: Option<i64>,
) -> anyhow::Result<Metrics> {
    let event = &settings.event;
    if settings.database.is_none() && settings.metrics_file.is_some() {
        log::warn!("metrics file not written: it describes real loads, and this is a dry run");
    }
    Metrics::new(run, event.server, event.layout, monitor, manager, last_success)
        .context("cannot create the metrics")
}

pub(crate) fn write_metrics(
    settings: &LoadSettings,
    metrics: &Metrics,
    succeeded: bool,
) -> anyhow::Result<()> {
    // A dry run has no database, and its metrics are not written.
    let Some(path) = settings.metrics_file.as_ref().filter(|_| settings.database.is_some()) else {
        return Ok(());
    };
    metrics
        .write(path, succeeded)
        .with_context(|| format!("cannot write the metrics file {}{METRICS_HINT}", path.display()))
}

/// Writes the metrics of a load that failed early, so that monitoring notices it.
pub(crate) fn write_failure_metrics(settings: &LoadSettings, id: Uuid) {
    if settings.metrics_file.is_none() || settings.database.is_none() {
        return;
    }
    let metrics = new_metrics(settings, id, Arc::default(), None, None);
    if let Err(error) = metrics.and_then(|metrics| write_metrics(settings, &metrics, false)) {
        log::warn!("{}", in_full(error.as_ref()));
    }
}

fn default_rejects(run: Uuid) -> PathBuf {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("rejects-{now}-{run}.ndjson"))
}
