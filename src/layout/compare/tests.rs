//! Differences between expected and stored rows.

use crate::layout::compare::*;
use crate::layout::copy::Row;
use crate::layout::table::ColumnType::{Int2, Int8, Jsonb, Text};
use crate::layout::table::{TableOwner, keep_on_update, needed, optional};

static COLUMNS: [Column; 5] = [
    needed("event_id", Int8),
    needed("slot", Int2),
    optional("item", Text),
    optional("soul", Jsonb),
    keep_on_update("battle", Int8),
];

static TABLE: Table = Table {
    name: "kill_loot",
    columns: &COLUMNS,
    defaulted: &[],
    id: "event_id",
    key: &["event_id", "slot"],
    indexes: &[],
    keeper: TableOwner::Us,
};

fn row(slot: i16, item: Option<&str>, soul: Option<&str>, battle: Option<i64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut row = Row::begin(&mut bytes, &COLUMNS);
    row.int8(7);
    row.int2(slot);
    row.optional_text(item);
    row.optional_jsonb(soul);
    row.optional_int8(battle);
    row.end();
    bytes
}

fn check(expected: &[Vec<u8>], stored: &[Vec<u8>], difference: Option<&str>) {
    let answer =
        [crate::layout::copy::COPY_HEADER, &stored.concat(), crate::layout::copy::COPY_TRAILER].concat();
    let stored = StoredRows::of_answer(&TABLE, &answer).expect("a whole answer");
    let found = stored.first_difference(7, &expected.concat()).expect("rows are whole");
    assert_eq!(found.map(|found| found.to_string()).as_deref(), difference);
}

#[test]
fn differences() {
    let (one, two) = (row(1, Some("A"), None, None), row(2, Some("B"), None, None));
    check(&[one.clone(), two.clone()], &[one.clone(), two.clone()], None);
    check(&[one.clone(), two.clone()], &[two.clone(), one.clone()], None);
    check(&[], &[], None);
    check(&[one.clone(), two.clone()], std::slice::from_ref(&one), Some("kill_loot slot 2: row is missing"));
    check(
        std::slice::from_ref(&two),
        &[one.clone(), two.clone()],
        Some("kill_loot slot 1: row is not in the dump"),
    );
    check(
        std::slice::from_ref(&one),
        &[row(1, Some("X\u{1b}"), None, None)],
        Some(r#"kill_loot slot 1: item is "X\u{1b}", in the dump "A""#),
    );
    check(
        std::slice::from_ref(&one),
        &[row(1, None, None, None)],
        Some(r#"kill_loot slot 1: item is NULL, in the dump "A""#),
    );
}

#[test]
fn json_is_compared_by_value() {
    let stored = row(1, None, Some(r#"{"a": 1.0, "bb": [1, "é"]}"#), None);
    check(
        &[row(1, None, Some(r#"{"bb":[1e0,"\u00e9"],"a":1.0}"#), None)],
        std::slice::from_ref(&stored),
        None,
    );
    check(
        &[row(1, None, Some(r#"{"bb":[2,"é"],"a":1.0}"#), None)],
        &[stored],
        Some(
            r#"kill_loot slot 1: soul is "{\"a\": 1.0, \"bb\": [1, \"é\"]}", in the dump "{\"bb\":[2,\"é\"],\"a\":1.0}""#,
        ),
    );
}

#[test]
fn a_value_that_an_update_keeps_is_no_difference() {
    check(&[row(1, None, None, None)], &[row(1, None, None, Some(5))], None);
    check(
        &[row(1, None, None, Some(5))],
        &[row(1, None, None, None)],
        Some("kill_loot slot 1: battle is NULL, in the dump 5"),
    );
}

#[test]
fn truncated_rows() {
    let whole = row(1, Some("A"), None, None);
    for end in 1..whole.len() {
        let answer =
            [crate::layout::copy::COPY_HEADER, &whole[..end], crate::layout::copy::COPY_TRAILER].concat();
        assert_eq!(StoredRows::of_answer(&TABLE, &answer).err(), Some(MalformedRows), "{end}");
    }
    assert_eq!(StoredRows::of_answer(&TABLE, &whole).err(), Some(MalformedRows));
}
