//! Why events were refused, by kind: how many, and where the last one is. The reject file has each of them in full.
//!
//! Invariant: however many different reasons there are, it holds a bounded number of them.

use crate::pipeline::rejects::reject::Reject;
use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

/// Kinds that are told apart. The program has fewer of its own, but a trigger's words may be anything.
const KINDS_MAX: usize = 200;

/// Kinds of one SQLSTATE that are told apart: a trigger's words may differ with each event, and are then one kind together.
const TEXTS_MAX: usize = 10;

/// The reason of that kind.
const VARIOUS: &str = "the database refused it in various words";

/// Longer reasons are cut.
const REASON_BYTES_MAX: usize = 200;

/// Rejects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectKind {
    /// Why, without the numbers that differ from one to the next. What the database refused is told in its words, which may quote
    /// what it was given.
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RejectKinds {
    /// The most frequent first.
    pub kinds: Vec<RejectKind>,
    /// Rejects of further kinds.
    pub others: u64,
}

/// Kinds that several threads add to.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Mutex<RejectKinds>);

impl Reasons {
    /// Adds a reject of a source.
    pub(crate) fn add(&self, source: &Arc<str>, reject: &Reject) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(source, reject);
    }

    pub(crate) fn kinds(&self) -> RejectKinds {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.kinds.sort_by(|a, b| (Reverse(a.count), &a.reason).cmp(&(Reverse(b.count), &b.reason)));
        all
    }
}

