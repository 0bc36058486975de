//! From a segment to a batch: values are parsed, events encoded, duplicates found.
//!
//! Invariant: what is held of a segment is bounded by its bytes, whatever they hold. Rows and rejects beyond that are made
//! again from the text when they are needed.

pub(crate) mod first_values;
pub(crate) mod parts;
pub(crate) mod prepared;
pub(crate) mod preparer;
#[cfg(test)]
mod tests;
