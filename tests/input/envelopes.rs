//! `load` of enveloped events, events that name their server, events without a battle, and files of `mongoexport` or an
//! earlier load.

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, gzip, join, lines};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};
use crate::support::samples;

/// The lines of `dump` after `form`.
fn each_line(dump: &[u8], form: impl Fn(usize, &str) -> String) -> Vec<u8> {
    let lines = lines(dump);
    let texts = lines.iter().map(|line| str::from_utf8(line).expect("UTF-8"));
    join(&texts.enumerate().map(|(number, line)| form(number, line)).collect::<Vec<_>>())
}

fn naming(server: &str, line: &str) -> String {
    format!("{{\"server\":\"{server}\",{}", &line[1..])
}

#[test]
fn events_can_name_their_server() {
    let work = Workplace::new();
    let dump = generated(300, 71, 0.0);
    let named = each_line(&dump, |_, line| naming("Live_AMS", line));
    work.write("plain", &named);
    work.write("gzip", gzip(&named));
    for args in [&["plain"][..], &["gzip"], &[]] {
        let database = Cluster::shared().database("named");
        let load = |args: &[&str]| {
            let input =
                if args.contains(&"plain") || args.contains(&"gzip") { Vec::new() } else { named.clone() };
            work.load(&database, args).without("ALBION_SERVER").segment_bytes(64 << 10).stdin(input)
        };
        let run = load(args).expect(0);
        assert_eq!(run.summary().0["server"], "europe");
        assert_tables(&database, "europe", &expect(&dump, Nul::Reject).tables);
        load(args).expect(0).summary().check(&[("already_loaded", 300), ("inserted", 0)]);
        let verify = work.program(&["verify"]).args(args).env("DATABASE_URL", &database.url());
        verify.without("ALBION_SERVER").stdin(named.clone()).expect(0);
        let other = work.load(&database, &["--server", "asia", "--dry-run"]).args(args).stdin(named.clone());
        let rejects = other.expect(3).rejects();
        assert_eq!(rejects.len(), 300);
        assert_eq!(rejects[0].0["field"], "server");
    }
}

#[test]
fn events_of_another_server_are_rejected() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("mixed"));
    let dump = generated(200, 72, 0.0);
    let mixed = each_line(&dump, |number, line| match number % 3 {
        0 => naming("eu", line),
        1 => naming("sgp", line),
        _ => line.to_owned(),
    });
    let load = |args: &[&str]| work.load(&database, args).without("ALBION_SERVER");
    // The first event decides. The reject file has the others and can be loaded.
    let first = load(&["--rejects", "first.ndjson"]).stdin(mixed).expect(3);
    first.summary().check(&[("inserted", 67), ("rejected", 133)]);
    let second = load(&["--rejects", "second.ndjson", "first.ndjson"]).expect(3);
    second.summary().check(&[("events", 133), ("inserted", 67), ("rejected", 66)]);
    assert_eq!(second.summary().0["server"], "asia");
    load(&["second.ndjson"]).expect(2).says(&["the game server is required"]);
    load(&["second.ndjson", "--server", "us"]).expect(0).summary().check(&[("inserted", 66)]);
    let of = |rest: usize| {
        let lines = lines(&dump);
        let chosen: Vec<&[u8]> = lines
            .iter()
            .enumerate()
            .filter(|(number, _)| number % 3 == rest)
            .map(|(_, line)| *line)
            .collect();
        join(&chosen)
    };
    for (server, rest) in [("europe", 0), ("asia", 1), ("americas", 2)] {
        assert_tables(&database, server, &expect(&of(rest), Nul::Reject).tables);
    }
}

/// The reject file has only the event of each envelope, and the server that the envelope named.
#[test]
fn rejects_keep_the_server_of_their_envelope() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("enveloped_servers"));
    let dump = generated(60, 75, 0.0);
    let bad = |line: &str| line.replacen("\"TimeStamp\"", "\"Time\"", 1);
    let mixed = each_line(&dump, |number, line| match number % 3 {
        0 => format!("{{\"region\":\"eu\",\"event\":{line}}}"),
        1 => json!({"server": "sgp", "event": [line]}).to_string(),
        _ => format!("{{\"event\":{},\"region\":\"us\"}}", bad(line)),
    });
    let load = |args: &[&str]| work.load(&database, &["--events-at", "event"]).args(args);
    let first = load(&["--server", "europe", "--rejects", "first.ndjson"]).stdin(mixed);
    first.expect(3).summary().check(&[("inserted", 20), ("rejected", 40)]);
    // They are not loaded under a server that their envelope contradicts.
    let same = load(&["--server", "europe", "--rejects", "same.ndjson", "first.ndjson"]).expect(3);
    same.summary().check(&[("inserted", 0), ("rejected", 40)]);
    let next = load(&["--rejects", "next.ndjson", "same.ndjson"]).without("ALBION_SERVER").expect(3);
    next.summary().check(&[("inserted", 20), ("rejected", 20)]);
    assert_eq!(next.summary().0["server"], "asia");
    let corrected = std::fs::read_to_string(work.path().join("next.ndjson")).expect("rejects");
    let corrected = corrected.replace("\\\"Time\\\"", "\\\"TimeStamp\\\"");
    let last = load(&[]).without("ALBION_SERVER").stdin(corrected).expect(0);
    last.summary().check(&[("inserted", 20)]);
    assert_eq!(last.summary().0["server"], "americas");
}

