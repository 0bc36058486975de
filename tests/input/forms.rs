//! `load`: segments, threads, sources and servers of a run. `every_form` has the forms of the input.

use std::path::Path;

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, gzip, join, lines, version, zstd_frames};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_loaded, assert_tables};
use crate::support::samples;

#[test]
fn sizes_of_segments_and_numbers_of_threads_change_nothing() {
    let text = [samples::sample_events(), generated(300, 7, 20.0)].concat();
    let cluster = Cluster::shared();
    let work = Workplace::new();
    work.write("dump", &text);
    for (segment_bytes, workers, parsers, segments_min) in
        [(4 << 10, 1, 1, 200), (4 << 10, 4, 4, 200), (64 << 10, 4, 2, 50), (256 << 20, 1, 1, 1)]
    {
        let database = cluster.database("threads");
        let run = work
            .load(&database, &["dump"])
            .segment_bytes(segment_bytes)
            .workers(workers)
            .env("KILLS_PARSE_THREADS", &parsers.to_string())
            .expect(0);
        assert_loaded(&database, &text, &run);
        let segments = run.summary().count("segments");
        assert!(segments >= segments_min && segments <= 2 * 600, "{segments} of {segment_bytes} bytes");
    }
}

#[test]
fn sources_of_one_run_are_not_joined() {
    let text = samples::sample_events();
    let events = lines(&text);
    let third = events.len() / 3;
    let work = Workplace::new();
    // No file ends in a newline. Events of two sources must not join into one line.
    work.write("1.ndjson", join(&events[..third]).trim_ascii_end());
    work.write("3.gz", gzip(&join(&events[2 * third..])));
    work.write("empty", "");
    let database = Cluster::shared().database("sources");
    let run = work
        .load(&database, &["1.ndjson", "empty", "-", "./3.gz"])
        .stdin(zstd_frames(&join(&events[third..2 * third]), 50_000))
        .expect(0);
    assert_loaded(&database, &text, &run);
    let sources: Vec<String> =
        database.client().query_one("select sources from kill_load_run", &[]).expect("a run").get(0);
    assert_eq!(sources, ["1.ndjson", "empty", "<stdin>", "./3.gz"]);
}

#[test]
fn servers_share_tables_but_no_events() {
    let database = Cluster::shared().database("servers");
    let work = Workplace::new();
    // The same ids with different versions.
    let dumps = [("americas", 8), ("europe", 6), ("asia", 4)]
        .map(|(server, number)| (server, join(&(1..40).map(|id| version(id, number)).collect::<Vec<_>>())));
    for (server, dump) in &dumps {
        let run = work.load(&database, &["--server", server]).stdin(dump.clone()).expect(0);
        assert_eq!(run.summary().0["server"], *server);
        run.summary().check(&[("inserted", 39), ("duplicate", 0)]);
    }
    for (server, dump) in &dumps {
        assert_tables(&database, server, &expect(dump, Nul::Reject).tables);
        // The same bytes were loaded for another server, which is irrelevant for this one.
        let other = if *server == "asia" { "europe" } else { "asia" };
        let run = work.load(&database, &["--server", other]).stdin(dump.clone()).expect(0);
        run.summary().check(&[("inserted", 0), ("duplicate", 39), ("already_loaded", 0)]);
    }
}

#[test]
fn empty_input_succeeds() {
    let database = Cluster::shared().database("nothing");
    let work = Workplace::new();
    for (input, lines) in [(&b""[..], 0), (b"\n", 1), (b"\n\r\n  \n[]\n", 4)] {
        let run = work.load(&database, &[]).stdin(input).expect(0);
        run.summary().check(&[("events", 0), ("lines", lines)]);
        assert_loaded(&database, input, &run);
    }
}

#[test]
fn a_run_writes_its_ledger_row() {
    let database = Cluster::shared().database("ledger");
    let work = Workplace::new();
    let text = samples::sample_events();
    let run = work.load(&database, &[]).stdin([&text[..], b"no event\n"].concat()).expect(3);
    let summary = run.summary();
    let row = database
        .client()
        .query_one(
            "select to_jsonb(r)::text, finished >= started from kill_load_run r where id = $1::text::uuid",
            &[&summary.0["run"].as_str().expect("an id")],
        )
        .expect("a row");
    let ledger: serde_json::Value = serde_json::from_str(row.get(0)).expect("JSON");
    assert!(row.get::<_, bool>(1));
    assert_eq!(ledger["id"], summary.0["run"]);
    for (name, value) in ledger.as_object().expect("an object") {
        match name.as_str() {
            "id" | "started" | "finished" | "sources" | "version" | "table_schema" => {}
            // Valid from any working directory.
            "rejects_file" => {
                let path = work.path().join(summary.0[name].as_str().expect("a path"));
                assert_eq!(value.as_str().map(Path::new), Some(&*path));
            }
            _ => assert_eq!(*value, summary.0[name], "{name}"),
        }
    }
    let segments = database.client().query_one(
        "select count(*), sum(events)::bigint, sum(inserted)::bigint, sum(rejected)::bigint from kill_load_segment",
        &[],
    );
    let segments = segments.expect("rows");
    let counted =
        ["segments", "events", "inserted", "rejected"].map(|name| summary.count(name).cast_signed());
    assert_eq!([0, 1, 2, 3].map(|column| segments.get::<_, i64>(column)), counted);
}
