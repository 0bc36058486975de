//! Event counts and writer activities of a run.

pub(crate) mod activity;
pub(crate) mod counts;
pub(crate) mod monitor;