#[test]
fn implausible_ids_cause_one_warning() {
    let work = Workplace::new();
    let dump = generated(400, 73, 0.0);
    let load = |server: &str| {
        let program = work.program(&["load", "--dry-run", "--server", server]).stdin(dump.clone());
        program.segment_bytes(64 << 10).expect(0).stderr
    };
    assert_eq!(load("americas"), "");
    assert_eq!(load("asia"), "");
    let log = load("europe");
    assert_eq!(log.matches("is implausible for europe").count(), 1, "{log}");
}

#[test]
fn enveloped_events_are_loaded() {
    let work = Workplace::new();
    let plain = samples::sample_events();
    let expected = expect(&plain, Nul::Reject).tables;
    let text = |line: &str| Value::from(line).to_string();
    for (name, path, form) in [
        (
            "queue",
            "data",
            Box::new(|_, line: &str| format!("{{\"id\":1,\"data\":{line}}}"))
                as Box<dyn Fn(usize, &str) -> String>,
        ),
        (
            "page",
            "data.events",
            Box::new(|_, line: &str| format!("{{\"data\":{{\"n\":1,\"events\":[{line}]}}}}")),
        ),
        (
            "rows",
            "raw_json",
            Box::new(|number, line: &str| format!("{{\"id\":{number},\"raw_json\":{}}}", text(line))),
        ),
        ("texts", "rows", Box::new(|_, line: &str| format!("{{\"rows\":[{}]}}", text(line)))),
        (
            "board",
            "*.data",
            Box::new(|number, line: &str| format!("{{\"{number}\":{{\"posted\":true,\"data\":{line}}}}}")),
        ),
    ] {
        let database = Cluster::shared().database(name);
        let dump = each_line(&plain, form);
        work.load(&database, &["--events-at", path]).stdin(dump.clone()).expect(0);
        assert_tables(&database, "americas", &expected);
        let run = work.load(&database, &[]).env("KILLS_EVENTS_AT", path).stdin(dump.clone()).expect(0);
        run.summary().check(&[("inserted", 0), ("rejected", 0)]);
        // Without the option the reject reason and the summary name it.
        let program = work.program(&["load", "--dry-run", "--rejects", &format!("{name}.ndjson")]);
        let run = program.stdin(dump).expect(3);
        assert!(run.stdout.contains(&format!("--events-at '{path}'")), "{}", run.stdout);
    }
}

#[test]
fn rejects_of_events_in_strings_can_be_loaded_again() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("strings"));
    let mut bad = samples::event(2);
    bad["Killer"]["Name"] = "".into();
    let events = json!([samples::event(1), bad, samples::event(3)]).to_string();
    let dump = format!("\n{}\n", json!({"id": 5, "raw": events}));
    work.load(&database, &[]).expect(0);
    database
        .client()
        .batch_execute("alter table kill_event add check (event_id <> 3)")
        .expect("a constraint");
    let run =
        work.load(&database, &["--events-at", "raw", "--rejects", "rejects.ndjson"]).stdin(dump).expect(3);
    run.summary().check(&[("events", 3), ("inserted", 1), ("rejected", 2)]);
    let rejects = run.rejects();
    let [first, second] = &rejects[..] else { panic!("{rejects:?}") };
    for (reject, index) in [(first, 1), (second, 2)] {
        let place = (&reject.0["line"], &reject.0["byte_offset"], &reject.0["index"]);
        assert_eq!(place, (&json!(2), &json!(1), &json!(index)));
    }
    assert_eq!(first.0["field"], "Killer.Name");
    assert_eq!(second.0["sqlstate"], "23514");
    assert_eq!(
        serde_json::from_str::<Value>(second.0["raw"].as_str().expect("text")).expect("JSON"),
        samples::event(3)
    );
    database
        .client()
        .batch_execute("alter table kill_event drop constraint kill_event_event_id_check")
        .expect("none");
    let again = work.load(&database, &["--rejects", "again.ndjson", "rejects.ndjson"]).expect(3);
    again.summary().check(&[("events", 2), ("inserted", 1), ("rejected", 1)]);
}

