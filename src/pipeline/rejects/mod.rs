//! Rejected events: the reject file and the statistics of reasons.

pub(crate) mod file;
pub(crate) mod kinds;
pub(crate) mod place;
pub(crate) mod reject;
