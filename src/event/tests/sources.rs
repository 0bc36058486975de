//! Events of other programs: named game servers, Extended JSON, envelopes and reject files.

use crate::event::server::Server;
use crate::event::tests::*;

/// As [`read_by`], with events at a path.
fn read_at(path: &str, line: &str) -> Vec<String> {
    let path: EventsAt = path.parse().unwrap();
    read_by(ReadRules { events_at: Some(&path), ..ReadRules::default() }, line)
}

#[test]
fn game_servers_that_events_name() {
    let expected = |server| ReadRules { server: Some(server), ..ReadRules::default() };
    for (members, named) in [
        (r#","server":"Live_AMS""#, Some(Server::Europe)),
        (r#","region":"WEST""#, Some(Server::Americas)),
        (r#","source_region":" sgp""#, Some(Server::Asia)),
        (r#","server":"eu","region":"europe""#, Some(Server::Europe)),
        (r#","server":"node-7","region":7,"source_region":null"#, None),
        ("", None),
    ] {
        for server in Server::ALL {
            let found = read_by(expected(server), &event_with(members));
            if named.is_none_or(|named| named == server) {
                assert_eq!(found, ["1 0"], "{members} {server}");
            } else {
                assert!(found[0].starts_with("server: the event is from"), "{found:?}");
            }
        }
        let must = ReadRules { must_name_server: true, ..ReadRules::default() };
        let is_rejected = read_by(must, &event_with(members))[0].starts_with("server: names no game server");
        assert_eq!(is_rejected, named.is_none(), "{members}");
    }
    let two = event_with(r#","server":"eu","region":"us""#);
    assert!(read_by(ReadRules::default(), &two)[0].contains("two game servers"));
    for (text, is_whole, found) in [
        (event_with(r#","server":"eu""#), false, Some(Some(Server::Europe))),
        (
            format!("\u{feff}<html>{{\n[{},", event_with(r#","region":"eu""#)),
            false,
            Some(Some(Server::Europe)),
        ),
        (event_with(""), false, Some(None)),
        (event_with("")[..90].to_owned(), false, None),
        ("{\"a\":1}\n".to_owned() + &event_with(r#","server":"us""#), false, Some(Some(Server::Americas))),
        ("{\n".to_owned() + &event_with(r#","server":"us""#), true, Some(Some(Server::Americas))),
        (String::new(), true, None),
    ] {
        assert_eq!(first_named_server(text.as_bytes(), is_whole, None), found, "{text}");
    }
}

#[test]
fn extended_json_of_mongodb() {
    let with = |id: &str, time: &str, power: &str| {
        format!(
            r#"{{"_id":{{"$oid":"66c2"}},"EventId":{id},"TimeStamp":{time},"TotalVictimKillFame":{{"$numberInt":"2"}},"Killer":{{"Id":"k","Name":"K","AverageItemPower":{power}}},"Victim":{VICTIM}}}"#
        )
    };
    let read = |line: &str| {
        let mut event = Event::default();
        let mut fault = None;
        LineReader::new(NulPolicy::Reject).read(line, &mut event, |line| fault = line.event.err()).unwrap();
        fault.map_or(Ok((event.event_id, event.occurred_at_us, event.killer.item_power)), |fault| {
            Err(fault.field().map(str::to_owned))
        })
    };
    let time = 1_724_013_946_725_000;
    for (id, date, power, expected) in [
        (
            r#"{"$numberLong":"123"}"#,
            r#"{"$date":"2024-08-18T20:45:46.725Z"}"#,
            r#"{"$numberDouble":"1.5"}"#,
            1.5,
        ),
        (
            r#"{"$numberInt":"123"}"#,
            r#"{"$date":{"$numberLong":"1724013946725"}}"#,
            r#"{ "$numberInt" : "2" }"#,
            2.0,
        ),
        (r#"{"$numberDouble":"123.0"}"#, r#"{"$date":1724013946725}"#, "3", 3.0),
        (
            r#"{"$numberDecimal":"123"}"#,
            r#"{"$date":"2024-08-18T20:45:46.725+0000"}"#,
            r#"{"$numberDecimal":"1.5"}"#,
            1.5,
        ),
        (
            r#"{"$numberDecimal":"1.23E+2"}"#,
            r#"{"$date":"2024-08-18T15:15:46.725-0530"}"#,
            r#"{"$numberDecimal":"2"}"#,
            2.0,
        ),
    ] {
        assert_eq!(read(&with(id, date, power)), Ok((123, time, Some(expected))), "{id}");
    }
    let date = "\"2024-08-18T20:45:46.725Z\"";
    for (id, date, power, field) in [
        (r#"{"$numberLong":"x"}"#, date, "1", "EventId"),
        (r#"{"$numberLong":"1","a":1}"#, date, "1", "EventId"),
        (r#"{"$oid":"1"}"#, date, "1", "EventId"),
        (r#"{"$numberDouble":"1.5"}"#, date, "1", "EventId"),
        (r#"{"$numberDecimal":"1.5"}"#, date, "1", "EventId"),
        ("1", r#"{"$date":"x"}"#, "1", "TimeStamp"),
        ("1", r#"{"$date":"2024-08-18T20:45:46+000"}"#, "1", "TimeStamp"),
        ("1", r#"{"$date":"\u00e9+0000"}"#, "1", "TimeStamp"),
        ("1", r#"{"$date":{"$numberLong":"9223372036854775807"}}"#, "1", "TimeStamp"),
        ("1", r#"{"$date":null}"#, "1", "TimeStamp"),
        ("1", date, r#"{"$numberDouble":"Infinity"}"#, "Killer.AverageItemPower"),
        ("1", date, r#"{"$numberDecimal":"NaN"}"#, "Killer.AverageItemPower"),
        ("1", date, r#"{"$numberDouble":"1e13"}"#, "Killer.AverageItemPower"),
        ("1", date, r#"{"$numberLong":"-1000000000001"}"#, "Killer.AverageItemPower"),
        ("1", date, r#"{"$numberDouble":"1" "#, ""),
    ] {
        if field.is_empty() {
            let line = with(id, date, power);
            assert!(LineReader::new(NulPolicy::Reject).read(&line, &mut Event::default(), |_| ()).is_err());
        } else {
            assert_eq!(read(&with(id, date, power)), Err(Some(field.to_owned())), "{id} {date} {power}");
        }
    }
}

#[test]
fn enveloped_events() {
    let (event, text) = (event_with(""), serde_json::to_string(&event_with("")).unwrap());
    let page = serde_json::to_string(&format!("[{event},{}]", event_with(r#","BattleId":7"#))).unwrap();
    for (path, line, expected) in [
        ("data", format!(r#"{{"id":1,"data":{event}}}"#), &["1 0"][..]),
        ("data.events", format!(r#"{{"data":{{"events":[{event},{event}]}},"x":[]}}"#), &["1 0", "1 0"]),
        ("raw_json", format!(r#"{{"raw_json":{text}}}"#), &["1 0"]),
        ("raw", format!(r#"[{{"raw":{page}}},{{"raw":{event}}}]"#), &["1 0", "1 7", "1 0"]),
        (
            "a.b",
            format!(r#"{{"a":{}}}"#, serde_json::to_string(&format!(r#"{{"b":{event}}}"#)).unwrap()),
            &["1 0"],
        ),
        (
            "*.data",
            format!(r#"{{"7":{{"posted":true,"data":{event}}},"8":{{"data":{event}}}}}"#),
            &["1 0", "1 0"],
        ),
        ("data", format!(r#"{{"data":1,"data":{event}}}"#), &["1 0"]),
        ("data", event.clone(), &["1 0"]),
        ("data", String::new(), &[]),
        ("data", r#"{"data":"no JSON"}"#.to_owned(), &["not JSON: unknown word at byte 1 of the line"]),
        ("data", r#"{"id":1}"#.to_owned(), &["no value at 'data', the path of --events-at"]),
        (
            "data",
            format!(r#"{{"body":{event}}}"#),
            &[
                "no value at 'data', the path of --events-at; an event seems to be at 'body': add --events-at 'body'",
            ],
        ),
        (
            "data",
            format!(r#"{{"server":"asia","data":{event}}}"#),
            &["server: the event is from asia, but this load is for europe"],
        ),
    ] {
        let path: EventsAt = path.parse().unwrap();
        let rules =
            ReadRules { events_at: Some(&path), server: Some(Server::Europe), ..ReadRules::default() };
        assert_eq!(read_by(rules, &line), expected, "{path} {line}");
    }
    let lost = read_by(ReadRules::default(), &format!(r#"{{"id":1,"raw_json":{text}}}"#));
    assert_eq!(
        lost,
        [
            "EventId: required field is missing; an event seems to be at 'raw_json': add --events-at 'raw_json'"
        ]
    );
    let battle = ReadRules { battle: Some(9), ..ReadRules::default() };
    assert_eq!(read_by(battle, &format!("[{event},{}]", event_with(r#","BattleId":7"#))), ["1 9", "1 7"]);
    let unnamed = ReadRules { must_name_battle: true, ..ReadRules::default() };
    assert!(read_by(unnamed, &event)[0].starts_with("BattleId: names no battle"));
}

/// The events before malformed JSON, and the text from the malformed member or element on.
fn read_malformed(path: &str, text: &str) -> (Vec<Option<i64>>, Option<String>) {
    let path: EventsAt = path.parse().unwrap();
    let rules = ReadRules { events_at: Some(&path), ..ReadRules::default() };
    let mut battles = Vec::new();
    let found = |line: Line<'_, '_>| battles.push(line.event.ok().and_then(|event| event.battle_id));
    let context = ValueContext::default();
    let read = LineReader::with_rules(rules).read_value(text, 0, context, &mut Event::default(), found);
    let start = read.expect_err(text).element.map(|element| text[element.start..].trim_start().to_owned());
    (battles, start)
}

#[test]
fn events_before_malformed_json_in_envelopes() {
    let [one, two, three] = [1, 2, 3].map(|battle| event_with(&format!(",\"BattleId\":{battle}")));
    let bad = two.replace("\"Killer\":", "\"Killer\"");
    let cut = &two[..40];
    let string = |text: &str| Value::from(text).to_string();
    for (path, before, rest) in [
        ("data.events", format!(r#"{{"data":{{"n":1,"events":[{one},"#), format!("{bad},{three}]}}}}")),
        ("data.events", format!(r#"{{"data":{{"n":1,"events":[{one},"#), cut.to_owned()),
        ("data.events", format!(r#"{{"data":{{"n":1,"events":[{one}"#), String::new()),
        (
            "data.events",
            format!(r#"[{{"data":{{"events":{one}}}}},"#),
            format!(r#"{{"data":{{"events":{bad}}}}}]"#),
        ),
        ("data.events", format!(r#"{{"data":{{"events":[{one}]}},"#), r#""next":nul}"#.to_owned()),
        ("data.events", format!(r#"{{"data":{{"events":[{one}]}} "#), r#""next":1}"#.to_owned()),
        ("*", format!("[[{one}],["), format!("{bad}],[{three}]]")),
        (
            "*.data",
            format!(r#"{{"7":{{"data":{one}}},"#),
            format!(r#""8":{{"data":{bad}}},"9":{{"data":{three}}}}}"#),
        ),
        ("*.data", format!(r#"{{"7":{{"data":{one}}},"#), r#""8":{"posted":tru,"data":[]}}"#.to_owned()),
        // The brace after the first event is missing.
        (
            "*.data",
            format!(r#"{{"7":{{"data":{one},"#),
            format!(r#""8":{{"data":{two}}},"9":{{"data":{three}}}}}"#),
        ),
        (
            "*.data",
            format!(r#"{{"7":{{"data":{one},"#),
            format!(r#""8":{{"data":{three}}},"9":{{"data":{bad}}}}}"#),
        ),
        ("raw", format!(r#"[{{"raw":{}}},"#, string(&one)), format!(r#"{{"raw" {}}}]"#, string(&three))),
    ] {
        let text = format!("{before}{rest}");
        let (battles, start) = read_malformed(path, &text);
        assert_eq!(battles, [Some(1)], "{path} {text}");
        assert_eq!(start.as_deref(), Some(rest.as_str()), "{path} {text}");
    }
    // An event at the top of the value, and an object without anything at the path.
    for text in [bad.clone(), format!(r#"{{"a":1,"b":{bad}}}"#)] {
        assert!(read_malformed("data", &text).0.is_empty(), "{text}");
    }
}

/// The rest of an envelope is loaded after its correction, with the same path.
#[test]
fn corrected_rests_of_envelopes() {
    let event = event_with("");
    for (path, rest, events) in [
        ("data.events", format!("{event},{event}]}}}}"), 2),
        ("data.events", format!("{event}],\"n\":1}},\"m\":{{}}}}"), 1),
        ("data.events", format!("\"events\":[{event}]}}}}]"), 0),
        ("data.events", format!("\"events\":[{event}]}}}}"), 1),
        ("data.events", format!("\n    {event},\n    {event}\n  ]\n }}\n}}"), 2),
        ("*.data", format!(r#""data":{event}}},"9":{{"data":{event}}}}}"#), 2),
        ("*.data", format!(r#""8":{{"data":{event}}},"9":{{"data":{event}}}}}"#), 2),
        ("*.data", event.clone(), 1),
        ("*", format!("{event}],[{event}]]"), 2),
    ] {
        let record = json!({"source": "a", "line": 1, "byte_offset": 0, "reason": "x", "raw": rest});
        let found = read_at(path, &record.to_string());
        let loaded = found.iter().filter(|found| *found == "1 0").count();
        assert_eq!((loaded, found.len()), (events, events.max(1)), "{path} {rest}: {found:?}");
    }
}

/// Only what is read as an event must be without lone surrogates.
#[test]
fn lone_surrogates_in_envelopes() {
    let event = event_with("");
    let bad = event_with(r#","KillArea":"\ud800""#);
    let lone = |field: &str| {
        format!(
            "{field}contains a lone surrogate such as \\ud800, which is not a character and can't be stored"
        )
    };
    let string = |text: &str| Value::from(text).to_string();
    let page = string(&format!("[{event},{bad},{event}]"));
    for (path, line, expected) in [
        (
            "data",
            format!(r#"{{"note":"\ud800","\udc00":1,"server":"\ud800","data":{event}}}"#),
            vec!["1 0".to_owned()],
        ),
        (
            "data",
            format!(r#"[{{"data":{bad}}},{{"data":{event}}}]"#),
            vec![lone("KillArea: "), "1 0".to_owned()],
        ),
        ("data", format!(r#"[{{"data":"\ud800"}},{{"data":{event}}}]"#), vec![lone(""), "1 0".to_owned()]),
        (
            "data",
            format!(r#"{{"note":"\ud800","data":{page}}}"#),
            vec!["1 0".to_owned(), lone("KillArea: "), "1 0".to_owned()],
        ),
    ] {
        assert_eq!(read_at(path, &line), expected, "{line}");
    }
}

#[test]
fn advice_for_nested_arrays() {
    let event = event_with("");
    let pages = format!("[[{event}],[{event},{event}]]");
    let advice = "expected an event object, found an array; an event seems to be at '*': add --events-at '*'";
    assert_eq!(read_by(ReadRules::default(), &pages), [advice; 2]);
    assert_eq!(read_by(ReadRules::default(), "[[1]]"), ["expected an event object, found an array"]);
    for (path, line) in [("*", pages.clone()), ("data.*", format!(r#"{{"data":{pages}}}"#))] {
        assert_eq!(read_at(path, &line), ["1 0"; 3], "{path}");
    }
}

#[test]
fn advice_extends_the_path() {
    let event = event_with("");
    let pages = format!("[[{event}],[{event},{event}]]");
    for (path, line, found) in [
        ("data.event", format!(r#"{{"data":{{"events":[{event}]}}}}"#), "data.events"),
        ("data", format!(r#"{{"data":{{"x":{event}}}}}"#), "data.x"),
        ("data", format!(r#"{{"data":{pages}}}"#), "data.*"),
        ("*.b.c", format!(r#"{{"7":{{"b":[{{"d":{event}}}]}}}}"#), "*.b.d"),
        ("a.b", format!(r#"{{"a":{}}}"#, Value::from(format!(r#"{{"c":{event}}}"#))), "a.c"),
    ] {
        for reason in read_at(path, &line) {
            let advice = format!("; an event seems to be at '{found}': add --events-at '{found}'");
            assert!(reason.ends_with(&advice), "{path} {line}: {reason}");
        }
        assert!(read_at(found, &line).iter().all(|event| event == "1 0"), "{found} {line}");
    }
}

#[test]
fn lines_of_a_reject_file() {
    let record = |raw: &str, more: &str| {
        let raw = serde_json::to_string(raw).unwrap();
        format!(
            r#"{{"source":"a","line":1,"byte_offset":0,"index":null,"reason":"x","field":null,"sqlstate":null,"raw":{raw}{more}}}"#
        )
    };
    let event = event_with("");
    for (line, expected) in [
        (record(&event, ""), "1 0"),
        (record(&format!("[{event}]"), ""), "1 0"),
        (record("<html>", ""), "not JSON: expected a value at byte 0 of the line"),
        (record("{}", ""), "EventId: required field is missing"),
        (
            record(&event[..20], r#","truncated":true"#),
            "the reject file contains only the beginning of the value; load it from its source",
        ),
        (record("/w==", r#","raw_base64":true"#), "the value in the reject file is not UTF-8"),
    ] {
        assert_eq!(read_by(ReadRules::default(), &line), [expected], "{line}");
    }
    // The rest of a line of an array, or of several values, after its correction.
    for rest in [
        format!("{event},"),
        format!("{event},{event}"),
        format!("{event},{event}]"),
        format!("{event}{event}"),
    ] {
        let events = read_by(ReadRules::default(), &record(&rest, ""));
        assert_eq!(events, ["1 0"; 2][..rest.matches("EventId").count()], "{rest}");
    }
    assert_eq!(
        decoded_text(&record(&event, ""), 0, ReadRules::default(), ValueContext::default()),
        Some(event)
    );
}

#[test]
fn a_reject_has_the_battle_of_its_source() {
    let event = event_with("");
    let record = |source: &str| {
        let raw = serde_json::to_string(&event).unwrap();
        format!(r#"{{"source":"{source}","line":1,"reason":"x","raw":{raw}}}"#)
    };
    // The name of the reject file has a number, too.
    let of_name = ReadRules { battle: Some(2), has_battle_of_source: true, ..ReadRules::default() };
    assert_eq!(read_by(of_name, &record("battles/1340.json.gz")), ["1 1340"]);
    assert!(read_by(of_name, &record("<stdin>"))[0].starts_with("BattleId: names no battle"));
    let unnamed = ReadRules { battle: None, must_name_battle: true, ..of_name };
    assert_eq!(read_by(unnamed, &record("1340.json")), ["1 1340"]);
    // A second reject file names the first one, and the battle.
    let again = record("rejects-7.ndjson").replace(r#""line":1"#, r#""line":1,"battle":1340"#);
    assert_eq!(read_by(of_name, &again), ["1 1340"]);
    // Another event and another option are unaffected.
    assert_eq!(read_by(of_name, &event), ["1 2"]);
    let of_option = ReadRules { battle: Some(2), ..ReadRules::default() };
    assert_eq!(read_by(of_option, &record("1340.json")), ["1 2"]);
}
