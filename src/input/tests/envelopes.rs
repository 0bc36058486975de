//! Envelopes that are too long to hold: each value on the path is a span of its own.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use crate::input::framing::framer::Span;
use crate::input::framing::path::EventPath;
use crate::input::segment::{Segment, SegmentLimits};
use crate::input::tests::forms::{any_value, check_cover, cut_at, object, pieces, sizes, space};
use crate::input::tests::limits;

/// A path such as `data.events`. Texts that begin with `note` matter.
pub(super) fn path(path: &str) -> Arc<EventPath> {
    Arc::new(EventPath {
        steps: path.split('.').map(|step| (step != "*").then(|| step.to_owned())).collect(),
        event_key: "EventId",
        is_of_event: |key| key == "Victim",
        note_keys: &["server", "region"],
        is_note: |text| text.starts_with("note"),
    })
}

/// Formats the spans of segments as `line[index]/steps note text`, with `text…` for the beginning of a value that is too long,
/// and with the bytes that were not read.
fn shown(segments: &[Segment]) -> Vec<String> {
    let mut shown = Vec::new();
    for segment in segments {
        let Some(spans) = &segment.spans else {
            let lines = segment.bytes.split_inclusive(|byte| *byte == b'\n');
            shown.extend(
                (segment.first_line..)
                    .zip(lines)
                    .map(|(line, text)| format!("{line} {}", String::from_utf8_lossy(text).trim_end())),
            );
            continue;
        };
        for span in spans {
            let text = String::from_utf8_lossy(&segment.bytes[span.start..span.end]);
            let index = span.index.map_or(String::new(), |index| format!("[{index}]"));
            let surroundings = span.surroundings.as_ref().map_or(String::new(), |surroundings| {
                let note = surroundings.note.as_ref().map_or(String::new(), |note| format!(" {note}"));
                format!("/{}{}{note}", surroundings.steps, if surroundings.is_element { "e" } else { "" })
            });
            let text = text.trim_end();
            let text =
                if segment.oversized.is_some() { format!("{}…", &text[..9]) } else { text.to_owned() };
            let unread = span.unread.map_or(String::new(), |bytes| format!("({bytes} unread)"));
            shown.push(format!("{}{index}{surroundings} {text}{unread}", segment.first_line + span.line));
        }
    }
    shown
}

/// Checks the spans of a text, however it arrives and in segments of any size.
#[track_caller]
pub(super) fn check(events_at: &str, text: &str, value_max: usize, expected: &[&str]) {
    for segment_bytes in [1, 70, 1 << 20] {
        for piece in [1, 7, 1 << 20] {
            let limits = limits(segment_bytes, value_max);
            let (segments, is_open) = cut_at(text.as_bytes(), Some(&path(events_at)), limits, &[piece]);
            assert_eq!(shown(&segments), expected, "{segment_bytes} {piece}: {text}");
            assert!(!is_open, "{text}");
            if segments.iter().all(|segment| segment.oversized.is_none()) {
                check_cover(text.as_bytes(), &segments);
            }
        }
    }
}

