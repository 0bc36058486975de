//! Odd events that are JSON or nearly: other types, duplicate keys, any key order, escapes and white space anywhere.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::{check, config, valid_lines};
use crate::support::samples;
use crate::support::tree::{Tape, Tree};

/// A change to an event's tree.
#[derive(Clone, Debug)]
enum Edit {
    /// Replaces the value under a key, at any depth.
    Under(&'static str, Index, Tree),
    Value(Index, Tree),
    /// Repeats a key at the start or the end of its object, with its own value or another.
    Again(Index, bool, Option<Tree>),
    Remove(Index),
    Rotate(Index, usize),
    Unknown(Index, &'static str, Tree),
    /// Wraps the value in an array, or copies an element.
    Wrap(Index),
}

/// The frame of a line's events.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Alone,
    Array,
    Marked,
    Garbage(&'static str),
}

const KEYS: [&str; 33] = [
    "EventId",
    "TimeStamp",
    "TotalVictimKillFame",
    "BattleId",
    "numberOfParticipants",
    "groupMemberCount",
    "KillArea",
    "Category",
    "Type",
    "Location",
    "Version",
    "GvGMatch",
    "Killer",
    "Victim",
    "Participants",
    "GroupMembers",
    "Id",
    "Name",
    "GuildId",
    "GuildName",
    "AllianceId",
    "AllianceName",
    "AverageItemPower",
    "KillFame",
    "DeathFame",
    "DamageDone",
    "SupportHealingDone",
    "Equipment",
    "Inventory",
    "Quality",
    "Count",
    "LegendarySoul",
    "LifetimeStatistics",
];

const RAW: [&str; 34] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "0.0",
    "1.0",
    "1e3",
    "1E400",
    "-1e309",
    "1e-90",
    "0e99",
    "00",
    "01",
    "1.",
    "32767",
    "32768",
    "-32769",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "0.1000000000000000055511151231257827",
    "1234567890123456789012345678901234567890",
    "[]",
    "{}",
    "[null]",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "{\"\\u0000\":\"\\\\u0000\",\"a\":1,\"a\":2}",
];

const TEXTS: [&str; 14] = [
    "",
    "a",
    "killer-id",
    "victim-id",
    "helper-id",
    "\0",
    "a\0b",
    "\\u0000",
    "é",
    "日本語",
    "😀\u{10ffff}",
    "\"\\/\u{8}\u{1f}",
    "\u{feff}",
    "{\"a\":[1]}",
];

/// Small events are changed in important places. Large ones resemble the game's.
static EVENTS: LazyLock<[Vec<Tree>; 2]> = LazyLock::new(|| {
    let large = valid_lines(5);
    let large = large.iter().map(|line| serde_json::from_str(line).expect("a valid event"));
    let small = (1..=3).map(samples::lean_event);
    [small.map(|event| Tree::from(&event)).collect(), large.map(|event: Value| Tree::from(&event)).collect()]
});

fn odd() -> impl Strategy<Value = Tree> {
    // An event nested deeper than 32 is rejected if the value is stored. Unit tests cover the limit of 127.
    let nested = prop_oneof![0..6_usize, 20..30_usize].prop_flat_map(|depth| {
        select(&[("[", "]"), ("{\"a\":", "}"), ("[{\"LifetimeStatistics\":", "}]")][..])
            .prop_map(move |(open, close)| [&open.repeat(depth), "1", &close.repeat(depth)].concat())
    });
    prop_oneof![
        6 => text_or_raw(),
        1 => time().prop_map(Tree::Text),
        1 => nested.prop_map(Tree::Raw),
        1 => any::<i64>().prop_map(|number| Tree::Raw(number.to_string())),
        // Larger exponents reject an event if the number is stored.
        1 => any::<f64>().prop_filter_map("JSON has no others", |number| {
            let is_stored = number == 0.0 || (1e-80..1e80).contains(&number.abs());
            is_stored.then(|| Tree::Raw(format!("{number:?}")))
        }),
        1 => any::<String>().prop_map(|text| Tree::Text(text.replace('\n', " "))),
        1 => (0..20_usize).prop_map(|size| Tree::Array(vec![Tree::Object(Vec::new()); size])),
    ]
}

fn text_or_raw() -> impl Strategy<Value = Tree> {
    prop_oneof![
        select(&RAW[..]).prop_map(|text| Tree::Raw(text.to_owned())),
        select(&TEXTS[..]).prop_map(|text| Tree::Text(text.to_owned())),
    ]
}

/// A time stamp or a similar text.
fn time() -> impl Strategy<Value = String> {
    let date = prop_oneof![
        Just("2024-08-18".to_owned()),
        (0..10_000_u16, 0..14_u8, 0..33_u8).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}")),
        select(&["0000-01-01", "9999-12-31", "1900-02-29", "20240818", "+002024-08-18", "2024-W01-1"][..])
            .prop_map(str::to_owned),
    ];
    let clock = prop_oneof![
        Just("20:45:46".to_owned()),
        (0..26_u8, 0..62_u8, 0..63_u8).prop_map(|(h, m, s)| format!("{h:02}:{m:02}:{s:02}")),
        select(&["204546", "20:45", "20", "2:45:46", "20:45:4"][..]).prop_map(str::to_owned),
    ];
    let fraction = prop_oneof![Just(String::new()), "[.][0-9]{0,10}", Just(",5".to_owned())];
    let zone = select(
        &[
            "Z",
            "Z",
            "Z",
            "z",
            "",
            "+00:00",
            "-00:00",
            "+02:00",
            "-23:59",
            "+24:00",
            "+00:60",
            "+0200",
            "+02",
            "+2:00",
            "+02:00:00",
            "+02:00Z",
            "Z[UTC]",
            "+02:00[Europe/Berlin]",
            " ",
            "ZZ",
            "+02:00 ",
            "−02:00",
        ][..],
    );
    (date, select(&["T", "T", "T", "T", "t", " ", "_"][..]), clock, fraction, zone)
        .prop_map(|(date, mark, clock, fraction, zone)| [&date, mark, &clock, &fraction, zone].concat())
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (select(&KEYS[..]), any::<Index>(), odd()).prop_map(|(key, at, tree)| Edit::Under(key, at, tree)),
        2 => (select(&["LegendarySoul", "GvGMatch", "Id"][..]), any::<Index>(), text_or_raw())
            .prop_map(|(key, at, tree)| Edit::Under(key, at, tree)),
        1 => (any::<Index>(), time())
            .prop_map(|(at, time)| Edit::Under("TimeStamp", at, Tree::Text(time))),
        2 => (any::<Index>(), odd()).prop_map(|(at, tree)| Edit::Value(at, tree)),
        2 => (any::<Index>(), any::<bool>(), proptest::option::of(odd()))
            .prop_map(|(at, first, tree)| Edit::Again(at, first, tree)),
        1 => any::<Index>().prop_map(Edit::Remove),
        2 => (any::<Index>(), 1..20_usize).prop_map(|(at, by)| Edit::Rotate(at, by)),
        1 => (any::<Index>(), select(&["x", "eventid", "EventId ", "", "\0", "é", "Inventory"][..]), odd())
            .prop_map(|(at, key, tree)| Edit::Unknown(at, key, tree)),
        1 => any::<Index>().prop_map(Edit::Wrap),
    ]
}

