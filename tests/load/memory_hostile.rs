//! The peak memory for hostile dumps: rows far longer than their text, long strings, long messages of triggers.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::memory::{check, event_with, load_with};
use crate::support::cluster::{Cluster, Database};
use crate::support::eventually;
use crate::support::program::{Ended, Program, Workplace};

const PEAK_MAX_KIB: u64 = 256 << 10;
const WAIT_MAX: Duration = Duration::from_mins(3);

/// Runs a program whose input is these lines. Returns its peak in KiB as well.
fn run_with(program: Program, mut lines: impl Iterator<Item = String> + Send) -> (u64, Ended) {
    let mut running = program.env("KILLS_PARSE_THREADS", "4").start();
    let mut input = running.take_input();
    let mut peak = 0;
    thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends early says why.
            let _ = lines.try_for_each(|line| input.write_all(line.as_bytes()));
        });
        let status = format!("/proc/{}/status", running.pid());
        eventually(WAIT_MAX, "the program ends", || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            // A process that has ended has no memory.
            if let Some(now) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
                peak = now.trim().trim_end_matches(" kB").parse().expect("a number");
            }
            running.has_ended()
        });
    });
    (peak, running.finish())
}

#[track_caller]
fn check_peak(name: &str, peak: u64, peak_max: u64) {
    assert!((1..peak_max).contains(&peak), "{name}: {peak} KiB, and at most {peak_max} are allowed");
}

fn verify(work: &Workplace, database: &Database<'_>) -> Program {
    work.program(&["verify", "--json"]).env("DATABASE_URL", &database.url())
}

fn findings(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).expect("one JSON object")
}

fn inventory(item: &str, items: usize) -> String {
    format!(",\"Inventory\":[{}{item}]", format!("{item},").repeat(items - 1))
}

/// 28 KB of text become 400 KB of rows, on both sides of the comparison.
#[test]
fn memory_of_verify_is_bounded_for_many_players() {
    const EVENTS: u64 = 700;
    let players = |from: u64| {
        let players: Vec<String> = (from..from + 1000).map(|id| format!("{{\"Id\":\"{id:x}\"}}")).collect();
        players.join(",")
    };
    let lists = format!("}},\"Participants\":[{}],\"GroupMembers\":[{}]}}\n", players(0), players(1000));
    let line = move |id: u64| event_with(id, "").replace("}}\n", &lists);
    let database = Cluster::shared().database("memory verify players");
    let work = Workplace::new();
    let dump: String = (1..=EVENTS).map(&line).collect();
    work.load(&database, &[]).stdin(dump).expect(0).summary().check(&[("inserted", EVENTS)]);
    let (peak, ended) = run_with(verify(&work, &database), (1..=EVENTS).map(line));
    let found = findings(&ended.expect(0));
    assert_eq!((&found["events"], &found["present"]), (&json!(EVENTS), &json!(EVENTS)), "{found}");
    check_peak("players", peak, PEAK_MAX_KIB);
}

/// The stored rows can be longer than those of the compared dump.
#[test]
fn memory_of_verify_is_bounded_for_long_stored_events() {
    const EVENTS: u64 = 100;
    let long = inventory("{}", 30_000);
    let database = Cluster::shared().database("memory verify stored");
    let work = Workplace::new();
    let dump: String = (1..=EVENTS).map(|id| event_with(id, &long)).collect();
    work.load(&database, &[]).stdin(dump).expect(0).summary().check(&[("inserted", EVENTS)]);
    let (peak, ended) = run_with(verify(&work, &database), (1..=EVENTS).map(|id| event_with(id, "")));
    let found = findings(&ended.expect(6));
    assert_eq!((&found["missing"], &found["different"]), (&json!(0), &json!(EVENTS)), "{found}");
    // The events are in one segment, which is a small part of what can be in memory.
    check_peak("stored", peak, PEAK_MAX_KIB / 2);
}

