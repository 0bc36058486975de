//! The domain: what a kill event is, and how it is read from a line of JSON.
//!
//! Invariant: this module knows no SQL, no threads and no files; it borrows from the text it is given.
//!
//! Invariant: a line is taken as JSON exactly when `serde_json` takes it as a `Value`: the same grammar,
//! the same limit on depth and on numbers, and of two equal keys the last one counts. Property tests hold
//! the two against each other.

pub(crate) mod document;
pub(crate) mod envelope;
pub(crate) mod extended;
pub(crate) mod fault;
pub(crate) mod field;
pub(crate) mod first_server;
pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod kill_event;
pub(crate) mod line;
pub(crate) mod parse;
pub(crate) mod reject_record;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod time;

use std::fmt;
use std::str::FromStr;

/// The game server that events come from. Ids of different servers collide, and few payloads name theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// Albion Americas.
    Americas,
    /// Albion Europe.
    Europe,
    /// Albion Asia.
    Asia,
}

impl Server {
    /// All game servers, in the order of the database's enum.
    pub const ALL: [Server; 3] = [Server::Americas, Server::Europe, Server::Asia];

    /// The name used in options, in JSON and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Server::Americas => "americas",
            Server::Europe => "europe",
            Server::Asia => "asia",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Server {
    type Err = String;

    /// Takes the names that hosts, kill boards and players use as well, in any case.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.trim().to_ascii_lowercase().as_str() {
            "americas" | "us" | "west" | "live_us" => Ok(Server::Americas),
            "europe" | "eu" | "ams" | "live_ams" => Ok(Server::Europe),
            "asia" | "sgp" | "east" | "live_sgp" => Ok(Server::Asia),
            _ => Err("one of americas, europe, asia is needed".to_owned()),
        }
    }
}
