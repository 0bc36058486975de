//! Statistics of reject reasons: the count of each kind, and the place of its last reject. The reject file has every reject.
//!
//! Invariant: the number of kinds is bounded, however many different reasons occur.

use crate::event::server::Server;
use crate::pipeline::rejects::reject::{Reject, RejectCause};
use crate::sync::{Mutex, lock};
use std::cmp::Reverse;
use std::sync::Arc;

/// The maximum number of kinds. The program itself has fewer, but a trigger can raise any message.
const KINDS_MAX: usize = 200;

/// The maximum number of kinds per SQLSTATE. A trigger's message may differ for each event. Further messages form one kind.
const TEXTS_MAX: usize = 10;

/// The reason of that kind.
const VARIOUS: &str = "the database refused it with varying messages";

/// Longer reasons are truncated.
const REASON_BYTES_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectKind {
    /// The reason, without numbers that differ between events. For events refused by the database this is its message,
    /// which may quote their data.
    pub reason: String,
    /// The invalid field, without array indexes.
    pub field: Option<String>,
    /// The SQLSTATE, if the database refused the events.
    pub sqlstate: Option<String>,
    /// The path at which events seem to be inside the values. The reason advises it.
    pub events_at: Option<String>,
    /// Whether the reject file has only the beginnings of the values, so that it cannot be loaded.
    pub truncated: bool,
    pub count: u64,
    /// The source of the last reject.
    pub source: Arc<str>,
    /// Its line in the source, counted from 1.
    pub line: u64,
    /// Its index in the line's array, counted from 0.
    pub index: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RejectKinds {
    /// The kinds, most frequent first.
    pub kinds: Vec<RejectKind>,
    /// The number of rejects of further kinds.
    pub others: u64,
    /// The game server that the first reject to name one names.
    pub first_server: Option<Server>,
    /// Whether a reject names no game server, as far as known.
    pub has_unnamed: bool,
}

/// Reject kinds shared by several threads.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Mutex<RejectKinds>);

impl Reasons {
    pub(crate) fn add(&self, source: &Arc<str>, reject: &Reject) {
        lock(&self.0).add(source, reject);
    }

    pub(crate) fn kinds(&self) -> RejectKinds {
        let mut all = lock(&self.0).clone();
        all.kinds.sort_by(|a, b| (Reverse(a.count), &a.reason).cmp(&(Reverse(b.count), &b.reason)));
        all
    }
}

impl RejectKinds {
    /// Returns the game server that the first reject names, if each names one.
    pub(crate) fn named_server(&self) -> Option<Server> {
        self.first_server.filter(|_| !self.has_unnamed)
    }

    fn add(&mut self, source: &Arc<str>, reject: &Reject) {
        let server = reject.named_server();
        self.first_server = self.first_server.or(server);
        self.has_unnamed |= server.is_none();
        let sqlstate = &reject.cause.sqlstate().map(str::to_owned);
        let field = reject.cause.field().map(without_indexes);
        let mut reason = match &reject.cause {
            RejectCause::Fault(fault) => fault.reason_without_position(),
            RejectCause::Database { reason, .. } => without_values(reason),
        };
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        if sqlstate.is_some() && self.exceeds_texts_max(&reason, sqlstate.as_ref()) {
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
            let events_at = reject.cause.events_at().map(str::to_owned);
            let truncated = reject.truncated;
            self.kinds.push(RejectKind {
                reason,
                field,
                sqlstate,
                events_at,
                truncated,
                count: 1,
                source,
                line,
                index,
            });
        } else {
            self.others += 1;
        }
    }
}

impl RejectKinds {
    fn exceeds_texts_max(&self, reason: &str, sqlstate: Option<&String>) -> bool {
        let of_state = || self.kinds.iter().filter(|kind| kind.sqlstate.as_ref() == sqlstate);
        of_state().count() >= TEXTS_MAX && of_state().all(|kind| kind.reason != reason)
    }
}

/// Returns a message of the database without numbers, which may differ between events.
fn without_values(message: &str) -> String {
    // Truncate before the numbers are replaced, with a reserve for them.
    let text = &message[..message.floor_char_boundary(REASON_BYTES_MAX * 4)];
    // Keep numbers in quoted names, such as a constraint's, because they identify the cause.
    without_numbers(text, |before| before.matches('"').count().is_multiple_of(2), "N")
}

/// `Participants[2].Id` becomes `Participants[].Id`.
fn without_indexes(field: &str) -> String {
    without_numbers(field, |before| before.ends_with('['), "")
}

/// Replaces each number by `replacement` if `varies` returns true for the text before it.
fn without_numbers(text: &str, varies: impl Fn(&str) -> bool, replacement: &str) -> String {
    let mut normalized = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find(|letter: char| letter.is_ascii_digit()) {
        let start = at + found;
        let digits = text[start..].find(|letter: char| !letter.is_ascii_digit());
        let end = digits.map_or(text.len(), |digits| start + digits);
        normalized += &text[at..start];
        normalized += if varies(&text[..start]) { replacement } else { &text[start..end] };
        at = end;
    }
    normalized + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::fault::{Fault, FaultKind};

    fn reject(line: u64, cause: RejectCause) -> Reject {
        let (index, raw, unheld, enclosing_server) = (None, None, None, None);
        Reject { line, index, text: 0..0, raw, unheld, enclosing_server, cause, truncated: false }
    }

    fn fault(line: u64, kind: FaultKind) -> Reject {
        reject(line, RejectCause::Fault(kind.into()))
    }

    fn missing(line: u64, participant: usize) -> Reject {
        let fault =
            Fault::from(FaultKind::Missing).within("Id").within_element(participant).within("Participants");
        reject(line, RejectCause::Fault(fault))
    }

    fn refused(line: u64, reason: &str, sqlstate: &str) -> Reject {
        reject(line, RejectCause::Database { reason: reason.into(), sqlstate: Some(sqlstate.into()) })
    }

    #[test]
    fn numbers_of_database_messages_are_removed() {
        let message = "player 12 is banned since 2024, by \"rule_7\" of 9";
        assert_eq!(without_values(message), "player N is banned since N, by \"rule_7\" of N");
        assert_eq!(without_values("of 5 ä1"), "of N äN");
    }

    #[test]
    fn long_reasons_are_truncated() {
        let reasons = Reasons::default();
        reasons.add(&"a".into(), &refused(1, &"ä".repeat(300), "P0001"));
        assert_eq!(reasons.kinds().kinds[0].reason, "ä".repeat(100));
    }

    #[test]
    fn rejects_that_differ_in_a_place_are_one_kind_and_the_most_frequent_kind_is_first() {
        let reasons = Reasons::default();
        assert_eq!(reasons.kinds(), RejectKinds::default());
        let source: Arc<str> = "a.ndjson".into();
        for reject in [
            fault(1, FaultKind::NotUtf8 { byte: 17 }),
            missing(2, 2),
            missing(5, 13),
            refused(6, "of 1", "P0001"),
            refused(7, "of 2", "P0002"),
            missing(9, 0),
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
                ("required field is missing", Some("Participants[].Id"), 3, 9),
                ("not UTF-8", None, 1, 1),
                ("of N", None, 1, 6),
                ("of N", None, 1, 7),
            ]
        );
    }

    #[test]
    fn a_trigger_with_varying_messages_does_not_conceal_other_reasons() {
        let reasons = Reasons::default();
        let banned = |number: usize| refused(1, &"x".repeat(number + 1), "P0001");
        (0..150).for_each(|number| reasons.add(&"a".into(), &banned(number)));
        reasons.add(&"a".into(), &banned(3));
        reasons.add(&"a".into(), &missing(2, 0));
        let RejectKinds { kinds, others, .. } = reasons.kinds();
        let summary = |kind: &RejectKind| (kind.reason.clone(), kind.count);
        assert_eq!(summary(&kinds[0]), (VARIOUS.to_owned(), 140));
        assert_eq!(summary(&kinds[1]), ("xxxx".to_owned(), 2));
        assert_eq!((kinds.len(), others), (TEXTS_MAX + 2, 0));
    }

    #[test]
    fn a_kind_has_the_advised_path() {
        let reasons = Reasons::default();
        let fault = Fault::from(FaultKind::Missing).within("EventId").with_events_at(Some("a.b".to_owned()));
        reasons.add(&"a".into(), &reject(1, RejectCause::Fault(fault)));
        reasons.add(&"a".into(), &missing(2, 0));
        let found: Vec<_> = reasons.kinds().kinds.into_iter().map(|kind| kind.events_at).collect();
        assert_eq!(found, [None, Some("a.b".to_owned())]);
    }

    #[test]
    fn the_server_is_known_if_each_reject_names_one() {
        let other = |named| fault(1, FaultKind::OtherServer { named, expected: Server::Americas });
        let mut enclosed = missing(2, 0);
        enclosed.enclosing_server = Some(Server::Europe);
        let named = |rejects: &[&Reject]| {
            let reasons = Reasons::default();
            for reject in rejects {
                reasons.add(&"a".into(), reject);
            }
            reasons.kinds().named_server()
        };
        assert_eq!(named(&[]), None);
        assert_eq!(named(&[&other(Server::Asia), &enclosed]), Some(Server::Asia));
        assert_eq!(named(&[&enclosed, &other(Server::Asia)]), Some(Server::Europe));
        assert_eq!(named(&[&enclosed, &missing(3, 0), &enclosed]), None);
    }

    #[test]
    fn the_number_of_kinds_is_limited() {
        let reasons = Reasons::default();
        let letters = |number: usize| "x".repeat(number % 100) + &"y".repeat(number / 100);
        let many: Vec<Reject> =
            (0..5000).map(|number| fault(1, FaultKind::NothingAtPath(letters(number)))).collect();
        many.iter().chain(&many[..1]).for_each(|reject| reasons.add(&"a".into(), reject));
        let RejectKinds { kinds, others, .. } = reasons.kinds();
        assert_eq!((kinds.len(), kinds[0].count, others), (KINDS_MAX, 2, 5000 - KINDS_MAX as u64));
    }
}
