//! The domain: what a kill event is, and how it is read from a line of JSON.
//!
//! Invariant: this module knows no SQL, no threads and no files; it borrows from the text it is given.
//!
//! Invariant: a line is taken as JSON exactly when `serde_json` takes it as a `Value`: the same grammar,
//! the same limit on depth and on numbers, and of two equal keys the last one counts. Property tests hold
//! the two against each other.

pub(crate) mod document;
pub(crate) mod fault;
pub(crate) mod field;
pub(crate) mod first_server;
pub(crate) mod forms;
pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod kill_event;
pub(crate) mod line;
pub(crate) mod parse;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod time;
