//! The progress lines and the log on standard error.
//!
//! Invariant: nothing here blocks on a terminal that does not read.

pub(crate) mod lines;
pub(crate) mod logger;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod speed;
pub(crate) mod stderr;
pub(crate) mod ticker;
pub(crate) mod watch;
