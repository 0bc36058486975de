//! Tables of release 0.1.0 with data are upgraded: nothing is dropped, and no row is rewritten.

use std::collections::BTreeMap;
use std::time::Duration;

use postgres::Client;

use crate::database::aegis;
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines};
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Program, Workplace, assert_tables};

const RELEASED: [(&str, &str); 2] = [
    ("archive", include_str!("../fixtures/schema-0.1.0-archive.sql")),
    ("aegis", include_str!("../fixtures/schema-0.1.0-aegis.sql")),
];

/// A database as release 0.1.0 left it, and its dump.
struct Released<'a> {
    layout: &'static str,
    database: Database<'a>,
    work: Workplace,
    dump: Vec<u8>,
}

impl Released<'_> {
    fn new(layout: &'static str, ddl: &str) -> Self {
        let database = Cluster::shared().database("released");
        let work = Workplace::new();
        let dump = generated(120, 75, 0.0);
        work.write("dump", &dump);
        let mut client = database.client();
        // The rows come from a load of this version in another schema.
        let load = work.load(&database, &["--layout", layout, "--schema", "today", "dump"]);
        let load = load.env("KILLS_LEDGER_SCHEMA", "today");
        load.segment_bytes(64 << 10).expect(0);
        client.batch_execute(ddl).expect("the tables of release 0.1.0");
        let tables: &[&str] =
            if layout == "aegis" { &["KillEvent"] } else { &["kill_event", "kill_player", "kill_loot"] };
        for table in tables.iter().chain(&["kill_load_run", "kill_load_segment"]) {
            copy(&mut client, table);
        }
        client.batch_execute("drop schema today cascade").expect("a drop");
        Self { layout, database, work, dump }
    }

    fn load(&self, dump: &str) -> Program {
        self.work.load(&self.database, &["--layout", self.layout, dump]).segment_bytes(64 << 10)
    }

    #[track_caller]
    fn assert_holds(&self, dump: &[u8]) {
        if self.layout == "aegis" {
            aegis::assert_stored(&self.database, &aegis::expected(dump).tables);
        } else {
            assert_tables(&self.database, "americas", &expect(dump, Nul::Reject).tables);
        }
    }
}

/// Copies the rows of a table from the schema `today`, for the columns that exist in `public`.
fn copy(client: &mut Client, table: &str) {
    let columns = "select quote_ident(column_name), case data_type when 'USER-DEFINED' then '::text::public.' || udt_name else '' end
        from information_schema.columns where table_schema = 'public' and table_name = $1 order by ordinal_position";
    let rows = client.query(columns, &[&table]).expect("columns");
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let values: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0) + row.get(1)).collect();
    let sql = format!(
        "insert into public.\"{table}\" ({}) select {} from today.\"{table}\"",
        names.join(", "),
        values.join(", ")
    );
    client.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The position of each row, the transaction that wrote it, and the files of the tables.
fn rows(client: &mut Client, layout: &str) -> BTreeMap<String, String> {
    let tables: &[&str] =
        if layout == "aegis" { &["\"KillEvent\""] } else { &["kill_event", "kill_player", "kill_loot"] };
    let rows = tables.iter().chain(&["kill_load_segment"]).flat_map(|table| {
        let sql =
            format!("select '{table} ' || pg_relation_filenode('{table}') || ctid, xmin::text from {table}");
        client.query(&sql, &[]).expect("rows")
    });
    rows.map(|row| (row.get(0), row.get(1))).collect()
}

/// All relations, columns, types, indexes and comments.
fn catalog(client: &mut Client) -> Vec<String> {
    let sql = "select concat_ws(' ', c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
               from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
               where c.relnamespace = 'public'::regnamespace
               union all select indexdef from pg_indexes where schemaname = 'public'
               union all select enumtypid::regtype || enumlabel from pg_enum
               union all select concat_ws(' ', c.relname, a.attname, d.description) from pg_description d
               join pg_class c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass
               left join pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0
               where c.relnamespace = 'public'::regnamespace
               order by 1";
    client.query(sql, &[]).expect("rows").iter().map(|row| row.get(0)).collect()
}

