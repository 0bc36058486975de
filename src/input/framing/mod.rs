//! Cuts text into whole values and segments.
//!
//! Invariant: boundaries depend only on the bytes, so a dump is always cut the same way.

pub(crate) mod cutter;
pub(crate) mod framer;
pub(crate) mod path;
pub(crate) mod scan;
