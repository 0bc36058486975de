//! `load` and `verify`: all JSON layouts of the same values result in the same tables.

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::{gzip, join, lines, small_event};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Reject, Workplace, assert_tables};
use crate::support::samples;

/// The same events in every layout.
fn layouts(dump: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let events = lines(dump);
    let values: Vec<Value> = events.iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect();
    let pretty = |value: &Value| serde_json::to_vec_pretty(value).expect("JSON");
    let list = |open: &str, joint: &str, close: &str| {
        [open.as_bytes(), &events.join(joint.as_bytes()), close.as_bytes()].concat()
    };
    let sequence: Vec<Vec<u8>> = events.iter().map(|line| [b"\x1e", *line].concat()).collect();
    vec![
        ("several values on a line", events.concat()),
        ("several values and spaces", events.join(&b' ')),
        ("an array on one line", list("[", ",", "]")),
        ("an array over lines", list("[", ",\n", "]\n")),
        ("an array over lines, each with a space", list("[", ", \n ", "]\n")),
        ("an array with brackets on lines", list("[\r\n", ",\r\n", "\r\n]\r\n")),
        ("lines that end in a comma", list("", ",\n", "\n")),
        ("pretty-printed values", join(&values.iter().map(pretty).collect::<Vec<_>>())),
        ("pretty-printed values without a newline between", values.iter().flat_map(pretty).collect()),
        ("a pretty-printed array", pretty(&Value::Array(values.clone()))),
        ("a sequence", join(&sequence)),
        ("a byte order mark and an array", list("\u{feff}[\n", ",\n", "\n]")),
        ("files with byte order marks, joined", list("\u{feff}[", "]\u{feff}[", "]")),
        ("files with byte order marks, pretty-printed and joined", {
            let marked = |value: &Value| ["\u{feff}".as_bytes(), &pretty(value)].concat();
            values.iter().flat_map(marked).collect()
        }),
    ]
}

#[test]
fn every_layout_ends_in_the_same_tables() {
    let plain = samples::sample_events();
    let expected = expect(&plain, Nul::Reject);
    let cluster = Cluster::shared();
    let work = Workplace::new();
    for (name, text) in layouts(&plain) {
        for (segment_bytes, input) in [(4 << 10, text.clone()), (8 << 20, gzip(&text))] {
            let database = cluster.database("layouts");
            work.write("dump", &input);
            let load = || work.load(&database, &["dump"]).segment_bytes(segment_bytes);
            let run = load().expect(0);
            run.summary().check(&[
                ("events", expected.events),
                ("inserted", expected.loaded()),
                ("rejected", 0),
            ]);
            assert_tables(&database, "americas", &expected.tables);
            // Loaded segments are skipped, so the segments are the same again.
            let again = load().expect(0);
            again.summary().check(&[("already_loaded", expected.events), ("inserted", 0)]);
            assert_eq!(again.summary().count("segments_skipped"), run.summary().count("segments"), "{name}");
            let verify = work.program(&["verify", "--json", "--server", "americas", "dump"]);
            verify.env("DATABASE_URL", &database.url()).expect(0);
        }
    }
}

#[test]
fn one_broken_value_rejects_only_itself() {
    let event = |id: i64| small_event(id).to_string();
    let broken = r#"{"EventId":2,"TimeStamp":tru}"#.to_owned();
    let values = [event(1), broken, event(3), event(4)];
    let pretty = |id: i64| serde_json::to_string_pretty(&small_event(id)).expect("JSON");
    let cut = pretty(2).replacen("\"Name\":", "\"Name\"", 1);
    let work = Workplace::new();
    for (name, text, line, index) in [
        ("lines", values.join("\n"), 2, None),
        ("array", format!("[{}]", values.join(",\n")), 2, Some(1)),
        ("array of lines", format!("[\n{}\n]\n", values.join(",\n")), 3, Some(1)),
        (
            "pretty",
            [pretty(1), cut.clone(), pretty(3), pretty(4)].join("\n"),
            1 + pretty(1).lines().count() as u64,
            None,
        ),
    ] {
        let database = Cluster::shared().database("broken_value");
        work.write(name, &text);
        let run = work.load(&database, &[name]).expect(3);
        run.summary().check(&[("events", 4), ("inserted", 3), ("rejected", 1)]);
        let rejects = run.rejects();
        let Reject(reject) = &rejects[0];
        assert_eq!((&reject["line"], &reject["index"]), (&line.into(), &index.into()), "{name}");
        let at = reject["byte_offset"].as_u64().and_then(|at| usize::try_from(at).ok()).expect("a place");
        assert!(text[at..].starts_with(reject["raw"].as_str().expect("a text")), "{name}: {reject}");
    }
}

