//! `health`: a real server causes each recommendation, and the report has the documented keys and types.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::report::health::{health, recommendations};
use crate::support::backends::occupy;
use crate::support::cluster::Cluster;
use crate::support::dumps::small_event;
use crate::support::log_case;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;

/// Forwards connections to a server and delays each answer. Returns its port.
fn far_away(server: u32, latency: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let server = u16::try_from(server).expect("a port");
    let pass = |mut from: TcpStream, mut to: TcpStream, latency: Duration| {
        let mut bytes = [0; 8192];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            thread::sleep(latency);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // Fails if the connection is already closed.
        let _ = to.shutdown(Shutdown::Both);
    };
    // The thread ends with the test process.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else { return };
            let (client_again, upstream_again) =
                (client.try_clone().expect("a handle"), upstream.try_clone().expect("a handle"));
            thread::spawn(move || pass(client, upstream, Duration::ZERO));
            thread::spawn(move || pass(upstream_again, client_again, latency));
        }
    });
    port
}

#[test]
fn a_distant_server_causes_a_recommendation() {
    let cluster = Cluster::shared();
    let database = cluster.database("far");
    let work = Workplace::new();
    let port = far_away(cluster.port(), Duration::from_millis(30));
    let url = format!("postgresql://aegis@127.0.0.1:{port}/{}", database.name());
    let report = health(&work, &url, &[], 0);
    assert!(report["latency_ms"].as_f64().is_some_and(|latency| latency >= 30.0), "{report}");
    let words = "ms: run the loader closer to the database, or raise KILLS_SEGMENT_BYTES";
    assert!(recommendations(&report).iter().any(|found| found.contains(words)), "{report}");
    let near = health(&work, &database.tcp_url(), &[], 0);
    assert_eq!(recommendations(&near), Vec::<String>::new());
}

#[test]
fn missing_and_invalid_indexes_are_reported() {
    for (layout, index, remedy) in [
        (
            "archive",
            "kill_event_newest",
            concat!(
                "is missing: the next load builds it at its end, or run: ",
                env!("CARGO_BIN_EXE_aegis-kills"),
                " schema apply --schema 'odd name' --layout archive"
            ),
        ),
        (
            "aegis",
            "KillEvent_TimeStamp_idx",
            r#"is missing: run CREATE INDEX CONCURRENTLY "KillEvent_TimeStamp_idx" ON "odd name"."KillEvent" ("TimeStamp")"#,
        ),
    ] {
        log_case(layout);
        let database = Cluster::shared().database("indexes");
        let work = Workplace::new();
        let (url, settings) = (database.url(), [("KILLS_LAYOUT", layout), ("DATABASE_SCHEMA", "odd name")]);
        let of = || recommendations(&health(&work, &url, &settings, 0));
        assert_eq!(of(), Vec::<String>::new(), "without tables there is nothing to be said");
        let apply = || {
            let program = work.program(&["schema", "apply"]).env("DATABASE_URL", &url);
            settings.iter().fold(program, |program, (name, value)| program.env(name, value)).expect(0)
        };
        apply();
        assert_eq!(of(), Vec::<String>::new());
        let mut client = database.client();
        // `health` reads the catalog, where only this flag marks the index of a failed REINDEX.
        let invalid = |valid: bool| {
            format!(
                "update pg_index set indisvalid = {valid} where indexrelid = '\"odd name\".\"{index}\"'::regclass"
            )
        };
        client.batch_execute(&invalid(false)).expect("an invalid index");
        let reindex = format!("REINDEX INDEX CONCURRENTLY \"odd name\".\"{index}\"");
        assert_eq!(of(), [format!("the index {index} is invalid: run {reindex}")]);
        client.batch_execute(&reindex).expect("what is recommended can be run");
        client.batch_execute(&invalid(true)).expect("a valid index");
        client.batch_execute(&format!("drop index \"odd name\".\"{index}\"")).expect("to drop");
        assert_eq!(of(), [format!("the index {index} {remedy}")]);
        match remedy.split_once("run ") {
            Some((_, statement)) => client.batch_execute(statement).expect("what is recommended can be run"),
            None => drop(apply()),
        }
        assert_eq!(of(), Vec::<String>::new());
        // An index of the user.
        let table = if layout == "aegis" { "KillEvent" } else { "kill_event" };
        let column = if layout == "aegis" { "killerName" } else { "kill_area" };
        client
            .batch_execute(&format!(
                "create index \"My own\" on \"odd name\".\"{table}\" (\"{column}\");
                 update pg_index set indisvalid = false where indexrelid = '\"odd name\".\"My own\"'::regclass"
            ))
            .expect("an invalid index");
        let reindex = "REINDEX INDEX CONCURRENTLY \"odd name\".\"My own\"";
        assert_eq!(of(), [format!("the index My own is invalid: run {reindex}")]);
        client.batch_execute(reindex).expect("what is recommended can be run");
    }
}