#[test]
fn each_value_on_the_path_is_a_span() {
    let aside = format!("\"k\":{{\"a\":[1,\"}}]\"],\"b\":\"{}\"}}", "x".repeat(250));
    let events = "[{\"a\":1},{\"a\":2}]";
    check(
        "data.events",
        &format!(
            "{{\"server\":\"note 1\",\"data\":{{\"events\":{events},{aside}}},{aside},\"z\":0}}\n{{}}\n"
        ),
        100,
        // The array fits.
        &[&format!("1/2 note 1 {events}"), "2 {}"],
    );
    let event = format!("{{\"a\":\"{}\"}}", "y".repeat(60));
    check(
        "data.events",
        &format!(
            "{{\"data\":{{\"region\":\"note\",\"events\":[{event},{event}],\"server\":\"note 2\"}}}}{{\"b\":1}}\n{{}}"
        ),
        100,
        &[&format!("1[0]/2e note {event}"), &format!("1[1]/2e note {event}"), "1 {\"b\":1}", "2 {}"],
    );
    check(
        "data.events",
        &format!(
            "{{\n  \"data\": {{\n    \"server\": \"other\",\n    \"events\": [\n      {event},\n      {event}\n    ]\n  }}\n}}\n{{}}\n"
        ),
        90,
        &[&format!("5[0]/2e {event}"), &format!("6[1]/2e {event}"), "10 {}"],
    );
    check(
        "*.data",
        &format!(
            "{{\"1\":{{\"posted\":true,\"data\":{event}}},\"2\":{{\"posted\":true,\"data\":{event}}}}}\n"
        ),
        110,
        &[
            &format!("1/1 {{\"posted\":true,\"data\":{event}}}"),
            &format!("1/1 {{\"posted\":true,\"data\":{event}}}"),
        ],
    );
    check(
        "data",
        &format!("[{{\"data\":{{}}}},{{\"data\":[{event},{event}]}},\n{{\"data\":{{}}}}]\n{{}}\n"),
        100,
        &[
            "1[0] {\"data\":{}}",
            &format!("1[0]/1e {event}"),
            &format!("1[1]/1e {event}"),
            "2[2] {\"data\":{}}",
            "3 {}",
        ],
    );
}

#[test]
fn an_event_or_an_object_without_events_is_not_divided() {
    let long = "z".repeat(120);
    check("a", &format!("{{\"EventId\":1,\"a\":\"{long}\"}}\n{{}}\n"), 100, &["1 {\"EventId…", "2 {}"]);
    check("a", &format!("{{\"b\":\"{long}\"}}\n{{}}\n"), 100, &["1 {\"b\":\"zzz…", "2 {}"]);
    // An event that is too long in an envelope.
    check(
        "a",
        &format!("{{\"a\":[{{\"EventId\":\"{long}\"}},{{\"b\":2}}]}}\n{{}}\n"),
        100,
        &["1[0]/1e {\"EventId…", "1[1]/1e {\"b\":2}", "2 {}"],
    );
}

#[test]
fn malformed_json_costs_the_rest_of_its_line_or_one_value() {
    let event = format!("{{\"a\":\"{}\"}}", "y".repeat(60));
    check(
        "d.e",
        &format!("{{\"d\":{{\"e\":[{event},{event},{{\"a\":1],{{\"a\":3}}]}}}}\n{{\"d\":{{}}}}\n"),
        100,
        &[
            &format!("1[0]/2e {event}"),
            &format!("1[1]/2e {event}"),
            "1[2]/2e {\"a\":1],{\"a\":3}]}}",
            "2 {\"d\":{}}",
        ],
    );
    // In an array of envelopes.
    check(
        "d",
        &format!("[\n{{\"d\":[{event},{event}] \"x\"}},\n{{\"d\":1}}\n]\n{{}}\n"),
        100,
        &[
            &format!("2[0]/1e {event}"),
            &format!("2[1]/1e {event}"),
            "2[0]/1 \"x\"},",
            "3[1] {\"d\":1}",
            "5 {}",
        ],
    );
    check(
        "*",
        &format!(
            "{{\n  \"1\": {event},\n  \"2\": {{\n    \"a\": [1, 2, 3\n  }},\n  \"3\": {event}\n}}\n{{}}\n"
        ),
        100,
        &[&format!("2/1 {event}"), "3/1 {\n    \"a\": [1, 2, 3\n  }", &format!("6/1 {event}"), "8 {}"],
    );
    // Beside the path.
    check(
        "d",
        &format!("{{\"d\":[{event},{event}],\"x\":\"ab\nc\"}}\n{{}}\n"),
        100,
        &[&format!("1[0]/1e {event}"), &format!("1[1]/1e {event}"), "1/1 b", "2 c\"}", "3 {}"],
    );
}

