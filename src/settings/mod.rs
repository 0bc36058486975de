//! From what was typed and set to what the parts need: every value is checked here, before anything is done.
//!
//! An option wins over a variable, a variable over the default. A variable that is empty counts as not set.

pub(crate) mod database;
pub(crate) mod delete;
pub(crate) mod env_file;
pub(crate) mod environment;
#[cfg(test)]
mod tests;
pub(crate) mod variables;

use crate::cli::{EventArgs, HealthArgs, LoadArgs, SchemaArgs, VerifyArgs};
use crate::database::options::{LoadedSegments, OnConflict};
use crate::event::forms::envelope::EventsAt;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::input::convert::PipedCommand;
use crate::input::segment::{LINE_MAX_BYTES, SegmentLimits};
use crate::input::source::Source;
use crate::layout::Layout;
use crate::layout::rows::DuplicatePolicy;
use crate::layout::table::Distribution;
use crate::pipeline::account::counts::RejectLimit;
use crate::pipeline::prepare::preparer::{Battle, Reading};
use crate::pipeline::run::PipelineSettings;
use crate::settings::database::DatabaseSettings;
use crate::settings::environment::SettingError;
use environment::{Environment, bytes, duration, number};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Whose events they are, and the tables that they go into.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// The game server.
    pub server: Server,
    /// The tables.
    pub layout: Layout,
    /// What becomes of a NUL.
    pub nul: NulPolicy,
    /// What is known of events beside their text.
    pub reading: Reading,
}

/// Settings whose game server may be left to the events to name.
#[derive(Debug)]
pub struct Unnamed<S> {
    /// They hold any server as long as none is known.
    settings: S,
    is_known: bool,
}

/// Settings of a command that reads events.
pub trait ReadsEvents {
    /// Those of the events.
    fn event(&mut self) -> &mut EventSettings;
    /// Replaces the dumps.
    fn set_sources(&mut self, sources: Vec<Source>);
}

impl<S: ReadsEvents> Unnamed<S> {
    /// The settings with the sources that `find` makes of them.
    #[must_use]
    pub fn with_sources(mut self, find: impl FnOnce(&S) -> Vec<Source>) -> Self {
        let sources = find(&self.settings);
        self.settings.set_sources(sources);
        self
    }

    /// The settings, with the server that is set, or else with the one that `look` finds in the events, each of which must
    /// then name it.
    ///
    /// # Errors
    ///
    /// `look` fails, or finds none.
    pub fn named<E: From<SettingError>>(
        mut self,
        look: impl FnOnce(&S) -> Result<Option<Server>, E>,
    ) -> Result<S, E> {
        if !self.is_known {
            let server = look(&self.settings)?.ok_or(SettingError::ServerRequired)?;
            let event = self.settings.event();
            event.server = server;
            event.reading.must_name_server = true;
        }
        Ok(self.settings)
    }
}

impl EventSettings {
    /// The settings, and whether the server is set.
    fn new(args: &EventArgs, env: Environment<'_>) -> Result<(Self, bool), SettingError> {
        let server = env.read(("--server", args.server.as_deref()), "ALBION_SERVER", Server::from_str)?;
        let nul = env.read(("--nul", args.nul.as_deref()), "KILLS_NUL", NulPolicy::from_str)?;
        let events_at =
            env.read(("--events-at", args.events_at.as_deref()), "KILLS_EVENTS_AT", EventsAt::from_str)?;
        let battle = args.battle.as_deref().map(|value| {
            battle(value).map_err(|wanted| SettingError::Value {
                place: "--battle",
                value: value.to_owned(),
                wanted,
            })
        });
        let events = Self {
            server: server.unwrap_or(Server::Americas),
            layout: layout(args.layout.as_deref(), env)?,
            nul: nul.unwrap_or_default(),
            reading: Reading {
                events_at: events_at.map(Arc::new),
                battle: battle.transpose()?.unwrap_or_default(),
                must_name_server: false,
                tables: None,
            },
        };
        Ok((events, server.is_some()))
    }
}

