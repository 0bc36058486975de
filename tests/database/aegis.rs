//! Layout `aegis`: the table that the TypeScript Albion Aegis keeps through Prisma.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, in_arrays, join, lines, small_event};
use crate::support::oracle::{
    Cell, Expected, Layout, Nul, Row, Tables, assert_same, expect, expect_in, read_aegis, read_tables,
};
use crate::support::program::{Ended, Program, Workplace, assert_tables};
use crate::support::progress::{in_small_steps, segments};
use crate::support::{eventually, hostile, samples};

pub(crate) fn load(work: &Workplace, database: &Database<'_>, args: &[&str]) -> Program {
    work.load(database, &["--layout", "aegis"]).args(args)
}

/// The expected result of a load with the default `--nul`.
pub(crate) fn expected(dump: &[u8]) -> Expected {
    expect_in(Layout::Aegis, dump, Nul::Reject, &BTreeSet::new())
}

#[track_caller]
pub(crate) fn assert_stored(database: &Database<'_>, expected: &Tables) {
    assert_same(expected, &read_aegis(&mut database.client(), "public"));
}

/// Asserts that a run stored exactly `dump` in an empty table, and that its summary agrees.
#[track_caller]
fn assert_loaded(database: &Database<'_>, dump: &[u8], run: &Ended) {
    let expected = expected(dump);
    assert_stored(database, &expected.tables);
    let summary = run.summary();
    assert_eq!(summary.0["layout"], "aegis");
    summary.check(&[
        ("events", expected.events),
        ("inserted", expected.loaded()),
        ("rejected", expected.rejected.len() as u64),
        ("unfinished", 0),
    ]);
}

/// The sample events without those whose fame exceeds the column's type. The fixtures contain one.
pub(crate) fn fitting_events() -> Vec<u8> {
    let events = samples::sample_events();
    join(&lines(&events).into_iter().filter(|line| expected(line).rejected.is_empty()).collect::<Vec<_>>())
}

