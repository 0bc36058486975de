//! Database errors: their types, their classification, and their public form.
//!
//! Invariant: errors are classified by SQLSTATE alone, never by the text of the server, which it translates.

pub(crate) mod classify;
pub(crate) mod error;
pub(crate) mod failure_kind;
pub(crate) mod gate_error;
pub(crate) mod outage_kind;
pub(crate) mod public;