#[test]
fn the_battle_option_applies_to_events_without_one() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("battle"));
    let event = |id: &i64| {
        let mut event = samples::lean_event(*id);
        event.as_object_mut().expect("an object").remove("BattleId");
        event
    };
    let page = |ids: &[i64]| Value::Array(ids.iter().map(event).collect()).to_string();
    work.write("1337.json", page(&[1, 2]));
    work.write("battle-42.json.gz", gzip(page(&[3]).as_bytes()));
    let load = |args: &[&str]| work.load(&database, &["--layout", "aegis"]).args(args);
    load(&["--battle", "from-name", "1337.json", "battle-42.json.gz"]).expect(0);
    load(&["--battle", "7"]).stdin(page(&[4])).expect(0);
    // The option neither replaces nor removes a stored battle.
    load(&["--on-conflict", "update", "1337.json"]).expect(0).summary().check(&[("updated", 0)]);
    let rows = "select \"EventId\", \"battleAlbionId\" from \"KillEvent\" order by 1";
    let rows = database.client().query(rows, &[]).expect("rows");
    let found: Vec<(i64, Option<i64>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, [(1, Some(1337)), (2, Some(1337)), (3, Some(42)), (4, Some(7))]);
    let run = load(&["--battle", "from-name", "--rejects", "none.ndjson"]).stdin(page(&[5])).expect(3);
    assert_eq!(run.rejects()[0].0["field"], "BattleId");
    load(&["--battle", "x"]).expect(2).says(&["--battle", "from-name"]);
}

/// The reject file's own name has another number.
#[test]
fn corrected_rejects_have_the_battle_of_their_source() {
    let work = Workplace::new();
    let event = |id: i64| {
        let mut event = samples::event(id);
        event.as_object_mut().expect("an object").remove("BattleId");
        event["Killer"]["Name"] = if id % 3 == 0 { "The killer".into() } else { "".into() };
        event
    };
    let page = |ids: [i64; 3]| Value::Array(ids.iter().map(|id| event(*id)).collect()).to_string();
    std::fs::create_dir(work.path().join("battles")).expect("a directory");
    work.write("battles/1337.json", page([1, 2, 3]));
    work.write("battles/42.json", page([4, 5, 6]));
    for layout in ["archive", "aegis"] {
        for by_pipe in [false, true] {
            let database = Cluster::shared().database("battle");
            let load = |args: &[&str]| {
                work.load(&database, &["--layout", layout, "--battle", "from-name"]).args(args)
            };
            let run = load(&["--rejects", "rejects-7.ndjson", "battles"]).expect(3);
            run.summary().check(&[("inserted", 2), ("rejected", 4)]);
            let rejects = std::fs::read_to_string(work.path().join("rejects-7.ndjson")).expect("rejects");
            std::fs::remove_file(work.path().join("rejects-7.ndjson")).expect("to remove it");
            let corrected = rejects.replace(r#"\"Name\":\"\""#, r#"\"Name\":\"Someone\""#);
            work.write("corrected-8.ndjson", &corrected);
            let again = if by_pipe { load(&[]).stdin(corrected) } else { load(&["corrected-8.ndjson"]) };
            again.expect(0).summary().check(&[("inserted", 4)]);
            let sql = if layout == "aegis" {
                r#"select "EventId", "battleAlbionId" from "KillEvent" order by 1"#
            } else {
                "select event_id, battle_id from kill_event order by 1"
            };
            let rows = database.client().query(sql, &[]).expect("rows");
            let found: Vec<(i64, Option<i64>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            let expected = [1, 2, 3, 4, 5, 6].map(|id| (id, Some(if id < 4 { 1337 } else { 42 })));
            assert_eq!(found, expected, "{layout}");
        }
    }
}

/// A reject of a reject, from a file of which only a part is corrected, keeps its battle.
#[test]
fn rejects_of_rejects_keep_their_battle() {
    let work = Workplace::new();
    let event = |id: i64| {
        let mut event = samples::event(id);
        event.as_object_mut().expect("an object").remove("BattleId");
        event["Killer"]["Name"] = "".into();
        event
    };
    work.write("1337.json", Value::Array((1..=3).map(event).collect()).to_string());
    let database = Cluster::shared().database("battle_again");
    let load = |rejects: &str, file: &str| {
        work.load(&database, &["--battle", "from-name", "--rejects", rejects, file])
    };
    load("rejects-7.ndjson", "1337.json").expect(3).summary().check(&[("rejected", 3)]);
    for (number, inserted, rejected) in [(7, 1, 2), (8, 1, 1), (9, 1, 0)] {
        let file = format!("rejects-{number}.ndjson");
        let rejects = std::fs::read_to_string(work.path().join(&file)).expect("rejects");
        // In the first line only.
        work.write(&file, rejects.replacen(r#"\"Name\":\"\""#, r#"\"Name\":\"Someone\""#, 1));
        let run = load(&format!("rejects-{}.ndjson", number + 1), &file);
        let run = run.expect(if rejected > 0 { 3 } else { 0 });
        run.summary().check(&[("inserted", inserted), ("rejected", rejected)]);
    }
    let rows =
        database.client().query("select event_id, battle_id from kill_event order by 1", &[]).expect("rows");
    let found: Vec<(i64, Option<i64>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, [1, 2, 3].map(|id| (id, Some(1337))));
}
