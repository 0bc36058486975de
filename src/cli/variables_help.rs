//! The variables without an option, for the help of `load` and the manual pages.

use std::fmt::Write as _;

/// The commands that use the database.
const DATABASE: &[&str] = &["load", "verify", "delete", "health", "schema"];
const NAME_WIDTH: usize = 28;

/// A variable that no option sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VariableHelp {
    pub name: &'static str,
    pub meaning: &'static str,
    pub default: &'static str,
    /// The commands that read it.
    pub commands: &'static [&'static str],
}

/// The variables, in the order of the help.
pub(crate) const VARIABLES_WITHOUT_OPTION: [VariableHelp; 14] = [
    variable("DATABASE_POOL_MIN", "idle connections kept", "2", DATABASE),
    variable("DATABASE_POOL_MAX", "upper limit of connections", "10", DATABASE),
    variable("DATABASE_CONNECTION_TIMEOUT", "limit for obtaining a connection", "30s", DATABASE),
    variable("DATABASE_IDLE_TIMEOUT", "idle time before a connection is closed", "1min", DATABASE),
    variable("DATABASE_RETRY_ATTEMPTS", "attempts per batch for transient errors", "5", DATABASE),
    variable("DATABASE_RETRY_BASE", "first wait between attempts, then doubled", "500ms", DATABASE),
    variable("DATABASE_AWAY_TIMEOUT", "time to retry an unreachable database", "5min", DATABASE),
    variable("DATABASE_HEALTH_INTERVAL", "interval of health checks", "5min", DATABASE),
    variable(
        "DATABASE_STALL_TIMEOUT",
        "time without progress before a statement is cancelled",
        "1min",
        DATABASE,
    ),
    variable(
        "KILLS_WORKER_CONCURRENCY",
        "writer threads, one connection each",
        "3",
        &["load", "verify", "health"],
    ),
    variable("KILLS_PARSE_THREADS", "parser threads", "one per core", &["load"]),
    variable("KILLS_SEGMENT_BYTES", "input per transaction", "8MiB", &["load", "verify", "delete"]),
    variable(
        "KILLS_FLUSH_INTERVAL",
        "time before slow input is written",
        "1s",
        &["load", "verify", "delete"],
    ),
    variable(
        "KILLS_DRAIN_TIMEOUT",
        "after a stop request: time to store the events already read",
        "25s",
        &["load", "delete"],
    ),
];

const fn variable(
    name: &'static str,
    meaning: &'static str,
    default: &'static str,
    commands: &'static [&'static str],
) -> VariableHelp {
    VariableHelp { name, meaning, default, commands }
}

/// The format of times in variables.
pub(crate) const TIMES: &str = "A time without a unit is in milliseconds; 30s and 5min are accepted.";

pub(crate) fn variables_help() -> String {
    let mut text = "Variables without an option, and their defaults:\n".to_owned();
    for VariableHelp { name, meaning, default, .. } in VARIABLES_WITHOUT_OPTION {
        // Writing to a String can't fail.
        let _ = writeln!(text, "  {name:NAME_WIDTH$}  {meaning} ({default})");
    }
    text + TIMES
}
