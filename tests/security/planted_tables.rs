//! Views and tables that another database user created under the names of this program's tables. No command reads them.

use crate::security::planted::Role;
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, version};
use crate::support::log_case;
use crate::support::oracle::Layout;
use crate::support::pgbouncer::PgBouncer;
use crate::support::program::{Ended, Workplace};

/// The commands that use a database. `dump` is a file of events.
const COMMANDS: [&[&str]; 9] = [
    &["health"],
    &["health", "--json"],
    &["verify", "dump"],
    &["verify", "--ids-only", "dump"],
    &["delete", "dump"],
    &["delete", "--before", "2020-01-01"],
    &["delete", "--before", "2020-01-01", "--dry-run"],
    &["load", "dump"],
    &["schema", "apply"],
];

/// A database in which each role can create tables, and a role that does.
struct Planted<'d> {
    database: &'d Database<'d>,
    mallory: Role<'d>,
    work: Workplace,
}

impl<'d> Planted<'d> {
    fn new(database: &'d Database<'d>) -> Self {
        let work = Workplace::new();
        work.write("dump", join(&(1..=5).map(|id| version(id, 1)).collect::<Vec<_>>()));
        let mallory = Role::new(database, "mallory");
        // A sequence keeps the call of a transaction that is rolled back.
        mallory.runs(
            "create schema aegis_kills; grant create, usage on schema public, aegis_kills to public;
             create sequence public.witness; set role @;
             create function public.run() returns boolean language plpgsql as $$
               begin perform nextval('public.witness'); raise exception 'witnessed'; end $$",
        );
        Self { database, mallory, work }
    }

    /// Creates the tables of each layout and their ledger in the schema `model`.
    fn model(&self) {
        for layout in Layout::ALL.map(Layout::name) {
            let args =
                ["schema", "apply", "--schema", "model", "--ledger-schema", "model", "--layout", layout];
            self.work.program(&args).env("DATABASE_URL", &self.database.url()).expect(0);
        }
        let grant =
            "grant usage on schema model to public; grant select on all tables in schema model to public";
        self.database.client().batch_execute(grant).expect("a grant");
    }

    fn run(&self, command: &[&str], layout: &str) -> Ended {
        let program = self.work.program(command).args(&["--layout", layout]);
        program.env("DATABASE_URL", &self.database.url()).run()
    }

    /// Asserts that no command uses the tables, and that each names `name` and its owner.
    fn is_rejected(&self, layout: &str, name: &str) {
        for command in COMMANDS {
            log_case((layout, name, command));
            let is_health = command[0] == "health";
            let ended = self.run(command, layout).expect(if is_health { 6 } else { 7 });
            let said = format!("{}{}", ended.stdout, ended.stderr).replace('\\', "");
            let owner = format!("{name} belongs to role \"{}\", which is not trusted", self.mallory.name());
            assert!(said.contains(&owner) && !said.contains("retrying"), "{said}");
            self.is_unharmed(&ended);
        }
        // This command does not connect.
        self.run(&["schema", "print"], layout).expect(0);
    }

    #[track_caller]
    fn is_unharmed(&self, ended: &Ended) {
        assert!(!ended.stdout.contains("witnessed") && !ended.stderr.contains("witnessed"), "{ended:?}");
        let row = self.database.client().query_one("select is_called from public.witness", &[]);
        assert!(!row.expect("a row").get::<_, bool>(0), "planted code ran: {ended:?}");
    }
}

