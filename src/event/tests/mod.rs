//! Whole lines: repeated keys, syntax faults, lone surrogates, hostile depth, and limits of stored values.

mod sources;

use crate::event::fault::Fault;
use crate::event::first_server::first_named_server;
use crate::event::forms::envelope::EventsAt;
use crate::event::kill_event::{Event, Player};
use crate::event::line::{Line, LineReader, decoded_text};
use crate::event::rules::{ReadRules, ValueContext};
use crate::event::text::NulPolicy;
use serde_json::{Value, json};

const KILLER: &str = r#"{"Id":"k","Name":"K","Equipment":{"MainHand":{"Type":"T4_BOW","Quality":2}}}"#;
const VICTIM: &str = r#"{"Id":"v","Name":"V","Inventory":[null,{"Type":"T4_BAG","Count":3}]}"#;

/// An event with these members after all others.
fn event_with(members: &str) -> String {
    format!(
        r#"{{"EventId":1,"TimeStamp":"2024-08-18T20:45:46Z","TotalVictimKillFame":2,"Killer":{KILLER},"Victim":{VICTIM}{members}}}"#
    )
}

/// The fields of each event that the tests compare; for a rejected event, the faulty field.
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
fn the_last_of_equal_keys_counts() {
    let plain = json!({"id": 1, "killer": "K", "main_hand": "T4_BOW", "victim": "V", "participants": [], "group": [],
        "loot": [[1, "T4_BAG", 3]]});
    let check = |members: &str, change: Value| {
        let mut expected = plain.clone();
        for (key, value) in change.as_object().unwrap() {
            expected[key] = value.clone();
        }
        assert_eq!(read(&event_with(members)), [Ok(expected)], "{members}");
    };
    let rejected = |members: &str, field: &str| {
        assert_eq!(read(&event_with(members)), [Err(Some(field.to_owned()))], "{members}");
    };
    check("", json!({}));
    check(r#","EventId":7"#, json!({"id": 7}));
    check(r#","\u0045ventId":7"#, json!({"id": 7}));
    rejected(r#","EventId":null"#, "EventId");
    rejected(r#","EventId":7.0,"EventId":1"#, "EventId");
    check(r#","Killer":{"Id":"k","Name":"L"}"#, json!({"killer": "L", "main_hand": null}));
    check(r#","Killer":null,"Killer":{"Id":"k","Name":"L"}"#, json!({"killer": "L", "main_hand": null}));
    check(
        r#","Killer":{"Id":"x","Id":"k","Name":null,"Name":"L"}"#,
        json!({"killer": "L", "main_hand": null}),
    );
    rejected(r#","Killer":null"#, "Killer");
    rejected(r#","Killer":{"Id":"k","Name":"K","Name":""}"#, "Killer.Name");
    rejected(r#","Killer":{"Id":"k","Name":"K","Id":null}"#, "Killer.Id");
    // The loot of the first victim must be gone.
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
fn byte_order_marks_separate_values() {
    let one = event_with("");
    let text = format!("\u{feff}{one}\u{feff}\u{feff} {one}{one}\u{feff}[{one},{one}]\u{feff}");
    let (mut reader, mut event) = (LineReader::new(NulPolicy::Reject), Event::default());
    let (mut at, mut starts) = (0, Vec::new());
    while at < text.len() {
        let found = |line: Line<'_, '_>| {
            assert_eq!(line.text, one);
            assert!(line.event.is_ok());
            starts.push(line.byte_offset);
        };
        at = reader.read_value(&text, at, ValueContext::default(), &mut event, found).unwrap();
    }
    let expected: Vec<usize> = text.match_indices(&one).map(|(start, _)| start).collect();
    assert_eq!(starts, expected);
}

#[test]
fn a_syntax_fault_anywhere_rejects_the_line() {
    let event = event_with("");
    for line in [
        format!("[{event} {event}]"),
        format!("{event}{event}"),
        format!("[{event},{{\"EventId\":\"x\",\"y\":01}}]"),
        // After a fault of a value, which alone would reject only the event.
        event_with(r#","Killer":5,"y":[1,]"#),
        event_with(r#","KillArea":"\ud800","y":[1,]"#),
        event_with(r#","KillArea":"\ud800\u12""#),
        event_with(r#","Killer":{"Id":5,"Avatar":nul}"#),
        event_with(r#","Victim":"\x""#),
        event_with(&format!(r#","Killer":{}"#, "[".repeat(100_000))),
        event_with(&format!(r#","GvGMatch":{}1{}"#, "[".repeat(127), "]".repeat(127))),
    ] {
        let fault = read_all(&line, NulPolicy::Reject).expect_err(&line);
        assert!(fault.rejects_line() && fault.field().is_none(), "{fault:?}: {line}");
    }
}

/// `JSON.stringify` writes lone surrogates. The event has an end, so the events after it are read.
#[test]
fn a_lone_surrogate_rejects_its_event() {
    let event = event_with("");
    for (members, field) in [
        (r#","KillArea":"\ud800""#, Some("KillArea")),
        (r#","Killer":{"Id":"k","Name":"K\udc00 "}"#, Some("Killer.Name")),
        (r#","Participants":[{"Id":"p"},{"Id":"q\ud83d"}]"#, Some("Participants[1].Id")),
        (r#","GvGMatch":{"\ud800":1}"#, Some("GvGMatch")),
        (
            r#","Killer":{"Id":"k","Name":"K","LifetimeStatistics":{"a":"\ud800"}}"#,
            Some("Killer.LifetimeStatistics"),
        ),
        // Not stored, but `serde_json` rejects it.
        (r#","x":"\ud800\ud800""#, None),
        (r#","\ud800":1"#, None),
    ] {
        let bad = event_with(members);
        assert!(serde_json::from_str::<Value>(&bad).is_err(), "{bad}");
        let found = read(&format!("[{event},{bad},{event},\"\\ud800\",{event}]"));
        let fields: Vec<_> = found.into_iter().map(|event| event.map(|_| ())).collect();
        let expected = [Ok(()), Err(field.map(str::to_owned)), Ok(()), Err(None), Ok(())];
        assert_eq!(fields, expected, "{members}");
        let reason = read_by(ReadRules::default(), &bad);
        assert!(reason[0].contains("contains a lone surrogate such as \\ud800"), "{reason:?}");
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
fn values_that_postgresql_can_not_store_or_print() {
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

/// The result of each event: its id, or the field and reason of its reject.
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
