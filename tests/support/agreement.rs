//! Checks that the parser and the encoder agree with `serde_json` and the oracle on a line: whether it is JSON, which
//! events are accepted, and their rows.

use std::collections::BTreeSet;

use aegis_kills::internals::{DuplicatePolicy, Encoder, Layout, Rows};
use aegis_kills::internals::{Event, Fault, LineReader, NulPolicy, Server};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::copybin;
use super::oracle::{self, Nul, Place, assert_same, expect_in};

/// The server of the encoded events.
pub(crate) const SERVER: Server = Server::Europe;
/// The NUL policies, as types of the program and of the oracle.
pub(crate) const POLICIES: [(NulPolicy, Nul); 3] =
    [(NulPolicy::Reject, Nul::Reject), (NulPolicy::Strip, Nul::Strip), (NulPolicy::Replace, Nul::Replace)];

/// The layouts, as types of the program and of the oracle.
pub(crate) fn layouts() -> impl Iterator<Item = (Layout, oracle::Layout)> {
    let of_program = |layout: oracle::Layout| layout.name().parse::<Layout>().expect("a layout");
    oracle::Layout::ALL.into_iter().map(move |layout| (of_program(layout), layout))
}

/// The result of a line.
#[derive(Debug, Default)]
struct Outcome {
    /// The index, the byte offset and the text of each event.
    events: Vec<(Option<u64>, usize, String)>,
    rows: Rows,
    rejects: Vec<(Option<u64>, Option<String>)>,
}

/// Compares the program with `serde_json` and the oracle on one line. `nul` is an index into [`POLICIES`].
#[track_caller]
pub(crate) fn check(line: &str, nul: usize) {
    for layout in layouts() {
        check_in(layout, line, POLICIES[nul]);
    }
}

#[track_caller]
fn check_in(layout: (Layout, oracle::Layout), line: &str, (policy, nul): (NulPolicy, Nul)) {
    let text = line.strip_prefix('\u{feff}').unwrap_or(line);
    let is_blank = text.bytes().all(|byte| b" \t\r\n".contains(&byte));
    let value = serde_json::from_str::<Value>(text);
    let outcome = match (read(layout.0, line, policy), &value) {
        ((outcome, None), Ok(value)) => {
            check_places(line, value, &outcome);
            outcome
        }
        ((outcome, None), Err(_)) if is_blank => outcome,
        // The events before the malformed element of an array are kept.
        ((mut outcome, Some(_)), Err(_)) if !outcome.rows.events().is_empty() => {
            outcome.rejects.push((Some(outcome.events.len() as u64), None));
            outcome
        }
        // If all events before it are rejected, the whole line is one reject. The oracle tolerates some of these events.
        ((outcome, Some(_)), Err(_)) if !outcome.rejects.is_empty() => return,
        ((_, Some(_)), Err(_)) if !is_blank => Outcome { rejects: vec![(None, None)], ..Outcome::default() },
        // A lone surrogate rejects only the element that contains it.
        ((outcome, None), Err(_)) if has_only_lone_surrogates(text) => {
            check_lone_surrogates(line, &outcome);
            outcome
        }
        ((_, None), Err(error)) => panic!("accepted, but not JSON for serde_json: {error}: {}", head(line)),
        ((_, Some(fault)), _) => panic!("rejected, but it is JSON: {fault}: {}", head(line)),
    };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let has_more = value.is_err() && values.next().is_some_and(|first| first.is_ok());
    // For the oracle a line feed ends a line, and the values of a line are independent.
    if !line.contains('\n') && !has_more {
        check_outcome(layout, line, nul, &outcome);
    }
}

/// An event with its keys in the game's order.
const USUAL: &str = include_str!("../fixtures/usual-event.json");

/// Reads a line with a new reader. A reader that has read the line before, and one that has read another, must give the
/// same result. For malformed JSON, returns what came before.
#[track_caller]
fn read(layout: Layout, line: &str, policy: NulPolicy) -> (Outcome, Option<Fault>) {
    let outcome = read_after(&[], layout, line, policy);
    for before in [line, USUAL] {
        let again = read_after(&[before], layout, line, policy);
        assert_eq!(format!("{again:?}"), format!("{outcome:?}"), "after {}: {}", head(before), head(line));
    }
    outcome
}

