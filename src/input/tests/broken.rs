//! Broken values in every form: each costs its own line, wherever it is.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::input::tests::envelopes::path;
use crate::input::tests::forms::{check_cover, cut_at};
use crate::input::tests::limits;

const EVENTS: u64 = 5;

/// A form: its name, the path to its events, and its text.
type Form = (&'static str, Option<&'static str>, fn(&[String]) -> String);

/// Forms with one event per line.
const FORMS: [Form; 12] = [
    ("lines", None, |events| format!("{}\n", events.join("\n"))),
    ("sequence", None, |events| format!("\x1e{}\n", events.join("\n\x1e"))),
    ("array", None, |events| format!("[{}]\n", events.join(",\n"))),
    ("array with brackets on lines", None, |events| format!("[\n{}\n]\n", events.join(",\n"))),
    ("leading commas", None, |events| format!("[{}]\n", events.join("\n,"))),
    ("pages", None, |events| pages(events, 3, |page| format!("[{page}]\n"))),
    ("envelope per line", Some("d.e"), |events| pages(events, 1, |page| envelope(page) + "\n")),
    ("envelopes", Some("d.e"), |events| pages(events, 3, |page| envelope(page) + "\n")),
    ("envelopes with brackets on lines", Some("d.e"), |events| {
        pages(events, 3, |page| envelope(&format!("\n{page}\n")) + "\n")
    }),
    ("indented envelopes", Some("d.e"), |events| {
        pages(events, 3, |page| envelope(&format!("\n  {}\n", page.replace('\n', "\n  "))) + "\n")
    }),
    ("array of envelopes", Some("d.e"), |events| {
        format!("[\n{}\n]\n", pages(events, 1, |page| envelope(page) + ",\n").trim_end_matches(",\n"))
    }),
    ("events by name", Some("*.data"), |events| {
        let entries: Vec<String> = (0..)
            .zip(events)
            .map(|(name, event)| format!("\"{name}\":{{\"posted\":true,\"data\":{event}}}"))
            .collect();
        format!("{{\n{}\n}}\n", entries.join(",\n"))
    }),
];

fn pages(events: &[String], count: usize, page: fn(&str) -> String) -> String {
    events.chunks(count).map(|events| page(&events.join(",\n"))).collect()
}

fn envelope(page: &str) -> String {
    format!("{{\"d\":{{\"total\":7,\"e\":[{page}]}}}}")
}

fn event(id: u64) -> String {
    format!("{{\"id\":{id},\"name\":\"text\",\"more\":{{\"a\":null}},\"list\":[1,2]}}")
}

/// A text in an event, and what stands there instead. An empty text stands for the end of the event.
const BREAKS: [(&str, &str, &str); 12] = [
    ("cut off in a string", "xt\",\"more\":{\"a\":null},\"list\":[1,2]}", ""),
    ("cut off after a colon", "\"text\",\"more\":{\"a\":null},\"list\":[1,2]}", ""),
    ("cut off after a comma", "\"more\":{\"a\":null},\"list\":[1,2]}", ""),
    ("cut off after a brace", "\"a\":null},\"list\":[1,2]}", ""),
    ("no opening quote", ":\"text", ":text"),
    ("no closing quote", "text\"", "text"),
    ("no brace inside", "null}", "null"),
    ("no last brace", "2]}", "2]"),
    ("a brace too many inside", "\"a\"", "{\"a\""),
    ("a bracket too many", "null}", "null]}"),
    ("a word", "\"name\"", "word \"name\""),
    ("not UTF-8", "\"name\"", "\u{fffd}\"name\""),
];

/// Adds the ids of the whole events in a value.
fn add_ids(value: &Value, ids: &mut BTreeSet<u64>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| add_ids(value, ids)),
        Value::Object(members) if members.contains_key("id") => {
            ids.extend(members["id"].as_u64().filter(|_| members.len() == 4));
        }
        Value::Object(members) => members.values().for_each(|value| add_ids(value, ids)),
        _ => {}
    }
}

#[test]
fn a_broken_event_costs_its_line_in_every_form() {
    for (form, events_at, text_of) in FORMS {
        for (name, from, to) in BREAKS {
            for broken in 0..EVENTS {
                let mut events: Vec<String> = (0..EVENTS).map(event).collect();
                let place = usize::try_from(broken).unwrap();
                events[place] = events[place].replacen(from, to, 1);
                assert_ne!(events[place], event(broken), "{name}");
                let text = text_of(&events).replace('\u{fffd}', "\0");
                let text: Vec<u8> = text.bytes().map(|byte| if byte == 0 { 0xff } else { byte }).collect();
                let followed = events_at.map(path);
                let cut =
                    |piece: usize| cut_at(&text, followed.as_ref(), limits(1 << 20, 1 << 20), &[piece]).0;
                let segments = cut(text.len());
                assert_eq!(segments, cut(3), "{form}, {name}, {broken}");
                check_cover(&text, &segments);
                let mut ids = BTreeSet::new();
                for segment in &segments {
                    let lines = || segment.bytes.split(|byte| *byte == b'\n').collect();
                    let spans = segment.spans.as_ref();
                    let texts: Vec<&[u8]> = spans.map_or_else(lines, |spans| {
                        spans.iter().map(|span| &segment.bytes[span.start..span.end]).collect()
                    });
                    for text in texts {
                        let text = text.trim_ascii().strip_prefix(b"\x1e").unwrap_or(text);
                        let values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
                        values.map_while(Result::ok).for_each(|value| add_ids(&value, &mut ids));
                    }
                }
                ids.insert(broken);
                assert_eq!(ids, (0..EVENTS).collect(), "{form}, {name}, {broken}");
            }
        }
    }
}
