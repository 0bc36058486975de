//! `load`: values rejected before they reach the database, and the reject file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::cluster::Cluster;
use crate::support::dumps::{in_arrays, join, lines, small_event};
use crate::support::hostile::{self, Verdict};
use crate::support::oracle::{Expected, Nul, expect, expect_given};
use crate::support::program::{Ended, Reject, Workplace, assert_tables, read_rejects};
use crate::support::samples;

/// Longer lines are not stored in the reject file.
const LINE_MAX_BYTES: usize = 16 << 20;
const HEAD_BYTES: usize = 4 << 10;

/// The sample events mixed with the hostile lines.
fn hostile_dump() -> Vec<u8> {
    let hostile = hostile::lines(&samples::event(9_000_000_000).to_string());
    let samples = samples::sample_events();
    let mut good = lines(&samples).into_iter().cycle();
    let mut dump = Vec::new();
    for (_, line, _) in &hostile {
        dump.push(good.next().expect("a cycle has no end"));
        dump.push(line);
    }
    dump.extend(good.take(200));
    join(&dump)
}

/// Asserts that rejects and expected rejects match by place, and that each contains its input.
#[track_caller]
fn check_rejects(dump: &[u8], expected: &Expected, rejects: &[Reject]) {
    let lines = lines(dump);
    for (reject, wanted) in rejects.iter().zip(&expected.rejected) {
        assert_eq!(reject.line(), wanted.line, "{:.300?}, expected {wanted:?}", reject.0.to_string());
        let shown = &reject.0.to_string();
        let shown = &shown[..shown.floor_char_boundary(600)];
        assert!(wanted.allows(reject.index(), reject.text("field")), "{shown}, expected {wanted:?}");
        assert!(!reject.text("reason").expect("a reason").is_empty(), "{shown}");
        assert!(reject.0["sqlstate"].is_null(), "{shown}");

        let line = lines[usize::try_from(reject.line()).expect("a line") - 1];
        let raw = reject.raw();
        let offset = usize::try_from(reject.0["byte_offset"].as_u64().expect("an offset")).expect("one");
        assert!(dump[offset..].starts_with(&raw), "{shown}: the raw text stands where it says");
        if line.len() > LINE_MAX_BYTES {
            assert_eq!((reject.0["truncated"].as_bool(), &raw[..]), (Some(true), &line[..HEAD_BYTES]));
            continue;
        }
        assert!(reject.0.get("truncated").is_none(), "{shown}");
        let whole = |text: &[u8]| text.trim_ascii().to_vec();
        if let Some(index) = reject.index() {
            // Of an array that is not JSON, the rest of the line is rejected.
            let Ok(elements) = serde_json::from_slice::<Vec<serde_json::Value>>(line) else {
                assert!(whole(line).ends_with(&whole(&raw)), "{shown}");
                continue;
            };
            let element: serde_json::Value = serde_json::from_slice(&raw).expect("an element");
            assert_eq!(element, elements[usize::try_from(index).expect("an index")], "{shown}");
        } else {
            let without_mark = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            assert!([line, without_mark].iter().any(|line| whole(line) == whole(&raw)), "{shown}");
        }
    }
    assert_eq!(rejects.len(), expected.rejected.len());
}

/// The expected result, given the program's choice if it has one.
fn expect_as(dump: &[u8], nul: Nul, run: &Ended) -> Expected {
    let rejected = run.rejects().iter().map(|reject| (reject.line(), reject.index())).collect();
    expect_given(dump, nul, &rejected)
}

#[test]
fn hostile_lines_do_not_affect_real_events() {
    let dump = hostile_dump();
    let work = Workplace::new();
    work.write("hostile.ndjson", &dump);
    for segment_bytes in [8 << 20, 64 << 10] {
        let database = Cluster::shared().database("hostile");
        let run = work.load(&database, &["hostile.ndjson"]).segment_bytes(segment_bytes).workers(4).expect(3);
        let expected = expect_as(&dump, Nul::Reject, &run);
        check_rejects(&dump, &expected, &run.rejects());
        assert_tables(&database, "americas", &expected.tables);
        let summary = run.summary();
        assert_eq!(summary.status(), "rejects");
        summary.check(&[
            ("lines", expected.lines),
            ("events", expected.events),
            ("inserted", expected.loaded()),
            ("rejected", expected.rejected.len() as u64),
        ]);
        let path = work.path().join(summary.0["rejects_file"].as_str().expect("a path"));
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert!(run.rejects().iter().all(|reject| reject.text("source") == Some("hostile.ndjson")));
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            name.starts_with("rejects-2")
                && name.ends_with(".ndjson")
                && name.contains(summary.0["run"].as_str().expect("an id"))
        );
    }
}

