//! Differences between expected and stored rows.

use crate::layout::compare::*;
use crate::layout::copy::Row;
use crate::layout::table::ColumnType::{Float8, Int2, Int8, Jsonb, Text, Timestamptz};
use crate::layout::table::{TableOwner, keep_on_update, needed, optional};

const fn table(name: &'static str, columns: &'static [Column], key: &'static [&'static str]) -> Table {
    Table { name, columns, defaulted: &[], id: "event_id", key, indexes: &[], keeper: TableOwner::Us }
}

static COLUMNS: [Column; 5] = [
    needed("event_id", Int8),
    needed("slot", Int2),
    optional("item", Text),
    optional("soul", Jsonb),
    keep_on_update("battle", Int8),
];

static TABLE: Table = table("kill_loot", &COLUMNS, &["event_id", "slot"]);

fn row(slot: i16, item: Option<&str>, soul: Option<&str>, battle: Option<i64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut row = Row::begin(&mut bytes, &COLUMNS);
    row.int8(7);
    row.int2(slot);
    row.optional(item, Row::text);
    row.optional(soul, Row::jsonb);
    row.optional(battle, Row::int8);
    row.end();
    bytes
}

fn answer(rows: &[u8]) -> Vec<u8> {
    [COPY_HEADER, rows, COPY_TRAILER].concat()
}

fn check(expected: &[&[u8]], stored: &[&[u8]], difference: Option<&str>) {
    let answer = answer(&stored.concat());
    let stored = StoredRows::of_answer(&TABLE, &answer).expect("a whole answer");
    let found = stored.first_difference(7, &expected.concat()).expect("rows are whole");
    assert_eq!(found.map(|found| found.to_string()).as_deref(), difference);
    assert_eq!(stored.is_same(7, &expected.concat()), Ok(difference.is_none()));
}

