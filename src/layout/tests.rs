//! The exact bytes of rows, the exact text of the DDL, and the byte ranges of events.

use crate::event::fault::Fault;
use crate::event::kill_event::{Event, Item, Player};
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::layout::copy::{COPY_HEADER, COPY_TRAILER};
use crate::layout::encoder::Encoder;
use crate::layout::identifier::quote_identifier;
use crate::layout::rows::{DuplicatePolicy, Rows, TABLES_MAX};
use crate::layout::*;
use proptest::collection::vec;
use proptest::prelude::*;

const NULL: &[u8] = b"\xff\xff\xff\xff";

fn player<'a>(id: &'a str, name: &'a str) -> Player<'a> {
    Player { id: id.into(), name: Some(name.into()), ..Player::default() }
}

fn item(kind: &str) -> Item<'_> {
    Item { kind: Some(kind.into()), ..Item::default() }
}

fn encode_into(rows: &mut Rows, layout: Layout, event: &Event<'_>) -> Result<(), Fault> {
    Encoder::new(layout, Server::Asia, NulPolicy::Reject, DuplicatePolicy::KeepFirst).encode(event, rows)
}

fn encoded(event: &Event<'_>) -> Rows {
    let mut rows = Rows::default();
    encode_into(&mut rows, Layout::Archive, event).expect("the event fits");
    rows
}

#[test]
fn the_row_of_an_event() {
    let event = Event {
        event_id: 0x0102_0304_0506_0708,
        // One second after the PostgreSQL epoch.
        occurred_at_us: 946_684_801_000_000,
        fame: -2,
        participant_count: Some(3),
        kill_area: Some("ÖPEN".into()),
        gvg_match: Some("[1]".into()),
        killer: player("k", "K"),
        victim: player("vv", "V"),
        ..Event::default()
    };
    let expected: &[&[u8]] = &[
        b"\x00\x0f",                                         // 15 fields
        b"\x00\x00\x00\x04asia",                             // server
        b"\x00\x00\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08", // event_id
        b"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x0f\x42\x40", // occurred_at: 1,000,000 µs
        NULL,                                                // battle_id
        b"\x00\x00\x00\x08\xff\xff\xff\xff\xff\xff\xff\xfe", // fame
        b"\x00\x00\x00\x01k",                                // killer_id
        b"\x00\x00\x00\x02vv",                               // victim_id
        b"\x00\x00\x00\x04\x00\x00\x00\x03",                 // participant_count
        NULL,                                                // group_size
        b"\x00\x00\x00\x05\xc3\x96PEN",                      // kill_area
        NULL,                                                // category
        NULL,                                                // kind
        NULL,                                                // location
        NULL,                                                // version
        b"\x00\x00\x00\x04\x01[1]",                          // gvg_match: jsonb, version 1
    ];
    assert_eq!(encoded(&event).of(0, 0), expected.concat());
}

#[test]
fn the_row_of_a_player() {
    let mut killer =
        Player { guild_id: Some("g".into()), item_power: Some(1.5), kill_fame: Some(9), ..player("k", "K") };
    killer.equipment[0] = Some(Item { quality: Some(4), soul: Some("{}".into()), ..item("T8_BOW") });
    killer.equipment[9] = Some(Item { count: Some(2), ..item("PIE") });
    let damage = Player { damage_done: Some(-0.5), ..player("k", "another name") };
    // The victim's id is greater, so the killer's row comes first.
    let event = Event {
        event_id: 1,
        killer,
        victim: player("v", "V"),
        participants: vec![damage],
        group_members: vec![player("k", "K")],
        ..Event::default()
    };
    let expected: &[&[u8]] = &[
        b"\x00\x26",                                         // 38 fields
        b"\x00\x00\x00\x04asia",                             // server
        b"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01", // event_id
        b"\x00\x00\x00\x01k",                                // player_id
        b"\x00\x00\x00\x06killer",                           // role
        b"\x00\x00\x00\x01\x01",                             // in_group
        b"\x00\x00\x00\x01K",                                // name
        b"\x00\x00\x00\x01g",                                // guild_id
        &NULL.repeat(3),                                     // guild_name, alliance_id, alliance_name
        b"\x00\x00\x00\x08\x3f\xf8\x00\x00\x00\x00\x00\x00", // item_power
        b"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x09", // kill_fame
        NULL,                                                // death_fame
        b"\x00\x00\x00\x08\xbf\xe0\x00\x00\x00\x00\x00\x00", // damage_done
        NULL,                                                // healing_done
        b"\x00\x00\x00\x06T8_BOW",                           // main_hand
        b"\x00\x00\x00\x02\x00\x04",                         // main_hand_quality
        &NULL.repeat(16),                                    // off_hand to potion, each with its quality
        b"\x00\x00\x00\x03PIE",                              // food
        NULL,                                                // food_quality
        NULL,                                                // potion_count
        b"\x00\x00\x00\x04\x00\x00\x00\x02",                 // food_count
        b"\x00\x00\x00\x03\x01{}",                           // main_hand_soul
    ];
    let expected = expected.concat();
    let rows = encoded(&event);
    let (killer_row, victim_row) = rows.of(0, 1).split_at(expected.len());
    assert_eq!(killer_row, expected);
    let victim_begin: &[&[u8]] = &[
        b"\x00\x26\x00\x00\x00\x04asia\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\x00\x00\x00\x01v\x00\x00\x00\x06victim\x00\x00\x00\x01\x00\x00\x00\x00\x01V",
        &NULL.repeat(32),
    ];
    assert_eq!(victim_row, victim_begin.concat());
}

