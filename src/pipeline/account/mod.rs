//! What became of each event so far, and what each thread is doing.

pub(crate) mod activity;
pub(crate) mod counts;
pub(crate) mod monitor;
