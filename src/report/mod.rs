//! What people and scripts are told of a run, and of the database.
//!
//! Each report has two forms: words, whose first line is the outcome and whose last says what to run next, and one JSON
//! object, whose fields are promised. The figures of a run that is under way are read from its
//! [`Monitor`](crate::pipeline::account::monitor::Monitor), and cost the run nothing.
//!
//! Invariant: this module asks the database nothing. It is given what was found.

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
