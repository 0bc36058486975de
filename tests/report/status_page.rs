//! The status of a load over HTTP: its JSON, its page, and the page in a browser.

mod in_browser;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use postgres::Client;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, small_event};
use crate::support::program::{Program, Running, Workplace};
use crate::support::{eventually, free_port};

const WAIT: Duration = Duration::from_mins(1);

/// The text of rejected lines, which is never shown.
const SECRET: &str = "top-secret-of-a-line";

/// Head and body of the response to a GET. Both are empty while nothing listens.
fn get(port: u16, path: &str) -> (String, String) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return Default::default() };
    let mut answer = String::new();
    let sent = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    let _ = sent.and_then(|()| stream.read_to_string(&mut answer));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.to_owned(), body.to_owned())
}

/// The status, or null while nothing listens.
fn status(port: u16) -> Value {
    serde_json::from_str(&get(port, "/status.json").1).unwrap_or_default()
}

/// Waits for a status for which `is_it` is true.
#[track_caller]
fn await_status(port: u16, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    eventually(WAIT, what, || {
        found = status(port);
        is_it(&found)
    });
    found
}

fn is_sum_of_its_parts(status: &Value) -> bool {
    let parts = ["inserted", "updated", "duplicate", "already_loaded", "rejected", "unfinished"];
    status["events"].as_u64() == parts.iter().map(|part| status[part].as_u64()).sum()
}

/// A dump of which a third is rejected.
fn dump() -> Vec<u8> {
    let rejected = |number: u64| match number % 3 {
        0 => format!("{SECRET} {number}"),
        1 => format!("{{\"EventId\": \"{SECRET}\"}}"),
        _ => format!("[{{\"EventId\": {number}, \"TimeStamp\": \"{SECRET}\"}}]"),
    };
    [generated(60, 3, 0.0), join(&(0..30).map(rejected).collect::<Vec<_>>())].concat()
}

/// A load of a file that a lock blocks at its first segment, and the lock.
fn blocked_load(work: &Workplace, database: &Database<'_>, port: u16, name: &str) -> (Running, Client) {
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut lock = database.client();
    lock.batch_execute("begin; lock table kill_load_segment in exclusive mode").expect("a lock");
    work.write(name, dump());
    let load = work.load(database, &["--listen", &port.to_string(), name]).workers(2);
    (load.segment_bytes(64 << 10).start(), lock)
}

#[test]
fn the_status_page_follows_a_load_from_start_to_end() {
    let database = Cluster::shared().database("status");
    let work = Workplace::new();
    let port = free_port();
    let (running, mut lock) = blocked_load(&work, &database, port, "kills.ndjson");
    let bytes = dump().len();
    let writing = |writer: &Value| writer["doing"] == "writing" && writer["segment"].as_u64() > Some(0);
    let held = await_status(port, "two writers are held up", |status| {
        status["state"] == "stalled"
            && status["writers"].as_array().is_some_and(|all| all.len() == 2 && all.iter().all(writing))
            && status["database"]["last_check"].is_string()
            && status["history"]["seconds"].as_array().is_some_and(|seconds| seconds.len() > 2)
    });
    // No session of the load has had an answer since it waits for the lock.
    let stall = &held["database"]["stall"];
    assert!(stall["seconds"].as_f64() >= Some(5.0) && stall["cancel_seconds"] == 60.0, "{stall}");
    for (pointer, expected) in [
        ("/title", Value::from("No answer from the database")),
        ("/finished", false.into()),
        ("/seconds_left", Value::Null),
        ("/error", Value::Null),
        ("/version", env!("CARGO_PKG_VERSION").into()),
        ("/server", "americas".into()),
        ("/layout", "archive".into()),
        ("/bytes_total", bytes.into()),
        ("/inserted", 0.into()),
        ("/database/healthy", true.into()),
        ("/database/away_seconds", Value::Null),
        ("/database/outage", Value::Null),
        ("/database/outages", Value::Array(vec![])),
        ("/database/pool/active", 2.into()),
        ("/database/pool/max", 10.into()),
        ("/database/retries/transient", 0.into()),
        ("/rejects/kinds", Value::Array(vec![])),
        ("/history/events/0", 0.into()),
    ] {
        assert_eq!(held.pointer(pointer), Some(&expected), "{pointer} in {held}");
    }
    assert!(is_sum_of_its_parts(&held) && held["unfinished"] == held["events"], "{held}");
    assert!(held["queue_depth"].as_u64() >= Some(2) && held["bytes_read"].as_u64() > Some(0), "{held}");
    lock.batch_execute("rollback").expect("the lock's end");
    // An open page still gets the final status.
    let end = await_status(port, "the load has ended", |status| status["finished"] == true);
    let ended = running.finish().expect(3);
    let summary = ended.summary();
    assert_eq!((&end["state"], &end["error"]), (&Value::from("rejects"), &Value::Null));
    assert_eq!(end["title"], "Done: all but the rejects are stored");
    for name in ["events", "inserted", "rejected", "segments", "bytes_read"] {
        assert_eq!(end[name].as_u64(), Some(summary.count(name)), "{name}");
    }
    assert_eq!((&end["unfinished"], end["rejected"].as_u64()), (&0.into(), Some(30)));
    let kinds = end["rejects"]["kinds"].as_array().expect("a list");
    let counts: u64 = kinds.iter().map(|kind| kind["count"].as_u64().expect("a count")).sum();
    assert_eq!(counts + end["rejects"]["others"].as_u64().expect("a count"), 30, "{kinds:?}");
    let of_field = |name: &str| kinds.iter().find(|kind| kind["field"] == name).expect("its kind");
    assert_eq!(
        of_field("EventId")["last"],
        serde_json::json!({"source": "kills.ndjson", "line": 89, "index": null})
    );
    assert_eq!(of_field("TimeStamp")["last"]["index"], 0);
    assert!(!end.to_string().contains(SECRET), "{end}");
    assert_eq!(end["history"]["events"].as_array().and_then(|events| events.last()), Some(&end["events"]));
    assert!(end.to_string().len() < 64 << 10);
}

