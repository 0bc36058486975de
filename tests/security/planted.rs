//! Objects that another database user has created in `public`, where every role could create up to PostgreSQL 14. None
//! runs as the loader's role, or as the superuser who grants.

use std::process::Command;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, version};
use crate::support::oracle::Layout;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{log_case, not_tried};

/// Functions that match calls better than PostgreSQL's own: a call without a schema would find them.
const FUNCTIONS: [(&str, &str); 16] = [
    ("unnest(bigint[])", "setof bigint"),
    ("unnest(text[])", "setof text"),
    ("unnest(bytea[])", "setof bytea"),
    ("array_position(smallint[], smallint)", "integer"),
    ("format(text, text)", "text"),
    ("format(text, name)", "text"),
    ("format(text, text, text)", "text"),
    ("format(text, name, name)", "text"),
    ("format(text, integer, text, text)", "text"),
    ("concat(text, text)", "text"),
    ("to_jsonb(text)", "jsonb"),
    ("array_length(bigint[], integer)", "integer"),
    ("cardinality(bigint[])", "integer"),
    ("quote_ident(name)", "text"),
    ("has_schema_privilege(text, oid, text, text)", "boolean"),
    ("array_append(text[], text)", "text[]"),
];

/// Operand types for which PostgreSQL has no exact operator.
const OPERANDS: [&str; 7] =
    ["varchar", "bigint[]", "text[]", "smallint[]", "bytea[]", "public.albion_server", "public.kill_role"];

/// Creates all objects that are possible, as a role of its own.
fn plant(database: &Database<'_>, mallory: &str) {
    let name = database.name();
    let mut admin = database.client();
    let sql = format!(
        "create role {mallory} login; grant create on schema public to public; grant temporary on database {name} to public"
    );
    admin.batch_execute(&sql).expect("a role");
    let mut client = database.client();
    client.batch_execute(&format!("set role {mallory}; set search_path to public")).expect("the role");
    let body = "language plpgsql as $$ begin raise exception 'planted'; end $$";
    for (signature, result) in FUNCTIONS {
        client
            .batch_execute(&format!("create function public.{signature} returns {result} {body}"))
            .expect(signature);
    }
    for state in ["bigint", "text", "name", "integer"] {
        let sql = format!(
            "create function public.planted_state(numeric, {state}) returns numeric {body};
             create aggregate public.count({state}) (sfunc = public.planted_state, stype = numeric, initcond = '0');
             create aggregate public.array_agg({state}) (sfunc = public.planted_state, stype = numeric, initcond = '0');
             create aggregate public.max({state}) (sfunc = public.planted_state, stype = numeric, initcond = '0');
             create aggregate public.sum({state}) (sfunc = public.planted_state, stype = numeric, initcond = '0')"
        );
        client.batch_execute(&sql).expect(state);
    }
    for (number, kind) in OPERANDS.iter().enumerate() {
        let sql = format!(
            "create function public.planted_{number}({kind}, {kind}) returns boolean {body};
             create operator public.= (function = public.planted_{number}, leftarg = {kind}, rightarg = {kind});
             create operator public.<> (function = public.planted_{number}, leftarg = {kind}, rightarg = {kind});
             create operator public.< (function = public.planted_{number}, leftarg = {kind}, rightarg = {kind})"
        );
        client.batch_execute(&sql).expect(kind);
    }
    for sql in [
        // Operators of mixed types, for which PostgreSQL needs a cast.
        "create function public.planted_mixed(varchar, text) returns boolean #;
         create operator public.= (function = public.planted_mixed, leftarg = varchar, rightarg = text)",
        "create function public.planted_name(name, varchar) returns boolean #;
         create operator public.= (function = public.planted_name, leftarg = name, rightarg = varchar)",
        "create function public.planted_concat(text, name) returns text #;
         create operator public.|| (function = public.planted_concat, leftarg = text, rightarg = name)",
        // A type with a cast to and from the program's type, and names that the program uses elsewhere.
        "create type public.kill_event as (id bigint);
         create function public.planted_cast(public.kill_event) returns bigint #;
         create cast (public.kill_event as bigint) with function public.planted_cast as implicit",
        "create domain public.text as pg_catalog.text check (false)",
        "create domain public.bigint as pg_catalog.int8 check (false)",
        "create domain public.jsonb as pg_catalog.jsonb check (false)",
        "create table public.aegis_kills_stage (event_id text)",
        "create table public.aegis_kills_update_0 (event_id text)",
        "create view public.pg_class as select 1 as oid",
        "create view public.pg_namespace as select 1 as oid",
        "create view public.pg_stat_activity as select 1 as pid",
    ] {
        client.batch_execute(&sql.replace('#', body)).expect(sql);
    }
}

