//! The page in a browser.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use super::{SECRET, await_status, blocked_load, get};
use crate::support::browser::Browser;
use crate::support::cluster::Cluster;
use crate::support::free_port;
use crate::support::program::Workplace;

/// Serves a page and its statuses in order, then repeats the last one. `None` is no answer.
fn serve(page: String, statuses: Vec<Option<String>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let next = AtomicUsize::new(0);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let is_page = request[..count].starts_with(b"GET / ");
            let (kind, body) = if is_page {
                ("text/html", Some(&page))
            } else {
                let number = next.fetch_add(1, Ordering::Relaxed).min(statuses.len() - 1);
                ("application/json", statuses[number].as_ref())
            };
            if let Some(body) = body {
                let head =
                    format!("Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close", body.len());
                let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes());
            }
        }
    });
    port
}

/// The text of the element with this id.
fn text<'d>(dom: &'d str, id: &str) -> &'d str {
    let (_, rest) = dom.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("{id} in {dom}"));
    rest.split_once('>').and_then(|(_, rest)| rest.split_once('<')).expect("its text").0
}

#[test]
fn a_browser_shows_a_load_and_its_end() {
    let Some(browser) = Browser::find() else { return };
    let database = Cluster::shared().database("browser");
    let work = Workplace::new();
    let port = free_port();
    let (running, mut lock) = blocked_load(&work, &database, port, "<b onclick=x>.ndjson");
    let held = await_status(port, "it is held up, and there is a curve to draw", |status| {
        status["queue_depth"].as_u64() >= Some(2)
            && status["history"]["seconds"].as_array().is_some_and(|seconds| seconds.len() > 3)
            && status["state"] == "stalled"
    });
    let dom = browser.dom(&format!("http://127.0.0.1:{port}/"), 2500);
    assert_eq!((text(&dom, "state"), text(&dom, "title")), ("Waiting", "No answer from the database"));
    assert!(dom.contains("cancels a statement without progress after 1 min 00 s"), "{dom}");
    assert!(!dom.contains("<b onclick"), "{dom}");
    assert_eq!(dom.matches(">writing segment").count(), 2, "{dom}");
    for wanted in ["class=\"curve\"", "class=\"grid\"", " of 10</td>", held["run"].as_str().expect("an id")] {
        assert!(dom.contains(wanted), "{wanted} is missing in {dom}");
    }
    let page = get(port, "/").1;
    lock.batch_execute("rollback").expect("the lock's end");
    let end = await_status(port, "the load has ended", |status| status["finished"] == true);
    running.finish().expect(3);

    let shown = |statuses: Vec<Option<String>>| {
        browser.dom(&format!("http://127.0.0.1:{}/", serve(page.clone(), statuses)), 8000)
    };
    let dom = shown(vec![Some(held.to_string()), Some(end.to_string())]);
    assert_eq!(text(&dom, "state"), "Complete, with rejects");
    assert_eq!(text(&dom, "title"), "Done: all but the rejects are stored");
    assert!(text(&dom, "gone").contains("The load has ended") && text(&dom, "settled") == "90", "{dom}");
    assert!(dom.contains("EventId: expected an integer") && !dom.contains(SECRET), "{dom}");
    assert!(dom.contains("class=\"bar rejects\""), "{dom}");
    // Names are shown as text, whatever they contain. An outage hides neither the file nor its number.
    let mut away = held.clone();
    (away["state"], away["title"]) = ("away".into(), "Loading <b onclick=x>.ndjson".into());
    away["source"] = serde_json::json!({"number": 2, "count": 3, "name": "<b onclick=x>.ndjson"});
    away["database"]["outage"] = serde_json::json!({"kind": "read-only", "cause": "a cause", "seconds": 6.0,
        "attempts": 2, "next_attempt_seconds": null, "gives_up_seconds": 294.0, "ends_when": "can be written again"});
    away["writers"][0]["doing"] = "waiting_for_database".into();
    away["writers"][1]["doing"] = "waiting".into();
    let dom = shown(vec![Some(away.to_string())]);
    assert_eq!(text(&dom, "title"), "Loading &lt;b onclick=x&gt;.ndjson");
    assert_eq!(
        text(&dom, "detail"),
        "file 2 of 3: &lt;b onclick=x&gt;.ndjson · For 6.0 s, attempt 2. The load ends with code 4 in 4 min 54 s \
         unless the database can be written again. No event is lost."
    );
    assert!(dom.contains("until the database is available") && !dom.contains("<b onclick"), "{dom}");
    assert!(dom.contains(">idle during the outage<"), "{dom}");
    // A dry run has no database. An event is complete when it is read.
    let mut dry = end.clone();
    (dry["database"], dry["inserted"], dry["unfinished"]) = (Value::Null, 0.into(), 60.into());
    let dom = shown(vec![Some(dry.to_string())]);
    assert!(text(&dom, "settled") == "90" && dom.contains(">Can be loaded<"), "{dom}");
    let dom = shown(vec![Some(held.to_string()), None]);
    assert_eq!(text(&dom, "state"), "No connection");
    assert!(text(&dom, "gone").contains("Last answer: "), "{dom}");
    let dom = shown(vec![None]);
    assert!(text(&dom, "gone").contains("No answer since this page was opened"), "{dom}");
}
