//! Texts after the options in the help: examples, variables, exit codes.

use crate::exit::exit_codes_help;

/// After the program's short help.
pub(crate) const START: &str = "\
Start:
  aegis-kills load --server europe --embedded ~/kills dump.ndjson    a private database in a directory
  aegis-kills load --server europe dump.ndjson                       the database of DATABASE_URL

'aegis-kills COMMAND --help' shows all options of a command, 'aegis-kills man | man -l -' shows the manual.";

/// After the program's long help.
const START_AND_CODES: &str = "\
Start:
  aegis-kills load --server europe --embedded ~/kills dump.ndjson    a private database in a directory
  aegis-kills load --server europe dump.ndjson                       the database of DATABASE_URL

{CODES}

'aegis-kills COMMAND --help' shows all options of a command, 'aegis-kills man | man -l -' shows the manual.";

/// The end of the program's long help.
pub(crate) fn start_and_codes() -> String {
    START_AND_CODES.replace("{CODES}", &exit_codes_help())
}

/// After the help of `load`.
pub(crate) const LOAD: &str = "\
Examples:
  zcat kills-*.ndjson.gz | aegis-kills load --server europe
  aegis-kills load --server americas --json /var/dumps/*.ndjson.zst
  aegis-kills load --server europe --embedded ~/kills dump.ndjson";

/// After the long help of `load`.
pub(crate) const LOAD_LONG: &str = "\
Examples:
  zcat kills-*.ndjson.gz | aegis-kills load --server europe
  aegis-kills load --server americas --json /var/dumps/*.ndjson.zst
  aegis-kills load --server europe --embedded ~/kills dump.ndjson
  aegis-kills load --dry-run --server europe dump.ndjson
  aegis-kills load --server europe rejects-*.ndjson

Variables without an option, and their defaults:
  DATABASE_POOL_MIN, DATABASE_POOL_MAX    idle connections kept; upper limit (2, 10)
  DATABASE_CONNECTION_TIMEOUT             limit for obtaining a connection (30s)
  DATABASE_IDLE_TIMEOUT                   idle time before a connection is closed (1min)
  DATABASE_RETRY_ATTEMPTS                 attempts per batch for transient errors (5)
  DATABASE_RETRY_BASE                     first wait between attempts, then doubled (500)
  DATABASE_AWAY_TIMEOUT                   time to retry an unreachable database (5min)
  DATABASE_HEALTH_INTERVAL                interval of health checks (5min)
  DATABASE_STALL_TIMEOUT                  time without progress before a statement is cancelled (1min)
  KILLS_WORKER_CONCURRENCY                writer threads, one connection each (3)
  KILLS_PARSE_THREADS                     parser threads (one per core)
  KILLS_SEGMENT_BYTES                     input per transaction (8MiB)
  KILLS_FLUSH_INTERVAL                    time before slow input is written (1s)
  KILLS_DRAIN_TIMEOUT                     after a stop request: time to store the events already read (25s)
A time without a unit is in milliseconds; 30s and 5min are accepted.";

/// After the help of `verify`.
pub(crate) const VERIFY: &str = "\
Examples:
  aegis-kills verify --server europe kills-*.ndjson.gz
  aegis-kills verify --json --server europe dump.ndjson | jq .missing_ids";

/// After the help of `delete`.
pub(crate) const DELETE: &str = "\
Examples:
  aegis-kills delete --server europe --before 2025-01-01 --dry-run
  aegis-kills delete --server europe --before 90d
  aegis-kills delete --server americas wrong-server.ndjson.gz";

/// After the help of `health`.
pub(crate) const HEALTH: &str = "\
Examples:
  aegis-kills health
  aegis-kills health --json | jq .recommendations";

/// After the help of `schema`.
pub(crate) const SCHEMA: &str = "\
Examples:
  aegis-kills schema print --layout aegis | less
  aegis-kills schema apply --schema kills
  aegis-kills schema apply --distributed citus";

/// After the help of `embedded`.
pub(crate) const EMBEDDED: &str = "\
Examples:
  aegis-kills embedded start ~/kills
  psql \"$(aegis-kills embedded url ~/kills)\"
  aegis-kills embedded status ~/kills
  aegis-kills embedded stop ~/kills";

/// After the help of `embedded status`.
pub(crate) const STATUS: &str = "\
Exit codes:
  0  running
  6  stopped, or the server crashed
  2  no private PostgreSQL in this directory";

/// After the help of `generate`.
pub(crate) const GENERATE: &str = "\
Examples:
  aegis-kills generate --events 20000 > dump.ndjson
  aegis-kills generate --events 1000 --seed 7 | aegis-kills load --server europe --embedded ~/kills";

/// After the help of `completions`.
pub(crate) const COMPLETIONS: &str = "\
Examples:
  aegis-kills completions bash > ~/.local/share/bash-completion/completions/aegis-kills
  aegis-kills completions zsh > \"${fpath[1]}/_aegis-kills\"
  aegis-kills completions fish > ~/.config/fish/completions/aegis-kills.fish";

/// After the help of `man`.
pub(crate) const MAN: &str = "\
Examples:
  aegis-kills man | man -l -
  aegis-kills man | sudo tee /usr/local/share/man/man1/aegis-kills.1 > /dev/null";
