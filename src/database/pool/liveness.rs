//! Whether the database answers, and can be written: what the watchdog asks, on a connection of its own.

use crate::database::failure::error::DatabaseError;
use crate::database::failure::public::in_public;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient as _;
use crate::database::session::deadline::{Deadline, Waited};
use crate::database::session::opener::{Opener, spawn};
use crossbeam_channel::bounded;
use jiff::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A check of the manager's that takes longer has failed.
pub(crate) const CHECK_MAX: Duration = Duration::from_secs(10);

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

    /// What is said of a database that could not be asked, on pages too.
    pub(crate) fn failed(error: &DatabaseError) -> Self {
        Self::failed_with(in_public(error))
    }

    pub(crate) fn failed_with(error: String) -> Self {
        Self { error: Some(error), server: None, last_check: Timestamp::now() }
    }
}

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct ServerHealth {
    /// Such as `15.18`.
    pub version: String,
    /// How long the answer to an empty query takes.
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

/// What the last health check found, the watchdog's or another's.
#[derive(Debug, Default)]
pub(crate) struct LastHealth(Mutex<Option<HealthStatus>>);

impl LastHealth {
    pub(crate) fn get(&self) -> Option<HealthStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks, and keeps what was found.
    pub(crate) fn check(&self, opener: &Opener, deadline: &Deadline) -> Result<HealthStatus, DatabaseError> {
        let found = check(opener, deadline);
        self.keep(match &found {
            Ok(status) => status.clone(),
            Err(error) => HealthStatus::failed(error),
        });
        found
    }

    pub(crate) fn keep(&self, status: HealthStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// Connects, and asks. It never takes longer than `deadline` lasts.
pub(crate) fn check(opener: &Opener, deadline: &Deadline) -> Result<HealthStatus, DatabaseError> {
    let server = apart(opener, deadline, ask)?;
    let error = match (server.in_recovery, server.read_only) {
        (true, _) => Some("the server is a standby or recovers, and can't be written".to_owned()),
        (false, true) => {
            Some("transactions are read-only by default, so that nothing can be written".to_owned())
        }
        (false, false) => None,
    };
    Ok(HealthStatus { error, server: Some(server), last_check: Timestamp::now() })
}

/// Asks something on a new connection, and waits no longer than for opening it.
pub(crate) fn apart<T: Send + 'static>(
    opener: &Opener,
    deadline: &Deadline,
    ask: impl FnOnce(&mut Client) -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    let mut session = opener.open(deadline)?;
    let mut client = session.take().ok_or(DatabaseError::Aborted)?;
    let (sender, answered) = bounded(1);
    let busy = opener.busy();
    spawn("health", move || {
        let _busy = busy;
        drop(sender.send(ask(client.get())));
    })?;
    match deadline.wait(&answered, opener.time_max()) {
        Waited::Got(answer) => answer,
        Waited::TimeOver => Err(DatabaseError::NoAnswer(opener.time_max())),
        Waited::Aborted => Err(DatabaseError::Aborted),
        Waited::Ended => Err(DatabaseError::Thread("a health check panicked".to_owned())),
    }
}

/// How often the latency is measured; the least is nearest to the network's own.
const LATENCY_SAMPLES: u32 = 3;

fn latency(client: &mut Client) -> Result<Duration, DatabaseError> {
    let mut least = Duration::MAX;
    for _ in 0..LATENCY_SAMPLES {
        let begun = Instant::now();
        client.simple_query("")?;
        least = least.min(begun.elapsed());
    }
    Ok(least)
}

fn ask(client: &mut Client) -> Result<ServerHealth, DatabaseError> {
    let latency = latency(client)?;
    // Who may not look at others' sessions sees no type of theirs; those that log in have a database and a role.
    let rows = client.query(
        "SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('transaction_read_only') = 'on',
           pg_is_in_recovery(), current_setting('max_connections')::int,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true)::int, 0),
           (SELECT count(*) FROM pg_stat_activity WHERE coalesce(backend_type, 'client backend') = 'client backend'
             AND datid IS NOT NULL AND usesysid IS NOT NULL)::int",
        &[],
    )?;
    // It has no FROM, and so one row.
    let row = &rows[0];
    let number =
        |index: usize| Ok::<_, DatabaseError>(u32::try_from(row.try_get::<_, i32>(index)?).unwrap_or(0));
    Ok(ServerHealth {
        version: row.try_get(0)?,
        latency,
        read_only: row.try_get(1)?,
        in_recovery: row.try_get(2)?,
        connections_max: number(3)?,
        connections_reserved: number(4)?,
        connections_used: number(5)?,
    })
}
