//! `--metrics-file`: a regular file is replaced, anything else is written to, and a load never waits for it.

use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::small_event;
use crate::support::program::{Program, Workplace};

const METRIC: &str = "aegis_kills_last_run_success{server=\"americas\"} 1";

fn load(work: &Workplace, database: &Database<'_>, file: &str) -> Program {
    work.load(database, &["--metrics-file", file])
}

#[test]
fn a_link_to_the_metrics_file_is_followed() {
    let database = Cluster::shared().database("links");
    let work = Workplace::new();
    work.write("kills.prom", "old");
    symlink("kills.prom", work.path().join("link")).expect("a link");
    symlink("new.prom", work.path().join("dangling")).expect("a link");
    for (link, file) in [("link", "kills.prom"), ("dangling", "new.prom"), ("dangling", "new.prom")] {
        load(&work, &database, link).expect(0);
        assert!(work.path().join(link).is_symlink(), "{link}");
        assert!(fs::read_to_string(work.path().join(file)).expect("a file").contains(METRIC), "{file}");
    }
}

#[test]
fn a_metrics_path_that_is_no_regular_file_is_written_to() {
    let database = Cluster::shared().database("special");
    let work = Workplace::new();
    load(&work, &database, "/dev/null").expect(0);
    let null = fs::metadata("/dev/null").expect("a device");
    assert!(null.file_type().is_char_device());
    let ended = load(&work, &database, "/dev/stderr").expect(0);
    assert!(ended.stderr.contains(METRIC), "{}", ended.stderr);
    let ended = load(&work, &database, "/dev/stdout").expect(0);
    assert!(ended.stdout.contains(METRIC) && ended.stdout.contains("\"status\""), "{}", ended.stdout);
}

#[test]
fn metrics_to_standard_output_keep_its_file() {
    let database = Cluster::shared().database("stdout");
    let work = Workplace::new();
    let script = "exec \"$0\" load --json --metrics-file /dev/stdout >out";
    let program = work.other_program("sh", &["-c", script, env!("CARGO_BIN_EXE_aegis-kills")]);
    program.env("DATABASE_URL", &database.url()).expect(0);
    let text = fs::read_to_string(work.path().join("out")).expect("a file");
    assert!(text.contains(METRIC) && text.contains("\"status\":\"complete\""), "{text}");
}

#[test]
fn a_metrics_pipe_without_a_reader_is_an_error() {
    let database = Cluster::shared().database("fifo");
    let work = Workplace::new();
    let pipe = work.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let ended =
        load(&work, &database, "pipe").expect(1).says(&["the metrics file", "the pipe has no reader"]);
    let summary = ended.summary();
    assert_eq!(summary.status(), "failed", "as the exit code");
    assert!(summary.error().contains("the pipe has no reader"), "{}", summary.error());
    let mut reader = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&pipe).expect("the pipe");
    load(&work, &database, "pipe").expect(0);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("what was written");
    assert!(text.contains(METRIC), "{text}");
    assert!(fs::metadata(&pipe).expect("a pipe").file_type().is_fifo());
}

#[test]
fn a_full_disk_under_the_metrics_file_fails_the_load() {
    let database = Cluster::shared().database("full");
    let work = Workplace::new();
    let event = format!("{}\n", small_event(1));
    let summary = load(&work, &database, "/dev/full").stdin(event).expect(1).summary();
    summary.check(&[("inserted", 1), ("unfinished", 0)]);
    assert_eq!(summary.status(), "failed", "as the exit code");
    assert!(summary.error().contains("metrics file /dev/full: No space left"), "{}", summary.error());
    // The text says both: the events are stored, and the metrics file is not.
    let text = work.program(&["load", "--metrics-file", "/dev/full"]).env("DATABASE_URL", &database.url());
    let ended = text.stdin(format!("{}\n", small_event(2))).expect(1).says(&["No space left"]);
    ended.says_in_output("stored by this run or an earlier one. The metrics file is missing or old.");
}

/// A long load says it at its start, not only at its end.
#[test]
fn an_unwritable_metrics_file_is_reported_at_the_start() {
    let database = Cluster::shared().database("unwritable");
    let work = Workplace::new();
    symlink("none/kills.prom", work.path().join("link")).expect("a link");
    let locked = work.path().join("locked");
    fs::create_dir(&locked).expect("a directory");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).expect("its mode");
    for (id, file) in [(1, "link"), (2, "locked/kills.prom")] {
        if file.starts_with("locked") && nix::unistd::geteuid().is_root() {
            // Root can write everywhere.
            continue;
        }
        let mut running = load(&work, &database, file).start();
        running.feed(format!("{}\n", small_event(id)).as_bytes());
        let ended = running.finish_after_input().expect(1);
        let early = format!("cannot write the metrics file {file}: ");
        let early = ended.stderr.find(&early).unwrap_or_else(|| panic!("{}", ended.stderr));
        let of_end = "the load stores the events and ends with exit code 1";
        assert!(ended.stderr[early..].contains(of_end), "{}", ended.stderr);
        assert!(!ended.stderr.contains("os error"), "{}", ended.stderr);
        ended
            .says(&["hint: choose a file in a writable directory with --metrics-file"])
            .summary()
            .check(&[("inserted", 1)]);
    }
    // A dry run writes no metrics.
    let dry = work.program(&["load", "--dry-run", "--metrics-file", "link"]).expect(0);
    assert!(!dry.stderr.contains("cannot write"), "{}", dry.stderr);
}

#[test]
fn the_reject_file_cannot_be_the_metrics_file() {
    let work = Workplace::new();
    std::os::unix::fs::symlink("missing", work.path().join("link")).expect("a link");
    for [rejects, metrics] in [["file", "file"], ["link", "missing"], ["missing", "link"], ["./link", "link"]]
    {
        let args = ["load", "--dry-run", "--server", "asia", "--rejects", rejects, "--metrics-file", metrics];
        work.program(&args).stdin("no event").expect(2).says(&["--metrics-file", "it is the reject file"]);
        assert!(!work.path().join("missing").exists() && !work.path().join("file").exists());
    }
}