/// The other values are framed, whether the envelope can be held or not.
#[test]
fn malformed_json_in_envelopes_of_several_lines_costs_one_value() {
    let entry = |id: u64, text: &str| format!("  \"{id}\": {{\n    \"data\": {{\n      {text}\n    }}\n  }}");
    let value = |text: &str| format!("{{\n    \"data\": {{\n      {text}\n    }}\n  }}");
    let (one, three) = ("\"a\": 1", "\"a\": 3");
    for (bad, rejected) in [
        ("\"a: 2", &["8/2 {\n      \"a: 2\n    }"][..]),
        ("\"a\": 2]", &["8/2 {\n      \"a\": 2]\n    }"]),
        ("{\"a\": 2", &["8/2 {\n      {\"a\": 2\n    }"]),
        ("}\"a\": 2", &["8/2 {\n      }", "11/1 },"]),
    ] {
        let text = format!("{{\n{},\n{},\n{}\n}}\n{{}}\n", entry(1, one), entry(2, bad), entry(3, three));
        let (first, last) = (format!("2/1 {}", value(one)), format!("12/1 {}", value(three)));
        let mut expected = vec![first.as_str()];
        expected.extend(rejected);
        expected.extend([last.as_str(), "18 {}"]);
        for value_max in [80, 1 << 20] {
            check("*.data", &text, value_max, &expected);
        }
    }
    for (bad, rejected) in [
        ("{\"data\":{\"a:2}},", &["3/1 {\"data\":{\"a:2}},"][..]),
        ("{\"data\":{\"a\":2}}},", &["3/1 {\"data\":{\"a\":2}}}"]),
    ] {
        let text = format!("{{\n\"1\":{{\"data\":{{}}}},\n\"2\":{bad}\n\"3\":{{\"data\":{{}}}}\n}}\n{{}}\n");
        let mut expected = vec!["2/1 {\"data\":{}}"];
        expected.extend(rejected);
        expected.extend(["4/1 {\"data\":{}}", "6 {}"]);
        check("*.data", &text, 1 << 20, &expected);
    }
    let text = "{\"e\":[\n{\"a\":1},\n{\"a:2},\n{\"a\":3}\n]}\n{}\n";
    let expected = ["2[0]/1e {\"a\":1}", "3[1]/1e {\"a:2},", "4[2]/1e {\"a\":3}", "6 {}"];
    check("e", text, 1 << 20, &expected);
    let text = "{\"e\":[\n{\"a:1}]}\n{\"e\":[],\n\"x\":\"y}\n{\"e\":[\n{\"a:3}]}\n[{}]\n";
    let expected = ["2[0]/1e {\"a:1}]}", "3/1 []", "4/1 }", "6[0]/1e {\"a:3}]}", "7 [{}]"];
    check("e", text, 1 << 20, &expected);
    // The next line begins with the end of the envelope.
    let text = "{\"e\":[\n{\"a\":1},\n{\"b\":{\n]}\n{}\n";
    check("e", text, 1 << 20, &["2[0]/1e {\"a\":1}", "3[1]/1e {\"b\":{", "5 {}"]);
    let bad = "{\n  ] \"a\": 1,\n    \"b\": 2\n  }";
    let text = format!("{{\"e\": [\n  {bad},\n  {{}}\n]}}\n{{}}\n");
    check("e", &text, 1 << 20, &[&format!("2[0]/1e {bad}"), "6[1]/1e {}", "8 {}"]);
}