/// On the tables of events, they decide about single events.
#[test]
fn triggers_and_rules_on_the_ledger_are_reported() {
    let database = Cluster::shared().database("ledger_code");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let of = || recommendations(&health(&work, &database.url(), &[], 0));
    assert_eq!(of(), Vec::<String>::new());
    let mut client = database.client();
    client
        .batch_execute(
            "create function ignore() returns trigger language plpgsql as 'begin return null; end';
             create trigger \"My own\" before insert on kill_load_segment for each row execute function ignore();
             create rule nothing as on update to kill_load_run do instead nothing;
             create trigger forgets after delete on kill_load_segment for each row execute function ignore();
             create trigger of_events before insert on kill_event for each row execute function ignore()",
        )
        .expect("triggers and a rule");
    let found = of();
    let starts = ["kill_load_run has the rule nothing: ", "kill_load_segment has the trigger \"My own\": "];
    assert_eq!(found.len(), starts.len(), "{found:?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
        let (_, statement) = found.split_once("run: ").expect("a statement");
        client.batch_execute(statement).expect("what is recommended can be run");
    }
    assert_eq!(of(), Vec::<String>::new());
    work.load(&database, &[]).stdin(small_event(1).to_string()).expect(3);
}

/// A load would fail, so they are unhealthy.
#[test]
fn incompatible_tables_are_unhealthy() {
    let database = Cluster::shared().database("misfits");
    database.client().batch_execute("create table kill_event (event_id text)").expect("a table");
    let work = Workplace::new();
    let report = health(&work, &database.url(), &[], 6);
    let error = report["error"].as_str().expect("a cause");
    assert!(error.contains("kill_event.event_id is of type text") && error.contains("--schema"), "{error}");
    let words = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(6).stdout;
    assert!(words.starts_with("Unhealthy: the tables in schema \"public\" are incompatible"), "{words}");
    let failed = work.load(&database, &[]).stdin(format!("{}\n", small_event(1))).expect(7).summary();
    assert!(failed.error().contains("kill_event.event_id is of type text"), "{}", failed.error());
    health(&work, &database.url(), &[("DATABASE_SCHEMA", "other")], 0);
}

#[test]
fn an_unprivileged_role_counts_the_sessions_of_others() {
    let cluster = Cluster::private(&[("max_connections", "20"), ("superuser_reserved_connections", "2")]);
    let database = cluster.database("roles");
    database
        .client()
        .batch_execute("create role loader login; grant create on schema public to loader")
        .expect("a role");
    let _others: Vec<_> = (0..5).map(|_| database.client()).collect();
    let url = database.url().replace("aegis", "loader");
    let report = health(&Workplace::new(), &url, &[("DATABASE_POOL_MAX", "13")], 0);
    let connections = &report["server_connections"];
    assert_eq!((&connections["max"], &connections["reserved"]), (&Value::from(20), &Value::from(2)));
    let used = connections["used"].as_u64().expect("a count");
    assert!((6..=8).contains(&used), "five, its own, and those that are on their way out: {report}");
    assert_eq!(connections["free"], 18 - used);
    assert!(recommendations(&report)[0].contains("the server has room for 1"), "{report}");
}

