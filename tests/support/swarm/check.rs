//! Checks after each load of a case, whatever was done to it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use postgres::Client;

use super::dump::{Dump, Via};
use super::{Case, End, Mode, Owned, Run};
use crate::support::oracle::{Expected, Tables, assert_same, expect_in};
use crate::support::program::Ended;

/// The modulus and the remainder of the ids that [`Owned::Refuses`] rejects.
pub(super) const REJECTED: (i64, i64) = (17, 3);

/// A load of a case that has ended.
pub(super) struct Outcome<'a> {
    pub(super) run: &'a Run,
    pub(super) ended: Ended,
    /// Whether it got all dumps, including those in pipes.
    pub(super) is_whole: bool,
    /// Whether its broken dumps were still broken.
    pub(super) has_broken: bool,
}

impl Outcome<'_> {
    /// Whether it reports that everything is stored.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.ended.code, 0 | 3)
    }

    /// Whether it reports nothing, because it was killed or got a signal before it handled signals.
    pub(super) fn is_mute(&self) -> bool {
        let Ended { code, by_signal, stdout, stderr, .. } = &self.ended;
        // `timeout` returns the same exit code, so only the output distinguishes them.
        let is_timeout = matches!(self.run.end, End::TimedOut(_)) && stderr.is_empty();
        *code > 128 && (*by_signal || is_timeout) && stdout.is_empty()
    }

    fn run_id(&self) -> String {
        self.ended.summary().0["run"].as_str().expect("an id").to_owned()
    }

    /// Checks the exit code, the summary and the reject file.
    pub(super) fn check(&self, case: &Case, truth: &Truth<'_>) {
        let code = self.ended.code;
        let ended_by = match self.run.end {
            End::Itself => None,
            End::Killed(_) => Some(137),
            End::Signaled(signal, _) => Some(128 + signal as i32),
            End::TimedOut(_) => Some(143),
        };
        let is_possible = if self.has_broken { matches!(code, 1 | 0 | 3) } else { self.is_complete() };
        assert!(is_possible || ended_by == Some(code), "exit code {code}");
        if self.is_mute() {
            return;
        }
        let summary = self.ended.summary();
        let status = match code {
            0 => "complete",
            3 => "rejects",
            1 => "failed",
            _ => "interrupted",
        };
        assert_eq!(summary.status(), status, "the status of exit code {code}");
        if self.run.mode != Mode::Update || !case.has_versions {
            assert_eq!(summary.count("updated"), 0, "nothing differs");
        }
        let before = summary.0["rejected_before"].as_u64().unwrap_or(0);
        let new_rejects = summary.count("rejected").checked_sub(before).expect("a part of the rejects");
        if new_rejects > 0 {
            assert_eq!(self.ended.rejects().len() as u64, new_rejects, "lines of the reject file");
        }
        if self.is_complete() {
            assert!(!self.has_broken, "a broken dump is an error");
            assert_eq!(summary.count("unfinished"), 0, "all is stored");
            assert_eq!(code == 3, new_rejects > 0, "the code and {new_rejects} new rejects");
            let expected = if self.is_whole { truth.first() } else { truth.of_files() };
            assert_eq!(summary.count("events"), expected.events, "events");
            let rejected = expected.rejected.len() as u64;
            if case.refuses() {
                assert!(summary.count("rejected") >= rejected, "rejected: at least {rejected}");
            } else {
                assert_eq!(summary.count("rejected"), rejected, "rejected");
            }
        }
    }
}

impl Case {
    fn refuses(&self) -> bool {
        self.owned.iter().any(|owned| matches!(owned, Owned::Refuses(_)))
    }

    /// The schema of the ledger.
    pub(super) fn ledger(&self) -> &str {
        self.layout.ledger(self.schema)
    }

    pub(super) fn read(&self, client: &mut Client) -> Tables {
        self.layout.read(client, self.schema, self.server)
    }
}

/// The oracle's result of a case, computed once.
pub(super) struct Truth<'a> {
    case: &'a Case,
    /// The text of each dump, one event per line.
    texts: Vec<Vec<u8>>,
    first: OnceLock<Expected>,
    of_files: OnceLock<Expected>,
    last: OnceLock<Tables>,
}

