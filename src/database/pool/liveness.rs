//! Checks whether the database responds and is writable, on a separate connection.

use crate::database::failure::error::DatabaseError;
use crate::database::failure::public::in_public;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient as _;
use crate::database::session::deadline::{Deadline, Waited};
use crate::database::session::opener::{Opener, Session, spawn};
use crate::sync::channel::bounded;
use jiff::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time limit for a check by the manager.
pub(crate) const CHECK_MAX: Duration = Duration::from_secs(10);

/// The result of a health check.
#[derive(Debug, Clone)]
pub struct HealthStatus {
    /// Why the database is not writable, if so.
    pub error: Option<String>,
    /// The report of the server, if it responded.
    pub server: Option<ServerHealth>,
    /// The time of the check.
    pub last_check: Timestamp,
}

impl HealthStatus {
    /// Whether the database responds and is writable.
    pub fn is_healthy(&self) -> bool {
        self.error.is_none()
    }

    fn of(server: ServerHealth) -> Self {
        let error = match (server.in_recovery, server.read_only, server.lacks_standbys) {
            (true, _, _) => Some("the server is a standby or in recovery, and cannot be written"),
            (false, true, _) => Some("default_transaction_read_only is on, so nothing can be written"),
            (false, false, true) => Some(
                "commits wait for a synchronous standby that is not connected: start the standby, or remove it from \
                 synchronous_standby_names",
            ),
            (false, false, false) => None,
        };
        Self { error: error.map(str::to_owned), server: Some(server), last_check: Timestamp::now() }
    }

    /// The result for a database that could not be queried, in a form for public pages.
    pub(crate) fn failed(error: &DatabaseError) -> Self {
        Self::failed_with(in_public(error))
    }

    pub(crate) fn failed_with(error: String) -> Self {
        Self { error: Some(error), server: None, last_check: Timestamp::now() }
    }
}

/// The report of a server about itself.
#[derive(Debug, Clone)]
pub struct ServerHealth {
    /// The version, such as `15.18`.
    pub version: String,
    /// The latency of an empty query.
    pub latency: Duration,
    /// Whether transactions are read-only.
    pub read_only: bool,
    /// Whether it is a standby or in recovery.
    pub in_recovery: bool,
    /// Whether fewer synchronous standbys are connected than a commit waits for. False if the role may not see them.
    pub lacks_standbys: bool,
    /// Its `max_connections`.
    pub connections_max: u32,
    /// The connections reserved for superusers and similar roles.
    pub connections_reserved: u32,
    /// The open connections of all clients.
    pub connections_used: u32,
}

impl ServerHealth {
    /// The connections that are available to any role.
    pub fn connections_free(&self) -> u32 {
        self.connections_max.saturating_sub(self.connections_reserved + self.connections_used)
    }
}

/// The result of the last health check, by the watchdog or another caller.
#[derive(Debug, Default)]
pub(crate) struct LastHealth(Mutex<Option<HealthStatus>>);

impl LastHealth {
    pub(crate) fn get(&self) -> Option<HealthStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks within 10 s, and keeps the result.
    pub(crate) fn check(&self, opener: &Opener, deadline: &Deadline) -> Result<HealthStatus, DatabaseError> {
        let found = check(opener, &deadline.at_most_for(CHECK_MAX));
        self.kept(found.map_err(|error| unanswered(error, deadline)))
    }

    /// Does the same on an open session. After an error the session is broken.
    pub(crate) fn check_on(
        &self,
        opener: &Opener,
        deadline: &Deadline,
        session: &mut Session,
    ) -> Result<HealthStatus, DatabaseError> {
        let server = on_session(opener, &deadline.at_most_for(CHECK_MAX), session, |client| ask(client, 1));
        self.kept(server.map(HealthStatus::of).map_err(|error| unanswered(error, deadline)))
    }

    fn kept(&self, found: Result<HealthStatus, DatabaseError>) -> Result<HealthStatus, DatabaseError> {
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

/// The error of a check that its own time limit ended, not the deadline of the caller.
fn unanswered(error: DatabaseError, deadline: &Deadline) -> DatabaseError {
    match error {
        DatabaseError::Aborted if !deadline.is_over() => DatabaseError::NoAnswer(CHECK_MAX),
        error => error,
    }
}

/// Connects and queries the server, within `deadline`.
pub(crate) fn check(opener: &Opener, deadline: &Deadline) -> Result<HealthStatus, DatabaseError> {
    Ok(HealthStatus::of(apart(opener, deadline, |client| ask(client, LATENCY_SAMPLES))?))
}

/// Runs `ask` on a new connection, with the time limit for opening one.
pub(crate) fn apart<T: Send + 'static>(
    opener: &Opener,
    deadline: &Deadline,
    ask: impl FnOnce(&mut Client) -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    on_session(opener, deadline, &mut opener.open(deadline)?, ask)
}

/// Runs `ask` on an open session, with the time limit for opening one. After an error the session is broken.
fn on_session<T: Send + 'static>(
    opener: &Opener,
    deadline: &Deadline,
    session: &mut Session,
    ask: impl FnOnce(&mut Client) -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    let mut client = session.take().ok_or(DatabaseError::Aborted)?;
    let (sender, answered) = bounded(1);
    let busy = opener.busy();
    spawn("health", move || {
        let _busy = busy;
        let answer = ask(client.get());
        drop(sender.send((client, answer)));
    })?;
    match deadline.wait(&answered, opener.time_max()) {
        Waited::Got((client, Ok(answer))) => {
            session.put_back(client);
            Ok(answer)
        }
        Waited::Got((_, Err(error))) => Err(error),
        Waited::TimeOver => Err(DatabaseError::NoAnswer(opener.time_max())),
        Waited::Aborted => Err(DatabaseError::Aborted),
        Waited::Ended => Err(DatabaseError::Thread("a health check panicked".to_owned())),
    }
}

/// The usual number of latency measurements. The lowest is closest to the latency of the network.
const LATENCY_SAMPLES: u32 = 3;

fn latency(client: &mut Client, samples: u32) -> Result<Duration, DatabaseError> {
    let mut least = Duration::MAX;
    for _ in 0..samples {
        let begun = Instant::now();
        client.simple_query("")?;
        least = least.min(begun.elapsed());
    }
    Ok(least)
}

/// Queries the server. The number of samples is that of [`latency`].
fn ask(client: &mut Client, samples: u32) -> Result<ServerHealth, DatabaseError> {
    let latency = latency(client, samples)?;
    // Without the privilege to see other sessions, their type is NULL. Sessions of clients have a database and a
    // role.
    let rows = client.query(
        "SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('transaction_read_only') = 'on',
           pg_is_in_recovery(), current_setting('max_connections')::int,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true)::int, 0),
           (SELECT count(*) FROM pg_stat_activity WHERE coalesce(backend_type, 'client backend') = 'client backend'
             AND datid IS NOT NULL AND usesysid IS NOT NULL)::int,
           current_setting('synchronous_standby_names') ~ '[^[:space:]]'
             AND coalesce(substring(current_setting('synchronous_standby_names')
                 FROM '^[[:space:]]*[A-Za-z]*[[:space:]]*([0-9]+)[[:space:]]*[(]'), '1')::int
               > (SELECT count(*) FROM pg_stat_replication
                  WHERE sync_state IS NULL OR sync_state IN ('sync', 'quorum'))",
        &[],
    )?;
    // A query without FROM returns one row.
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
        lacks_standbys: row.try_get(6)?,
    })
}
