//! Tests of preparing segments.

mod malformed;
mod strings;

use crate::database::store::SegmentCounts;
use crate::event::rules::battle_in_name;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::input::framing::framer::Span;
use crate::input::framing::path::Surroundings;
use crate::input::segment::Segment;
use crate::layout::Layout;
use crate::layout::rows::DuplicatePolicy;
use crate::pipeline::prepare::parts::HELD_REJECTS_MAX;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::prepare::preparer::{Battle, Preparer, Reading};
use crate::pipeline::rejects::reject::Reject;
use std::convert::Infallible;
use std::sync::Arc;

fn preparer(layout: Layout) -> Preparer {
    Preparer {
        layout,
        server: Server::Europe,
        nul: NulPolicy::Reject,
        repeats: DuplicatePolicy::KeepFirst,
        reading: Reading::default(),
    }
}

fn segment(bytes: Vec<u8>) -> Segment {
    Segment {
        number: 0,
        source: "a".into(),
        first_line: 1,
        byte_offset: 0,
        lines: bytes.split_inclusive(|byte| *byte == b'\n').count() as u64,
        bytes: bytes.into(),
        spans: None,
        oversized: None,
    }
}

fn prepare(preparer: &Preparer, text: &str) -> Prepared {
    let segment = segment(text.into());
    let hash = preparer.hash(&segment);
    preparer.prepare(segment, hash)
}

fn rejects(prepared: &Prepared) -> Vec<Reject> {
    let mut rejects = Vec::new();
    let Ok(()) = prepared.each_reject::<Infallible>(|reject| {
        rejects.push(reject.clone());
        Ok(())
    });
    rejects
}

fn event(id: u64, rest: &str) -> String {
    format!(
        r#"{{"EventId":{id},"TimeStamp":"2024-08-18T20:45:46Z","TotalVictimKillFame":2,"Killer":{{"Id":"k","Name":"K"}},"Victim":{{"Id":"v","Name":"V"{rest}}}}}"#
    )
}

