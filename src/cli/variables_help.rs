//! The variables without an option, for the help of `load` and the manual pages.

use std::fmt::Write as _;

/// The commands that use the database.
const DATABASE: &[&str] = &["load", "verify", "delete", "health", "schema"];
/// The width of the names in the help.
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
    VariableHelp {
        name: "DATABASE_POOL_MIN",
        meaning: "idle connections kept",
        default: "2",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_POOL_MAX",
        meaning: "upper limit of connections",
        default: "10",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_CONNECTION_TIMEOUT",
        meaning: "limit for obtaining a connection",
        default: "30s",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_IDLE_TIMEOUT",
        meaning: "idle time before a connection is closed",
        default: "1min",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_RETRY_ATTEMPTS",
        meaning: "attempts per batch for transient errors",
        default: "5",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_RETRY_BASE",
        meaning: "first wait between attempts, then doubled",
        default: "500ms",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_AWAY_TIMEOUT",
        meaning: "time to retry an unreachable database",
        default: "5min",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_HEALTH_INTERVAL",
        meaning: "interval of health checks",
        default: "5min",
        commands: DATABASE,
    },
    VariableHelp {
        name: "DATABASE_STALL_TIMEOUT",
        meaning: "time without progress before a statement is cancelled",
        default: "1min",
        commands: DATABASE,
    },
    VariableHelp {
        name: "KILLS_WORKER_CONCURRENCY",
        meaning: "writer threads, one connection each",
        default: "3",
        commands: &["load", "verify", "health"],
    },
    VariableHelp {
        name: "KILLS_PARSE_THREADS",
        meaning: "parser threads",
        default: "one per core",
        commands: &["load"],
    },
    VariableHelp {
        name: "KILLS_SEGMENT_BYTES",
        meaning: "input per transaction",
        default: "8MiB",
        commands: &["load", "verify", "delete"],
    },
    VariableHelp {
        name: "KILLS_FLUSH_INTERVAL",
        meaning: "time before slow input is written",
        default: "1s",
        commands: &["load", "verify", "delete"],
    },
    VariableHelp {
        name: "KILLS_DRAIN_TIMEOUT",
        meaning: "after a stop request: time to store the events already read",
        default: "25s",
        commands: &["load", "delete"],
    },
];

/// The format of times in variables.
pub(crate) const TIMES: &str = "A time without a unit is in milliseconds; 30s and 5min are accepted.";

/// The variables as text for the help.
pub(crate) fn variables_help() -> String {
    let mut text = "Variables without an option, and their defaults:\n".to_owned();
    for VariableHelp { name, meaning, default, .. } in VARIABLES_WITHOUT_OPTION {
        // Writing to a String can't fail.
        let _ = writeln!(text, "  {name:NAME_WIDTH$}  {meaning} ({default})");
    }
    text + TIMES
}