#[test]
fn the_owner_upgrades_released_tables() {
    for (layout, ddl) in RELEASED {
        let fresh = Cluster::shared().database("fresh");
        let work = Workplace::new();
        let apply = work.program(&["schema", "apply", "--layout", layout, "--ledger-schema", "public"]);
        apply.env("DATABASE_URL", &fresh.url()).expect(0);
        let wanted = catalog(&mut fresh.client());
        for by_load in [true, false] {
            let released = Released::new(layout, ddl);
            let mut client = released.database.client();
            let before = rows(&mut client, layout);
            let health = || {
                let health = released.work.program(&["health", "--json", "--layout", layout]);
                health.env("DATABASE_URL", &released.database.url()).expect(0).stdout
            };
            assert!(health().contains("kill_load_segment.oldest_event is missing: run: "));
            if by_load {
                // Loaded events are recognized, and new ones are loaded.
                let run = released.load("dump").expect(0).summary();
                run.check(&[("already_loaded", 120), ("inserted", 0)]);
            }
            let apply = released.work.program(&["schema", "apply", "--layout", layout]);
            let applied = apply.env("DATABASE_URL", &released.database.url()).expect(0);
            assert!(by_load || applied.stdout.starts_with("tables upgraded in schema"), "{}", applied.stdout);
            assert_eq!(catalog(&mut client), wanted, "{layout}");
            assert_eq!(rows(&mut client, layout), before, "no row is written again");
            assert!(!health().contains("is missing"));
            released.assert_holds(&released.dump);

            let more = [&released.dump[..], &generated(140, 75, 0.0)].concat();
            released.work.write("more", &more);
            released.load("more").expect(0);
            let delete = released.work.program(&["delete", "--layout", layout, "dump"]);
            delete.env("DATABASE_URL", &released.database.url()).segment_bytes(64 << 10).expect(0);
            let gone = lines(&released.dump);
            let left: Vec<&[u8]> = lines(&more).into_iter().filter(|line| !gone.contains(line)).collect();
            released.assert_holds(&join(&left));
        }
    }
}

#[test]
fn a_role_that_is_not_the_owner_gets_the_upgrade_statements() {
    for (layout, ddl) in RELEASED {
        let released = Released::new(layout, ddl);
        let mut client = released.database.client();
        let role = format!("upgrade_{}", uuid::Uuid::new_v4().simple());
        client
            .batch_execute(&format!(
                "create role {role} login; revoke create on schema public from public; grant usage on schema public to {role};
                 grant select, insert, update, delete on all tables in schema public to {role}"
            ))
            .expect("a role");
        let url = released.database.tcp_url().replace("aegis@", &format!("{role}@"));
        let before = rows(&mut client, layout);
        let load = || released.load("dump").env("DATABASE_URL", &url);
        let health = |code| {
            let health = released.work.program(&["health", "--layout", layout]);
            health.env("DATABASE_URL", &url).expect(code).stdout
        };
        let unhealthy = health(6);
        assert!(unhealthy.starts_with("Unhealthy: this role cannot add the missing objects"), "{unhealthy}");
        assert!(unhealthy.contains("ADD COLUMN IF NOT EXISTS \"table_schema\""), "{unhealthy}");
        let failed = load().expect(7).summary();
        failed.check(&[("rejected", 0), ("inserted", 0)]);
        let (_, statements) = failed.error().split_once("in psql as the owner: ").expect("statements");
        let (statements, _) = statements.split_once("; or in a shell").expect("an alternative");
        for column in ["first_event_id", "last_event_id", "oldest_event", "table_schema"] {
            assert!(statements.contains(column), "{statements}");
        }
        assert_eq!(rows(&mut client, layout), before);
        client.batch_execute(statements).expect("the owner may");
        let sql = "select obj_description('kill_load_segment'::regclass)";
        let comment: String = client.query_one(sql, &[]).expect("a comment").get(0);
        assert!(comment.contains("schema version "), "{comment}");
        let healthy = health(0);
        let unused = "so each load reads all unchanged files again: run in ";
        assert!(!healthy.contains(unused), "{healthy}");
        let loaded = load().expect(0);
        loaded.summary().check(&[("already_loaded", 120)]);
        eventually(Duration::from_secs(30), "the unchanged file is skipped", || {
            load().expect(0).summary().count("files_skipped") == 1
        });
        if layout == "archive" {
            // A load needs no index, and only the owner can create them.
            let missing = "the index kill_player_guild_deaths is missing: run in a shell as the owner, with ";
            assert!(healthy.contains(missing), "{healthy}");
            loaded.says(&["missing indexes: kill_player_guild_deaths", "in a shell as the owner, with "]);
        }
        released.assert_holds(&released.dump);
        client.batch_execute("drop table kill_load_file").expect("the owner may");
        let healthy = health(0);
        assert!(
            healthy.contains(&format!("kill_load_file is missing, {unused}a shell as the owner, with ")),
            "{healthy}"
        );
        load().expect(0).summary().check(&[("already_loaded", 120), ("files_skipped", 0)]);
        let apply = released.work.program(&["schema", "apply", "--layout", layout]);
        apply.env("DATABASE_URL", &released.database.url()).expect(0);
        let healthy = health(0);
        assert!(
            healthy.contains(&format!("UPDATE on kill_load_file, {unused}psql as the owner: ")),
            "{healthy}"
        );
        let grant = format!("GRANT SELECT, INSERT, UPDATE ON \"public\".kill_load_file TO {role}");
        assert!(healthy.contains(&grant), "{healthy}");
        client.batch_execute(&grant).expect("the owner may");
        assert!(!health(0).contains(unused));
        client.batch_execute(&format!("drop owned by {role}; drop role {role}")).expect("it goes");
    }
}

