//! Health checks on request: whether a load could write the tables that are there.
//!
//! Invariant: each check opens a connection of its own, and ends in time whatever the pool and the server do.

use crate::database::connect::Target;
use crate::database::failure::error::DatabaseError;
use crate::database::failure::public::in_public;
use crate::database::ledger::runs;
use crate::database::pool::liveness::{HealthStatus, apart, check};
use crate::database::schema::citus::{Distributed, Node};
use crate::database::schema::inspect::Addition;
use crate::database::schema::{access, citus, deferred_indexes as indexes, inspect, misfits, size};
use crate::database::schemas::Schemas;
use crate::database::session::deadline::Deadline;
use crate::database::session::opener::Opener;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::table::Distribution;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;

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
    describe: fn(&(dyn Error + 'static)) -> String,
}

/// So many checks of one probe may be left behind by a server that accepts and says nothing: each is a thread and a
/// connection. The next one has failed before it is begun.
const LEFT_BEHIND_MAX: usize = 2;

impl HealthProbe {
    /// A probe whose checks take at most `time_max` each.
    pub fn new(target: &Target, application: &str, time_max: Duration) -> Self {
        Self { opener: Opener::new(target, application, time_max), describe: in_full }
    }

    /// The same for a page that all can see: the words of a statement's error are left out.
    #[must_use]
    pub fn for_public(self) -> Self {
        Self { describe: in_public, ..self }
    }

    /// Checks the database's health.
    pub fn check(&self) -> HealthStatus {
        if self.opener.threads() >= LEFT_BEHIND_MAX {
            return self.failed(&DatabaseError::NoAnswer(self.opener.time_max()));
        }
        let deadline = Deadline::at_most(self.opener.time_max());
        check(&self.opener, &deadline).unwrap_or_else(|error| match error {
            // Only the time ends it.
            DatabaseError::Aborted => self.failed(&DatabaseError::NoAnswer(self.opener.time_max())),
            error => self.failed(&error),
        })
    }

    fn failed(&self, error: &DatabaseError) -> HealthStatus {
        HealthStatus::failed_with((self.describe)(error))
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
        apart(&self.opener, &Deadline::unbounded(), move |client| {
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
