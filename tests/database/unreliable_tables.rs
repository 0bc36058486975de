//! Unreliable or incomplete tables: the load adds missing parts if the role can, and otherwise ends with code 7.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, small_event, version};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};

fn applied<'a>(work: &Workplace) -> Database<'a> {
    let database = Cluster::shared().database("distrust");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    database
}

fn text(database: &Database<'_>, sql: &str) -> String {
    database.client().query_one(sql, &[]).expect("a row").get(0)
}

/// A part that tables of an earlier version lack, and the statement that the owner must run.
const MISSING_PARTS: [(&str, &str); 5] = [
    (
        "alter type albion_server rename to old; create type albion_server as enum ('americas', 'europe');
         alter table kill_event alter server type albion_server using server::text::albion_server;
         alter table kill_player alter server type albion_server using server::text::albion_server;
         alter table kill_loot alter server type albion_server using server::text::albion_server; drop type old",
        "ALTER TYPE \"public\".\"albion_server\" ADD VALUE IF NOT EXISTS 'asia'",
    ),
    (
        "drop index kill_player_guild_kills, kill_player_guild_deaths, kill_player_alliance_kills, kill_player_alliance_deaths;
         alter type kill_role rename to old;
         create type kill_role as enum ('killer', 'participant', 'group');
         alter table kill_player alter role type kill_role using role::text::kill_role; drop type old",
        "ALTER TYPE \"public\".\"kill_role\" ADD VALUE IF NOT EXISTS 'victim'",
    ),
    (
        "alter table kill_player drop guild_id",
        "ALTER TABLE \"public\".kill_player ADD COLUMN IF NOT EXISTS \"guild_id\" text COLLATE \"C\"",
    ),
    (
        "alter table kill_event drop loaded_at",
        "ALTER TABLE \"public\".kill_event ADD COLUMN IF NOT EXISTS \"loaded_at\" timestamptz NOT NULL DEFAULT now()",
    ),
    (
        "alter table kill_load_run drop retries",
        "ALTER TABLE \"public\".kill_load_run ADD COLUMN IF NOT EXISTS \"retries\" bigint NOT NULL DEFAULT 0",
    ),
];

#[test]
fn the_owner_adds_missing_parts() {
    let work = Workplace::new();
    let dump = join(&(1..=20).map(|id| version(id, id)).collect::<Vec<_>>());
    for (sql, statement) in MISSING_PARTS {
        let database = applied(&work);
        let mut client = database.client();
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let role = format!("distrust_{}", uuid::Uuid::new_v4().simple());
        let grants = format!(
            "create role {role} login; grant usage on schema public to {role};
             grant select, insert, update, delete on all tables in schema public to {role}"
        );
        client.batch_execute(&grants).expect("a role");
        let url = database.tcp_url().replace("aegis@", &format!("{role}@"));
        let failed =
            work.program(&["load", "--json"]).env("DATABASE_URL", &url).stdin(dump.clone()).expect(7);
        assert!(failed.summary().error().contains(statement), "{sql}: {failed:?}");
        failed.summary().check(&[("rejected", 0)]);

        for _ in 0..2 {
            work.load(&database, &[]).stdin(dump.clone()).expect(0);
        }
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
        let drop = format!("drop owned by {role}; drop role {role}");
        client.batch_execute(&drop).expect("to drop the role");
    }
}

#[test]
fn verify_and_delete_name_the_missing_label_of_their_server() {
    let work = Workplace::new();
    work.write("dump", join(&(1..=20).map(|id| version(id, id)).collect::<Vec<_>>()));
    let database = applied(&work);
    let (sql, statement) = MISSING_PARTS[0];
    database.client().batch_execute(sql).expect("a type without the label");
    let program = |args: &[&str]| work.program(args).env("DATABASE_URL", &database.url());
    for args in [
        &["verify", "dump"][..],
        &["verify", "--ids-only", "dump"],
        &["delete", "dump"],
        &["delete", "--dry-run", "dump"],
        &["delete", "--before", "1d"],
    ] {
        let ended = program(args).args(&["--server", "asia"]).expect(7);
        ended.says(&["the label 'asia' of albion_server is missing in", statement, "schema apply"]);
    }
    // Other servers do not need it.
    program(&["verify", "dump"]).expect(6);
    program(&["delete", "dump"]).expect(0);
    database.client().batch_execute(statement).expect("the owner may");
    program(&["verify", "dump", "--server", "asia"]).expect(6);
    program(&["delete", "dump", "--server", "asia"]).expect(0);
}