#[test]
fn views_of_an_untrusted_role_are_not_read() {
    let database = Cluster::shared().database("planted views");
    let planted = Planted::new(&database);
    planted.model();
    for (layout, schema, name) in [
        ("archive", "public", "kill_event"),
        ("archive", "public", "kill_loot"),
        ("archive", "public", "kill_load_run"),
        ("archive", "public", "kill_load_segment"),
        ("archive", "public", "kill_load_file"),
        ("aegis", "public", "KillEvent"),
        ("aegis", "public", "kill_load_segment"),
        ("aegis", "aegis_kills", "kill_load_run"),
    ] {
        // The function runs for each query of the view, even if the table is empty.
        planted.mallory.runs(&format!(
            "set role @; create view {schema}.\"{name}\" as select m.* from (select public.run() as is_run) as planted
               left join model.\"{name}\" as m on true where planted.is_run"
        ));
        planted.is_rejected(layout, name);
        planted.mallory.runs(&format!("drop view {schema}.\"{name}\""));
    }
    planted.mallory.runs(
        "set role @; create materialized view public.kill_event as select * from model.kill_event with no data",
    );
    planted.is_rejected("archive", "kill_event");
}

#[test]
fn tables_of_an_untrusted_role_are_not_read() {
    let database = Cluster::shared().database("planted tables");
    let planted = Planted::new(&database);
    planted.model();
    for (layout, name) in [
        ("archive", "kill_event"),
        ("archive", "kill_load_run"),
        ("archive", "kill_load_file"),
        ("aegis", "KillEvent"),
        ("aegis", "kill_load_segment"),
    ] {
        let create =
            format!("set role @; create table public.\"{name}\" (like model.\"{name}\" including all)");
        planted.mallory.runs(&create);
        planted.is_rejected(layout, name);
        planted.mallory.runs(&format!("drop table public.\"{name}\""));
    }
}

/// A partition can be in a schema of another role.
#[test]
fn partitions_of_an_untrusted_role_are_not_read() {
    let database = Cluster::shared().database("planted parts");
    let planted = Planted::new(&database);
    planted.run(&["schema", "apply"], "archive").expect(0);
    planted.mallory.runs(
        "create schema apart authorization @;
         create table parts (like kill_event including defaults including constraints) partition by list (server);
         drop table kill_event; alter table parts rename to kill_event;
         alter table kill_event add primary key (server, event_id);
         create table apart.kill_event_rest partition of kill_event default",
    );
    planted.run(&["load", "--force", "dump"], "archive").expect(0);
    planted.mallory.runs("alter table apart.kill_event_rest owner to @");
    planted.is_rejected("archive", "kill_event_rest");
    planted.mallory.runs("alter table apart.kill_event_rest owner to current_user");
    planted.run(&["verify", "dump"], "archive").expect(0);
    planted.run(&["health"], "archive").expect(0);
}

/// The owner of a domain can add a CHECK to it at any time, which then runs as the loader. Other types contain domains.
#[test]
fn columns_whose_type_belongs_to_an_untrusted_role_are_not_read() {
    let database = Cluster::shared().database("planted types");
    let planted = Planted::new(&database);
    planted.run(&["schema", "apply"], "archive").expect(0);
    planted.mallory.runs(
        "create schema apart authorization @; grant usage on schema apart to public; set role @;
         create domain apart.note as text; create type apart.mood as enum ('good');
         create type apart.pair as (first integer, second text);
         create type apart.span as range (subtype = apart.note);
         grant usage on type apart.note, apart.mood, apart.pair, apart.span to public; reset role;
         create domain nested as apart.note; create type composed as (number integer, notes nested[])",
    );
    for (table, column, kind) in [
        ("kill_event", "apart.note", "note"),
        ("kill_event", "apart.note[]", "note"),
        ("kill_player", "apart.mood", "mood"),
        ("kill_loot", "apart.pair", "pair"),
        ("kill_event", "nested", "note"),
        ("kill_event", "composed", "note"),
        ("kill_load_segment", "apart.span[]", "span"),
    ] {
        planted.mallory.runs(&format!("alter table {table} add column extra {column}"));
        if kind == "note" {
            planted.mallory.runs(
                "set role @; alter domain apart.note add constraint runs check (public.run() or value is null) not valid",
            );
        }
        for command in COMMANDS {
            log_case((table, column, command));
            let ended = planted.run(command, "archive").expect(if command[0] == "health" { 6 } else { 7 });
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(
                said.contains(&format!("type {kind} of {table}")) && said.contains("not trusted"),
                "{said}"
            );
            planted.is_unharmed(&ended);
        }
        planted.mallory.runs(&format!(
            "alter table {table} drop column extra; alter domain apart.note drop constraint if exists runs"
        ));
    }
    // Types of the owner and of the system are used.
    planted
        .mallory
        .runs("create domain own as text; alter table kill_event add column extra own, add more text[]");
    planted.run(&["load", "dump"], "archive").expect(0);
    planted.run(&["verify", "dump"], "archive").expect(0);
}

