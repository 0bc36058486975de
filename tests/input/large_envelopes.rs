//! `load` of envelopes that exceed the limit of a value: each event in them is a value of its own.

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, gzip, lines};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};
use crate::support::{find_program, log_case, not_tried};

/// The maximum length of a value.
const LINE_MAX_BYTES: usize = 16 << 20;

/// Events of more bytes than a value may have.
fn events() -> Vec<u8> {
    let dump = generated(1400, 41, 0.0);
    assert!(dump.len() > LINE_MAX_BYTES, "{}", dump.len());
    dump
}

/// A page of events on one line.
fn page(dump: &[u8]) -> Vec<u8> {
    [
        &b"{\"status\":200,\"data\":{\"total\":1,\"events\":["[..],
        &lines(dump).join(&b','),
        b"],\"next\":null}}\n",
    ]
    .concat()
}

#[test]
fn envelopes_of_any_size_are_loaded() {
    let dump = events();
    let values: Vec<Value> =
        lines(&dump).iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect();
    let entry = |event: &Value| (event["EventId"].to_string(), json!({"posted": true, "data": event}));
    let board: serde_json::Map<String, Value> = values.iter().map(entry).collect();
    let pretty = json!({"data": {"events": &values}, "rest": [1, {"a": "]"}]});
    let battle = json!({"battle": {"id": 1338, "players": {}}, "raw_events": &values});
    let cluster = Cluster::shared();
    let expected = expect(&dump, Nul::Reject);
    for (name, args, text) in [
        ("page.json", &["--events-at", "data.events"][..], page(&dump)),
        ("pretty.json", &["--events-at", "data.events"], serde_json::to_vec_pretty(&pretty).expect("JSON")),
        ("board.json", &["--events-at", "*.data"], Value::Object(board).to_string().into_bytes()),
        (
            "1338.json",
            &["--battle", "from-name", "--events-at", "raw_events"],
            battle.to_string().into_bytes(),
        ),
    ] {
        log_case(name);
        let (work, database) = (Workplace::new(), cluster.database("large_envelope"));
        work.write(name, &text);
        let run = work.load(&database, args).arg(name).expect(0);
        run.summary().check(&[
            ("events", expected.events),
            ("inserted", expected.loaded()),
            ("rejected", 0),
            ("unfinished", 0),
        ]);
        assert_tables(&database, "americas", &expected.tables);
        // The segments are the same again.
        let again = work.load(&database, args).args(&["--reread", name]).expect(0);
        again.summary().check(&[("already_loaded", expected.events), ("inserted", 0)]);
        assert_eq!(again.summary().count("segments_skipped"), run.summary().count("segments"), "{name}");
        if name == "board.json" {
            let lost = work.program(&["load", "--dry-run", "--server", "americas", name]).expect(3);
            assert!(lost.stdout.contains("--events-at '*.data'"), "{}", lost.stdout);
            let verify = work.program(&["verify", "--server", "americas"]).args(args).arg(name);
            verify.env("DATABASE_URL", &database.url()).expect(0);
        }
    }
}

