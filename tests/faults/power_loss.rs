//! What a power failure would lose: the system calls of a load in their order, as strace shows them. What a load reports as
//! stored was synced before, with the names in its directories. The servers sync as PostgreSQL does by default.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, lines};
use crate::support::not_tried;
use crate::support::process::Supervised as _;
use crate::support::program::{Program, Workplace};

/// Not every machine has all of these calls. strace ignores a missing one with a question mark.
const CALLS: &str = "trace=?open,openat,write,sendto,fsync,fdatasync,?rename,?renameat,?renameat2";
const TRACE: &str = "trace.txt";

/// A finished system call, with the lines of the trace at which it began and ended.
#[derive(Debug)]
struct Call {
    begun: usize,
    ended: usize,
    text: String,
}

/// The calls of a program and its children in the order of their ends.
struct Trace(Vec<Call>);

impl Trace {
    fn read(path: &Path) -> Self {
        let trace = String::from_utf8_lossy(&fs::read(path).expect("a trace")).into_owned();
        let (mut calls, mut open) = (Vec::new(), HashMap::new());
        for (number, line) in trace.lines().enumerate() {
            let Some((thread, text)) = line.split_once(' ') else { continue };
            let text = text.trim_start();
            if let Some(begin) = text.strip_suffix(" <unfinished ...>") {
                open.insert(thread, (number, begin));
                continue;
            }
            let resumed = text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"));
            let (begun, text) = match resumed {
                Some((_, end)) => match open.remove(thread) {
                    Some((line, beginning)) => (line, format!("{beginning}{end}")),
                    None => continue,
                },
                None => (number, text.to_owned()),
            };
            calls.push(Call { begun, ended: number, text });
        }
        Self(calls)
    }

    /// The successful calls with all of these texts.
    fn all(&self, texts: &[&str]) -> impl DoubleEndedIterator<Item = &Call> {
        let has = move |call: &&Call| {
            !call.text.contains(" = -1 ") && texts.iter().all(|text| call.text.contains(text))
        };
        self.0.iter().filter(has)
    }

    #[track_caller]
    fn first(&self, texts: &[&str]) -> &Call {
        self.all(texts).next().unwrap_or_else(|| panic!("no call with {texts:?}"))
    }

    #[track_caller]
    fn last(&self, texts: &[&str]) -> &Call {
        self.all(texts).next_back().unwrap_or_else(|| panic!("no call with {texts:?}"))
    }

    /// Asserts that a file or directory whose path ends like this was synced after one call and before another.
    #[track_caller]
    fn check_synced(&self, path_end: &str, after: &Call, before: &Call) {
        let is_between = |call: &&Call| call.begun > after.ended && call.ended < before.begun;
        let is_sync = |call: &&Call| call.text.starts_with("fsync(") || call.text.starts_with("fdatasync(");
        let synced = self.all(&[path_end]).find(|call| is_sync(call) && is_between(call));
        assert!(synced.is_some(), "{path_end} was not synced after {after:?} and before {before:?}");
    }

    /// The output of the summary.
    fn summary(&self) -> &Call {
        self.first(&["write(1<", r#"{\"status\":"#])
    }
}

/// The program under strace. None if that is not installed or may not trace here.
fn traced(work: &Workplace, args: &[&str]) -> Option<Program> {
    let tried = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output_in_time();
    tried.ok().filter(|tried| tried.status.success())?;
    let options = ["-f", "-qq", "-y", "-s", "1000", "-e", CALLS, "-o", TRACE];
    let program = [env!("CARGO_BIN_EXE_aegis-kills"), "load", "--json"];
    Some(work.other_program("strace", &options).args(&program).args(args))
}

/// A dump of several small segments, each with rejects if wanted.
fn dump(has_rejects: bool) -> Vec<u8> {
    let events = generated(40, 57, 0.0);
    let reject: &[u8] = if has_rejects { b"\nno event\n" } else { b"\n" };
    lines(&events).into_iter().flat_map(|event| [event, reject].concat()).collect()
}

#[test]
fn rejects_and_metrics_are_synced_before_they_are_reported() {
    let work = Workplace::new();
    work.write("dump.ndjson", dump(true));
    fs::create_dir(work.path().join("out")).expect("a directory");
    let cluster = Cluster::private(&[]);
    let fsync = cluster.admin().query_one("show fsync", &[]).expect("a setting");
    assert_eq!(fsync.get::<_, &str>(0), "on");
    let database = cluster.database("power");
    // The second load appends to the file, which a killed one could have created without a sync.
    for more in [&["-q"][..], &["-q", "--force"]] {
        let args = ["--rejects", "out/rejects.ndjson", "--metrics-file", "out/metrics.prom", "dump.ndjson"];
        let Some(program) = traced(&work, &args) else {
            return not_tried("the order of syncs", "strace is not installed, or may not trace");
        };
        let program = program.args(more).env("DATABASE_URL", &database.url()).segment_bytes(32 << 10);
        let summary = program.expect(3).summary();
        assert!(summary.count("segments") > 3, "{summary:?}");
        let trace = Trace::read(&work.path().join(TRACE));
        let directory = format!("<{}>", work.path().join("out").display());

        // The ledger gets the path of the reject file once its rejects count as reported.
        let reported = trace.first(&["sendto(", "out/rejects.ndjson"]);
        let opened = trace.last(&["open", "/out/rejects.ndjson\"", "O_APPEND"]);
        trace.check_synced(&directory, opened, reported);
        let written = trace.last(&["write(", "/out/rejects.ndjson>"]);
        trace.check_synced("/out/rejects.ndjson>", written, reported);
        assert!(reported.ended < trace.summary().begun);

        let written = trace.last(&["write(", "/out/metrics.prom."]);
        let replaced = trace.last(&["rename", "/out/metrics.prom\""]);
        trace.check_synced("/out/metrics.prom.", written, replaced);
        trace.check_synced(&directory, replaced, trace.summary());
    }
}

#[test]
fn a_new_private_server_is_synced_before_its_first_load_is_reported() {
    let work = Workplace::new();
    work.write("dump.ndjson", dump(false));
    let server = work.path().join("new/private/server");
    let args = ["--embedded", server.to_str().expect("UTF-8"), "dump.ndjson"];
    let Some(program) = traced(&work, &args) else {
        return not_tried("the syncs of a new private server", "strace is not installed, or may not trace");
    };
    program.expect(0);
    let trace = Trace::read(&work.path().join(TRACE));

    let renamed = trace.first(&["rename", "/data.new\"", "/data\""]);
    let configured = trace.last(&["write(", "/data.new/postgresql.conf>"]);
    trace.check_synced("/data.new/postgresql.conf>", configured, renamed);
    let begin = trace.first(&["/data.new/global/pg_control"]);
    for path in ["/data.new>", "/data.new/base>", "/data.new/global/pg_control>"] {
        trace.check_synced(path, begin, renamed);
    }
    // The new cluster, and each new directory on the way to it.
    for directory in server.ancestors().take_while(|directory| directory.starts_with(work.path())) {
        trace.check_synced(&format!("<{}>", directory.display()), renamed, trace.summary());
    }
    let copied = trace.last(&["sendto(", "COPY "]);
    trace.check_synced("/data/pg_wal/", copied, trace.summary());
}