#[test]
fn planted_functions_and_operators_do_not_run() {
    let database = Cluster::shared().database("planted");
    let work = Workplace::new();
    let mallory = format!("mallory_{}", uuid::Uuid::new_v4().simple());
    // The owner created the tables before the other user arrived.
    for layout in Layout::ALL.map(Layout::name) {
        let program =
            work.program(&["schema", "apply", "--layout", layout]).env("DATABASE_URL", &database.url());
        program.expect(0);
    }
    database.client().batch_execute("alter table public.kill_event rename to kill_event_").expect("a name");
    plant_all(&database, &mallory);
    let first = join(&(1..=30).map(|id| version(id, 1)).collect::<Vec<_>>());
    let second = join(&(20..=40).map(|id| version(id, 2)).collect::<Vec<_>>());
    for schema in ["kills", "\u{3ba}\"'ills"] {
        for layout in Layout::ALL.map(Layout::name) {
            log_case((schema, layout));
            let run = |command: &[&str]| {
                let program = work.program(command).args(&["--schema", schema, "--layout", layout]);
                program.env("DATABASE_URL", &database.url())
            };
            run(&["schema", "apply"]).expect(0);
            for (dump, mode, counts) in [
                (&first, "skip", [("inserted", 30), ("updated", 0), ("duplicate", 0)]),
                (&second, "skip", [("inserted", 10), ("updated", 0), ("duplicate", 11)]),
                (&second, "update", [("inserted", 0), ("updated", 11), ("duplicate", 10)]),
            ] {
                let load = run(&["load", "--json", "--server", "europe", "--force", "--on-conflict", mode]);
                let ended = load.stdin(dump.clone()).expect(0);
                ended.summary().check(&counts);
                assert!(!ended.stderr.contains("planted"), "{}", ended.stderr);
            }
            run(&["load", "--json", "--server", "europe"]).stdin(first.clone()).expect(0);
            run(&["verify", "--server", "europe"]).stdin(second.clone()).expect(0);
            let health = run(&["health", "--json"]).expect(0);
            assert!(!health.stdout.contains("planted"), "{}", health.stdout);
        }
    }
    role_file(&database);
    let gone = format!("drop owned by {mallory} cascade; drop role {mallory}");
    database.client().batch_execute(&gone).expect("a role");
}

/// The enum types exist, so operators on them are possible. The table's name is free for a type.
fn plant_all(database: &Database<'_>, mallory: &str) {
    let sql = "grant usage on type public.albion_server, public.kill_role to public";
    database.client().batch_execute(sql).expect("a grant");
    plant(database, mallory);
}

/// The owner, a superuser here, grants.
fn role_file(database: &Database<'_>) {
    let id = uuid::Uuid::new_v4().simple();
    let (loader, reader) = (format!("loader_{id}"), format!("reader_{id}"));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/role.sql");
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", &database.url(), "-f", file, "-v", "schema=kills"]);
    psql.args(["-v", &format!("loader={loader}"), "-v", &format!("reader={reader}")]);
    let Ok(output) = psql.output_in_time() else {
        return not_tried("deploy/role.sql among planted functions", "psql is missing");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("planted"), "{said}");
    let gone = format!("drop owned by {loader}, {reader}; drop role {loader}, {reader}");
    database.client().batch_execute(&gone).expect("the roles");
}

/// A trigger of the tables' owner resolves names as in any other session of the role.
#[test]
fn the_owners_triggers_find_their_tables() {
    let database = Cluster::shared().database("audit");
    let work = Workplace::new();
    let run =
        |args: &[&str]| work.program(args).args(&["--server", "europe"]).env("DATABASE_URL", &database.url());
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let audit = "create schema tools; create table tools.audit (event_id bigint, op text);
        create function tools.note() returns trigger language plpgsql as $$
          begin insert into audit values (new.event_id, tg_op); return new; end $$;
        create trigger note after insert or update on kill_event for each row execute function tools.note()";
    database.client().batch_execute(audit).expect("a trigger");
    let path = format!("alter database {} set search_path to public, tools", database.name());
    database.client().batch_execute(&path).expect("a setting");
    let first = join(&(1..=30).map(|id| version(id, 1)).collect::<Vec<_>>());
    let second = join(&(20..=40).map(|id| version(id, 2)).collect::<Vec<_>>());
    run(&["load", "--json"]).stdin(first).expect(0).summary().check(&[("inserted", 30)]);
    let update = run(&["load", "--json", "--on-conflict", "update"]).stdin(second).expect(0);
    update.summary().check(&[("inserted", 10), ("updated", 11)]);
    let sql = "select count(*) filter (where op = 'INSERT'), count(*) filter (where op = 'UPDATE') from tools.audit";
    let row = database.client().query_one(sql, &[]).expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (40, 11));
}

