//! Kill events: the data model and the JSON parser.
//!
//! Invariant: this module has no SQL, no threads and no file access. Events borrow from the input text.
//!
//! Invariant: the parser accepts a line exactly when `serde_json` parses it as a `Value`. Grammar, depth limit and
//! number range are the same, and the last of several equal keys counts. The one exception is a lone surrogate, which
//! rejects only the event that contains it. Property tests compare the two parsers.

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
pub(crate) mod rules;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod time;
