//! The command line. Values are not checked here: `settings` checks those of options and of variables.

#![expect(clippy::doc_markdown, reason = "clap prints these comments unchanged")]

pub(crate) mod help_text;
pub(crate) mod mistakes;
pub(crate) mod value_examples;
pub(crate) mod variables_help;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::fmt;
use std::path::PathBuf;

/// Loads Albion Online kill dumps into PostgreSQL and accounts for every event.
///
/// Each event ends as inserted, updated, duplicate, already loaded, rejected or unfinished. The counts add up to the number
/// of events read. After any failure, running the same command again produces the same tables as one clean run.
///
/// Settings come from options, then the environment, then a .env file in the working directory.
#[derive(Debug, Parser)]
#[command(name = "aegis-kills", version = crate::VERSION, max_term_width = 110)]
#[command(after_help = help_text::START, after_long_help = help_text::start_and_codes())]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
    /// The amount of output on standard error.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// The amount of output on standard error.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub struct Verbosity {
    /// Print only problems.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more; -vv prints debug messages.
    ///
    /// RUST_LOG selects levels and modules, for example RUST_LOG=info.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load dumps into PostgreSQL.
    ///
    /// A dump is JSON: events, or arrays of them, in any layout. Missing tables are created. Events that were loaded before
    /// are skipped, so that the same command can be repeated and loads only new events.
    #[command(after_help = help_text::LOAD, after_long_help = help_text::load_long())]
    Load(LoadArgs),
    /// Compare dumps with the database; list missing and different events.
    ///
    /// Lists the first 100 events, or all with -v, each with the first differing column. Exit code 0: no difference; 6:
    /// differences.
    #[command(after_help = help_text::VERIFY)]
    Verify(VerifyArgs),
    /// Delete old events, or the events of dumps, including child rows and ledger entries.
    ///
    /// Deletes in batches, also during running loads; after a stop, run it again. Deleted events are removed from the
    /// ledger, so that a later load stores them again. Exit code 0: all events are deleted; 3: all except rejected values.
    #[command(after_help = help_text::DELETE)]
    Delete(DeleteArgs),
    /// Check the database and the pool settings; print recommendations.
    ///
    /// Exit code 0: healthy; 6: unhealthy.
    #[command(after_help = help_text::HEALTH)]
    Health(HealthArgs),
    /// Print or apply the DDL of the tables.
    #[command(after_help = help_text::SCHEMA)]
    Schema {
        /// The action on the DDL.
        #[command(subcommand)]
        action: SchemaAction,
    },
    /// Start, stop or inspect the private PostgreSQL of --embedded.
    ///
    /// Its data is in a directory, and it listens only on a Unix socket. 'load --embedded' starts it while loads use it.
    #[command(after_help = help_text::EMBEDDED)]
    Embedded {
        /// The action on the private PostgreSQL.
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
    /// Write the manual pages: the overview, the page of a command, or all as files.
    #[command(after_help = help_text::MAN)]
    Man(ManArgs),
}

impl Command {
    /// Whether the command reads settings from the environment and `.env`. The others never fail because of a setting.
    #[must_use]
    pub fn reads_settings(&self) -> bool {
        !matches!(self, Self::Generate(_) | Self::Completions { .. } | Self::Man(_))
    }
}

/// The options of the database.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// The database, as postgresql://user@host:5432/database [env: DATABASE_URL].
    ///
    /// Without either, the PG* variables and ~/.pgpass apply. Put the password in ~/.pgpass or .env: all users of this
    /// machine can see an option.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// The directory of a private PostgreSQL, which is created and started if needed [env: KILLS_EMBEDDED].
    ///
    /// Requires the server programs of PostgreSQL on this machine. 'aegis-kills embedded start DIR' keeps it running.
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    pub embedded: Option<PathBuf>,
    /// The PostgreSQL schema of the tables [env: DATABASE_SCHEMA] [default: public].
    ///
    /// If neither is set, schema= in the URL applies. 'load' and 'schema apply' create a missing schema.
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,
    /// The PostgreSQL schema of the ledger [env: KILLS_LEDGER_SCHEMA] [default: the tables' schema; aegis: aegis_kills].
    ///
    /// In layout aegis the ledger has a separate schema, so that Prisma migrations do not find it. An existing ledger next
    /// to the tables stays in use.
    #[arg(long, value_name = "NAME")]
    pub ledger_schema: Option<String>,
}

/// Hides the URL, because it can contain a password.
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

/// The options of events and tables.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Events")]
pub(crate) struct EventArgs {
    /// The game server: americas, europe or asia [env: ALBION_SERVER].
    ///
    /// Required unless the events name it (server, region, source_region). Ids of different servers collide. Also accepted:
    /// us, west, live_us; eu, ams, live_ams; sgp, east, live_sgp.
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// The path to the events in each value, such as raw_json or data.events [env: KILLS_EVENTS_AT] [default: top level].
    ///
    /// Keys joined by dots; * matches every key. Arrays on the path are searched, and strings are parsed as JSON.
    #[arg(long, value_name = "PATH")]
    pub events_at: Option<String>,
    /// The battle id of events that name none, or from-name for the digits in each file name.
    ///
    /// AlbionBB pages do not name their battle.
    #[arg(long, value_name = "ID")]
    pub battle: Option<String>,
    /// The tables: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    ///
    /// archive: kill_event, kill_player and kill_loot. aegis: the "KillEvent" of the TypeScript Albion Aegis.
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
    /// The treatment of \u0000 in strings: reject, strip or replace [env: KILLS_NUL] [default: reject].
    ///
    /// PostgreSQL cannot store this character. reject: reject the event; strip: remove the character; replace: store U+FFFD.
    #[arg(long, value_name = "MODE")]
    pub nul: Option<String>,
}

