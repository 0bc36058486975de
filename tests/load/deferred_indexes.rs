//! Secondary indexes of a first load: built once after the data, by the last load to end, whatever happens before.

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

/// Longer than a slow machine needs to write a few events, or to detect slow input.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) fn lines(ids: std::ops::Range<i64>) -> Vec<u8> {
    ids.flat_map(|id| format!("{}\n", small_event(id)).into_bytes()).collect()
}

/// The valid secondary indexes.
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

/// A load that has stored these events and waits for more.
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
fn indexes_are_built_after_the_data_and_reported_until_then() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("deferred"));
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
fn a_load_into_empty_tables_drops_indexes_until_its_end() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("empty"));
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    assert_eq!(indexes(&database), INDEXES);
    let load = begin(&work, &database, 1..21, 20);
    assert_eq!(indexes(&database), [""; 0]);
    load.finish_after_input().expect(0);
    assert_eq!(indexes(&database), INDEXES);
    // Filled tables keep their indexes.
    let load = begin(&work, &database, 21..31, 30);
    assert_eq!(indexes(&database), INDEXES);
    load.finish_after_input().expect(0);
}

#[test]
fn an_index_changed_by_its_owner_stays() {
    for changed in [
        "drop index kill_event_battle; create index kill_event_battle on kill_event (battle_id, fame)",
        // The owner may have changed the index of each partition.
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
fn the_next_load_builds_indexes_of_a_stopped_or_killed_one() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("left"));
        let load = begin(&work, &database, 1..21, 20);
        load.signal(signal);
        load.finish().expect(128 + signal as i32);
        assert_eq!(indexes(&database), [""; 0], "{signal}");
        // The dump has no new event, but the load finishes the deferred work.
        work.load(&database, &[]).stdin(lines(1..21)).expect(0).summary().check(&[("inserted", 0)]);
        assert_eq!(indexes(&database), INDEXES, "{signal}");
    }
}

#[test]
fn the_last_of_several_loads_builds_the_indexes() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("last"));
    let first = begin(&work, &database, 1..21, 20);
    let second = begin(&work, &database, 21..41, 40);
    first.finish_after_input().expect(0);
    assert_eq!(indexes(&database), [""; 0]);
    second.finish_after_input().expect(0);
    assert_eq!(indexes(&database), INDEXES);
}

/// A pipe with live events never ends.
#[test]
fn slow_input_still_builds_the_indexes() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("slow"));
    let mut load = begin(&work, &database, 1..21, 20);
    eventually(SOON, "the indexes are built while it runs", || indexes(&database) == INDEXES);
    load.feed(&lines(21..31));
    wait_for_events(&database, 30);
    load.finish_after_input().expect(0);
}

#[test]
fn a_role_that_cannot_build_indexes_still_loads() {
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
fn an_entry_too_long_for_a_deferred_index_is_rejected() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("long_guild"));
    let mut long = small_event(1);
    long["Killer"]["GuildId"] = "g".repeat(2601).into();
    let mut longest = small_event(2);
    let mut random = fastrand::Rng::with_seed(1);
    // Random, because repetitive text is compressed and takes less space.
    longest["Killer"]["GuildId"] = (0..2600).map(|_| random.alphanumeric()).collect::<String>().into();
    let ended = work.load(&database, &[]).stdin(format!("{long}\n{longest}\n")).expect(3);
    ended.summary().check(&[("inserted", 1), ("rejected", 1)]);
    let rejects = ended.rejects();
    assert_eq!((rejects[0].line(), rejects[0].text("field")), (1, Some("Killer.GuildId")));
    assert_eq!(indexes(&database), INDEXES);
}