/// Places of rejects refer to the input, and a corrected reject is loaded with the same path.
#[test]
fn rejects_of_large_envelopes_have_places() {
    let dump = events();
    let (work, database) = (Workplace::new(), Cluster::shared().database("large_rejects"));
    let mut text = page(&dump);
    let events = lines(&dump);
    let place = |event: &[u8]| memchr::memmem::find(&page(&dump), event).expect("an event");
    let (nameless, broken) = (place(events[1300]), place(events[1390]));
    let replace = |text: &mut Vec<u8>, from: usize, old: &str, new: &str| {
        assert_eq!(old.len(), new.len());
        let at = from + memchr::memmem::find(&text[from..], old.as_bytes()).expect("a key");
        drop(text.splice(at..at + old.len(), new.bytes()));
    };
    replace(&mut text, nameless, "\"TimeStamp\":\"2", "\"TimeStamp\":\"x");
    // Malformed for the parser only.
    replace(&mut text, broken, "\"EventId\":", "\"EventId\" ");
    work.write("page.json", &text);
    let args = ["--events-at", "data.events", "--rejects", "rejects.ndjson", "page.json"];
    let run = work.load(&database, &args).expect(3);
    run.summary().check(&[("events", 1400), ("inserted", 1398), ("rejected", 2)]);
    let rejects = run.rejects();
    for (reject, (index, at)) in rejects.iter().zip([(1300, nameless), (1390, broken)]) {
        let found = (&reject.0["line"], &reject.0["index"], &reject.0["byte_offset"]);
        assert_eq!(found, (&json!(1), &json!(index), &json!(at)), "{}", reject.0["reason"]);
        assert!(text[at..].starts_with(&reject.raw()), "{}", reject.0["reason"]);
    }
    let file = std::fs::read_to_string(work.path().join("rejects.ndjson")).expect("the rejects");
    let corrected =
        file.replace(r#"EventId\" "#, r#"EventId\":"#).replace(r#"TimeStamp\":\"x"#, r#"TimeStamp\":\"2"#);
    work.write("corrected.ndjson", corrected);
    let args = ["--events-at", "data.events", "corrected.ndjson"];
    work.load(&database, &args).expect(0).summary().check(&[("inserted", 2), ("rejected", 0)]);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

/// An envelope that is cut off ends with code 1, compressed or not. The intact copy has the other events.
#[test]
fn an_envelope_that_is_cut_off_is_loaded_up_to_there() {
    let dump = generated(60, 43, 0.0);
    let expected = expect(&dump, Nul::Reject);
    let text = page(&dump);
    let pretty =
        serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&text).expect("JSON")).expect("JSON");
    for text in [text, pretty] {
        let (plain, compressed) = (text[..text.len() * 2 / 3].to_vec(), gzip(&text));
        for (cut, reason) in [
            (plain, "the JSON object is not closed"),
            (compressed[..compressed.len() * 2 / 3].to_vec(), "cut short"),
        ] {
            let (work, database) = (Workplace::new(), Cluster::shared().database("cut_envelope"));
            work.write("page.json", &cut);
            let args = ["--events-at", "data.events", "page.json"];
            let run =
                work.load(&database, &args).segment_bytes(64 << 10).expect(1).says(&["page.json", reason]);
            let summary = run.summary();
            summary.check(&[("rejected", 0), ("unfinished", 0), ("inserted", summary.count("events"))]);
            assert!(summary.count("inserted") > 20, "{}", run.stdout);
            assert!(summary.error().contains(reason), "{}", summary.error());
            work.write("page.json", &text);
            work.load(&database, &args).segment_bytes(64 << 10).expect(0);
            assert_tables(&database, "americas", &expected.tables);
        }
    }
}

/// Malformed JSON more than 16 MiB before the end of its line.
#[test]
fn malformed_json_in_a_long_line_is_named() {
    let dump = events();
    let mut events = lines(&dump);
    let broken = b"{\"EventId\":1,\"x\":[}".to_vec();
    events.insert(5, &broken);
    let (array, more) = (events.join(&b','), lines(&dump).join(&b','));
    for (args, open, close) in
        [(&[] as &[&str], "[", "]"), (&["--events-at", "data.events"][..], "{\"data\":{\"events\":[", "]}}")]
    {
        let (work, database) = (Workplace::new(), Cluster::shared().database("long_line"));
        let text = [open.as_bytes(), &array, b",", &more, close.as_bytes(), b"\n"].concat();
        work.write("dump.json", &text);
        let run = work.load(&database, args).arg("dump.json").expect(3);
        run.summary().check(&[("events", 6), ("inserted", 5), ("rejected", 1)]);
        let rejects = run.rejects();
        let reject = &rejects[0].0;
        let at = memchr::memmem::find(&text, &broken).expect("the event");
        assert_eq!((&reject["index"], &reject["byte_offset"]), (&json!(5), &json!(at)));
        assert_eq!((&reject["truncated"], rejects[0].raw().len()), (&json!(true), 4096));
        let (byte, rest) = (broken.len() - 1, text.len() - at - 1);
        let reason = format!(
            "not JSON: malformed at byte {byte} of the value; correct the input itself, because the reject file has only \
             the beginning of the remaining {rest} bytes of the line"
        );
        assert_eq!(reject["reason"], reason);
    }
}