/// For each row: its position, the transaction that wrote it, and `ingestedAt`.
fn places(database: &Database<'_>) -> BTreeMap<i64, (String, String)> {
    let sql = r#"select "EventId", ctid::text || ' ' || xmin, "ingestedAt"::text from "KillEvent""#;
    let rows = database.client().query(sql, &[]).expect("rows");
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

#[test]
fn real_and_generated_events_are_stored_in_aegis() {
    let dump = [fitting_events(), generated(300, 91, 20.0)].concat();
    let work = Workplace::new();
    work.write("dump", &dump);
    for (segment_bytes, workers) in [(8 << 20, 1), (16 << 10, 4)] {
        let database = Cluster::shared().database("aegis");
        let run = load(&work, &database, &["dump"]).segment_bytes(segment_bytes).workers(workers).expect(0);
        assert_loaded(&database, &dump, &run);
        let sql = r#"select bool_and(abs(extract(epoch from (now() at time zone 'utc') - "ingestedAt")) < 600)
                     from "KillEvent""#;
        let is_utc: bool = database.client().query_one(sql, &[]).expect("an answer").get(0);
        assert!(is_utc, "ingestedAt is in UTC, as Prisma takes it to be");
    }
    let database = Cluster::shared().database("aegis_arrays");
    let run = load(&work, &database, &[]).stdin(in_arrays(&dump, 51)).expect(0);
    assert_loaded(&database, &dump, &run);
    let verify = |args: &[&str], code| {
        let program = work.program(&["verify", "--json"]).args(args).env("DATABASE_URL", &database.url());
        let found: Value = serde_json::from_str(&program.expect(code).stdout).expect("JSON");
        found["missing"].as_u64().expect("a count")
    };
    assert_eq!(verify(&["dump", "--layout", "aegis"], 0), 0);
    database
        .client()
        .batch_execute(r#"delete from "KillEvent" where "TotalVictimKillFame" > 0"#)
        .expect("gone");
    assert!(verify(&["dump", "--layout", "aegis"], 6) > 100);
}

#[test]
fn the_reduced_format_of_albionbb_loads() {
    let text = r#"{"EventId":12,"TimeStamp":"2025-08-25T21:50:19.445Z","TotalVictimKillFame":0,
        "Killer":{"Id":"k","Name":"K","GuildName":"A guild","AllianceName":"ENTR","AverageItemPower":1088.16418,
            "Equipment":{"MainHand":{"Name":"2H_DUALSWORD","Type":"T5_2H_DUALSWORD@1","Quality":2},"Mount":null}},
        "Victim":{"Id":"v","Name":"V","GuildName":"","AllianceName":"","AverageItemPower":0,
            "Equipment":{"MainHand":null,"Mount":null}}}"#;
    let bare = r#"{"EventId":13,"TimeStamp":"1969-12-31T23:59:59.9999999Z","TotalVictimKillFame":2147483647,
        "Killer":{"Id":"k","Name":"K"},"Victim":{"Id":"v","Name":"V","Equipment":null}}"#;
    let dump = join(&[text.replace('\n', " "), bare.replace('\n', " ")]);
    let database = Cluster::shared().database("aegis_reduced");
    let work = Workplace::new();
    let run = load(&work, &database, &[]).stdin(dump.clone()).expect(0);
    assert_loaded(&database, &dump, &run);
    // Exact values, besides the oracle: the services read these.
    let rows = database
        .client()
        .query(r#"select (to_jsonb(k) - 'ingestedAt')::text from "KillEvent" k order by "EventId""#, &[]);
    let rows: Vec<Value> =
        rows.expect("rows").iter().map(|row| serde_json::from_str(row.get(0)).expect("JSON")).collect();
    let first: Value = serde_json::from_str(text).expect("JSON");
    let expected = json!({
        "EventId": 12, "TimeStamp": "2025-08-25T21:50:19.445", "TotalVictimKillFame": 0, "battleAlbionId": null,
        "killerId": "k", "killerName": "K", "killerGuild": "A guild", "killerAlliance": "ENTR",
        "killerAvgIP": 1088.16418, "victimId": "v", "victimName": "V", "victimGuild": null, "victimAlliance": null,
        "victimAvgIP": 0, "killerEquipment": first["Killer"]["Equipment"],
        "victimEquipment": {"MainHand": null, "Mount": null},
    });
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1]["TimeStamp"], "1969-12-31T23:59:59.999");
    assert_eq!((&rows[1]["killerAvgIP"], &rows[1]["killerEquipment"]), (&json!(0), &Value::Null));
    let archive = Cluster::shared().database("archive_reduced");
    work.load(&archive, &[]).stdin(dump.clone()).expect(0);
    assert_tables(&archive, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn hostile_lines_are_accepted_or_rejected_by_the_rules() {
    let hostile = hostile::lines(&samples::event(9_000_000_000).to_string());
    let dump = join(&hostile.iter().map(|(_, line, _)| line).collect::<Vec<_>>());
    let work = Workplace::new();
    for (mode, nul) in [("reject", Nul::Reject), ("strip", Nul::Strip), ("replace", Nul::Replace)] {
        let database = Cluster::shared().database("aegis_hostile");
        let run = load(&work, &database, &["--nul", mode]).stdin(dump.clone()).expect(3);
        let rejects = run.rejects();
        let rejected = rejects.iter().map(|reject| (reject.line(), reject.index())).collect();
        let expected = expect_in(Layout::Aegis, &dump, nul, &rejected);
        assert_stored(&database, &expected.tables);
        assert_eq!(rejects.len(), expected.rejected.len());
        for (reject, wanted) in rejects.iter().zip(&expected.rejected) {
            assert_eq!(reject.line(), wanted.line);
            assert!(
                wanted.allows(reject.index(), reject.text("field")),
                "{:?} {wanted:?}: {}",
                reject.text("field"),
                reject.0
            );
        }
    }
}

#[test]
fn a_value_that_does_not_fit_is_rejected_with_its_place() {
    let (wide, narrow) = ("ß".repeat(65), "ß".repeat(64));
    let mut events: Vec<Value> = (1..=24).map(samples::event).collect();
    let mut misfits = BTreeMap::new();
    for (index, (pointer, field, value)) in [
        ("/Killer/Id", "Killer.Id", json!(wide)),
        ("/Killer/Name", "Killer.Name", json!("n".repeat(49))),
        ("/Killer/GuildName", "Killer.GuildName", json!(wide)),
        ("/Killer/AllianceName", "Killer.AllianceName", json!("a".repeat(17))),
        ("/Victim/Id", "Victim.Id", json!(wide)),
        // PostgreSQL itself would cut off the spaces silently.
        ("/Victim/Name", "Victim.Name", json!(format!("{}{}", "n".repeat(48), " "))),
        ("/Victim/GuildName", "Victim.GuildName", json!(wide)),
        ("/Victim/AllianceName", "Victim.AllianceName", json!("a".repeat(17))),
        ("/TotalVictimKillFame", "TotalVictimKillFame", json!(2_147_483_648_i64)),
        ("/TotalVictimKillFame", "TotalVictimKillFame", json!(-2_147_483_649_i64)),
        ("/Victim/Equipment/Head/ActiveSpells", "Victim.Equipment", json!(["\0"])),
    ]
    .into_iter()
    .enumerate()
    {
        *events[index * 2].pointer_mut(pointer).expect("a field") = value;
        misfits.insert(index as u64 * 2 + 1, field);
    }
    for (pointer, value) in [
        ("/Killer/Id", json!(narrow)),
        ("/Killer/Name", json!("日".repeat(48))),
        ("/Killer/GuildName", json!(narrow)),
        ("/Victim/AllianceName", json!("日".repeat(16))),
        ("/TotalVictimKillFame", json!(-2_147_483_648_i64)),
    ] {
        *events[23].pointer_mut(pointer).expect("a field") = value;
    }
    let dump = join(&events.iter().map(Value::to_string).collect::<Vec<_>>());
    let database = Cluster::shared().database("aegis_misfits");
    let work = Workplace::new();
    let run = load(&work, &database, &[]).stdin(dump.clone()).expect(3);
    assert_loaded(&database, &dump, &run);
    let rejects = run.rejects();
    let found: BTreeMap<u64, &str> =
        rejects.iter().map(|reject| (reject.line(), reject.text("field").expect("a field"))).collect();
    assert_eq!(found, misfits);
    for reject in &rejects {
        let line = usize::try_from(reject.line()).expect("a line");
        assert_eq!(reject.raw(), lines(&dump)[line - 1]);
        assert_eq!(reject.text("sqlstate"), None, "it is found before the database sees it");
    }
    // The layout `archive` stores all of them except the last, which has a NUL.
    work.load(&database, &[]).stdin(dump.clone()).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

/// An event with a version. Only every second event names its battle.
fn version(id: i64, version: i64) -> String {
    let mut event = small_event(id);
    event["TotalVictimKillFame"] = json!(version);
    event["Killer"]["Equipment"] = json!({"MainHand": {"Type": "T4_BOW", "Count": version}});
    if version % 2 == 1 {
        event["BattleId"] = json!(id * 1000 + version);
    }
    event.to_string()
}

/// The expected tables after an update with all lines: the last version wins, and a known battle stays.
fn updated(lines: &[String]) -> Tables {
    let mut tables = Tables::default();
    for line in lines {
        for (id, mut row) in expected(line.as_bytes()).tables.aegis {
            let battle = tables.aegis.get(&id).map(|old: &Row| old["battleAlbionId"].clone());
            if let (Some(battle), Cell::Null) = (battle, &row["battleAlbionId"]) {
                row.insert("battleAlbionId", battle);
            }
            tables.aegis.insert(id, row);
        }
    }
    tables
}

#[test]
fn an_update_rewrites_changed_events_and_keeps_battle_and_ingest_time() {
    let database = Cluster::shared().database("aegis_update");
    let work = Workplace::new();
    let stored: Vec<String> = (1..=40).map(|id| version(id, if id <= 30 { 1 } else { 2 })).collect();
    load(&work, &database, &[]).stdin(join(&stored)).expect(0).summary().check(&[("inserted", 40)]);
    database.client().batch_execute(r#"update "KillEvent" set "ingestedAt" = '2020-01-01'"#).expect("done");
    let before = places(&database);

    // Skipped, regardless of their content.
    let other: Vec<String> = (1..=40).map(|id| version(id, 5)).collect();
    load(&work, &database, &[]).stdin(join(&other)).expect(0).summary().check(&[("duplicate", 40)]);
    assert_eq!(places(&database), before);
    assert_stored(&database, &updated(&stored));

    // In turn: equal, without the known battle, another version, another version with a new battle, new.
    let without_battle = |id| {
        let mut event: Value = serde_json::from_str(&version(id, 1)).expect("JSON");
        event.as_object_mut().expect("an event").remove("BattleId");
        event.to_string()
    };
    let news: Vec<String> = (1..=50)
        .map(|id| match id {
            1..=10 => version(id, 1),
            11..=20 => without_battle(id),
            21..=30 => version(id, 4),
            _ => version(id, 3),
        })
        .collect();
    let update =
        || load(&work, &database, &["--on-conflict", "update"]).stdin(join(&news)).expect(0).summary();
    update().check(&[("inserted", 10), ("updated", 20), ("duplicate", 20)]);
    assert_stored(&database, &updated(&[&stored[..], &news].concat()));
    let after = places(&database);
    assert!((1..=20).all(|id| after[&id] == before[&id]), "what does not differ is not written");
    assert!((21..=40).all(|id| after[&id].0 != before[&id].0 && after[&id].1 == before[&id].1));
    update().check(&[("inserted", 0), ("updated", 0), ("duplicate", 50)]);
    assert_eq!(places(&database), after, "a run without news writes no row");
}

#[test]
fn versions_in_one_segment_end_as_in_several() {
    let events: Vec<String> =
        (0..400).map(|number| version(1 + number * 7 % 30, number * number % 11)).collect();
    // Of a line that ends within an event, the events before that are stored.
    let (whole, torn) = (version(3, 99), format!("[{},{{", version(3, 99)));
    let valid: Vec<String> = [&events[..200], &[whole], &events[200..]].concat();
    let events: Vec<String> = [&events[..200], &[torn], &events[200..]].concat();
    for (segment_bytes, workers) in [(8 << 20, 1), (4 << 10, 4)] {
        let database = Cluster::shared().database("aegis_versions");
        let run = load(&Workplace::new(), &database, &["--on-conflict", "update"])
            .segment_bytes(segment_bytes)
            .workers(workers)
            .stdin(join(&events))
            .expect(3);
        run.summary().check(&[("events", 402), ("inserted", 30), ("rejected", 1)]);
        assert_stored(&database, &updated(&valid));
    }
}

#[test]
fn both_layouts_fit_into_one_schema_of_any_name() {
    let work = Workplace::new();
    let dump = fitting_events();
    for schema in ["public", "we\"ird", "it's", "a$$b$_$c", "back\\slash", "Größe 日本"] {
        let database = Cluster::shared().database("aegis_both");
        let run = |layout| {
            let run = work.load(&database, &["--layout", layout, "--schema", schema]).stdin(dump.clone());
            run.expect(0).summary()
        };
        let both = expected(&dump).tables.aegis.len() as u64;
        for layout in ["aegis", "archive"] {
            run(layout).check(&[("inserted", both)]);
        }
        for layout in ["aegis", "archive"] {
            run(layout).check(&[("already_loaded", both), ("inserted", 0)]);
        }
        let mut client = database.client();
        assert_same(&expected(&dump).tables, &read_aegis(&mut client, schema));
        let archive = read_tables(&mut client, schema, "americas");
        assert_same(&expect(&dump, Nul::Reject).tables, &archive);
    }
}

#[test]
fn a_second_server_in_one_schema_is_rejected() {
    let database = Cluster::shared().database("aegis_servers");
    let work = Workplace::new();
    let start = |args: &[&str]| load(&work, &database, args).stdin(version(1, 1) + "\n");
    let run = |args: &[&str]| start(args).expect(0);
    assert_eq!(run(&["--server", "europe"]).stderr, "");
    assert_eq!(run(&["--server", "europe"]).stderr, "");
    let other = run(&["--server", "asia", "--schema", "asia"]);
    assert!(
        other.stderr.contains("created the schema \"asia\"") && !other.stderr.contains("collide"),
        "{}",
        other.stderr
    );
    for args in [&["--server", "asia"][..], &["--server", "asia", "--on-conflict", "update", "-q"]] {
        let failed = start(args).expect(7);
        let error = failed.summary().error().to_owned();
        assert!(error.contains("europe") && error.contains("--schema aegis_asia"), "{error}");
    }
    let sql =
        "select count(*) from aegis_kills.kill_load_run where server = 'asia' and table_schema = 'public'";
    let runs: i64 = database.client().query_one(sql, &[]).expect("a count").get(0);
    assert_eq!(runs, 0, "nothing was written");
}

#[test]
fn two_concurrent_loads_store_all_events() {
    let database = Cluster::shared().database("aegis_two");
    let work = Workplace::new();
    let dump = generated(400, 92, 10.0);
    work.write("dump.ndjson", &dump);
    let other = join(&lines(&dump).into_iter().rev().collect::<Vec<_>>());
    let running = in_small_steps(&work, &database).args(&["--layout", "aegis"]).start();
    load(&work, &database, &["--on-conflict", "update"]).segment_bytes(16 << 10).stdin(other).expect(0);
    running.finish().expect(0);
    assert_stored(&database, &expected(&dump).tables);
}

#[test]
fn a_killed_load_into_aegis_can_be_repeated() {
    let database = Cluster::shared().database("aegis_sigkill");
    let work = Workplace::new();
    let dump = generated(700, 93, 5.0);
    work.write("dump.ndjson", &dump);
    let program =
        || in_small_steps(&work, &database).args(&["--layout", "aegis", "--ledger-schema", "public"]);
    let mut random = fastrand::Rng::with_seed(93);
    let mut killed = 0;
    for _ in 0..8 {
        let mut running = program().start();
        let (begin, most) = (segments(&database), random.i64(1..20));
        eventually(Duration::from_mins(1), "its moment comes", || {
            running.has_ended() || segments(&database) > begin + most
        });
        if !running.has_ended() {
            running.signal(Signal::SIGKILL);
        }
        killed += u64::from(running.finish().code == 137);
    }
    assert!(killed > 2, "{killed}");
    let expected = expected(&dump);
    program().expect(0).summary().check(&[("events", expected.events), ("unfinished", 0)]);
    assert_stored(&database, &expected.tables);
    let sum = "select sum(inserted)::bigint from kill_load_segment where layout = 'aegis'";
    let inserted: i64 = database.client().query_one(sum, &[]).expect("a sum").get(0);
    assert_eq!(u64::try_from(inserted), Ok(expected.loaded()), "nothing is there twice");
    program().expect(0).summary().check(&[("already_loaded", expected.events), ("inserted", 0)]);
}
