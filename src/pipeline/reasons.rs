//! Why events were refused: how many for each reason.
//!
//! Invariant: however many different reasons there are, it holds a bounded number of them.

use super::rejects::Reject;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Reasons that are told apart. The program has far fewer of its own, but a trigger's words may be anything.
const REASONS_MAX: usize = 1000;

/// Longer reasons are cut.
const REASON_BYTES_MAX: usize = 200;

/// How many events were refused for each reason, which several threads add to.
#[derive(Debug, Default)]
pub(super) struct Reasons(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    by_reason: HashMap<String, u64>,
    /// For reasons that came when there was no more room.
    others: u64,
}

/// The most frequent reasons.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopReasons {
    /// In words, with how many were refused for it; the most frequent first.
    pub reasons: Vec<(String, u64)>,
    /// How many were refused for any other reason.
    pub others: u64,
}

impl Reasons {
    pub(super) fn add(&self, rejects: &[Reject]) {
        if rejects.is_empty() {
            return;
        }
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for reject in rejects {
            let reason = in_general(reject);
            let has_room = counted.by_reason.len() < REASONS_MAX;
            match counted.by_reason.get_mut(&reason) {
                Some(count) => *count += 1,
                None if has_room => drop(counted.by_reason.insert(reason, 1)),
                None => counted.others += 1,
            }
        }
    }

    /// The `count` most frequent ones.
    pub(super) fn top(&self, count: usize) -> TopReasons {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons: Vec<(&String, u64)> =
            counted.by_reason.iter().map(|(reason, &count)| (reason, count)).collect();
        reasons.sort_unstable_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
        let rest = reasons.split_off(count.min(reasons.len()));
        TopReasons {
            reasons: reasons.into_iter().map(|(reason, count)| (reason.clone(), count)).collect(),
            others: counted.others + rest.iter().map(|(_, count)| count).sum::<u64>(),
        }
    }
}

/// The reason without what differs from event to event: the place in the line, the place in a list, numbers in the
/// database's words.
fn in_general(reject: &Reject) -> String {
    let mut reason = match &reject.field {
        Some(field) => format!("{}: ", without_numbers(field, |before| before.ends_with('['), "")),
        None => String::new(),
    };
    // No longer than what is kept of it with the numbers left out.
    let words = &reject.reason[..reject.reason.floor_char_boundary(REASON_BYTES_MAX * 4)];
    if let Some(sqlstate) = &reject.sqlstate {
        // A name in quotes, such as a constraint's, may have a number, and tells what is the matter.
        let in_quotes = |before: &str| before.matches('"').count() % 2 == 1;
        reason += &without_numbers(words, |before| !in_quotes(before), "N");
        reason.extend([" (", sqlstate, ")"]);
    } else {
        let varies = |before: &str| before.ends_with("at byte ") || before.ends_with("a line of ");
        reason += &without_numbers(words, varies, "N");
    }
    reason = reason.replace(" at byte N of the line", "");
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
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

    fn reject(field: Option<&str>, reason: &str, sqlstate: Option<&str>) -> Reject {
        Reject {
            line: 1,
            index: None,
            text: 0..0,
            reason: reason.to_owned(),
            field: field.map(str::to_owned),
            sqlstate: sqlstate.map(str::to_owned),
            truncated: false,
        }
    }

    #[test]
    fn what_differs_from_event_to_event_is_left_out() {
        for (field, reason, sqlstate, expected) in [
            (None, "not JSON: it is cut off at byte 123 of the line", None, "not JSON: it is cut off"),
            (None, "not UTF-8 at byte 7 of the line", None, "not UTF-8"),
            (
                None,
                "a line of 17000000 bytes, and at most 16777216 are taken",
                None,
                "a line of N bytes, and at most 16777216 are taken",
            ),
            (Some("Participants[12].Id"), "is missing", None, "Participants[].Id: is missing"),
            (
                Some("EventId"),
                "an integer beyond the 64 bits of its column",
                None,
                "EventId: an integer beyond the 64 bits of its column",
            ),
            (
                None,
                "player 12 is banned since 2024, by \"rule_7\" of 9",
                Some("P0001"),
                "player N is banned since N, by \"rule_7\" of N (P0001)",
            ),
            (None, "of 5 ä1", Some("P0001"), "of N äN (P0001)"),
        ] {
            assert_eq!(in_general(&reject(field, reason, sqlstate)), expected);
        }
        let long = in_general(&reject(None, &"ä".repeat(300), None));
        assert_eq!(long, "ä".repeat(100));
    }

    #[test]
    fn the_most_frequent_come_first() {
        let reasons = Reasons::default();
        assert_eq!(reasons.top(3), TopReasons::default());
        for (reason, count) in [("d", 1), ("b", 2), ("a", 2), ("c", 3)] {
            reasons.add(&vec![reject(None, reason, None); count]);
        }
        let expected = |top: &[(&str, u64)], others| TopReasons {
            reasons: top.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            others,
        };
        assert_eq!(reasons.top(3), expected(&[("c", 3), ("a", 2), ("b", 2)], 1));
        assert_eq!(reasons.top(9), expected(&[("c", 3), ("a", 2), ("b", 2), ("d", 1)], 0));
    }

    #[test]
    fn there_is_a_limit_to_what_is_held() {
        let reasons = Reasons::default();
        let letters = |number: usize| "x".repeat(number % 100) + &"y".repeat(number / 100);
        let many: Vec<Reject> = (0..5000).map(|number| reject(None, &letters(number), None)).collect();
        reasons.add(&many);
        reasons.add(&many[..1]);
        assert_eq!(reasons.0.lock().unwrap().by_reason.len(), REASONS_MAX);
        let top = reasons.top(1);
        assert_eq!((top.reasons[0].1, top.others), (2, 4999));
    }
}