#[test]
fn differences() {
    let (one, two) = (row(1, Some("A"), None, None), row(2, Some("B"), None, None));
    check(&[&one, &two], &[&one, &two], None);
    check(&[&one, &two], &[&two, &one], None);
    check(&[], &[], None);
    check(&[&one, &two], &[&one], Some("kill_loot slot 2: row is missing"));
    check(&[&two], &[&one, &two], Some("kill_loot slot 1: row is not in the dump"));
    check(
        &[&one],
        &[&row(1, Some("X\u{1b}"), None, None)],
        Some(r#"kill_loot slot 1: item is "X\u{1b}", in the dump "A""#),
    );
    check(&[&one], &[&row(1, None, None, None)], Some(r#"kill_loot slot 1: item is NULL, in the dump "A""#));
    check(&[&one], &[&one, &one], Some("kill_loot slot 1: row is not in the dump"));
}

static WIDE_COLUMNS: [Column; 2] = [needed("event_id", Int8), needed("number", Int8)];

static WIDE: Table = table("wide", &WIDE_COLUMNS, &["event_id", "number"]);

fn wide_rows(numbers: impl Iterator<Item = i64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in numbers {
        let mut row = Row::begin(&mut bytes, &WIDE_COLUMNS);
        row.int8(7);
        row.int8(number);
        row.end();
    }
    bytes
}

/// A search among all rows for each row or each version would take 40 billion steps, which is hours in a debug build.
#[test]
fn the_time_is_linear_in_the_rows() {
    const ROWS: i64 = 200_000;
    let answer = answer(&wide_rows((0..ROWS).rev()));
    let stored = StoredRows::of_answer(&WIDE, &answer).expect("a whole answer");
    let difference = |expected: &[u8]| {
        let found = stored.first_difference(7, expected).expect("rows are whole");
        found.map(|found| found.to_string())
    };
    assert_eq!(difference(&wide_rows(0..ROWS)), None);
    assert_eq!(difference(&wide_rows(1..ROWS)).as_deref(), Some("wide number 0: row is not in the dump"));
    assert_eq!(difference(&wide_rows(0..=ROWS)).as_deref(), Some("wide number 200000: row is missing"));
    let version = wide_rows(0..1);
    for _ in 0..ROWS {
        assert_eq!(stored.is_same(7, &version), Ok(false));
    }
}

#[test]
fn json_is_compared_by_value() {
    let stored = row(1, None, Some(r#"{"a": 1.0, "bb": [1, "é"]}"#), None);
    check(&[&row(1, None, Some(r#"{"bb":[1e0,"\u00e9"],"a":1.0}"#), None)], &[&stored], None);
    check(
        &[&row(1, None, Some(r#"{"bb":[2,"é"],"a":1.0}"#), None)],
        &[&stored],
        Some("kill_loot slot 1: soul.bb[0] is 1, in the dump 2"),
    );
    let check_one = |stored: Option<&str>, expected: Option<&str>, difference: &str| {
        check(&[&row(1, None, expected, None)], &[&row(1, None, stored, None)], Some(difference));
    };
    check_one(Some(r#"{"a": "x"}"#), None, r#"kill_loot slot 1: soul is {"a": "x"}, in the dump NULL"#);
    check_one(
        Some("{}"),
        Some("{\n\"a\":\t\"\u{9b}\"\n}"),
        "kill_loot slot 1: soul.a is absent, in the dump \"\\u{9b}\"",
    );
    check_one(Some("[]"), Some("{\n}"), "kill_loot slot 1: soul is [], in the dump { }");
}

#[test]
fn long_values_are_shown_where_they_differ() {
    let (same, same_shown, end) = ("é".repeat(99), "é".repeat(20), "x".repeat(50));
    let begin = |letters: usize, end: &str| format!("{}{end}", "é".repeat(letters));
    for (stored, expected, shown_stored, shown_expected) in [
        (begin(59, "a"), begin(59, "b"), begin(59, "a"), begin(59, "b")),
        (begin(60, ""), begin(60, "b"), format!("…{same_shown}"), format!("…{same_shown}b")),
        (begin(99, &end), same.clone(), format!("…{same_shown}{}…", &end[..40]), format!("…{same_shown}")),
        (begin(59, &end), "b".to_owned(), begin(59, "x…"), "b".to_owned()),
    ] {
        let words = format!("kill_loot slot 1: item is {shown_stored:?}, in the dump {shown_expected:?}");
        check(&[&row(1, Some(&expected), None, None)], &[&row(1, Some(&stored), None, None)], Some(&words));
    }
    let stored = format!(r#"{{"a": "{same}x"}}"#);
    let expected = format!(r#"{{"a":"{}y"}}"#, r"\u00e9".repeat(99));
    check(
        &[&row(1, None, Some(&expected), None)],
        &[&row(1, None, Some(&stored), None)],
        Some(&format!("kill_loot slot 1: soul.a is …{same_shown}x\", in the dump …{same_shown}y\"")),
    );
}

/// Users and other programs can store them.
#[test]
fn values_that_no_dump_has_are_readable() {
    for (value, text) in [
        (0, "2000-01-01T00:00:00Z"),
        (i64::MAX, "infinity"),
        (i64::MIN, "-infinity"),
        (i64::MAX - 1, "after the year 9999"),
    ] {
        assert_eq!(shown(Timestamptz, Some(&value.to_be_bytes()), 0), text);
    }
    for (value, text) in [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")] {
        assert_eq!(shown(Float8, Some(&value.to_be_bytes()), 0), text);
    }
}

#[test]
fn a_value_that_an_update_keeps_is_no_difference() {
    check(&[&row(1, None, None, None)], &[&row(1, None, None, Some(5))], None);
    check(
        &[&row(1, None, None, Some(5))],
        &[&row(1, None, None, None)],
        Some("kill_loot slot 1: battle is NULL, in the dump 5"),
    );
}

static DAMAGE_COLUMNS: [Column; 2] = [needed("event_id", Int8), optional("damage", Float8)];

static DAMAGE: Table = table("damage", &DAMAGE_COLUMNS, &["event_id"]);

/// An update takes 0 and -0 for equal, so it could not repair that difference.
#[test]
fn zeros_of_either_sign_are_equal() {
    let row = |damage: Option<f64>| {
        let mut bytes = Vec::new();
        let mut row = Row::begin(&mut bytes, &DAMAGE_COLUMNS);
        row.int8(7);
        row.optional(damage, Row::float8);
        row.end();
        bytes
    };
    let values = [None, Some(0.0), Some(-0.0), Some(0.5), Some(-0.5)];
    for (number, expected) in values.into_iter().enumerate() {
        for (other, stored) in values.into_iter().enumerate() {
            let answer = answer(&row(stored));
            let rows = StoredRows::of_answer(&DAMAGE, &answer).expect("a whole answer");
            let is_equal = number == other || [number, other].iter().all(|place| [1, 2].contains(place));
            assert_eq!(rows.is_same(7, &row(expected)), Ok(is_equal), "{stored:?}, {expected:?}");
        }
    }
}

#[test]
fn truncated_rows() {
    let whole = row(1, Some("A"), None, None);
    for end in 1..whole.len() {
        assert_eq!(StoredRows::of_answer(&TABLE, &answer(&whole[..end])).err(), Some(MalformedRows), "{end}");
    }
    assert_eq!(StoredRows::of_answer(&TABLE, &whole).err(), Some(MalformedRows));
}
