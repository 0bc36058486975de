//! Tests of the oracle with hostile lines, real events, and counts that were computed by hand.

mod rows;

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{Cell, Expected, Nul, Row, Tables, assert_same, differences, expect, expect_given, merge};
use crate::support::{hostile, samples};

#[rustfmt::skip]
const EVENT_COLUMNS: &[&str] = &[
    "occurred_at", "battle_id", "fame", "killer_id", "victim_id", "participant_count", "group_size", "kill_area",
    "category", "kind", "location", "version", "gvg_match",
];
#[rustfmt::skip]
const PLAYER_COLUMNS: &[&str] = &[
    "role", "in_group", "name", "guild_id", "guild_name", "alliance_id", "alliance_name", "item_power", "kill_fame",
    "death_fame", "damage_done", "healing_done", "main_hand", "main_hand_quality", "off_hand", "off_hand_quality",
    "head", "head_quality", "armor", "armor_quality", "shoes", "shoes_quality", "bag", "bag_quality", "cape",
    "cape_quality", "mount", "mount_quality", "potion", "potion_quality", "food", "food_quality", "potion_count",
    "food_count", "main_hand_soul",
];
const LOOT_COLUMNS: &[&str] = &["item", "quality", "count", "soul"];

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// The result of one event with `--nul reject`.
fn expect_one(event: &Value) -> Expected {
    expect(event.to_string().as_bytes(), Nul::Reject)
}

#[track_caller]
fn check_sum(expected: &Expected) {
    let rejected = expected.rejected.len() as u64;
    assert_eq!(expected.events, expected.loaded() + expected.duplicates + rejected);
}

#[test]
fn lines_and_events_are_counted() {
    let event = |id| samples::event(id).to_string();
    let dump = [
        format!("\u{feff}{}\r", event(1)),
        String::new(),
        " \t\r".to_owned(),
        format!("[{},null,{},{{}}]", event(2), event(1)),
        "<html>".to_owned(),
        "[]".to_owned(),
        event(2).replace("The killer", "Another"),
        event(3),
    ]
    .join("\n");
    let expected = expect(dump.as_bytes(), Nul::Reject);
    assert_eq!((expected.lines, expected.events, expected.duplicates), (8, 8, 2));
    assert_eq!(expected.loaded(), 3);
    check_sum(&expected);
    let places: Vec<_> = expected.rejected.iter().map(|reject| (reject.line, reject.index)).collect();
    assert_eq!(places, [(4, Some(1)), (4, Some(3)), (5, None)]);
    assert!(expected.rejected[0].allows(Some(1), None));
    assert!(!expected.rejected[0].allows(None, None));
    assert!(!expected.rejected[0].allows(Some(1), Some("EventId")));
    assert!(expected.rejected[1].allows(Some(3), Some("EventId")));
    assert!(!expected.rejected[1].allows(Some(3), None));
    assert!(expected.rejected[2].allows(None, None));
    let name = &expected.tables.kill_player[&(2, "killer-id".to_owned())]["name"];
    assert_eq!(*name, text("The killer"), "the first event of an id wins");

    assert_eq!(expect(format!("{dump}\n").as_bytes(), Nul::Reject).lines, 8);
    assert_eq!(expect(b"", Nul::Reject).lines, 0);
    assert_eq!(expect(b"\n", Nul::Reject).lines, 1);

    let again = expect(format!("{}\n{}\n{}", event(3), event(4), event(4)).as_bytes(), Nul::Reject);
    let whole = merge(vec![expected, again]);
    assert_eq!((whole.lines, whole.events, whole.duplicates, whole.loaded()), (11, 11, 4, 4));
    check_sum(&whole);
}

#[test]
fn tolerated_events_can_be_given_as_rejected() {
    let event = samples::event(7).to_string();
    let dump = format!("{}\n{event}", event.replacen('{', "{\"EventId\":1,", 1));
    let loaded = expect(dump.as_bytes(), Nul::Reject);
    assert_eq!((loaded.loaded(), loaded.duplicates, loaded.rejected.len()), (1, 1, 0));
    let tolerated = &loaded.tolerated[0];
    assert_eq!((tolerated.line, tolerated.index, tolerated.event_id), (1, None, Some(7)));
    assert!(tolerated.why.contains("twice"));

    let rejected = BTreeSet::from([(1, None), (2, None)]);
    let rejected = expect_given(dump.as_bytes(), Nul::Reject, &rejected);
    assert_eq!((rejected.loaded(), rejected.duplicates, rejected.rejected.len()), (1, 0, 1));
    assert_eq!(rejected.rejected[0].field(), Some("EventId"));
    check_sum(&rejected);

    // Some parsers reject such an array as a whole, others only in part.
    let array = format!("[{},{}]", event.replacen("AVATAR_09", "\\ud800", 1), samples::event(8));
    assert_eq!(expect(array.as_bytes(), Nul::Reject).events, 2);
    let whole = expect_given(array.as_bytes(), Nul::Reject, &BTreeSet::from([(1, None)]));
    assert_eq!((whole.events, whole.rejected.len()), (1, 1));
    let part = expect_given(array.as_bytes(), Nul::Reject, &BTreeSet::from([(1, Some(0))]));
    assert_eq!((part.events, part.rejected.len(), part.loaded()), (2, 1, 1));
}

