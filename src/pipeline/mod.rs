//! From segments to stored events: preparing, writing, and the account of what became of each event.
//!
//! Invariant: this module knows no type of PostgreSQL; it writes through [`Store`](crate::database::store::Store).
//!
//! Invariant: everything is bounded. The buffers that segments are read into are made once and go round
//! (reader, parsing threads, writers, reader); whoever has none waits, and so does the input.
//!
//! Invariant: what circulates (buffers, places in the order, claims, batches in flight) has one owner, whose drop returns it.
//! A run checks at its end that all of it is back.
//!
//! Invariant: every event that was read is in exactly one count, or in none and so unfinished.

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
pub(crate) mod shutdown;
pub(crate) mod source_segments;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
pub(crate) mod worker;
