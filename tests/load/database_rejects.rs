//! `load`: events that PostgreSQL rejects are reported one by one, and all others are stored.

use std::collections::BTreeSet;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, lines, small_event, version};
use crate::support::oracle::{Cell, Nul, Row, Tables, expect};
use crate::support::program::{Ended, Reject, Workplace, assert_tables};
use crate::support::samples;

/// A change that users may make to the tables, and the events that it rejects.
pub(crate) struct Case {
    name: &'static str,
    pub(crate) sql: &'static str,
    sqlstate: Option<&'static str>,
    /// Texts of the reason.
    reason: &'static str,
    rejected: fn(&Tables) -> BTreeSet<i64>,
}

const RAISE: &str = "create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'not with us'; end $$;";

fn which(tables: &Tables, rejected: impl Fn(i64) -> bool) -> BTreeSet<i64> {
    tables.kill_event.keys().copied().filter(|id| rejected(*id)).collect()
}

/// The tables without these events.
fn without(mut tables: Tables, ids: &BTreeSet<i64>) -> Tables {
    tables.kill_event.retain(|id, _| !ids.contains(id));
    tables.kill_player.retain(|(id, _), _| !ids.contains(id));
    tables.kill_loot.retain(|(id, _), _| !ids.contains(id));
    tables
}

fn id_in(raw: &[u8]) -> i64 {
    let event: serde_json::Value = serde_json::from_slice(raw).expect("the raw event is whole");
    event["EventId"].as_i64().expect("an id")
}

/// Checks that a load of `dump` into empty tables rejects the events of `rejected` and stores the others.
#[track_caller]
pub(crate) fn check_rejected(case: &Case, database: &Database<'_>, dump: &[u8], run: &Ended) {
    let expected = expect(dump, Nul::Reject);
    let rejected = (case.rejected)(&expected.tables);
    let all = expected.loaded();
    let name = case.name;
    assert!(!rejected.is_empty() && (rejected.len() as u64) < all, "{name}: {} of {all}", rejected.len());
    assert_tables(database, "americas", &without(expected.tables, &rejected));

    let summary = run.summary();
    let count = rejected.len() as u64;
    summary.check(&[("inserted", all - count), ("rejected", count), ("duplicate", 0), ("unfinished", 0)]);
    assert_eq!(summary.status(), "rejects", "{name}");
    let rejects = run.rejects();
    let lines = lines(dump);
    for reject in &rejects {
        assert_eq!(reject.text("sqlstate"), case.sqlstate, "{name}: {reject:?}");
        assert!(reject.text("reason").expect("a reason").contains(case.reason), "{name}: {reject:?}");
        let line = usize::try_from(reject.line()).expect("a line");
        assert_eq!(reject.raw(), lines[line - 1], "{name}");
        assert_eq!(reject.index(), None);
        assert_eq!(reject.text("source"), Some("<stdin>"));
    }
    let ids: BTreeSet<i64> = rejects.iter().map(|reject| id_in(&reject.raw())).collect();
    assert_eq!((ids, rejects.len() as u64), (rejected, count), "{name}");
}

