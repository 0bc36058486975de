//! The schema of the ledger: separate from tables that Prisma maintains, next to all others, and aware of the tables'
//! schema.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::oracle::{Layout, Nul, assert_same, expect_in};
use crate::support::process::Supervised as _;
use crate::support::program::{Ended, Program, Workplace};
use crate::support::{eventually, find_program, not_tried};

/// The table names of a schema.
fn tables(database: &Database<'_>, schema: &str) -> Vec<String> {
    let sql = "select tablename::text from pg_tables where schemaname = $1 order by 1";
    database.client().query(sql, &[&schema]).expect("tables").iter().map(|row| row.get(0)).collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const LEDGER: [&str; 3] = ["kill_load_file", "kill_load_run", "kill_load_segment"];

#[test]
fn the_ledger_of_aegis_has_its_own_schema() {
    let database = Cluster::shared().database("apart");
    let work = Workplace::new();
    let dump = generated(30, 5, 0.0);
    work.write("dump", &dump);
    let load = || work.load(&database, &["--layout", "aegis", "dump"]);
    let first = load().expect(0);
    first.summary().check(&[("inserted", 30)]);
    // The default is no mistake and causes no warning.
    assert_eq!(first.stderr, "");
    assert_eq!(tables(&database, "public"), ["KillEvent"]);
    assert_eq!(tables(&database, "aegis_kills"), LEDGER);
    eventually(Duration::from_secs(30), "the file is skipped", || {
        let again = load().expect(0).summary();
        again.check(&[("already_loaded", 30)]);
        again.count("files_skipped") == 1
    });
    let program = |args: &[&str]| work.program(args).env("DATABASE_URL", &database.url());
    program(&["verify", "--layout", "aegis", "dump"]).expect(0);
    let health = program(&["health", "--layout", "aegis", "--json"]).expect(0);
    let health = json(&health);
    assert_eq!(health["healthy"], true, "{health}");
    assert_eq!(health["last_run"]["already_loaded"], 30, "{health}");
    program(&["schema", "apply", "--layout", "aegis"])
        .expect(0)
        .says_in_output("all tables and indexes exist");
    let printed = program(&["schema", "print", "--layout", "aegis"]).expect(0).stdout;
    assert!(
        printed.contains("CREATE SCHEMA IF NOT EXISTS \"aegis_kills\"")
            && !printed.contains("\"public\".kill_load")
    );
    // A later ledger of another layout does not replace it.
    work.load(&database, &["dump"]).expect(0);
    load().expect(0).summary().check(&[("already_loaded", 30)]);
}

#[test]
fn an_existing_ledger_next_to_the_tables_stays_in_use() {
    let work = Workplace::new();
    let dump = generated(20, 6, 0.0);
    for first in [&["--layout", "aegis", "--ledger-schema", "public"][..], &["--layout", "archive"]] {
        let database = Cluster::shared().database("beside");
        work.load(&database, first).stdin(dump.clone()).expect(0);
        work.load(&database, &["--layout", "aegis"]).stdin(dump.clone()).expect(0);
        assert!(tables(&database, "aegis_kills").is_empty());
        assert!(tables(&database, "public").iter().any(|name| name == "kill_load_segment"));
    }
    // The environment variable sets it for each layout.
    let database = Cluster::shared().database("elsewhere");
    for _ in 0..2 {
        work.load(&database, &[]).env("KILLS_LEDGER_SCHEMA", "the ledger").stdin(dump.clone()).expect(0);
    }
    assert_eq!(tables(&database, "the ledger"), LEDGER);
    assert_eq!(tables(&database, "public"), ["kill_event", "kill_loot", "kill_player"]);
    let segments: i64 = database
        .client()
        .query_one("select count(*) from \"the ledger\".kill_load_segment", &[])
        .expect("a count")
        .get(0);
    assert_eq!(segments, 1);
    work.load(&database, &["--ledger-schema", "pg_ledger"]).expect(2).says(&["--ledger-schema"]);
}

/// Two schemas with one ledger. Their names need quotes.
const SCHEMAS: [&str; 2] = ["one's \"game\"", "Two"];
const SHARED: &str = "the \"ledger\"'s";

/// A database with two schemas that share one ledger.
struct Shared<'a> {
    layout: Layout,
    database: Database<'a>,
    work: Workplace,
}