/// A closing brace too many closes the envelope early. The value before it may be a part of one, so the brace belongs to it.
#[test]
fn a_closing_brace_too_many_belongs_to_its_value() {
    let two = "{\n    \"data\": {\"a\": {}},\n    \"b\": [1]\n    }\n  }";
    let text =
        format!("{{\n  \"1\": {{\"data\": {{}}}},\n  \"2\": {two},\n  \"3\": {{\"data\": {{}}}}\n}}\n{{}}\n");
    let second = format!("3/1 {two}");
    let expected = ["2/1 {\"data\": {}}", second.as_str(), "8/1 {\"data\": {}}", "10 {}"];
    for value_max in [80, 1 << 20] {
        check("*.data", &text, value_max, &expected);
    }
    // Values at the end of the path are events. A key of an event follows the one that is closed early.
    let text = "{\n\"1\":{\"a\":1},\n\"2\":{\"a\":2},\"Victim\":3},\n\"3\":{}\n}\n{}\n";
    check("*", text, 1 << 20, &["2/1 {\"a\":1}", "3/1 {\"a\":2},\"Victim\":3},", "4/1 {}", "6 {}"]);
}

/// The members after a missing brace are inside another one. Their bytes are noted, and the next envelope is read.
#[test]
fn an_envelope_that_is_not_closed_does_not_contain_the_next_one() {
    let event = format!("{{\"a\":\"{}\"}}", "y".repeat(60));
    let entry = |id: u64| format!("\"{id}\":{{\"data\":{event}}}");
    let beside = format!("{{\"data\":{event}}}").len();
    check(
        "*.data",
        &format!("{{{},\"2\":{{\"data\":{event},{},{}}}\n{{}}\n", entry(1), entry(3), entry(4)),
        100,
        &[
            &format!("1/1 {{\"data\":{event}}}"),
            &format!("1/2 {event}"),
            &format!("1/1 ({} unread)", 2 * beside),
            "2 {}",
        ],
    );
    // The next one begins where a value of the first one could be.
    check(
        "e",
        &format!("{{\"e\":[{event},{event},{{\"a\":\n{{\"e\":[{{}}]}}\n"),
        100,
        &[&format!("1[0]/1e {event}"), &format!("1[1]/1e {event}"), "1[2]/1e {\"a\":", "2 {\"e\":[{}]}"],
    );
}

/// Malformed JSON in a line that is too long to hold. The byte that shows it is noted.
#[test]
fn malformed_json_in_a_long_line_has_its_place() {
    let event = format!("{{\"a\":\"{}\"}}", "y".repeat(60));
    let bad = "{\"a\":1,\"b\":2]";
    for text in [
        format!("[{event},{event},{bad},{event},{event},{event}]\n{{}}\n"),
        format!("{{\"d\":[{event},{event},{bad},{event},{event},{event}]}}\n{{}}\n"),
        format!("{event}{event}{bad}{event}{event}{event}\n{{}}\n"),
    ] {
        for piece in [1, 1 << 20] {
            let limits = limits(1 << 20, 100);
            let (segments, _) = cut_at(text.as_bytes(), Some(&path("d")), limits, &[piece]);
            let [_, long, last] = &segments[..] else { panic!("three: {segments:?}") };
            let start = text.find(bad).unwrap();
            let rest = text.find('\n').unwrap() - start;
            assert_eq!((long.byte_offset, long.oversized), (start as u64, Some(rest as u64)), "{text}");
            let faults: Vec<_> = long.spans.iter().flatten().map(|span| span.fault).collect();
            assert_eq!(faults, [Some(bad.find(']').unwrap())], "{text}");
            assert_eq!(&last.bytes[..], b"{}\n");
        }
    }
}

/// The text of an envelope, its values at `data.events`, and the length of the text before them.
type Envelope = (String, Vec<String>, usize);

/// Generates an envelope with other members around the values.
fn envelope() -> impl Strategy<Value = Envelope> {
    let asides = || prop::collection::vec(any_value(), 0..3);
    (prop::collection::vec(object(), 0..6), asides(), asides(), space()).prop_map(
        |(values, before, after, space)| {
            let members = |asides: &[String], name: &str| -> String {
                let keyed = asides.iter().enumerate();
                keyed
                    .map(|(number, value)| format!("\"{name}{number}\":{space}{value},{space}"))
                    .collect::<Vec<_>>()
                    .concat()
            };
            let head = format!(
                "{{{space}{}\"data\"{space}:{{{}\"events\":{space}[",
                members(&before, "b"),
                members(&after, "a")
            );
            let values_text = values.join(&format!("{space},{space}"));
            let after = members(&after, "c");
            let text =
                format!("{head}{space}{values_text}{space}]{space}}},{after}\"last\":{space}0{space}}}");
            (text, values, head.len())
        },
    )
}