pub(crate) const CASES: [Case; 12] = [
    Case {
        name: "a check of kill_event",
        sql: "alter table kill_event add constraint odd check (event_id % 5 <> 2)",
        sqlstate: Some("23514"),
        reason: "\"odd\"",
        rejected: |tables| which(tables, |id| id % 5 == 2),
    },
    Case {
        name: "a check of kill_player",
        sql: "alter table kill_player add check (role <> 'participant' or event_id % 5 <> 1)",
        sqlstate: Some("23514"),
        reason: "kill_player",
        rejected: |tables| {
            let participant = Cell::Text("participant".to_owned());
            let rows = tables.kill_player.iter();
            let found = rows.filter(|((id, _), row)| id % 5 == 1 && row["role"] == participant);
            found.map(|((id, _), _)| *id).collect()
        },
    },
    Case {
        name: "a trigger of kill_loot that raises",
        sql: "create trigger refuse before insert on kill_loot for each row
              when (new.slot = 0 and new.event_id % 2 = 0) execute function refuse()",
        sqlstate: Some("P0001"),
        reason: "not with us",
        rejected: |tables| which(tables, |id| id % 2 == 0 && tables.kill_loot.contains_key(&(id, 0))),
    },
    Case {
        name: "a trigger that is deferred to the commit",
        sql: "create constraint trigger refuse after insert on kill_event deferrable initially deferred
              for each row when (new.event_id % 5 = 3) execute function refuse()",
        sqlstate: Some("P0001"),
        reason: "not with us",
        rejected: |tables| which(tables, |id| id % 5 == 3),
    },
    Case {
        name: "a foreign key that is deferred to the commit",
        sql: "create table known (id bigint primary key);
              insert into known select n from generate_series(0, 4) n;
              alter table kill_event add modulus bigint generated always as (event_id % 6) stored
              references known deferrable initially deferred",
        sqlstate: Some("23503"),
        reason: "foreign key",
        rejected: |tables| which(tables, |id| id % 6 == 5),
    },
    Case {
        name: "a trigger of kill_event that drops the row",
        sql: "create function ignore() returns trigger language plpgsql as $$ begin return null; end $$;
              create trigger ignore before insert on kill_event for each row
              when (new.event_id % 5 = 4) execute function ignore()",
        sqlstate: None,
        reason: "dropped",
        rejected: |tables| which(tables, |id| id % 5 == 4),
    },
    Case {
        name: "a unique key of the user's",
        sql: "create unique index one_a_modulus on kill_loot (slot, event_id) where slot = 0;
              alter table kill_loot add check (slot <> 0 or event_id % 5 <> 0)",
        sqlstate: Some("23514"),
        reason: "kill_loot",
        rejected: |tables| which(tables, |id| id % 5 == 0 && tables.kill_loot.contains_key(&(id, 0))),
    },
    Case {
        name: "a trigger that renumbers events",
        sql: "create function renumber() returns trigger language plpgsql as
              $$ begin new.event_id := new.event_id + 1000000; return new; end $$;
              create trigger renumber before insert on kill_event for each row
              when (new.event_id % 5 = 2) execute function renumber()",
        sqlstate: None,
        reason: "changed or removed",
        rejected: |tables| which(tables, |id| id % 5 == 2),
    },
    Case {
        name: "a trigger that deletes events",
        sql: "create function remove() returns trigger language plpgsql as
              $$ begin delete from kill_event where event_id = new.event_id; return null; end $$;
              create trigger remove after insert on kill_event for each row
              when (new.event_id % 5 = 2) execute function remove()",
        sqlstate: None,
        reason: "changed or removed",
        rejected: |tables| which(tables, |id| id % 5 == 2),
    },
    Case {
        name: "a trigger that deletes players",
        sql: "create function remove() returns trigger language plpgsql as
              $$ begin delete from kill_player where (event_id, player_id) = (new.event_id, new.player_id); return null; end $$;
              create trigger remove after insert on kill_player for each row
              when (new.event_id % 5 = 2 and new.role = 'killer') execute function remove()",
        sqlstate: None,
        reason: "changed or removed",
        rejected: |tables| which(tables, |id| id % 5 == 2),
    },
    Case {
        name: "a trigger that deletes loot at the commit",
        sql: "create function remove() returns trigger language plpgsql as
              $$ begin delete from kill_loot where (event_id, slot) = (new.event_id, new.slot); return null; end $$;
              create constraint trigger remove after insert on kill_loot deferrable initially deferred for each row
              when (new.event_id % 2 = 0 and new.slot = 0) execute function remove()",
        sqlstate: None,
        reason: "changed or removed",
        rejected: |tables| which(tables, |id| id % 2 == 0 && tables.kill_loot.contains_key(&(id, 0))),
    },
    Case {
        name: "a column made narrower",
        sql: "alter table kill_event alter kill_area type varchar(5) using 'x'",
        sqlstate: Some("22001"),
        reason: "too long",
        rejected: |tables| {
            let area = |row: &Row| matches!(&row["kill_area"], Cell::Text(_));
            tables.kill_event.iter().filter(|(_, row)| area(row)).map(|(id, _)| *id).collect()
        },
    },
];

