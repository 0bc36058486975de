//! The comparisons of tables, ledger, summaries and reject files with the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{LoaderFault, Run, SERVERS, Soak, lock};
use crate::support::oracle::{Nul, Tables, expect};
use crate::support::program::{Ended, assert_tables};

impl Soak<'_> {
    /// Loads all dumps of a server without faults, and compares the tables with the oracle.
    pub(super) fn check(&self, server: usize) {
        let name = SERVERS[server];
        let load = || self.load(server).arg(name).run();
        let last = checked(&load(), &LoaderFault::None);
        assert!(matches!(last.code, 0 | 3), "{last:?}");
        lock(&self.runs).push(last);
        let repeated = load().expect(0).summary();
        assert_eq!(
            repeated.count("events"),
            repeated.count("already_loaded") + repeated.count("rejected_before"),
            "{repeated:?}"
        );
        let stream = lock(&self.streams[server]);
        let (mut tables, mut rejected) = (Tables::default(), 0);
        for dump in &stream.names {
            let text = fs::read(self.work.path().join(name).join(dump)).expect("a dump");
            let expected = expect(&text, Nul::Reject);
            rejected += expected.rejected.len();
            tables.add(expected.tables);
        }
        assert_eq!(rejected, stream.rejects.len());
        assert_tables(&self.database, name, &tables);
    }

    /// Compares the events that each run has inserted with its row in the ledger and its summary.
    pub(super) fn check_runs(&self) {
        let sql = "select id::text, status, inserted, finished is not null, coalesce(stored.events, 0)
                   from kill_load_run
                   left join (select right(inserted_by, 36) as run, count(*) as events
                              from kill_event group by 1) stored on stored.run = id::text";
        let mut client = self.database.client();
        let mut found = BTreeMap::new();
        for row in client.query(sql, &[]).expect("runs") {
            let (status, counted, stored): (String, i64, i64) = (row.get(1), row.get(2), row.get(4));
            assert!(status != "running" && row.get::<_, bool>(3), "{row:?}");
            found.insert(row.get::<_, String>(0), (status, counted, stored));
        }
        let events: i64 = client.query_one("select count(*) from kill_event", &[]).expect("a count").get(0);
        assert_eq!(events, found.values().map(|row| row.2).sum::<i64>(), "the events of all runs");
        for run in lock(&self.runs).iter() {
            let Some((id, status, inserted)) = &run.summary else { continue };
            match (run.code, found.remove(id)) {
                (0 | 3, Some(row)) => assert_eq!(row, (status.clone(), *inserted, *inserted), "{run:?}"),
                // The server can have committed a segment whose outcome the load could not learn.
                (_, Some(row)) => assert!(*inserted <= row.1 && row.1 <= row.2, "{row:?}, {run:?}"),
                (code, None) => assert!(!matches!(code, 0 | 3) && *inserted == 0, "no row of {run:?}"),
            }
        }
        // The rest are killed runs and the last loads, which inserted nothing.
        for (id, (_, counted, stored)) in found {
            assert_eq!(counted, stored, "run {id}");
        }
    }

    /// Checks that each rejected value is in a reject file, and nothing else.
    pub(super) fn check_rejects(&self) {
        let expected: BTreeSet<String> =
            self.streams.iter().flat_map(|stream| lock(stream).rejects.clone()).collect();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(self.work.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rejects-")) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a reject file");
            // A killed load can leave half a line at the end.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in whole.lines() {
                let reject: Value = serde_json::from_str(line).expect("a reject is JSON");
                found.insert(reject["raw"].as_str().expect("a text").to_owned());
            }
        }
        let differences: Vec<&String> = expected.symmetric_difference(&found).take(5).collect();
        assert!(differences.is_empty(), "{differences:?}");
    }
}

/// Checks that the exit code is possible and that the summary agrees with it.
pub(super) fn checked(ended: &Ended, fault: &LoaderFault) -> Run {
    let code = ended.code;
    let by_signal = match fault {
        LoaderFault::Signaled(signal, _) => Some(128 + *signal as i32),
        _ => None,
    };
    assert!(matches!(code, 0 | 3 | 4) || by_signal == Some(code), "{fault:?}: {ended:?}");
    if ended.by_signal && ended.stdout.is_empty() {
        return Run { code, summary: None };
    }
    let summary = ended.summary();
    let status = match code {
        0 => "complete",
        3 => "rejects",
        4 => "failed",
        _ => "interrupted",
    };
    assert!(ended.by_signal || summary.status() == status, "{fault:?}: {ended:?}");
    assert!(!matches!(code, 0 | 3) || summary.count("unfinished") == 0, "{fault:?}: {ended:?}");
    let id = summary.0["run"].as_str().expect("an id").to_owned();
    let inserted = i64::try_from(summary.count("inserted")).expect("a count");
    Run { code, summary: Some((id, summary.status().to_owned(), inserted)) }
}
