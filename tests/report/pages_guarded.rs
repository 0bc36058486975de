//! Attacks on the pages of `--listen`: other sites' pages in a browser, silent clients, a silent database, and event
//! texts on public pages.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use aegis_kills::{HealthProbe, from_url};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::small_event;
use crate::support::http::{get, request};
use crate::support::process::Supervised as _;
use crate::support::program::{Running, Workplace};
use crate::support::{eventually, free_port, not_tried};

const WAIT: Duration = Duration::from_mins(1);

/// A dry run that waits for input and serves its pages.
fn serving(work: &Workplace, listen: &str, port: u16) -> Running {
    let running = work.program(&["load", "--dry-run", "--server", "europe", "--listen", listen]).start();
    eventually(WAIT, "it listens", || get(port, "/status.json").0 == 200);
    running
}

fn status_by(port: u16, host: &str) -> u16 {
    request(port, format!("GET /status.json HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).0
}

#[test]
fn requests_for_a_foreign_host_are_rejected() {
    let work = Workplace::new();
    let port = free_port();
    let running = serving(&work, &port.to_string(), port);
    let own = ["127.0.0.1", "127.0.0.1:1", "10.0.0.7:8080", "[::1]:80", "[::1]", "localhost", "LOCALHOST:80"];
    for host in own {
        assert_eq!(status_by(port, host), 200, "{host}");
    }
    for host in
        ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "a@127.0.0.1"]
    {
        assert_eq!(status_by(port, host), 403, "{host}");
    }
    for host in ["", "x", ":80", "[evil]", "[::1"] {
        assert_eq!(status_by(port, host), 403, "{host}");
    }
    // Only digits are a port.
    for host in [
        "localhost:80@evil.example",
        "localhost:evil",
        "localhost:",
        "localhost:+80",
        "[::1]evil",
        "[::1]:evil",
        "127.0.0.1:80:80",
        "127.0.0.1:99999",
    ] {
        assert_eq!(status_by(port, host), 403, "{host}");
    }
    let two = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n";
    assert_eq!(request(port, two).0, 403);
    assert_eq!(request(port, b"GET /status.json HTTP/1.0\r\n\r\n").0, 200, "a probe need not say it");
    assert_eq!(request(port, b"GET /status.json HTTP/1.1\r\n\r\n").0, 400, "HTTP/1.1 requires it");
    running.signal(Signal::SIGTERM);
    running.finish().says(&[&format!("listening on http://127.0.0.1:{port}/")]);
}

#[test]
fn the_host_name_given_to_listen_is_accepted() {
    let Ok(hostname) = Command::new("hostname").output_in_time() else {
        return not_tried("a name for --listen", "there is no program hostname");
    };
    let name = String::from_utf8_lossy(&hostname.stdout).trim().to_lowercase();
    let work = Workplace::new();
    let port = free_port();
    let listens = TcpListener::bind((name.as_str(), 0)).and_then(|own| own.local_addr());
    let Some(address) = listens.ok().filter(std::net::SocketAddr::is_ipv4) else {
        return not_tried("a name for --listen", "this machine's name leads to none of its addresses");
    };
    let running = work
        .program(&["load", "--dry-run", "--server", "europe", "--listen", &format!("{name}:{port}")])
        .start();
    let ask = |host: &str| {
        let Ok(mut stream) = TcpStream::connect((address.ip(), port)) else { return String::new() };
        let mut answer = String::new();
        let asked = format!("GET /status.json HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let _ = std::io::Write::write_all(&mut stream, asked.as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer).map(drop));
        answer
    };
    eventually(WAIT, "it answers by its name", || ask(&format!("{name}:{port}")).starts_with("HTTP/1.1 200"));
    assert!(ask("evil.example").starts_with("HTTP/1.1 403"));
    running.signal(Signal::SIGTERM);
    running.finish();
}

#[test]
fn silent_clients_do_not_block_others() {
    let work = Workplace::new();
    let port = free_port();
    let running = serving(&work, &port.to_string(), port);
    let silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("a connection")).collect();
    for _ in 0..20 {
        assert_eq!(status_by(port, "localhost"), 200);
    }
    drop(silent);
    running.signal(Signal::SIGTERM);
    running.finish();
}

#[test]
fn a_port_in_use_is_an_error_or_a_warning() {
    let work = Workplace::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port().to_string();
    let load = || work.program(&["load", "--dry-run", "--server", "europe"]);
    load().env("KILLS_LISTEN", &port).expect(0).says(&["KILLS_LISTEN", "no pages are served"]);
    work.write(".env", format!("KILLS_LISTEN={port}\n"));
    load().expect(0).says(&["KILLS_LISTEN", "no pages are served"]);
    load().args(&["--listen", &port]).expect(2).says(&["cannot listen on"]);
    let quiet = load().args(&["-q", "--listen", "0"]).expect(0);
    assert!(quiet.stderr.is_empty(), "{}", quiet.stderr);
}

/// Repeated checks of a server that accepts and stays silent hold at most two connections.
#[test]
fn health_checks_of_a_frozen_server_do_not_accumulate() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let accepted = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&accepted);
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::AcqRel);
            held.push(stream);
        }
    });
    let target = from_url(&format!("postgresql://me@127.0.0.1:{port}/kills?sslmode=disable"), &|_| None);
    let probe = HealthProbe::new(&target.expect("a URL"), "test", Duration::from_millis(100));
    for _ in 0..12 {
        let status = probe.check();
        assert!(status.error.is_some());
    }
    let held = accepted.load(Ordering::Acquire);
    assert!((1..=2).contains(&held), "{held} connections");
}

