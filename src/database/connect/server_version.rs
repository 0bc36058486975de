//! What it is that speaks PostgreSQL's protocol, and whether this program works with it.
//!
//! Invariant: a server that is refused was asked for its version, and for nothing else. Others than PostgreSQL
//! may refuse what a session is set to, in words that do not say what they are, so it is the first thing that
//! is asked.
//!
//! `docs/engines.md` has the sources of what is said here of others.

#[cfg(test)]
mod tests;

use postgres::{Client, SimpleQueryMessage};

/// The least version of PostgreSQL that the program is tried with.
pub(crate) const VERSION_MIN: u32 = 12;

/// In the simple protocol, which all of them speak, and without other names than this one, which all of them
/// know: the oldest of them has no `server_version_num`.
const LOOK: &str = "SELECT version()";

/// How much is told of what a server says of itself.
const TOLD_MAX: usize = 60;

/// A database that is not the PostgreSQL of its community.
struct Engine {
    name: &'static str,
    /// What its `version()` holds, and nobody else's.
    mark: &'static str,
    support: Support,
}

#[derive(Clone, Copy)]
enum Support {
    /// It lacks what the program can't do without.
    Lacks(&'static str),
    /// Its documentation names all that the program needs, and this beside it.
    MayWork(&'static str),
}

const ENGINES: [Engine; 6] = [
    Engine {
        name: "CockroachDB",
        mark: "CockroachDB",
        support: Support::Lacks("temporary tables that go with their transaction (ON COMMIT DROP)"),
    },
    Engine {
        name: "YugabyteDB",
        mark: "-YB-",
        support: Support::Lacks("the places of rows (ctid), by which stored rows are rewritten"),
    },
    Engine {
        name: "Amazon Redshift",
        mark: "Redshift",
        support: Support::Lacks("unique keys that are held to"),
    },
    Engine { name: "RisingWave", mark: "-RisingWave-", support: Support::Lacks("transactions that write") },
    Engine { name: "Greenplum", mark: "(Greenplum Database ", support: Support::MayWork(TABLE_LOCKS) },
    Engine { name: "Apache Cloudberry", mark: "(Apache Cloudberry ", support: Support::MayWork(TABLE_LOCKS) },
];

const TABLE_LOCKS: &str = "each UPDATE locks its whole table there unless gp_enable_global_deadlock_detector \
                           is on, so that writers wait for each other";

/// A server that the program can't work with, what it is told for, and what would do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    #[error(
        "the server is {name}, which lacks {lack}; use PostgreSQL of version {VERSION_MIN} or later, Citus \
         included"
    )]
    Lacks { name: String, lack: &'static str },
    #[error("the server is {0}, which is too old; use PostgreSQL of version {VERSION_MIN} or later")]
    TooOld(String),
}

/// What a server says that it is.
pub(crate) fn version(client: &mut Client) -> Result<String, postgres::Error> {
    let answers = client.simple_query(LOOK)?;
    let version = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
        _ => None,
    });
    Ok(version.unwrap_or_default().to_owned())
}

/// Tells from what a server says whether the program works with it. It returns what the user should know of one
/// that may work.
pub(crate) fn judge(version: &str) -> Result<Option<String>, Unsupported> {
    let engine = ENGINES.iter().find(|engine| version.contains(engine.mark));
    let said = in_short(version);
    let name = engine.map_or_else(|| said.clone(), |engine| format!("{} ({said})", engine.name));
    match (engine.map(|engine| engine.support), major_version(version)) {
        (Some(Support::Lacks(lack)), _) => Err(Unsupported::Lacks { name, lack }),
        (_, Some(major)) if major < VERSION_MIN => Err(Unsupported::TooOld(name)),
        (Some(Support::MayWork(caution)), _) => {
            Ok(Some(format!("the server is {name}, which this program is not tried with: {caution}")))
        }
        (None, Some(_)) => Ok(None),
        (None, None) => Ok(Some(format!(
            "the server says that it is {said:?}, and this program is tried with PostgreSQL alone: it may \
             fail"
        ))),
    }
}

/// The number of PostgreSQL that a server is, or is made of; none where it says nothing of PostgreSQL.
fn major_version(version: &str) -> Option<u32> {
    let number = version.strip_prefix("PostgreSQL ")?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// What comes before the machine and the compiler that it is built for and by.
fn in_short(version: &str) -> String {
    let end = [" (", " on ", ","].iter().filter_map(|end| version.find(end)).min();
    version[..end.unwrap_or(version.len())].chars().take(TOLD_MAX).collect()
}