fn read_after(before: &[&str], layout: Layout, line: &str, policy: NulPolicy) -> (Outcome, Option<Fault>) {
    let (mut reader, mut event) = (LineReader::new(policy), Event::default());
    for line in before {
        // The result does not matter here, only the keys that the reader remembers.
        let _ = reader.read(line, &mut event, |_| ());
    }
    let mut outcome = Outcome::default();
    let mut encoder = Encoder::new(layout, SERVER, policy, DuplicatePolicy::KeepFirst);
    let read = reader.read(line, &mut event, |found| {
        let index = found.index.map(|index| index as u64);
        outcome.events.push((index, found.byte_offset, found.text.to_owned()));
        match found.event.and_then(|event| encoder.encode(event, &mut outcome.rows)) {
            Ok(()) => {}
            Err(fault) => outcome.rejects.push((index, fault.field().map(str::to_owned))),
        }
    });
    (outcome, read.err())
}

/// Asserts that each event occurs once, in order, with its own text.
#[track_caller]
fn check_places(line: &str, value: &Value, outcome: &Outcome) {
    let expected: Vec<(Option<u64>, &Value)> = match value {
        Value::Array(values) => (0..).map(Some).zip(values).collect(),
        event => vec![(None, event)],
    };
    assert_eq!(outcome.events.len(), expected.len(), "events of {}", head(line));
    for ((index, byte_offset, text), (expected_index, expected)) in outcome.events.iter().zip(expected) {
        assert_eq!(*index, expected_index, "{}", head(line));
        assert_eq!(line.get(*byte_offset..byte_offset + text.len()), Some(text.as_str()), "{}", head(line));
        assert_eq!(serde_json::from_str::<Value>(text).ok().as_ref(), Some(expected), "{}", head(line));
    }
}

/// Whether the text is JSON for `serde_json` after a NUL replaced each lone surrogate.
fn has_only_lone_surrogates(text: &str) -> bool {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hexadecimal.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
    };
    let (mut corrected, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(letter) = text[at..].chars().next() {
        let length = match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                corrected.push_str("\\u0000");
                at += 6;
                continue;
            }
            (Some(_), _) => 6,
            (None, _) if letter == '\\' => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            (None, _) => letter.len_utf8(),
        };
        corrected.push_str(&text[at..at + length]);
        at += length;
    }
    serde_json::from_str::<Value>(&corrected).is_ok()
}

/// Asserts that exactly the values that `serde_json` rejects are rejected for that reason.
#[track_caller]
fn check_lone_surrogates(line: &str, outcome: &Outcome) {
    let rejected = |index: Option<u64>| outcome.rejects.iter().any(|(rejected, _)| *rejected == index);
    let is_valid = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    let mut invalid = outcome.events.iter().filter(|(_, _, text)| !is_valid(text)).peekable();
    assert!(invalid.peek().is_some(), "no value is rejected: {}", head(line));
    for (index, byte_offset, text) in invalid {
        assert!(rejected(*index), "accepted, but not JSON for serde_json: {}", head(text));
        assert_eq!(line.get(*byte_offset..byte_offset + text.len()), Some(text.as_str()), "{}", head(line));
    }
}

#[track_caller]
fn check_outcome((layout, tables): (Layout, oracle::Layout), line: &str, nul: Nul, outcome: &Outcome) {
    // Stored JSON has limits of its own, which the oracle does not know.
    let of_document =
        |field: &str| ["LegendarySoul", "GvGMatch", "Equipment"].iter().any(|name| field.ends_with(name));
    if outcome.rejects.iter().any(|(_, field)| field.as_deref().is_some_and(of_document)) {
        return;
    }
    let rejected: BTreeSet<Place> = outcome.rejects.iter().map(|(index, _)| (1, *index)).collect();
    let expected = expect_in(tables, format!("{line}\n").as_bytes(), nul, &rejected);
    let summary =
        || format!("rejects {:?}, expected {:?}: {}", outcome.rejects, expected.rejected, head(line));
    assert_eq!(outcome.rejects.len(), expected.rejected.len(), "{}", summary());
    for ((index, field), expected) in outcome.rejects.iter().zip(&expected.rejected) {
        // For a duplicate key the oracle names only the key. The fault may be deeper, in the overridden value.
        let holder = |field: &&String| expected.fields.iter().any(|holder| is_within(field, holder));
        let is_allowed = expected.allows(*index, field.as_deref())
            || expected.allows(*index, expected.fields.first().map(String::as_str))
                && field.as_ref().is_some_and(|field| holder(&field));
        assert!(is_allowed, "{}", summary());
    }
    let loaded = outcome.rows.events().len() as u64;
    assert_eq!(loaded, expected.loaded() + expected.duplicates, "{}", head(line));
    assert_same(&expected.tables, &copybin::tables(&outcome.rows, layout, SERVER));
}

/// Whether a path leads into the value of another path.
fn is_within(path: &str, holder: &str) -> bool {
    path.strip_prefix(holder).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// The beginning of a line, enough to identify it. The whole line is in the property's failing input.
fn head(line: &str) -> String {
    line.chars().take(400).collect()
}
