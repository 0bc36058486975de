//! Triggers and rules that silently drop rows of hundreds of events of one segment. Each of these events is rejected, and the
//! search for them takes seconds, not the 30 s at which it ends.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, version};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Ended, Reject, Workplace, assert_tables};

const EVENTS: i64 = 600;

/// At the speed of a search for one event after another, half of the events would take minutes.
const SECONDS_MAX: f64 = 12.0;

const UPDATE: [&str; 2] = ["--on-conflict", "update"];

const IGNORE: &str =
    "create function ignore() returns trigger language plpgsql as $$ begin return null; end $$;";

fn versions(number: impl Fn(i64) -> i64) -> Vec<u8> {
    join(&(1..=EVENTS).map(|id| version(id, number(id))).collect::<Vec<_>>())
}

fn is_odd(id: i64) -> bool {
    id % 2 == 1
}

/// Asserts that the events with odd ids were rejected because of dropped rows, within a few seconds.
#[track_caller]
fn assert_odd_rejected(run: &Ended, stored: &str, name: &str) {
    let half = EVENTS.unsigned_abs() / 2;
    let summary = run.summary();
    summary.check(&[(stored, half), ("rejected", half), ("duplicate", 0), ("unfinished", 0)]);
    let rejects = run.rejects();
    let lines: Vec<u64> = rejects.iter().map(Reject::line).collect();
    let odd: Vec<u64> = (1..=EVENTS).filter(|id| is_odd(*id)).map(i64::unsigned_abs).collect();
    assert_eq!(lines, odd, "{name}");
    for reject in rejects {
        let what = if stored == "updated" { "undid the update of the event" } else { "dropped the event" };
        let reason = format!("a trigger or rule of the table {what}");
        assert_eq!(reject.text("reason"), Some(&*reason), "{name}");
        assert_eq!(reject.text("sqlstate"), None, "{name}");
    }
    assert_quick(run, name);
}

#[track_caller]
fn assert_quick(run: &Ended, name: &str) {
    let seconds = run.summary().0["elapsed_seconds"].as_f64().expect("a time");
    assert!(seconds < SECONDS_MAX, "{name}: {seconds} s");
}

fn change(database: &Database<'_>, sql: &str) {
    database.client().batch_execute(&format!("{IGNORE} {sql}")).expect("a trigger or rule");
}

#[test]
fn hundreds_of_dropped_updates_of_a_segment_are_rejected_within_seconds() {
    let work = Workplace::new();
    let trigger = |event: &str, table: &str, row: &str| {
        format!(
            "create trigger ignore before {event} on {table} for each row when ({row}.event_id % 2 = 1)
             execute function ignore()"
        )
    };
    for sql in [
        trigger("update", "kill_event", "new"),
        trigger("update", "kill_player", "new"),
        trigger("insert", "kill_player", "new"),
        trigger("delete", "kill_player", "old"),
        trigger("update", "kill_loot", "new"),
        "create rule ignore as on update to kill_event where new.event_id % 2 = 1 do instead nothing"
            .to_owned(),
        "create rule ignore as on delete to kill_player where old.event_id % 2 = 1 do instead nothing"
            .to_owned(),
        // The server counts these rows as updated.
        "create function keep() returns trigger language plpgsql as $$ begin return old; end $$;
         create trigger keep before update on kill_event for each row when (new.event_id % 2 = 1)
         execute function keep()"
            .to_owned(),
    ] {
        let database = Cluster::shared().database("dropped_updates");
        work.load(&database, &[]).stdin(versions(|_| 1)).expect(0);
        change(&database, &sql);
        let run = work.load(&database, &UPDATE).stdin(versions(|_| 2)).expect(3);
        assert_odd_rejected(&run, "updated", &sql);
        let expected = expect(&versions(|id| if is_odd(id) { 1 } else { 2 }), Nul::Reject);
        assert_tables(&database, "americas", &expected.tables);
    }
}

#[test]
fn dropped_updates_of_all_events_of_a_segment_are_rejected_within_seconds() {
    let work = Workplace::new();
    for sql in [
        "create trigger ignore before update on kill_event for each row execute function ignore()",
        "create rule ignore as on update to kill_event do instead nothing",
    ] {
        let database = Cluster::shared().database("dropped_all");
        work.load(&database, &[]).stdin(versions(|_| 1)).expect(0);
        change(&database, sql);
        let run = work.load(&database, &UPDATE).stdin(versions(|_| 2)).expect(3);
        run.summary().check(&[("updated", 0), ("rejected", EVENTS.unsigned_abs()), ("unfinished", 0)]);
        assert_quick(&run, sql);
        assert_tables(&database, "americas", &expect(&versions(|_| 1), Nul::Reject).tables);
    }
}