#[test]
fn the_rows_of_loot() {
    let loot = vec![
        (0, Item { quality: Some(-1), count: Some(525), ..item("RUNE") }),
        (47, Item { soul: Some("null".into()), ..Item::default() }),
    ];
    let event =
        Event { event_id: 1, killer: player("k", "K"), victim: player("v", "V"), loot, ..Event::default() };
    let begin = b"\x00\x07\x00\x00\x00\x04asia\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01";
    let expected: &[&[u8]] = &[
        begin,
        b"\x00\x00\x00\x02\x00\x00\x00\x00\x00\x04RUNE\x00\x00\x00\x02\xff\xff\x00\x00\x00\x04\x00\x00\x02\x0d",
        NULL,
        begin,
        b"\x00\x00\x00\x02\x00\x2f",
        &NULL.repeat(3),
        b"\x00\x00\x00\x05\x01null",
    ];
    assert_eq!(encoded(&event).of(0, 2), expected.concat());
}

#[test]
fn the_frame_of_a_copy() {
    assert_eq!(COPY_HEADER, *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    assert_eq!(COPY_TRAILER, *b"\xff\xff");
}

/// Builds rows from the bytes that each event adds to each table.
fn filled(events: &[[Vec<u8>; TABLES_MAX]]) -> Rows {
    let mut rows = Rows::default();
    for (id, tables) in (0..).zip(events) {
        for (table, bytes) in tables.iter().enumerate() {
            rows.table(table).extend_from_slice(bytes);
        }
        rows.end_event(id, 0);
    }
    rows
}

fn check_rows(rows: &Rows, events: &[[Vec<u8>; TABLES_MAX]]) {
    let ids: Vec<i64> = rows.events().iter().map(|event| event.id).collect();
    assert_eq!(ids, (0..).take(events.len()).collect::<Vec<_>>());
    for (event, tables) in events.iter().enumerate() {
        for (table, bytes) in tables.iter().enumerate() {
            assert_eq!(rows.of(event, table), bytes, "event {event}, table {table}");
        }
    }
    assert_eq!(rows.byte_len(), events.iter().flatten().map(Vec::len).sum::<usize>());
}

proptest! {
    #[test]
    fn rows_belong_to_their_events(
        events in vec(proptest::array::uniform3(vec(any::<u8>(), 0..5)), 0..8),
        kept in 0..10_usize,
        later in vec(proptest::array::uniform3(vec(any::<u8>(), 0..5)), 0..3),
        unfinished in vec(any::<u8>(), 0..5),
    ) {
        let mut rows = filled(&events);
        check_rows(&rows, &events);
        // The bytes of an unfinished event must be removed, too.
        rows.table(1).extend_from_slice(&unfinished);
        rows.truncate(kept);
        let kept = &events[..kept.min(events.len())];
        check_rows(&rows, kept);
        let all = [kept, &later].concat();
        for (id, tables) in (0..).zip(&all).skip(kept.len()) {
            for (table, bytes) in tables.iter().enumerate() {
                rows.table(table).extend_from_slice(bytes);
            }
            rows.end_event(id, 0);
        }
        check_rows(&rows, &all);
    }
}

#[test]
fn identifiers_are_quoted() {
    for (name, expected) in [
        ("public", "\"public\""),
        ("a\"b", "\"a\"\"b\""),
        ("", "\"\""),
        ("x; --", "\"x; --\""),
        ("é", "\"é\""),
    ] {
        assert_eq!(quote_identifier(name), expected);
    }
}

#[test]
fn the_ddl_is_this_text() {
    assert_eq!(Layout::Archive.ddl("Al\"bion", Indexes::Now), include_str!("tests/archive.sql"));
}

#[test]
fn each_table_and_column_has_a_comment() {
    for table in Layout::Archive.tables() {
        let comments = ddl::comments(Layout::Archive.comments(), "x", |of, _| of == table.name);
        let defaulted = table.defaulted.iter().map(|(name, _)| *name);
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).chain(defaulted).collect();
        for column in &columns {
            let statement = format!("COMMENT ON COLUMN \"x\".{}.{column} IS '", table.name);
            assert!(comments.contains(&statement), "{statement}");
        }
        assert_eq!(comments.lines().filter(|line| !line.is_empty()).count(), columns.len() + 1);
    }
    assert_eq!(ddl::comments(Layout::Archive.comments(), "x", |_, _| false), "");
    assert_eq!(ddl::comments(Layout::Aegis.comments(), "x", |_, _| true), "");
}

