//! Tests of events in strings.

use super::{event, prepare, preparer, rejects, segment};
use crate::input::framing::framer::Span;
use crate::input::framing::path::Surroundings;
use crate::layout::Layout;
use std::sync::Arc;

/// Events of one string are encoded again in any order, also if their value is a part of a divided envelope.
#[test]
fn events_of_one_string_are_recreated() {
    const EVENTS: usize = 60;
    let rest = format!(r#","Inventory":[{}{{}}]"#, "{},".repeat(10_000));
    let plain = preparer(Layout::Archive);
    let mut in_strings = plain.clone();
    in_strings.reading.events_at = Some(Arc::new("data.raw".parse().unwrap()));
    let events: Vec<String> = (0..EVENTS as u64).map(|id| event(id, &rest)).collect();
    let alone: Vec<_> = events.iter().map(|event| prepare(&plain, event)).collect();
    let value = serde_json::to_string(&format!("[{}]", events.join(","))).unwrap();
    let value = format!(r#"{{"raw":{value}}}"#);
    let whole = segment(format!(r#"{{"data":{value}}}"#).into());
    let mut part = segment(value.clone().into());
    let surroundings = Some(Arc::new(Surroundings { steps: 1, is_element: true, note: None }));
    part.spans =
        Some(vec![Span { start: 0, end: value.len(), index: Some(0), surroundings, ..Span::default() }]);
    for segment in [whole, part] {
        let hash = in_strings.hash(&segment);
        let batch = in_strings.prepare(segment, hash).batch;
        assert!(batch.rows.is_recoded() && batch.order.len() == EVENTS);
        for event in (0..EVENTS).chain((0..EVENTS).rev().step_by(7)) {
            for table in 0..Layout::Archive.tables().len() {
                let recreated = batch.rows.get(event, table);
                assert!(recreated.as_ref() == alone[event].batch.rows.of(0, table), "{event} {table}");
            }
        }
    }
}

/// A long text is decoded again each time it is needed.
#[test]
fn long_rejects_of_strings_are_not_held() {
    let mut settings = preparer(Layout::Archive);
    settings.reading.events_at = Some(Arc::new("raw".parse().unwrap()));
    for (length, is_held) in [(10, true), (1 << 21, false)] {
        let malformed = format!("{{\"a\":\"{}\"", "x".repeat(length));
        let value = serde_json::to_string(&malformed).unwrap();
        let prepared = prepare(&settings, &format!(r#"{{"raw":{value}}}"#));
        let [found] = &rejects(&prepared)[..] else { panic!("one") };
        assert_eq!((found.raw.is_some(), found.unheld.is_some()), (is_held, !is_held));
        let text = found.raw.as_deref().map(str::to_owned).or_else(|| prepared.unheld_text(found));
        assert!(text.as_deref() == Some(malformed.as_str()), "{length}");
    }
}