/// `load`.
#[expect(clippy::struct_excessive_bools, reason = "each is a separate option")]
#[derive(Debug, Clone, Default, Args)]
pub struct LoadArgs {
    /// Dumps (plain, gzip or zstd), and directories of dumps; none or '-' reads standard input.
    ///
    /// A directory stands for its files and those in its subdirectories, in name order, without hidden files and reject
    /// files.
    #[arg(value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// The treatment of events already stored: skip or update [env: KILLS_ON_CONFLICT] [default: skip].
    ///
    /// skip: keep the stored event; update: replace it if it differs.
    #[arg(long, value_name = "MODE", help_heading = "Storing")]
    pub on_conflict: Option<String>,
    /// Ignore the ledger and load all segments again.
    ///
    /// Use it after events were deleted by hand: the ledger still lists them as loaded.
    #[arg(long, help_heading = "Storing")]
    pub force: bool,
    /// Read files even if they are unchanged since they were loaded.
    ///
    /// Segments that were loaded before are still skipped, unless --force is given.
    #[arg(long, help_heading = "Storing")]
    pub reread: bool,
    /// Parse, count and reject, without a database.
    #[arg(long, help_heading = "Storing")]
    pub dry_run: bool,
    /// The reject file [env: KILLS_REJECTS_FILE] [default: rejects-UTC-RUN.ndjson].
    ///
    /// One JSON object per line, with place, reason and the original value. The file is created at the first reject.
    #[arg(long, value_name = "FILE", help_heading = "Rejects")]
    pub rejects: Option<PathBuf>,
    /// Stop after more rejects than this, N or P% [env: KILLS_MAX_REJECTS] [default: no limit].
    #[arg(long, value_name = "N|P%", help_heading = "Rejects")]
    pub max_rejects: Option<String>,
    /// Print the summary as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Write metrics to a file at the end [env: KILLS_METRICS_FILE].
    ///
    /// For the textfile collector of Prometheus. The file is replaced atomically.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub metrics_file: Option<PathBuf>,
    /// Serve a status page, /health and /metrics over HTTP during the load [env: KILLS_LISTEN].
    ///
    /// A bare port binds to 127.0.0.1. There is no login.
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Output")]
    pub listen: Option<String>,
}

/// `verify`.
#[derive(Debug, Clone, Default, Args)]
pub struct VerifyArgs {
    /// Dumps (plain, gzip or zstd), and directories of dumps; none or '-' reads standard input.
    ///
    /// A directory stands for its files and those in its subdirectories, in name order, without hidden files and reject
    /// files.
    #[arg(value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// Check only ids, not the content.
    #[arg(long, help_heading = "Events")]
    pub ids_only: bool,
    /// Print the result as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `delete`.
#[derive(Debug, Clone, Default, Args)]
pub struct DeleteArgs {
    /// Dumps whose events to delete (plain, gzip or zstd), and directories of dumps; '-' reads standard input.
    ///
    /// A directory stands for its files and those in its subdirectories, in name order, without hidden files and reject
    /// files.
    #[arg(value_name = "FILE|DIR", required_unless_present = "before", conflicts_with = "before")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// Delete the events of --server before this time: a date or time in UTC, or an age such as 90d.
    ///
    /// Examples: 2025-01-01, 2025-01-01T12:00:00Z, 90d, 6mo, 1y.
    #[arg(long, value_name = "TIME", help_heading = "Deleting")]
    pub before: Option<String>,
    /// Count the events to delete; delete nothing.
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
    /// The tables whose indexes to check: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    #[arg(long, value_name = "NAME", help_heading = "Database")]
    pub layout: Option<String>,
    /// Print the result as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Repeat the check every 2 s until Ctrl-C.
    #[arg(long, help_heading = "Output")]
    pub watch: bool,
}

/// The actions on the DDL.
#[derive(Debug, Subcommand)]
pub enum SchemaAction {
    /// Print the DDL.
    Print(SchemaArgs),
    /// Run the DDL in the database.
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
    /// Distributes by event id, with the ledger on all nodes. Existing tables are distributed with their rows. Loads and the
    /// other commands detect distributed tables.
    #[arg(long, value_name = "BY", help_heading = "Database")]
    pub distributed: Option<String>,
}

/// The actions on a private PostgreSQL.
#[derive(Debug, Subcommand)]
pub enum EmbeddedAction {
    /// Start the server until 'embedded stop'; print its URL.
    Start(EmbeddedArgs),
    /// Stop the server.
    Stop(EmbeddedArgs),
    /// Print whether the server runs, since when, its directory and its size.
    #[command(after_help = help_text::STATUS)]
    Status(EmbeddedArgs),
    /// Print the URL of the server, for psql and other programs.
    Url(EmbeddedArgs),
}

/// `embedded`.
#[derive(Debug, Args)]
pub struct EmbeddedArgs {
    /// The directory of the private PostgreSQL.
    pub dir: PathBuf,
}

/// `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The number of events.
    #[arg(long, value_name = "N")]
    pub events: u64,
    /// The seed; the same seed generates the same dump.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The share of lines that repeat an earlier event, in percent: 0 to 50.
    ///
    /// Overlapping API pages contain such repeats.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub overlap: f64,
}

/// `man`.
#[derive(Debug, Default, Args)]
pub struct ManArgs {
    /// The command whose page to write to standard output; none writes the overview.
    #[arg(value_parser = help_text::COMMANDS)]
    pub command: Option<String>,
    /// Write all pages as files into this directory, which is created if missing.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}
