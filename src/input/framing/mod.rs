//! From text to whole values and segments.
//!
//! Invariant: bounds depend on the bytes alone, so a dump is always cut the same way.

pub(crate) mod cutter;
pub(crate) mod framer;
pub(crate) mod scan;