/// The values at `data.events` of the spans.
fn values_of(segments: &[Segment]) -> Vec<Value> {
    let mut found = Vec::new();
    for segment in segments {
        let steps = |span: &Span| span.surroundings.as_ref().map_or(0, |surroundings| surroundings.steps);
        let texts: Vec<(usize, &[u8])> = match &segment.spans {
            Some(spans) => {
                spans.iter().map(|span| (steps(span), &segment.bytes[span.start..span.end])).collect()
            }
            None => vec![(0, &segment.bytes[..])],
        };
        for (steps, text) in texts {
            for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
                let mut value = value.unwrap();
                for name in ["data", "events"].iter().skip(steps) {
                    value = value[*name].take();
                }
                match value {
                    Value::Array(values) => found.extend(values),
                    value => found.push(value),
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The limit is such that each value fits, but not each envelope.
    #[test]
    fn values_of_envelopes_of_any_size_are_found(
        envelopes in prop::collection::vec((envelope(), space()), 1..4), sizes in sizes(), pieces in pieces(),
        more in prop::sample::select(vec![8_usize, 40, 200, 1 << 20]),
    ) {
        let texts: Vec<String> = envelopes.iter().map(|((text, ..), space)| format!("{text}{space}")).collect();
        let text = texts.concat();
        let values: Vec<&String> = envelopes.iter().flat_map(|((_, values, _), _)| values).collect();
        // Without the start of a value on the path in the part that is held, an envelope would be one value that is too long.
        let heads = envelopes.iter().map(|((_, _, head), _)| *head);
        let longest = values.iter().map(|value| value.len()).chain(heads).max().unwrap_or_default();
        let sizes = SegmentLimits { line_max_bytes: longest + more, ..sizes };
        let (segments, is_open) = cut_at(text.as_bytes(), Some(&path("data.events")), sizes, &pieces);
        prop_assert!(segments.iter().all(|segment| segment.oversized.is_none()));
        let expected: Vec<Value> = values.iter().map(|value| serde_json::from_str(value).unwrap()).collect();
        prop_assert_eq!(values_of(&segments), expected);
        prop_assert!(!is_open);
        check_cover(text.as_bytes(), &segments);
        let at_once = cut_at(text.as_bytes(), Some(&path("data.events")), sizes, &[text.len()]);
        prop_assert_eq!((segments, is_open), at_once);
    }

    #[test]
    fn malformed_envelopes_are_cut_the_same_however_they_arrive(
        envelopes in prop::collection::vec((envelope(), space()), 1..4), sizes in sizes(), pieces in pieces(),
        value_max in prop::sample::select(vec![20_usize, 60, 200]),
        places in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[],:\"\\\n ax1".to_vec())), 1..4),
    ) {
        let texts: Vec<String> = envelopes.iter().map(|((text, ..), space)| format!("{text}{space}")).collect();
        let text = texts.concat();
        let mut text = text.into_bytes();
        for (place, byte) in places {
            let at = place.index(text.len() + 1);
            text.insert(at, byte);
        }
        let sizes = SegmentLimits { line_max_bytes: value_max, ..sizes };
        let cut = cut_at(&text, Some(&path("data.events")), sizes, &pieces);
        let at_once = cut_at(&text, Some(&path("data.events")), sizes, &[text.len()]);
        prop_assert_eq!(&cut, &at_once);
        if cut.0.iter().all(|segment| segment.oversized.is_none()) {
            check_cover(&text, &cut.0);
        }
    }
}
