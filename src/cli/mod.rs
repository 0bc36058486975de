//! What the user typed. No value is looked at here: `settings` does that, for options and variables alike.

#![expect(clippy::doc_markdown, reason = "clap shows these comments to people as they are")]

pub(crate) mod help_text;
pub(crate) mod mistakes;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::fmt;
use std::path::PathBuf;

/// Loads Albion Online kill dumps into PostgreSQL: fast, safe, and every event accounted for.
///
/// Each event ends as inserted, updated, duplicate, already loaded or rejected; the numbers add up, or the exit code says
/// that they do not. Whatever dies on the way, the same command again ends with the same tables as one clean run.
///
/// Settings come from options, from the environment and from a .env file in the working directory, in this order.
#[derive(Debug, Parser)]
#[command(name = "aegis-kills", version = crate::VERSION, max_term_width = 110)]
#[command(after_help = help_text::START, after_long_help = help_text::start_and_codes())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much is told on standard error.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// How much is told on standard error.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub struct Verbosity {
    /// Say less: only what needs a person.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice for all.
    ///
    /// Finer by RUST_LOG, such as RUST_LOG=info.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read dumps and write their events into PostgreSQL.
    ///
    /// A dump is JSON: events, or arrays of them, in any layout. The tables are made if they are missing. What was loaded
    /// before is passed over, so that the same command again only loads what is new.
    #[command(after_help = help_text::LOAD, after_long_help = help_text::LOAD_LONG)]
    Load(LoadArgs),
    /// Compare dumps with the database, and list missing and different events.
    ///
    /// The first 100 are named, with the first column that differs; with -v all of them. Exit code 0: no difference; 6: some.
    #[command(after_help = help_text::VERIFY)]
    Verify(VerifyArgs),
    /// Delete old events, or the events of dumps, with their child rows and ledger entries.
    ///
    /// It deletes in batches, beside running loads, and can be stopped and run again. What it deleted is no longer
    /// in the ledger, so that a later load stores it again. Exit code 0: all is deleted; 3: all but rejected values.
    #[command(after_help = help_text::DELETE)]
    Delete(DeleteArgs),
    /// Check the database and the pool's settings, and recommend what to change.
    ///
    /// Exit code 0: healthy; 6: not.
    #[command(after_help = help_text::HEALTH)]
    Health(HealthArgs),
    /// Print or apply the DDL of the tables.
    #[command(after_help = help_text::SCHEMA)]
    Schema {
        /// What to do with it.
        #[command(subcommand)]
        action: SchemaAction,
    },
    /// Start, stop or look at the private PostgreSQL of --embedded.
    ///
    /// It is kept in a directory, and listens on a Unix socket only. 'load --embedded' starts it for as long as it is used.
    #[command(after_help = help_text::EMBEDDED)]
    Embedded {
        /// What to do with it.
        #[command(subcommand)]
        action: EmbeddedAction,
    },
    /// Write a realistic synthetic dump to standard output.
    #[command(after_help = help_text::GENERATE)]
    Generate(GenerateArgs),
    /// Write a completion script for a shell to standard output.
    #[command(after_help = help_text::COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page to standard output.
    #[command(after_help = help_text::MAN)]
    Man,
}

impl Command {
    /// Whether it reads settings from the environment and from `.env`; the others never fail because of one.
    #[must_use]
    pub fn reads_settings(&self) -> bool {
        !matches!(self, Self::Generate(_) | Self::Completions { .. } | Self::Man)
    }
}

