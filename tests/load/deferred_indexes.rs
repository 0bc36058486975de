//! Secondary indexes of a first load: built after the data, once, by whoever ends last, whatever happens in between.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::small_event;
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Running, Workplace, assert_tables};

pub(crate) const INDEXES: [&str; 8] = [
    "kill_event_battle",
    "kill_event_killer",
    "kill_event_newest",
    "kill_event_victim",
    "kill_player_alliance_deaths",
    "kill_player_alliance_kills",
    "kill_player_guild_deaths",
    "kill_player_guild_kills",
];

/// Longer than a slow machine takes to write a few events, or to see that its input is slow.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) fn lines(ids: std::ops::Range<i64>) -> Vec<u8> {
    ids.flat_map(|id| format!("{}\n", small_event(id)).into_bytes()).collect()
}

/// The secondary indexes that can be used.
pub(crate) fn indexes(database: &Database<'_>) -> Vec<String> {
    let sql = "select relname::text from pg_class join pg_index on indexrelid = oid
               where relname like 'kill\\_%' and not indisunique and indisvalid order by relname";
    let rows = database.client().query(sql, &[]).expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

#[track_caller]
pub(crate) fn wait_for_events(database: &Database<'_>, count: i64) {
    eventually(SOON, "the events are stored", || {
        let rows = database.client().query("select count(*) from kill_event", &[]);
        rows.is_ok_and(|rows| rows[0].get::<_, i64>(0) == count)
    });
}

/// A load that has stored these events, and waits for more.
pub(crate) fn begin(
    work: &Workplace,
    database: &Database<'_>,
    ids: std::ops::Range<i64>,
    stored: i64,
) -> Running {
    let mut load = work.load(database, &[]).env("KILLS_FLUSH_INTERVAL", "50").start();
    load.feed(&lines(ids));
    wait_for_events(database, stored);
    load
}

#[test]
fn built_after_the_data_and_named_until_then() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("put_off"));
    let mut load = begin(&work, &database, 1..21, 20);
    assert_eq!(indexes(&database), [""; 0]);
    let health = work.program(&["health", "--json", "--database-url", &database.url()]).expect(0);
    for index in INDEXES {
        assert!(health.stdout.contains(&format!("the index {index} is missing")), "{}", health.stdout);
    }
    load.feed(&lines(21..31));
    load.finish_after_input().expect(0).summary().check(&[("inserted", 30)]);
    assert_eq!(indexes(&database), INDEXES);
    assert_tables(&database, "americas", &expect(&lines(1..31), Nul::Reject).tables);
}

#[test]
fn empty_tables_lose_them_for_as_long() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("empty"));
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    assert_eq!(indexes(&database), INDEXES);
    let load = begin(&work, &database, 1..21, 20);
    assert_eq!(indexes(&database), [""; 0]);
    load.finish_after_input().expect(0);
    assert_eq!(indexes(&database), INDEXES);
    // Full tables keep them.
    let load = begin(&work, &database, 21..31, 30);
    assert_eq!(indexes(&database), INDEXES);
    load.finish_after_input().expect(0);
}

#[test]
fn an_index_that_its_owner_has_changed_stays_as_it_is() {
    for changed in [
        "drop index kill_event_battle; create index kill_event_battle on kill_event (battle_id, fame)",
        // Those of its partitions may each have been changed.
        "alter table kill_event rename to whole;
         create table kill_event (like whole including defaults) partition by hash (event_id);
         drop table whole; alter table kill_event add primary key (server, event_id);
         create table part partition of kill_event for values with (modulus 1, remainder 0);
         create index kill_event_battle on kill_event (battle_id)",
    ] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("changed"));
        work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
        database.client().batch_execute(changed).expect("an index");
        let index =
            "select pg_get_indexdef('kill_event_battle'::regclass), 'kill_event_battle'::regclass::oid";
        let definition = || {
            let row = database.client().query_one(index, &[]).expect("an index");
            (row.get::<_, String>(0), row.get::<_, u32>(1))
        };
        let before = definition();
        let load = begin(&work, &database, 1..21, 20);
        assert_eq!(definition(), before);
        load.finish_after_input().expect(0);
        assert_eq!(definition(), before);
    }
}

#[test]
fn what_a_load_left_that_was_stopped_or_killed_the_next_one_builds() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("left"));
        let load = begin(&work, &database, 1..21, 20);
        load.signal(signal);
        load.finish().expect(128 + signal as i32);
        assert_eq!(indexes(&database), [""; 0], "{signal}");
        // Nothing of it is new, and all the same it finishes what was begun.
        work.load(&database, &[]).stdin(lines(1..21)).expect(0).summary().check(&[("inserted", 0)]);
        assert_eq!(indexes(&database), INDEXES, "{signal}");
    }
}

#[test]
fn of_several_loads_the_last_one_builds() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("last"));
    let first = begin(&work, &database, 1..21, 20);
    let second = begin(&work, &database, 21..41, 40);
    first.finish_after_input().expect(0);
    assert_eq!(indexes(&database), [""; 0]);
    second.finish_after_input().expect(0);
    assert_eq!(indexes(&database), INDEXES);
}

/// A pipe that brings events as they happen never ends.
#[test]
fn slow_input_is_no_reason_to_go_without() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("slow"));
    let mut load = begin(&work, &database, 1..21, 20);
    eventually(SOON, "the indexes are built while it runs", || indexes(&database) == INDEXES);
    load.feed(&lines(21..31));
    wait_for_events(&database, 30);
    load.finish_after_input().expect(0);
}

#[test]
fn who_may_not_build_them_loads_all_the_same() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("may_not"));
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    let role = format!("loads_{}", std::process::id());
    let mut client = database.client();
    client
        .batch_execute(&format!(
            "drop index kill_event_battle; create role {role} login;
             grant select, insert, update, delete on all tables in schema public to {role}"
        ))
        .expect("a role");
    let url = database.url().replace("user=aegis", &format!("user={role}"));
    let ended = work.load(&database, &[]).env("DATABASE_URL", &url).stdin(lines(1..21)).expect(0);
    ended.says(&["kill_event_battle", "schema apply"]).summary().check(&[("inserted", 20)]);
    client.batch_execute(&format!("drop owned by {role}; drop role {role}")).expect("to drop it");
}

#[test]
fn an_entry_too_long_for_an_index_is_refused_before_there_is_one() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("long_guild"));
    let mut long = small_event(1);
    long["Killer"]["GuildId"] = "g".repeat(2601).into();
    let mut longest = small_event(2);
    let mut random = fastrand::Rng::with_seed(1);
    // Random, as what repeats itself is packed, and takes less room.
    longest["Killer"]["GuildId"] = (0..2600).map(|_| random.alphanumeric()).collect::<String>().into();
    let ended = work.load(&database, &[]).stdin(format!("{long}\n{longest}\n")).expect(3);
    ended.summary().check(&[("inserted", 1), ("rejected", 1)]);
    let rejects = ended.rejects();
    assert_eq!((rejects[0].line(), rejects[0].text("field")), (1, Some("Killer.GuildId")));
    assert_eq!(indexes(&database), INDEXES);
}