impl<'a> Truth<'a> {
    pub(super) fn new(case: &'a Case) -> Self {
        let texts = case.dumps.iter().map(Dump::plain).collect();
        Self { case, texts, first: OnceLock::new(), of_files: OnceLock::new(), last: OnceLock::new() }
    }

    fn ask(&self, text: &[u8]) -> Expected {
        let mut expected = expect_in(self.case.layout, text, self.case.nul, &BTreeSet::new());
        if self.case.refuses() {
            let stays = |id: i64| id % REJECTED.0 != REJECTED.1;
            let tables = &mut expected.tables;
            tables.kill_event.retain(|id, _| stays(*id));
            tables.kill_player.retain(|(id, _), _| stays(*id));
            tables.kill_loot.retain(|(id, _), _| stays(*id));
            tables.aegis.retain(|id, _| stays(*id));
        }
        expected
    }

    /// The result of all dumps if the first version of an event wins. Rejects by a trigger are not included.
    fn first(&self) -> &Expected {
        self.first.get_or_init(|| self.ask(&self.texts.concat()))
    }

    /// The result of the dumps that are not pipes.
    fn of_files(&self) -> &Expected {
        self.of_files.get_or_init(|| {
            let dumps = self.case.dumps.iter().zip(&self.texts);
            let texts = dumps.filter(|(dump, _)| dump.via == Via::File).map(|(_, text)| &text[..]);
            self.ask(&texts.collect::<Vec<_>>().concat())
        })
    }

    /// The tables after an undisturbed run has loaded all dumps.
    fn tables(&self, mode: Mode) -> &Tables {
        if mode != Mode::Update || !self.case.has_versions {
            return &self.first().tables;
        }
        // The oracle keeps the first version, and here the last one wins.
        self.last.get_or_init(|| {
            let text = self.texts.concat();
            let mut lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
            lines.reverse();
            self.ask(&lines.concat()).tables
        })
    }

    /// Checks the tables after a round. `stored` is the number of events that all runs so far report as inserted, or none
    /// if one of them was killed.
    pub(super) fn check_tables(&self, client: &mut Client, round: &[Outcome<'_>], stored: Option<u64>) {
        let found = self.case.read(client);
        let events = (found.kill_event.len() + found.aegis.len()) as u64;
        if let Some(stored) = stored {
            assert_eq!(stored, events, "the sum of 'inserted' of all runs, and the events that are there");
        }
        let mode = round[0].run.mode;
        let expected = self.tables(mode);
        if round.iter().any(|outcome| outcome.is_complete() && outcome.is_whole) {
            assert_same(expected, &found);
        } else if mode != Mode::Update || !self.case.has_versions {
            // A stored event stays unchanged.
            assert_same(&restricted(expected.clone(), &found), &found);
        }
    }
}

/// The rows of events that are in `found`.
fn restricted(mut tables: Tables, found: &Tables) -> Tables {
    tables.kill_event.retain(|id, _| found.kill_event.contains_key(id));
    tables.kill_player.retain(|(id, _), _| found.kill_event.contains_key(id));
    tables.kill_loot.retain(|(id, _), _| found.kill_event.contains_key(id));
    tables.aegis.retain(|id, _| found.aegis.contains_key(id));
    tables
}

/// Checks that each run has an end in the ledger, once a run of `round` has begun. A starting run marks crashed ones.
pub(super) fn check_ledger(client: &mut Client, schema: &str, round: &[Outcome<'_>]) {
    let schema = schema.replace('"', "\"\"");
    let runs: Vec<String> = round.iter().map(Outcome::run_id).collect();
    let sql = format!(
        "select count(*) filter (where id::text = any($1)),
                count(*) filter (where status = 'running' or finished is null) from \"{schema}\".kill_load_run"
    );
    let row = client.query_one(&sql, &[&runs]).expect("runs");
    let (begun, open): (i64, i64) = (row.get(0), row.get(1));
    assert!(begun == 0 || open == 0, "{open} runs without an end in the ledger");
}
