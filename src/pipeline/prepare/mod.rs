//! From a segment to a batch: values are parsed, events encoded, duplicates found.
//!
//! Invariant: what is held of a segment is bounded by its bytes, whatever they hold. Rows and rejects beyond that are made
//! again from the text when they are needed.

mod parts;
mod prepared;
mod preparer;
#[cfg(test)]
mod tests;

pub use prepared::Prepared;
pub use preparer::{Battle, Preparer, Reading, battle_in_name};