/// A brace too many within an event leaves a shorter one, which is not stored.
#[test]
fn an_event_that_is_closed_too_early_is_one_reject() {
    let pretty = |id: i64| serde_json::to_string_pretty(&small_event(id)).expect("JSON");
    let [one, two, three] = [1, 2, 3].map(|id| small_event(id).to_string());
    let early = format!("{two},\"Participants\":[]}}");
    let indented = pretty(2);
    let indented = indented.strip_suffix('}').expect("an object");
    let indented = format!("{indented}  }},\n  \"Participants\": []\n}}");
    let deeper = |text: &str| text.replace('\n', "\n  ");
    let [first, second, last] = [pretty(1), indented.clone(), pretty(3)].map(|text| deeper(&text));
    let entries = |one: &str, two: &str, three: &str| {
        format!("{{\n  \"1\": {one},\n  \"2\": {two},\n  \"3\": {three}\n}}\n")
    };
    for (name, path, text, raw) in [
        ("lines", None, format!("{one}\n{early}\n{three}\n"), &early),
        ("array over lines", None, format!("[\n{one},\n{early},\n{three}\n]\n"), &format!("{early},")),
        ("array on one line", None, format!("[{one},{three},{early}]\n"), &format!("{early}]")),
        ("pretty", None, format!("{}\n{indented}\n{}\n", pretty(1), pretty(3)), &indented),
        ("entries of one line", Some("*"), entries(&one, &early, &three), &format!("{early},")),
        ("pretty entries", Some("*"), entries(&first, &second, &last), &second),
    ] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("closed_early"));
        work.write("dump", &text);
        let args: Vec<&str> = path.iter().flat_map(|path| ["--events-at", *path]).chain(["dump"]).collect();
        let run = work.load(&database, &args).expect(3);
        run.summary().check(&[("events", 3), ("inserted", 2), ("rejected", 1)]);
        let rejects = run.rejects();
        assert_eq!(str::from_utf8(&rejects[0].raw()), Ok(raw.as_str()), "{name}");
        let reason = rejects[0].text("reason").expect("a reason");
        assert!(reason.starts_with("not JSON: an object was closed too early at byte "), "{name}: {reason}");
    }
}

/// A line feed in a string of an element. The line after it is the rest of the element.
#[test]
fn an_element_that_is_cut_off_is_one_reject_with_its_rest() {
    let [one, two, three] = [1, 2, 3].map(|id| small_event(id).to_string());
    let cut = two.replacen("\"Name\":\"", "\"Name\":\"a\n", 1);
    assert_ne!(cut, two);
    let (work, database) = (Workplace::new(), Cluster::shared().database("cut_element"));
    work.write("dump", format!("[\n{one},\n{cut},\n{three}\n]\n"));
    let run = work.load(&database, &["dump"]).expect(3);
    run.summary().check(&[("events", 3), ("inserted", 2), ("rejected", 1)]);
    let rejects = run.rejects();
    assert_eq!((rejects[0].line(), rejects[0].index()), (3, Some(1)));
    assert_eq!(rejects[0].raw(), format!("{cut},").as_bytes());
}

/// Wherever the file ends in the array, the whole events are loaded, and the others with the whole file.
#[test]
fn an_unclosed_array_fails_after_its_events_are_loaded() {
    let [one, two, three] = [1, 2, 3].map(|id| small_event(id).to_string());
    let cut = &three[..three.len() / 2];
    for (name, text, line) in [
        ("in an event on one line", format!("[{one},{two},{cut}"), 1),
        ("after an event on one line", format!("[{one},{two}"), 1),
        ("after a comma on one line", format!("[{one},{two},"), 1),
        ("in an event over lines", format!("[\n{one},\n{two},\n{cut}"), 4),
        ("after a line", format!("[\n{one},\n{two},\n"), 3),
    ] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("not_closed"));
        work.write("dump", &text);
        let error = format!("dump:{line}: the JSON array is not closed: the input ends in it");
        let run = work.load(&database, &["dump"]).expect(1).says(&[&error, "hint: get the whole file"]);
        run.summary().check(&[("events", 2), ("inserted", 2), ("rejected", 0), ("unfinished", 0)]);
        assert!(run.summary().error().contains(&error), "{name}: {}", run.stdout);
        work.write("dump", format!("[{one},{two},{three}]"));
        work.load(&database, &["dump"]).expect(0).summary().check(&[("events", 3), ("inserted", 1)]);
    }
}

