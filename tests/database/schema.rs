//! `schema`, and existing tables at a load: fitting tables are used, others are left unchanged.

use std::process::Command;

use postgres::Client;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, version};
use crate::support::log_case;
use crate::support::oracle::{Nul, assert_same, expect, read_tables};
use crate::support::process::Supervised as _;
use crate::support::program::{Workplace, assert_tables};
use crate::support::samples;

/// All relations, columns, keys and types outside the system's schemas.
fn catalog(client: &mut Client) -> Vec<String> {
    let sql =
        "select concat_ws(' ', c.oid::regclass, c.relkind, a.attname, a.atttypid::regtype, a.attnotnull)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
               left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
               where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
               union all select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_'
               union all select 'type ' || oid::regtype from pg_type where typtype = 'e'
               union all select conname || pg_get_constraintdef(oid) from pg_constraint
               order by 1";
    client.query(sql, &[]).expect("rows").iter().map(|row| row.get(0)).collect()
}

/// A role that can only connect. It must be dropped before its database.
struct Role<'a> {
    database: &'a Database<'a>,
    name: String,
}

impl<'a> Role<'a> {
    fn new(database: &'a Database<'a>) -> Self {
        let name = format!("role_{}", uuid::Uuid::new_v4().simple());
        database.client().batch_execute(&format!("create role {name} login")).expect("a role");
        Self { database, name }
    }