/// With only a few bytes of text per row, the rows are not held. Recreated rows are identical.
#[test]
fn rows_are_recreated() {
    let slots = format!(r#","Inventory":[{}{{}}]"#, "{},".repeat(30_000));
    for layout in [Layout::Archive, Layout::Aegis] {
        let equipment = format!(r#","Equipment":{{"a":"{}"}}"#, "x".repeat(60_000));
        let rest = if layout == Layout::Archive { &slots } else { &equipment };
        let one = prepare(&preparer(layout), &event(7, rest));
        assert!(!one.batch.rows.is_recoded());
        let text: Vec<String> = (0..400).map(|id| event(id, rest)).collect();
        let many = prepare(&preparer(layout), &format!("[{}]\n{}", text.join(","), event(1000, rest)));
        assert!(many.batch.rows.is_recoded() && many.batch.rows.byte_len() == 0, "{layout}");
        assert_eq!(many.batch.counts, SegmentCounts { lines: 2, events: 401 });
        for table in 0..layout.tables().len() {
            let recreated = many.batch.rows.get(7, table);
            assert_eq!(recreated.as_ref(), one.batch.rows.of(0, table), "{layout} {table}");
        }
    }
}

/// The same for several values per line, for elements of an array that begins outside the text, and for events in strings.
#[test]
fn rows_are_recreated_in_any_layout() {
    let rest = format!(r#","Inventory":[{}{{}}]"#, "{},".repeat(30_000));
    let at_top = preparer(Layout::Archive);
    let mut in_strings = at_top.clone();
    in_strings.reading.events_at = Some(Arc::new("raw".parse().unwrap()));
    let row = |text: &str| format!(r#"{{"id":5,"raw":{}}}"#, serde_json::to_string(text).unwrap());
    for (preparer, form) in [(&at_top, None), (&in_strings, Some(row))] {
        let value = |id: u64| {
            let event = event(id, &rest);
            form.map_or(event.clone(), |form| form(&event))
        };
        let one = prepare(preparer, &value(7));
        for joint in ["", " ", ",\n"] {
            let values: Vec<String> = (0..200).map(value).collect();
            let text = values.join(joint);
            let mut many = segment(text.clone().into());
            let mut at = 0;
            many.spans = joint.starts_with(',').then(|| {
                let spans = values.iter().enumerate().map(|(index, value)| {
                    let start = at;
                    at += value.len() + joint.len();
                    Span {
                        start,
                        end: start + value.len(),
                        line: index as u64,
                        index: Some(index as u64),
                        ..Span::default()
                    }
                });
                spans.collect()
            });
            let hash = preparer.hash(&many);
            let mut many = preparer.prepare(many, hash);
            assert!(many.batch.rows.is_recoded(), "{joint:?}");
            for table in 0..Layout::Archive.tables().len() {
                let recreated = many.batch.rows.get(7, table);
                assert_eq!(recreated.as_ref(), one.batch.rows.of(0, table), "{joint:?} {table}");
            }
            many.reject(7, "refused".to_owned(), None);
            let [found] = &rejects(&many)[..] else { panic!("one") };
            assert_eq!(text[found.text.clone()], values[7]);
            let is_spans = joint.starts_with(',');
            assert_eq!((found.line, found.index), if is_spans { (8, Some(7)) } else { (1, None) });
        }
    }
}

#[test]
fn an_event_in_a_value_of_several_lines_has_its_own_line() {
    let mut settings = preparer(Layout::Archive);
    settings.reading.events_at = Some(Arc::new("data".parse().unwrap()));
    let text = format!("{{\n\"data\": [\n0,\n{},\n1]}} {{\n\"data\":\n2}} x", event(1, ""));
    let mut one = segment(text.clone().into());
    one.first_line = 5;
    one.spans = Some(vec![Span { start: 0, end: text.len(), line: 0, index: None, ..Span::default() }]);
    let hash = settings.hash(&one);
    let prepared = settings.prepare(one, hash);
    assert_eq!(prepared.ids().collect::<Vec<_>>(), [(1, 8)]);
    let found = rejects(&prepared);
    let places: Vec<_> = found.iter().map(|reject| (reject.line, &text[reject.text.clone()])).collect();
    assert_eq!(places, [(7, "0"), (9, "1"), (11, "2"), (11, "x")]);
}

#[test]
fn an_element_that_is_an_array_is_not_an_array_of_events() {
    let text = format!("[{}]", event(1, ""));
    let mut one = segment(text.clone().into());
    one.spans = Some(vec![Span { start: 0, end: text.len(), line: 0, index: Some(3), ..Span::default() }]);
    let preparer = preparer(Layout::Archive);
    let hash = preparer.hash(&one);
    let apart = rejects(&preparer.prepare(one, hash));
    let within = rejects(&prepare(&preparer, &format!("[0,1,2,{text}]")));
    assert_eq!((apart.len(), apart[0].index), (1, Some(3)));
    assert_eq!(apart[0].cause, within[3].cause);
}

/// Each line of a reject file has the battle of its source.
#[test]
fn rows_of_rejects_are_recreated_with_their_battle() {
    let slots = format!(r#","Inventory":[{}{{}}]"#, "{},".repeat(30_000));
    let record = |id: u64| {
        let raw = serde_json::Value::from(event(id, &slots)).to_string();
        format!(r#"{{"source":"battles/{id}.json","reason":"x","raw":{raw}}}"#)
    };
    let mut settings = preparer(Layout::Archive);
    settings.reading.battle = Battle::FromName;
    let one = prepare(&settings, &record(7));
    let many = prepare(&settings, &(1..=400).map(record).collect::<Vec<_>>().join("\n"));
    assert!(!one.batch.rows.is_recoded() && many.batch.rows.is_recoded());
    for table in 0..Layout::Archive.tables().len() {
        assert_eq!(many.batch.rows.get(6, table).as_ref(), one.batch.rows.of(0, table), "{table}");
    }
    settings.reading.battle = Battle::Id(8);
    let other = prepare(&settings, &record(7));
    assert_ne!(other.batch.rows.of(0, 0), one.batch.rows.of(0, 0));
}

#[test]
fn rejects_are_recreated() {
    let few = prepare(&preparer(Layout::Archive), &format!("[0,{},1]\nx\n", event(1, "")));
    let many = "[0,1]\n".repeat(HELD_REJECTS_MAX);
    let mut many = prepare(&preparer(Layout::Archive), &format!("{many}[0,{},1]\nx\n", event(1, "")));
    assert_eq!((few.rejected(), many.rejected()), (3, 3 + 2 * HELD_REJECTS_MAX as u64));
    assert!(many.found.held.is_empty());
    many.reject(0, "refused".to_owned(), None);
    let (few, many) = (rejects(&few), rejects(&many));
    assert_eq!(many.len(), 4 + 2 * HELD_REJECTS_MAX);
    let [first, refused, second, last] = many.last_chunk().unwrap();
    assert_eq!((refused.index, &*refused.cause.reason(), refused.line), (Some(1), "refused", first.line));
    for (found, expected) in [first, second, last].into_iter().zip(&few) {
        assert_eq!((&found.cause, found.index), (&expected.cause, expected.index));
        assert_eq!(found.line, expected.line + HELD_REJECTS_MAX as u64);
    }
}

#[test]
fn battles_in_names() {
    for (name, battle) in [
        ("battle-1337.json.gz", Some(1337)),
        ("/srv/kills/2024/1337.json", Some(1337)),
        ("1337", Some(1337)),
        ("battle.2024.json", None),
        ("1337-2.json", None),
        ("99999999999999999999.json", None),
        ("<stdin>", None),
    ] {
        assert_eq!(battle_in_name(name), battle, "{name}");
    }
}

#[test]
fn settings_that_change_events_change_the_key() {
    let usual = preparer(Layout::Archive);
    let mut others = vec![usual.clone(); 4];
    others[0].nul = NulPolicy::Strip;
    others[1].reading.events_at = Some(Arc::new("data".parse().unwrap()));
    others[2].reading.battle = Battle::Id(7);
    others[3].reading.must_name_server = true;
    let text = segment(b"{}".to_vec());
    for other in others {
        assert_ne!(other.hash(&text), usual.hash(&text), "{other:?}");
    }
    assert_eq!(usual.hash(&text).0, *blake3::hash(b"{}").as_bytes());
}

#[test]
fn events_in_strings_keep_their_places() {
    let mut settings = preparer(Layout::Archive);
    settings.reading.events_at = Some(Arc::new("raw".parse().unwrap()));
    let events = format!("[{},{}]", event(1, ""), event(2, ""));
    let line = format!(r#"{{"id":5,"raw":{}}}"#, serde_json::to_string(&events).unwrap());
    let mut prepared = prepare(&settings, &format!("\n{line}\n"));
    assert_eq!(prepared.ids().collect::<Vec<_>>(), [(1, 2), (2, 2)]);
    prepared.reject(1, "refused".to_owned(), None);
    let [found] = &rejects(&prepared)[..] else { panic!("one") };
    assert_eq!(found.raw.as_deref(), Some(event(2, "").as_str()));
    assert_eq!((found.index, found.text.clone()), (Some(1), 1..1 + line.len()));
}

/// Malformed JSON costs the rest of its line, from the malformed value on. The events before it are kept, also in an
/// array.
#[test]
fn events_before_malformed_json_are_kept() {
    let [one, two, three] = [1, 2, 3].map(|id| event(id, ""));
    let broken = two.replace("\"TimeStamp\":", "\"TimeStamp\"");
    let latin = two.replace('K', "\u{e9}").replace('\u{e9}', "\x00");
    let latin: Vec<u8> = latin.bytes().map(|byte| if byte == 0 { 0xe9 } else { byte }).collect();
    for broken in [broken.into_bytes(), latin, b"nul".to_vec(), two.as_bytes()[..40].to_vec()] {
        for (before, after, index) in [
            (format!("[{one},"), format!(",{three}]"), Some(1)),
            (format!(" [ {one} , {one}, "), format!(",{three}]"), Some(2)),
            (one.clone(), three.clone(), None),
            (format!("[{one}]"), format!("[{three}]"), None),
            (format!("[{one}]{one} "), String::new(), None),
        ] {
            let text = [before.as_bytes(), &broken, after.as_bytes(), b"\n", three.as_bytes()].concat();
            let cut = segment(text.clone());
            let archive = preparer(Layout::Archive);
            let hash = archive.hash(&cut);
            let prepared = archive.prepare(cut, hash);
            let [reject] = &rejects(&prepared)[..] else { panic!("one: {before}{after}") };
            let rest = text.iter().position(|byte| *byte == b'\n').unwrap();
            assert_eq!(reject.text, before.len()..rest, "{}", String::from_utf8_lossy(&text));
            assert_eq!((reject.line, reject.index), (1, index));
            let stored = before.matches("EventId").count() as u64;
            assert_eq!(prepared.batch.counts.events, stored + 2);
        }
    }
    // No event comes before the fault, so the line is no array of events.
    for line in ["[2024-08-18 20:45:46] INFO", "[1,{}", "[", "[,]"] {
        let prepared = prepare(&preparer(Layout::Archive), line);
        let [reject] = &rejects(&prepared)[..] else { panic!("one: {line}") };
        assert_eq!((reject.text.clone(), reject.index), (0..line.len(), None));
    }
}

/// The same in an envelope. The reject begins at the malformed event, so that it loads after its correction.
#[test]
fn events_before_malformed_json_in_an_envelope_are_kept() {
    let mut settings = preparer(Layout::Archive);
    settings.reading.events_at = Some(Arc::new("data.events".parse().unwrap()));
    let [one, two, three] = [1, 2, 3].map(|id| event(id, ""));
    let broken = two.replace("\"TimeStamp\":", "\"TimeStamp\"");
    let before = format!("{{\"data\":{{\"events\":[{one},");
    let text = format!("{before}{broken},{three}]}}}}\n{three}");
    let prepared = prepare(&settings, &text);
    assert_eq!(prepared.ids().collect::<Vec<_>>(), [(1, 1), (3, 2)]);
    let [reject] = &rejects(&prepared)[..] else { panic!("one") };
    let rest = before.len()..text.find('\n').unwrap();
    assert_eq!((reject.text.clone(), reject.index, reject.line), (rest, Some(1), 1));
    assert!(reject.cause.to_string().contains("not JSON: expected a colon"), "{}", reject.cause);
}

/// Values that the framer took out of an envelope: the rest of the path leads to their events, and the envelope names the
/// server.
#[test]
fn values_of_a_divided_envelope() {
    let mut settings = preparer(Layout::Archive);
    settings.reading.events_at = Some(Arc::new("data.rows.raw".parse().unwrap()));
    let row = |id: u64| format!(r#"{{"raw":{}}}"#, serde_json::to_string(&event(id, "")).unwrap());
    let (one, two) = (row(1), row(2));
    let cut = |note: &str, steps| {
        let mut cut = segment(format!("{one},{two}").into());
        let span = |start, end, index| {
            let note = Some(note.to_owned());
            let surroundings = Some(Arc::new(Surroundings { steps, is_element: true, note }));
            Span { start, end, index: Some(index), surroundings, ..Span::default() }
        };
        cut.spans = Some(vec![span(0, one.len(), 7), span(one.len() + 1, one.len() + 1 + two.len(), 8)]);
        cut
    };
    let key = |segment: &Segment| settings.hash(segment).0;
    let (of_europe, of_asia, of_less) = (cut("eu", 2), cut("sgp", 2), cut("eu", 1));
    let mut plain = cut("eu", 2);
    plain.spans = None;
    let keys = [key(&of_europe), key(&of_asia), key(&of_less), key(&plain)];
    for (number, one) in keys.iter().enumerate() {
        assert!(!keys[..number].contains(one), "{number}: the same bytes are other events");
    }
    let hash = settings.hash(&of_europe);
    let mut prepared = settings.prepare(of_europe, hash);
    assert_eq!(prepared.ids().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    prepared.reject(1, "refused".to_owned(), None);
    let [found] = &rejects(&prepared)[..] else { panic!("one") };
    assert_eq!((found.raw.as_deref(), found.index), (Some(event(2, "").as_str()), Some(8)));
    let hash = settings.hash(&of_asia);
    let found = rejects(&settings.prepare(of_asia, hash));
    let causes: Vec<_> = found.iter().map(|reject| reject.cause.to_string()).collect();
    assert_eq!(causes, ["server: the event is from asia, but this load is for europe"; 2]);
}

#[test]
fn a_long_envelope_names_its_path() {
    let mut long = segment(b"{\"1058\":{\"posted\":true,\"data\":{\"EventId\":1058,\"Killer\":{".to_vec());
    long.oversized = Some(20 << 20);
    let mut settings = preparer(Layout::Archive);
    let advice = "; an event seems to be at '*.data': add --events-at '*.data'";
    for expected in [advice, ""] {
        let hash = settings.hash(&long);
        let found = rejects(&settings.prepare(long.clone(), hash));
        let reason = format!("a value of 20971520 bytes exceeds the limit of 16777216{expected}");
        assert_eq!(found[0].cause.to_string(), reason);
        settings.reading.events_at = Some(Arc::new("*.data".parse().unwrap()));
    }
}

#[test]
fn a_long_malformed_line_names_the_byte() {
    let mut long = segment(b"{\"a\":[}".to_vec());
    long.oversized = Some(20 << 20);
    long.spans = Some(vec![Span { end: 7, index: Some(3), fault: Some(6), ..Span::default() }]);
    let preparer = preparer(Layout::Archive);
    let hash = preparer.hash(&long);
    let found = rejects(&preparer.prepare(long, hash));
    let [reject] = &found[..] else { panic!("one") };
    assert_eq!((reject.index, reject.truncated), (Some(3), true));
    let reason = reject.cause.reason();
    assert!(
        reason.starts_with("not JSON: malformed at byte 6 of the value; correct the input itself"),
        "{reason}"
    );
    assert!(reason.ends_with("the remaining 20971520 bytes of the line"), "{reason}");
}

/// An envelope that is not closed, and a byte that counts from the value.
#[test]
fn malformed_json_in_an_envelope_has_its_place() {
    let mut settings = preparer(Layout::Archive);
    settings.reading.events_at = Some(Arc::new("*.data".parse().unwrap()));
    let surroundings = Some(Arc::new(Surroundings { steps: 1, is_element: false, note: None }));
    for (text, unread, is_truncated, reason) in [
        ("\n", Some(0), false, "not JSON: the object that ends here is not closed"),
        ("\n", Some(50), true, "so 50 bytes around this place, which are not in the reject file"),
        ("{\"data\" 1}", None, false, "at byte 8 of the value"),
    ] {
        let mut one = segment(text.into());
        let surroundings = surroundings.clone();
        one.spans = Some(vec![Span { end: text.len(), surroundings, unread, ..Span::default() }]);
        let hash = settings.hash(&one);
        let prepared = settings.prepare(one, hash);
        let [found] = &rejects(&prepared)[..] else { panic!("one") };
        assert_eq!((found.text.clone(), found.truncated), (0..text.len(), is_truncated), "{reason}");
        assert!(found.cause.reason().contains(reason), "{}", found.cause.reason());
    }
}