/// As `JSON.stringify` writes half of a character.
#[test]
fn a_lone_surrogate_rejects_only_its_event() {
    let [one, two, three] = [1, 2, 3].map(|id| small_event(id).to_string());
    let bad = two.replacen("\"Name\":\"", "\"Name\":\"\\ud800", 1);
    assert_ne!(bad, two);
    for (text, index) in [(format!("[{one},{bad},{three}]"), Some(1)), (format!("{one}{bad}{three}\n"), None)]
    {
        let (work, database) = (Workplace::new(), Cluster::shared().database("surrogate"));
        work.write("dump", &text);
        let run = work.load(&database, &["dump"]).expect(3);
        run.summary().check(&[("events", 3), ("inserted", 2), ("rejected", 1)]);
        let rejects = run.rejects();
        assert_eq!((rejects[0].index(), rejects[0].text("field")), (index, Some("Killer.Name")));
        assert_eq!(rejects[0].raw(), bad.as_bytes());
    }
}

/// Two events in an envelope, and one as a string in another. Each value has the form that the path names.
fn enveloped(dump: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let events = lines(dump);
    let texts: Vec<&str> = events.iter().map(|line| str::from_utf8(line).expect("UTF-8")).collect();
    let pages: Vec<String> = texts
        .chunks(2)
        .map(|page| format!("{{\"data\":{{\"total\":7,\"events\":[{}]}}}}", page.join(",")))
        .collect();
    let rows: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(number, event)| format!("{{\"id\":{number},\"data\":{{\"events\":{}}}}}", Value::from(*event)))
        .collect();
    vec![("pages", join(&pages)), ("rows", join(&rows))]
}

#[test]
fn envelopes_load_in_every_layout() {
    let plain = samples::sample_events();
    let expected = expect(&plain, Nul::Reject);
    let cluster = Cluster::shared();
    let work = Workplace::new();
    for (form, dump) in enveloped(&plain) {
        for (name, text) in layouts(&dump) {
            let database = cluster.database("envelopes");
            work.write("dump", &text);
            let load =
                || work.load(&database, &["--events-at", "data.events", "dump"]).segment_bytes(64 << 10);
            let run = load().expect(0);
            let counts = [("events", expected.events), ("inserted", expected.loaded()), ("rejected", 0)];
            run.summary().check(&counts);
            assert_tables(&database, "americas", &expected.tables);
            let again = load().expect(0);
            again.summary().check(&[("already_loaded", expected.events), ("inserted", 0)]);
            let verify = ["verify", "--json", "--server", "americas", "--events-at", "data.events", "dump"];
            let verified = work.program(&verify).env("DATABASE_URL", &database.url()).run();
            assert_eq!(verified.code, 0, "{form}, {name}: {}", verified.stderr);
        }
    }
}

#[test]
fn rejects_of_envelopes_have_places_and_can_be_loaded_again() {
    let mut nameless = samples::event(2);
    nameless["Killer"]["Name"] = "".into();
    let events: Vec<Vec<u8>> = [samples::event(1), nameless, samples::event(3), samples::event(4)]
        .iter()
        .map(|event| event.to_string().into_bytes())
        .collect();
    let database = Cluster::shared().database("envelope_rejects");
    let work = Workplace::new();
    work.load(&database, &[]).expect(0);
    let mut client = database.client();
    for (form, dump) in enveloped(&join(&events)) {
        for (number, (name, text)) in layouts(&dump).into_iter().enumerate() {
            client
                .batch_execute("alter table kill_event add constraint three check (event_id <> 3)")
                .expect("a constraint");
            let rejects = format!("{form}-{number}.ndjson");
            let args = ["--events-at", "data.events", "--rejects", &rejects];
            let run = work.load(&database, &args).stdin(text.clone()).expect(3);
            run.summary().check(&[("events", 4), ("inserted", 2), ("rejected", 2)]);
            for Reject(reject) in run.rejects() {
                let number = |key: &str| {
                    reject[key].as_u64().and_then(|at| usize::try_from(at).ok()).expect("a number")
                };
                let at = number("byte_offset");
                let raw = reject["raw"].as_str().expect("a text");
                let feeds = memchr::memchr_iter(b'\n', &text[..at]).count();
                assert_eq!(number("line"), 1 + feeds, "{form}, {name}: {reject}");
                // A rejected event in a string has the place of the value that contains it.
                let is_there = if form == "rows" {
                    b"{[".contains(&text[at])
                } else {
                    text[at..].starts_with(raw.as_bytes())
                };
                assert!(is_there, "{form}, {name}: {reject}");
                let value: Value = serde_json::from_str(raw).expect("JSON");
                let place = usize::from(value["EventId"] == 2);
                if form == "pages" {
                    assert_eq!(reject["index"], place, "{form}, {name}: {reject}");
                }
            }
            client.batch_execute("alter table kill_event drop constraint three").expect("none");
            let args = ["--rejects", "again.ndjson", &rejects];
            let again = work.load(&database, &args).expect(3);
            again.summary().check(&[("events", 2), ("inserted", 1), ("rejected", 1)]);
            client.batch_execute("truncate kill_event, kill_load_segment cascade").expect("empty tables");
        }
    }
}
