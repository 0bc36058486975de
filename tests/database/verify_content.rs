//! `verify` compares content: every change of a stored event is found, and reported with its place and column.

use std::collections::BTreeSet;

use fastrand::Rng;
use postgres::Client;
use serde_json::json;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines, small_event, version};
use crate::support::oracle::{Layout, Nul, expect};
use crate::support::program::{Program, Workplace, assert_tables};
use crate::support::samples;

fn verify(work: &Workplace, database: &Database<'_>, args: &[&str]) -> Program {
    work.program(&["verify"]).args(args).env("DATABASE_URL", &database.url()).env("ALBION_SERVER", "americas")
}

/// The ids that the log reports as missing or different.
fn named_ids(stderr: &str) -> BTreeSet<i64> {
    let id = |line: &str| line.split_once("  event ")?.1.split(' ').next()?.parse().ok();
    stderr.lines().filter_map(id).collect()
}

/// An SQL expression for another value of the type, for a nullable column.
fn other_value(column: &str, kind: &str) -> String {
    match kind {
        "text" | "character varying" => format!("coalesce({column}, '') || 'x'"),
        "smallint" | "integer" | "bigint" => format!("coalesce({column}, 0) + 1"),
        "double precision" => format!("coalesce({column}, 0) * 2 + 0.5"),
        "boolean" => format!("NOT {column}"),
        "timestamp with time zone" => format!("{column} + interval '1 microsecond'"),
        "timestamp without time zone" => format!("{column} - interval '1 millisecond'"),
        "jsonb" => format!("coalesce({column}, '{{}}') || '{{\"changed\": 1}}'"),
        "USER-DEFINED" => {
            format!("CASE {column} WHEN 'group' THEN 'participant' ELSE 'group' END::kill_role")
        }
        other => panic!("a column of type {other}"),
    }
}

