//! Is the database there, and fit to be written?

use super::classify::DatabaseError;
use super::patience::Patience;
use super::session::Opener;
use crate::causes::in_full;
use jiff::Timestamp;
use postgres::Client;
use std::time::{Duration, Instant};

/// What one check found.
#[derive(Debug, Clone)]
pub struct HealthStatus {
    /// Why the database can't be written, if so.
    pub error: Option<String>,
    /// What the server said, if it did.
    pub server: Option<ServerHealth>,
    /// When it was checked.
    pub last_check: Timestamp,
}

impl HealthStatus {
    /// Whether it answers, and can be written.
    pub fn is_healthy(&self) -> bool {
        self.error.is_none()
    }
}

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct ServerHealth {
    /// Such as `15.18`.
    pub version: String,
    /// How long the answer to an empty query took.
    pub latency: Duration,
    /// Whether transactions are read-only.
    pub read_only: bool,
    /// Whether it is a standby, or recovers.
    pub in_recovery: bool,
    /// Its `max_connections`.
    pub connections_max: u32,
    /// Those of them that are kept for superusers and the like.
    pub connections_reserved: u32,
    /// Those that are open, of all clients.
    pub connections_used: u32,
}

impl ServerHealth {
    /// Connections that any role may still open.
    pub fn connections_free(&self) -> u32 {
        self.connections_max.saturating_sub(self.connections_reserved + self.connections_used)
    }
}

/// Connects, and asks. It never takes longer than `patience` lasts.
pub(super) fn check(opener: &Opener, patience: &Patience) -> Result<HealthStatus, DatabaseError> {
    let mut session = opener.open(patience)?;
    let mut client = session.take().ok_or(DatabaseError::GivenUp)?;
    let (sender, answered) = crossbeam_channel::bounded(1);
    super::session::spawn("health", move || drop(sender.send(ask(client.get()))))?;
    let server = match patience.wait(&answered, opener.time_max()) {
        super::patience::Waited::Got(answer) => answer?,
        super::patience::Waited::TimeOver => return Err(DatabaseError::NoAnswer(opener.time_max())),
        _ => return Err(DatabaseError::GivenUp),
    };
    let error = match (server.in_recovery, server.read_only) {
        (true, _) => Some("the server is a standby or recovers, and can't be written".to_owned()),
        (false, true) => {
            Some("transactions are read-only by default, so that nothing can be written".to_owned())
        }
        (false, false) => None,
    };
    Ok(HealthStatus { error, server: Some(server), last_check: Timestamp::now() })
}

impl HealthStatus {
    pub(super) fn failed(error: &DatabaseError) -> Self {
        Self { error: Some(in_full(error)), server: None, last_check: Timestamp::now() }
    }
}

fn ask(client: &mut Client) -> Result<ServerHealth, DatabaseError> {
    let begun = Instant::now();
    client.simple_query("")?;
    let latency = begun.elapsed();
    let row = client.query_one(
        "SELECT current_setting('server_version'), current_setting('transaction_read_only') = 'on',
           pg_is_in_recovery(), current_setting('max_connections')::int,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true)::int, 0),
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int",
        &[],
    )?;
    let number = |index: usize| u32::try_from(row.get::<_, i32>(index)).unwrap_or(0);
    Ok(ServerHealth {
        version: row.get(0),
        latency,
        read_only: row.get(1),
        in_recovery: row.get(2),
        connections_max: number(3),
        connections_reserved: number(4),
        connections_used: number(5),
    })
}
