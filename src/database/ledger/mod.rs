//! The record of runs, segments, files and rejects, and the claims of concurrent loads.
//!
//! Invariant: a segment's ledger row commits with its events. There is no other record of progress.

pub(crate) mod claims;
pub(crate) mod comments;
pub(crate) mod confirmation;
pub(crate) mod crashes;
pub(crate) mod deletions;
pub(crate) mod entries;
pub(crate) mod files;
pub(crate) mod kept_rows;
pub(crate) mod opening;
pub(crate) mod reports;
pub(crate) mod runs;
pub(crate) mod segments;
pub(crate) mod stored;
