//! Health checks on request: whether a load could write the existing tables.
//!
//! Invariant: each check opens its own connection, and ends in time whatever the pool and the server do.

use crate::database::connect::Target;
use crate::database::failure::error::DatabaseError;
use crate::database::failure::public::in_public;
use crate::database::ledger::runs;
use crate::database::pool::liveness::{HealthStatus, apart, check};
use crate::database::schema::access::{AccessFaults, TableUse};
use crate::database::schema::catalog::Catalog;
use crate::database::schema::citus::Node;
use crate::database::schema::inspect::Addition;
use crate::database::schema::locate::{self, Located};
use crate::database::schema::misfits::{Lack, LostRows};
use crate::database::schema::trust::TrustError;
use crate::database::schema::{
    access, citus, deferred_indexes as indexes, ensure, inspect, misfits, size, user_code,
};
use crate::database::schemas::Schemas;
use crate::database::session::client_transaction::GenericClient;
use crate::database::session::deadline::Deadline;
use crate::database::session::opener::Opener;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Distribution;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;

/// The state of the database that matters to a load.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// The ledger's row of the run that started last.
    pub last_run: Option<Value>,
    /// Messages about missing or invalid indexes, about parts that tables of an earlier version lack, and about triggers
    /// and rules of users on the ledger.
    pub index_faults: Vec<String>,
    /// Why no load can write the existing tables, if so.
    pub misfits: Option<String>,
    /// Messages about missing privileges and data hidden from the role.
    pub access_faults: Vec<String>,
    /// The statements and the command that remove the faults of access, with the place to run them.
    pub access_remedies: Vec<String>,
    /// The placement of the rows of the tables.
    pub distribution: Distribution,
    /// The nodes of Citus; empty without Citus.
    pub nodes: Vec<Node>,
    /// The size of the tables and their indexes in bytes; none if unknown.
    pub table_bytes: Option<u64>,
}

impl Inspection {
    /// Why no load can run, if so.
    fn fault(&self) -> Option<String> {
        if !self.access_faults.is_empty() {
            let faults = self.access_faults.join("; ");
            return Some(match self.access_remedies.as_slice() {
                [] => faults,
                // The role may only be meant to read.
                remedies => format!(
                    "{faults}\nhint: check with the role that loads; if it is this one, run {}",
                    remedies.join("; then ")
                ),
            });
        }
        if self.misfits.is_some() {
            return self.misfits.clone();
        }
        let is_needed = self.distribution == Distribution::Citus;
        let unreachable: Vec<&str> =
            self.nodes.iter().filter(|node| is_needed && !node.is_there).map(|node| &*node.name).collect();
        (!unreachable.is_empty())
            .then(|| format!("distributed tables: the coordinator cannot reach {}", unreachable.join(", ")))
    }
}

/// Why each load of this role reads unchanged files again, if so. A role that can create `kill_load_file` does so in its next
/// load.
fn file_fault(
    client: &mut impl GenericClient,
    catalog: &Catalog,
    schemas: &Schemas,
) -> Result<Option<String>, postgres::Error> {
    if !catalog.has("kill_load_segment") || catalog.uses_files == Some(true) {
        return Ok(None);
    }
    let sql = "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1";
    let Some(row) = client.query_opt(sql, &[&schemas.ledger])? else { return Ok(None) };
    let may_create: bool = row.try_get(0)?;
    Ok(match catalog.uses_files {
        None if may_create => None,
        None => Some(format!(
            "kill_load_file is missing, so each load reads all unchanged files again: run {}",
            inspect::OWNER_APPLY
        )),
        Some(_) => Some(format!(
            "the role lacks SELECT, INSERT or UPDATE on kill_load_file, so each load reads all unchanged files again: run \
             in psql as the owner: GRANT SELECT, INSERT, UPDATE ON {}.kill_load_file TO {}",
            quote_identifier(&schemas.ledger),
            catalog.role
        )),
    })
}

