//! Tests of malformed JSON: what it costs.

use super::{event, prepare, preparer, rejects, segment};
use crate::event::server::Server;
use crate::input::framing::framer::Span;
use crate::input::framing::path::Surroundings;
use crate::layout::Layout;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::prepare::preparer::Preparer;
use std::sync::Arc;

fn at(events_at: &str) -> Preparer {
    let mut settings = preparer(Layout::Archive);
    settings.reading.events_at = Some(Arc::new(events_at.parse().unwrap()));
    settings
}

/// Prepares a text that is one span.
fn prepare_whole(settings: &Preparer, text: &str) -> Prepared {
    let mut whole = segment(text.into());
    whole.spans = Some(vec![Span { start: 0, end: text.len(), ..Span::default() }]);
    let hash = settings.hash(&whole);
    settings.prepare(whole, hash)
}

fn ids(prepared: &Prepared) -> Vec<i64> {
    prepared.ids().map(|(id, _)| id).collect()
}

/// The texts of the rejects, with the index of each.
fn rejected<'t>(prepared: &Prepared, text: &'t str) -> Vec<(Option<usize>, &'t str)> {
    rejects(prepared).iter().map(|reject| (reject.index, &text[reject.text.clone()])).collect()
}

/// An event with a closing brace too many after the victim, and its rest.
fn closed_early(id: u64) -> String {
    event(id, "") + r#","Participants":[]}"#
}

/// It is one reject with its rest, also if the shorter event would be valid.
#[test]
fn an_event_that_is_closed_too_early_is_not_stored() {
    let [one, two, three, four] = [event(1, ""), closed_early(2), event(3, ""), event(4, "")];
    for (before, after, index) in [
        (String::new(), String::new(), None),
        (one.clone(), three.clone(), None),
        (format!("[{one}, "), format!(",{three}]"), Some(1)),
    ] {
        let bad = format!("{two}{after}");
        let text = format!("{before}{bad}\n{four}\n");
        let prepared = prepare(&preparer(Layout::Archive), &text);
        let expected: &[i64] = if before.is_empty() { &[4] } else { &[1, 4] };
        assert_eq!(ids(&prepared), expected, "{text}");
        assert_eq!(rejected(&prepared, &text), [(index, bad.as_str())]);
        assert_eq!(prepared.batch.counts.events, expected.len() as u64 + 1);
        let reason = rejects(&prepared)[0].cause.to_string();
        assert!(reason.contains("not JSON: an object was closed too early"), "{reason}");
    }
    // No key follows.
    for rest in [",\"x\"", ",\"x\",7", "}", ",{}", ",\"x"] {
        let text = format!("{one}{rest}");
        let prepared = prepare(&preparer(Layout::Archive), &text);
        assert_eq!((ids(&prepared), rejected(&prepared, &text)), (vec![1], vec![(None, rest)]), "{text}");
    }
}

