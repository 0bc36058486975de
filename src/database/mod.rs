//! All code that talks to PostgreSQL.
//!
//! For each call, the *manager* waits at the *gate* until the database is reachable, takes a *session* from the pool,
//! and runs the call on a *supervised* thread. A failure is *classified*, then retried by the *retry* policy, or by the
//! gate once its *watchdog* has reached the database again.
//!
//! The directories, in reading order. Each imports those above it, and `store`, `options`, `schemas`, `metrics` and
//! `active_calls`:
//!
//! - `connect`: the database's address, TLS, the server's version.
//! - `failure`: errors and their classification.
//! - `session`: one connection.
//! - `pool`: supervised calls, retries and outages.
//! - `ledger`: runs, segments, files, rejects, claims.
//! - `schema`: the tables and their defects.
//! - `write`: batches, updates, deletion.
//! - `health`: checks on request. `store`: the interface for the pipeline.

pub(crate) mod active_calls;
pub(crate) mod connect;
pub(crate) mod failure;
pub(crate) mod health;
pub(crate) mod ledger;
pub(crate) mod locks;
pub(crate) mod metrics;
pub(crate) mod options;
pub(crate) mod pool;
pub(crate) mod schema;
pub(crate) mod schemas;
pub(crate) mod session;
pub(crate) mod store;
pub(crate) mod write;
