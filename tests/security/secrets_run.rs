//! No secret of a run is visible while it runs, when it ends, or when it crashes. Event texts are only in the reject
//! file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::security::secrets::{ALL, ENCODED, Way, assert_clean, guarded, program};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::small_event;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{eventually, free_port, http, log_case};

/// The information about a process that others can see.
fn process(pid: u32) -> String {
    let mut seen = String::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).expect("its threads") {
        let directory = entry.expect("a thread").path();
        for file in ["comm", "cmdline"] {
            // A thread may end at any time.
            seen += &fs::read_to_string(directory.join(file)).unwrap_or_default();
        }
    }
    seen
}

/// The information about sessions that another database user can see.
fn sessions(database: &Database<'_>) -> String {
    let sql = "select coalesce(string_agg(concat_ws(' ', a.*), '; '), '') from pg_stat_activity a
               where usename = 'keeper'";
    database.client().query_one(sql, &[]).expect("sessions").get(0)
}

fn ledger(database: &Database<'_>) -> String {
    let sql =
        "select coalesce(string_agg(row, ' '), '') from (select to_jsonb(r)::text as row from kill_load_run r
               union all select to_jsonb(s)::text from kill_load_segment s) of_both";
    database.client().query_one(sql, &[]).expect("the ledger").get(0)
}

/// An event that the database rejects with a message that quotes it, and a line that is no event.
fn rejects() -> String {
    let mut rejected = small_event(2);
    rejected["Killer"]["Name"] = "quagga, refused".into();
    format!("{}\n{rejected}\n{{\"quagga\": no JSON}}\n", small_event(1))
}

#[track_caller]
fn assert_no_event(what: &str, text: &str) {
    assert!(!text.contains("quagga"), "{what} holds an event's text: {text}");
}

/// Inspects one run from all sides while it runs. `end` ends it.
fn watched_run(cluster: &Cluster, level: &[(&str, &str)], end: impl FnOnce() -> Option<Signal>, code: i32) {
    let database = cluster.database("watched");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let check = "alter table kill_player add constraint no_quagga check (name not like 'quagga%')";
    database.client().batch_execute(check).expect("a constraint");
    let place = format!("127.0.0.1:{}/{}", cluster.port(), database.name());
    let port = free_port();
    let page = |path: &str| http::get(port, path).1;
    let args = [
        "load",
        "--json",
        "--rejects",
        "refused",
        "--metrics-file",
        "kills.prom",
        "--listen",
        &port.to_string(),
    ];
    let program = program(&work, &args, Way::EnvFile, &place, "").env("KILLS_FLUSH_INTERVAL", "10");
    let program = program.env("DATABASE_AWAY_TIMEOUT", "300").env("DATABASE_CONNECTION_TIMEOUT", "300");
    let program = level.iter().fold(program, |program, (name, value)| program.env(name, value));
    let mut running = program.start();
    running.feed(rejects().as_bytes());
    let counted = "aegis_kills_events_total{outcome=\"rejected\",server=\"americas\"} 2\n";
    eventually(Duration::from_mins(1), "two events are rejected", || page("/metrics").contains(counted));
    for (what, text) in [
        ("/metrics", page("/metrics")),
        ("/health", page("/health")),
        ("/", page("/")),
        ("/status.json", page("/status.json")),
        ("the process list", process(running.pid())),
        ("pg_stat_activity", sessions(&database)),
        ("the ledger", ledger(&database)),
    ] {
        assert!(!text.is_empty(), "{what}");
        assert_clean(what, &text);
        assert_no_event(what, &text);
    }
    let signal = end();
    let ended = if let Some(signal) = signal {
        running.signal(signal);
        running.finish()
    } else {
        running.feed(format!("{}\n", small_event(3)).as_bytes());
        running.finish_after_input()
    };
    let ended = ended.expect(code);
    let metrics = fs::read_to_string(work.path().join("kills.prom")).expect("metrics");
    for (what, text) in [("output", &ended.stdout), ("log", &ended.stderr), ("metrics", &metrics)] {
        assert_clean(what, text);
        assert_no_event(what, text);
    }
    check_reject_file(&work.path().join("refused"));
}