/// A defect, and texts of the error.
const UNRELIABLE: [(&str, &[&str]); 14] = [
    (
        "alter table kill_event set unlogged",
        &["kill_event is unlogged", "hint: run in psql as the owner: ALTER TABLE", "--on-conflict update"],
    ),
    ("alter table kill_loot set unlogged", &["kill_loot is unlogged"]),
    (
        "alter table kill_loot rename to kill_loot_first;
         create table kill_loot (like kill_loot_first including all) partition by range (event_id);
         alter table kill_loot attach partition kill_loot_first default;
         alter table kill_loot_first set unlogged",
        &["kill_loot_first is unlogged", "ALTER TABLE \"public\".\"kill_loot_first\" SET LOGGED"],
    ),
    (
        "alter table kill_event drop version, add version int generated always as (4) stored",
        &["kill_event.version is a generated column"],
    ),
    (
        "alter table kill_load_run drop retries, add retries bigint generated always as (0) stored",
        &["kill_load_run.retries is a generated column"],
    ),
    (
        "alter table kill_load_segment alter lines type text",
        &["kill_load_segment.lines is of type text, int8"],
    ),
    (
        "alter table kill_load_run alter sources drop not null, alter sources type text",
        &["kill_load_run.sources"],
    ),
    (
        "alter table kill_load_segment rename to segments; create view kill_load_segment as select * from segments",
        &["kill_load_segment is not a table"],
    ),
    (
        "alter table kill_load_file alter segments type text",
        &["kill_load_file.segments is of type text, _bytea"],
    ),
    ("alter table kill_load_segment add mine int not null", &["kill_load_segment has a column mine"]),
    ("alter table kill_load_segment drop run", &["kill_load_segment has no column run"]),
    (
        "alter table kill_load_segment drop constraint kill_load_segment_pkey",
        &["kill_load_segment has no unique key (hash, server, layout)"],
    ),
    (
        "alter table kill_load_run drop constraint kill_load_run_pkey",
        &["kill_load_run has no unique key (id)"],
    ),
    (
        "alter table kill_load_file drop constraint kill_load_file_pkey",
        &["kill_load_file has no unique key (name, server, layout, reading)"],
    ),
];

#[test]
fn unreliable_tables_are_rejected() {
    let work = Workplace::new();
    for (sql, words) in UNRELIABLE {
        let database = applied(&work);
        database.client().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let load = work.program(&["load"]).env("DATABASE_URL", &database.url());
        load.stdin(small_event(1).to_string()).expect(7).says(words);
        let health = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(6);
        assert!(health.stdout.starts_with("Unhealthy: "), "{health:?}");
        assert_eq!(text(&database, "select count(*)::text from kill_event"), "0");
    }
    // A crash empties all unlogged tables together.
    let database = applied(&work);
    let all = "alter table kill_event set unlogged; alter table kill_player set unlogged;
         alter table kill_loot set unlogged; alter table kill_load_segment set unlogged";
    database.client().batch_execute(all).expect("unlogged");
    work.load(&database, &[]).stdin(small_event(1).to_string()).expect(0);
}

#[test]
fn a_role_without_access_gets_the_cause() {
    let work = Workplace::new();
    for (sql, words) in [
        ("alter table kill_event enable row level security", &["row-level security", "BYPASSRLS"][..]),
        (
            "alter role ROLE set default_transaction_read_only = on",
            &["default_transaction_read_only", "RESET"],
        ),
        ("revoke insert on kill_player from ROLE", &["permission denied", "42501"]),
    ] {
        let database = applied(&work);
        let mut client = database.client();
        let role = format!("distrust_{}", uuid::Uuid::new_v4().simple());
        let grants = format!(
            "create role {role} login; grant usage on schema public to {role};
             grant select, insert, update, delete on all tables in schema public to {role}; {}",
            sql.replace("ROLE", &role)
        );
        client.batch_execute(&grants).expect("a role");
        let url = database.tcp_url().replace("aegis@", &format!("{role}@"));
        let load = work.program(&["load"]).env("DATABASE_URL", &url);
        let ended = load.stdin(small_event(1).to_string()).expect(7);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        client.batch_execute(&format!("drop owned by {role}; drop role {role}")).expect("to drop the role");
    }
}

