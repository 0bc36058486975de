//! `deploy/role.sql`: its two roles can do their task and nothing else.

use std::process::{Command, Output};

use postgres::{Client, NoTls};

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, small_event, version};
use crate::support::log_case;
use crate::support::oracle::Layout;
use crate::support::process::Supervised as _;
use crate::support::program::{Program, Workplace};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/role.sql");

/// A database with tables, and the two roles, which are dropped with it.
struct Roles {
    database: Database<'static>,
    schema: &'static str,
    loader: String,
    reader: String,
}

impl Roles {
    /// Creates the roles without grants.
    fn new(schema: &'static str) -> Self {
        let database = Cluster::shared().database("roles");
        let id = uuid::Uuid::new_v4().simple();
        let roles = Self { database, schema, loader: format!("Lo\"ad {id}"), reader: format!("read'{id}") };
        for layout in Layout::ALL {
            let args = ["schema", "apply", "--schema", schema, "--layout", layout.name()];
            Workplace::new().program(&args).env("DATABASE_URL", &roles.database.url()).expect(0);
        }
        roles
    }

    /// Runs the file with psql, as the owner of the tables or as the role at the URL.
    fn psql(&self, url: &str) -> Output {
        self.psql_with(url, &[])
    }

    /// The same with more arguments.
    fn psql_with(&self, url: &str, args: &[&str]) -> Output {
        let variables = [("schema", self.schema), ("loader", &self.loader), ("reader", &self.reader)];
        let variables = variables.map(|(name, value)| format!("--set={name}={value}"));
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", url, "-f", FILE]).args(variables).args(args).output_in_time().expect("psql")
    }

    /// Runs the file as the owner and returns its output.
    #[track_caller]
    fn grant(&self) -> String {
        let output = self.psql(&self.database.url());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        said
    }

    fn url(&self, role: &str) -> String {
        let role = role.replace('"', "%22").replace(' ', "%20");
        self.database.tcp_url().replace("aegis@", &format!("{role}@"))
    }

    fn client(&self, role: &str) -> Client {
        Client::connect(&self.url(role), NoTls).expect("the role may log in")
    }

    fn program(&self, work: &Workplace, role: &str, args: &[&str]) -> Program {
        work.program(args).env("DATABASE_URL", &self.url(role)).env("DATABASE_SCHEMA", self.schema)
    }