impl Shared<'_> {
    fn new(layout: Layout) -> Self {
        Self { layout, database: Cluster::shared().database("several"), work: Workplace::new() }
    }

    fn program(&self, command: &str, schema: &str) -> Program {
        let args = [
            command,
            "--json",
            "--layout",
            self.layout.name(),
            "--schema",
            schema,
            "--ledger-schema",
            SHARED,
        ];
        self.work.program(&args).env("DATABASE_URL", &self.database.url()).segment_bytes(16 << 10)
    }

    fn load(&self, schema: &str) -> Program {
        self.program("load", schema).arg("dump")
    }

    #[track_caller]
    fn assert_holds(&self, schema: &str, dump: &[u8]) {
        let expected = expect_in(self.layout, dump, Nul::Reject, &[].into()).tables;
        let client = &mut self.database.client();
        assert_same(&expected, &self.layout.read(client, schema, "americas"));
    }

    /// Loads until the file is skipped, because a recently changed file is read.
    fn settle(&self, schema: &str) {
        eventually(Duration::from_secs(30), "the file is skipped", || {
            let again = self.load(schema).expect(0).summary();
            again.check(&[("already_loaded", 60)]);
            again.count("files_skipped") == 1
        });
    }
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn a_shared_ledger_separates_the_tables_of_schemas() {
    for layout in Layout::ALL {
        let shared = Shared::new(layout);
        let dump = generated(60, 7, 0.0);
        shared.work.write("dump", &dump);
        for schema in SCHEMAS {
            shared.load(schema).expect(0).summary().check(&[("inserted", 60)]);
            shared.settle(schema);
        }
        // The file is known for both.
        for schema in SCHEMAS {
            shared.load(schema).expect(0).summary().check(&[("files_skipped", 1), ("already_loaded", 60)]);
            shared.program("verify", schema).arg("dump").expect(0);
            let update = shared.load(schema).args(&["--on-conflict", "update"]).expect(0).summary();
            update.check(&[("duplicate", 60), ("already_loaded", 0)]);
            shared.assert_holds(schema, &dump);
            let health = json(&shared.program("health", schema).expect(0));
            assert_eq!(health["last_run"]["table_schema"], schema, "{health}");
        }
        assert_eq!(tables(&shared.database, SHARED), LEDGER);
        for schema in SCHEMAS {
            assert!(tables(&shared.database, schema).iter().all(|name| !name.starts_with("kill_load_")));
        }

        // Events deleted from one schema stay loaded in the other.
        let segments = || {
            let sql = format!("select count(*) from {}.kill_load_segment", quoted(SHARED));
            shared.database.client().query_one(&sql, &[]).expect("a count").get::<_, i64>(0)
        };
        let all = segments();
        assert!(all >= 4, "{all}");
        for args in [&["dump"][..], &["--before", "2100-01-01"]] {
            for dry in [true, false] {
                let delete = shared.program("delete", SCHEMAS[0]).args(args);
                let delete = if dry { delete.arg("--dry-run") } else { delete };
                let deleted = json(&delete.expect(0));
                assert_eq!((&deleted["deleted"], &deleted["segments"]), (&60.into(), &(all / 2).into()));
                assert_eq!(deleted["files"], 1, "{deleted}");
            }
            assert_eq!(segments(), all / 2);
            shared.assert_holds(SCHEMAS[0], b"");
            shared.load(SCHEMAS[1]).expect(0).summary().check(&[("files_skipped", 1)]);
            shared.load(SCHEMAS[0]).expect(0).summary().check(&[("inserted", 60)]);
            shared.assert_holds(SCHEMAS[0], &dump);
            // Prepares the next kind of deletion.
            shared.settle(SCHEMAS[0]);
        }
        shared.assert_holds(SCHEMAS[1], &dump);

        // Recreated tables do not contain the events of the ledger.
        let drop = format!("drop schema {} cascade", quoted(SCHEMAS[0]));
        shared.database.client().batch_execute(&drop).expect("a drop");
        shared.load(SCHEMAS[0]).expect(0).summary().check(&[("inserted", 60)]);
        shared.assert_holds(SCHEMAS[0], &dump);
        shared.settle(SCHEMAS[0]);

        if layout == Layout::Aegis {
            // In this layout each schema holds one server.
            shared.load("asia").args(&["--server", "asia"]).expect(0);
            let failed = shared.load(SCHEMAS[1]).args(&["--server", "asia"]).expect(7);
            assert!(
                failed.summary().error().contains("the ledger has loads of americas into schema"),
                "{failed:?}"
            );
            let delete = ["--server", "asia", "--before", "1d"];
            shared
                .program("delete", SCHEMAS[1])
                .args(&delete)
                .expect(7)
                .says(&["holds the events of americas"]);
            shared.program("delete", "asia").args(&delete).expect(0);
        }
    }
}

