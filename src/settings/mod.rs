//! Checks all options and variables before anything is done, and converts them to the settings of each command.
//!
//! An option overrides a variable, and a variable overrides the default. An empty variable counts as unset.

pub(crate) mod database;
pub(crate) mod delete;
pub(crate) mod env_file;
pub(crate) mod environment;
pub(crate) mod event;
pub(crate) mod listen;
#[cfg(test)]
mod tests;
pub(crate) mod variables;

use crate::cli::{HealthArgs, LoadArgs, SchemaArgs, VerifyArgs};
use crate::conceal::is_connection_string;
use crate::database::options::{LoadedSegments, OnConflict};
use crate::input::convert::PipedCommand;
use crate::input::segment::{LINE_MAX_BYTES, SegmentLimits};
use crate::input::source::Source;
use crate::layout::Layout;
use crate::layout::rows::DuplicatePolicy;
use crate::layout::table::Distribution;
use crate::pipeline::account::counts::RejectLimit;
use crate::pipeline::run::PipelineSettings;
use crate::settings::database::DatabaseSettings;
use crate::settings::environment::{Environment, NO_VARIABLE, SettingError, bytes, duration, number};
use crate::settings::event::{EventSettings, layout, on_conflict};
use crate::settings::listen::Listen;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The settings of `load`.
#[derive(Debug)]
pub struct LoadSettings {
    /// The files and directories as given.
    pub named: Vec<Source>,
    /// The dumps, with directories expanded.
    pub sources: Vec<Source>,
    /// The database; none in a dry run.
    pub database: Option<DatabaseSettings>,
    /// The events.
    pub event: EventSettings,
    /// The threads and limits. The server in it can be outdated: see [`pipeline`](Self::pipeline).
    pipeline: PipelineSettings,
    /// The treatment of events already stored.
    pub on_conflict: OnConflict,
    /// The treatment of segments already loaded.
    pub held: LoadedSegments,
    /// Whether to read files that are unchanged since they were loaded.
    pub rereads: bool,
    /// The time to store the events read after a signal.
    pub drain_timeout: Duration,
    /// The reject file, if it is set.
    pub rejects: Option<PathBuf>,
    /// The metrics file, if it is set.
    pub metrics_file: Option<PathBuf>,
    /// The address of the pages, if it is set.
    pub listen: Option<Listen>,
}

impl LoadSettings {
    /// Reads options and variables.
    pub fn new(args: &LoadArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        let event = EventSettings::new(&args.event, env)?;
        let reject_limit = env.read(
            ("--max-rejects", args.max_rejects.as_deref()),
            "KILLS_MAX_REJECTS",
            RejectLimit::from_str,
        )?;
        let on_conflict = env
            .read(("--on-conflict", args.on_conflict.as_deref()), "KILLS_ON_CONFLICT", on_conflict)?
            .unwrap_or(OnConflict::Skip);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pipeline = PipelineSettings {
            workers: workers(env)?,
            parse_threads: env.variable("KILLS_PARSE_THREADS", cores, |text| number(text, 1..=256))?,
            segment: segment_limits(env)?,
            layout: event.layout,
            server: event.server,
            nul: event.nul,
            repeats: match on_conflict {
                OnConflict::Skip => DuplicatePolicy::KeepFirst,
                OnConflict::Update => DuplicatePolicy::KeepLast,
            },
            reading: event.reading.clone(),
            reject_limit,
            piped: PipedCommand::default(),
        };
        let sources = sources(&args.files);
        Ok(Self {
            named: sources.clone(),
            sources,
            database: if args.dry_run { None } else { Some(DatabaseSettings::new(&args.database, env)?) },
            event,
            pipeline,
            on_conflict,
            rereads: args.reread,
            // With `update`, loaded segments are compared again, because the stored events can differ.
            held: if args.force || on_conflict == OnConflict::Update {
                LoadedSegments::LoadAgain
            } else {
                LoadedSegments::Skip
            },
            drain_timeout: env.variable("KILLS_DRAIN_TIMEOUT", Duration::from_secs(25), duration)?,
            rejects: output_file(("--rejects", args.rejects.as_ref()), "KILLS_REJECTS_FILE", env)?
                .map(|(_, path)| path),
            metrics_file: metrics_file(args, env)?,
            listen: env.read(("--listen", args.listen.as_deref()), "KILLS_LISTEN", |text| {
                listen::listen(text, args.listen.is_none())
            })?,
        })
    }

    /// The threads and limits of the run. Input errors suggest the command `piped`.
    pub fn pipeline(&self, piped: PipedCommand) -> PipelineSettings {
        PipelineSettings { server: self.event.server, piped, ..self.pipeline.clone() }
    }
}