    /// The privileges of the roles on relations, as `role relation privilege`.
    fn privileges(&self) -> Vec<String> {
        let sql = "select concat_ws(' ', pg_get_userbyid(grantee), relname, privilege_type)
                   from pg_class, aclexplode(relacl) where pg_get_userbyid(grantee) in ($1, $2) order by 1";
        let rows = self.database.client().query(sql, &[&self.loader, &self.reader]).expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for role in [&self.loader, &self.reader] {
            let sql = format!("drop owned by {0}; drop role {0}", quoted(role));
            // Errors are ignored, because a failed test has its own message.
            let _ = self.database.client().batch_execute(&sql);
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Loads events in each mode, so that every way to write is used. Returns the errors.
fn loads(roles: &Roles, layout: Layout) -> Vec<String> {
    let work = Workplace::new();
    let first = join(&(1..=30).map(|id| version(id, 1)).collect::<Vec<_>>());
    let second = join(&(20..=40).map(|id| version(id, 2)).collect::<Vec<_>>());
    // These versions have fewer rows, so the update deletes the others.
    let third = join(&(25..=27).map(|id| small_event(id).to_string()).collect::<Vec<_>>());
    let mut faults = Vec::new();
    for (mode, dump, updated) in
        [("skip", &first, 0), ("skip", &second, 0), ("update", &second, 11), ("update", &third, 3)]
    {
        let args = ["load", "--json", "--force", "--layout", layout.name(), "--on-conflict", mode];
        let run = roles.program(&work, &roles.loader, &args).stdin(dump.clone()).run();
        if run.code == 0 {
            assert_eq!(run.summary().count("updated"), updated, "{}", run.stderr);
        }
        // Ids this small are implausible for the server.
        let said = run.stderr.lines().any(|line| !line.contains("is implausible for"));
        if run.code != 0 || said {
            faults.push(run.stdout + &run.stderr);
        }
    }
    faults
}

#[test]
fn each_role_can_do_its_task() {
    for schema in ["public", "Kills of \"EU\""] {
        let roles = Roles::new(schema);
        // A database with restricted default privileges.
        let name = roles.database.name();
        let careful =
            format!("revoke all on database {name} from public; revoke all on schema public from public");
        roles.database.client().batch_execute(&careful).expect("a revoke");
        assert_eq!(roles.grant(), "");
        let privileges = roles.privileges();
        assert_eq!(roles.grant(), "", "it can be run again");
        assert_eq!(roles.privileges(), privileges);

        let work = Workplace::new();
        let dump = join(&(1..=40).map(|id| version(id, 1)).collect::<Vec<_>>());
        for layout in Layout::ALL {
            assert_eq!(loads(&roles, layout), [""; 0], "{layout:?}");
            // Someone deleted events, and left their child rows.
            let mut owner = roles.database.client();
            let (table, _) = layout.tables()[0];
            owner.batch_execute(&format!("delete from {}.{table}", quoted(schema))).expect("a delete");
            assert_eq!(loads(&roles, layout), [""; 0], "{layout:?}");
            let layout = layout.name();
            for role in [&roles.loader, &roles.reader] {
                let verify = roles.program(&work, role, &["verify", "--ids-only", "--layout", layout]);
                verify.stdin(dump.clone()).expect(0);
                // A role that cannot write is unfit for a load.
                let code = if role == &roles.loader { 0 } else { 6 };
                let health =
                    roles.program(&work, role, &["health", "--json", "--layout", layout]).expect(code);
                for text in ["lacks INSERT", "check with the role that loads"] {
                    assert_eq!(health.stdout.contains(text), role == &roles.reader, "{}", health.stdout);
                }
                assert!(health.stdout.contains("\"status\":\"complete\""), "{}", health.stdout);
            }
            roles.program(&work, &roles.reader, &["load", "--layout", layout]).stdin(dump.clone()).expect(7);
        }
    }
}

/// Statements that both roles are denied.
const DENIED_TO_BOTH: [&str; 31] = [
    "drop table kill_event",
    "drop table \"KillEvent\"",
    "drop schema public",
    "drop index kill_event_newest",
    "truncate kill_event, kill_player, kill_loot",
    "truncate \"KillEvent\"",
    "truncate kill_load_segment",
    "alter table kill_event add note text",
    "alter table \"KillEvent\" alter \"killerName\" type text",
    "alter table kill_load_run owner to current_user",
    "create table mine (id int)",
    "create view mine as select * from kill_event",
    "create index on kill_event (fame)",
    "create function mine() returns int language sql as 'select 1'",
    "create type mine as enum ('a')",
    "create schema mine",
    "create database mine",
    "create role mine",
    "create trigger mine before insert on kill_event for each row execute function suppress_redundant_updates_trigger()",
    "alter type kill_role add value 'friend'",
    "delete from kill_event",
    "delete from \"KillEvent\"",
    "delete from kill_load_segment",
    "delete from kill_load_run",
    "select * from others",
    "select * from private.others",
    "insert into others values (1)",
    "copy kill_event to program 'true'",
    "copy kill_event to '/tmp/kills'",
    "select pg_read_file('/etc/passwd')",
    "set role aegis",
];

/// Statements that only the loader is allowed.
const DENIED_TO_READER: [&str; 7] = [
    "insert into kill_load_run select * from kill_load_run",
    "insert into \"KillEvent\" select * from \"KillEvent\"",
    "update kill_event set fame = 1",
    "select from kill_event for update",
    "delete from kill_player",
    "update kill_player set name = 'x'",
    "update kill_load_run set status = ''",
];

#[test]
fn each_role_is_denied_everything_else() {
    let roles = Roles::new("public");
    let mut owner = roles.database.client();
    owner
        .batch_execute(
            "create table others (id int); create schema private; create table private.others (id int);
             create function power() returns int language sql security definer as 'select 1'",
        )
        .expect("things of others");
    roles.grant();
    let mut wanted = Vec::new();
    let mut relations = vec!["kill_load_run", "kill_load_segment", "kill_load_file"];
    for layout in Layout::ALL {
        let tables = layout.table_names();
        // The first table has the events. An update deletes rows of the others.
        wanted.extend(tables[1..].iter().map(|table| format!("{} {table} DELETE", roles.loader)));
        relations.extend(tables);
    }
    for relation in relations {
        let privileges = ["INSERT", "SELECT", "UPDATE"];
        wanted.extend(privileges.map(|privilege| format!("{} {relation} {privilege}", roles.loader)));
        wanted.push(format!("{} {relation} SELECT", roles.reader));
    }
    wanted.sort();
    let mut privileges = roles.privileges();
    privileges.sort();
    assert_eq!(privileges, wanted);

    for (role, statements) in [
        (&roles.loader, &DENIED_TO_BOTH[..]),
        (&roles.reader, &DENIED_TO_BOTH),
        (&roles.reader, &DENIED_TO_READER),
    ] {
        let mut client = roles.client(role);
        for sql in statements {
            log_case((role, sql));
            let error = client.batch_execute(sql).expect_err("it is not allowed");
            assert_eq!(error.code().map(postgres::error::SqlState::code), Some("42501"), "{error:?}");
        }
    }
}

#[test]
fn each_privilege_of_the_loader_is_needed() {
    let roles = Roles::new("public");
    roles.grant();
    let privileges = roles.privileges();
    let prefix = format!("{} ", roles.loader);
    let of_loader = privileges.iter().filter_map(|granted| granted.strip_prefix(&prefix));
    let tables: Vec<&str> =
        Layout::ALL.into_iter().flat_map(Layout::tables).map(|(table, _)| *table).collect();
    // Without the privileges on `kill_load_file` a load reads all files.
    for granted in of_loader.filter(|granted| !granted.starts_with("kill_load_file ")) {
        log_case(granted);
        let (relation, privilege) = granted.split_once(' ').expect("two words");
        let mut owner = roles.database.client();
        owner
            .batch_execute(&format!(
                "truncate kill_load_run, kill_load_segment, {}; revoke {privilege} on {} from {}",
                tables.join(", "),
                quoted(relation),
                quoted(&roles.loader)
            ))
            .expect("a revoke");
        // The tables of the ledger belong to each layout.
        let has_relation = |layout: &Layout| layout.table_names().contains(&relation);
        let layout = Layout::ALL.into_iter().find(has_relation).unwrap_or(Layout::Archive);
        let faults = loads(&roles, layout);
        assert!(faults.iter().any(|fault| fault.contains("permission denied")), "{granted}: {faults:?}");
        // The file restores revoked privileges.
        roles.grant();
        assert_eq!(roles.privileges(), privileges);
    }
}

#[test]
fn a_failed_role_file_explains_and_changes_nothing() {
    let roles = Roles::new("public");
    let mut owner = roles.database.client();
    let fails = |url: &str, words: &[&str]| {
        let output = roles.psql(url);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
        assert_eq!(roles.privileges(), [""; 0], "nothing is done in part");
    };
    let url = roles.database.url();
    let role = quoted(&roles.loader);

    owner
        .batch_execute("alter table kill_load_run rename to runs; alter schema public rename to other")
        .expect("done");
    fails(&url, &["schema public does not exist", "schema apply"]);
    owner.batch_execute("create schema public").expect("a schema");
    fails(&url, &["has none of the tables", "schema apply"]);
    owner.batch_execute("drop schema public; alter schema other rename to public; alter table runs rename to kill_load_run").expect("done");

    owner.batch_execute(&format!("create role {role} login createdb")).expect("a role");
    fails(&url, &["has attributes such as CREATEROLE", "-v loader="]);
    owner
        .batch_execute(&format!("alter role {role} nocreatedb; alter table kill_loot owner to {role}"))
        .expect("done");
    fails(&url, &["belongs to", "-v loader="]);
    owner.batch_execute("alter table kill_loot owner to aegis").expect("done");

    // A role that neither owns the tables nor can create roles.
    let nobody = format!("{}2", roles.loader);
    owner.batch_execute(&format!("create role {} login", quoted(&nobody))).expect("a role");
    fails(&roles.url(&nobody), &["permission denied"]);
    owner.batch_execute(&format!("drop role {}", quoted(&nobody))).expect("done");

    // Grants to PUBLIC by others are reported and left unchanged.
    owner
        .batch_execute(&format!("grant create on schema public to public; grant pg_read_all_stats to {role}"))
        .expect("done");
    let said = roles.grant();
    for words in ["can create tables in schema public", "is a member of pg_read_all_stats"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn the_loader_can_delete_events_if_granted() {
    let roles = Roles::new("public");
    let work = Workplace::new();
    work.write("dump", join(&(1..=20).map(|id| version(id, 1)).collect::<Vec<_>>()));
    roles.grant();
    for layout in Layout::ALL.map(Layout::name) {
        roles.program(&work, &roles.loader, &["load", "--layout", layout, "dump"]).expect(0);
        let delete = || roles.program(&work, &roles.loader, &["delete", "--layout", layout, "dump"]);
        delete().expect(7).says(&["GRANT SELECT, DELETE"]);
        let granted = roles.psql_with(&roles.database.url(), &["--set=delete=on"]);
        assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
        delete().expect(0).says_in_output("deleted 20 of 20 events");
        roles.grant();
        delete().expect(7);
    }
}
