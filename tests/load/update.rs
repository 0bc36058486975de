//! `load --on-conflict update`: stored events that differ are rewritten, and no others.

use std::thread;
use std::time::Duration;

use crate::load::duplicates::places;
use crate::support::cluster::Cluster;
use crate::support::dumps::{join, small_event, version};
use crate::support::eventually;
use crate::support::oracle::{Nul, Tables, expect};
use crate::support::program::{Reject, Workplace, assert_tables};

/// The expected tables if the last version of each event wins. The oracle keeps the first, so it reads the lines in
/// reverse.
fn last_wins(lines: &[String]) -> Tables {
    let backwards: Vec<&String> = lines.iter().rev().collect();
    expect(&join(&backwards), Nul::Reject).tables
}

#[test]
fn only_changed_events_are_rewritten() {
    let database = Cluster::shared().database("update");
    let work = Workplace::new();
    let stored: Vec<String> = (1..=40).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&stored)).expect(0).summary().check(&[("inserted", 40)]);

    let news: Vec<String> = (1..=50).map(|id| version(id, if id <= 20 { 1 } else { 2 })).collect();
    let update = || work.load(&database, &["--on-conflict", "update"]).stdin(join(&news)).expect(0);
    update().summary().check(&[("inserted", 10), ("updated", 20), ("duplicate", 20)]);
    let all: Vec<String> = stored.iter().chain(&news).cloned().collect();
    assert_tables(&database, "americas", &last_wins(&all));

    let before = places(&mut database.client());
    update().summary().check(&[("inserted", 0), ("updated", 0), ("duplicate", 50)]);
    assert_eq!(places(&mut database.client()), before, "a run without news writes no row");
}

#[test]
fn the_last_of_several_versions_wins() {
    for (segment_bytes, workers) in [(8 << 20, 1), (4 << 10, 4)] {
        let database = Cluster::shared().database("update_last");
        let lines: Vec<String> = (0..400).map(|number| version(1 + number * 7 % 30, number)).collect();
        let run = Workplace::new()
            .load(&database, &["--on-conflict", "update"])
            .segment_bytes(segment_bytes)
            .workers(workers)
            .stdin(join(&lines))
            .expect(0);
        run.summary().check(&[("events", 400), ("inserted", 30)]);
        assert_tables(&database, "americas", &last_wins(&lines));
    }
}

/// The confirmation of the first segment finds its events without loot.
#[test]
fn a_later_version_without_loot_is_no_lost_row() {
    let database = Cluster::shared().database("update_fewer");
    let mut lines: Vec<String> = (1..=20).map(|id| version(id, 1)).collect();
    lines.extend((1..=20).map(|id| small_event(id).to_string()));
    let work = Workplace::new();
    let load = work.load(&database, &["--on-conflict", "update"]);
    let run = load.segment_bytes(4 << 10).workers(1).stdin(join(&lines)).expect(0);
    run.summary().check(&[("inserted", 20), ("updated", 20), ("unfinished", 0)]);
    assert_tables(&database, "americas", &last_wins(&lines));
}

#[test]
fn an_update_restores_deleted_rows() {
    let database = Cluster::shared().database("update_rows");
    let work = Workplace::new();
    let lines: Vec<String> = (1..=10).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&lines)).expect(0);
    database.client().batch_execute("delete from kill_player where event_id = 3").expect("deleted");
    let run = work.load(&database, &["--on-conflict", "update"]).stdin(join(&lines)).expect(0);
    run.summary().check(&[("updated", 1), ("duplicate", 9)]);
    assert_tables(&database, "americas", &last_wins(&lines));
}

/// Rows are rewritten by their position, which repeats in each partition.
#[test]
fn partitions_with_equal_row_positions_are_distinguished() {
    let database = Cluster::shared().database("update_parts");
    let work = Workplace::new();
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    for table in ["kill_event", "kill_player", "kill_loot"] {
        let mut sql = format!(
            "alter table {table} rename to whole;
             create table {table} (like whole including defaults) partition by hash (event_id);
             drop table whole; alter table {table} add primary key (server, event_id{});",
            match table {
                "kill_player" => ", player_id",
                "kill_loot" => ", slot",
                _ => "",
            }
        );
        let part = |part| {
            format!(
                "create table {table}_{part} partition of {table} for values with (modulus 4, remainder {part});"
            )
        };
        sql.extend((0..4).map(part));
        database.client().batch_execute(&sql).expect("partitions");
    }
    let mut all = Vec::new();
    for round in 1..4 {
        all.extend((1..=40).filter(|id| id % round == 0).map(|id| version(id, round)));
        work.load(&database, &["--on-conflict", "update"]).stdin(join(&all)).segment_bytes(4 << 10).expect(0);
        assert_tables(&database, "americas", &last_wins(&all));
    }
}

/// A row that another session changed during a wait is found at its new position.
#[test]
fn rows_changed_concurrently_are_updated() {
    for change in [
        "update kill_event set fame = fame + 1",
        "update kill_player set name = 'someone'",
        "update kill_loot set count = count + 1",
        "delete from kill_player where event_id = 3",
    ] {
        let database = Cluster::shared().database("update_beside");
        let work = Workplace::new();
        let stored: Vec<String> = (1..=10).map(|id| version(id, 1)).collect();
        let news: Vec<String> = (1..=10).map(|id| version(id, 2)).collect();
        work.load(&database, &[]).stdin(join(&stored)).expect(0);
        let mut client = database.client();
        let mut transaction = client.transaction().expect("a transaction");
        transaction.execute(change, &[]).expect("a change");
        let load = work.load(&database, &["--on-conflict", "update"]).stdin(join(&news));
        let ended = thread::scope(|scope| {
            let ended = scope.spawn(|| load.run());
            let waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            eventually(Duration::from_mins(1), "the load waits", || {
                !database.client().query(waits, &[]).expect("rows").is_empty()
            });
            transaction.commit().expect("the change");
            ended.join().expect("no panic")
        });
        ended.expect(0).summary().check(&[("updated", 10), ("rejected", 0)]);
        assert_tables(&database, "americas", &last_wins(&news));
    }
}

