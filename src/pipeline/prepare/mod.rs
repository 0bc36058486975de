//! Turns a segment into a batch: parses its values, encodes events and finds duplicates.
//!
//! Invariant: memory per segment is bounded by its size, whatever it contains. Rows and rejects beyond that are recreated
//! from the text when needed.

mod divided;
pub(crate) mod first_values;
pub(crate) mod parts;
pub(crate) mod prepared;
pub(crate) mod preparer;
pub(crate) mod recoder;
pub(crate) mod span_text;
#[cfg(test)]
mod tests;
