//! The names of all settings, and the detection of misspelled ones.

#[cfg(test)]
mod tests;

use crate::database::connect::parameters::variables;
use std::cmp::max;

/// The variables of this program, without libpq's.
pub(crate) const VARIABLES: [&str; 28] = [
    "DATABASE_URL",
    "DATABASE_SCHEMA",
    "DATABASE_POOL_MIN",
    "DATABASE_POOL_MAX",
    "DATABASE_CONNECTION_TIMEOUT",
    "DATABASE_IDLE_TIMEOUT",
    "DATABASE_RETRY_ATTEMPTS",
    "DATABASE_RETRY_BASE",
    "DATABASE_AWAY_TIMEOUT",
    "DATABASE_HEALTH_INTERVAL",
    "DATABASE_STALL_TIMEOUT",
    "ALBION_SERVER",
    "KILLS_EMBEDDED",
    "KILLS_LAYOUT",
    "KILLS_LEDGER_SCHEMA",
    "KILLS_EVENTS_AT",
    "KILLS_ON_CONFLICT",
    "KILLS_REJECTS_FILE",
    "KILLS_MAX_REJECTS",
    "KILLS_NUL",
    "KILLS_METRICS_FILE",
    "KILLS_LISTEN",
    "KILLS_WORKER_CONCURRENCY",
    "KILLS_PARSE_THREADS",
    "KILLS_SEGMENT_BYTES",
    "KILLS_FLUSH_INTERVAL",
    "KILLS_DRAIN_TIMEOUT",
    "RUST_LOG",
];

/// The variables of libpq that are no parameter here, without `PG`.
const OTHERS: [&str; 12] = [
    "REQUIRESSL",
    "SSLCOMPRESSION",
    "GSSDELEGATION",
    "GSSLIB",
    "KRBSRVNAME",
    "CLIENTENCODING",
    "DATESTYLE",
    "TZ",
    "GEQO",
    "SYSCONFDIR",
    "LOCALEDIR",
    "DATA",
];

/// libpq's variables without `PG`, to find misspelled ones. A `.env` can set any `PG*`.
fn libpq() -> impl Iterator<Item = &'static str> {
    variables().filter_map(|variable| variable.strip_prefix("PG")).chain(OTHERS)
}

/// The prefixes of this program's variables. An unknown name with a prefix is compared without it.
const PREFIXES: [&str; 3] = ["DATABASE_", PREFIX, "ALBION_"];

/// The prefix that no other program uses.
const PREFIX: &str = "KILLS_";

/// Whether a variable is a setting of this program, libpq's included.
pub(crate) fn is_setting(name: &str) -> bool {
    VARIABLES.contains(&name) || name.starts_with("PG")
}

/// Whether a variable is listed here. `PGADMIN_DEFAULT_EMAIL` is a `PG*` of another program.
pub(crate) fn is_listed(name: &str) -> bool {
    VARIABLES.contains(&name)
        || name.strip_prefix("PG").is_some_and(|rest| libpq().any(|known| known == rest))
}

/// The setting that a name probably stands for; none for a setting, and for names of other programs.
pub(crate) fn meant(name: &str) -> Option<String> {
    if VARIABLES.contains(&name) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    if let Some(rest) = upper.strip_prefix("PG") {
        // `PG_HOST` belongs to other programs.
        let is_ours = name.starts_with("PG") && libpq().any(|known| known == rest);
        let known = libpq().filter(|_| !is_ours && !rest.starts_with('_'));
        return closest(rest, known).map(|rest| format!("PG{rest}"));
    }
    if let Some(prefix) = PREFIXES.into_iter().find(|prefix| upper.starts_with(prefix)) {
        let rest = &upper[prefix.len()..];
        let same = VARIABLES.into_iter().filter_map(|known| known.strip_prefix(prefix));
        if let Some(found) = closest(rest, same) {
            return Some(format!("{prefix}{found}"));
        }
        // For example `KILLS_POOL_MAX`. But `DATABASE_SERVER` belongs to another program.
        let is_named_so = |known: &&str| known.split_once('_').is_some_and(|(_, found)| found == rest);
        let same = VARIABLES.into_iter().find(|known| prefix != "DATABASE_" && is_named_so(known));
        let found = same.or_else(|| if prefix == PREFIX { with_word(rest) } else { None });
        return found.map(str::to_owned);
    }
    closest(&upper, VARIABLES.into_iter()).map(str::to_owned)
}

/// Whether the prefix marks a variable as this program's, but no such setting exists.
pub(crate) fn is_unknown(name: &str) -> bool {
    // Kubernetes sets variables for each service of a namespace: for `kills`, `KILLS_SERVICE_HOST`, `KILLS_PORT` and others.
    let is_service =
        |rest: &str| rest == "PORT" || ["PORT_", "SERVICE_"].iter().any(|it| rest.starts_with(it));
    let rest = name.strip_prefix(PREFIX);
    rest.is_some_and(|rest| !is_service(rest)) && !VARIABLES.contains(&name)
}

/// The only setting of this program's prefix with that word, in the singular or the plural: `WORKERS`, `THREADS`.
fn with_word(word: &str) -> Option<&'static str> {
    let singular = |word: &str| word.strip_suffix('S').unwrap_or(word).to_owned();
    let has_word = |name: &str| name.split('_').any(|part| singular(part) == singular(word));
    let mut found = VARIABLES.into_iter().filter(|known| known.strip_prefix(PREFIX).is_some_and(has_word));
    found.next().filter(|_| found.next().is_none())
}

/// The nearest name within one edit per four characters, and at most two: `USER` is not `URL`.
fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let edits_max = max(1, name.len().div_ceil(4)).min(2);
    let edits = known.map(|known| (strsim::osa_distance(name, known), known));
    edits.filter(|(edits, _)| *edits <= edits_max).min().map(|(_, known)| known)
}