#[test]
fn each_hostile_line_is_loaded_or_rejected_as_expected() {
    let database = Cluster::shared().database("verdicts");
    let work = Workplace::new();
    let hostile = hostile::lines(&samples::event(9_000_000_000).to_string());
    let dump = join(&hostile.iter().map(|(_, line, _)| line).collect::<Vec<_>>());
    let run = work.load(&database, &[]).stdin(dump).expect(3);
    let rejects = run.rejects();
    for (number, (name, _, verdict)) in (1..).zip(&hostile) {
        let of_line: Vec<&Reject> = rejects.iter().filter(|reject| reject.line() == number).collect();
        match verdict {
            Verdict::Loaded | Verdict::Nothing => assert!(of_line.is_empty(), "{name}: {of_line:?}"),
            Verdict::Either => assert!(of_line.len() <= 1, "{name}"),
            Verdict::Rejected { field, events } => {
                assert_eq!(of_line.len() as u64, *events, "{name}, line {number}");
                if let Some(field) = field {
                    assert_eq!(of_line[0].text("field"), Some(*field), "{name}");
                }
            }
        }
    }
}

#[test]
fn nul_is_rejected_stripped_or_replaced() {
    let hostile = hostile::lines(&samples::event(77_000).to_string());
    let with_nul = hostile.iter().filter(|(name, _, _)| name.contains("NUL")).map(|(_, line, _)| line);
    let lines: Vec<&Vec<u8>> = with_nul.collect();
    assert!(lines.len() >= 8);
    let plain = join(&lines);
    let work = Workplace::new();
    for (mode, nul) in [("reject", Nul::Reject), ("strip", Nul::Strip), ("replace", Nul::Replace)] {
        for by_option in [true, false] {
            let database = Cluster::shared().database(mode);
            let program = if by_option {
                work.load(&database, &["--nul", mode])
            } else {
                work.load(&database, &[]).env("KILLS_NUL", mode)
            };
            let run = program.stdin(plain.clone()).expect(3);
            let expected = expect_as(&plain, nul, &run);
            check_rejects(&plain, &expected, &run.rejects());
            assert_tables(&database, "americas", &expected.tables);
            run.summary().check(&[("inserted", expected.loaded()), ("events", expected.events)]);
        }
    }
    let loaded = |nul| expect(&plain, nul).loaded();
    assert!(loaded(Nul::Reject) < loaded(Nul::Strip));
}

/// PostgreSQL stores `1e-9999` in a few bytes, and prints 10,001. A column of many such numbers could not be read back.
#[test]
fn documents_that_could_not_be_read_back_are_rejected_with_their_field() {
    let database = Cluster::shared().database("documents");
    let work = Workplace::new();
    let repeated = |number: &str, count: usize| format!("[{}]", vec![number; count].join(","));
    let documents = [
        repeated("1e-9999", 1),
        repeated("1e-9999", 7_000),
        repeated("1e-9999", 150_000),
        repeated(&"1".repeat(101), 1),
        repeated("1e100", 1),
    ];
    let with = |(id, document): (i64, &String)| {
        let mut event = small_event(id);
        event["GvGMatch"] = "MARK".into();
        event.to_string().replace("\"MARK\"", document)
    };
    let dump = join(&(1..).zip(&documents).map(with).collect::<Vec<_>>());
    let run = work.load(&database, &[]).stdin(dump).expect(3);
    run.summary().check(&[("inserted", 1), ("rejected", 4)]);
    for reject in run.rejects() {
        assert_eq!(reject.text("field"), Some("GvGMatch"));
    }
    let sql = "select length(gvg_match::text) from kill_event";
    assert_eq!(database.client().query_one(sql, &[]).expect("a row").get::<_, i32>(0), 103);
}