/// The compared columns with their types: all except the server, the event's id and columns that the database fills in. A change
/// of the first two moves a row.
fn columns(client: &mut Client, table: &str) -> Vec<(String, String)> {
    let sql = "select quote_ident(column_name), data_type from information_schema.columns
        where table_name = $1 and table_schema = 'public'
          and column_name not in ('server', 'event_id', 'EventId', 'loaded_at', 'ingestedAt') order by 1";
    client.query(sql, &[&table]).expect("columns").iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Makes one random change to the stored event, and returns its description.
fn change(
    client: &mut Client,
    rng: &mut Rng,
    tables: &[(&str, Vec<(String, String)>)],
    key: &str,
    id: i64,
) -> String {
    loop {
        let (table, columns) = &tables[rng.usize(..tables.len())];
        let (name, kind) = &columns[rng.usize(..columns.len())];
        let row = format!(
            "ctid = (select ctid from \"{table}\" where {key} = {id} order by ctid offset {} limit 1)",
            rng.usize(..8)
        );
        let statement = match rng.u8(..10) {
            0 => format!("delete from \"{table}\" where {row}"),
            1 if *table == "kill_player" => format!(
                "insert into kill_player (server, event_id, player_id, role, in_group)
                 values ('americas', {id}, 'nobody', 'group', true)"
            ),
            1 if *table == "kill_loot" => {
                format!("insert into kill_loot (server, event_id, slot) values ('americas', {id}, 99)")
            }
            // The row belongs to another event, or to another game server.
            3 => format!("update \"{table}\" set {key} = -{key} where {row}"),
            4 if *table != "KillEvent" => format!("update \"{table}\" set server = 'asia' where {row}"),
            2 if kind != "boolean" => {
                format!("update \"{table}\" set {name} = null where {row} and {name} is not null")
            }
            _ => format!("update \"{table}\" set {name} = {} where {row}", other_value(name, kind)),
        };
        // The change fails for a NOT NULL column, or if the row does not exist.
        if client.execute(&statement, &[]).is_ok_and(|rows| rows == 1) {
            return statement;
        }
    }
}

/// 1,000 events of 1,200 get one random change each.
fn all_changes_are_found(layout: &str, tables: &[&str], key: &str, seed: u64) {
    let database = Cluster::shared().database("changes");
    let work = Workplace::new();
    let mut events = lines(&generated(1_150, seed, 0.0)).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
    events.extend((1..=50).map(|id| samples::event(id).to_string().into_bytes()));
    let dump = join(&events);
    work.write("dump", &dump);
    work.load(&database, &["--layout", layout, "dump"]).expect(0);
    verify(&work, &database, &["--layout", layout, "dump"]).expect(0);

    let mut client = database.client();
    let mut rng = Rng::with_seed(seed);
    let mut ids: Vec<i64> = client
        .query(&format!("select {key} from \"{}\" order by 1", tables[0]), &[])
        .expect("ids")
        .iter()
        .map(|row| row.get(0))
        .collect();
    rng.shuffle(&mut ids);
    let columns: Vec<_> = tables.iter().map(|table| (*table, columns(&mut client, table))).collect();
    let changes: Vec<(i64, String)> =
        ids[..1_000].iter().map(|&id| (id, change(&mut client, &mut rng, &columns, key, id))).collect();

    let ended =
        verify(&work, &database, &["--layout", layout, "-v", "dump"]).segment_bytes(256 << 10).expect(6);
    let named = named_ids(&ended.stderr);
    let unnoticed: Vec<_> = changes.iter().filter(|(id, _)| !named.contains(id)).collect();
    assert!(unnoticed.is_empty(), "seed {seed}: {unnoticed:?}");
    assert_eq!(named.len(), 1_000, "an event that was not changed is named");

    // The suggested command repairs all of them.
    let command = ended.stdout.lines().last().expect("a command").trim();
    assert!(command.contains("--on-conflict update"), "{command}");
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    work.program(&args).env("DATABASE_URL", &database.url()).expect(0);
    verify(&work, &database, &["--layout", layout, "dump"]).expect(0);
}

#[test]
fn every_change_in_archive_is_found_and_repaired() {
    all_changes_are_found("archive", &["kill_event", "kill_player", "kill_loot"], "event_id", 51);
}

#[test]
fn every_change_in_aegis_is_found_and_repaired() {
    all_changes_are_found("aegis", &["KillEvent"], "\"EventId\"", 52);
}

#[test]
fn the_first_different_column_is_named() {
    let database = Cluster::shared().database("column");
    let work = Workplace::new();
    let dump = join(&(1..=3).map(|id| small_event(id).to_string()).collect::<Vec<_>>());
    work.write("dump", &dump);
    work.load(&database, &["dump"]).expect(0);
    let mut client = database.client();
    client
        .batch_execute(
            "update kill_event set fame = 7 where event_id = 2;
             delete from kill_player where event_id = 3 and role = 'victim'",
        )
        .expect("changes");
    let ended = verify(&work, &database, &["dump"]).expect(6);
    for wanted in [
        "Different: 2 of 3 events are stored with other content.",
        "dump:2  event 2 is different: kill_event: fame is 7, in the dump 1000",
        "dump:3  event 3 is different: kill_player player_id \"victim-id\": row is missing",
        "--on-conflict update dump",
    ] {
        assert!(ended.stdout.contains(wanted), "{wanted:?} is missing in: {}", ended.stdout);
    }
    let by_id = verify(&work, &database, &["--ids-only", "dump"]).expect(0);
    assert_eq!(by_id.stdout, "All 3 events are in the database; the content was not compared.\n");
}

/// Users' columns and columns that the database fills in are not compared.
#[test]
fn users_columns_and_json_formatting_are_no_difference() {
    let database = Cluster::shared().database("other-columns");
    let work = Workplace::new();
    let dump = join(&(1..=5).map(|id| samples::event(id).to_string()).collect::<Vec<_>>());
    work.write("dump", &dump);
    for layout in Layout::ALL.map(Layout::name) {
        work.load(&database, &["--layout", layout, "dump"]).expect(0);
    }
    database
        .client()
        .batch_execute(
            "update kill_event set loaded_at = '2020-01-01';
             alter table kill_player add column note text default 'mine';
             update \"KillEvent\" set \"ingestedAt\" = '2020-01-01', \"battleAlbionId\" = coalesce(\"battleAlbionId\", 5)",
        )
        .expect("changes");
    for layout in Layout::ALL.map(Layout::name) {
        verify(&work, &database, &["--layout", layout, "dump"]).expect(0);
    }
}

/// Pages overlap and can have two versions of an event. One of them is stored.
#[test]
fn a_stored_version_is_no_difference() {
    let database = Cluster::shared().database("versions");
    let work = Workplace::new();
    let versions: Vec<String> =
        (0..40).flat_map(|id| (1..=3).map(move |number| version(id, number))).collect();
    let dump = join(&versions);
    work.write("dump", &dump);
    work.load(&database, &["dump"]).segment_bytes(4 << 10).expect(0);
    verify(&work, &database, &["dump"]).segment_bytes(4 << 10).expect(0);
    work.load(&database, &["--on-conflict", "update", "dump"]).segment_bytes(4 << 10).expect(0);
    verify(&work, &database, &["dump"]).segment_bytes(4 << 10).expect(0);
    // The id of no event of the dump.
    database.client().batch_execute("update kill_event set fame = 99 where event_id = 7").expect("a change");
    let ended = verify(&work, &database, &["dump", "--json"]).segment_bytes(4 << 10).expect(6);
    assert!(ended.stdout.contains(r#""different":3,"different_ids":[7]"#), "{}", ended.stdout);
}

/// The time for the comparison is linear in the rows, and does not count as time in which the server makes no progress.
#[test]
fn events_with_very_many_rows_are_compared() {
    let database = Cluster::shared().database("many-rows");
    let work = Workplace::new();
    // The database has another notation of the soul, so the rows of the event do not have equal bytes.
    let large = |id: i64| {
        let mut event = small_event(id);
        event["Victim"]["Inventory"] = json!(vec![json!({"LegendarySoul": {"a": 1}}); 32_700]);
        event.to_string()
    };
    let dump = join(&(1..=4).map(large).collect::<Vec<_>>());
    work.write("dump", &dump);
    work.load(&database, &["dump"]).expect(0);
    let compared = |file: &str, code: i32| {
        let ended = verify(&work, &database, &[file]).env("DATABASE_STALL_TIMEOUT", "3s").expect(code);
        assert!(!ended.stderr.contains("cancelling the statement"), "{}", ended.stderr);
        ended.stdout
    };
    compared("dump", 0);

    // Short versions precede the stored one.
    let mut versions = vec![small_event(1).to_string(); 2_000];
    versions.push(large(1));
    work.write("versions", join(&versions));
    compared("versions", 0);

    database
        .client()
        .batch_execute(
            "update kill_loot set count = 7 where event_id = 2 and slot = 32699;
             delete from kill_loot where event_id = 3 and slot = 16000;
             insert into kill_loot (server, event_id, slot) values ('americas', 4, 32767)",
        )
        .expect("changes");
    let found = compared("dump", 6);
    for wanted in [
        "dump:2  event 2 is different: kill_loot slot 32699: count is 7, in the dump NULL",
        "dump:3  event 3 is different: kill_loot slot 16000: row is missing",
        "dump:4  event 4 is different: kill_loot slot 32767: row is not in the dump",
    ] {
        assert!(found.contains(wanted), "{wanted:?} is missing in: {found}");
    }
}

#[test]
fn verify_changes_nothing() {
    let database = Cluster::shared().database("read-only");
    let work = Workplace::new();
    let dump = generated(200, 53, 0.0);
    work.write("dump", &dump);
    work.load(&database, &["dump"]).expect(0);
    verify(&work, &database, &["dump"]).env("PGOPTIONS", "-c default_transaction_read_only=on").expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

/// The stored values would be compared with those of another type.
#[test]
fn columns_of_another_type_are_reported_as_by_load() {
    let work = Workplace::new();
    let dump = generated(20, 91, 0.0);
    work.write("dump", &dump);
    for (change, misfit, is_of_ids) in [
        (
            "alter table kill_event alter fame type numeric",
            "kill_event.fame is of type numeric, int8 is needed",
            false,
        ),
        (
            "alter table kill_event alter event_id type numeric",
            "kill_event.event_id is of type numeric, int8 is needed",
            true,
        ),
        (
            "alter table kill_event alter occurred_at type timestamp",
            "kill_event.occurred_at is of type timestamp, timestamptz is needed",
            false,
        ),
        (
            "alter table kill_loot alter count type text",
            "kill_loot.count is of type text, int4 is needed",
            false,
        ),
        (
            "alter table kill_event alter occurred_at type timestamptz(0)",
            "kill_event.occurred_at has the precision 0, 6 is needed \
             (ALTER TABLE \"public\".kill_event ALTER COLUMN occurred_at TYPE timestamptz)",
            false,
        ),
        ("alter table kill_player drop name", "kill_player has no column name", false),
    ] {
        let database = Cluster::shared().database("types");
        work.load(&database, &["dump"]).expect(0);
        verify(&work, &database, &["dump"]).expect(0);
        database.client().batch_execute(change).unwrap_or_else(|error| panic!("{change}: {error:?}"));
        verify(&work, &database, &["dump"]).expect(7).says(&[misfit, "schema print"]);
        let by_ids = verify(&work, &database, &["--ids-only", "dump"]).expect(if is_of_ids { 7 } else { 0 });
        assert_eq!(by_ids.stderr.contains(misfit), is_of_ids, "{}", by_ids.stderr);
    }
    // `delete` refuses them, too: it compares times.
    let database = Cluster::shared().database("types");
    work.load(&database, &["dump"]).expect(0);
    let change = "alter table kill_event alter occurred_at type timestamp";
    database.client().batch_execute(change).expect("another type");
    let delete = work.program(&["delete", "--before", "2100-01-01"]).env("DATABASE_URL", &database.url());
    delete.expect(7).says(&["kill_event.occurred_at is of type timestamp, timestamptz is needed"]);
    let stored = database.client().query_one("select count(*) from kill_event", &[]).expect("a count");
    assert_eq!(stored.get::<_, i64>(0), 20);
}
