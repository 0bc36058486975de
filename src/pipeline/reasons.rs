//! The reasons of a run's rejects by kind, for who watches the run: the reject file has each of them in full.
//!
//! Invariant: nothing of an event's text is in it, nor what the database says of a value; and it is bounded.

use super::rejects::Reject;
use std::sync::{Arc, Mutex, PoisonError};

/// So many kinds are told apart.
const KINDS_MAX: usize = 32;

/// Rejects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectKind {
    /// Why, without the numbers that differ from one to the next.
    pub reason: String,
    /// The field at fault, without the places in lists.
    pub field: Option<String>,
    /// What the database called it.
    pub sqlstate: Option<String>,
    /// How many there are.
    pub count: u64,
    /// The source of the last one.
    pub source: Arc<str>,
    /// Its line there, from 1.
    pub line: u64,
    /// Its place in the line's array, from 0.
    pub index: Option<usize>,
}

/// The kinds of rejects so far.
#[derive(Debug, Clone, Default)]
pub struct RejectKinds {
    /// The most frequent first.
    pub kinds: Vec<RejectKind>,
    /// Rejects of further kinds.
    pub others: u64,
}

/// Kinds that several threads add to.
#[derive(Debug, Default)]
pub(super) struct Reasons(Mutex<RejectKinds>);

impl Reasons {
    /// Adds the rejects of a segment.
    pub(super) fn add(&self, source: &Arc<str>, rejects: &[Reject]) {
        if rejects.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for reject in rejects {
            all.add(source, reject);
        }
    }

    pub(super) fn kinds(&self) -> RejectKinds {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        all
    }
}

impl RejectKinds {
    fn add(&mut self, source: &Arc<str>, reject: &Reject) {
        let reason = match &reject.sqlstate {
            // The database's own words may quote what it was given.
            Some(sqlstate) => refusal(sqlstate).to_owned(),
            None => without_numbers(&reject.reason),
        };
        let field = reject.field.as_deref().map(without_places);
        let sqlstate = &reject.sqlstate;
        let same = |kind: &&mut RejectKind| {
            kind.reason == reason && kind.field == field && kind.sqlstate == *sqlstate
        };
        let (line, index) = (reject.line, reject.index);
        if let Some(kind) = self.kinds.iter_mut().find(same) {
            kind.count += 1;
            (kind.source, kind.line, kind.index) = (Arc::clone(source), line, index);
        } else if self.kinds.len() < KINDS_MAX {
            let (sqlstate, source) = (sqlstate.clone(), Arc::clone(source));
            self.kinds.push(RejectKind { reason, field, sqlstate, count: 1, source, line, index });
        } else {
            self.others += 1;
        }
    }
}

/// What a SQLSTATE that refuses a row says, in words.
fn refusal(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22001" => "the database refused it: a text is too long for its column",
        "22003" => "the database refused it: a number is out of its column's range",
        "22P05" | "22021" => "the database refused it: a character that it can't hold",
        "23502" => "the database refused it: a column that must not be empty",
        "23503" => "the database refused it: a foreign key",
        "23505" => "the database refused it: a unique constraint",
        "23514" => "the database refused it: a check constraint",
        "P0001" => "the database refused it: a trigger or function raised an error",
        _ => "the database refused it",
    }
}

/// What stands before a number that differs from one reject to the next.
const BEFORE_NUMBERS: [&str; 2] = ["byte ", "a line of "];

/// Such numbers become `N`, so that reasons that differ in a place alone are one kind.
fn without_numbers(reason: &str) -> String {
    let mut words = reason.to_owned();
    for before in BEFORE_NUMBERS {
        if let Some(at) = words.find(before) {
            let start = at + before.len();
            let digits = words[start..].bytes().take_while(u8::is_ascii_digit).count();
            if digits > 0 {
                words.replace_range(start..start + digits, "N");
            }
        }
    }
    words
}

/// `Participants[2].Id` becomes `Participants[].Id`.
fn without_places(field: &str) -> String {
    let mut parts = field.split('[');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        path.push('[');
        path.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(reason: &str, field: Option<&str>, sqlstate: Option<&str>, line: u64) -> Reject {
        Reject {
            line,
            index: None,
            text: 0..0,
            reason: reason.to_owned(),
            field: field.map(str::to_owned),
            sqlstate: sqlstate.map(str::to_owned),
            truncated: false,
        }
    }

    #[test]
    fn rejects_that_differ_in_a_place_are_one_kind() {
        let reasons = Reasons::default();
        let source: Arc<str> = "a.ndjson".into();
        reasons.add(
            &source,
            &[
                reject("not UTF-8 at byte 17 of the line", None, None, 1),
                reject("an integer is needed, text was found", Some("Participants[2].Id"), None, 2),
                reject("an integer is needed, text was found", Some("Participants[13].Id"), None, 5),
                reject("a line of 17000000 bytes, and at most 16777216 are taken", None, None, 6),
                reject("value \"secret\" is out of range", None, Some("22003"), 6),
            ],
        );
        reasons.add(
            &source,
            &[reject("an integer is needed, text was found", Some("Participants[0].Id"), None, 9)],
        );
        let kinds = reasons.kinds().kinds;
        let found: Vec<_> = kinds
            .iter()
            .map(|kind| (kind.reason.as_str(), kind.field.as_deref(), kind.count, kind.line))
            .collect();
        assert_eq!(
            found,
            [
                ("an integer is needed, text was found", Some("Participants[].Id"), 3, 9),
                ("not UTF-8 at byte N of the line", None, 1, 1),
                ("a line of N bytes, and at most 16777216 are taken", None, 1, 6),
                ("the database refused it: a number is out of its column's range", None, 1, 6),
            ]
        );
    }

    #[test]
    fn the_kinds_are_bounded() {
        let reasons = Reasons::default();
        for number in 0..100 {
            let reason = "x".repeat(number);
            reasons.add(&"a".into(), &[reject(&reason, None, None, 1)]);
        }
        let RejectKinds { kinds, others } = reasons.kinds();
        assert_eq!((kinds.len(), others), (KINDS_MAX, 100 - KINDS_MAX as u64));
    }
}