/// An empty table in its place would look as if all events were complete.
#[test]
fn a_dropped_table_beside_stored_events_is_not_replaced_silently() {
    let work = Workplace::new();
    let dump = generated(60, 92, 0.0);
    work.write("dump", &dump);
    for table in ["kill_loot", "kill_player"] {
        let database = Cluster::shared().database("dropped");
        work.load(&database, &["dump"]).expect(0);
        let mut client = database.client();
        client.batch_execute(&format!("drop table {table}")).expect("a drop");
        let cause = format!("the table {table} is missing in schema \"public\", but kill_event has rows");
        let health = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(6).stdout;
        assert!(health.contains(&cause) && health.contains("--on-conflict update"), "{health}");
        for mode in [&["--force"][..], &[]] {
            let failed = work.load(&database, mode).arg("dump").expect(7).summary();
            assert!(failed.error().contains(&cause), "{}", failed.error());
        }
        let failed = work.load(&database, &["dump"]).expect(7).summary();
        assert_eq!(text(&database, &format!("select (to_regclass('{table}') is null)::text")), "true");

        let (_, command) = failed.error().split_once("of these events with: ").expect("a command");
        let args: Vec<&str> = command.split(' ').skip(1).collect();
        work.program(&args).env("DATABASE_URL", &database.url()).expect(0);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
        work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(0);
    }
}

#[test]
fn dropped_tables_beside_their_ledger_are_not_replaced_silently() {
    let work = Workplace::new();
    let dump = generated(60, 92, 0.0);
    work.write("dump", &dump);
    let expected = expect(&dump, Nul::Reject).tables;
    let all = "drop table kill_event, kill_player, kill_loot";
    let database = Cluster::shared().database("dropped");
    work.load(&database, &["dump"]).expect(0);
    database.client().batch_execute(all).expect("a drop");
    let cause = "the ledger records events as loaded into them";
    let health = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(6).stdout;
    assert!(health.contains(cause), "{health}");
    let failed = work.load(&database, &["dump"]).expect(7).summary();
    assert!(failed.error().contains(cause), "{}", failed.error());
    let (_, statements) = failed.error().split_once("to load all dumps again, run: ").expect("statements");
    let (statements, _) = statements.split_once("; to skip").expect("an alternative");
    database.client().batch_execute(statements).expect("the owner may");
    work.load(&database, &["dump"]).expect(0).summary().check(&[("inserted", 60)]);
    assert_tables(&database, "americas", &expected);
    // --force ignores the ledger.
    database.client().batch_execute(all).expect("a drop");
    work.load(&database, &["--force", "dump"]).expect(0).summary().check(&[("inserted", 60)]);
    assert_tables(&database, "americas", &expected);
}

#[test]
fn types_without_a_label_get_it_before_the_tables_are_created() {
    let work = Workplace::new();
    let dump = join(&(1..=20).map(|id| version(id, id)).collect::<Vec<_>>());
    for (kind, labels, addition) in [
        (
            "albion_server",
            "'americas', 'europe'",
            "ALTER TYPE \"public\".\"albion_server\" ADD VALUE IF NOT EXISTS 'asia'",
        ),
        (
            "kill_role",
            "'participant', 'group'",
            "ALTER TYPE \"public\".\"kill_role\" ADD VALUE IF NOT EXISTS 'killer'",
        ),
    ] {
        for by_load in [true, false] {
            let database = Cluster::shared().database("labels");
            let mut client = database.client();
            let create = format!("create type {kind} as enum ({labels})");
            client.batch_execute(&create).expect("a type");
            let role = format!("labels_{}", uuid::Uuid::new_v4().simple());
            let grants = format!("create role {role} login; grant usage, create on schema public to {role}");
            client.batch_execute(&grants).expect("a role");
            let url = database.tcp_url().replace("aegis@", &format!("{role}@"));
            let failed = work.program(&["load", "--json"]).env("DATABASE_URL", &url).stdin(dump.clone());
            let failed = failed.expect(7).summary();
            assert!(failed.error().contains(addition), "{}", failed.error());
            if !by_load {
                let apply = work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url());
                apply.expect(0);
            }
            work.load(&database, &[]).stdin(dump.clone()).expect(0);
            assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
            client
                .batch_execute(&format!("drop owned by {role}; drop role {role}"))
                .expect("to drop the role");
        }
    }
}

