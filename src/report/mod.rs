//! Reports on a run and on the database, for users and scripts.
//!
//! Each report has two forms: a text that starts with the outcome and ends with the next command, and one JSON object
//! with stable fields. The counts of a running load come from its
//! [`Monitor`](crate::pipeline::account::monitor::Monitor), at no cost to the run.
//!
//! Invariant: this module does not query the database. Callers pass in the results.

pub(crate) mod delete;
pub(crate) mod format;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod terminal;
pub(crate) mod verify;