/// Strings with more events than an array may have. The rejects, with the whole decoded strings, are written.
#[test]
fn memory_is_bounded_for_long_arrays_in_strings() {
    const STRINGS: u64 = 15;
    const ELEMENTS: u64 = 33_000;
    const ELEMENTS_MAX: u64 = 32_768;
    let line = |number: u64| {
        let ids = number * 100_000..number * 100_000 + ELEMENTS;
        let events: Vec<String> = ids.map(|id| event_with(id, "").trim_end().to_owned()).collect();
        format!("{}\n", json!({ "p": format!("[{}]", events.join(",")) }))
    };
    let work = Workplace::new();
    let options = ["--json", "--events-at", "p", "--rejects", "rejects.ndjson"];
    let load = work.program(&["load", "--dry-run"]).args(&options);
    let (peak, ended) = run_with(load, (1..=STRINGS).map(line));
    let events = STRINGS * (ELEMENTS_MAX + 1);
    ended.expect(3).summary().check(&[("events", events), ("rejected", STRINGS)]);
    let rejects = fs::read_to_string(work.path().join("rejects.ndjson")).expect("the rejects");
    let raw: Vec<usize> = rejects
        .lines()
        .map(|reject| {
            let reject: Value = serde_json::from_str(reject).expect("JSON");
            reject["raw"].as_str().expect("text").len()
        })
        .collect();
    assert_eq!(raw.len() as u64, STRINGS);
    assert!(raw.iter().all(|&length| length > 4_000_000), "the strings are whole: {raw:?}");
    check_peak("strings", peak, PEAK_MAX_KIB);
}

/// Events whose rows are longer than their text by half, and events whose rows are just short enough to be held.
#[test]
fn memory_is_bounded_for_items_with_short_texts() {
    let short = r#"{"Type":"T","LegendarySoul":{}}"#.to_owned();
    let longer = format!(r#"{{"Type":"T","x":"{}"}}"#, "x".repeat(30));
    for (name, item, items, events) in
        [("memory souls", short, 32_767, 96), ("memory items", longer, 4_000, 460)]
    {
        let slots = inventory(&item, items);
        let loaded = load_with(name, &[], 1, |input| {
            for id in 1..=events {
                input.write_all(event_with(id, &slots).as_bytes())?;
            }
            Ok(events)
        });
        check(name, 1, loaded, [("events", events), ("inserted", events), ("rejected", 0)]);
    }
}

/// Tables whose trigger raises this message.
fn with_trigger(database: &Database<'_>, work: &Workplace, each: &str, message: &str) {
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let sql = format!(
        "create function refuse() returns trigger language plpgsql as
         $$ begin raise exception '%', {message} using detail = {message}, hint = {message}; end $$;
         create trigger refuse before insert on kill_event for each {each} execute function refuse()"
    );
    database.client().batch_execute(&sql).expect("a trigger");
}

#[test]
fn long_messages_of_a_trigger_are_not_held() {
    const EVENTS: u64 = 100;
    let database = Cluster::shared().database("memory messages");
    let work = Workplace::new();
    with_trigger(&database, &work, "row", "new.event_id || repeat('x', 1000000)");
    let load = work.load(&database, &["--max-rejects", "100%"]);
    let (peak, ended) = run_with(load, (1..=EVENTS).map(|id| event_with(id, "")));
    let ended = ended.expect(3);
    ended.summary().check(&[("rejected", EVENTS), ("unfinished", 0)]);
    for reject in ended.rejects() {
        let reason = reject.text("reason").expect("a reason");
        assert!(reason.ends_with("xxx…") && reason.len() < 2000, "{} bytes", reason.len());
    }
    check_peak("messages", peak, PEAK_MAX_KIB);
}

#[test]
fn long_messages_that_end_a_load_are_truncated() {
    let database = Cluster::shared().database("memory statement");
    let work = Workplace::new();
    with_trigger(&database, &work, "statement", "repeat('x', 1000000)");
    let load = work.load(&database, &["-vv"]).env("DATABASE_RETRY_ATTEMPTS", "1");
    let ended = load.stdin(event_with(1, "")).run();
    assert_ne!(ended.code, 0);
    let lengths = (ended.stdout.len(), ended.stderr.len());
    assert!(lengths.0 < 32 << 10 && lengths.1 < 512 << 10, "{lengths:?} bytes");
    assert!(ended.stdout.contains("xxx…"), "the message begins: {}", ended.stdout);
}
