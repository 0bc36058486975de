//! `load`: each form of the input, plain and compressed, from files, FIFOs and standard input, results in the same
//! tables in each layout. A broken value loses only itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::dumps::{gzip, gzip_members, join, lines, zstd_frames};
use crate::support::oracle::{Expected, Layout, Nul, assert_same, expect_in};
use crate::support::program::{Ended, Reject, Workplace};
use crate::support::samples;
use crate::support::swarm::feed::fifo;

/// A form of the input.
struct Form {
    name: &'static str,
    /// Options of the load.
    args: &'static [&'static str],
    /// The number of values that share a line.
    per_line: usize,
    text: fn(&[Part]) -> Vec<u8>,
}

type Compress = fn(&[u8]) -> Vec<u8>;

/// A value of a dump.
enum Part {
    Valid(Value),
    /// Its text lacks a colon.
    Malformed(Value),
}

const ALL: usize = usize::MAX;

/// The forms, one per line. Names are those of the test's databases.
const FORMS: [Form; 21] = [
    form("lines", 1, |parts| list(parts, "", "\n", "\n")),
    form("lines without a last newline", 1, |parts| list(parts, "", "\n", "")),
    form("byte order mark and CRLF", 1, |parts| list(parts, "\u{feff}", "\r\n", "\r\n")),
    form("blank lines and spaces", 1, |parts| list(parts, "\n \t\r\n  ", "\t\n\n \r\n  ", " ")),
    form("lines that end in a comma", 1, |parts| list(parts, "", ",\n", "\n")),
    form("pages", 2, |parts| join(&pages(parts, ",", |page| format!("[{page}]")))),
    form("pages over lines", 1, |parts| join(&pages(parts, ",\n", |page| format!("[{page}]")))),
    form("array on one line", ALL, |parts| list(parts, "[", ",", "]")),
    form("array over lines", 1, |parts| list(parts, "[", ",\n", "]\n")),
    form("array with brackets on lines", 1, |parts| list(parts, "[\r\n", ",\r\n", "\r\n]\r\n")),
    form("concatenated", ALL, |parts| list(parts, "", "", "")),
    form("concatenated with spaces", ALL, |parts| list(parts, "", " ", "\n")),
    form("pretty-printed", 1, |parts| join(&texts(parts, Part::pretty))),
    form("pretty-printed array", 1, |parts| format!("[\n{}\n]\n", texts(parts, indented).join(",\n")).into()),
    form("RFC 7464", 1, |parts| list(parts, "\x1e", "\n\x1e", "\n")),
    form("Extended JSON", 1, |parts| list(&extended(parts), "", "\n", "\n")),
    form("reject file", 1, |parts| join(&texts(parts, reject))),
    Form {
        args: &["--events-at", "data.events"],
        ..form("envelopes", 2, |parts| join(&pages(parts, ",", envelope)))
    },
    Form {
        args: &["--events-at", "data.events"],
        ..form("envelopes over lines", 1, |parts| join(&pages(parts, ",\n", envelope)))
    },
    Form {
        args: &["--events-at", "raw_json"],
        ..form("events in strings", 1, |parts| {
            let row = |part: &Part| json!({"id": 5, "raw_json": part.compact()}).to_string();
            format!("[{}]", texts(parts, row).join(",\n")).into()
        })
    },
    Form {
        args: &["--events-at", "*.data"],
        ..form("events by name", 1, |parts| {
            join(&texts(parts, |part| format!(r#"{{"17":{{"posted":true,"data":{}}}}}"#, part.compact())))
        })
    },
];

const fn form(name: &'static str, per_line: usize, text: fn(&[Part]) -> Vec<u8>) -> Form {
    Form { name, args: &[], per_line, text }
}

impl Part {
    fn value(&self) -> &Value {
        match self {
            Self::Valid(value) | Self::Malformed(value) => value,
        }
    }

    fn compact(&self) -> String {
        self.broken(self.value().to_string())
    }

    fn pretty(&self) -> String {
        self.broken(serde_json::to_string_pretty(self.value()).expect("JSON"))
    }

    fn broken(&self, text: String) -> String {
        match self {
            Self::Valid(_) => text,
            Self::Malformed(_) => text.replacen("\"TimeStamp\":", "\"TimeStamp\"", 1),
        }
    }
}

fn texts(parts: &[Part], text: impl Fn(&Part) -> String) -> Vec<String> {
    parts.iter().map(text).collect()
}

fn list(parts: &[Part], open: &str, joint: &str, close: &str) -> Vec<u8> {
    format!("{open}{}{close}", texts(parts, Part::compact).join(joint)).into()
}

fn pages(parts: &[Part], joint: &str, page: impl Fn(&str) -> String) -> Vec<String> {
    parts.chunks(2).map(|parts| page(&texts(parts, Part::compact).join(joint))).collect()
}

fn envelope(page: &str) -> String {
    format!(r#"{{"data":{{"total":7,"events":[{page}]}}}}"#)
}

fn indented(part: &Part) -> String {
    part.pretty().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn reject(part: &Part) -> String {
    let record = json!({
        "source": "old.ndjson", "line": 3, "byte_offset": 5, "index": null, "reason": "too bad", "field": null,
        "sqlstate": "23514", "raw": part.compact(),
    });
    record.to_string()
}

/// The times of the events that are dates in Extended JSON, as text and in milliseconds.
const DATE: (&str, &str) = ("2024-08-18T20:45:46.725Z", "1724013946725");

/// Events as `mongoexport --jsonFormat=canonical` and older versions of it write them.
fn extended(parts: &[Part]) -> Vec<Part> {
    fn convert(value: &Value) -> Value {
        match value {
            Value::Number(number) if number.is_f64() => json!({"$numberDouble": number.to_string()}),
            Value::Number(number) => json!({"$numberLong": number.to_string()}),
            Value::String(text) if text == DATE.0 => json!({"$date": {"$numberLong": DATE.1}}),
            Value::Array(values) => values.iter().map(convert).collect(),
            Value::Object(object) => {
                object.iter().map(|(key, value)| (key.clone(), convert(value))).collect()
            }
            other => other.clone(),
        }
    }
    let document = |value: &Value| {
        let mut document = convert(value);
        document["_id"] = json!({"$oid": "66c25e1e8f1b2c3d4e5f6a7b"});
        document
    };
    let part = |part: &Part| match part {
        Part::Valid(value) => Part::Valid(document(value)),
        Part::Malformed(value) => Part::Malformed(document(value)),
    };
    parts.iter().map(part).collect()
}

/// Some events that each layout accepts, real ones if available.
fn events() -> Vec<Value> {
    let dump = samples::sample_events();
    let is_usual = |line: &&[u8]| {
        let expected = Layout::ALL.map(|layout| expect_in(layout, line, Nul::Reject, &BTreeSet::new()));
        expected.iter().all(|expected| expected.rejected.is_empty() && expected.tolerated.is_empty())
    };
    let lines: Vec<&[u8]> = lines(&dump).into_iter().filter(is_usual).collect();
    let step = (lines.len() / 4).max(1);
    let mut events: Vec<Value> =
        lines.iter().step_by(step).take(4).map(|line| serde_json::from_slice(line).expect("JSON")).collect();
    assert_eq!(events.len(), 4);
    for event in events.iter_mut().step_by(2) {
        event["TimeStamp"] = json!(DATE.0);
    }
    events
}

/// A dump, and what must be in the tables after its load.
struct Dump {
    text: Vec<u8>,
    stored: Vec<u8>,
    rejected: usize,
}

impl Form {
    /// The events with ids from `first_id` on, with a value that is no event and a malformed one among them if `is_broken`.
    fn dump(&self, events: &[Value], first_id: i64, is_broken: bool) -> Dump {
        let mut parts: Vec<Part> = (first_id..)
            .zip(events)
            .map(|(id, event)| {
                let mut event = event.clone();
                event["EventId"] = json!(id);
                Part::Valid(event)
            })
            .collect();
        let Some(Part::Valid(first)) = parts.first() else { panic!("no events") };
        let (mut other, malformed) = (first.clone(), Part::Malformed(first.clone()));
        other["Victim"] = json!("nobody");
        let mut lost = parts.len()..parts.len();
        let (mut wrong, mut rejected) = (None, 0);
        if is_broken {
            (wrong, rejected) = (Some(1), 1);
            parts.insert(1, Part::Valid(other));
            // The rest of its line is lost: a page, or one event after it.
            let at = match self.per_line {
                ALL => parts.len() - 1,
                1 => 3,
                // At the start of a page, or after an event of it, which is kept.
                _ => 2 + usize::try_from(first_id / 100 % 2).expect("0 or 1"),
            };
            parts.insert(at, malformed);
            let end =
                if self.per_line == ALL { parts.len() } else { (at / self.per_line + 1) * self.per_line };
            lost = at..parts.len().min(end);
            rejected += 1;
        }
        let is_stored = |number: &usize| !lost.contains(number) && wrong != Some(*number);
        let stored: Vec<String> = parts
            .iter()
            .enumerate()
            .filter(|(number, _)| is_stored(number))
            .map(|(_, part)| part.value().to_string())
            .collect();
        Dump { text: (self.text)(&parts), stored: join(&stored), rejected }
    }
}

/// Loads a form in a compression through a file, a FIFO and standard input, each with its own events.
fn load(work: &Workplace, url: &str, layout: &str, form: &Form, dumps: &[(Vec<u8>, &Dump)]) -> Ended {
    let [(file, _), (piped, _), (input, _)] = dumps else { panic!("three dumps") };
    work.write("file", file);
    let path = work.path().join("fifo");
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| fifo(&path, piped, Duration::ZERO, &has_ended));
        let run = work
            .program(&["load", "--json", "--layout", layout])
            .args(form.args)
            .args(&["file", "fifo", "-"])
            .env("DATABASE_URL", url)
            .env("KILLS_LEDGER_SCHEMA", "public")
            .segment_bytes(32 << 10)
            .stdin(input.clone())
            .run();
        has_ended.store(true, Ordering::Relaxed);
        run
    })
}

/// Asserts that each reject is where it says.
fn check_rejects(run: &Ended, form: &Form, dumps: &[(Vec<u8>, &Dump)]) {
    let rejects = run.rejects();
    for (source, (_, dump)) in ["file", "fifo", "<stdin>"].iter().zip(dumps) {
        let rejects: Vec<&Reject> =
            rejects.iter().filter(|reject| reject.text("source") == Some(source)).collect();
        assert_eq!(rejects.len(), dump.rejected, "{source}: {rejects:?}");
        for reject in rejects {
            let at = usize::try_from(reject.0["byte_offset"].as_u64().expect("an offset")).expect("memory");
            let feeds = memchr::memchr_iter(b'\n', &dump.text[..at]).count() as u64;
            assert_eq!(reject.line(), 1 + feeds, "{reject:?}");
            // A value in a string has the place of the value around it.
            let is_in_string = ["events in strings", "reject file"].contains(&form.name);
            assert!(is_in_string || dump.text[at..].starts_with(&reject.raw()), "{reject:?}");
        }
    }
}

fn check_layout(layout: Layout) {
    let name = layout.name();
    let (cluster, work, events) = (Cluster::shared(), Workplace::new(), events());
    let database = cluster.database(name);
    mkfifo(&work.path().join("fifo"), Mode::S_IRWXU).expect("a FIFO");
    let url = database.url();
    let mut client = database.client();
    // Tables with a row keep their indexes, which saves time.
    let first = form("first", 1, |parts| list(parts, "", "\n", "\n")).dump(&events[..1], 1, false);
    let clear = layout.tables().iter().map(|(table, id)| format!("delete from {table} where {id} > 1"));
    let clear: Vec<String> = clear.collect();
    let clear = format!("{}; truncate kill_load_segment", clear.join("; "));
    let args = ["--layout", name, "--ledger-schema", "public"];
    work.load(&database, &args).stdin(first.text).expect(0);
    let compressions: [Compress; 3] = [<[u8]>::to_vec, gzip, |text| zstd_frames(text, 30_000)];
    for form in &FORMS {
        for (compression, compress) in compressions.iter().enumerate() {
            for is_broken in [false, true] {
                let whole: Vec<Dump> =
                    [100, 200, 300].iter().map(|first_id| form.dump(&events, *first_id, is_broken)).collect();
                let mut dumps: Vec<(Vec<u8>, &Dump)> =
                    whole.iter().map(|dump| (compress(&dump.text), dump)).collect();
                if compression == 1 {
                    // Members that end anywhere in a value.
                    dumps[0].0 = gzip_members(&whole[0].text, 10_000);
                }
                let run = load(&work, &url, name, form, &dumps);
                let case = format!("{}, compression {compression}, {is_broken}: {}", form.name, run.stderr);
                assert_eq!(run.code, if is_broken { 3 } else { 0 }, "{case}");
                let stored = whole.iter().flat_map(|dump| dump.stored.clone());
                let stored: Vec<u8> = first.stored.iter().copied().chain(stored).collect();
                let expected: Expected = expect_in(layout, &stored, Nul::Reject, &BTreeSet::new());
                let sizes =
                    |size: fn(&(Vec<u8>, &Dump)) -> usize| dumps.iter().map(size).sum::<usize>() as u64;
                let rejected = whole.iter().map(|dump| dump.rejected).sum::<usize>() as u64;
                run.summary().check(&[
                    ("inserted", expected.loaded() - 1),
                    ("rejected", rejected),
                    ("events", expected.loaded() - 1 + rejected),
                    ("unfinished", 0),
                    ("bytes_read", sizes(|(bytes, _)| bytes.len())),
                    ("bytes_uncompressed", sizes(|(_, dump)| dump.text.len())),
                ]);
                assert_same(&expected.tables, &layout.read(&mut client, "public", "americas"));
                check_rejects(&run, form, &dumps);
                client.batch_execute(&clear).expect("to delete the rows");
            }
        }
    }
}

#[test]
fn every_form_from_every_kind_of_source_is_stored_in_each_layout() {
    thread::scope(|scope| {
        for layout in Layout::ALL {
            scope.spawn(move || check_layout(layout));
        }
    });
}

/// As the library of `MongoDB` writes events: canonical, relaxed, and legacy.
#[test]
fn extended_json_of_mongodb_is_stored_like_its_events() {
    let event: Value = serde_json::from_str(include_str!("../fixtures/usual-event.json")).expect("JSON");
    let plain = |id: i64| {
        let mut event = event.clone();
        event["EventId"] = json!(id);
        event["TimeStamp"] = json!("2026-01-05T00:00:00.265Z");
        event.to_string()
    };
    let plain = join(&(1_300_000_101..1_300_000_104).map(plain).collect::<Vec<_>>());
    let lines = include_str!("../fixtures/mongoexport.json");
    let array = format!("[{}]\n", lines.trim_end().replace('\n', ",\n"));
    for layout in Layout::ALL {
        let expected = expect_in(layout, &plain, Nul::Reject, &BTreeSet::new());
        for text in [lines, &array] {
            let (work, database) = (Workplace::new(), Cluster::shared().database("mongodb"));
            let args = ["--layout", layout.name(), "--ledger-schema", "public"];
            work.load(&database, &args).stdin(text).expect(0).summary().check(&[("inserted", 3)]);
            assert_same(&expected.tables, &layout.read(&mut database.client(), "public", "americas"));
        }
    }
}
