//! Turns segments into stored events: prepares and writes batches, and accounts for each event.
//!
//! Invariant: this module uses no PostgreSQL types. It writes through [`Store`](crate::database::store::Store).
//!
//! Invariant: everything is bounded. Segment buffers are allocated once and circulate from the reader to the parsing
//! threads, to the writers, and back. A thread without a buffer waits, and so does the input.
//!
//! Invariant: buffers, sequence slots, claims and batches in flight each have one owner, whose drop returns them. At its end
//! a run checks that all of them were returned.
//!
//! Invariant: every event that was read is in exactly one count, or in none and therefore unfinished.

pub(crate) mod account;
pub(crate) mod claim;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod files;
pub(crate) mod peer_segments;
pub(crate) mod prepare;
pub(crate) mod rejects;
pub(crate) mod reorder;
pub(crate) mod run;
pub(crate) mod run_error;
pub(crate) mod run_report;
pub(crate) mod shutdown;
pub(crate) mod source_segments;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
pub(crate) mod worker;