#[test]
fn the_row_of_an_event_in_aegis() {
    let equipment = r#"{"Head":null, "x":1e0}"#;
    let event = Event {
        event_id: 1,
        // One microsecond before the PostgreSQL epoch.
        occurred_at_us: 946_684_799_999_999,
        fame: -2,
        battle_id: Some(3),
        killer: Player {
            guild_name: Some("g".into()),
            alliance_name: Some("é".repeat(16).into()),
            item_power: Some(1.5),
            equipment_text: Some(equipment),
            ..player("k", "K")
        },
        victim: player("v", "V"),
        ..Event::default()
    };
    let alliance = [b"\x00\x00\x00\x20", "é".repeat(16).as_bytes()].concat();
    let json = [b"\x00\x00\x00\x17\x01", equipment.as_bytes()].concat();
    let expected: &[&[u8]] = &[
        b"\x00\x10",                                         // 16 fields
        b"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01", // EventId
        b"\x00\x00\x00\x08\xff\xff\xff\xff\xff\xff\xfc\x18", // TimeStamp: -1,000 µs
        b"\x00\x00\x00\x04\xff\xff\xff\xfe",                 // TotalVictimKillFame
        b"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x03", // battleAlbionId
        b"\x00\x00\x00\x01k",                                // killerId
        b"\x00\x00\x00\x01K",                                // killerName
        b"\x00\x00\x00\x01g",                                // killerGuild
        &alliance,                                           // killerAlliance
        b"\x00\x00\x00\x08\x3f\xf8\x00\x00\x00\x00\x00\x00", // killerAvgIP
        b"\x00\x00\x00\x01v",                                // victimId
        b"\x00\x00\x00\x01V",                                // victimName
        &NULL.repeat(2),                                     // victimGuild, victimAlliance
        b"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00", // victimAvgIP
        &json,                                               // killerEquipment: jsonb, version 1
        NULL,                                                // victimEquipment
    ];
    let mut rows = Rows::default();
    encode_into(&mut rows, Layout::Aegis, &event).expect("the event fits");
    assert_eq!(rows.of(0, 0), expected.concat());
    // A rejected event leaves no bytes behind.
    let before = rows.byte_len();
    let wide = Event { fame: 1 << 31, ..event };
    let fault = encode_into(&mut rows, Layout::Aegis, &wide).expect_err("too wide");
    assert_eq!(fault.field(), Some("TotalVictimKillFame"));
    assert_eq!((rows.byte_len(), rows.events().len()), (before, 1));
}

#[test]
fn the_ddl_of_aegis_is_this_text() {
    assert_eq!(Layout::Aegis.ddl("Al\"bi'on", Indexes::Now), include_str!("tests/aegis.sql"));
}