#[test]
fn hostile_lines_get_the_expected_verdicts() {
    let valid = samples::event(1_000_000).to_string();
    for (name, line, verdict) in hostile::lines(&valid) {
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        assert!(!line.contains(&b'\n'), "{name}: {shown}");
        let expected = expect(&line, Nul::Reject);
        check_sum(&expected);
        let rejected = expected.rejected.len() as u64;
        let counts = (expected.loaded(), rejected, expected.tolerated.len());
        match verdict {
            hostile::Verdict::Loaded => assert_eq!(counts, (1, 0, 0), "{name}: {shown}"),
            hostile::Verdict::Either => assert_eq!(counts, (1, 0, 1), "{name}: {shown}"),
            hostile::Verdict::Nothing => assert_eq!(expected.events, 0, "{name}: {shown}"),
            hostile::Verdict::Rejected { field, events } => {
                // Of an array that is not JSON, the events before that are loaded.
                let is_array = line.starts_with(b"[");
                let kept = if is_array { counts.0 } else { 0 };
                assert_eq!(counts, (kept, events, 0), "{name}: {shown}");
                if field.is_some() {
                    assert_eq!(expected.rejected[0].field(), field, "{name}: {shown}");
                }
            }
        }
    }
}

#[test]
fn all_sample_events_are_accounted_for() {
    let samples = samples::sample_events();
    let expected = expect(&samples, Nul::Reject);
    assert!(expected.loaded() > 0);
    check_sum(&expected);
    for (key, row) in &expected.tables.kill_event {
        assert_eq!(row.keys().collect::<BTreeSet<_>>(), EVENT_COLUMNS.iter().collect(), "{key}");
    }
    for (key, row) in &expected.tables.kill_player {
        assert_eq!(row.keys().collect::<BTreeSet<_>>(), PLAYER_COLUMNS.iter().collect(), "{key:?}");
        assert!(expected.tables.kill_event.contains_key(&key.0));
    }
    for (key, row) in &expected.tables.kill_loot {
        assert_eq!(row.keys().collect::<BTreeSet<_>>(), LOOT_COLUMNS.iter().collect(), "{key:?}");
        assert!(expected.tables.kill_event.contains_key(&key.0));
    }
}

#[test]
fn real_events_are_all_loaded() {
    // Counts from a short script in another language.
    let Some(dumps) = samples::real_dumps() else {
        return;
    };
    let parts = dumps.iter().map(|dump| expect(&fs::read(dump).expect("a dump"), Nul::Reject));
    let expected = merge(parts.collect());
    let tables = &expected.tables;
    assert_eq!((expected.lines, expected.events, expected.duplicates), (182, 182, 0));
    assert_eq!((expected.rejected.len(), expected.tolerated.len()), (0, 0));
    assert_eq!(
        (tables.kill_event.len(), tables.kill_player.len(), tables.kill_loot.len()),
        (182, 890, 1_509)
    );
}

#[test]
fn differences_name_rows_and_columns() {
    let one = expect_one(&samples::event(7)).tables;
    assert_same(&one, &one.clone());

    let mut other = one.clone();
    let player = other.kill_player.get_mut(&(7, "healer-id".to_owned())).expect("the healer");
    player.insert("name", Cell::Null);
    player.remove("role");
    other.kill_loot.remove(&(7, 47));
    other.kill_loot.insert((8, 0), Row::new());
    assert_eq!(
        differences(&one, &other),
        [
            "kill_player: expected 5 rows, found 5",
            r#"kill_player (7, "healer-id") name: expected Text("The healer"), found Null"#,
            r#"kill_player (7, "healer-id") role: expected Text("group"), found no such column"#,
            "kill_loot: expected 3 rows, found 3",
            "kill_loot (7, 47): the row is missing",
            "kill_loot (8, 0): the row is unexpected",
        ]
    );
    let many: Vec<String> = (1..=30).map(|id| samples::event(id).to_string()).collect();
    let many = expect(many.join("\n").as_bytes(), Nul::Reject);
    let report = differences(&many.tables, &Tables::default());
    assert_eq!(report[0], "kill_event: expected 30 rows, found 0");
    assert_eq!(report[21], "kill_event: and 10 differences more");
}

#[test]
fn documents_are_equal_by_value() {
    let same = |one: &str, other: &str| {
        let cell = |text| Cell::json(serde_json::from_str(text).expect("JSON"));
        cell(one) == cell(other)
    };
    for (one, other) in [
        (r#"{"a":1,"b":[1e1,-0.0]}"#, r#"{"b":[10,0],"a":1.0}"#),
        ("123456789012345678901234567890", "1.2345678901234567890123456789e29"),
        ("9007199254740993", "9007199254740993"),
    ] {
        assert!(same(one, other), "{one} {other}");
    }
    for (one, other) in [
        ("9007199254740993", "9007199254740992"),
        ("1", "\"1\""),
        ("[1]", "[1,1]"),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":1}"#, r#"{"b":1}"#),
        ("0", "false"),
    ] {
        assert!(!same(one, other), "{one} {other}");
    }
    assert_eq!(Cell::Float(0.0), Cell::Float(-0.0));
    assert_ne!(Cell::Float(0.1), Cell::Float(0.1_f64.next_up()));
}
