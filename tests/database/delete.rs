//! `delete`: deleted events leave all tables and the ledger, and nothing else does, whatever happens meanwhile.

use std::collections::BTreeSet;

use postgres::Client;
use serde_json::Value;

use crate::database::aegis;
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines, small_event};
use crate::support::oracle::{Layout, Nul, expect};
use crate::support::program::{Ended, Program, Workplace, assert_tables};

pub(crate) fn delete(work: &Workplace, database: &Database<'_>, layout: &str, args: &[&str]) -> Program {
    let program = work.program(&["delete", "--json", "--layout", layout]).args(args);
    program.env("DATABASE_URL", &database.url()).segment_bytes(64 << 10)
}

pub(crate) fn load(work: &Workplace, database: &Database<'_>, layout: &str, dump: &str) -> Program {
    work.load(database, &["--layout", layout, dump]).segment_bytes(64 << 10)
}

/// The JSON report of a deletion, after a check of its sum.
#[track_caller]
pub(crate) fn report(ended: &Ended) -> Value {
    let value: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let count = |name: &str| value[name].as_u64().expect("a count");
    assert_eq!(count("events"), count("deleted") + count("not_stored") + count("rejected"), "{value}");
    value
}

#[track_caller]
pub(crate) fn check(ended: &Ended, counts: &[(&str, u64)]) {
    let value = report(ended);
    for (name, count) in counts {
        assert_eq!(value[*name].as_u64(), Some(*count), "{name} in {value}");
    }
}

/// Asserts that the tables hold exactly the events of the dump.
#[track_caller]
pub(crate) fn assert_holds(database: &Database<'_>, layout: &str, dump: &[u8]) {
    if layout == "aegis" {
        aegis::assert_stored(database, &aegis::expected(dump).tables);
    } else {
        assert_tables(database, "americas", &expect(dump, Nul::Reject).tables);
    }
}

/// A client whose search path finds the ledger of each layout.
pub(crate) fn client(database: &Database<'_>) -> Client {
    let mut client = database.client();
    client.batch_execute("set search_path to public, aegis_kills").expect("a setting");
    client
}

pub(crate) fn count(database: &Database<'_>, from: &str) -> i64 {
    let sql = format!("select count(*) from {from}");
    client(database).query_one(&sql, &[]).expect("a count").get(0)
}

/// Three dumps: the second shares its first third with the first one, and its last third with the third one.
fn dumps(work: &Workplace) -> [Vec<u8>; 3] {
    let dump = generated(450, 71, 0.0);
    let all = lines(&dump);
    let dumps = [0..200, 150..300, 250..450].map(|range| join(&all[range]));
    for (name, dump) in ["a", "b", "c"].iter().zip(&dumps) {
        work.write(name, dump);
    }
    dumps
}

/// The lines of `dump` that are not in `without`.
fn minus(dump: &[u8], without: &[u8]) -> Vec<u8> {
    let without: BTreeSet<&[u8]> = lines(without).into_iter().collect();
    join(&lines(dump).into_iter().filter(|line| !without.contains(line)).collect::<Vec<_>>())
}

/// Small events, so that there are many batches. Each event has a minute of its own.
pub(crate) fn small_dump(events: i64) -> Vec<u8> {
    let event = |id: i64| {
        let mut event = small_event(id);
        event["TimeStamp"] = format!("2024-08-{:02}T20:{:02}:46.725Z", 1 + id % 28, id / 28 % 60).into();
        event.to_string()
    };
    join(&(1..=events).map(event).collect::<Vec<_>>())
}

