//! What `verify` found, for scripts and for people.

use super::words::grouped;
use crate::input::{Source, shell_quoted};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// How many of the missing are named; the log names all of them where it is told to.
const NAMED_MAX: usize = 100;

/// What is missing.
#[derive(Debug)]
pub enum Missing {
    /// An event of this id.
    Event(i64),
    /// What can't be loaded, for this reason.
    Unloadable(String),
}

/// The account of a look at the dumps' events in a database.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Events in the dumps.
    pub events: u64,
    /// Those that are in the database.
    pub present: u64,
    /// Whether events that were missing may be seen a moment later.
    pub half_committed: bool,
    absent: u64,
    unloadable: u64,
    /// The first of them, each with its source and line.
    first: Vec<(String, u64, Missing)>,
    /// The first missing ids.
    ids: Vec<i64>,
    /// The sources that lack an event that a load can bring.
    sources: BTreeSet<String>,
    /// The sources with something that can't be loaded.
    unloadable_sources: BTreeSet<String>,
}

#[derive(Serialize)]
struct Json<'r> {
    events: u64,
    present: u64,
    missing: u64,
    missing_ids: &'r [i64],
}

impl VerifyReport {
    /// Notes what is missing.
    pub fn add(&mut self, source: &str, line: u64, missing: Missing) {
        log::info!("missing: {source}:{line}  {missing}");
        let (count, sources) = match &missing {
            Missing::Event(id) => {
                if self.ids.len() < NAMED_MAX {
                    self.ids.push(*id);
                }
                (&mut self.absent, &mut self.sources)
            }
            Missing::Unloadable(_) => (&mut self.unloadable, &mut self.unloadable_sources),
        };
        *count += 1;
        if !sources.contains(source) {
            sources.insert(source.to_owned());
        }
        if self.first.len() < NAMED_MAX {
            self.first.push((source.to_owned(), line, missing));
        }
    }

    /// Events that are not in the database.
    pub fn missing(&self) -> u64 {
        self.absent + self.unloadable
    }

    /// One JSON object, without a newline.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let Self { events, present, ids, .. } = self;
        serde_json::to_string(&Json {
            events: *events,
            present: *present,
            missing: self.missing(),
            missing_ids: ids,
        })
    }

    /// The outcome, the account, the first of the missing with their places, and what to run next: `load` is the command
    /// that loads such events, without its files.
    pub fn in_words(&self, sources_whole: bool, load: &str) -> String {
        let (events, missing) = (grouped(self.events), grouped(self.missing()));
        let mut text = match (self.missing(), sources_whole) {
            (_, false) => format!(
                "Failed: not all could be read; of the {events} events that were, {missing} are missing.\n"
            ),
            (0, true) if self.events == 0 => "There are no events to look for.\n".to_owned(),
            (0, true) => format!("All {events} events are in the database.\n"),
            (_, true) => format!("Missing: {missing} of {events} events are not in the database.\n"),
        };
        if self.absent > 0 && self.half_committed {
            text.push_str(
                "Events that are missing may be stored: nodes of Citus have transactions that are committed on others. It \
                 finishes them within a minute, after a crash too; verify again then.\n",
            );
        }
        if self.missing() > 0 {
            self.tell_missing(&mut text, load);
        }
        text
    }

    fn tell_missing(&self, text: &mut String, load: &str) {
        for (count, what) in [
            (self.present, "present"),
            (self.absent, "missing"),
            (self.unloadable, "missing, and can't be loaded"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "  {:>12} {what}", grouped(count));
            }
        }
        for (source, line, missing) in &self.first {
            let _ = writeln!(text, "{source}:{line}  {missing}");
        }
        let more = self.missing() - self.first.len() as u64;
        if more > 0 {
            let _ = writeln!(text, "… and {} more, which -v names", grouped(more));
        }
        if self.absent > 0 {
            let _ = writeln!(text, "To load them:\n  {}", of_files(load, "--force", &self.sources));
        }
        if self.unloadable > 0 {
            let command = of_files(load, "--dry-run", &self.unloadable_sources);
            let _ = writeln!(
                text,
                "What can't be loaded goes, whole and with the reason, to a reject file by:\n  {command}"
            );
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => write!(f, "event {id}"),
            Self::Unloadable(reason) => write!(f, "can't be loaded: {reason}"),
        }
    }
}

/// The command for a shell. With `--force`, as what the ledger holds would be passed over.
fn of_files(load: &str, how: &str, sources: &BTreeSet<String>) -> String {
    let stdin = Source::Stdin.to_string();
    let mut command = if sources.contains(&stdin) { "… | " } else { "" }.to_owned();
    let _ = write!(command, "{load} {how}");
    for source in sources {
        let file = if *source == stdin { "-" } else { source };
        let _ = write!(command, " {}", shell_quoted(file));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_to_run_next() {
        let mut report = VerifyReport { events: 1_300, present: 1_100, ..VerifyReport::default() };
        for line in 1..=150 {
            report.add("it's a.ndjson", line, Missing::Event(9_000 + i64::try_from(line).expect("small")));
        }
        report.add("<stdin>", 7, Missing::Unloadable("Killer.Name: it is missing".to_owned()));
        let load = "aegis-kills load --server asia";
        let words = report.in_words(true, load);
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], "Missing: 151 of 1,300 events are not in the database.");
        assert_eq!(lines[1].trim(), "1,100 present");
        assert_eq!(lines[4], "it's a.ndjson:1  event 9001");
        assert_eq!(lines[3 + 101], "… and 51 more, which -v names");
        let forced = r"aegis-kills load --server asia --force 'it'\''s a.ndjson'";
        assert!(lines.iter().any(|line| line.trim() == forced), "{words}");
        assert_eq!(
            lines.last().map(|line| line.trim()),
            Some("… | aegis-kills load --server asia --dry-run -")
        );
        assert!(report.in_words(false, load).starts_with("Failed: not all could be read"));
        let all = VerifyReport { events: 2, present: 2, ..VerifyReport::default() };
        assert_eq!(all.in_words(true, load), "All 2 events are in the database.\n");
        assert_eq!(VerifyReport::default().in_words(true, load), "There are no events to look for.\n");
    }
}
