//! Detects the database product that speaks PostgreSQL's protocol, and whether this program supports it.
//!
//! Invariant: an unsupported server receives one query, for its version. Products other than PostgreSQL may reject
//! the settings of a session with misleading errors, so this query comes first.
//!
//! `docs/engines.md` has the sources for the facts about other products.

#[cfg(test)]
mod tests;

use postgres::{Client, SimpleQueryMessage};

/// The oldest version of PostgreSQL that the tests cover.
pub(crate) const VERSION_MIN: u32 = 12;

/// All products support the simple protocol and this function. The oldest of them has no `server_version_num`. The
/// session has no search path yet, so the name has its schema.
const VERSION_QUERY: &str = "SELECT pg_catalog.version()";

/// Characters shown of the version text of a server.
const SHOWN_MAX: usize = 60;

/// A product other than community PostgreSQL.
struct Engine {
    name: &'static str,
    /// A text that only the `version()` of this product contains.
    mark: &'static str,
    support: Support,
}

#[derive(Clone, Copy)]
enum Support {
    /// It lacks this required feature.
    Lacks(&'static str),
    /// Its documentation names all required features. It differs from PostgreSQL in this.
    MayWork(&'static str),
}

const ENGINES: [Engine; 6] = [
    Engine {
        name: "CockroachDB",
        mark: "CockroachDB",
        support: Support::Lacks("temporary tables that end with their transaction (ON COMMIT DROP)"),
    },
    Engine {
        name: "YugabyteDB",
        mark: "-YB-",
        support: Support::Lacks("row locations (ctid) for rewriting stored rows"),
    },
    Engine { name: "Amazon Redshift", mark: "Redshift", support: Support::Lacks("enforced unique keys") },
    Engine { name: "RisingWave", mark: "-RisingWave-", support: Support::Lacks("transactions that write") },
    Engine { name: "Greenplum", mark: "(Greenplum Database ", support: Support::MayWork(TABLE_LOCKS) },
    Engine { name: "Apache Cloudberry", mark: "(Apache Cloudberry ", support: Support::MayWork(TABLE_LOCKS) },
];

const TABLE_LOCKS: &str = "each UPDATE locks its whole table unless gp_enable_global_deadlock_detector \
                           is on, so writers wait for each other";

/// An unsupported server, the reason, and a supported one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    #[error(
        "the server is {name}, which lacks {lack}\nhint: use PostgreSQL {VERSION_MIN} or later, with \
         or without Citus"
    )]
    Lacks { name: String, lack: &'static str },
    #[error("the server is {0}, which is too old\nhint: use PostgreSQL {VERSION_MIN} or later")]
    TooOld(String),
}

/// Queries the version text of a server.
pub(crate) fn version(client: &mut Client) -> Result<String, postgres::Error> {
    let answers = client.simple_query(VERSION_QUERY)?;
    let version = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
        _ => None,
    });
    Ok(version.unwrap_or_default().to_owned())
}

/// Decides from the version text whether the program supports a server. Returns a caution if that is unknown.
pub(crate) fn judge(version: &str) -> Result<Option<String>, Unsupported> {
    let engine = ENGINES.iter().find(|engine| version.contains(engine.mark));
    let shown = short_version(version);
    let name = engine.map_or_else(|| shown.clone(), |engine| format!("{} ({shown})", engine.name));
    match (engine.map(|engine| engine.support), major_version(version)) {
        (Some(Support::Lacks(lack)), _) => Err(Unsupported::Lacks { name, lack }),
        (_, Some(major)) if major < VERSION_MIN => Err(Unsupported::TooOld(name)),
        (Some(Support::MayWork(caution)), _) => {
            Ok(Some(format!("the server is {name}, which is not tested: {caution}")))
        }
        (None, Some(_)) => Ok(None),
        (None, None) => Ok(Some(format!(
            "the server identifies itself as {shown:?}, but only PostgreSQL is tested: errors are possible"
        ))),
    }
}

/// The major version of PostgreSQL that the server is, or is based on. None if the text does not name PostgreSQL.
fn major_version(version: &str) -> Option<u32> {
    let number = version.strip_prefix("PostgreSQL ")?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// The version text without the platform and the compiler.
fn short_version(version: &str) -> String {
    let end = [" (", " on ", ","].iter().filter_map(|end| version.find(end)).min();
    version[..end.unwrap_or(version.len())].chars().take(SHOWN_MAX).collect()
}