/// The members after it are keys of an event, and a brace is too many later.
#[test]
fn an_event_that_is_closed_too_early_in_an_envelope_is_not_stored() {
    let [one, two, three] = [event(1, ""), closed_early(2), event(3, "")];
    let whole = event(2, "");
    for (path, before, bad, index) in [
        ("data", String::new(), format!(r#"{{"id":1,"data":{two}}}"#), None),
        (
            "*.data",
            format!(r#"{{"1":{{"data":{one}}},"2":{{"#),
            format!(r#""data":{two}}},"3":{{"data":{three}}}}}"#),
            None,
        ),
        (
            "rows.data",
            format!(r#"{{"rows":[{{"data":{one}}},{{"#),
            format!(r#""data":{two}}},{{"data":{three}}}]}}"#),
            Some(1),
        ),
        (
            "a.*.data",
            format!(r#"{{"a":{{"1":{{"data":{one}}},"2":{{"#),
            format!(r#""data":{two}}},"3":{{"data":{three}}}}}}}"#),
            None,
        ),
        ("*", format!(r#"{{"1":{one},"#), format!(r#""2":{two},"3":{three}}}"#), None),
        // The event is whole, but the entries after it are beside the path.
        (
            "a.*.data",
            format!(r#"{{"a":{{"1":{{"data":{one}}}}},"#),
            format!(r#""2":{{"data":{whole}}},"3":{{"data":{three}}}}}}}"#),
            None,
        ),
    ] {
        let text = format!("{before}{bad}");
        let prepared = prepare(&at(path), &text);
        let expected: &[i64] = if before.is_empty() { &[] } else { &[1] };
        assert_eq!(ids(&prepared), expected, "{path} {text}");
        assert_eq!(rejected(&prepared, &text), [(index, bad.as_str())], "{path}");
        assert_eq!(prepared.batch.counts.events, expected.len() as u64 + 1);
    }
    // The brace is at the end, where the event is whole.
    for (path, text) in [
        ("data", format!(r#"{{"id":1,"data":{one}}}}}"#)),
        ("data", format!(r#"{{"data":{one},"id":1}}}}"#)),
        ("raw", format!(r#"{{"raw":{},"Type":"KILL"}}}}"#, serde_json::Value::from(one.as_str()))),
    ] {
        let prepared = prepare(&at(path), &text);
        assert_eq!((ids(&prepared), rejected(&prepared, &text)), (vec![1], vec![(None, "}")]), "{text}");
    }
}

/// In an envelope of several lines, what only the parser finds costs one value.
#[test]
fn malformed_json_in_an_envelope_of_several_lines_costs_one_event() {
    let [one, two, three] = [1, 2, 3].map(|id| event(id, ""));
    let bad = two.replacen(':', " ", 1);
    assert!(bad.starts_with("{\"EventId\" 2"));
    let elements = format!("[\n{one},\n{bad},\n{three}\n]");
    let entry = |id: u64, text: &str| format!("\"{id}\": {{\n\"data\": {text},\n\"n\": 1\n}}");
    let entries = [entry(1, &one), entry(2, &bad), entry(3, &three)].join(",\n");
    for (path, text, index, line) in [
        ("events", format!("{{\n\"n\": 1,\n\"events\": {elements}\n}}"), Some(1), 5),
        ("data.events", format!("{{\"data\": {{\"events\": {elements}, \"n\": 1}}}}"), Some(1), 3),
        ("*.data", format!("{{\n{entries}\n}}"), None, 7),
    ] {
        let prepared = prepare_whole(&at(path), &text);
        assert_eq!(ids(&prepared), [1, 3], "{path}");
        assert_eq!(rejected(&prepared, &text), [(index, bad.as_str())], "{path}");
        assert_eq!(rejects(&prepared)[0].line, line, "{path}");
        assert_eq!(prepared.batch.counts.events, 3);
    }
    // Beside the path, it is still a reject.
    let text = format!("{{\n\"events\": [\n{one}\n],\n\"n\": nul\n}}");
    let prepared = prepare_whole(&at("events"), &text);
    assert_eq!((ids(&prepared), rejected(&prepared, &text)), (vec![1], vec![(None, "\n\"n\": nul\n}")]));
    // On one line, it costs the rest of the line.
    let text = format!("{{\"events\":[{one},{bad},{three}]}}");
    let prepared = prepare_whole(&at("events"), &text);
    assert_eq!((ids(&prepared), rejects(&prepared).len()), (vec![1], 1));
}

/// A load of the corrected reject stores its events under the server that the envelope names.
#[test]
fn a_reject_of_malformed_json_has_the_server_that_its_envelope_names_before_it() {
    let [one, two] = [1, 2].map(|id| event(id, ""));
    let bad = two.replacen(':', " ", 1);
    let events = format!("[{one},{bad}]");
    let named = Some(Server::Europe);
    for (path, text, expected) in [
        ("events", format!(r#"{{"server":"eu","events":{events}}}"#), named),
        ("data.events", format!(r#"{{"region":"eu","data":{{"n":1,"events":{events}}}}}"#), named),
        ("data.events", format!(r#"[{{"data":{{"region":"eu","events":{events}}}}}]"#), named),
        ("events", format!(r#"{{"server":"eu","events":[{one}],"n":nul}}"#), named),
        ("events", format!("{{\n\"server\": \"eu\",\n\"events\": [\n{one},\n{bad}\n]\n}}"), named),
        // It is not read before the malformed place, or is in the reject.
        ("events", format!(r#"{{"events":{events},"server":"eu"}}"#), None),
        ("events", format!(r#"{{"events":{events}}}"#), None),
        ("events", format!(r#"{{"server":"eu","events":[{bad}]}}"#), None),
        // The rest of the line has another one.
        (
            "events",
            format!(r#"{{"server":"eu","events":{events}}} {{"server":"us","events":[{one}]}}"#),
            None,
        ),
    ] {
        let prepared = prepare_whole(&at(path), &text);
        let servers: Vec<_> = rejects(&prepared).iter().map(|reject| reject.enclosing_server).collect();
        assert_eq!(servers, [expected], "{text}");
    }
}

/// The rows of events in strings are encoded again from the values of the divided envelope.
#[test]
fn rows_of_a_divided_envelope_are_recreated() {
    const EVENTS: u64 = 200;
    let rest = format!(r#","Inventory":[{}{{}}]"#, "{},".repeat(30_000));
    let row = |id: u64| format!(r#"{{"raw":{}}}"#, serde_json::Value::from(event(id, &rest)));
    let rows: Vec<String> = (0..EVENTS).map(row).collect();
    let text = format!("{{\"rows\":[\n{},\n{{\"raw\" 1}}\n]}}", rows.join(",\n"));
    let prepared = prepare_whole(&at("rows.raw"), &text);
    assert_eq!(prepared.batch.counts.events, EVENTS + 1);
    assert!(prepared.batch.rows.is_recoded() && prepared.batch.order.len() == 200);
    let alone = prepare(&preparer(Layout::Archive), &event(7, &rest));
    for table in 0..Layout::Archive.tables().len() {
        assert!(prepared.batch.rows.get(7, table).as_ref() == alone.batch.rows.of(0, table), "{table}");
    }
}

/// Each string in the array at the end of the path is JSON, whether the envelope is divided or not.
#[test]
fn an_array_of_strings_is_read() {
    let strings =
        [event(1, ""), "{}".to_owned(), event(2, "")].map(|event| serde_json::Value::from(event).to_string());
    let settings = at("rows");
    let whole = prepare(&settings, &format!("{{\"rows\":[{}]}}", strings.join(",")));
    let text = strings.join(",");
    let mut divided = segment(text.clone().into());
    let surroundings = Some(Arc::new(Surroundings { steps: 1, is_element: true, note: None }));
    let mut start = 0;
    let spans = (0..).zip(&strings).map(|(index, string)| {
        let end = start + string.len();
        let span =
            Span { start, end, index: Some(index), surroundings: surroundings.clone(), ..Span::default() };
        start = end + 1;
        span
    });
    divided.spans = Some(spans.collect());
    let hash = settings.hash(&divided);
    let divided = settings.prepare(divided, hash);
    for mut prepared in [whole, divided] {
        assert_eq!(ids(&prepared), [1, 2]);
        prepared.reject(1, "refused".to_owned(), None);
        let found = rejects(&prepared);
        let found: Vec<_> = found.iter().map(|reject| (reject.index, reject.raw.as_deref())).collect();
        assert_eq!(found, [(Some(1), Some("{}")), (Some(2), Some(event(2, "").as_str()))]);
    }
}
