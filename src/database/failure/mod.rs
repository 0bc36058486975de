//! What can go wrong with the database, what that means, and what may be shown of it.
//!
//! Invariant: errors are classified by SQLSTATE alone, never by the server's text, which it translates.

pub(crate) mod classify;
pub(crate) mod error;
pub(crate) mod failure_kind;
pub(crate) mod gate_error;
pub(crate) mod public;