fn check_reject_file(path: &Path) {
    let text = fs::read_to_string(path).expect("the reject file");
    assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(
        text.contains("quagga, refused") && text.contains("no JSON"),
        "it contains the rejected input: {text}"
    );
    assert_clean("the reject file", &text);
}

#[test]
fn a_run_shows_no_secret_to_other_users() {
    let cluster = guarded();
    for level in [&[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")][..], &[("RUST_LOG", "debug")], &[]] {
        watched_run(&cluster, level, || Some(Signal::SIGTERM), 143);
    }
    // The server dies during the load.
    let dies = || {
        cluster.stop_immediate();
        None
    };
    watched_run(&cluster, &[("RUST_LOG", ALL)], dies, 4);
    cluster.start();
}

/// A login in place of a path is an error, also if there is such a file. The summary and the ledger would repeat it.
#[test]
fn a_login_is_no_name_of_a_file_to_write() {
    let work = Workplace::new();
    for login in ["me:zebra@h", "me:1 zebra@h", "me%3Azebra%40h", "h:5432:kills:me:zebra", "//me:zebra@h/x"] {
        let is_relative = !login.starts_with('/');
        let path = work.path().join(login);
        let check = |args: &[&str], variable: (&str, &str)| {
            log_case((args, variable));
            let existed = is_relative && path.exists();
            let program = work.program(args).env(variable.0, variable.1).stdin("no event\n");
            let ended = program.expect(2).says(&["connection string", "./"]);
            assert_clean(login, &format!("{}{}", ended.stdout, ended.stderr));
            assert_eq!(is_relative && path.exists(), existed, "{login}");
        };
        let none = ("RUST_LOG", "info");
        let files = || {
            check(&["load", "--dry-run", "--rejects", login], none);
            check(&["load", "--dry-run", "--metrics-file", login], none);
            check(&["load", "--dry-run"], ("KILLS_REJECTS_FILE", login));
            check(&["load", "--dry-run"], ("KILLS_METRICS_FILE", login));
        };
        let directories = || {
            check(&["load", "--embedded", login], none);
            check(&["load"], ("KILLS_EMBEDDED", login));
            check(&["man", "--dir", login], none);
            for action in ["start", "stop", "status", "url"] {
                check(&["embedded", action, login], none);
            }
        };
        files();
        directories();
        if is_relative {
            work.write(login, "");
            files();
            fs::remove_file(&path).expect("a file");
            fs::create_dir(&path).expect("a directory");
            directories();
        }
    }
    // A name of a file can look like a login.
    for name in ["rejects-00:05@eu.ndjson", "passwords=1.ndjson"] {
        let named = work.program(&["load", "--dry-run", &format!("--rejects=./{name}")]);
        named.stdin("no event\n").expect(3);
        assert!(work.path().join(name).is_file(), "{name}");
    }
}

/// The output of a crashing program, which gets no memory here.
#[test]
fn a_crash_shows_no_secret() {
    let work = Workplace::new();
    let cluster = guarded();
    let database = cluster.database("crash");
    let url = format!("postgresql://keeper:{ENCODED}@127.0.0.1:{}/{}", cluster.port(), database.name());
    let mut crashes = 0;
    for kibibytes in [20_000, 40_000, 80_000, 160_000] {
        let script = format!("ulimit -c 0; ulimit -v {kibibytes}; exec \"$0\" load -vv --server asia");
        let output = std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_aegis-kills")])
            .current_dir(work.path())
            .env("DATABASE_URL", &url)
            .env("RUST_BACKTRACE", "full")
            .output_in_time()
            .expect("a shell");
        crashes += u32::from(output.status.code() != Some(0));
        assert_clean("a crash", &String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
    assert!(crashes > 0, "at least one has not enough");
}
