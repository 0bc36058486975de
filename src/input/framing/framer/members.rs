//! The members of objects: their keys, and what is between them.

use crate::input::framing::framer::Ahead;
use crate::input::framing::framer::separators::{SEPARATOR, is_space};
use crate::input::framing::path::EventPath;
use crate::input::framing::scan::{Scanned, ValueScan};

/// The maximum number of bytes examined after a value to find the next member or value.
pub(crate) const LOOK_AHEAD_BYTES: usize = 2 << 10;

/// The start of a member of an object.
pub(crate) enum MemberHead<'t> {
    /// Its key, and the offset of its value.
    Value(&'t [u8], usize),
    /// The text ends before the value.
    Open,
    /// The text is not JSON, as the byte at this offset shows.
    Malformed(usize),
}

impl<'t> MemberHead<'t> {
    /// Reads the start of the first member of the object that begins at `start`.
    pub(crate) fn first_of(text: &'t [u8], start: usize) -> Self {
        let key = skip_space(text, start + 1);
        match text.get(key) {
            None => Self::Open,
            Some(b'"') => Self::of(text, key),
            Some(_) => Self::Malformed(key),
        }
    }

    /// Reads the start of the member whose key begins at `start`.
    pub(crate) fn of(text: &'t [u8], start: usize) -> Self {
        let end = match ValueScan::new(start).advance(text) {
            Scanned::End(end) => end,
            Scanned::Open => return Self::Open,
            Scanned::Fault(fault) => return Self::Malformed(fault),
        };
        let colon = skip_space(text, end);
        match text.get(colon) {
            None => return Self::Open,
            Some(b':') => {}
            Some(_) => return Self::Malformed(colon),
        }
        let value = skip_space(text, colon + 1);
        match text.get(value) {
            None => Self::Open,
            Some(b',' | b':' | b'}' | b']') => Self::Malformed(value),
            Some(_) => Self::Value(&text[start + 1..end - 1], value),
        }
    }
}

/// Skips white space and commas. Returns the offset after them.
pub(crate) fn skip_between(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| is_space(**byte) || **byte == b',').count()
}

pub(crate) fn skip_space(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| is_space(**byte)).count()
}

/// Returns whether a step of a path leads to the member with this key.
pub(crate) fn fits(step: Option<&str>, key: &[u8]) -> bool {
    step.is_none_or(|step| step.as_bytes() == key)
}

/// Returns whether a member of the object at the start of the text leads to events. The end of the object may be missing.
pub(crate) fn leads_to_events(object: &[u8], step: Option<&str>, path: &EventPath) -> bool {
    let (mut at, mut leads) = (1, false);
    loop {
        at = skip_between(object, at);
        if object.get(at) != Some(&b'"') {
            return leads;
        }
        let MemberHead::Value(key, value) = MemberHead::of(object, at) else { return leads };
        if key == path.event_key.as_bytes() {
            return false;
        }
        leads |= fits(step, key) && matches!(object[value], b'{' | b'[' | b'"');
        let Scanned::End(end) = ValueScan::new(value).advance(object) else { return leads };
        at = end;
    }
}

/// What follows a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Following {
    /// More text is needed.
    Unknown,
    /// A comma, a key at this offset, and a colon.
    Member(usize),
    /// A closing brace, which ends at this offset.
    Brace(usize),
    /// A text at this offset on the same line, which is neither a comma nor a closing bracket.
    Text(usize),
    /// Anything else.
    Other,
}

impl Following {
    /// Returns what follows the value that ends at `end`.
    pub(crate) fn of(text: &[u8], end: usize, ahead: Ahead) -> Self {
        let window = &text[..text.len().min(end + LOOK_AHEAD_BYTES)];
        let is_open = ahead == Ahead::More && window.len() < end + LOOK_AHEAD_BYTES;
        let undecided = if is_open { Self::Unknown } else { Self::Other };
        let next = skip_space(window, end);
        match window.get(next) {
            None => undecided,
            Some(b'}') => Self::Brace(next + 1),
            Some(b',') => {
                let key = skip_between(window, next);
                match window.get(key) {
                    None => undecided,
                    Some(b'"') => match MemberHead::of(window, key) {
                        MemberHead::Value(..) => Self::Member(key),
                        MemberHead::Open => undecided,
                        MemberHead::Malformed(_) => Self::Other,
                    },
                    Some(_) => Self::Other,
                }
            }
            Some(&(b']' | 0xef | SEPARATOR)) => Self::Other,
            Some(_) if window[end..next].contains(&b'\n') => Self::Other,
            Some(_) => Self::Text(next),
        }
    }
}

/// Returns the key of the first member of the object at `start`, if any.
pub(crate) fn first_key(text: &[u8], start: usize) -> Option<&[u8]> {
    match MemberHead::first_of(text, start) {
        MemberHead::Value(key, _) if text[start] == b'{' => Some(key),
        _ => None,
    }
}