#[test]
fn events_of_dumps_are_deleted_and_can_be_loaded_again() {
    for layout in Layout::ALL.map(Layout::name) {
        let database = Cluster::shared().database("dumps");
        let work = Workplace::new();
        let [a, b, c] = dumps(&work);
        let whole = [&a[..], &b, &c].concat();
        for dump in ["a", "b", "c"] {
            load(&work, &database, layout, dump).expect(0);
        }
        let segments = count(&database, "kill_load_segment");

        let dry = delete(&work, &database, layout, &["--dry-run", "b"]).expect(0);
        check(&dry, &[("events", 150), ("deleted", 150)]);
        assert_holds(&database, layout, &whole);
        assert_eq!(count(&database, "kill_load_segment"), segments);

        let ended = delete(&work, &database, layout, &["b"]).expect(0);
        check(&ended, &[("events", 150), ("deleted", 150), ("not_stored", 0)]);
        assert_eq!(report(&ended)["segments"], report(&dry)["segments"]);
        assert_holds(&database, layout, &minus(&whole, &b));
        let again = delete(&work, &database, layout, &["b"]).expect(0);
        check(&again, &[("deleted", 0), ("not_stored", 150), ("segments", 0)]);

        // The ledger also forgets the segments of other dumps that lost events.
        let back = load(&work, &database, layout, "a").expect(0).summary();
        assert_eq!(back.count("inserted"), 50, "{back:?}");
        assert!(back.count("already_loaded") > 0, "segments that share nothing are still loaded: {back:?}");
        load(&work, &database, layout, "b").expect(0).summary().check(&[("inserted", 100)]);
        assert_holds(&database, layout, &whole);
        load(&work, &database, layout, "c").expect(0).summary().check(&[("inserted", 0)]);

        // Values that are not events cannot be deleted, and are reported.
        let mixed = [&a[..], b"no event\n"].concat();
        let ended = delete(&work, &database, layout, &["-"]).stdin(mixed).expect(3);
        check(&ended, &[("events", 201), ("deleted", 200), ("rejected", 1)]);
    }
}

#[test]
fn events_before_a_time_are_deleted_and_can_be_loaded_again() {
    for layout in Layout::ALL.map(Layout::name) {
        let database = Cluster::shared().database("before");
        let work = Workplace::new();
        let dump = generated(400, 72, 0.0);
        work.write("dump", &dump);
        load(&work, &database, layout, "dump").expect(0);
        let mut client = database.client();
        let (table, time) = if layout == "aegis" {
            ("\"KillEvent\"", "\"TimeStamp\"")
        } else {
            ("kill_event", "occurred_at")
        };
        // The time of an event that is not deleted.
        let sql = format!(
            "select to_char({time}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from {table} order by {time} offset 250 limit 1"
        );
        client.batch_execute("set timezone to 'UTC'").expect("a setting");
        let middle: String = client.query_one(&sql, &[]).expect("a time").get(0);
        let dry = delete(&work, &database, layout, &["--before", &middle, "--dry-run"]).expect(0);
        check(&dry, &[("events", 250), ("deleted", 250)]);
        let ended = delete(&work, &database, layout, &["--before", &middle]).expect(0);
        check(&ended, &[("events", 250), ("deleted", 250)]);
        assert_eq!(report(&ended)["segments"], report(&dry)["segments"]);
        assert_eq!(count(&database, table), 150);
        assert_eq!(count(&database, &format!("{table} where {time} < '{middle}'")), 0);
        if layout == "archive" {
            for child in ["kill_player", "kill_loot"] {
                let orphans = format!("{child} where event_id not in (select event_id from kill_event)");
                assert_eq!(count(&database, &orphans), 0, "{child}");
            }
        }
        let again = delete(&work, &database, layout, &["--before", &middle]).expect(0);
        check(&again, &[("deleted", 0), ("segments", 0)]);
        // Segments without old events stay loaded. The others are read again.
        let back = load(&work, &database, layout, "dump").expect(0).summary();
        assert_eq!(back.count("inserted"), 250, "{back:?}");
        assert!(back.count("already_loaded") > 0, "{back:?}");
        assert_holds(&database, layout, &dump);
        // An age that no event has.
        check(&delete(&work, &database, layout, &["--before", "30y"]).expect(0), &[("deleted", 0)]);
        check(&delete(&work, &database, layout, &["--before", "2100-01-01"]).expect(0), &[("deleted", 400)]);
        assert_eq!(count(&database, "kill_load_segment"), 0);
        assert_eq!(count(&database, "kill_load_file"), 0);
    }
}

#[test]
fn an_event_whose_stored_time_became_older_is_loaded_again_after_its_deletion() {
    let work = Workplace::new();
    let dump = small_dump(50);
    work.write("dump", &dump);
    let mut older = small_event(1);
    older["TimeStamp"] = "2019-08-18T20:45:46.725Z".into();
    work.write("older", format!("{older}\n"));
    for layout in Layout::ALL.map(Layout::name) {
        let database = Cluster::shared().database("older");
        load(&work, &database, layout, "dump").expect(0);
        load(&work, &database, layout, "older").args(&["--on-conflict", "update"]).expect(0);
        let dry = delete(&work, &database, layout, &["--before", "2020-01-01", "--dry-run"]).expect(0);
        check(&dry, &[("deleted", 1), ("segments", 2)]);
        let ended = delete(&work, &database, layout, &["--before", "2020-01-01"]).expect(0);
        check(&ended, &[("deleted", 1), ("segments", 2)]);
        load(&work, &database, layout, "dump").expect(0).summary().check(&[("inserted", 1)]);
        assert_holds(&database, layout, &dump);
    }
}

