//! The game servers: names and ranges of their ids.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The game server of events. Ids of different servers collide, and few payloads name their server.
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

    /// Whether an event with this id can come from this server. `time_us` is its time in microseconds since 1970. From
    /// 2024 to 2026, ids were above 900 million on Americas and below 500 million on Europe. Other times and Asia
    /// always pass.
    pub(crate) fn may_have_assigned(self, event_id: i64, time_us: i64) -> bool {
        /// From 2024-01-01 to 2027-01-01.
        const KNOWN_YEARS: Range<i64> = 1_704_067_200_000_000..1_798_761_600_000_000;
        let is_of_other = match self {
            Server::Americas => event_id < 500_000_000,
            Server::Europe => event_id > 900_000_000,
            Server::Asia => false,
        };
        !is_of_other || !KNOWN_YEARS.contains(&time_us)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Server {
    type Err = String;

    /// Also accepts, in any case, the names that hosts, kill boards and players use.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.trim().to_ascii_lowercase().as_str() {
            "americas" | "us" | "west" | "live_us" => Ok(Server::Americas),
            "europe" | "eu" | "ams" | "live_ams" => Ok(Server::Europe),
            "asia" | "sgp" | "east" | "live_sgp" => Ok(Server::Asia),
            _ => Err(format!("possible values: {}", Server::ALL.map(Server::name).join(", "))),
        }
    }
}
