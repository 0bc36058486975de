//! `load` of envelopes in which a closing brace is missing at the end of a member.

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, lines};
use crate::support::program::Workplace;

/// A text with an entry per event, of which one is malformed, and another, which `line` ends or not, has no closing brace.
fn without_a_brace(open: &str, close: &str, number: usize, line: &str) -> String {
    let dump = generated(20, 46, 0.0);
    let entry = |(entry, event): (usize, &&[u8])| {
        let event = str::from_utf8(event).expect("JSON");
        match entry {
            5 => format!("\"5\":{{\"data\":{}}},\n", event.replacen("\"TimeStamp\":", "\"TimeStamp:", 1)),
            entry if entry == number => format!("\"{entry}\":{{\"data\":{event},{line}"),
            entry => format!("\"{entry}\":{{\"data\":{event}}},\n"),
        }
    };
    let entries: String = lines(&dump).iter().enumerate().map(entry).collect();
    format!("{open}\n{}\n{close}\n", entries.trim_end_matches(",\n"))
}

/// The paths to the entries, and the text around them.
const AROUND_ENTRIES: [(&str, &str, &str); 2] =
    [("*.data", "{", "}"), ("events.*.data", "{\"x\":1,\"events\":{", "}}")];

/// The key at the start of the next line shows the end of the entry.
#[test]
fn a_missing_brace_at_the_end_of_a_line_costs_no_entry() {
    for (path, open, close) in AROUND_ENTRIES {
        let (work, database) = (Workplace::new(), Cluster::shared().database("brace_at_end"));
        work.write("board.json", without_a_brace(open, close, 10, "\n"));
        let run = work.load(&database, &["--events-at", path, "board.json"]).expect(3);
        // One reject is the malformed event, and one the place of the missing brace.
        run.summary().check(&[("events", 21), ("inserted", 19), ("rejected", 2), ("unfinished", 0)]);
    }
}

/// After a reject too: entries behind a missing brace are in no count, so the load fails, and the message says why.
#[test]
fn entries_behind_a_missing_brace_make_the_load_fail() {
    for (path, open, close) in AROUND_ENTRIES {
        let (work, database) = (Workplace::new(), Cluster::shared().database("behind_a_brace"));
        work.write("board.json", without_a_brace(open, close, 18, ""));
        let run = work.load(&database, &["--events-at", path, "board.json"]).expect(1);
        let run =
            run.says(&["the JSON object is not closed", "unless a closing brace is missing among them"]);
        run.summary().check(&[("events", 19), ("inserted", 18), ("rejected", 1), ("unfinished", 0)]);
    }
}
