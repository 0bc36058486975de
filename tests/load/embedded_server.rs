//! `--embedded`: a load that starts its own server.

use std::fs;
use std::thread;

use aegis_kills::internals::{Status, status};
use postgres::{Client, NoTls};

use crate::support::dumps::{generated, join, lines};
use crate::support::oracle::{Nul, assert_same, expect, read_tables};
use crate::support::program::{Program, Workplace};

#[test]
fn concurrent_loads_share_one_server_that_ends_with_them() {
    let work = Workplace::new();
    let dump = generated(200, 51, 0.0);
    let events = lines(&dump);
    let dir = work.path().join("a private/server");
    let dir_text = dir.to_str().expect("UTF-8").to_owned();
    let load = |events: &[&[u8]]| {
        work.program(&["load", "--json", "--embedded", &dir_text])
            // An option overrides the environment.
            .env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
            .stdin(join(events))
    };
    let programs = [load(&events[..120]), load(&events[80..])];
    let ended = thread::scope(|scope| {
        let threads = programs.map(|program: Program| scope.spawn(|| program.run()));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    let summaries = ended.map(|ended| ended.expect(0).summary());
    let sum = |name| summaries.iter().map(|summary| summary.count(name)).sum::<u64>();
    assert_eq!((sum("inserted"), sum("duplicate"), sum("events")), (200, 40, 240));

    assert_eq!(status(&dir).expect("a status"), Status::Stopped);
    assert!(!dir.join("data/postmaster.pid").exists());
    let embedded = |action: &str, code| work.program(&["embedded", action, &dir_text]).expect(code).stdout;
    assert!(embedded("status", 6).starts_with("Stopped: "));

    let url = embedded("start", 0);
    assert_eq!(embedded("url", 0), url);
    let mut client = Client::connect(url.trim(), NoTls).expect("the private server");
    assert_same(&expect(&dump, Nul::Reject).tables, &read_tables(&mut client, "public", "americas"));
    drop(client);
    // A second load leaves the server running.
    let again =
        work.program(&["load", "--json"]).env("KILLS_EMBEDDED", &dir_text).stdin(join(&events[..120]));
    again.expect(0).summary().check(&[("already_loaded", 120)]);
    let report = embedded("status", 0);
    let socket = format!("{dir_text}/run/.s.PGSQL.5432");
    for words in [
        "Running: PostgreSQL ",
        ", process ",
        ", since 20",
        "'embedded stop'",
        " MB on disk",
        url.trim(),
        &socket,
    ] {
        assert!(report.contains(words), "{words:?} is missing in: {report}");
    }
    assert!(report.contains("used by  0 connections"), "{report}");
    let session = Client::connect(url.trim(), NoTls).expect("the private server");
    assert!(embedded("status", 0).contains("used by  1 connection, of "));
    drop(session);
    let advice = format!("{} embedded start none", env!("CARGO_BIN_EXE_aegis-kills"));
    let missing = work.program(&["embedded", "status", "none"]).expect(2);
    assert!(missing.stdout.contains(&advice), "{}", missing.stdout);
    embedded("stop", 0);

    let verify = work.program(&["verify", "--json", "--embedded", &dir_text]).stdin(dump.clone());
    assert!(verify.expect(0).stdout.contains("\"present\":200"));
    assert_eq!(status(&dir).expect("a status"), Status::Stopped);
}

#[test]
fn a_directory_that_is_not_embedded_is_rejected() {
    let work = Workplace::new();
    fs::create_dir(work.path().join("photos")).expect("a directory");
    work.write("photos/holiday.jpg", "");
    let program = work.program(&["load", "--embedded", "photos"]).stdin("no event\n");
    let ended = program.expect(2).says(&["photos"]);
    assert_eq!(ended.stdout, "");
    assert_eq!(fs::read_dir(work.path().join("photos")).expect("a directory").count(), 1);
}