impl RejectKinds {
    fn add(&mut self, source: &Arc<str>, reject: &Reject) {
        let mut reason = normalized_reason(reject);
        let field = reject.field.as_deref().map(without_places);
        let sqlstate = &reject.sqlstate.as_deref().map(str::to_owned);
        if sqlstate.is_some() && self.is_new_of_many(&reason, sqlstate.as_ref()) {
            VARIOUS.clone_into(&mut reason);
        }
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

impl RejectKinds {
    fn is_new_of_many(&self, reason: &str, sqlstate: Option<&String>) -> bool {
        let of_state = || self.kinds.iter().filter(|kind| kind.sqlstate.as_ref() == sqlstate);
        of_state().count() >= TEXTS_MAX && of_state().all(|kind| kind.reason != reason)
    }
}

/// The reason without what differs from event to event: the place in the line, numbers in the database's words.
fn normalized_reason(reject: &Reject) -> String {
    // No longer than what is kept of it with the numbers left out.
    let words = &reject.reason[..reject.reason.floor_char_boundary(REASON_BYTES_MAX * 4)];
    let mut reason = if reject.sqlstate.is_some() {
        // A name in quotes, such as a constraint's, may have a number, and tells what is the matter.
        let in_quotes = |before: &str| before.matches('"').count() % 2 == 1;
        without_numbers(words, |before| !in_quotes(before), "N")
    } else {
        let varies = |before: &str| before.ends_with("at byte ") || before.ends_with("a value of ");
        without_numbers(words, varies, "N").replace(" at byte N of the line", "")
    };
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

/// `Participants[2].Id` becomes `Participants[].Id`.
fn without_places(field: &str) -> String {
    without_numbers(field, |before| before.ends_with('['), "")
}

/// The text with `put` in place of each number for which `varies` holds of what stands before it.
fn without_numbers(text: &str, varies: impl Fn(&str) -> bool, put: &str) -> String {
    let mut general = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find(|letter: char| letter.is_ascii_digit()) {
        let start = at + found;
        let digits = text[start..].find(|letter: char| !letter.is_ascii_digit());
        let end = digits.map_or(text.len(), |digits| start + digits);
        general += &text[at..start];
        general += if varies(&text[..start]) { put } else { &text[start..end] };
        at = end;
    }
    general + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(field: Option<&str>, reason: &str, sqlstate: Option<&str>, line: u64) -> Reject {
        Reject {
            line,
            index: None,
            text: 0..0,
            raw: None,
            reason: reason.into(),
            field: field.map(Into::into),
            sqlstate: sqlstate.map(Into::into),
            truncated: false,
        }
    }

    #[test]
    fn what_differs_from_event_to_event_is_left_out() {
        for (reason, sqlstate, expected) in [
            ("not JSON: it is cut off at byte 123 of the line", None, "not JSON: it is cut off"),
            ("not UTF-8 at byte 7 of the line", None, "not UTF-8"),
            (
                "a value of 17000000 bytes, and at most 16777216 are taken",
                None,
                "a value of N bytes, and at most 16777216 are taken",
            ),
            (
                "an integer beyond the 64 bits of its column",
                None,
                "an integer beyond the 64 bits of its column",
            ),
            (
                "player 12 is banned since 2024, by \"rule_7\" of 9",
                Some("P0001"),
                "player N is banned since N, by \"rule_7\" of N",
            ),
            ("of 5 ä1", Some("P0001"), "of N äN"),
        ] {
            assert_eq!(normalized_reason(&reject(None, reason, sqlstate, 1)), expected);
        }
        let long = normalized_reason(&reject(None, &"ä".repeat(300), None, 1));
        assert_eq!(long, "ä".repeat(100));
    }

    #[test]
    fn rejects_that_differ_in_a_place_are_one_kind_and_the_most_frequent_come_first() {
        let reasons = Reasons::default();
        assert_eq!(reasons.kinds(), RejectKinds::default());
        let source: Arc<str> = "a.ndjson".into();
        for reject in [
            reject(None, "not UTF-8 at byte 17 of the line", None, 1),
            reject(Some("Participants[2].Id"), "is missing", None, 2),
            reject(Some("Participants[13].Id"), "is missing", None, 5),
            reject(None, "of 1", Some("P0001"), 6),
            reject(None, "of 2", Some("P0002"), 7),
            reject(Some("Participants[0].Id"), "is missing", None, 9),
        ] {
            reasons.add(&source, &reject);
        }
        let kinds = reasons.kinds().kinds;
        let found: Vec<_> = kinds
            .iter()
            .map(|kind| (kind.reason.as_str(), kind.field.as_deref(), kind.count, kind.line))
            .collect();
        assert_eq!(
            found,
            [
                ("is missing", Some("Participants[].Id"), 3, 9),
                ("not UTF-8", None, 1, 1),
                ("of N", None, 1, 6),
                ("of N", None, 1, 7),
            ]
        );
    }

    #[test]
    fn a_trigger_whose_words_always_differ_does_not_conceal_other_reasons() {
        let reasons = Reasons::default();
        let banned = |number: usize| reject(None, &"x".repeat(number + 1), Some("P0001"), 1);
        (0..150).for_each(|number| reasons.add(&"a".into(), &banned(number)));
        reasons.add(&"a".into(), &banned(3));
        reasons.add(&"a".into(), &reject(Some("Killer.Id"), "is missing", None, 2));
        let RejectKinds { kinds, others } = reasons.kinds();
        let told = |kind: &RejectKind| (kind.reason.clone(), kind.count);
        assert_eq!(told(&kinds[0]), (VARIOUS.to_owned(), 140));
        assert_eq!(told(&kinds[1]), ("xxxx".to_owned(), 2));
        assert_eq!((kinds.len(), others), (TEXTS_MAX + 2, 0));
    }

    #[test]
    fn there_is_a_limit_to_what_is_held() {
        let reasons = Reasons::default();
        let letters = |number: usize| "x".repeat(number % 100) + &"y".repeat(number / 100);
        let many: Vec<Reject> = (0..5000).map(|number| reject(None, &letters(number), None, 1)).collect();
        many.iter().chain(&many[..1]).for_each(|reject| reasons.add(&"a".into(), reject));
        let RejectKinds { kinds, others } = reasons.kinds();
        assert_eq!((kinds.len(), kinds[0].count, others), (KINDS_MAX, 2, 5000 - KINDS_MAX as u64));
    }
}
