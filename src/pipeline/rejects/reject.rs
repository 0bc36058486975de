//! Rejected values.

use std::ops::Range;

/// A rejected line, value or array element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The number of its line in the source, counted from 1.
    pub line: u64,
    /// Its index in the line's array, counted from 0.
    pub index: Option<usize>,
    /// The range of its text in the segment.
    pub text: Range<usize>,
    /// Its decoded text, if it was in a string of the segment.
    pub raw: Option<Box<str>>,
    /// The reason for the rejection.
    pub reason: Box<str>,
    /// The field at fault, as a path below the event.
    pub field: Option<Box<str>>,
    /// The SQLSTATE, if the database refused the event.
    pub sqlstate: Option<Box<str>>,
    /// Whether the text is only the head of the value.
    pub truncated: bool,
}
