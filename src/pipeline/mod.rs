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

mod activity;
mod claim;
#[cfg(test)]
mod fake;
mod files;
mod first_values;
mod halt;
mod monitor;
mod order;
mod prepare;
mod reasons;
mod reject;
mod reject_place;
mod rejects;
mod run;
mod segments;
mod taken;
mod tally;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use activity::{Activity, Writer};
pub use halt::{Halt, HaltReason, Stopping};
pub use monitor::Monitor;
pub use prepare::{Battle, Prepared, Preparer, Reading, battle_in_name};
pub use reasons::{RejectKind, RejectKinds};
pub use reject::Reject;
pub use rejects::{RejectFile, RejectFileError};
pub use run::{PipelineSettings, RunReport, run};
pub use segments::{Segments, SourceError};
pub use tally::{Counts, RejectLimit};
pub use verify::VerifyRun;