#[test]
fn constraints_and_triggers_of_users_reject_single_events() {
    let work = Workplace::new();
    let mut small: Vec<String> = (5001..5020).map(|id| small_event(id).to_string()).collect();
    small.extend((5020..5040).map(|id| samples::event(id).to_string()));
    let dump = [samples::sample_events(), join(&small)].concat();
    for case in CASES {
        for segment_bytes in [8 << 20, 64 << 10] {
            let database = Cluster::shared().database("refused");
            let place = ["--database-url", &database.url()];
            work.program(&["schema", "apply"]).args(&place).expect(0);
            let mut client = database.client();
            client.batch_execute(RAISE).expect("a function");
            client.batch_execute(case.sql).unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
            let run = work.load(&database, &[]).stdin(dump.clone()).segment_bytes(segment_bytes).expect(3);
            check_rejected(&case, &database, &dump, &run);
        }
    }
}

#[test]
fn an_id_too_long_for_an_index_rejects_its_event() {
    let work = Workplace::new();
    let mut rng = fastrand::Rng::with_seed(1);
    // Random, because compressible text would fit.
    let mut long_id = || (0..8000).map(|_| rng.alphanumeric()).collect::<String>();
    let mut events: Vec<serde_json::Value> = (1..=30).map(samples::event).collect();
    events[4]["Killer"]["Id"] = long_id().into();
    events[11]["Participants"][2]["Id"] = long_id().into();
    events[12]["Victim"]["GuildName"] = long_id().into();
    events[29]["Victim"]["Id"] = long_id().into();
    let dump = join(&events.iter().map(ToString::to_string).collect::<Vec<_>>());
    let database = Cluster::shared().database("long");
    let run = work.load(&database, &[]).stdin(dump).expect(3);
    run.summary().check(&[("inserted", 26), ("rejected", 4)]);
    let rejects = run.rejects();
    let found: Vec<_> =
        rejects.iter().map(|reject| (reject.line(), &reject.0["field"], &reject.0["sqlstate"])).collect();
    let fields = [(5, "Killer.Id"), (12, "Participants[2].Id"), (13, "Victim.GuildName"), (30, "Victim.Id")];
    let expected: Vec<serde_json::Value> = fields.iter().map(|(_, field)| (*field).into()).collect();
    let null = serde_json::Value::Null;
    let expected: Vec<_> =
        fields.iter().zip(&expected).map(|((line, _), field)| (*line, field, &null)).collect();
    assert_eq!(found, expected);
}

#[test]
fn one_element_of_an_array_is_rejected() {
    let work = Workplace::new();
    let database = Cluster::shared().database("element");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    database.client().batch_execute("alter table kill_event add check (event_id <> 13)").expect("a check");
    let events: Vec<String> = (11..=15).map(|id| small_event(id).to_string()).collect();
    let dump = format!("\n[{}]\n", events.join(" , "));
    let run = work.load(&database, &[]).stdin(dump).expect(3);
    run.summary().check(&[("events", 5), ("inserted", 4), ("rejected", 1)]);
    let rejects = run.rejects();
    assert_eq!((rejects[0].line(), rejects[0].index()), (2, Some(2)));
    assert_eq!(rejects[0].raw(), events[2].as_bytes());
}

