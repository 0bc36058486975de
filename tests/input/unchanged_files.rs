//! Unchanged, completely loaded files are not read again. Every change is noticed.

use std::fs;
use std::time::Duration;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, gzip};
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Summary, Workplace, assert_tables};

fn load(work: &Workplace, database: &Database<'_>, args: &[&str]) -> Summary {
    work.load(database, args).expect(0).summary()
}

/// Loads until all files are skipped, because a recently changed file is read.
fn settle(work: &Workplace, database: &Database<'_>, names: &[&str]) -> Summary {
    let mut last = None;
    eventually(Duration::from_secs(30), "unchanged files are skipped", || {
        let summary = load(work, database, names);
        let is_settled = summary.count("files_skipped") == names.len() as u64;
        last = Some(summary);
        is_settled
    });
    last.expect("a load")
}

#[test]
fn unchanged_files_are_not_read() {
    let database = Cluster::shared().database("unchanged");
    let work = Workplace::new();
    let (a, b) = (generated(40, 3, 0.0), generated(30, 4, 0.0));
    let expected = [expect(&a, Nul::Reject), expect(&b, Nul::Reject)];
    work.write("a.ndjson", &a);
    work.write("b.ndjson", &b);
    let summary = settle(&work, &database, &["a.ndjson", "b.ndjson"]);
    let events = expected.iter().map(|expected| expected.events).sum();
    summary.check(&[
        ("events", events),
        ("already_loaded", events),
        ("bytes_read", 0),
        ("segments_skipped", 2),
    ]);
    // An unreadable file is not opened. Options that disable the skip take effect.
    for (args, skipped) in [
        (&["--reread", "a.ndjson", "b.ndjson"][..], 0),
        (&["--force", "a.ndjson", "b.ndjson"], 0),
        (&["--on-conflict", "update", "a.ndjson", "b.ndjson"], 0),
        (&["a.ndjson", "a.ndjson"], 0),
        (&["b.ndjson"], 1),
    ] {
        load(&work, &database, args).check(&[("files_skipped", skipped)]);
    }
    // Segments deleted from the ledger are loaded again.
    database
        .client()
        .batch_execute("delete from kill_load_segment; delete from kill_event where event_id % 2 = 0")
        .expect("a delete");
    let again = load(&work, &database, &["a.ndjson", "b.ndjson"]);
    again.check(&[("files_skipped", 0), ("already_loaded", 0)]);
    assert!(again.count("inserted") > 0);
}

#[test]
fn empty_files_are_skipped_until_they_change() {
    let database = Cluster::shared().database("empty");
    let work = Workplace::new();
    let names = ["empty.ndjson", "empty.ndjson.gz", "blank.ndjson"];
    work.write(names[0], "");
    work.write(names[1], gzip(b""));
    work.write(names[2], "\n\n");
    settle(&work, &database, &names).check(&[("events", 0), ("bytes_read", 0), ("lines", 2)]);
    work.write(names[0], generated(5, 3, 0.0));
    load(&work, &database, &names).check(&[("files_skipped", 2), ("inserted", 5)]);
}

#[test]
fn every_change_is_noticed() {
    let database = Cluster::shared().database("changed");
    let work = Workplace::new();
    let (old, new) = (generated(40, 3, 0.0), generated(40, 5, 0.0));
    let path = work.path().join("a.ndjson");
    work.write("a.ndjson", &old);
    settle(&work, &database, &["a.ndjson"]);
    let mut all = old.clone();
    let changes: [(&str, &dyn Fn()); 4] = [
        ("touched", &|| {
            fs::File::options()
                .append(true)
                .open(&path)
                .expect("a file")
                .set_modified(std::time::SystemTime::UNIX_EPOCH)
                .expect("a time");
        }),
        ("appended", &|| fs::write(&path, [&old[..], &new[..]].concat()).expect("a file")),
        ("truncated", &|| fs::write(&path, &old).expect("a file")),
        ("replaced", &|| {
            work.write("other", &new);
            fs::rename(work.path().join("other"), &path).expect("a rename");
        }),
    ];
    for (what, change) in changes {
        crate::support::log_case(what);
        change();
        load(&work, &database, &["a.ndjson"]).check(&[("files_skipped", 0)]);
        settle(&work, &database, &["a.ndjson"]);
    }
    all.extend_from_slice(&new);
    assert_tables(&database, "americas", &expect(&all, Nul::Reject).tables);
}

#[test]
fn files_with_reported_rejects_are_skipped_but_broken_files_are_not() {
    let database = Cluster::shared().database("broken");
    let work = Workplace::new();
    work.write("good.ndjson", generated(20, 3, 0.0));
    work.write("reject.ndjson", b"{\"EventId\":1}\n");
    let names = ["good.ndjson", "reject.ndjson"];
    work.load(&database, &names).expect(3).summary().check(&[("rejected", 1), ("rejected_before", 0)]);
    let skipped = settle(&work, &database, &names);
    skipped.check(&[("events", 21), ("already_loaded", 20), ("rejected", 1), ("rejected_before", 1)]);
    assert!(skipped.0["rejects_file"].is_string(), "the earlier run's file: {skipped:?}");
    work.write("broken.ndjson.gz", &gzip(&generated(20, 9, 0.0))[..900]);
    for _ in 0..2 {
        let run = work.load(&database, &["good.ndjson", "reject.ndjson", "broken.ndjson.gz"]).expect(1);
        run.summary().check(&[("files_skipped", 2)]);
    }
    let sql = "select name from kill_load_file where name like '%/broken%'";
    assert!(database.client().query(sql, &[]).expect("rows").is_empty());
}

#[test]
fn a_role_that_cannot_create_the_file_table_still_loads() {
    let database = Cluster::shared().database("without");
    let work = Workplace::new();
    work.write("a.ndjson", generated(20, 3, 0.0));
    load(&work, &database, &["a.ndjson"]);
    let role = format!("{}_role", database.name());
    database
        .client()
        .batch_execute(&format!(
            "drop table kill_load_file; create role {role} login; revoke create on schema public from public;
             grant usage on schema public to {role};
             grant select, insert, update, delete on all tables in schema public to {role}"
        ))
        .expect("a role");
    let url = database.tcp_url().replace("aegis@", &format!("{role}@"));
    let ended = work.load(&database, &["a.ndjson"]).env("DATABASE_URL", &url).run();
    database.client().batch_execute(&format!("drop owned by {role}; drop role {role}")).expect("a drop");
    let ended = ended.expect(0);
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
    // The next load of the owner creates the table.
    settle(&work, &database, &["a.ndjson"]).check(&[("inserted", 0)]);
    database.client().query("select from kill_load_file", &[]).expect("it is there");
}