/// The file of an option, else of a variable, with the place of the setting.
fn output_file(
    option: (&'static str, Option<&PathBuf>),
    variable: &'static str,
    env: Environment<'_>,
) -> Result<Option<(&'static str, PathBuf)>, SettingError> {
    let (place, path) = match (option.1, env.get(variable)) {
        (Some(path), _) => (option.0, path.clone()),
        (None, Some(path)) => (variable, PathBuf::from(path)),
        (None, None) => return Ok(None),
    };
    check_path(place, &path, "a file")?;
    Ok(Some((place, path)))
}

/// Rejects a connection string in place of `expected`, because messages, the summary and the ledger repeat paths.
/// Rejects `~`, which a shell does not expand in `--dir=~/man` or .env.
pub(crate) fn check_path(place: &'static str, path: &Path, expected: &str) -> Result<(), SettingError> {
    let value = path.to_string_lossy().into_owned();
    let wanted = if is_connection_string(&value) {
        format!("expected {expected}, not a connection string; write ./ before the name of {expected}")
    } else if path.starts_with("~") {
        format!("expected {expected}; only a shell expands ~, so write the whole path, or ./ before it")
    } else {
        return Ok(());
    };
    Err(SettingError::Value { place, value, wanted })
}

fn metrics_file(args: &LoadArgs, env: Environment<'_>) -> Result<Option<PathBuf>, SettingError> {
    let option = ("--metrics-file", args.metrics_file.as_ref());
    let Some((place, path)) = output_file(option, "KILLS_METRICS_FILE", env)? else { return Ok(None) };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    if path.is_dir() || !directory.is_none_or(Path::is_dir) {
        let value = path.display().to_string();
        let wanted = "expected a file in an existing directory".to_owned();
        return Err(SettingError::Value { place, value, wanted });
    }
    Ok(Some(path))
}

#[derive(Debug)]
pub(crate) struct VerifySettings {
    pub sources: Vec<Source>,
    pub database: DatabaseSettings,
    pub event: EventSettings,
    pub segment: SegmentLimits,
    /// Threads that parse and compare, each with one connection.
    pub workers: usize,
    /// Whether to check only ids, not the content.
    pub ids_only: bool,
}

impl VerifySettings {
    pub(crate) fn new(args: &VerifyArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            event: EventSettings::new(&args.event, env)?,
            sources: sources(&args.files),
            database: DatabaseSettings::new(&args.database, env)?,
            segment: segment_limits(env)?,
            workers: workers(env)?,
            ids_only: args.ids_only,
        })
    }
}

#[derive(Debug)]
pub(crate) struct HealthSettings {
    pub database: DatabaseSettings,
    /// The tables whose indexes are checked.
    pub layout: Layout,
    /// Writer threads of a load with these settings.
    pub workers: usize,
}

impl HealthSettings {
    pub(crate) fn new(args: &HealthArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            database: DatabaseSettings::new(&args.database, env)?,
            layout: layout(args.layout.as_deref(), env)?,
            workers: workers(env)?,
        })
    }
}

fn workers(env: Environment<'_>) -> Result<usize, SettingError> {
    env.variable("KILLS_WORKER_CONCURRENCY", 3, |text| number(text, 1..=256))
}

/// The settings of `schema`, without the database.
#[derive(Debug)]
pub(crate) struct SchemaSettings {
    pub layout: Layout,
    pub schema: String,
    /// The PostgreSQL schema of the ledger, if it is set.
    pub ledger_schema: Option<String>,
    /// The requested distribution of the rows.
    pub distribution: Distribution,
}

impl SchemaSettings {
    pub(crate) fn new(args: &SchemaArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        let option = ("--distributed", args.distributed.as_deref());
        let distribution = env.read(option, NO_VARIABLE, |by| match by {
            "citus" => Ok(Distribution::Citus),
            _ => Err("expected citus, the only supported way to distribute tables".to_owned()),
        })?;
        let layout = layout(args.layout.as_deref(), env)?;
        let schema = database::schema_without_database(&args.database, env)?;
        let ledger_schema = database::ledger_schema(&args.database, env)?;
        Ok(Self { layout, schema, ledger_schema, distribution: distribution.unwrap_or_default() })
    }
}

fn sources(files: &[PathBuf]) -> Vec<Source> {
    if files.is_empty() {
        return vec![Source::Stdin];
    }
    files.iter().map(|file| Source::from(file.as_path())).collect()
}

fn segment_limits(env: Environment<'_>) -> Result<SegmentLimits, SettingError> {
    Ok(SegmentLimits {
        segment_bytes: env
            .variable("KILLS_SEGMENT_BYTES", 8 << 20, |text| bytes(text, 4 << 10, 256 << 20))?,
        // Events have at least 600 bytes, so that bytes limit the segments of real dumps.
        lines_max: 16 << 10,
        line_max_bytes: LINE_MAX_BYTES,
        flush_interval: env.variable("KILLS_FLUSH_INTERVAL", Duration::from_secs(1), duration)?,
    })
}