#[test]
fn the_status_history_shows_an_outage() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("away");
    let work = Workplace::new();
    let port = free_port();
    let mut running =
        work.load(&database, &["--listen", &port.to_string()]).env("KILLS_FLUSH_INTERVAL", "10").start();
    running.feed(&generated(3, 92, 0.0));
    await_status(port, "three events are counted", |status| status["inserted"] == 3);
    cluster.stop();
    running.feed(&generated(3, 93, 0.0));
    let away = await_status(port, "the database is unreachable for a while", |status| {
        status["database"]["away_seconds"].as_f64().is_some_and(|seconds| seconds > 1.2)
    });
    assert_eq!((&away["state"], &away["database"]["healthy"]), (&Value::from("away"), &Value::from(false)));
    assert_eq!(away["title"], "Database unreachable; the load resumes when it is reachable again");
    assert_eq!(away["database"]["outage"]["ends_when"], "is reachable again");
    assert_eq!(away["database"]["outages"][0]["over"], false);
    assert!(
        away["database"]["outages"][0]["cause"].as_str().is_some_and(|cause| !cause.is_empty()),
        "{away}"
    );
    cluster.start();
    let back = await_status(port, "the others are counted", |status| status["inserted"] == 6);
    let about = &back["database"];
    assert_eq!((&back["state"], &about["away_seconds"]), (&Value::from("loading"), &Value::Null));
    assert_eq!((&about["outages_total"], &about["outages"][0]["over"]), (&1.into(), &true.into()), "{about}");
    let times = ["seconds", "run_seconds"].map(|name| about["outages"][0][name].as_f64().expect("a time"));
    assert!(times[0] > 1.2 && times[1] + times[0] <= back["elapsed_seconds"].as_f64().expect("a time") + 0.2);
    assert!(about["retries"]["away"].as_u64() > Some(0) && about["connection_errors"].as_u64() > Some(0));
    running.signal(Signal::SIGTERM);
    let end = await_status(port, "it ends", |status| status["finished"] == true);
    assert_eq!(end["state"], "interrupted");
    running.finish().expect(143);
}

#[test]
fn an_open_page_shows_the_end_of_a_run() {
    let database = Cluster::shared().database("ends");
    let work = Workplace::new();
    let check = |program: Program, input: &str, code: i32, state: &str, title: &str| {
        let port = free_port();
        let mut running = program.args(&["--listen", &port.to_string()]).start();
        await_status(port, "it listens", |status| status["finished"] == false);
        running.feed(input.as_bytes());
        let (end, ended) = thread::scope(|scope| {
            let ended = scope.spawn(|| running.finish_after_input());
            let end = await_status(port, "it ends", |status| status["finished"] == true);
            (end, ended.join().expect("no panic"))
        });
        ended.expect(code);
        assert_eq!((&end["state"], &end["title"]), (&Value::from(state), &Value::from(title)));
        end
    };
    let load = || work.load(&database, &[]);
    check(load(), "", 0, "complete", "Done: 0 events in the input");
    let dry = || work.program(&["load", "--json", "--dry-run"]);
    let end = check(
        dry(),
        &format!("{}\nno event\n", small_event(1)),
        3,
        "rejects",
        "Done: all but the rejects can be loaded",
    );
    assert_eq!(end["database"], Value::Null);
    // Without a database an event is complete when it is read.
    assert_eq!(end["history"]["events"].as_array().and_then(|events| events.last()), Some(&2.into()));
    let limit = "Stopped: more rejects than allowed";
    check(load().args(&["--max-rejects", "0"]), "no event\n", 5, "reject_limit", limit);
    let open = "[\n{\"EventId\": 1},\n";
    let end = check(load(), open, 1, "failed", "Failed: the load is incomplete");
    assert!(end["error"].as_str().is_some_and(|error| error.contains("not closed")), "{end}");
}