#[test]
fn a_server_without_free_connections_is_unhealthy() {
    let cluster = Cluster::private(&[("max_connections", "8")]);
    let database = cluster.database("full");
    let _all = occupy(&cluster);
    let report = health(&Workplace::new(), &database.url(), &[], 6);
    assert!(report["error"].as_str().is_some_and(|error| error.contains("too many clients")), "{report}");
    assert_eq!(report["connection_errors"], 1);
}

/// The type of a value in the report, as the contract names it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_u64() => "count",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[test]
fn the_report_has_the_documented_keys_and_types() {
    let database = Cluster::shared().database("shape");
    let work = Workplace::new();
    work.load(&database, &[]).stdin(format!("{}\n", small_event(1))).expect(0);
    let there = health(&work, &database.url(), &[], 0);
    let away = health(&work, "postgresql://aegis@127.0.0.1:1/none", &[], 6);
    for (key, if_there, if_away) in [
        ("healthy", "true or false", "true or false"),
        ("error", "null", "text"),
        ("server_version", "text", "null"),
        ("latency_ms", "number", "null"),
        ("read_only", "true or false", "null"),
        ("in_recovery", "true or false", "null"),
        ("pool", "object", "object"),
        ("workers", "count", "count"),
        ("server_connections", "object", "null"),
        ("connection_errors", "count", "count"),
        ("last_check", "text", "text"),
        ("last_run", "object", "null"),
        ("recommendations", "list", "list"),
    ] {
        assert_eq!((kind(&there[key]), kind(&away[key])), (if_there, if_away), "{key}");
    }
    for report in [&there, &away] {
        assert_eq!(report.as_object().map(serde_json::Map::len), Some(13), "{report}");
    }
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(keys(&there["pool"]), set(&["min", "max", "connection_timeout_ms", "idle_timeout_ms"]));
    assert_eq!(keys(&there["server_connections"]), set(&["max", "reserved", "used", "free"]));
    let time = there["last_check"].as_str().expect("a text");
    assert!(time.len() == 20 && time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(there["last_run"]["events"], 1);
}

#[test]
fn the_recommended_settings_can_be_copied() {
    let database = Cluster::shared().database("copy");
    let work = Workplace::new();
    let settings =
        [("KILLS_WORKER_CONCURRENCY", "12"), ("DATABASE_POOL_MAX", "4"), ("DATABASE_POOL_MIN", "1")];
    let program = work.program(&["health"]).env("DATABASE_URL", &database.url());
    let said =
        settings.iter().fold(program, |program, (name, value)| program.env(name, value)).expect(0).stdout;
    assert!(
        said.contains("Recommendations:") && said.contains("Recommended for 12 workers, in .env:"),
        "{said}"
    );
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with(['D', 'K'])).collect();
    assert_eq!(lines[0], "DATABASE_POOL_MIN=8");
    // After copying them unchanged there are no recommendations.
    work.write(".env", lines.join("\n"));
    let said = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(0).stdout;
    assert!(said.contains("min=8, max=20") && said.ends_with("No recommendations.\n"), "{said}");
}

#[test]
fn a_watch_continues_during_an_outage_and_ends_by_a_signal() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("watched");
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_aegis-kills"))
            .args(["health", "--watch", "--database-url", &database.url()])
            .stdout(Stdio::piped())
            .supervised()
            .expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut shows =
            |words: &str| assert!(lines.any(|line| line.expect("text").contains(words)), "{words}");
        shows("UTC  healthy");
        cluster.stop();
        shows("UTC  unhealthy: ");
        cluster.start();
        shows("Healthy: the database accepts connections and writes.");
        child.signal(signal);
        assert_eq!(child.wait().code(), Some(code));
    }
}
