//! From what was typed and set to what the parts need: every value is checked here, before anything is done.
//!
//! An option wins over a variable, a variable over the default. A variable that is empty counts as not set.

mod database;
mod environment;
#[cfg(test)]
mod tests;

pub use database::{DatabasePlace, DatabaseSettings};
pub use environment::{Environment, SettingError};

use crate::cli::{EventArgs, LoadArgs, SchemaArgs, VerifyArgs};
use crate::database::{Held, OnConflict};
use crate::input::{SegmentLimits, Source};
use crate::kill::{NulPolicy, Server};
use crate::layout::{Layout, Repeats};
use crate::pipeline::{PipelineSettings, RejectLimit};
use environment::{bytes, duration, number};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// What the events are.
#[derive(Debug, Clone, Copy)]
pub struct EventSettings {
    /// The game server.
    pub server: Server,
    /// The tables.
    pub layout: Layout,
    /// What becomes of a NUL.
    pub nul: NulPolicy,
}

impl EventSettings {
    fn new(args: &EventArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        let server = env.read(("--server", args.server.as_deref()), "ALBION_SERVER", Server::from_str)?;
        let nul = env.read(("--nul", args.nul.as_deref()), "KILLS_NUL", NulPolicy::from_str)?;
        Ok(Self {
            server: server.unwrap_or(Server::Americas),
            layout: layout(args.layout.as_deref(), env)?,
            nul: nul.unwrap_or_default(),
        })
    }
}

fn on_conflict(mode: &str) -> Result<OnConflict, String> {
    match mode {
        "skip" => Ok(OnConflict::Skip),
        "update" => Ok(OnConflict::Update),
        _ => Err("skip or update is needed".to_owned()),
    }
}

fn layout(option: Option<&str>, env: Environment<'_>) -> Result<Layout, SettingError> {
    Ok(env.read(("--layout", option), "KILLS_LAYOUT", Layout::from_str)?.unwrap_or(Layout::Archive))
}

/// What `load` needs.
#[derive(Debug)]
pub struct LoadSettings {
    /// The dumps.
    pub sources: Vec<Source>,
    /// The database; none in a dry run.
    pub database: Option<DatabaseSettings>,
    /// The events.
    pub event: EventSettings,
    /// The threads and limits.
    pub pipeline: PipelineSettings,
    /// What is done with events that are stored already.
    pub on_conflict: OnConflict,
    /// What is done with segments that were loaded before.
    pub held: Held,
    /// How long what was read may take to be stored after a signal.
    pub drain_timeout: Duration,
    /// Where rejects go, where it is set.
    pub rejects: Option<PathBuf>,
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
            workers: env.variable("KILLS_WORKER_CONCURRENCY", 3, |text| number(text, 1..=256))?,
            parse_threads: env.variable("KILLS_PARSE_THREADS", cores, |text| number(text, 1..=256))?,
            segment: segment_limits(env)?,
            layout: event.layout,
            server: event.server,
            nul: event.nul,
            repeats: match on_conflict {
                OnConflict::Skip => Repeats::FirstCounts,
                OnConflict::Update => Repeats::LastCounts,
            },
            reject_limit,
        };
        Ok(Self {
            sources: sources(&args.files),
            database: if args.dry_run { None } else { Some(DatabaseSettings::new(&args.database, env)?) },
            event,
            pipeline,
            on_conflict,
            // What is stored can differ from a segment that was loaded once.
            held: if args.force || on_conflict == OnConflict::Update { Held::LoadAgain } else { Held::Skip },
            drain_timeout: env.variable("KILLS_DRAIN_TIMEOUT", Duration::from_secs(25), duration)?,
            rejects: args.rejects.clone().or_else(|| env.get("KILLS_REJECTS_FILE").map(PathBuf::from)),
        })
    }
}

/// What `verify` needs.
#[derive(Debug)]
pub struct VerifySettings {
    /// The dumps.
    pub sources: Vec<Source>,
    /// The database.
    pub database: DatabaseSettings,
    /// The events.
    pub event: EventSettings,
    /// How the input is cut.
    pub segment: SegmentLimits,
}

impl VerifySettings {
    /// Reads options and variables.
    pub fn new(args: &VerifyArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            sources: sources(&args.files),
            database: DatabaseSettings::new(&args.database, env)?,
            event: EventSettings::new(&args.event, env)?,
            segment: segment_limits(env)?,
        })
    }
}

/// What `schema` needs of its options: the layout, and the schema's name.
pub fn schema(args: &SchemaArgs, env: Environment<'_>) -> Result<(Layout, String), SettingError> {
    let layout = layout(args.layout.as_deref(), env)?;
    Ok((layout, database::schema_without_database(&args.database, env)?))
}

fn sources(files: &[PathBuf]) -> Vec<Source> {
    if files.is_empty() {
        return vec![Source::Stdin];
    }
    let source =
        |file: &PathBuf| if file == Path::new("-") { Source::Stdin } else { Source::File(file.clone()) };
    files.iter().map(source).collect()
}

fn segment_limits(env: Environment<'_>) -> Result<SegmentLimits, SettingError> {
    Ok(SegmentLimits {
        segment_bytes: env
            .variable("KILLS_SEGMENT_BYTES", 8 << 20, |text| bytes(text, 4 << 10, 256 << 20))?,
        // Real events have 600 bytes and more, so that dumps are cut by their bytes alone.
        lines_max: 16 << 10,
        line_max_bytes: 16 << 20,
        flush_interval: env.variable("KILLS_FLUSH_INTERVAL", Duration::from_secs(1), duration)?,
    })
}