#[test]
fn database_rejects_are_reported_once_and_can_be_loaded_later() {
    let work = Workplace::new();
    let database = Cluster::shared().database("again");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    let mut client = database.client();
    client
        .batch_execute("alter table kill_event add constraint odd check (event_id <> 13)")
        .expect("a check");
    let dump = join(&(1..=40).map(|id| small_event(id).to_string()).collect::<Vec<_>>());
    let load = |args: &[&str], code| {
        work.load(&database, args).stdin(dump.clone()).segment_bytes(4 << 10).expect(code)
    };
    let first = load(&["--rejects", "refused"], 3);
    first.summary().check(&[("inserted", 39), ("rejected", 1)]);
    assert_eq!(id_in(&first.rejects()[0].raw()), 13);

    let again = load(&[], 0);
    again.summary().check(&[("already_loaded", 39), ("rejected", 1), ("rejected_before", 1)]);
    load(&["--force"], 3).summary().check(&[("duplicate", 39), ("rejected", 1), ("rejected_before", 0)]);

    client.batch_execute("alter table kill_event drop constraint odd").expect("to drop the check");
    work.load(&database, &["refused"]).expect(0).summary().check(&[("inserted", 1), ("rejected", 0)]);
    load(&["--force"], 0).summary().check(&[("duplicate", 40)]);
    load(&[], 0).summary().check(&[("already_loaded", 40), ("rejected", 0)]);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn the_first_accepted_version_wins() {
    let work = Workplace::new();
    let dump = join(
        // The third version of event 1 is accepted, none of event 2, the first of event 3.
        &[(1, 13), (2, 13), (3, 1), (1, 13), (1, 2), (2, 13), (3, 13), (1, 4), (4, 1), (4, 13)]
            .map(|(id, number)| version(id, number)),
    );
    for segment_bytes in [8 << 20, 4 << 10] {
        let database = Cluster::shared().database("versions");
        work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
        database.client().batch_execute("alter table kill_event add check (fame <> 13)").expect("a check");
        let run = work.load(&database, &[]).stdin(dump.clone()).segment_bytes(segment_bytes).expect(3);
        let taken = join(&[version(1, 2), version(3, 1), version(4, 1)]);
        assert_tables(&database, "americas", &expect(&taken, Nul::Reject).tables);
        let lines: Vec<u64> = run.rejects().iter().map(Reject::line).collect();
        // Later versions of a stored event are duplicates, whatever they contain.
        assert_eq!(lines, [1, 2, 4, 6], "{segment_bytes}");
        run.summary().check(&[("inserted", 3), ("duplicate", 3), ("rejected", 4)]);
    }
}

/// The messages of all refused events of a segment are held until the segment is stored.
#[test]
fn long_messages_of_triggers_are_truncated() {
    let work = Workplace::new();
    let database = Cluster::shared().database("long_messages");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    let sql = "create function refuse() returns trigger language plpgsql as
          $$ begin raise exception '%', repeat('é', 200000); end $$;
        create trigger refuse before insert on kill_event for each row when (new.event_id % 10 = 3)
          execute function refuse()";
    database.client().batch_execute(sql).expect("a trigger");
    let events: Vec<String> = (1..=40).map(|id| small_event(id).to_string()).collect();
    let run = work.load(&database, &[]).stdin(join(&events)).expect(3);
    run.summary().check(&[("inserted", 36), ("rejected", 4)]);
    for reject in run.rejects() {
        let reason = reject.text("reason").expect("a reason");
        assert!(
            reason.starts_with("éé") && reason.ends_with("é…") && reason.len() < 1100,
            "{}",
            reason.len()
        );
    }
}

/// As with a missing partition. Each event needs a statement of its own. The number of statements has no limit, only the
/// time of the search.
#[test]
fn all_events_of_a_segment_can_be_rejected() {
    let work = Workplace::new();
    let database = Cluster::shared().database("all_refused");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    database.client().batch_execute("alter table kill_event add check (event_id > 6000)").expect("a check");
    let events: Vec<String> = (1..=6001).map(|id| small_event(id).to_string()).collect();
    let ended = work.load(&database, &["--max-rejects", "100%"]).stdin(join(&events)).expect(3);
    ended.summary().check(&[("events", 6001), ("inserted", 1), ("rejected", 6000), ("unfinished", 0)]);
    let count = "select count(*) from kill_event";
    assert_eq!(database.client().query_one(count, &[]).expect("a count").get::<_, i64>(0), 1);
}

/// Over a slow network each attempt costs several round trips. Here each COPY into `kill_player` is slow instead, and counted.
#[test]
fn accepted_events_between_refused_ones_are_stored_together() {
    let database = Cluster::shared().database("alternating");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let triggers = "create sequence copies;
        create function count_copy() returns trigger language plpgsql as $$ begin
          perform pg_catalog.pg_sleep(0.1), pg_catalog.nextval('public.copies'); return null; end $$;
        create trigger count_copy before insert on kill_player for each statement execute function count_copy();
        create function refuse() returns trigger language plpgsql as $$ begin
          if new.event_id % 2 = 0 then raise exception 'not with us'; end if; return new; end $$;
        create trigger refuse before insert on kill_event for each row execute function refuse()";
    database.client().batch_execute(triggers).expect("triggers");
    let dump = join(&(1..=400).map(|id| small_event(id).to_string()).collect::<Vec<_>>());
    let ended = work.load(&database, &[]).stdin(dump).expect(3);
    ended.summary().check(&[("inserted", 200), ("rejected", 200), ("unfinished", 0)]);
    let query = "select count(*) filter (where event_id % 2 = 1), count(*), (select last_value from copies)
        from kill_event";
    let row = database.client().query_one(query, &[]).expect("a row");
    let (odd, all, copies): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((odd, all), (200, 200));
    // One for each of the accepted events would be 200.
    assert!(copies < 70, "{copies}");
}
