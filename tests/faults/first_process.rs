//! The program as process 1 of a container, for which the kernel ignores unhandled signals.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, join, lines};
use crate::support::eventually;
use crate::support::log_case;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};

#[test]
fn a_signal_ends_process_1_while_it_connects() {
    let work = Workplace::new();
    for args in [&["load"][..], &["verify"], &["health", "--watch"], &["schema", "apply"]] {
        for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
            // Accepts connections and stays silent.
            let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = silent.local_addr().expect("its number").port();
            let program = work
                .program(args)
                .env("DATABASE_URL", &format!("postgresql://aegis@127.0.0.1:{port}/kills?sslmode=disable"))
                .env("DATABASE_CONNECTION_TIMEOUT", "1h");
            let Some(program) = program.into_first_process() else {
                return log_case("nothing: no process namespace may be made here");
            };
            let running = program.start();
            let connected = silent.accept().expect("it connects");
            running.signal(signal);
            running.finish().expect(code);
            drop(connected);
        }
    }
}

#[test]
fn the_start_command_of_railway_follows_a_dump_and_drains() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/railway.json");
    let file: Value = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    let work = Workplace::new();
    let database = Cluster::shared().database("railway");
    let dump = generated(40, 71, 0.0);
    let events = lines(&dump);
    let path = work.path().join("kills.ndjson");
    let start = file["deploy"]["startCommand"].as_str().expect("a command");
    let start = format!("exec {}", start.replace("/data/kills.ndjson", path.to_str().expect("UTF-8")));
    let bin =
        Path::new(env!("CARGO_BIN_EXE_aegis-kills")).parent().expect("a directory").display().to_string();
    let program = work
        .other_program("/bin/sh", &["-c", &start])
        .env("PATH", &format!("{bin}:{}", std::env::var("PATH").expect("a path")))
        .env("PORT", "0")
        .env("ALBION_SERVER", "europe")
        .env("DATABASE_URL", &database.url())
        .env("KILLS_FLUSH_INTERVAL", "10");
    let Some(program) = program.into_first_process() else {
        return log_case("nothing: no process namespace may be made here");
    };
    // Starts before the dump exists. The dump then grows.
    let running = program.start();
    let mut writer = fs::File::create(&path).expect("a file");
    let mut client = database.client();
    for count in [25, 40] {
        let from = if count == 25 { 0 } else { 25 };
        writer.write_all(&join(&events[from..count])).expect("to write");
        eventually(Duration::from_mins(1), "what was appended is stored", || {
            let rows = client.query_one("select count(*) from kill_event", &[]);
            rows.is_ok_and(|row| row.get::<_, i64>(0) == i64::try_from(count).expect("a count"))
        });
    }
    running.signal(Signal::SIGTERM);
    let ended = running.finish().expect(143).says(&["stopping"]);
    assert!(ended.stdout.contains(" 40  inserted"), "{}", ended.stdout);
    assert_tables(&database, "europe", &expect(&dump, Nul::Reject).tables);
}