/// A role that is dropped at the end.
pub(crate) struct Role<'d>(&'d Database<'d>, String);

impl<'d> Role<'d> {
    pub(crate) fn new(database: &'d Database<'d>, name: &str) -> Self {
        let role = format!("{name} {}", uuid::Uuid::new_v4().simple());
        database.client().batch_execute(&format!("create role \"{role}\" login")).expect("a role");
        Self(database, role)
    }

    pub(crate) fn name(&self) -> &str {
        &self.1
    }

    fn url(&self) -> String {
        self.0.tcp_url().replace("aegis@", &format!("{}@", self.1.replace(' ', "%20")))
    }

    /// Runs statements as the owner of the database. `@` stands for the role.
    pub(crate) fn runs(&self, sql: &str) {
        let sql = sql.replace('@', &format!("\"{}\"", self.1));
        self.0.client().batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let sql = format!(
            "reassign owned by \"{0}\" to current_user; drop owned by \"{0}\"; drop role \"{0}\"",
            self.1
        );
        // Errors are ignored, because a failed test has its own message.
        let _ = self.0.client().batch_execute(&sql);
    }
}

/// Before the first `schema apply`, in a schema in which every role can create.
#[test]
fn tables_and_types_of_an_untrusted_role_are_rejected() {
    let work = Workplace::new();
    for (made, named) in [
        ("create type kill_role as enum ('killer', 'victim', 'participant', 'group')", "kill_role"),
        ("create domain albion_server as text", "albion_server"),
        ("create table kill_load_run (id int)", "kill_load_run"),
        ("create table kill_event (id int); create table kill_loot (id int)", "kill_event, kill_loot"),
    ] {
        log_case(made);
        let database = Cluster::shared().database("planted before");
        let mallory = Role::new(&database, "mallory");
        mallory.runs(&format!(
            "grant create on schema public to public; set role @; set search_path to public; {made}"
        ));
        // A superuser is a member of every role. That alone makes no role trusted.
        for command in ["schema", "load"] {
            let args: &[&str] = if command == "schema" { &["schema", "apply"] } else { &["load"] };
            let run = work.program(args).env("DATABASE_URL", &database.url()).stdin(join(&[version(1, 1)]));
            let belongs = format!("{named} belong");
            let role = format!("to role \"{}\"", mallory.1);
            let run =
                run.expect(7).says(&[&belongs, &role, "REVOKE CREATE ON SCHEMA \"public\" FROM PUBLIC"]);
            assert!(!run.stderr.contains("retrying"), "{}", run.stderr);
        }
        let made = "select count(*) from pg_class where relname = 'kill_player'";
        assert_eq!(database.client().query_one(made, &[]).expect("a row").get::<_, i64>(0), 0);
    }
}

/// Tables that the loader does not own, the usual case with grants.
#[test]
fn tables_of_a_trusted_role_are_used() {
    let work = Workplace::new();
    for (layout, trust) in [
        ("archive", "grant create on schema public to @"),
        ("aegis", "grant create on schema public to @"),
        ("archive", "alter schema public owner to @"),
        (
            "archive",
            "do $$ begin execute format('alter database %I owner to %s', current_database(), '@'); end $$",
        ),
    ] {
        log_case((layout, trust));
        let database = Cluster::shared().database("planted trusted");
        let (owner, loader) = (Role::new(&database, "owner"), Role::new(&database, "loader"));
        owner.runs(trust);
        owner.runs("grant create on schema public to public");
        let run = |role: &Role<'_>, args: &[&str]| {
            let program = work
                .program(args)
                .args(&["--layout", layout, "--ledger-schema", "public"])
                .env("DATABASE_URL", &role.url());
            program.stdin(join(&[version(1, 1)]))
        };
        run(&owner, &["schema", "apply"]).expect(0);
        loader.runs(
            "grant select, insert, update, delete on all tables in schema public to @; grant usage on schema public to @",
        );
        run(&loader, &["load", "--force"]).expect(0);
        run(&owner, &["load", "--force"]).expect(0);
        // A superuser.
        let admin = work
            .program(&["load", "--force", "--layout", layout, "--ledger-schema", "public"])
            .env("DATABASE_URL", &database.url());
        admin.stdin(join(&[version(2, 1)])).expect(0);
        if trust.starts_with("grant") {
            owner.runs("revoke create on schema public from @");
            run(&loader, &["load", "--force"])
                .expect(7)
                .says(&["belong to role", "GRANT CREATE ON SCHEMA \"public\" TO"]);
            owner.runs("grant create on schema public to @");
        }
    }
}