/// `schema apply` does what it is asked for, and names the command that restores the rows. So does a load that adds a column.
#[test]
fn recreated_tables_and_columns_beside_stored_events_are_reported() {
    let work = Workplace::new();
    let dump = generated(60, 92, 0.0);
    work.write("dump", &dump);
    let apply = ["schema", "apply"];
    for (drop, cause, args) in [
        ("drop table kill_loot", "the table kill_loot was missing in schema", &apply[..]),
        (
            "drop table kill_loot, kill_player",
            "the tables kill_player, kill_loot were missing in schema",
            &apply,
        ),
        ("alter table kill_loot drop soul", "the column kill_loot.soul was missing in schema", &apply),
        (
            "alter table kill_loot drop soul, drop quality",
            "the columns kill_loot.quality, kill_loot.soul were missing in schema",
            &["load", "dump"],
        ),
    ] {
        let database = Cluster::shared().database("recreated");
        work.load(&database, &["dump"]).expect(0);
        database.client().batch_execute(drop).expect("a drop");
        let program = || work.program(args).env("DATABASE_URL", &database.url());
        let ended = program().expect(0).says(&[cause, "--on-conflict update"]);
        let (_, command) = ended.stderr.split_once("of these events with: ").expect("a command");
        let command = command.lines().next().expect("a line");
        let command = command.replace("--server NAME", "--server americas").replace("FILE…", "dump");
        let args: Vec<&str> = command.split(' ').skip(1).collect();
        work.program(&args).env("DATABASE_URL", &database.url()).expect(0);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
        assert!(!program().expect(0).stderr.contains("missing"), "{drop}: once");
    }
    // Empty tables lack nothing.
    let database = Cluster::shared().database("recreated");
    let program = || work.program(&apply).env("DATABASE_URL", &database.url());
    program().expect(0);
    database.client().batch_execute("drop table kill_loot; alter table kill_event drop kind").expect("drops");
    assert!(!program().expect(0).stderr.contains("missing"));
}

#[test]
fn a_type_of_another_kind_is_named_before_tables_are_created() {
    let work = Workplace::new();
    for (create, name) in [
        ("create type albion_server as (a int)", "albion_server"),
        ("create table kill_role (a int)", "kill_role"),
    ] {
        let database = Cluster::shared().database("other_type");
        database.client().batch_execute(create).expect("a type");
        let cause = format!("the type {name} exists, but is no enum");
        let health = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(6).stdout;
        assert!(health.contains(&cause), "{health}");
        for args in [&["load"][..], &["schema", "apply"]] {
            let program = work.program(args).env("DATABASE_URL", &database.url());
            program.stdin(small_event(1).to_string()).expect(7).says(&[&cause, "--schema"]);
        }
        assert_eq!(text(&database, "select (to_regclass('kill_event') is null)::text"), "true");
        // Other tables do not need it.
        let aegis = work.load(&database, &["--layout", "aegis"]).stdin(small_event(1).to_string());
        aegis.expect(0).summary().check(&[("inserted", 1)]);
    }
}

/// Stored times were rounded. The statement in the error and an update restore them.
#[test]
fn a_column_of_less_precision_is_named_with_its_statement() {
    let work = Workplace::new();
    let dump = generated(20, 93, 0.0);
    work.write("dump", &dump);
    for (layout, table, change) in [
        ("archive", "kill_event.occurred_at", "alter table kill_event alter occurred_at type timestamptz(0)"),
        ("aegis", "KillEvent.TimeStamp", "alter table \"KillEvent\" alter \"TimeStamp\" type timestamp(0)"),
    ] {
        let database = Cluster::shared().database("precision");
        let run = |args: &[&str]| {
            work.program(args).args(&["--layout", layout]).env("DATABASE_URL", &database.url())
        };
        run(&["load", "dump"]).expect(0);
        database.client().batch_execute(change).expect("another type");
        let cause = format!("{table} has the precision 0");
        assert!(run(&["health"]).expect(6).stdout.contains(&cause));
        let failed = run(&["load", "--force", "dump"]).expect(7).says(&[&cause]);
        let (_, statement) = failed.stderr.split_once("is needed (").expect("a statement");
        let end = statement.find(")\n").expect("its end");
        database.client().batch_execute(&statement[..end]).expect("the owner may");
        run(&["verify", "dump"]).expect(6);
        run(&["load", "--on-conflict", "update", "dump"]).expect(0);
        run(&["verify", "dump"]).expect(0);
    }
}