#[test]
fn hundreds_of_dropped_updates_in_layout_aegis_are_rejected_within_seconds() {
    let work = Workplace::new();
    for sql in [
        "create trigger ignore before update on \"KillEvent\" for each row when (new.\"EventId\" % 2 = 1)
         execute function ignore()",
        "create rule ignore as on update to \"KillEvent\" where new.\"EventId\" % 2 = 1 do instead nothing",
    ] {
        let database = Cluster::shared().database("dropped_aegis");
        let layout = ["--layout", "aegis"];
        work.load(&database, &layout).stdin(versions(|_| 1)).expect(0);
        change(&database, sql);
        let run = work.load(&database, &[UPDATE, layout].concat()).stdin(versions(|_| 2)).expect(3);
        assert_odd_rejected(&run, "updated", sql);
        let wrong = "select count(*) from \"KillEvent\"
            where \"TotalVictimKillFame\" <> case \"EventId\" % 2 when 1 then 1 else 2 end";
        assert_eq!(database.client().query_one(wrong, &[]).expect("a count").get::<_, i64>(0), 0, "{sql}");
    }
}

#[test]
fn hundreds_of_dropped_inserts_of_a_segment_are_rejected_within_seconds() {
    let work = Workplace::new();
    for table in ["kill_event", "kill_player", "kill_loot"] {
        let database = Cluster::shared().database("dropped_inserts");
        work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
        let sql = format!(
            "create trigger ignore before insert on {table} for each row when (new.event_id % 2 = 1)
             execute function ignore()"
        );
        change(&database, &sql);
        let run = work.load(&database, &[]).stdin(versions(|_| 1)).expect(3);
        assert_odd_rejected(&run, "inserted", table);
        let even: Vec<String> = (1..=EVENTS).filter(|id| !is_odd(*id)).map(|id| version(id, 1)).collect();
        assert_tables(&database, "americas", &expect(&join(&even), Nul::Reject).tables);
    }
}

/// The first row of each statement is dropped, also if it is the only one. So no attempt is without a dropped row.
#[test]
fn a_search_for_rows_that_are_dropped_by_their_order_ends() {
    let work = Workplace::new();
    let database = Cluster::shared().database("dropped_first");
    let versions = |number| join(&(1..=100).map(|id| version(id, number)).collect::<Vec<_>>());
    work.load(&database, &[]).stdin(versions(1)).expect(0);
    let sql = "create function begin_statement() returns trigger language plpgsql as
          $$ begin perform set_config('test.is_first', 'yes', true); return null; end $$;
        create trigger begin_statement before update on kill_event execute function begin_statement();
        create function drop_first() returns trigger language plpgsql as $$ begin
          if current_setting('test.is_first') = 'yes' then
            perform set_config('test.is_first', 'no', true);
            return null;
          end if;
          return new;
        end $$;
        create trigger drop_first before update on kill_event for each row execute function drop_first()";
    change(&database, sql);
    let run = work.load(&database, &UPDATE).stdin(versions(2)).expect(3);
    run.summary().check(&[("updated", 0), ("rejected", 100), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expect(&versions(1), Nul::Reject).tables);
}

/// Whether a row is dropped depends on rows of other events of the batch.
#[test]
fn an_event_that_is_accepted_after_others_is_updated() {
    let work = Workplace::new();
    let database = Cluster::shared().database("dropped_early");
    work.load(&database, &[]).stdin(versions(|_| 1)).expect(0);
    let sql = "create function after_next() returns trigger language plpgsql as $$ begin
          perform from kill_event where event_id = new.event_id + 1 and fame = 2;
          if not found then return null; end if;
          return new;
        end $$;
        create trigger after_next before update on kill_event for each row when (new.event_id % 2 = 1)
          execute function after_next();
        create function refuse() returns trigger language plpgsql as
          $$ begin raise exception 'not this one'; end $$;
        create trigger refuse before update on kill_event for each row when (new.event_id = 300)
          execute function refuse()";
    change(&database, sql);
    let run = work.load(&database, &UPDATE).stdin(versions(|_| 2)).expect(3);
    let lines: Vec<u64> = run.rejects().iter().map(Reject::line).collect();
    assert_eq!(lines, [299, 300]);
    let expected = expect(&versions(|id| if [299, 300].contains(&id) { 1 } else { 2 }), Nul::Reject);
    assert_tables(&database, "americas", &expected.tables);
    assert_quick(&run, "the next event");
}
