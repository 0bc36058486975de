//! What could not be loaded of a segment, and why.

use std::ops::Range;

/// A refused line or element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The number of its line in the source, from 1.
    pub line: u64,
    /// Its place in the line's array, from 0.
    pub index: Option<usize>,
    /// Where its text stands in the segment.
    pub text: Range<usize>,
    /// Its text, where it was in a string of the segment.
    pub raw: Option<Box<str>>,
    /// Why it was refused.
    pub reason: Box<str>,
    /// The field at fault, as a path below the event.
    pub field: Option<Box<str>>,
    /// What the database called it.
    pub sqlstate: Option<Box<str>>,
    /// Whether the text is only the head of the line.
    pub truncated: bool,
}
