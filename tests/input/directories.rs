//! Directories as arguments, and lists with unreadable entries: all others are loaded, and the exit code is truthful.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use nix::sys::stat::Mode;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{gzip, small_event};
use crate::support::program::Workplace;

/// The stored events.
fn stored(database: &Database<'_>) -> Vec<i64> {
    let sql = "select event_id from kill_event order by event_id";
    database.client().query(sql, &[]).expect("events").iter().map(|row| row.get(0)).collect()
}

fn event(id: i64) -> String {
    format!("{}\n", small_event(id))
}

/// Files with one event each, and entries that are not files.
fn dumps() -> Workplace {
    let work = Workplace::new();
    let path = work.path().join("dumps");
    for directory in ["dumps", "dumps/old", "dumps/old/empty", "dumps/.git", "elsewhere"] {
        fs::create_dir(work.path().join(directory)).expect("a directory");
    }
    work.write("dumps/b.ndjson", event(2));
    work.write("dumps/a.ndjson.gz", gzip(event(1).as_bytes()));
    work.write("dumps/old/c", event(3));
    work.write("elsewhere/d", event(4));
    work.write("dumps/.hidden", event(91));
    work.write("dumps/.git/x", event(92));
    work.write("dumps/rejects-20260101T000000Z-x.ndjson", event(93));
    work.write("dumps/rejects-20260101T000000Z-x.ndjson.again", event(94));
    symlink(work.path().join("elsewhere/d"), path.join("old/link")).expect("a link");
    symlink(work.path().join("dumps"), path.join("loop")).expect("a link");
    nix::unistd::mkfifo(&path.join("pipe"), Mode::S_IRWXU).expect("a pipe");
    work
}

#[test]
fn a_directory_stands_for_its_files() {
    let work = dumps();
    let database = Cluster::shared().database("directory");
    let _socket = UnixListener::bind(work.path().join("dumps/socket")).expect("a socket");
    let run = work.load(&database, &["dumps"]).expect(0);
    run.summary().check(&[("events", 4), ("inserted", 4)]);
    assert_eq!(stored(&database), [1, 2, 3, 4]);
    let run = run.says(&["dumps/loop is skipped", "dumps/pipe is skipped", "dumps/socket is skipped"]);
    assert!(!run.stderr.contains("ERROR"), "{}", run.stderr);
    let sources: Vec<String> =
        database.client().query_one("select sources from kill_load_run", &[]).expect("a run").get(0);
    assert_eq!(sources, ["dumps"], "as it was named");
    let verify = |args: &[&str]| work.program(&["verify"]).args(args).env("DATABASE_URL", &database.url());
    verify(&["dumps"]).expect(0);
    verify(&["dumps", "gone"]).expect(1).says(&["gone"]);
    work.write("dumps/new", event(5));
    verify(&["dumps/"]).expect(6).says_in_output("dumps/new");
}

#[test]
fn an_empty_directory_is_not_an_error() {
    let work = dumps();
    let database = Cluster::shared().database("empty");
    let run = work.load(&database, &["dumps/old/empty"]).stdin(event(1)).expect(0);
    run.summary().check(&[("events", 0), ("files_skipped", 0)]);
    assert_eq!((run.summary().status(), &*run.stderr), ("complete", ""));
    work.program(&["load", "--dry-run", "dumps/old/empty"]).expect(0);
}

#[test]
fn unreadable_entries_do_not_stop_others() {
    let work = dumps();
    let _socket = UnixListener::bind(work.path().join("dumps/socket")).expect("a socket");
    symlink("/nowhere/x.ndjson", work.path().join("gone")).expect("a link");
    let names = ["dumps/a.ndjson.gz", "dumps/old", "gone", "missing", "dumps/socket", "dumps/b.ndjson"];
    let database = Cluster::shared().database("list");
    let run = work.load(&database, &names).expect(1);
    run.summary().check(&[("inserted", 4)]);
    assert_eq!(run.summary().status(), "failed");
    assert!(run.summary().error().contains("gone"), "{}", run.stdout);
    let run =
        run.says(&["gone is a link to a file that does not exist", "missing", "dumps/socket is a socket"]);
    assert_eq!(run.stderr.matches("ERROR").count(), 3, "{}", run.stderr);
    assert_eq!(stored(&database), [1, 2, 3, 4]);
    let dry = work.program(&["load", "--json", "--dry-run"]).args(&names).expect(1);
    dry.summary().check(&[("events", 4)]);
    // The same inside a directory.
    fs::rename(work.path().join("gone"), work.path().join("dumps/gone")).expect("a rename");
    work.load(&database, &["dumps"]).expect(1).says(&["dumps/gone is a link"]);
    fs::remove_file(work.path().join("dumps/gone")).expect("a removal");
    let secret = work.path().join("dumps/b.ndjson");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).expect("its mode");
    let code = i32::from(fs::File::open(&secret).is_err());
    work.load(&database, &["dumps"]).expect(code);
}

#[test]
fn files_written_by_a_load_are_not_read() {
    let work = dumps();
    work.write("dumps/broken", "no event\n");
    let database = Cluster::shared().database("written");
    for (code, rejected) in [(3, 1), (0, 1), (0, 1)] {
        let args = ["--rejects", "dumps/bad", "--metrics-file", "dumps/metrics", "dumps"];
        work.load(&database, &args).expect(code).summary().check(&[("events", 5), ("rejected", rejected)]);
    }
    // Naming the reject file as an input is an error.
    work.load(&database, &["--rejects", "dumps/bad", "dumps/bad"]).expect(2);
}