/// A trigger's message can quote an event. Only the user of the load sees it, not readers of the ledger or the pages.
#[test]
fn event_texts_are_neither_in_the_ledger_nor_on_a_page() {
    let database = Cluster::shared().database("text");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let trigger = "create function quote_event() returns trigger language plpgsql as $$ begin
          raise exception 'zebra in event %', new.event_id using errcode = '57014'; end $$;
        create trigger quote_event before insert on kill_event for each row execute function quote_event()";
    database.client().batch_execute(trigger).expect("a trigger");
    let port = free_port();
    let args = ["--server", "europe", "--listen", &port.to_string()];
    // The only event of a load would be rejected.
    let dump = format!("{}\n{}\n", small_event(1), small_event(2));
    let ended = work.load(&database, &args).stdin(dump).run();
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.code != 0 && said.contains("zebra"), "{said}");
    let rows =
        database.client().query("select to_jsonb(run)::text from kill_load_run run", &[]).expect("rows");
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(rows.len() == 1 && !rows[0].contains("zebra") && rows[0].contains("57014"), "{rows:?}");
    let health = work.program(&["health", "--json"]).env("DATABASE_URL", &database.url()).run();
    let report: Value = serde_json::from_str(&health.stdout).expect("JSON");
    assert!(!report.to_string().contains("zebra"), "{report}");
}

/// Readers of the page see only the SQLSTATE of a statement's error.
#[test]
fn messages_of_the_database_are_not_on_the_health_page() {
    let database = Cluster::shared().database("cast");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let cast = "create type note as enum ('zebra');
        create function note_json(note) returns json language plpgsql as $$ begin
          raise exception 'no %', $1; end $$;
        create cast (note as json) with function note_json(note);
        alter table kill_load_run add note note default 'zebra'";
    database.client().batch_execute(cast).expect("a cast");
    let health = work.program(&["health"]).env("DATABASE_URL", &database.url());
    let port = free_port();
    let running = work.load(&database, &["--server", "europe", "--listen", &port.to_string()]).start();
    let mut page = String::new();
    eventually(WAIT, "the last run cannot be read", || {
        page = get(port, "/health").1;
        page.contains("\"healthy\":false")
    });
    assert!(page.contains("P0001") && !page.contains("zebra"), "{page}");
    // The user of the database sees it all.
    assert!(health.expect(6).stdout.contains("zebra"));
    running.finish_after_input();
}

/// An input without events at the expected place is abandoned. The error on the terminal names the keys that lead to the
/// events, which can be names of players.
#[test]
fn keys_of_an_abandoned_input_are_neither_in_the_ledger_nor_on_a_page() {
    let database = Cluster::shared().database("keys");
    let work = Workplace::new();
    let line = |number: i64| format!("{{\"zebra{number}\":{{\"zebra\":{}}}}}\n", small_event(number));
    let dump: String = (1..=1200).map(line).collect();
    let port = free_port();
    let mut running = work.load(&database, &["--server", "europe", "--listen", &port.to_string()]).start();
    let status = || serde_json::from_str::<Value>(&get(port, "/status.json").1).unwrap_or_default();
    eventually(WAIT, "it listens", || status()["finished"] == false);
    running.feed(dump.as_bytes());
    let mut end = Value::Null;
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(|| running.finish_after_input());
        eventually(WAIT, "it ends", || {
            end = status();
            end["finished"] == true
        });
        ended.join().expect("no panic")
    });
    let ended =
        ended.expect(1).says(&["an event seems to be at 'zebra1.zebra'", "--events-at 'zebra1.zebra'"]);
    ended.summary().check(&[("rejected", 1000), ("inserted", 0)]);
    let row = database.client().query_one("select to_jsonb(run)::text from kill_load_run run", &[]);
    let row: String = row.expect("a row").get(0);
    let health = work.program(&["health", "--json"]).env("DATABASE_URL", &database.url()).run().stdout;
    for text in [&row, &health, &end.to_string()] {
        assert!(text.contains("first 1000 values") && !text.contains("zebra"), "{text}");
    }
}

/// The search for refused events names the last refusal when it reaches its time limit. The trigger is slow.
#[test]
fn a_search_at_its_limit_quotes_no_event_in_the_ledger() {
    let database = Cluster::shared().database("search");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let trigger = "create function quote_event() returns trigger language plpgsql as $$ begin
          perform pg_catalog.pg_sleep(1); raise exception 'zebra in event %', new.event_id; end $$;
        create trigger quote_event before insert on kill_event for each row execute function quote_event()";
    database.client().batch_execute(trigger).expect("a trigger");
    // Lines of about 1 KiB, of which the search checks about 30.
    let events: Vec<String> =
        (1..=60).map(|id| format!("{}{}\n", small_event(id), " ".repeat(1000))).collect();
    let dump = events.concat();
    let ended = work.load(&database, &["--server", "europe"]).stdin(dump).expect(4);
    ended.summary().check(&[("inserted", 0), ("rejected", 0), ("unfinished", 60), ("retries", 0)]);
    let error = ended.summary().error().to_owned();
    for part in ["limit of 30 s after ", " of 60 events", "zebra in event", "(SQLSTATE P0001)"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(
        error.contains("correct the trigger or constraint") && error.contains("KILLS_SEGMENT_BYTES="),
        "{error}"
    );
    let row = database.client().query_one("select to_jsonb(run)::text from kill_load_run run", &[]);
    let row: String = row.expect("a row").get(0);
    assert!(!row.contains("zebra") && row.contains("limit of 30 s") && row.contains("P0001"), "{row}");
    let health = work.program(&["health", "--json"]).env("DATABASE_URL", &database.url()).run();
    assert!(health.stdout.contains("limit of 30 s") && !health.stdout.contains("zebra"), "{}", health.stdout);
}