/// Objects that users add, and the expected error texts if they prevent deletion.
const USER_OBJECTS: [(&str, Option<&[&str]>); 9] = [
    (
        "create table notes (server albion_server, event_id bigint, foreign key (server, event_id) references kill_event);
         insert into notes select server, event_id from kill_event limit 1",
        Some(&["the table notes", "ON DELETE CASCADE", "notes_server_event_id_fkey"]),
    ),
    (
        "create table notes (server albion_server, event_id bigint,
           foreign key (server, event_id) references kill_event deferrable initially deferred);
         insert into notes select server, event_id from kill_event limit 1",
        Some(&["the table notes", "ON DELETE CASCADE"]),
    ),
    (
        "create table notes (server albion_server, event_id bigint,
           foreign key (server, event_id) references kill_event on delete cascade);
         insert into notes select server, event_id from kill_event",
        None,
    ),
    (
        "create function keep() returns trigger language plpgsql as 'begin return null; end';
         create trigger keep before delete on kill_player for each row when (old.event_id = 7) execute function keep()",
        Some(&["kill_player keeps rows", "DISABLE TRIGGER USER"]),
    ),
    (
        "create function keep() returns trigger language plpgsql as 'begin return null; end';
         create trigger keep before delete on kill_load_segment for each row execute function keep()",
        Some(&["kill_load_segment keeps rows", "DISABLE TRIGGER USER"]),
    ),
    (
        "create function forbid() returns trigger language plpgsql as 'begin raise exception ''not that one''; end';
         create trigger forbid before delete on kill_event for each row when (old.event_id = 7) execute function forbid()",
        Some(&["not that one"]),
    ),
    // A SQLSTATE of the user's own, and one that PostgreSQL uses for missing privileges.
    (
        "create function forbid() returns trigger language plpgsql as
           'begin raise exception ''not that one'' using errcode = ''KK001''; end';
         create trigger forbid before delete on kill_player for each row when (old.event_id = 7) execute function forbid()",
        Some(&["a trigger, rule or constraint refuses the deletion: not that one"]),
    ),
    (
        "create function forbid() returns trigger language plpgsql as
           'begin raise exception ''not that one'' using errcode = ''42501''; end';
         create trigger forbid before delete on kill_event for each row when (old.event_id = 7) execute function forbid()",
        Some(&["a trigger, rule or constraint refuses the deletion: not that one"]),
    ),
    (
        "create table gone (event_id bigint);
         create function note() returns trigger language plpgsql as
           'begin insert into gone values (old.event_id); return old; end';
         create trigger note after delete on kill_event for each row execute function note()",
        None,
    ),
];

#[test]
fn a_deletion_respects_objects_of_users() {
    let work = Workplace::new();
    let dump = small_dump(30);
    work.write("dump", &dump);
    for (sql, texts) in USER_OBJECTS {
        let database = Cluster::shared().database("own");
        load(&work, &database, "archive", "dump").expect(0);
        database.client().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        for args in [["--before", "2025-01-01"], ["--nul", "reject"]] {
            let program = delete(&work, &database, "archive", &args);
            let program = if args[0] == "--nul" { program.args(&["dump"]) } else { program };
            let Some(texts) = texts else {
                check(&program.expect(0), &[("deleted", 30)]);
                assert_eq!(count(&database, "kill_player"), 0, "{sql}");
                load(&work, &database, "archive", "dump").expect(0);
                continue;
            };
            let ended = program.expect(7);
            let value = report(&ended);
            assert_eq!((&value["status"], &value["deleted"]), (&"failed".into(), &0.into()), "{value}");
            for text in texts {
                assert!(value["error"].as_str().expect("an error").contains(text), "{text:?} in {value}");
            }
            assert_holds(&database, "archive", &dump);
            assert_eq!(count(&database, "kill_load_segment"), 1, "{sql}");
        }
    }
}

