//! Whole lines: of equal keys the last counts, arrays of events, hostile depth, and an event's space used again.

use super::*;
use serde_json::{Value, json};

const KILLER: &str = r#"{"Id":"k","Name":"K","Equipment":{"MainHand":{"Type":"T4_BOW","Quality":2}}}"#;
const VICTIM: &str = r#"{"Id":"v","Name":"V","Inventory":[null,{"Type":"T4_BAG","Count":3}]}"#;

/// An event with these members after all others.
fn event_with(members: &str) -> String {
    format!(
        r#"{{"EventId":1,"TimeStamp":"2024-08-18T20:45:46Z","TotalVictimKillFame":2,"Killer":{KILLER},"Victim":{VICTIM}{members}}}"#
    )
}

/// What of an event the tests look at; of a refused one, the field.
fn read(line: &str) -> Vec<Result<Value, Option<String>>> {
    read_all(line, NulPolicy::Reject).unwrap_or_else(|fault| panic!("{fault}: {line}"))
}

fn read_all(line: &str, nul: NulPolicy) -> Result<Vec<Result<Value, Option<String>>>, Fault> {
    let mut events = Vec::new();
    LineReader::new(nul).read(line, &mut Event::default(), |found| {
        let ids =
            |players: &[Player<'_>]| players.iter().map(|player| player.id.to_string()).collect::<Vec<_>>();
        let loot = |event: &Event<'_>| {
            event.loot.iter().map(|(slot, item)| json!([slot, item.kind, item.count])).collect::<Vec<_>>()
        };
        events.push(match found.event {
            Ok(event) => Ok(json!({
                "id": event.event_id,
                "killer": event.killer.name,
                "main_hand": event.killer.equipment[0].as_ref().map(|item| item.kind.as_deref()),
                "victim": event.victim.name,
                "participants": ids(&event.participants),
                "group": ids(&event.group_members),
                "loot": loot(event),
            })),
            Err(fault) => Err(fault.field().map(str::to_owned)),
        });
    })?;
    Ok(events)
}

