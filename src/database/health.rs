//! Health checks: whether the database is there, and can be written.
//!
//! Invariant: each check opens a connection of its own, and ends in time whatever the pool and the server do.

use super::citus::{self, Distributed, Node};
use super::client::{Client, GenericClient as _};
use super::connect::Target;
use super::error::DatabaseError;
use super::inspect::{self, Addition};
use super::patience::{Patience, Waited};
use super::public::in_public;
use super::schemas::Schemas;
use super::session::{Opener, spawn};
use super::store::StoreError;
use super::{access, indexes, misfits, runs, size};
use crate::causes::in_full;
use crate::layout::{Distribution, Layout};
use crossbeam_channel::bounded;
use jiff::Timestamp;
use serde_json::Value;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A check of the manager's that takes longer has failed.
pub(super) const CHECK_MAX: Duration = Duration::from_secs(10);

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
    pub(super) fn failed(error: &DatabaseError) -> Self {
        Self::failed_with(in_public(error))
    }

    fn failed_with(error: String) -> Self {
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

/// What a database holds that a load cares about.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The ledger's row of the run that started last.
    pub last_run: Option<Value>,
    /// Indexes that are missing or invalid, and what the ledger of an earlier version lacks, in words.
    pub index_faults: Vec<String>,
    /// Why no load can write the tables that are there, if so.
    pub misfits: Option<String>,
    /// What the role lacks, or is kept from seeing, and tables that a crash empties; one reason each.
    pub access_faults: Vec<String>,
    /// Where the rows of the tables are.
    pub distribution: Distribution,
    /// The nodes of Citus; none where there is no Citus.
    pub nodes: Vec<Node>,
    /// The bytes of the tables and their indexes; none where that is not known.
    pub table_bytes: Option<u64>,
}

impl Inspection {
    /// Why no load can go on, if so.
    fn fault(&self) -> Option<String> {
        if !self.access_faults.is_empty() {
            return Some(self.access_faults.join("; "));
        }
        if self.misfits.is_some() {
            return self.misfits.clone();
        }
        let is_needed = self.distribution == Distribution::Citus;
        let away: Vec<&str> =
            self.nodes.iter().filter(|node| is_needed && !node.is_there).map(|node| &*node.name).collect();
        (!away.is_empty()).then(|| {
            format!(
                "of the nodes that the tables are distributed over the coordinator can't reach {}",
                away.join(", ")
            )
        })
    }
}

