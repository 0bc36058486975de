//! Metrics: the format, that each changes during a load, the metrics file, and the limits of the pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, join};
use crate::support::http::{self, request};
use crate::support::program::Workplace;
use crate::support::{eventually, free_port};

/// The label of every sample of a load for `americas`.
const SERVER: &str = "server=\"americas\"";

/// A sample's name without [`SERVER`], which it must have.
fn without_server(name: &str) -> String {
    assert!(name.contains(SERVER), "{name}");
    name.replace(&format!(",{SERVER}"), "")
        .replace(&format!("{SERVER},"), "")
        .replace(&format!("{{{SERVER}}}"), "")
}

/// The samples by name and labels, without [`SERVER`]. Asserts the rules of Prometheus's `promtool`: help and type before a family's samples,
/// units last in names, counters that end in `_total`, buckets that grow up to the count.
fn checked(text: &str) -> BTreeMap<String, f64> {
    let (mut helped, mut kinds, mut samples) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let mut family = String::new();
    assert!(text.ends_with('\n'), "{text}");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("words");
            assert!(words.ends_with('.') && helped.insert(name.to_owned()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(
                helped.contains(name) && kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line}"
            );
            assert!(name.starts_with("aegis_kills_"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kind != "histogram" || name.ends_with("_seconds"), "{line}");
            name.clone_into(&mut family);
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let name = &without_server(name);
            let bare = name.split('{').next().expect("a name");
            let of_histogram = kinds[&family] == "histogram"
                && ["_bucket", "_sum", "_count"].iter().any(|end| bare == format!("{family}{end}"));
            assert!(bare == family || of_histogram, "{line} is under {family}");
            assert!(samples.insert(name.to_owned(), value.parse().expect("a number")).is_none(), "{line}");
        }
    }
    for name in kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
        // In the order of the text.
        let values = |end: &str| {
            let starts = format!("{name}{end}");
            text.lines().filter(move |line| line.starts_with(&starts)).map(|line| {
                line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
            })
        };
        let buckets: Vec<f64> = values("_bucket").collect();
        assert!(buckets.is_sorted(), "{name}: {buckets:?}");
        assert_eq!(buckets.last(), values("_count").collect::<Vec<_>>().first(), "{name}");
        assert!(samples.contains_key(&format!("{name}_bucket{{le=\"+Inf\"}}")), "{samples:?}");
    }
    samples
}

#[test]
fn each_metric_exists_and_changes() {
    let database = Cluster::shared().database("metrics");
    let work = Workplace::new();
    let dump = generated(400, 5, 10.0);
    let args = ["--metrics-file", "kills.prom", "--on-conflict", "update"];
    // The load retries after a deadlock.
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let once = "create sequence tries; create function refuse() returns trigger language plpgsql as $$ begin
        if nextval('tries') = 1 then raise exception 'not now' using errcode = '40P01'; end if; return new;
        end $$; create trigger refuse before insert on kill_load_segment for each row execute function refuse()";
    database.client().batch_execute(once).expect("a trigger");
    let read = || checked(&fs::read_to_string(work.path().join("kills.prom")).expect("a file"));
    let load = |input: Vec<u8>| {
        let program = work.load(&database, &args).segment_bytes(64 << 10).env("DATABASE_RETRY_BASE", "20");
        program.stdin(input).run()
    };
    load(join(&[&dump[..], b"no event\n"])).expect(3);
    let first = read();
    for name in [
        "events_total{outcome=\"inserted\"}",
        "events_total{outcome=\"duplicate\"}",
        "events_total{outcome=\"rejected\"}",
        "new_rejects_total",
        "read_bytes_total",
        "uncompressed_bytes_total",
        "lines_total",
        "segments_total{outcome=\"read\"}",
        "retries_total{class=\"transient\"}",
        "copy_seconds_count",
        "copy_seconds_sum",
        "commit_seconds_count",
        "commit_seconds_sum",
        "pool_connections{state=\"total\"}",
        "pool_connections{state=\"idle\"}",
        "pool_connections_max",
        "database_healthy",
        "run_seconds",
        "last_success_timestamp_seconds",
        "last_run_success",
    ] {
        assert!(
            first.get(&format!("aegis_kills_{name}")).is_some_and(|value| *value > 0.0),
            "{name}: {first:?}"
        );
    }
    for name in [
        "events_total{outcome=\"updated\"}",
        "events_total{outcome=\"already_loaded\"}",
        "segments_total{outcome=\"skipped\"}",
        "retries_total{class=\"away\"}",
        "pool_connections{state=\"active\"}",
        "pool_waiting",
        "pool_timeouts_total",
        "connection_errors_total",
        "queue_depth",
    ] {
        assert_eq!(first.get(&format!("aegis_kills_{name}")), Some(&0.0), "{name}");
    }
    let text = String::from_utf8(dump)
        .expect("text")
        .replace("\"KillArea\":\"OPEN_WORLD\"", "\"KillArea\":\"HELL\"");
    load(text.into_bytes()).expect(0);
    assert!(read()["aegis_kills_events_total{outcome=\"updated\"}"] > 0.0);
}

