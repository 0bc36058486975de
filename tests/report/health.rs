//! `health`, `--listen` and `--metrics-file`: the state of the database and of a run.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::backends::ReadOnly;
use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, small_event};
use crate::support::http::{self, request};
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{eventually, free_port};

/// Runs `health --json` and returns its object.
#[track_caller]
pub(crate) fn health(work: &Workplace, url: &str, settings: &[(&str, &str)], code: i32) -> Value {
    let program = work.program(&["health", "--json"]).env("DATABASE_URL", url);
    let program = settings.iter().fold(program, |program, (name, value)| program.env(name, value));
    serde_json::from_str(&program.expect(code).stdout).expect("one JSON object")
}

pub(crate) fn recommendations(report: &Value) -> Vec<String> {
    let list = report["recommendations"].as_array().expect("a list");
    list.iter().map(|words| words.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn health_reports_the_database_and_the_last_run() {
    let database = Cluster::shared().database("healthy");
    let work = Workplace::new();
    let report = health(&work, &database.url(), &[], 0);
    assert_eq!((&report["healthy"], &report["error"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(report["last_run"], Value::Null, "nothing was loaded");
    assert_eq!(report["read_only"], false);
    assert_eq!(report["in_recovery"], false);
    assert_eq!(
        report["pool"],
        serde_json::json!({"min": 2, "max": 10, "connection_timeout_ms": 30000, "idle_timeout_ms": 60000})
    );
    assert_eq!((&report["workers"], &report["connection_errors"]), (&Value::from(3), &Value::from(0)));
    let connections = &report["server_connections"];
    let number = |name: &str| connections[name].as_u64().expect("a count");
    assert_eq!(number("max"), 200);
    assert_eq!(number("max"), number("reserved") + number("used") + number("free"));
    assert!(report["latency_ms"].as_f64().expect("a time") > 0.0);
    let version = database.client().query_one("show server_version", &[]).expect("a version");
    assert!(version.get::<_, &str>(0).starts_with(report["server_version"].as_str().expect("a version")));

    work.load(&database, &[]).stdin(format!("{}\n", small_event(1))).expect(0);
    let report = health(&work, &database.url(), &[], 0);
    assert_eq!(report["last_run"]["status"], "complete");
    assert_eq!(report["last_run"]["inserted"], 1);
    let words = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(0).stdout;
    assert!(words.starts_with("Healthy:") && words.contains("last run     complete"), "{words}");
}

#[test]
fn health_recommends_changes() {
    let database = Cluster::shared().database("recommended");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let check = |settings: &[(&str, &str)], wanted: &str| {
        let found = recommendations(&health(&work, &database.url(), settings, 0));
        assert!(found.iter().any(|words| words.contains(wanted)), "{found:?}");
    };
    check(&[("DATABASE_POOL_MIN", "1")], "Pool min is very low, consider increasing to 2+");
    check(
        &[("KILLS_WORKER_CONCURRENCY", "12")],
        "Pool max is smaller than recommended for your worker concurrency: set DATABASE_POOL_MAX=20",
    );
    check(&[("KILLS_WORKER_CONCURRENCY", "12")], "12 workers share 10 connections");
    check(&[("DATABASE_POOL_MAX", "500")], "the server has room for");
    let index: String = database
        .client()
        .query_one("select indexname::text from pg_indexes where tablename = 'kill_event' and indexname not like '%pkey'  limit 1", &[])
        .expect("an index")
        .get(0);
    database.client().batch_execute(&format!("drop index {index}")).expect("to drop");
    check(&[], &format!("the index {index} is missing"));
}

#[test]
fn health_shows_why_the_last_run_failed() {
    let database = Cluster::shared().database("failed_run");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let run = "insert into kill_load_run (id, status, server, layout, sources, version, error)
        values ('00000000-0000-0000-0000-000000000001', 'failed', 'europe', 'archive', '{dump}', '0', 'the disk broke')";
    database.client().batch_execute(run).expect("a run");
    let text = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(0).stdout;
    assert!(
        text.contains("  last run     failed, ") && text.contains("  cause        the disk broke\n"),
        "{text}"
    );
}

#[test]
fn health_reports_the_cause_of_an_unhealthy_database() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("unhealthy");
    let work = Workplace::new();
    let read_only = ReadOnly::new(&cluster);
    let report = health(&work, &database.url(), &[], 6);
    assert_eq!((&report["healthy"], &report["read_only"]), (&Value::Bool(false), &Value::Bool(true)));
    assert!(report["error"].as_str().expect("a text").contains("default_transaction_read_only"));
    drop(read_only);
    let url = database.url();
    cluster.stop();
    let report = health(&work, &url, &[], 6);
    assert_eq!((&report["healthy"], &report["server_version"]), (&Value::Bool(false), &Value::Null));
    let error = report["error"].as_str().filter(|error| !error.is_empty()).expect("a cause");
    let words = work.program(&["health"]).env("DATABASE_URL", &url).expect(6).stdout;
    let error = error.replace("; hint: ", "\nhint: ");
    assert!(words.starts_with(&format!("Unhealthy: {error}\n")), "{words}");
    cluster.start();
}

#[test]
fn a_watch_without_a_reader_ends() {
    let database = Cluster::shared().database("watch");
    let mut child = Command::new(env!("CARGO_BIN_EXE_aegis-kills"))
        .args(["health", "--json", "--watch", "--database-url", &database.url()])
        .stdout(Stdio::piped())
        .supervised()
        .expect("the program");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut line).expect("a report");
    assert!(line.starts_with('{'), "{line}");
    drop(reader);
    let ended = || child.has_ended();
    eventually(Duration::from_secs(30), "it ends", ended);
}

#[test]
fn pages_are_served_while_a_load_runs() {
    let database = Cluster::shared().database("pages");
    let work = Workplace::new();
    let port = free_port();
    let mut running =
        work.load(&database, &["--listen", &port.to_string()]).env("KILLS_FLUSH_INTERVAL", "10").start();
    running.feed(&generated(3, 92, 0.0));
    let get = |path: &str| http::get(port, path);
    eventually(Duration::from_mins(1), "three events are counted", || {
        get("/metrics").1.contains("aegis_kills_events_total{outcome=\"inserted\",server=\"americas\"} 3\n")
    });
    let (status, metrics) = get("/metrics");
    assert_eq!(status, 200);
    for wanted in [
        "aegis_kills_pool_connections{state=\"total\",server=\"americas\"}",
        "aegis_kills_copy_seconds_bucket",
        "aegis_kills_commit_seconds_count",
    ] {
        assert!(metrics.contains(wanted), "{wanted} is missing in {metrics}");
    }
    let (status, body) = get("/health");
    let report: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, &report["healthy"], &report["last_run"]["status"]),
        (200, &Value::Bool(true), &Value::from("running"))
    );
    assert_eq!(get("/nothing").0, 404);
    assert_eq!(request(port, b"POST /health HTTP/1.1\r\nHost: localhost\r\n\r\n").0, 405);
    assert_eq!(request(port, b"nonsense\r\n\r\n").0, 400);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    assert!([431, 0].contains(&request(port, long.as_bytes()).0), "a request that is too long is rejected");
    running.signal(Signal::SIGTERM);
    running.finish().expect(143);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it is gone with the load");
}

#[test]
fn metrics_are_written_to_a_file() {
    let database = Cluster::shared().database("file");
    let work = Workplace::new();
    let read = || fs::read_to_string(work.path().join("kills.prom")).expect("a file");
    let value = |name: &str| {
        let text = read();
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().expect("a value").to_owned()
    };
    let args = ["--metrics-file", "kills.prom"];
    work.load(&database, &args).stdin(format!("{}\n", small_event(1))).expect(0);
    assert_eq!(value("aegis_kills_events_total{outcome=\"inserted\",server=\"americas\"}"), "1");
    assert_eq!(value("aegis_kills_last_run_success"), "1");
    let success = value("aegis_kills_last_success_timestamp_seconds");
    // The metrics of a failed run say so, and keep the time of the last successful one.
    let program = work.program(&["load", "--metrics-file", "kills.prom"]);
    let program = program
        .env("DATABASE_URL", "postgresql://aegis@127.0.0.1:1/none")
        .env("DATABASE_CONNECTION_TIMEOUT", "200");
    program.expect(4);
    assert_eq!(value("aegis_kills_last_run_success"), "0");
    assert_eq!(value("aegis_kills_last_success_timestamp_seconds"), success);
    assert_eq!(fs::read_dir(work.path()).expect("a directory").count(), 1, "no temporary file is left");
    work.program(&["load", "--dry-run", "--metrics-file", "no/such/directory.prom"])
        .expect(2)
        .says(&["--metrics-file"]);
    work.program(&["load", "--dry-run", "--listen", "nowhere"]).expect(2).says(&["--listen", "nowhere"]);
}