/// Where the database is.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// The database, as postgresql://user@host:5432/database [env: DATABASE_URL].
    ///
    /// Where that is not set either, PGHOST and the like say it, and ~/.pgpass. A password belongs there or into .env: in an
    /// option all users of this machine can see it.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// A private PostgreSQL kept in a directory, made and started as needed [env: KILLS_EMBEDDED].
    ///
    /// It needs the server programs of PostgreSQL on this machine. 'aegis-kills embedded start DIR' keeps it running.
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    pub embedded: Option<PathBuf>,
    /// The PostgreSQL schema of the tables [env: DATABASE_SCHEMA] [default: public].
    ///
    /// It is made if it is missing. A schema= in the URL counts where neither of the two is set.
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,
    /// The PostgreSQL schema of the ledger [env: KILLS_LEDGER_SCHEMA] [default: the tables' schema; aegis: aegis_kills].
    ///
    /// In layout aegis it is another schema than that of the tables, so that Prisma's migrations do not find the ledger. An
    /// existing ledger next to the tables stays in use.
    #[arg(long, value_name = "NAME")]
    pub ledger_schema: Option<String>,
}

/// The URL may hold a password.
impl fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseArgs")
            .field("database_url", &self.database_url.as_ref().map(|_| "…"))
            .field("embedded", &self.embedded)
            .field("schema", &self.schema)
            .field("ledger_schema", &self.ledger_schema)
            .finish()
    }
}

/// What the events are and how they are stored.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Events")]
pub(crate) struct EventArgs {
    /// The game server: americas, europe or asia [env: ALBION_SERVER].
    ///
    /// Required unless the events name it (server, region, source_region). Ids of different servers collide. Other names
    /// are us, west, live_us; eu, ams, live_ams; sgp, east, live_sgp.
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// The path to the events in each value, such as raw_json or data.events [env: KILLS_EVENTS_AT] [default: top level].
    ///
    /// Keys joined by dots; * stands for each key. Arrays on the way are read through, and strings as the JSON in them.
    #[arg(long, value_name = "PATH")]
    pub events_at: Option<String>,
    /// The battle of events that name none: its id, or from-name for the number in each file's name.
    ///
    /// AlbionBB's pages do not name their battle.
    #[arg(long, value_name = "ID")]
    pub battle: Option<String>,
    /// The tables: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    ///
    /// archive: kill_event, kill_player and kill_loot. aegis: the "KillEvent" of the TypeScript Albion Aegis.
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
    /// What becomes of \u0000 in a text: reject, strip or replace [env: KILLS_NUL] [default: reject].
    ///
    /// PostgreSQL's text can't hold it: the event is rejected, or the character left out, or U+FFFD put in its place.
    #[arg(long, value_name = "MODE")]
    pub nul: Option<String>,
}

/// `load`.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Debug, Clone, Default, Args)]
pub struct LoadArgs {
    /// Dumps, plain or compressed with gzip or zstd, and directories of them; none or '-' for standard input.
    ///
    /// A directory stands for its files and those in its subdirectories, in the order of their names, without hidden files
    /// and reject files.
    #[arg(value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// What becomes of stored events: skip leaves them, update rewrites [env: KILLS_ON_CONFLICT] [default: skip].
    ///
    /// Only those that differ are rewritten.
    #[arg(long, value_name = "MODE", help_heading = "Storing")]
    pub on_conflict: Option<String>,
    /// Load segments again that were loaded before.
    ///
    /// For when events were deleted: the ledger still holds that they were loaded.
    #[arg(long, help_heading = "Storing")]
    pub force: bool,
    /// Read files even if they are unchanged since they were loaded.
    ///
    /// Segments that were loaded before are skipped all the same, unless --force is given.
    #[arg(long, help_heading = "Storing")]
    pub reread: bool,
    /// Read, parse, count and reject; touch no database.
    #[arg(long, help_heading = "Storing")]
    pub dry_run: bool,
    /// Where refused lines go [env: KILLS_REJECTS_FILE] [default: rejects-UTC-RUN.ndjson].
    ///
    /// One JSON object a line, with its place, its reason and the line as it came. The file is made at the first.
    #[arg(long, value_name = "FILE", help_heading = "Rejects")]
    pub rejects: Option<PathBuf>,
    /// Stop once more events than this were refused: N or P% [env: KILLS_MAX_REJECTS] [default: no limit].
    #[arg(long, value_name = "N|P%", help_heading = "Rejects")]
    pub max_rejects: Option<String>,
    /// Print the summary as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Write metrics into a file at the end [env: KILLS_METRICS_FILE].
    ///
    /// For Prometheus's textfile collector; the file is written whole or not at all.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub metrics_file: Option<PathBuf>,
    /// Serve a status page, /health and /metrics over HTTP while it runs [env: KILLS_LISTEN].
    ///
    /// A port alone is of 127.0.0.1. Nobody has to log in.
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Output")]
    pub listen: Option<String>,
}

