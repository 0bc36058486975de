//! The order of players' rows, the exact text of the DDL, and the byte ranges of events.

use crate::event::kill_event::{Event, Player};
use crate::event::server::Server;
use crate::layout::archive::ArchiveEncoder;
use crate::layout::ddl::Indexes;
use crate::layout::rows::{Rows, TABLES_MAX};
use crate::layout::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// In the order of the key, so that rows are appended to its index.
#[test]
fn players_are_in_the_order_of_their_ids() {
    let player = |id: &'static str| Player { id: id.into(), ..Player::default() };
    let event = Event { killer: player("v"), victim: player("k"), ..Event::default() };
    let mut rows = Rows::default();
    ArchiveEncoder::new(Server::Asia).encode(&event, &mut rows);
    let at = |role| memchr::memmem::find(rows.of(0, 1), role).expect("each has a row");
    assert!(at(b"victim") < at(b"killer"));
}

/// Adds events with these bytes in each table.
fn add(rows: &mut Rows, events: &[[Vec<u8>; TABLES_MAX]]) {
    for tables in events {
        for (table, bytes) in tables.iter().enumerate() {
            rows.table(table).extend_from_slice(bytes);
        }
        rows.end_event(i64::try_from(rows.events().len()).unwrap(), 0);
    }
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
        let mut rows = Rows::default();
        add(&mut rows, &events);
        check_rows(&rows, &events);
        // The bytes of an unfinished event must be removed, too.
        rows.table(1).extend_from_slice(&unfinished);
        rows.truncate(kept);
        let kept = &events[..kept.min(events.len())];
        check_rows(&rows, kept);
        add(&mut rows, &later);
        check_rows(&rows, &[kept, &later].concat());
    }
}

#[test]
fn the_ddl_is_this_text() {
    assert_eq!(Layout::Archive.ddl("Al\"bion", Indexes::Now), include_str!("tests/archive.sql"));
    assert_eq!(Layout::Aegis.ddl("Al\"bi'on", Indexes::Now), include_str!("tests/aegis.sql"));
}