/// Checks a database without a pool, each time on a new connection.
#[derive(Debug, Clone)]
pub struct HealthProbe {
    opener: Opener,
    describe: fn(&(dyn Error + 'static)) -> String,
}

/// The number of checks of one probe that may be abandoned because the server does not answer. Each holds a thread
/// and a connection. Further checks fail at once.
const ABANDONED_MAX: usize = 2;

impl HealthProbe {
    /// A probe whose checks take at most `time_max` each.
    pub fn new(target: &Target, application: &str, time_max: Duration) -> Self {
        Self { opener: Opener::new(target, application, time_max), describe: in_full }
    }

    /// The same probe for a public page: the text of statement errors is omitted.
    #[must_use]
    pub fn for_public(self) -> Self {
        Self { describe: in_public, ..self }
    }

    /// Checks the database's health.
    pub fn check(&self) -> HealthStatus {
        if self.opener.threads() >= ABANDONED_MAX {
            return self.failed(&DatabaseError::NoAnswer(self.opener.time_max()));
        }
        let deadline = Deadline::at_most(self.opener.time_max());
        check(&self.opener, &deadline).unwrap_or_else(|error| match error {
            // Only the time limit ends it.
            DatabaseError::Aborted => self.failed(&DatabaseError::NoAnswer(self.opener.time_max())),
            error => self.failed(&error),
        })
    }

    fn failed(&self, error: &DatabaseError) -> HealthStatus {
        HealthStatus::failed_with((self.describe)(error))
    }

    /// Checks the database's health, then the tables of a layout, the ledger and the nodes. Their state can make the
    /// database unhealthy.
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
        // A database that cannot be inspected is not healthy.
        let (fault, inspection) = match inspection {
            Ok(inspection) => (inspection.fault(), Some(inspection)),
            Err(error) => (Some((self.describe)(&error)), None),
        };
        status.error = status.error.or(fault);
        (status, inspection)
    }

    /// Finds nothing if there are no tables yet.
    fn inspect(&self, layout: Layout, schema: &str, ledger: Option<&str>) -> Result<Inspection, StoreError> {
        let (schema, ledger) = (schema.to_owned(), ledger.map(str::to_owned));
        apart(&self.opener, &Deadline::unbounded(), move |client| {
            let Located { schemas, tables } = match locate::of(client, layout, &schema, ledger.as_deref()) {
                Ok(located) => located,
                // No statement may name such tables.
                Err(TrustError::Untrusted(message)) => {
                    return Ok(Inspection { misfits: Some(message), ..Inspection::default() });
                }
                Err(TrustError::Lookup(error)) => return Err(error.into()),
            };
            let AccessFaults { texts: access_faults, lacks_create } =
                access::faults(client, layout, &schemas)?;
            let mut access_remedies = Vec::new();
            if !access_faults.is_empty() {
                let grants = access::grants(client, layout, &schemas, TableUse::Load)?;
                if !grants.is_empty() {
                    access_remedies.push(format!("in psql as the owner: {}", grants.join("; ")));
                }
            }
            if lacks_create {
                access_remedies.push(inspect::OWNER_APPLY.to_owned());
            }
            let last_run = if tables.has("kill_load_run") {
                match runs::last_run(client, &schemas) {
                    // The role lacks the privilege to read it, which the access faults say.
                    Err(_) if !access_faults.is_empty() => None,
                    last_run => last_run?,
                }
            } else {
                None
            };
            let mut index_faults = indexes::faults(client, layout, &schema)?;
            let catalog = Catalog::read(client, layout, &schemas)?;
            let look = |lack| misfits::misfits(&catalog, layout, &schemas, Distribution::OneServer, lack);
            let mut misfits = look(Lack::Added).and_then(|_| look(Lack::Misfit));
            let additions = inspect::additions(&catalog, layout, &schemas);
            // The faults of access come first, and without access the lookups would fail.
            if misfits.is_none() && access_faults.is_empty() {
                misfits = if inspect::may_add(client, &additions)? {
                    misfits::lost_rows(client, &catalog, layout, &schemas, LostRows::Refused)?
                } else {
                    Some(ensure::owner_must_add(&catalog, &schemas, &additions))
                };
            }
            if misfits.is_none() {
                // A role without access may also lack the privilege to add them.
                let remedy = if access_faults.is_empty() {
                    ": aegis-kills schema apply".to_owned()
                } else {
                    format!(" {}", inspect::OWNER_APPLY)
                };
                index_faults.extend(
                    additions.iter().map(|Addition { name, .. }| format!("{name} is missing: run{remedy}")),
                );
            }
            index_faults.extend(user_code::of_ledger(client, &schemas.ledger)?);
            let distribution = catalog.distributed.distribution(layout);
            if access_faults.is_empty() && distribution == Distribution::OneServer {
                index_faults.extend(file_fault(client, &catalog, &schemas)?);
            }
            let nodes = citus::nodes(client)?;
            // A node that does not answer would block until all time-outs have passed.
            let is_up = distribution == Distribution::OneServer || nodes.iter().all(|node| node.is_there);
            let table_bytes = if is_up {
                size::of_tables(client, layout, &schema, distribution).map(Some)
            } else {
                Ok(None)
            };
            let table_bytes = table_bytes
                .inspect_err(|error| log::debug!("cannot determine the tables' size: {}", in_full(error)));
            let table_bytes = table_bytes.ok().flatten();
            Ok(Inspection {
                last_run,
                index_faults,
                misfits,
                access_faults,
                access_remedies,
                distribution,
                nodes,
                table_bytes,
            })
        })
        .map_err(|error| StoreError::new("cannot inspect the tables", error))
    }
}
