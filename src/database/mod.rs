//! Everything that speaks to PostgreSQL.
//!
//! A call goes this way: the *manager* waits at the *gate* until the database is reachable, takes a *session* from the pool,
//! and has it run on a *supervised* thread of its own. A failure is *classified*, then retried by the *retry* policy, or by
//! the gate once its *watchdog* has reached the database again.
//!
//! The directories, in reading order. Each imports those above it alone:
//!
//! - `connect`: where the database is, TLS, the server's version.
//! - `failure`: errors and their classification.
//! - `session`: one connection.
//! - `pool`: calls with a limit, retries and outages.
//! - `ledger`: runs, segments, files, rejects, claims.
//! - `schema`: the tables, and what is wrong with them.
//! - `write`: batches, updates, deletion.
//! - `health`: checks on request. `store`: what the pipeline asks for.

pub(crate) mod connect;
pub(crate) mod failure;
pub(crate) mod health;
pub(crate) mod ledger;
pub(crate) mod locks;
pub(crate) mod options;
pub(crate) mod pool;
pub(crate) mod schema;
pub(crate) mod schemas;
pub(crate) mod session;
pub(crate) mod store;
pub(crate) mod write;