#[test]
fn the_metrics_file_is_valid_and_written_only_by_loads() {
    let database = Cluster::shared().database("exporter");
    let work = Workplace::new();
    let path = work.path().join("kills.prom");
    let mode = || fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
    let text = || fs::read_to_string(&path).expect("a file");
    let success = |text: &str| checked(text).get("aegis_kills_last_success_timestamp_seconds").copied();
    let args = ["--metrics-file", "kills.prom"];
    work.load(&database, &args).expect(0);
    assert_eq!(mode(), 0o644);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its mode");
    work.load(&database, &args).expect(0);
    assert_eq!(mode(), 0o640, "as its owner wants it");
    let good = text();
    work.load(&database, &args).args(&["--dry-run"]).expect(0).says(&["this is a dry run"]);
    assert_eq!(text(), good);
    // Every end of a run is reported.
    for program in [
        work.load(&database, &args).args(&["no-such-file"]),
        work.load(&database, &args).env("DATABASE_URL", "postgresql://aegis@127.0.0.1:1/none"),
    ] {
        fs::write(&path, &good).expect("a file");
        let code = program.env("DATABASE_CONNECTION_TIMEOUT", "200").run().code;
        assert!([1, 4].contains(&code), "{code}");
        assert_eq!(checked(&text()).get("aegis_kills_last_run_success"), Some(&0.0));
        assert_eq!(success(&text()), success(&good));
    }
    // The ledger still has the values of a deleted file.
    fs::remove_file(&path).expect("a file");
    work.load(&database, &args).stdin("no event\n").args(&["--max-rejects", "0"]).expect(5);
    assert!(
        success(&text()).is_some_and(|time| time >= success(&good).expect("a time") - 60.0),
        "{}",
        text()
    );
}

#[test]
fn pages_enforce_their_limits() {
    let database = Cluster::shared().database("limits");
    let work = Workplace::new();
    work.load(&database, &[]).expect(0);
    let port = free_port();
    let running = work.load(&database, &["--listen", &port.to_string()]).start();
    let get = |path: &str| http::get(port, path);
    eventually(Duration::from_mins(1), "it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let samples = checked(&get("/metrics").1);
    assert!(samples.contains_key("aegis_kills_last_success_timestamp_seconds"), "{samples:?}");
    assert_eq!(samples.get("aegis_kills_database_healthy"), Some(&1.0));
    // Other methods, and malformed requests.
    assert_eq!(request(port, b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n"), (200, String::new()));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let sent = format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(sent.as_bytes()).expect("to send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.contains("\r\nAllow: GET, HEAD\r\n"),
            "{answer}"
        );
    }
    // Silent clients are disconnected, and others are answered meanwhile or soon after.
    let silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("a connection")).collect();
    let begun = Instant::now();
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "it is closed");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    eventually(Duration::from_secs(30), "it answers", || get("/health").0 == 200);
    // The port is in use.
    let taken = work.load(&database, &["--listen", &port.to_string()]).expect(2);
    taken.says(&[&format!("cannot listen on 127.0.0.1:{port}"), "--listen"]);
    // The server binds only to 127.0.0.1.
    assert!(TcpListener::bind(("127.0.0.2", port)).is_ok(), "it listens on 127.0.0.1 alone");
    running.signal(Signal::SIGTERM);
    running.finish().expect(143);
}

#[test]
fn the_health_page_returns_503_during_an_outage() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("page");
    let work = Workplace::new();
    let port = free_port();
    let running = work.load(&database, &["--listen", &port.to_string()]).start();
    let get = |path: &str| http::get(port, path);
    let status = || TcpStream::connect(("127.0.0.1", port)).map_or(0, |_| get("/health").0);
    eventually(Duration::from_mins(1), "it is healthy", || status() == 200);
    cluster.stop();
    eventually(Duration::from_mins(1), "it is not", || status() == 503);
    let report: serde_json::Value = serde_json::from_str(&get("/health").1).expect("JSON");
    assert_eq!((&report["healthy"], &report["server_version"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(request(port, b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n"), (503, String::new()));
    cluster.start();
    eventually(Duration::from_mins(1), "it is healthy again", || status() == 200);
    running.signal(Signal::SIGTERM);
    running.finish().expect(143);
}