#[test]
fn a_missing_privilege_for_delete_is_named() {
    let work = Workplace::new();
    let database = Cluster::shared().database("privilege");
    work.write("dump", small_dump(30));
    load(&work, &database, "archive", "dump").expect(0);
    let mut client = database.client();
    let role = format!("deleter_{}", uuid::Uuid::new_v4().simple());
    client
        .batch_execute(&format!(
            "create role {role} login; grant usage on schema public to {role};
             grant select, insert, update on all tables in schema public to {role}"
        ))
        .expect("a role");
    let url = database.tcp_url().replace("aegis@", &format!("{role}@"));
    let program = || delete(&work, &database, "archive", &["dump"]).env("DATABASE_URL", &url);
    let ended = program().expect(7).says(&["lacks SELECT or DELETE", "kill_load_segment", "kill_load_file"]);
    assert_eq!(count(&database, "kill_event"), 30);
    // The statement in the hint works unchanged.
    let (_, grant) = ended.stderr.split_once("as the owner: ").expect("a statement");
    client.batch_execute(grant.lines().next().expect("a line")).expect("the owner may");
    check(&program().expect(0), &[("deleted", 30)]);
    client.batch_execute(&format!("drop owned by {role}; drop role {role}")).expect("it goes");
}

#[test]
fn a_ledger_of_an_earlier_version_supports_delete() {
    let work = Workplace::new();
    let [a, b, _] = dumps(&work);
    for args in [["--before", "2100-01-01"], ["--nul", "reject"]] {
        let database = Cluster::shared().database("earlier");
        load(&work, &database, "archive", "a").expect(0);
        load(&work, &database, "archive", "b").expect(0);
        database
            .client()
            .batch_execute(
                "alter table kill_load_segment drop first_event_id, drop last_event_id, drop oldest_event;
                 drop table kill_load_file",
            )
            .expect("an earlier ledger");
        let program = delete(&work, &database, "archive", &args);
        if args[0] == "--nul" {
            check(&program.args(&["a"]).expect(0), &[("deleted", 200)]);
            assert_holds(&database, "archive", &minus(&b, &a));
        } else {
            check(&program.expect(0), &[("deleted", 300)]);
        }
        assert_eq!(count(&database, "kill_load_segment"), 0, "nothing is known of what they hold");
        load(&work, &database, "archive", "b").expect(0);
        assert_holds(&database, "archive", &b);
    }
}

#[test]
fn wrong_commands_delete_nothing() {
    let work = Workplace::new();
    let database = Cluster::shared().database("wrong");
    delete(&work, &database, "archive", &["--before", "1d"])
        .expect(7)
        .says(&["has no table kill_event", "--schema"]);
    // The command in the error is for the same schema.
    let url = database.url();
    work.program(&["schema", "apply", "--schema", "the game"]).env("DATABASE_URL", &url).expect(0);
    let alter = "alter table \"the game\".kill_event alter fame type text";
    database.client().batch_execute(alter).expect("another type");
    delete(&work, &database, "archive", &["--before", "1d", "--schema", "the game"])
        .expect(7)
        .says(&["incompatible", "schema print --schema 'the game'"]);
    work.write("dump", small_dump(30));
    for layout in Layout::ALL.map(Layout::name) {
        load(&work, &database, layout, "dump").expect(0);
    }
    for args in
        [&[][..], &["dump", "--before", "1d"], &["--before", "yesterday"], &["--before", "90"], &["nowhere"]]
    {
        let ended = delete(&work, &database, "archive", args).run();
        assert!([1, 2].contains(&ended.code), "{ended:?}");
    }
    let unnamed = delete(&work, &database, "archive", &["--before", "1d"]).without("ALBION_SERVER");
    unnamed.expect(2).says(&["--server"]);
    // Rows of this layout do not record their server.
    let other = delete(&work, &database, "aegis", &["--before", "1d", "--server", "asia"]);
    other.expect(7).says(&["holds the events of americas", "--server americas"]);
    check(
        &delete(&work, &database, "archive", &["--before", "1d", "--server", "asia"]).expect(0),
        &[("deleted", 0)],
    );
    assert_eq!((count(&database, "kill_event"), count(&database, "\"KillEvent\"")), (30, 30));
    // Undoes the load of the wrong server.
    work.load(&database, &["--server", "asia", "dump"]).expect(0);
    check(&delete(&work, &database, "archive", &["--server", "asia", "dump"]).expect(0), &[("deleted", 30)]);
    assert_eq!(count(&database, "kill_event where server = 'asia'"), 0);
    load(&work, &database, "archive", "dump").expect(0).summary().check(&[("inserted", 0)]);
    assert_eq!(count(&database, "kill_event"), 30);
}