fn battle(value: &str) -> Result<Battle, String> {
    match value.trim() {
        "from-name" => Ok(Battle::FromName),
        id => match id.parse() {
            Ok(id) if id > 0 => Ok(Battle::Id(id)),
            _ => Err("the id of a battle such as 1337, or from-name, is needed".to_owned()),
        },
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
    /// What is named as dumps: directories are not listed.
    pub named: Vec<Source>,
    /// The dumps.
    pub sources: Vec<Source>,
    /// The database; none in a dry run.
    pub database: Option<DatabaseSettings>,
    /// The events.
    pub event: EventSettings,
    /// The threads and limits, but for what is known of the events by now.
    pipeline: PipelineSettings,
    /// What is done with events that are stored already.
    pub on_conflict: OnConflict,
    /// What is done with segments that were loaded before.
    pub held: LoadedSegments,
    /// Whether files are read that are unchanged since they were loaded.
    pub rereads: bool,
    /// How long what was read may take to be stored after a signal.
    pub drain_timeout: Duration,
    /// Where rejects go, where it is set.
    pub rejects: Option<PathBuf>,
    /// Where metrics go at the end, where it is set.
    pub metrics_file: Option<PathBuf>,
    /// Where pages are served, where it is set.
    pub listen: Option<Listen>,
}

impl LoadSettings {
    /// Reads options and variables.
    pub fn new(args: &LoadArgs, env: Environment<'_>) -> Result<Unnamed<Self>, SettingError> {
        let (event, is_known) = EventSettings::new(&args.event, env)?;
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
        let settings = Self {
            named: sources.clone(),
            sources,
            database: if args.dry_run { None } else { Some(DatabaseSettings::new(&args.database, env)?) },
            event,
            pipeline,
            on_conflict,
            // What is stored can differ from a segment that was loaded once.
            rereads: args.reread,
            held: if args.force || on_conflict == OnConflict::Update {
                LoadedSegments::LoadAgain
            } else {
                LoadedSegments::Skip
            },
            drain_timeout: env.variable("KILLS_DRAIN_TIMEOUT", Duration::from_secs(25), duration)?,
            rejects: args.rejects.clone().or_else(|| env.get("KILLS_REJECTS_FILE").map(PathBuf::from)),
            metrics_file: metrics_file(args, env)?,
            listen: env.read(("--listen", args.listen.as_deref()), "KILLS_LISTEN", |text| {
                listen(text, args.listen.is_none())
            })?,
        };
        Ok(Unnamed { settings, is_known })
    }

    /// The files that the run writes, where they are set.
    pub fn written(&self) -> Vec<&Path> {
        [&self.rejects, &self.metrics_file].into_iter().filter_map(|path| path.as_deref()).collect()
    }

    /// The threads and limits of the run, whose errors suggest the command.
    pub fn pipeline(&self, piped: PipedCommand) -> PipelineSettings {
        let EventSettings { server, ref reading, .. } = self.event;
        PipelineSettings { server, reading: reading.clone(), piped, ..self.pipeline.clone() }
    }
}

impl ReadsEvents for LoadSettings {
    fn event(&mut self) -> &mut EventSettings {
        &mut self.event
    }

    fn set_sources(&mut self, sources: Vec<Source>) {
        self.sources = sources;
    }
}

fn metrics_file(args: &LoadArgs, env: Environment<'_>) -> Result<Option<PathBuf>, SettingError> {
    let (place, path) = match (&args.metrics_file, env.get("KILLS_METRICS_FILE")) {
        (Some(path), _) => ("--metrics-file", path.clone()),
        (None, Some(path)) => ("KILLS_METRICS_FILE", PathBuf::from(path)),
        (None, None) => return Ok(None),
    };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    if path.is_dir() || !directory.is_none_or(Path::is_dir) {
        let value = path.display().to_string();
        let wanted = "a file in a directory that is there is needed".to_owned();
        return Err(SettingError::Value { place, value, wanted });
    }
    Ok(Some(path))
}

/// Where pages are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// An IP address or a name.
    pub host: String,
    /// 0: one that the system chooses.
    pub port: u16,
    /// The host if it is a name: requests may come by it.
    pub name: Option<String>,
    /// Whether it comes from the environment or `.env`, not from the option.
    pub is_variable: bool,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A host and a port, or a port alone, which is then of this machine only.
fn listen(text: &str, is_variable: bool) -> Result<Listen, String> {
    let wanted =
        || "an address and port such as 127.0.0.1:8080 or [::1]:8080 is needed, or a port alone".to_owned();
    let listen = |host: &str, port, name| Listen { host: host.to_owned(), port, name, is_variable };
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(listen("127.0.0.1", port, None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(listen(&address.ip().to_string(), address.port(), None));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let port = port.parse::<u16>().map_err(|_| wanted())?;
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if !host.contains(|letter: char| letter.is_ascii_alphabetic()) || !host.chars().all(is_of_name) {
        return Err(wanted());
    }
    // One address, whatever else the name stands for.
    let address = if host == "localhost" { "127.0.0.1" } else { host };
    Ok(listen(address, port, Some(host.to_owned())))
}

/// What `verify` needs.
#[derive(Debug)]
pub(crate) struct VerifySettings {
    /// The dumps.
    pub sources: Vec<Source>,
    /// The database.
    pub database: DatabaseSettings,
    /// The events.
    pub event: EventSettings,
    /// How the input is cut.
    pub segment: SegmentLimits,
    /// Threads that parse and compare, each with one connection.
    pub workers: usize,
    /// Whether only ids are looked up, and no content is compared.
    pub ids_only: bool,
}

impl VerifySettings {
    /// Reads options and variables.
    pub(crate) fn new(args: &VerifyArgs, env: Environment<'_>) -> Result<Unnamed<Self>, SettingError> {
        let (event, is_known) = EventSettings::new(&args.event, env)?;
        let settings = Self {
            sources: sources(&args.files),
            database: DatabaseSettings::new(&args.database, env)?,
            event,
            segment: segment_limits(env)?,
            workers: workers(env)?,
            ids_only: args.ids_only,
        };
        Ok(Unnamed { settings, is_known })
    }
}

impl ReadsEvents for VerifySettings {
    fn event(&mut self) -> &mut EventSettings {
        &mut self.event
    }

    fn set_sources(&mut self, sources: Vec<Source>) {
        self.sources = sources;
    }
}

/// What `health` needs.
#[derive(Debug)]
pub(crate) struct HealthSettings {
    /// The database.
    pub database: DatabaseSettings,
    /// The tables whose indexes are looked at.
    pub layout: Layout,
    /// Writer threads of a load with these settings.
    pub workers: usize,
}

impl HealthSettings {
    /// Reads options and variables.
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

/// What `schema` needs, beside the database.
#[derive(Debug)]
pub(crate) struct SchemaSettings {
    /// The tables.
    pub layout: Layout,
    /// The PostgreSQL schema that they are in.
    pub schema: String,
    /// That of the ledger, where it is set.
    pub ledger_schema: Option<String>,
    /// Where their rows are to be.
    pub distribution: Distribution,
}

impl SchemaSettings {
    /// Checks what was typed.
    pub(crate) fn new(args: &SchemaArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        let distribution = match args.distributed.as_deref() {
            None => Distribution::OneServer,
            Some("citus") => Distribution::Citus,
            Some(other) => {
                let wanted = "citus is needed, the one that tables can be distributed by".to_owned();
                return Err(SettingError::Value { place: "--distributed", value: other.to_owned(), wanted });
            }
        };
        let layout = layout(args.layout.as_deref(), env)?;
        let schema = database::schema_without_database(&args.database, env)?;
        let ledger_schema = database::ledger_schema(&args.database, env)?;
        Ok(Self { layout, schema, ledger_schema, distribution })
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
        // Real events have 600 bytes and more, so that dumps are cut by their bytes alone.
        lines_max: 16 << 10,
        line_max_bytes: LINE_MAX_BYTES,
        flush_interval: env.variable("KILLS_FLUSH_INTERVAL", Duration::from_secs(1), duration)?,
    })
}