/// Looks at a database without a pool, each time on a new connection.
#[derive(Debug, Clone)]
pub struct HealthProbe {
    opener: Opener,
    /// What an error is told by.
    in_words: fn(&(dyn Error + 'static)) -> String,
}

/// So many checks of one probe may be left behind by a server that accepts and says nothing: each is a thread and a
/// connection. The next one has failed before it is begun.
const LEFT_BEHIND_MAX: usize = 2;

impl HealthProbe {
    /// A probe whose checks take at most `time_max` each.
    pub fn new(target: &Target, application: &str, time_max: Duration) -> Self {
        Self { opener: Opener::new(target, application, time_max), in_words: in_full }
    }

    /// The same for a page that all can see: the words of a statement's error are left out.
    #[must_use]
    pub fn for_public(self) -> Self {
        Self { in_words: in_public, ..self }
    }

    /// Checks the database's health.
    pub fn check(&self) -> HealthStatus {
        if self.opener.threads() >= LEFT_BEHIND_MAX {
            return self.failed(&DatabaseError::NoAnswer(self.opener.time_max()));
        }
        let patience = Patience::at_most(self.opener.time_max());
        check(&self.opener, &patience).unwrap_or_else(|error| match error {
            // Only the time ends it.
            DatabaseError::GivenUp => self.failed(&DatabaseError::NoAnswer(self.opener.time_max())),
            error => self.failed(&error),
        })
    }

    fn failed(&self, error: &DatabaseError) -> HealthStatus {
        HealthStatus::failed_with((self.in_words)(error))
    }

    /// Checks the database's health, then looks at the tables of a layout, at the ledger and at the nodes. What is found
    /// there may be why it is unhealthy.
    pub fn examine(
        &self,
        layout: Layout,
        schema: &str,
        ledger: Option<&str>,
    ) -> (HealthStatus, Option<Inspection>) {
        let mut status = self.check();
        if status.server.is_none() {
            return (status, None);
        }
        let inspection = self.inspect(layout, schema, ledger);
        // Nothing is said to be fit that could not be looked at.
        let (fault, inspection) = match inspection {
            Ok(inspection) => (inspection.fault(), Some(inspection)),
            Err(error) => (Some(in_full(&error)), None),
        };
        status.error = status.error.or(fault);
        (status, inspection)
    }

    /// Nothing is found where there are no tables yet.
    fn inspect(&self, layout: Layout, schema: &str, ledger: Option<&str>) -> Result<Inspection, StoreError> {
        let (schema, ledger) = (schema.to_owned(), ledger.map(str::to_owned));
        apart(&self.opener, &Patience::endless(), move |client| {
            let schemas = Schemas::of(client, layout, &schema, ledger.as_deref())?;
            let access_faults = access::faults(client, layout, &schemas)?;
            let last_run = match runs::last_run(client, &schemas) {
                // The role may not read it, as is said already.
                Err(_) if !access_faults.is_empty() => None,
                last_run => last_run?,
            };
            let mut index_faults = indexes::faults(client, layout, &schema)?;
            for Addition { name, .. } in inspect::ledger_additions(client, &schemas.ledger)? {
                index_faults
                    .push(format!("{name} is missing: its owner adds it with: aegis-kills schema apply"));
            }
            let misfits = misfits::misfits(client, layout, &schemas, Distribution::OneServer)?;
            let distribution = Distributed::of(client, &schemas)?.distribution(layout);
            let nodes = citus::nodes(client)?;
            // A node that says nothing would be waited for until all time is over.
            let is_told = distribution == Distribution::OneServer || nodes.iter().all(|node| node.is_there);
            let table_bytes = if is_told {
                size::of_tables(client, layout, &schema, distribution).map(Some)
            } else {
                Ok(None)
            };
            let table_bytes = table_bytes
                .inspect_err(|error| log::debug!("the tables' size can't be told: {}", in_full(error)));
            let table_bytes = table_bytes.ok().flatten();
            Ok(Inspection {
                last_run,
                index_faults,
                misfits,
                access_faults,
                distribution,
                nodes,
                table_bytes,
            })
        })
        .map_err(|error| StoreError::new("the tables can't be looked at", error))
    }
}

/// What the last health check found, the watchdog's or another's.
#[derive(Debug, Default)]
pub(super) struct LastHealth(Mutex<Option<HealthStatus>>);

impl LastHealth {
    pub(super) fn get(&self) -> Option<HealthStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks, and keeps what was found.
    pub(super) fn check(&self, opener: &Opener, patience: &Patience) -> Result<HealthStatus, DatabaseError> {
        let found = check(opener, patience);
        self.keep(match &found {
            Ok(status) => status.clone(),
            Err(error) => HealthStatus::failed(error),
        });
        found
    }

    pub(super) fn keep(&self, status: HealthStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// Connects, and asks. It never takes longer than `patience` lasts.
fn check(opener: &Opener, patience: &Patience) -> Result<HealthStatus, DatabaseError> {
    let server = apart(opener, patience, ask)?;
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
pub(super) fn apart<T: Send + 'static>(
    opener: &Opener,
    patience: &Patience,
    ask: impl FnOnce(&mut Client) -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    let mut session = opener.open(patience)?;
    let mut client = session.take().ok_or(DatabaseError::GivenUp)?;
    let (sender, answered) = bounded(1);
    let busy = opener.busy();
    spawn("health", move || {
        let _busy = busy;
        drop(sender.send(ask(client.get())));
    })?;
    match patience.wait(&answered, opener.time_max()) {
        Waited::Got(answer) => answer,
        Waited::TimeOver => Err(DatabaseError::NoAnswer(opener.time_max())),
        Waited::GivenUp => Err(DatabaseError::GivenUp),
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