    fn url(&self) -> String {
        self.database.tcp_url().replace("aegis@", &format!("{}@", self.name))
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let sql = format!("drop owned by {0}; drop role {0}", self.name);
        // Errors are ignored, because a failed test has its own message.
        let _ = self.database.client().batch_execute(&sql);
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[test]
fn printed_ddl_suffices_for_a_load_in_a_schema_of_any_name() {
    let work = Workplace::new();
    let dump = samples::sample_events();
    let expected = expect(&dump, Nul::Reject).tables;
    let loaded = expected.kill_event.len() as u64;
    for schema in [
        "public",
        "UPPER",
        "with space",
        "we\"ird",
        "it's",
        "select",
        "a$$b$_$c",
        "back\\slash",
        "x.y",
        "100%",
        "Größe 日本",
        ";--",
        "$1",
    ] {
        let database = Cluster::shared().database("printed");
        let printed = work.program(&["schema", "print", "--schema", schema]).expect(0).stdout;
        let mut client = database.client();
        client.batch_execute(&printed).unwrap_or_else(|error| panic!("{schema}: {error:?}\n{printed}"));
        let role = Role::new(&database);
        let (schema_sql, role_sql) = (quoted(schema), &role.name);
        client
            .batch_execute(&format!(
                "grant usage on schema {schema_sql} to {role_sql};
                 grant select, insert, update, delete on all tables in schema {schema_sql} to {role_sql}"
            ))
            .expect("grants");
        let before = catalog(&mut client);
        // The role cannot create anything, so the load does not attempt it.
        let load = |args: &[&str]| {
            let program = work.program(&["load", "--json", "--schema", schema]).args(args);
            program.env("DATABASE_URL", &role.url()).stdin(dump.clone()).expect(0).summary()
        };
        assert_eq!(load(&[]).count("inserted"), loaded);
        assert_eq!(load(&["--force"]).count("inserted"), 0);
        assert_same(&expected, &read_tables(&mut client, schema, "americas"));
        work.program(&["schema", "apply", "--schema", schema]).env("DATABASE_URL", &database.url()).expect(0);
        client.batch_execute(&printed).expect("it can be run again");
        assert_eq!(catalog(&mut client), before, "{schema}");
        drop(role);

        // `load` creates the same objects.
        let by_load = Cluster::shared().database("made");
        work.load(&by_load, &["--schema", schema]).stdin(dump.clone()).expect(0);
        assert_eq!(catalog(&mut by_load.client()), before, "{schema}");
        assert_same(&expected, &read_tables(&mut by_load.client(), schema, "americas"));
    }
}

#[test]
fn the_schema_of_the_url_is_used() {
    let work = Workplace::new();
    let database = Cluster::shared().database("url");
    let url =
        format!("{}&schema=from%20url&connection_limit=3&pool_timeout=10&pgbouncer=true", database.url());
    let dump = samples::sample_events();
    let expected = expect(&dump, Nul::Reject).tables;
    let with_url = |args: &[&str]| work.program(args).env("DATABASE_URL", &url);
    let run = with_url(&["load", "--json"]).stdin(dump.clone()).expect(0);
    let run = run.says(&["connection_limit", "pool_timeout", "pgbouncer"]);
    assert_eq!(run.summary().count("inserted"), expected.kill_event.len() as u64);
    assert_same(&expected, &read_tables(&mut database.client(), "from url", "americas"));
    with_url(&["verify", "--json"]).stdin(dump.clone()).expect(0);
    assert!(with_url(&["schema", "print"]).expect(0).stdout.contains("\"from url\".kill_event"));

    // The more specific source wins.
    with_url(&["load"]).env("DATABASE_SCHEMA", "by variable").stdin(dump.clone()).expect(0);
    with_url(&["load", "--schema", "by option"]).env("DATABASE_SCHEMA", "x").stdin(dump.clone()).expect(0);
    for schema in ["by variable", "by option"] {
        assert_same(&expected, &read_tables(&mut database.client(), schema, "americas"));
    }
    let sql = "select to_regclass('public.kill_event') is null and to_regnamespace('x') is null";
    let untouched: bool = database.client().query_one(sql, &[]).expect("an answer").get(0);
    assert!(untouched, "no other schema is used");
}

#[test]
fn a_role_without_privileges_gets_the_statements_to_run() {
    let work = Workplace::new();
    let database = Cluster::shared().database("privileges");
    let role = Role::new(&database);
    let mut client = database.client();
    client.batch_execute("revoke create on schema public from public").expect("a revoke");
    let before = catalog(&mut client);
    for args in [&["load"][..], &["load", "--schema", "new"], &["schema", "apply"]] {
        let program = work.program(args).env("DATABASE_URL", &role.url()).stdin(samples::sample_events());
        program.expect(7).says(&["permission denied", "schema apply"]);
    }
    assert_eq!(catalog(&mut client), before);

    // A missing privilege on the tables rejects no event.
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let program = work.program(&["load"]).env("DATABASE_URL", &role.url());
    program.stdin(samples::sample_events()).expect(7).says(&["permission denied"]);
}

#[test]
fn the_command_for_the_owner_works_when_pasted() {
    let work = Workplace::new();
    let database = Cluster::shared().database("pasted");
    let role = Role::new(&database);
    database.client().batch_execute("revoke create on schema public from public").expect("a revoke");
    for schema in ["public", "it's new"] {
        log_case(schema);
        let args = ["load", "--database-url", &role.url(), "--schema", schema];
        let failed = work.program(&args).stdin(samples::sample_events()).expect(7);
        let (_, command) = failed.stderr.split_once("in a shell as the owner: ").expect("a command");
        assert!(!command.contains(&role.name), "the login of the role that lacks the privilege: {command}");
        let mut shell = Command::new("bash");
        shell
            .args(["-c", command])
            .current_dir(work.path())
            .env_remove("DATABASE_URL")
            .env("PGUSER", "aegis");
        let output = shell.output_in_time().expect("a shell");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let table =
            format!("select to_regclass('{}.kill_event') is not null", quoted(schema).replace('\'', "''"));
        let exists: bool = database.client().query_one(&table, &[]).expect("an answer").get(0);
        assert!(exists, "{schema}");
    }
}

/// Changes of the tables, and texts of the error.
const MISFITS: [(&str, &[&str]); 12] = [
    ("alter table kill_event alter fame type integer", &["kill_event.fame", "int4", "int8"]),
    ("alter table kill_event alter occurred_at type timestamp", &["kill_event.occurred_at", "timestamptz"]),
    ("alter table kill_player drop in_group", &["kill_player", "in_group"]),
    ("alter table kill_loot add owner text not null", &["kill_loot", "owner", "NOT NULL"]),
    ("alter table kill_player alter name set not null", &["kill_player.name", "NOT NULL"]),
    ("alter table kill_event drop constraint kill_event_pkey", &["kill_event", "(server, event_id)"]),
    (
        "alter table kill_event drop constraint kill_event_pkey;
         create unique index on kill_event (event_id, server)",
        &["kill_event", "(server, event_id), in this order"],
    ),
    (
        "alter table kill_player drop constraint kill_player_pkey;
         alter table kill_player add primary key (server, event_id, player_id) deferrable",
        &["kill_player", "(server, event_id, player_id)"],
    ),
    (
        "alter table kill_loot drop constraint kill_loot_pkey;
         create unique index on kill_loot (server, event_id, slot) where slot > 0",
        &["kill_loot", "(server, event_id, slot)"],
    ),
    (
        "alter table kill_loot rename to all_loot; create view kill_loot as select * from all_loot",
        &["kill_loot is not a table"],
    ),
    (
        "drop table kill_loot, kill_player, kill_event; create table kill_event (id int)",
        &["kill_event", "event_id"],
    ),
    (
        "drop table kill_loot, kill_event; create view kill_event as select 1 as event_id",
        &["kill_event is not a table"],
    ),
];

#[test]
fn incompatible_tables_are_rejected_unchanged() {
    let work = Workplace::new();
    for (sql, words) in MISFITS {
        let database = Cluster::shared().database("misfit");
        let url = database.url();
        work.program(&["schema", "apply"]).env("DATABASE_URL", &url).expect(0);
        let mut client = database.client();
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let before = catalog(&mut client);
        for args in [&["load"][..], &["schema", "apply"]] {
            let program = work.program(args).env("DATABASE_URL", &url).stdin(samples::sample_events());
            program.expect(7).says(words).says(&["public", "schema print"]);
        }
        assert_eq!(catalog(&mut client), before, "{sql}");
        let runs = client.query("select from kill_load_run", &[]).expect("rows");
        assert!(runs.is_empty(), "{sql}");
        // In a separate schema the load succeeds.
        work.load(&database, &["--schema", "own"]).stdin(samples::sample_events()).expect(0);
    }
}

#[test]
fn compatible_tables_of_other_types_are_used() {
    let work = Workplace::new();
    let dump = join(&(1..60).map(|id| version(id, id)).collect::<Vec<_>>());
    let more = join(&(40..80).map(|id| version(id, id + 1)).collect::<Vec<_>>());
    let whole = [&dump[..], &more].concat();
    for sql in [
        "alter table kill_event add note text, add seen int not null default 0,
           add number bigint generated always as identity;
         alter table kill_event drop constraint kill_event_pkey;
         create unique index on kill_event (server, event_id) include (fame)",
        "drop index kill_player_guild_kills, kill_player_guild_deaths, kill_player_alliance_kills, kill_player_alliance_deaths;
         alter table kill_player alter role type text, alter name type varchar(100);
         create index kill_player_guild_kills on kill_player (guild_id, event_id)",
        "alter table kill_loot alter server type text",
        "drop index kill_event_newest, kill_player_guild_kills",
        "drop table kill_loot",
        "create table parts (like kill_event including defaults including constraints) partition by list (server);
         drop table kill_event; alter table parts rename to kill_event;
         alter table kill_event add primary key (server, event_id);
         create table kill_event_americas partition of kill_event for values in ('americas');
         create table kill_event_others partition of kill_event default",
    ] {
        let database = Cluster::shared().database("fits");
        work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
        database.client().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        for dump in [&dump, &more] {
            work.load(&database, &[]).stdin(dump.clone()).segment_bytes(8 << 10).expect(0);
        }
        assert_tables(&database, "americas", &expect(&whole, Nul::Reject).tables);
    }
}