/// A trigger's message can quote the event: as a reject reason, as the error of the load, or as the cause of an outage.
#[test]
fn event_texts_in_database_messages_are_not_shown() {
    let quoting = |sqlstate: &str| {
        format!(
            "create or replace function quote() returns trigger language plpgsql as $$ begin
               raise exception 'not with %', new.killer_id using errcode = '{sqlstate}'; end $$;"
        )
    };
    let trigger = "create trigger quote before insert on kill_event for each row execute function quote();";
    // The only event of a load would be rejected with any SQLSTATE.
    let events = [1, 2].map(|id| {
        let mut event = small_event(id);
        event["Killer"]["Id"] = SECRET.into();
        format!("{event}\n")
    });
    for (sqlstate, code, shown) in
        [("P0001", 3, "trigger"), ("45000", 3, "45000"), ("53100", 4, "disk is full")]
    {
        let database = Cluster::shared().database("quotes");
        let work = Workplace::new();
        work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
        database.client().batch_execute(&format!("{} {trigger}", quoting(sqlstate))).expect("a trigger");
        let port = free_port();
        let load = work.load(&database, &["--listen", &port.to_string()]);
        let mut running = load.env("DATABASE_AWAY_TIMEOUT", "2s").start();
        await_status(port, "it listens", |status| status["finished"] == false);
        running.feed(events.concat().as_bytes());
        let (end, ended) = thread::scope(|scope| {
            let ended = scope.spawn(|| running.finish_after_input());
            let is_secret = |status: &Value| status.to_string().contains(SECRET);
            let end = await_status(port, "it ends", |status| is_secret(status) || status["finished"] == true);
            (end, ended.join().expect("no panic"))
        });
        let ended = ended.expect(code);
        // The user of the load sees everything.
        assert!(code == 3 || ended.summary().error().contains(SECRET), "{}", ended.stdout);
        assert!(!end.to_string().contains(SECRET) && end.to_string().contains(shown), "{end}");
    }
}

/// One script and one style, and nothing that the policy forbids.
fn works_within_its_policy(page: &str) {
    for tag in ["<script", "<style"] {
        assert_eq!(page.matches(tag).count(), 1, "{tag}");
    }
    let lazy = ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("];
    let inline = [" style=", " onclick=", " onload=", " onerror=", "javascript:", "setAttribute('style"];
    let outside = [" src=", "@import", "url("];
    for forbidden in lazy.iter().chain(&inline).chain(&outside) {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // A namespace is not fetched.
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("://"), "an outside resource");
}

#[test]
fn the_page_restricts_the_browser_to_its_own_script_and_style() {
    let database = Cluster::shared().database("headers");
    let work = Workplace::new();
    let port = free_port();
    let running = work.load(&database, &["--listen", &port.to_string()]).start();
    eventually(WAIT, "it listens", || get(port, "/").0.starts_with("HTTP/1.1 200"));
    for path in ["/", "/status.json", "/metrics", "/health", "/nothing"] {
        let (head, body) = get(port, path);
        let policy =
            head.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: ")).expect("a policy");
        let directives: Vec<&str> = policy.split("; ").collect();
        assert!(
            directives.contains(&"default-src 'none'") && directives.contains(&"frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for wanted in
            ["X-Content-Type-Options: nosniff", "Cache-Control: no-store", "Referrer-Policy: no-referrer"]
        {
            assert!(head.lines().any(|line| line == wanted), "{path}: {wanted} is missing in {head}");
        }
        if path == "/" {
            assert!(head.contains("Content-Type: text/html; charset=utf-8"), "{head}");
            for tag in ["script", "style"] {
                let (_, rest) = body.split_once(&format!("<{tag}>")).expect("its begin");
                let text = rest.split_once(&format!("</{tag}>")).expect("its end").0;
                let hash = STANDARD.encode(digest(&SHA256, text.as_bytes()));
                assert!(directives.contains(&format!("{tag}-src 'sha256-{hash}'").as_str()), "{policy}");
            }
            assert!(body.contains("<noscript>") && body.contains("href=\"/health\""));
            works_within_its_policy(&body);
        } else {
            assert_eq!(directives.len(), 2, "{policy}");
        }
    }
    running.signal(Signal::SIGTERM);
    running.finish().expect(143);
}