/// A view of the tables' owner is no table either, but its owner is not at fault.
#[test]
fn views_of_the_owner_are_named() {
    let database = Cluster::shared().database("own views");
    let planted = Planted::new(&database);
    planted.model();
    database
        .client()
        .batch_execute("create view kill_event as select * from model.kill_event")
        .expect("a view");
    for command in COMMANDS {
        let ended = planted.run(command, "archive").expect(if command[0] == "health" { 6 } else { 7 });
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("kill_event is not a table") && !said.contains("belongs"), "{said}");
    }
}

/// The search path of the database or the role applies until a session has its own. Here `public` precedes `pg_catalog`.
#[test]
fn planted_functions_do_not_run_in_new_sessions() {
    let database = Cluster::shared().database("planted version");
    let planted = Planted::new(&database);
    for kind in ["oid", "name", "text", "integer", "bigint"] {
        planted.mallory.runs(&format!(
            "set role @; create function public.planted_{kind}({kind}, {kind}) returns boolean
               language sql as 'select public.run()';
             create operator public.= (function = public.planted_{kind}, leftarg = {kind}, rightarg = {kind})"
        ));
    }
    planted.mallory.runs(
        "set role @;
         create function public.version() returns text language sql as $$ select public.run()::text $$;
         create function public.pg_backend_pid() returns integer language sql as $$ select public.run()::integer $$;
         create function public.pg_is_in_recovery() returns boolean language sql as $$ select public.run() $$;
         create function public.set_config(text, text, boolean) returns text
           language sql as $$ select public.run()::text $$",
    );
    let path = format!("alter database {} set search_path to public, pg_catalog", database.name());
    database.client().batch_execute(&path).expect("a setting");
    for command in [
        &["schema", "apply"][..],
        &["load", "dump"],
        &["verify", "dump"],
        &["verify", "--ids-only", "dump"],
        &["health"],
        &["delete", "dump"],
    ] {
        for layout in Layout::ALL.map(Layout::name) {
            log_case((command, layout));
            planted.is_unharmed(&planted.run(command, layout).expect(0));
        }
    }
    let attributes = format!("{}?target_session_attrs=primary", database.tcp_url());
    let health = planted.work.program(&["health"]).env("DATABASE_URL", &attributes).expect(0);
    planted.is_unharmed(&health);
}

/// Behind a pooler only transactions have a search path.
#[test]
fn planted_operators_do_not_run_behind_a_pooler() {
    let cluster = Cluster::shared();
    let Some(pooler) = PgBouncer::before(cluster) else { return };
    let database = cluster.database("planted pooled");
    let planted = Planted::new(&database);
    planted.mallory.runs(
        "set role @;
         create function public.joined(text, uuid) returns text language sql as $$ select public.run()::text $$;
         create operator public.|| (function = public.joined, leftarg = text, rightarg = uuid);
         create function public.format(text, name) returns text language sql as $$ select public.run()::text $$;
         create function public.format(text, name, name) returns text
           language sql as $$ select public.run()::text $$",
    );
    for command in [&["load", "dump"][..], &["load", "--force", "dump"], &["verify", "dump"], &["health"]] {
        log_case(command);
        let ended = planted.work.program(command).env("DATABASE_URL", &pooler.url(&database)).run();
        planted.is_unharmed(&ended);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}
