//! What the user typed. No value is looked at here: `settings` does that, for options and variables alike.

#![expect(clippy::doc_markdown, reason = "clap shows these comments to people as they are")]

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::fmt;
use std::path::PathBuf;

/// Loads Albion Online kill dumps into PostgreSQL: fast, safe, and every event accounted for.
///
/// Settings come from options, from the environment and from a .env file in the working directory, in this order.
#[derive(Debug, Parser)]
#[command(name = "aegis-kills", version, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much is told on standard error.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every event is in the database
  1  the input, the reject file or the program itself failed
  2  a wrong option, variable or value; nothing was done
  3  all is loaded but the rejects
  4  the database could not be reached or refused; some events are not loaded
  5  more rejects than allowed; stopped
  6  verify found events missing; health found the database unhealthy
  130, 143  interrupted; what was read is committed";

/// How much is told on standard error.
#[derive(Debug, Clone, Copy, Args)]
pub struct Verbosity {
    /// Say less: only what needs a person.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice for all.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read dumps and write their events into PostgreSQL.
    #[command(after_help = "\
Examples:
  zcat kills-*.ndjson.gz | aegis-kills load --server europe
  aegis-kills load --server americas --json /var/dumps/*.ndjson.zst
  aegis-kills load --embedded ~/kills-db dump.ndjson")]
    Load(LoadArgs),
    /// Check that every event of dumps is in the database, and name those that are not.
    Verify(VerifyArgs),
    /// Check the database and the pool's settings, and recommend what to change.
    Health(HealthArgs),
    /// Print or apply the DDL of the tables.
    Schema {
        /// What to do with it.
        #[command(subcommand)]
        action: SchemaAction,
    },
    /// Start, stop or look at the private PostgreSQL of --embedded.
    Embedded {
        /// What to do with it.
        #[command(subcommand)]
        action: EmbeddedAction,
    },
    /// Write a realistic synthetic dump to standard output.
    Generate(GenerateArgs),
    /// Write a completion script for a shell to standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page to standard output.
    Man,
}

/// Where the database is.
#[derive(Default, Args)]
pub struct DatabaseArgs {
    /// The database, as postgresql://user@host:5432/database; all users of this machine could see a password in it
    /// [env: DATABASE_URL, else PGHOST and the like].
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// A private PostgreSQL kept in a folder, made and started as needed [env: KILLS_EMBEDDED].
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    pub embedded: Option<PathBuf>,
    /// The PostgreSQL schema of all tables [env: DATABASE_SCHEMA] [default: public].
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,
}

/// The URL may hold a password.
impl fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseArgs")
            .field("database_url", &self.database_url.as_ref().map(|_| "…"))
            .field("embedded", &self.embedded)
            .field("schema", &self.schema)
            .finish()
    }
}

/// What the events are and how they are stored.
#[derive(Debug, Default, Args)]
pub struct EventArgs {
    /// The game server: americas, europe or asia [env: ALBION_SERVER] [default: americas].
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// The tables: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
    /// What becomes of \u0000 in a text: reject, strip or replace [env: KILLS_NUL] [default: reject].
    #[arg(long, value_name = "MODE")]
    pub nul: Option<String>,
}

/// `load`.
#[derive(Debug, Default, Args)]
pub struct LoadArgs {
    /// Dumps, plain or packed with gzip or zstd; none or '-' for standard input.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// For an event that is stored already: skip leaves it, update rewrites it if it differs [env: KILLS_ON_CONFLICT]
    /// [default: skip].
    #[arg(long, value_name = "MODE")]
    pub on_conflict: Option<String>,
    /// Load segments again that were loaded before.
    #[arg(long)]
    pub force: bool,
    /// Where refused lines go [env: KILLS_REJECTS_FILE] [default: rejects-UTC-RUN.ndjson, made when needed].
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Stop once more events than this were refused: N or P% [env: KILLS_MAX_REJECTS] [default: no limit].
    #[arg(long, value_name = "N|P%")]
    pub max_rejects: Option<String>,
    /// Write metrics into a file at the end, as Prometheus's textfile collector reads them [env: KILLS_METRICS_FILE].
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Serve a status page, /health and /metrics over HTTP while it runs; a port alone is of 127.0.0.1 [env: KILLS_LISTEN].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Read, parse, count and reject; touch no database.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `verify`.
#[derive(Debug, Default, Args)]
pub struct VerifyArgs {
    /// Dumps, plain or packed with gzip or zstd; none or '-' for standard input.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `health`.
#[derive(Debug, Default, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// The tables whose indexes are looked at: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Check again every 2 s, until Ctrl-C.
    #[arg(long)]
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
#[derive(Debug, Default, Args)]
pub struct SchemaArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// The tables: archive or aegis [env: KILLS_LAYOUT] [default: archive].
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
}

/// What to do with a private PostgreSQL.
#[derive(Debug, Subcommand)]
pub enum EmbeddedAction {
    /// Start it, and keep it running until it is stopped.
    Start(EmbeddedArgs),
    /// Stop it.
    Stop(EmbeddedArgs),
    /// Say whether it runs (exit code 0) or not (6).
    Status(EmbeddedArgs),
    /// Print its URL, for psql and others.
    Url(EmbeddedArgs),
}

/// `embedded`.
#[derive(Debug, Args)]
pub struct EmbeddedArgs {
    /// The folder that it is kept in.
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
    /// The share of lines that repeat an earlier event, in per cent, as overlapping pages of the API do: 0 to 50.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub overlap: f64,
}
