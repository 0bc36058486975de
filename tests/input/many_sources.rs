//! `load`, `load --dry-run` and `verify` with any number and kind of sources: they end, and each event counts.

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::{gzip, small_event, zstd_frames};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};

/// The outcome of a source.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Gzip,
    Zstd,
    Empty,
    /// Truncated.
    Cut,
    /// Not JSON, identified by its first bytes.
    Foreign,
}

use Kind::{Cut, Empty, Foreign, Gzip, Plain, Zstd};

fn content(kind: Kind, text: &[u8]) -> Vec<u8> {
    match kind {
        Plain => text.to_vec(),
        Gzip => gzip(text),
        Zstd => zstd_frames(text, usize::MAX),
        Empty => Vec::new(),
        Cut => {
            let mut bytes = zstd_frames(text, usize::MAX);
            bytes.truncate(12);
            bytes
        }
        Foreign => b"\xfd7zXZ\0 and so on".to_vec(),
    }
}

/// Loads and verifies `count` sources of alternating kinds. Each readable one has one event.
#[track_caller]
fn check(count: usize, kinds: &[Kind]) {
    let work = Workplace::new();
    let (mut names, mut text) = (Vec::new(), Vec::new());
    let mut is_whole = true;
    for (number, kind) in (1..).zip(kinds.iter().cycle()).take(count) {
        let event = format!("{}\n", small_event(number)).into_bytes();
        let name = format!("{number}.ndjson");
        work.write(&name, content(*kind, &event));
        names.push(name);
        is_whole &= matches!(kind, Plain | Gzip | Zstd | Empty);
        if matches!(kind, Plain | Gzip | Zstd) {
            text.extend(event);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let code = i32::from(!is_whole);
    let expected = expect(&text, Nul::Reject);

    let dry = work.program(&["load", "--json", "--dry-run", "--server", "americas"]).args(&names).run();
    dry.expect(code).summary().check(&[("events", expected.events)]);
    let database = Cluster::shared().database("many_sources");
    let run = work.load(&database, &names).env("ALBION_SERVER", "americas").expect(code);
    run.summary().check(&[("inserted", expected.loaded()), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expected.tables);
    let verify = work.program(&["verify", "--json", "--server", "americas"]).args(&names);
    let verified = verify.env("DATABASE_URL", &database.url()).expect(code);
    let found: Value = serde_json::from_str(&verified.stdout).expect("one JSON object");
    assert_eq!((&found["events"], &found["missing"]), (&expected.events.into(), &0.into()));
}

#[test]
fn any_number_of_files_is_loaded() {
    for count in [9, 20, 64, 200] {
        check(count, &[Plain]);
    }
    check(64, &[Plain, Gzip, Zstd, Empty]);
}

#[test]
fn many_sources_of_each_kind_are_loaded() {
    for kind in [Gzip, Zstd, Empty, Cut, Foreign] {
        check(20, &[kind]);
    }
}

#[test]
fn failing_sources_do_not_stop_others() {
    check(64, &[Plain, Foreign, Gzip, Cut, Empty, Zstd]);
}