impl Edit {
    fn make(&self, event: &mut Tree) {
        let size = event.size();
        match self {
            Edit::Under(key, at, tree) => {
                let mut found = Vec::new();
                event.under(key, &mut found);
                if !found.is_empty() {
                    *found.swap_remove(at.index(found.len())) = tree.clone();
                }
            }
            Edit::Value(at, tree) => *event.value(at.index(size)) = tree.clone(),
            Edit::Again(at, first, tree) => {
                if let Some(fields) = object(event, *at) {
                    let (key, value) = fields[at.index(fields.len())].clone();
                    let place = if *first { 0 } else { fields.len() };
                    fields.insert(place, (key, tree.clone().unwrap_or(value)));
                }
            }
            Edit::Remove(at) => {
                if let Some(fields) = object(event, *at) {
                    fields.remove(at.index(fields.len()));
                }
            }
            Edit::Rotate(at, by) => {
                if let Some(fields) = object(event, *at) {
                    let by = by % fields.len();
                    fields.rotate_left(by);
                }
            }
            Edit::Unknown(at, key, tree) => {
                if let Some(fields) = object(event, *at) {
                    fields.insert(at.index(fields.len()), ((*key).to_owned(), tree.clone()));
                }
            }
            Edit::Wrap(at) => {
                let value = event.value(at.index(size));
                match value {
                    Tree::Array(values) if !values.is_empty() => {
                        let copy = values[at.index(values.len())].clone();
                        values.push(copy);
                    }
                    value => *value = Tree::Array(vec![value.clone()]),
                }
            }
        }
    }
}

/// The fields of one of the non-empty objects.
fn object(event: &mut Tree, at: Index) -> Option<&mut Vec<(String, Tree)>> {
    let objects: Vec<usize> = (0..event.size())
        .filter(|&number| matches!(event.value(number), Tree::Object(fields) if !fields.is_empty()))
        .collect();
    let number = *objects.get(at.index(objects.len().max(1)))?;
    match event.value(number) {
        Tree::Object(fields) => Some(fields),
        _ => None,
    }
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        4 => Just(Frame::Alone),
        2 => Just(Frame::Array),
        1 => Just(Frame::Marked),
        1 => select(&[",", "]", "{}", "\u{feff}", "x", "\0", "//"][..]).prop_map(Frame::Garbage),
    ]
}

fn write(events: &[Tree], tape: &mut Tape<'_>, frame: Frame) -> String {
    let mut line = String::new();
    match (frame, events) {
        (Frame::Array, _) | (_, [] | [_, _, ..]) => Tree::Array(events.to_vec()).write(tape, &mut line),
        (_, [event]) => event.write(tape, &mut line),
    }
    match frame {
        Frame::Marked => line.insert(0, '\u{feff}'),
        Frame::Garbage(garbage) => line.push_str(garbage),
        Frame::Alone | Frame::Array => {}
    }
    line
}

fn line(size: usize) -> impl Strategy<Value = String> {
    let event = (any::<Index>(), vec(edit(), 0..4)).prop_map(move |(at, edits)| {
        let mut event = at.get(&EVENTS[size]).clone();
        for edit in &edits {
            edit.make(&mut event);
        }
        event
    });
    let event = event.boxed();
    let events = prop_oneof![4 => vec(event.clone(), 1), 1 => vec(event, 0..4)];
    (events, vec(any::<u8>(), 0..40), frame())
        .prop_map(|(events, tape, frame)| write(&events, &mut Tape::new(&tape), frame))
}

proptest! {
    #![proptest_config(config(1_500))]

    #[test]
    fn odd_events_agree_with_the_oracle(line in line(0), nul in 0..3_usize) {
        check(&line, nul);
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn odd_full_size_events_agree_with_the_oracle(line in line(1), nul in 0..3_usize) {
        check(&line, nul);
    }
}