#[test]
fn corrected_rejects_can_be_piped_into_a_load() {
    let database = Cluster::shared().database("corrected");
    let work = Workplace::new();
    let broken: Vec<String> = (1..=30)
        .map(|id| match id % 3 {
            0 => samples::event(id).to_string().replace("The killer", "The\\u0000 killer"),
            1 => samples::event(id)
                .to_string()
                .replace("OPEN_WORLD", "OPEN_\u{fffd}WÖRLD")
                .replace("241000", "\"x\""),
            _ => samples::event(id).to_string(),
        })
        .collect();
    let dump = [in_arrays(&join(&broken[..15]), 5), join(&broken[15..])].concat();
    let run = work.load(&database, &["--rejects", "mine.ndjson"]).stdin(dump).expect(3);
    run.summary().check(&[("inserted", 10), ("rejected", 20)]);

    let correct = |raw: &[u8]| String::from_utf8_lossy(raw).replace("\\u0000", "").replace("\"x\"", "241000");
    let rejects = read_rejects(&work.path().join("mine.ndjson"));
    let corrected: Vec<String> = rejects.iter().map(|reject| correct(&reject.raw())).collect();
    let run = work.load(&database, &[]).stdin(join(&corrected)).expect(0);
    run.summary().check(&[("inserted", 20)]);
    let whole: Vec<String> = broken.iter().map(|line| correct(line.as_bytes())).collect();
    assert_tables(&database, "americas", &expect(&join(&whole), Nul::Reject).tables);
}

#[test]
fn new_rejects_are_appended_to_an_existing_file() {
    let work = Workplace::new();
    for run in 1..=2 {
        let program = work.program(&["load", "--json", "--dry-run"]).env("KILLS_REJECTS_FILE", "r.ndjson");
        program.stdin("no event\n").expect(3);
        assert_eq!(read_rejects(&work.path().join("r.ndjson")).len(), run);
    }
}

#[test]
fn too_many_rejects_stop_the_run() {
    let mut events: Vec<String> = (1..=2000).map(|id| small_event(id).to_string()).collect();
    for number in (99..2000).step_by(100) {
        events[number] = "{}".to_owned();
    }
    let dump = join(&events);
    let expected = expect(&dump, Nul::Reject);
    for (limit, code) in [("20", 0), ("19", 5), ("0", 5), ("1%", 0), ("0.5%", 5), ("0%", 5), ("100%", 0)] {
        let database = Cluster::shared().database("limit");
        let work = Workplace::new();
        let program = work.load(&database, &["--max-rejects", limit]).segment_bytes(4 << 10);
        let run = program.stdin(dump.clone()).expect(if code == 0 { 3 } else { code });
        let summary = run.summary();
        assert_eq!(summary.status(), if code == 0 { "rejects" } else { "reject_limit" }, "{limit}");
        // Stopped and drained: the stored events are the beginning of the dump.
        summary.check(&[("unfinished", 0)]);
        assert_eq!(run.rejects().len() as u64, summary.count("rejected"), "{limit}");
        let read = usize::try_from(summary.count("lines")).expect("lines");
        let part = expect(&join(&events[..read]), Nul::Reject);
        assert_tables(&database, "americas", &part.tables);
        summary.check(&[("inserted", part.loaded()), ("rejected", part.rejected.len() as u64)]);
        if code == 0 {
            assert_eq!(part.events, expected.events);
        }
    }
}

#[test]
fn a_dry_run_needs_no_database_and_writes_rejects() {
    let dump = hostile_dump();
    let work = Workplace::new();
    let run = work.program(&["load", "--json", "--dry-run"]).stdin(dump.clone()).expect(3);
    let expected = expect_as(&dump, Nul::Reject, &run);
    check_rejects(&dump, &expected, &run.rejects());
    run.summary().check(&[
        ("events", expected.events),
        ("rejected", expected.rejected.len() as u64),
        ("inserted", 0),
        ("already_loaded", 0),
    ]);
    // A given database is not used.
    let database = Cluster::shared().database("dry");
    work.load(&database, &["--dry-run"]).stdin(samples::sample_events()).expect(0);
    let tables =
        database.client().query("select from pg_class where relname like 'kill%'", &[]).expect("rows");
    assert!(tables.is_empty());
}

#[test]
fn an_unusable_reject_file_is_an_error_before_reading() {
    let work = Workplace::new();
    work.write("file", "");
    fs::create_dir(work.path().join("directory")).expect("a directory");
    let names: BTreeSet<_> = fs::read_dir(work.path())
        .expect("a directory")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    for path in ["missing/rejects.ndjson", "directory", "file/rejects.ndjson"] {
        let database = Cluster::shared().database("unwritable");
        // The input stays open and contains a reject. The run ends because it does not read.
        let mut running = work.load(&database, &["--rejects", path]).start();
        running.feed(b"no event\n");
        let ended = running.finish().expect(1).says(&[path, "--rejects"]);
        assert_eq!(ended.stdout, "", "{path}");
        let tables = database.client().query("select from pg_class where relname like 'kill%'", &[]);
        assert!(tables.expect("rows").is_empty(), "{path}");
    }
    let after: BTreeSet<_> = fs::read_dir(work.path())
        .expect("a directory")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    assert_eq!(names, after);
}