#[test]
fn loads_into_two_schemas_do_not_wait_for_each_other() {
    for layout in Layout::ALL {
        let shared = Shared::new(layout);
        let dump = generated(400, 9, 0.0);
        shared.work.write("dump", &dump);
        let loads = SCHEMAS.map(|schema| shared.load(schema).start());
        for load in loads {
            load.finish_after_input().expect(0).summary().check(&[("inserted", 400)]);
        }
        // A running load defers only the indexes of its own tables.
        let other = uuid::Uuid::new_v4();
        let mut client = shared.database.client();
        let running = format!(
            "insert into {}.kill_load_run (id, status, server, layout, sources, version, table_schema)
             select '{other}', 'running', server, layout, sources, version, table_schema from {0}.kill_load_run
             where table_schema = 'Two' limit 1; set application_name to 'aegis-kills {other}'",
            quoted(SHARED)
        );
        client.batch_execute(&running).expect("a run");
        let drop = format!("drop schema {} cascade", quoted(SCHEMAS[0]));
        client.batch_execute(&drop).expect("a drop");
        shared.load(SCHEMAS[0]).expect(0).summary().check(&[("inserted", 400)]);
        let health = json(&shared.program("health", SCHEMAS[0]).expect(0));
        assert!(!health["recommendations"].to_string().contains("index"), "{health}");
        for schema in SCHEMAS {
            shared.assert_holds(schema, &dump);
        }
    }
}

/// The role creates the ledger's schema if it can. Otherwise the error has the statement for the owner.
#[test]
fn a_role_that_cannot_create_the_schema_gets_the_statement() {
    let database = Cluster::shared().database("no_schema");
    let work = Workplace::new();
    work.write("dump", generated(20, 8, 0.0));
    let role = format!("Loader_{}", uuid::Uuid::new_v4().simple());
    let mut owner = database.client();
    let table = include_str!("../fixtures/schema-0.1.0-aegis.sql");
    let (table, _) =
        table.split_once("CREATE TABLE IF NOT EXISTS \"public\".kill_load_run").expect("the ledger");
    // A table of Prisma with grants for the role.
    owner.batch_execute(table).expect("a table");
    let grants = format!(
        "create role \"{role}\" login; revoke create on schema public from public;
         grant select, insert, update on \"KillEvent\" to \"{role}\""
    );
    owner.batch_execute(&grants).expect("a role");
    let url = database.tcp_url().replace("aegis@", &format!("{role}@"));
    let program = |command: &str| work.program(&[command, "--layout", "aegis"]).env("DATABASE_URL", &url);
    let health = program("health").expect(6);
    health.says_in_output("there is no schema aegis_kills, and the role");
    let failed = program("load").arg("dump").expect(7).says(&["aegis-kills schema apply --layout aegis"]);
    let (_, statement) = failed.stderr.split_once("in psql as the owner: ").expect("a statement");
    let (statement, _) = statement.split_once(';').expect("its end");
    assert_eq!(statement, format!("CREATE SCHEMA aegis_kills AUTHORIZATION \"{role}\""));
    owner.batch_execute(statement).expect("the owner may");
    program("health").expect(0);
    for _ in 0..2 {
        program("load").arg("dump").expect(0);
    }
    program("health").expect(0);
    program("verify").arg("dump").expect(0);
    assert_eq!(tables(&database, "aegis_kills"), LEDGER);
    owner.batch_execute(&format!("drop owned by \"{role}\" cascade; drop role \"{role}\"")).expect("it goes");
}

#[test]
fn the_roles_can_use_a_ledger_in_its_own_schema() {
    if find_program(&["psql"], &[]).is_none() {
        return not_tried("roles for a ledger that is apart", "psql is missing");
    }
    let database = Cluster::shared().database("apart_roles");
    let work = Workplace::new();
    let program = |args: &[&str]| work.program(args).env("KILLS_LAYOUT", "aegis");
    program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let names = ["loader", "reader"].map(|name| format!("{name}_{}", uuid::Uuid::new_v4().simple()));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/role.sql");
    let grant = |ledger: &str| {
        let mut psql = Command::new("psql");
        psql.args(["-Xq", &database.url(), "-v", &format!("loader={}", names[0]), "-v"]);
        psql.args([&format!("reader={}", names[1]), "-v", ledger, "-f", file]);
        psql.output_in_time().expect("psql")
    };
    let granted = grant("delete=on");
    assert!(granted.status.success(), "{granted:?}");
    let missing = grant("ledger=nowhere");
    assert!(
        String::from_utf8_lossy(&missing.stderr).contains("schema nowhere does not exist"),
        "{missing:?}"
    );
    let url = |role: &str| database.tcp_url().replace("aegis@", &format!("{role}@"));
    let dump = generated(20, 8, 0.0);
    work.write("dump", &dump);
    for _ in 0..2 {
        program(&["load", "dump"]).env("DATABASE_URL", &url(&names[0])).expect(0);
    }
    program(&["verify", "dump"]).env("DATABASE_URL", &url(&names[1])).expect(0);
    let health = program(&["health"]).env("DATABASE_URL", &url(&names[0])).run();
    program(&["delete", "dump"]).env("DATABASE_URL", &url(&names[0])).expect(0);
    program(&["load", "dump"]).env("DATABASE_URL", &url(&names[0])).expect(0);
    for name in &names {
        database.client().batch_execute(&format!("drop owned by {name}; drop role {name}")).expect("a drop");
    }
    health.expect(0);
}