/// Rows that are not held are encoded from strings within the envelope, between events that are in none.
#[test]
fn events_in_strings_of_a_large_envelope_keep_their_rows() {
    const EVENTS: i64 = 400;
    const SLOTS: i64 = 1_500;
    let rest = format!(
        r#","Inventory":[{}{{}}],"Padding":"{}""#,
        "{},".repeat(usize::try_from(SLOTS).expect("few") - 1),
        "x".repeat(40_000)
    );
    let row = |number: i64| {
        // The plain events have the first and the last ids of a segment.
        let first = match number % 9 {
            0 => 100_000_000,
            1 => 300_000_000,
            _ => 200_000_000,
        };
        let id = first + number;
        let event = format!(
            r#"{{"EventId":{id},"TimeStamp":"2025-08-25T21:50:19Z","TotalVictimKillFame":1,"Killer":{{"Id":"k","Name":"k"}},"Victim":{{"Id":"v","Name":"v"{rest}}}}}"#
        );
        if number % 9 < 2 { event } else { json!({ "raw": event }).to_string() }
    };
    let rows: Vec<String> = (0..EVENTS).map(row).collect();
    let text = format!(r#"{{"data":{{"rows":[{}]}}}}"#, rows.join(","));
    assert!(text.len() > LINE_MAX_BYTES, "{}", text.len());
    let (work, database) = (Workplace::new(), Cluster::shared().database("large_envelope_strings"));
    work.write("dump.json", &text);
    let run = work.load(&database, &["--events-at", "data.rows.raw"]).arg("dump.json").expect(0);
    run.summary().check(&[("inserted", EVENTS.unsigned_abs()), ("rejected", 0), ("unfinished", 0)]);
    let counts = "select (select count(*) from kill_event), (select count(*) from kill_player), \
                  (select count(*) from kill_loot)";
    let stored = database.client().query_one(counts, &[]).expect("counts");
    assert_eq!(
        [0, 1, 2].map(|column| stored.get::<_, i64>(column)),
        [EVENTS, 2 * EVENTS, EVENTS * SLOTS],
        "events, players, items"
    );
}

/// What is advised for values of more than 16 MiB loads the events, and names no reject file that has only their beginnings.
#[test]
fn advice_for_large_values_loads_their_events() {
    let dump = events();
    let events: Vec<&str> =
        lines(&dump).into_iter().map(|line| str::from_utf8(line).expect("JSON")).collect();
    let strings: Vec<Value> = events.iter().map(|event| json!({"id": 1, "raw": event})).collect();
    let (rows, array) = (json!({"rows": strings}).to_string(), events.join(","));
    let texts = json!({ "rows": events }).to_string();
    let page = String::from_utf8(page(&dump)).expect("JSON");
    for (name, text, wrong, path) in [
        ("page.json", page, Some("data.event"), "data.events"),
        ("battle.json", format!("{{\"raw_events\":[{array}]}}"), Some("raw_event"), "raw_events"),
        ("rows.json", rows, None, "rows.raw"),
        ("texts.json", texts, None, "rows"),
    ] {
        log_case(name);
        let (work, database) = (Workplace::new(), Cluster::shared().database("large_advice"));
        work.write(name, text);
        let mut args = vec!["load"];
        args.extend(wrong.iter().flat_map(|path| ["--events-at", *path]));
        args.push(name);
        let run = work.program(&args).env("DATABASE_URL", &database.url()).expect(3);
        let (_, command) = run.stdout.trim_end().rsplit_once('\n').expect("a command");
        assert!(command.contains(&format!(" --events-at {path} ")), "{command}");
        assert!(command.ends_with(name), "{command}");
        let pasted = work.other_program("sh", &["-c", command]).env("DATABASE_URL", &database.url());
        pasted.expect(0).says_in_output("1,400  inserted");
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    }
}

/// The filter of `jq` depends on the path, and on what the framer has followed of it.
#[test]
fn advice_for_large_strings_loads_their_events() {
    if find_program(&["jq"], &[]).is_none() {
        return not_tried("strings of more than 16 MiB", "jq is not installed");
    }
    let array = format!("[{}]", String::from_utf8(lines(&events()).join(&b',')).expect("JSON"));
    let inner = Value::from(format!("{{\"events\":{array}}}")).to_string();
    let array = Value::from(array).to_string();
    for (path, text) in [
        ("body", r#"{"body":<array>}"#),
        ("body.events", r#"{"body":<inner>}"#),
        ("a.b c.d-e", r#"{"a":{"b c":{"d-e":<array>}}}"#),
        ("*", r#"{"a.b":<array>}"#),
        ("*.data", r#"{"17":{"posted":true,"data":<array>}}"#),
        ("rows", r#"{"rows":[<array>]}"#),
        ("rows.raw", r#"{"rows":[{"id":1,"raw":<array>}]}"#),
        ("rows.raw.events", r#"{"rows":[{"id":1,"raw":<inner>}]}"#),
    ] {
        log_case(path);
        let work = Workplace::new();
        work.write("dump.json", text.replacen("<array>", &array, 1).replacen("<inner>", &inner, 1));
        let run = work.program(&["load", "--dry-run", "--events-at", path, "dump.json"]).expect(1);
        let run = run.says(&["JSON with events in a string of more than 16 MiB", "jq -r "]);
        let (_, command) = run.stdout.trim_end().rsplit_once('\n').expect("a command");
        let pasted = work.other_program("bash", &["-c", command]);
        pasted.expect(0).says_in_output("all 1,400 events can be loaded");
    }
}

/// A value without events, of which the reject file has only the beginning.
#[test]
fn large_values_without_events_are_corrected_in_the_input() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("large_value"));
    work.write("dump.json", json!({ "text": "x".repeat(LINE_MAX_BYTES) }).to_string());
    let run = work.program(&["load", "dump.json"]).env("DATABASE_URL", &database.url()).expect(3);
    assert!(run.stdout.contains("correct the input itself"), "{}", run.stdout);
    assert!(run.stdout.trim_end().ends_with(" dump.json"), "{}", run.stdout);
    assert!(!run.stdout.contains("to load the corrected rejects"), "{}", run.stdout);
}

/// The server at the beginning of an envelope that is longer than the text in which it is sought.
#[test]
fn a_server_before_the_events_of_a_long_envelope_is_found() {
    let dump = generated(300, 47, 0.0);
    let array = String::from_utf8(lines(&dump).join(&b',')).expect("JSON");
    assert!(array.len() > 4 << 20, "{}", array.len());
    let text = format!("{{\"server\":\"americas\",\"events\":[{array}]}}\n");
    for is_file in [true, false] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("long_server"));
        let load = work.load(&database, &["--events-at", "events"]).without("ALBION_SERVER");
        let load = if is_file {
            work.write("dump.json", &text);
            load.arg("dump.json")
        } else {
            load.stdin(text.clone())
        };
        load.expect(0).summary().check(&[("inserted", 300), ("rejected", 0)]);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    }
}

/// Malformed JSON in a pretty-printed envelope costs one event, whether the envelope exceeds the limit or not.
#[test]
fn malformed_json_in_a_pretty_printed_envelope_costs_one_event() {
    for dump in [generated(40, 44, 0.0), events()] {
        let values: Vec<Value> =
            lines(&dump).iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect();
        let count = values.len() as u64;
        let entry = |event: &Value| (event["EventId"].to_string(), json!({"posted": true, "data": event}));
        let board: serde_json::Map<String, Value> = values.iter().map(entry).collect();
        let battle = json!({"battle": {"id": 1338}, "raw_events": &values});
        for (path, envelope) in [("*.data", Value::Object(board)), ("raw_events", battle)] {
            log_case(path);
            let text = serde_json::to_string_pretty(&envelope).expect("JSON");
            // A missing quote, and a missing colon, which only the parser finds.
            for (key, malformed) in [("\"TimeStamp\":", "\"TimeStamp:"), ("\"EventId\":", "\"EventId\"")] {
                let (work, database) = (Workplace::new(), Cluster::shared().database("pretty_envelope"));
                work.write("dump.json", text.replacen(key, malformed, 1));
                let args = ["--events-at", path, "--rejects", "rejects.ndjson", "dump.json"];
                let run = work.load(&database, &args).expect(3);
                run.summary().check(&[("events", count), ("inserted", count - 1), ("rejected", 1)]);
                let file = std::fs::read_to_string(work.path().join("rejects.ndjson")).expect("the rejects");
                let escaped = |text: &str| text.replace('"', "\\\"");
                let corrected = file.replacen(&format!("{} ", escaped(malformed)), &(escaped(key) + " "), 1);
                work.write("corrected.ndjson", corrected);
                let corrected = work.load(&database, &["--events-at", path, "corrected.ndjson"]).expect(0);
                corrected.summary().check(&[("inserted", 1), ("rejected", 0)]);
            }
        }
    }
}

/// A missing brace puts all entries after it into another one. They are in a reject, or it says how much is missing.
#[test]
fn entries_after_a_missing_brace_are_not_lost() {
    for dump in [generated(60, 45, 0.0), events()] {
        let mut events = lines(&dump);
        let last = events.pop().expect("an event");
        let entry = |(number, event): (usize, &&[u8])| {
            let close: &[u8] = if number == 30 { b"" } else { b"}" };
            [format!("\"{number}\":{{\"data\":").as_bytes(), *event, close].concat()
        };
        let entries: Vec<Vec<u8>> = events.iter().enumerate().map(entry).collect();
        let next = [&b"}\n{\"last\":{\"data\":"[..], last, b"}}\n"].concat();
        let text = [&b"{"[..], &entries.join(&b','), &next].concat();
        let (work, database) = (Workplace::new(), Cluster::shared().database("missing_brace"));
        work.write("board.json", &text);
        let run = work.load(&database, &["--events-at", "*.data", "board.json"]).expect(3);
        run.summary().check(&[("events", 33), ("inserted", 32), ("rejected", 1)]);
        let rejects = run.rejects();
        if text.len() < LINE_MAX_BYTES {
            let raw = rejects[0].raw();
            assert!(raw.starts_with(b"\"31\":{"), "{}", rejects[0].0["reason"]);
            assert!(text.ends_with(&[&raw[..], &next[1..]].concat()), "the rest of the line");
        } else {
            let reason = rejects[0].0["reason"].as_str().expect("a reason");
            assert!(reason.contains("bytes around this place, which are not in the reject file"), "{reason}");
            assert_eq!(rejects[0].0["truncated"], json!(true));
        }
    }
}