/// `verify`.
#[derive(Debug, Clone, Default, Args)]
pub struct VerifyArgs {
    /// Dumps, plain or compressed with gzip or zstd, and directories of them; none or '-' for standard input.
    ///
    /// A directory stands for its files and those in its subdirectories, in the order of their names, without hidden files
    /// and reject files.
    #[arg(value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// Check only that each event is stored, not its content.
    #[arg(long, help_heading = "Events")]
    pub ids_only: bool,
    /// Print the result as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `delete`.
#[derive(Debug, Clone, Default, Args)]
pub struct DeleteArgs {
    /// Dumps whose events are deleted, plain or compressed with gzip or zstd; '-' for standard input.
    #[arg(value_name = "FILE", required_unless_present = "before", conflicts_with = "before")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// Delete the events of --server before this time: a date or time in UTC, or an age such as 90d.
    ///
    /// 2025-01-01, 2025-01-01T12:00:00Z, 90d, 6mo, 1y.
    #[arg(long, value_name = "TIME", help_heading = "Deleting")]
    pub before: Option<String>,
    /// Count what would be deleted; delete nothing.
    #[arg(long, help_heading = "Deleting")]
    pub dry_run: bool,
    /// Print the result as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `health`.
#[derive(Debug, Clone, Default, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// The tables whose indexes are looked at: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    #[arg(long, value_name = "NAME", help_heading = "Database")]
    pub layout: Option<String>,
    /// Print the result as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Check again every 2 s, until Ctrl-C.
    #[arg(long, help_heading = "Output")]
    pub watch: bool,
}

/// What to do with the DDL.
#[derive(Debug, Subcommand)]
pub enum SchemaAction {
    /// Write it to standard output.
    Print(SchemaArgs),
    /// Run it in the database.
    Apply(SchemaArgs),
}

/// `schema`.
#[derive(Debug, Clone, Default, Args)]
pub struct SchemaArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// The tables: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    #[arg(long, value_name = "NAME", help_heading = "Database")]
    pub layout: Option<String>,
    /// Distribute the tables over the nodes of a database: citus.
    ///
    /// By the event's id, with the ledger on all nodes. Tables that are there are distributed with all that is in them. Loads
    /// and the other commands notice it by themselves.
    #[arg(long, value_name = "BY", help_heading = "Database")]
    pub distributed: Option<String>,
}

/// What to do with a private PostgreSQL.
#[derive(Debug, Subcommand)]
pub enum EmbeddedAction {
    /// Start it, and keep it running until it is stopped; prints its URL.
    Start(EmbeddedArgs),
    /// Stop it.
    Stop(EmbeddedArgs),
    /// Say whether it runs, since when, where, and how large it is.
    #[command(after_help = help_text::STATUS)]
    Status(EmbeddedArgs),
    /// Print its URL, for psql and others.
    Url(EmbeddedArgs),
}

/// `embedded`.
#[derive(Debug, Args)]
pub struct EmbeddedArgs {
    /// The directory that it is kept in.
    pub dir: PathBuf,
}

/// `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// How many events.
    #[arg(long, value_name = "N")]
    pub events: u64,
    /// The same seed gives the same dump.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The share of lines that repeat an earlier event, in per cent: 0 to 50.
    ///
    /// Overlapping pages of the API do.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub overlap: f64,
}