#[test]
fn tables_of_a_newer_program_are_used_with_a_warning() {
    let database = Cluster::shared().database("newer");
    let work = Workplace::new();
    work.write("dump", generated(20, 76, 0.0));
    work.load(&database, &["dump"]).expect(0);
    let mut client = database.client();
    client
        .batch_execute(
            "comment on table kill_load_segment is 'One row; schema version 99';
             alter table kill_event add later text; alter table kill_load_segment add later text",
        )
        .expect("a newer version");
    work.load(&database, &["--force", "dump"]).expect(0).says(&["schema version 99"]);
    let apply = work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url());
    apply.expect(0).says(&["schema version 99"]);
    let sql = "select obj_description('kill_load_segment'::regclass)";
    let comment: String = client.query_one(sql, &[]).expect("a comment").get(0);
    assert!(comment.ends_with("schema version 99"), "{comment}");
}

/// The tables and columns of the program's schemas without a comment.
fn uncommented(client: &mut Client) -> Vec<String> {
    let sql = "select concat_ws('.', c.relname, a.attname) from pg_class c
               join pg_namespace n on n.oid = c.relnamespace
               join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
               where c.relkind = 'r' and n.nspname in ('public', 'aegis_kills')
                 and (col_description(c.oid, a.attnum) is null or obj_description(c.oid) is null)
               order by 1";
    client.query(sql, &[]).expect("names").iter().map(|row| row.get(0)).collect()
}

#[test]
fn tables_and_columns_have_comments() {
    let database = Cluster::shared().database("comments");
    let work = Workplace::new();
    work.write("dump", generated(5, 77, 0.0));
    work.load(&database, &["dump"]).expect(0);
    let mut client = database.client();
    assert_eq!(uncommented(&mut client), [""; 0]);
    // Comments of the owner stay.
    client.batch_execute("comment on column kill_event.fame is 'mine'; drop table kill_loot").expect("done");
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    work.load(&database, &[]).stdin(generated(6, 78, 0.0)).expect(0);
    let sql = "select (select description from pg_description where objoid = 'kill_event'::regclass
                 and objsubid = (select attnum from pg_attribute where attrelid = objoid and attname = 'fame'))
               || ' ' || obj_description('kill_loot'::regclass)";
    let comments: String = client.query_one(sql, &[]).expect("comments").get(0);
    assert_eq!(comments, "mine One row per item in the inventory of the victim");
    // A load without other changes adds none, because it would wait for VACUUM and the like.
    let sql = "comment on column kill_event.location is null; comment on column kill_load_file.name is null";
    client.batch_execute(sql).expect("no comments");
    work.load(&database, &[]).stdin(generated(7, 79, 0.0)).expect(0);
    assert_eq!(uncommented(&mut client), ["kill_event.location", "kill_load_file.name"]);
    let apply = || work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    apply().says_in_output("comments added to the tables in schema");
    assert_eq!(uncommented(&mut client), [""; 0]);
    apply().says_in_output("all tables and indexes exist");
}

/// `prisma db pull` warns about comments.
#[test]
fn the_table_of_prisma_has_no_comments() {
    let database = Cluster::shared().database("comments_aegis");
    let work = Workplace::new();
    work.write("dump", generated(5, 77, 0.0));
    work.load(&database, &["--layout", "aegis", "dump"]).expect(0);
    let apply = work.program(&["schema", "apply", "--layout", "aegis"]);
    apply.env("DATABASE_URL", &database.url()).expect(0);
    let uncommented = uncommented(&mut database.client());
    assert!(uncommented.len() == 17, "{uncommented:?}");
    assert!(uncommented.iter().all(|name| name.starts_with("KillEvent.")), "{uncommented:?}");
}

#[test]
fn a_released_ledger_serves_other_schemas_too() {
    for (layout, ddl) in RELEASED {
        let released = Released::new(layout, ddl);
        let other = || released.load("dump").args(&["--schema", "other", "--ledger-schema", "public"]);
        // The events of the other schema's tables are not in these, and stay known.
        other().expect(0).summary().check(&[("inserted", 120)]);
        released.load("dump").expect(0).summary().check(&[("already_loaded", 120)]);
        other().expect(0).summary().check(&[("already_loaded", 120)]);
        let delete = ["delete", "--layout", layout, "--before", "2100-01-01"];
        let delete = released.work.program(&delete).env("DATABASE_URL", &released.database.url());
        delete.expect(0);
        released.assert_holds(b"");
        other().expect(0).summary().check(&[("already_loaded", 120)]);
        released.load("dump").expect(0).summary().check(&[("inserted", 120)]);
        released.assert_holds(&released.dump);
    }
}