/// The comparison takes longer than the attempts to rewrite parts of the batch.
#[test]
fn refused_updates_are_found_with_one_comparison() {
    let database = Cluster::shared().database("update_refused");
    let work = Workplace::new();
    let stored: Vec<String> = (1..=400).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&stored)).expect(0);
    let sql = "create sequence made;
        create function note_made() returns event_trigger language plpgsql as
          $$ begin perform nextval('public.made'); end $$;
        create event trigger note_made on ddl_command_end when tag in ('CREATE TABLE AS')
          execute function note_made();
        create function refuse() returns trigger language plpgsql as
          $$ begin raise exception 'not this one'; end $$;
        create trigger refuse before update on kill_event for each row when (new.event_id % 14 = 3)
          execute function refuse()";
    database.client().batch_execute(sql).expect("triggers");
    let is_refused = |id: i64| id % 14 == 3;
    work.write("news", join(&(1..=400).map(|id| version(id, 2)).collect::<Vec<_>>()));
    let run = work.load(&database, &["--on-conflict", "update", "news"]).expect(3);
    let lines: Vec<u64> = run.rejects().iter().map(Reject::line).collect();
    let refused: Vec<u64> = (1..=400).filter(|id| id % 14 == 3).collect();
    assert_eq!(lines, refused);
    let count = refused.len() as u64;
    run.summary().check(&[("updated", 400 - count), ("rejected", count), ("unfinished", 0)]);
    let accepted = (1..=400).filter(|id| !is_refused(*id)).map(|id| version(id, 2));
    let all: Vec<String> = stored.iter().cloned().chain(accepted).collect();
    assert_tables(&database, "americas", &last_wins(&all));
    // Two temporary tables per table, for the first attempt and for the search.
    let made: i64 = database.client().query_one("select last_value from made", &[]).expect("a number").get(0);
    assert_eq!(made, 12);
}

/// The search compares all events before it rewrites some of them.
#[test]
fn an_event_whose_row_a_trigger_of_another_event_moves_is_updated() {
    let database = Cluster::shared().database("update_moved");
    let work = Workplace::new();
    let stored: Vec<String> = (1..=20).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&stored)).expect(0);
    let sql = "create function refuse() returns trigger language plpgsql as
          $$ begin raise exception 'not this one'; end $$;
        create trigger refuse before update on kill_event for each row when (new.event_id = 4)
          execute function refuse();
        create function move() returns trigger language plpgsql as
          $$ begin update kill_event set kill_area = kill_area where event_id = 5; return null; end $$;
        create trigger move after update on kill_event for each row when (new.event_id = 3)
          execute function move()";
    database.client().batch_execute(sql).expect("triggers");
    let news: Vec<String> = (1..=20).map(|id| version(id, 2)).collect();
    let run = work.load(&database, &["--on-conflict", "update"]).stdin(join(&news)).expect(3);
    run.summary().check(&[("updated", 19), ("rejected", 1), ("unfinished", 0)]);
    let lines: Vec<u64> = run.rejects().iter().map(Reject::line).collect();
    assert_eq!(lines, [4]);
    let accepted = news.into_iter().enumerate().filter(|(number, _)| *number != 3).map(|(_, line)| line);
    let all: Vec<String> = stored.into_iter().chain(accepted).collect();
    assert_tables(&database, "americas", &last_wins(&all));
}

/// The error names the row, while the events are compared and not while they are rewritten.
#[test]
fn updates_too_long_for_a_narrower_column_are_rejected() {
    let database = Cluster::shared().database("update_narrow");
    let work = Workplace::new();
    let stored: Vec<String> = (1..=40).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&stored)).expect(0);
    let sql = "alter table kill_event alter kill_area type varchar(20);
        alter table kill_player add check (event_id <> 21 or name <> 'nobody')";
    database.client().batch_execute(sql).expect("a narrower column");
    let long = |id: i64| id % 10 == 7;
    let news = (1..=40).map(|id| {
        let mut event: serde_json::Value = serde_json::from_str(&version(id, 2)).expect("an event");
        if long(id) {
            event["KillArea"] = "an area with a name of more than 20 letters".into();
        }
        if id == 21 {
            event["Killer"]["Name"] = "nobody".into();
        }
        event.to_string()
    });
    let news: Vec<String> = news.collect();
    let run = work.load(&database, &["--on-conflict", "update"]).stdin(join(&news)).expect(3);
    let rejects = run.rejects();
    let found: Vec<_> = rejects.iter().map(|reject| (reject.line(), reject.text("sqlstate"))).collect();
    let (too_long, check) = (Some("22001"), Some("23514"));
    assert_eq!(found, [(7, too_long), (17, too_long), (21, check), (27, too_long), (37, too_long)]);
    run.summary().check(&[("updated", 35), ("rejected", 5), ("unfinished", 0)]);
}
