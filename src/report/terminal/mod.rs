//! The progress lines and the log on standard error.
//!
//! Invariant: nothing here waits for a terminal that does not take its text.

pub(crate) mod lines;
pub(crate) mod logger;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod speed;
pub(crate) mod stderr;
pub(crate) mod ticker;
pub(crate) mod watch;