#[test]
fn of_equal_keys_the_last_counts() {
    let plain = json!({"id": 1, "killer": "K", "main_hand": "T4_BOW", "victim": "V", "participants": [], "group": [],
        "loot": [[1, "T4_BAG", 3]]});
    let check = |members: &str, change: Value| {
        let mut expected = plain.clone();
        for (key, value) in change.as_object().unwrap() {
            expected[key] = value.clone();
        }
        assert_eq!(read(&event_with(members)), [Ok(expected)], "{members}");
    };
    let refused = |members: &str, field: &str| {
        assert_eq!(read(&event_with(members)), [Err(Some(field.to_owned()))], "{members}");
    };
    check("", json!({}));
    check(r#","EventId":7"#, json!({"id": 7}));
    check(r#","\u0045ventId":7"#, json!({"id": 7}));
    refused(r#","EventId":null"#, "EventId");
    refused(r#","EventId":7.0,"EventId":1"#, "EventId");
    check(r#","Killer":{"Id":"k","Name":"L"}"#, json!({"killer": "L", "main_hand": null}));
    check(r#","Killer":null,"Killer":{"Id":"k","Name":"L"}"#, json!({"killer": "L", "main_hand": null}));
    check(
        r#","Killer":{"Id":"x","Id":"k","Name":null,"Name":"L"}"#,
        json!({"killer": "L", "main_hand": null}),
    );
    refused(r#","Killer":null"#, "Killer");
    refused(r#","Killer":{"Id":"k","Name":"K","Name":""}"#, "Killer.Name");
    refused(r#","Killer":{"Id":"k","Name":"K","Id":null}"#, "Killer.Id");
    // What the first one had is gone with it.
    check(r#","Victim":{"Id":"v","Name":"W"}"#, json!({"victim": "W", "loot": []}));
    check(
        r#","Victim":{"Id":"v","Name":"W","Inventory":[{"Type":"a"}],"Inventory":null}"#,
        json!({"victim": "W", "loot": []}),
    );
    check(
        r#","Victim":{"Id":"v","Name":"W","Inventory":[{},{}],"Inventory":[null,{"Type":"b","Count":1,"Count":2}]}"#,
        json!({"victim": "W", "loot": [[1, "b", 2]]}),
    );
    check(
        r#","Participants":[{"Id":"a"},{"Id":"b"}],"Participants":[{"Id":"c"}]"#,
        json!({"participants": ["c"]}),
    );
    check(r#","Participants":[{"Id":"a"}],"Participants":null"#, json!({}));
    check(r#","GroupMembers":[{"Id":"a"}],"GroupMembers":[]"#, json!({}));
    let killer = r#","Killer":{"Id":"k","Name":"K","Equipment":{"MainHand":{"Type":"a"}},"Equipment":"#;
    check(&format!("{killer}null}}"), json!({"main_hand": null}));
    check(&format!("{killer}{{}}}}"), json!({"main_hand": null}));
    check(&format!(r#"{killer}{{"MainHand":{{"Type":"a"}},"MainHand":{{}}}}}}"#), json!({"main_hand": null}));
    check(&format!(r#"{killer}{{"MainHand":null,"MainHand":{{"Type":"b"}}}}}}"#), json!({"main_hand": "b"}));
}

#[test]
fn an_event_leaves_nothing_to_the_next() {
    let rich = event_with(
        r#","Participants":[{"Id":"a"}],"GroupMembers":[{"Id":"b"}],"BattleId":9,"KillArea":"x","Version":4,"GvGMatch":{}"#,
    );
    let poor = r#"{"EventId":2,"TimeStamp":"2024-08-18T20:45:46Z","TotalVictimKillFame":0,"Killer":{"Id":"k","Name":"K"},"Victim":{"Id":"v","Name":"V"}}"#;
    let alone = |line| {
        let mut event = Event::default();
        LineReader::new(NulPolicy::Reject).read(line, &mut event, |_| ()).unwrap();
        event
    };
    let (mut reader, mut event) = (LineReader::new(NulPolicy::Reject), Event::default());
    for line in [rich.as_str(), r#"{"EventId":1,"Participants":[{"Id":"a"},1]}"#, poor] {
        reader.read(line, &mut event, |_| ()).unwrap();
    }
    assert_eq!(event, alone(poor));
}

/// What a reader has seen of the keys of one line must not matter to the next.
#[test]
fn keys_in_another_order_with_other_space_are_the_same_keys() {
    let event = event_with(r#","BattleId":9,"Participants":[{"Id":"a","Name":"A"}]"#);
    let value: Value = serde_json::from_str(&event).unwrap();
    let mut reversed = serde_json::Map::new();
    let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    names.sort_by(|a, b| b.cmp(a));
    for name in names {
        reversed.insert(name.clone(), value[&name].clone());
    }
    let members = reversed.iter().map(|(name, value)| format!("{}: {value}", json!(name)));
    let reversed = format!("{{ {} }}", members.collect::<Vec<_>>().join(" ,\t"));
    let lines = [
        event.clone(),
        reversed.clone(),
        reversed.replace(": ", ":"),
        event.replace("EventId", "\\u0045ventId"),
        event.replace(",\"BattleId\":9", ""),
        event.clone(),
    ];
    let broken = [
        event.replace("\"BattleId\":", "\"BattleId\" "),
        event.replace(",\"BattleId\":9", ",\"BattleId\":9,"),
        event.replace(",\"BattleId\"", "\"BattleId\""),
        event.replace("{\"EventId\"", "{,\"EventId\""),
    ];
    let (mut reader, mut event) = (LineReader::new(NulPolicy::Reject), Event::default());
    for line in &lines {
        reader.read(line, &mut event, |_| ()).unwrap();
        let mut alone = Event::default();
        LineReader::new(NulPolicy::Reject).read(line, &mut alone, |_| ()).unwrap();
        assert_eq!(event, alone, "{line}");
        for line in &broken {
            assert!(serde_json::from_str::<Value>(line).is_err(), "{line}");
            assert!(reader.read(line, &mut event, |_| ()).is_err(), "{line}");
        }
    }
}

#[test]
fn arrays_hold_events_by_index() {
    let event = event_with("");
    let line = format!("\u{feff} [ {event} ,5,{{\"EventId\":\"x\"}},[{event}],null,{event}] ");
    let fields: Vec<_> = read(&line).into_iter().map(|event| event.map(|_| ())).collect();
    assert_eq!(fields, [Ok(()), Err(None), Err(Some("EventId".to_owned())), Err(None), Err(None), Ok(())]);
    assert_eq!(read("[]"), []);
    assert_eq!(read(" \t\r"), []);
    assert_eq!(read("\u{feff}"), []);
}

#[test]
fn a_syntax_fault_anywhere_refuses_the_line() {
    let event = event_with("");
    for line in [
        format!("[{event},{event}"),
        format!("[{event},]"),
        format!("[{event} {event}]"),
        format!("{event}{event}"),
        format!("[{event},{{\"EventId\":\"x\",\"y\":01}}]"),
        // After a fault of value, which alone would refuse the event only.
        event_with(r#","EventId":"x","y":"\ud800""#),
        event_with(r#","Killer":5,"y":[1,]"#),
        event_with(r#","Killer":{"Id":5,"Avatar":nul}"#),
        event_with(r#","Victim":"\x""#),
        "\u{feff}\u{feff}{}".to_owned(),
        "{".repeat(100_000),
        "[".repeat(100_000),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        event_with(&format!(r#","Killer":{}"#, "[".repeat(100_000))),
        event_with(&format!(r#","GvGMatch":{}1{}"#, "[".repeat(127), "]".repeat(127))),
    ] {
        let fault = read_all(&line, NulPolicy::Reject).expect_err(&line);
        assert!(fault.refuses_line() && fault.field().is_none(), "{fault:?}: {line}");
    }
}

#[test]
fn depth_counts_from_the_line() {
    let deep = |depth: usize| event_with(&format!(r#","x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert!(read_all(&deep(126), NulPolicy::Reject).is_ok());
    assert!(read_all(&deep(127), NulPolicy::Reject).is_err());
    assert!(read_all(&format!("[{}]", deep(125)), NulPolicy::Reject).is_ok());
    assert!(read_all(&format!("[{}]", deep(126)), NulPolicy::Reject).is_err());
}

#[test]
fn a_nul_matters_only_in_what_is_kept() {
    let kept = [
        r#","KillArea":"a\u0000""#,
        r#","GvGMatch":{"a\u0000":1}"#,
        r#","Killer":{"Id":"k","Name":"K","Equipment":{"MainHand":{"LegendarySoul":["\u0000"]}}}"#,
        r#","Victim":{"Id":"v","Name":"V","Inventory":[{"LegendarySoul":["\u0000"]}]}"#,
    ];
    let dropped = [
        r#","x\u0000":"\u0000""#,
        r#","Killer":{"Id":"k","Name":"K","Avatar":"\u0000","LifetimeStatistics":{"a":"\u0000"}}"#,
        r#","Killer":{"Id":"k","Name":"K","Equipment":{"Head":{"LegendarySoul":["\u0000"],"ActiveSpells":"\u0000"}}}"#,
        r#","Killer":{"Id":"k","Name":"K","Inventory":[{"LegendarySoul":["\u0000"]}]}"#,
    ];
    let taken = |members: &str, nul| read_all(&event_with(members), nul).unwrap()[0].is_ok();
    for members in kept {
        assert!(!taken(members, NulPolicy::Reject), "{members}");
    }
    for members in kept.iter().chain(&dropped) {
        assert!(taken(members, NulPolicy::Strip), "{members}");
        assert!(taken(members, NulPolicy::Replace), "{members}");
    }
    for members in dropped {
        assert!(taken(members, NulPolicy::Reject), "{members}");
    }
}

#[test]
fn an_empty_string_is_nothing_in_a_json_column_too() {
    for (raw, nul, expected) in [
        (r#""""#, NulPolicy::Reject, None),
        (r#""\u0000""#, NulPolicy::Strip, None),
        (r#""\u0000""#, NulPolicy::Replace, Some("\"\u{fffd}\"")),
        ("null", NulPolicy::Reject, None),
        ("false", NulPolicy::Reject, Some("false")),
        ("[\"\"]", NulPolicy::Reject, Some("[\"\"]")),
    ] {
        let mut event = Event::default();
        let line = event_with(&format!(r#","GvGMatch":{raw}"#));
        LineReader::new(nul).read(&line, &mut event, |_| ()).unwrap();
        assert_eq!(event.gvg_match.as_deref(), expected, "{raw}");
    }
}

#[test]
fn kept_values_beyond_what_postgresql_can_hold_or_print() {
    let many = format!("[{}1]", "1e-9999,".repeat(15_000));
    let nested = format!("{}{}", "[".repeat(33), "]".repeat(33));
    let long = "é".repeat(1301);
    for (members, field) in [
        (format!(r#","GvGMatch":{many}"#), "GvGMatch"),
        (r#","GvGMatch":{"a":1e-9999}"#.to_owned(), "GvGMatch"),
        (format!(r#","GvGMatch":{nested}"#), "GvGMatch"),
        (format!(r#","GvGMatch":"{}""#, "x".repeat(70_000)), "GvGMatch"),
        (format!(r#","GvGMatch":1.{}"#, "1".repeat(100)), "GvGMatch"),
        (format!(r#","Location":"{long}""#), "Location"),
        (format!(r#","Participants":[{{"Id":"{long}"}}]"#), "Participants[0].Id"),
        (format!(r#","Participants":[{{"Id":"{}"}}]"#, r"\n".repeat(2601)), "Participants[0].Id"),
        (format!(r#","Participants":[{{"Id":"{}"}}]"#, r"\u0041".repeat(10_000)), "Participants[0].Id"),
        (
            r#","Victim":{"Id":"v","Name":"V","Inventory":[null,{"LegendarySoul":{"a":[1e101]}}]}"#
                .to_owned(),
            "Victim.Inventory[1].LegendarySoul",
        ),
        (
            r#","Killer":{"Id":"k","Name":"K","Equipment":{"MainHand":{"LegendarySoul":1E-101}}}"#.to_owned(),
            "Killer.Equipment.MainHand.LegendarySoul",
        ),
    ] {
        assert_eq!(read(&event_with(&members)), [Err(Some(field.to_owned()))], "{field}");
    }
    let fits = "é".repeat(1300);
    for members in [
        r#","GvGMatch":[1e-100,571997723623],"other":[1e-9999]"#.to_owned(),
        format!(r#","Location":"{fits}""#),
        format!(r#","other":{nested}"#),
        r#","Killer":{"Id":"k","Name":"K","Equipment":{"OffHand":{"LegendarySoul":1E-101}}}"#.to_owned(),
    ] {
        assert!(read(&event_with(&members))[0].is_ok(), "{members}");
    }
}

/// What events are read by some rules: the id, or why it was rejected and where.
fn read_by(rules: ReadRules<'_>, line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let read = LineReader::with_rules(rules).read(line, &mut Event::default(), |line| {
        found.push(match line.event {
            Ok(event) => format!("{} {:?}", event.event_id, event.battle_id.unwrap_or_default()),
            Err(fault) => fault.to_string(),
        });
    });
    read.unwrap_or_else(|fault| panic!("{fault}: {line}"));
    found
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
                assert!(found[0].starts_with("server: the event is of"), "{found:?}");
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
    ] {
        assert_eq!(read(&with(id, date, power)), Ok((123, time, Some(expected))), "{id}");
    }
    let date = "\"2024-08-18T20:45:46.725Z\"";
    for (id, date, power, field) in [
        (r#"{"$numberLong":"x"}"#, date, "1", "EventId"),
        (r#"{"$numberLong":"1","a":1}"#, date, "1", "EventId"),
        (r#"{"$oid":"1"}"#, date, "1", "EventId"),
        (r#"{"$numberDouble":"1.5"}"#, date, "1", "EventId"),
        ("1", r#"{"$date":"x"}"#, "1", "TimeStamp"),
        ("1", r#"{"$date":{"$numberLong":"9223372036854775807"}}"#, "1", "TimeStamp"),
        ("1", r#"{"$date":null}"#, "1", "TimeStamp"),
        ("1", date, r#"{"$numberDouble":"Infinity"}"#, "Killer.AverageItemPower"),
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
fn events_that_lie_in_other_values() {
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
        ("data", r#"{"data":"no JSON"}"#.to_owned(), &["not JSON: an unknown word at byte 1 of the line"]),
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
            &["server: the event is of asia, and this load is of europe"],
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
            "EventId: is missing, and is needed; an event seems to be at 'raw_json': add --events-at 'raw_json'"
        ]
    );
    let battle = ReadRules { battle: Some(9), ..ReadRules::default() };
    assert_eq!(read_by(battle, &format!("[{event},{}]", event_with(r#","BattleId":7"#))), ["1 9", "1 7"]);
    let unnamed = ReadRules { must_name_battle: true, ..ReadRules::default() };
    assert!(read_by(unnamed, &event)[0].starts_with("BattleId: names no battle"));
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
        (record("<html>", ""), "not JSON: a value is needed at byte 0 of the line"),
        (record("{}", ""), "EventId: is missing, and is needed"),
        (
            record(&event[..20], r#","truncated":true"#),
            "the reject file holds only the beginning of the value; load it from its source",
        ),
        (record("/w==", r#","raw_base64":true"#), "the value in the reject file is not UTF-8"),
    ] {
        assert_eq!(read_by(ReadRules::default(), &line), [expected], "{line}");
    }
    assert_eq!(decoded_text(&record(&event, ""), 0, ReadRules::default()), Some(event));
}
