//! What `health --watch` shows: the last report, and what has changed.

use super::health::{HealthReport, told};
use std::collections::VecDeque;
use std::fmt::Write as _;

/// So many changes are shown.
const CHANGES_MAX: usize = 5;

/// Clears a terminal.
const CLEAR: &str = "\x1b[2J";
/// Goes to its first line.
const HOME: &str = "\x1b[H";
/// Clears what an earlier report has left of a line, and below the last one.
const REST_OF_LINE: &str = "\x1b[K";
const BELOW: &str = "\x1b[J";

/// The reports of a watch so far.
#[derive(Debug)]
pub struct Watch {
    on_terminal: bool,
    connection_errors: u64,
    /// The last ones: when, and to what.
    changes: VecDeque<String>,
    state: Option<String>,
}

impl Watch {
    /// On a terminal each report is written over the one before.
    pub fn new(on_terminal: bool) -> Self {
        Self { on_terminal, connection_errors: 0, changes: VecDeque::new(), state: None }
    }

    /// A report as a line of JSON.
    pub fn json(&mut self, report: HealthReport) -> String {
        format!("{}\n", self.add(report).to_json())
    }

    /// A report for people.
    pub fn words(&mut self, report: HealthReport) -> String {
        let is_first = self.state.is_none();
        let report = self.add(report);
        let mut text = format!("{report}\nChanges, of looks every 2 s; Ctrl-C ends them:\n");
        for change in &self.changes {
            let _ = writeln!(text, "  {change}");
        }
        if !self.on_terminal {
            return text + "\n";
        }
        let start = if is_first { CLEAR } else { "" };
        format!("{start}{HOME}{}{BELOW}", text.replace('\n', &format!("{REST_OF_LINE}\n")))
    }

    /// Takes note of it; its errors are then those of the whole watch.
    fn add(&mut self, mut report: HealthReport) -> HealthReport {
        self.connection_errors += report.connection_errors;
        report.connection_errors = self.connection_errors;
        let state = report.state();
        if self.state.as_ref() != Some(&state) {
            if self.changes.len() == CHANGES_MAX {
                self.changes.pop_front();
            }
            self.changes.push_back(format!("{}  {state}", told(report.status.last_check)));
            self.state = Some(state);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{HealthStatus, PoolSettings};
    use jiff::Timestamp;

    fn report(second: i64, error: Option<&str>) -> HealthReport {
        HealthReport {
            status: HealthStatus {
                error: error.map(str::to_owned),
                server: None,
                last_check: Timestamp::from_second(second).expect("a time"),
            },
            inspection: None,
            pool: PoolSettings::default(),
            workers: 3,
            connection_errors: u64::from(error.is_some()),
            pool_total: 0,
        }
    }

    #[test]
    fn changes_are_kept_and_errors_are_added_up() {
        let mut watch = Watch::new(false);
        for (second, error, lines) in [
            (0, None, &["1970-01-01 00:00:00 UTC  healthy", "0 connection errors"][..]),
            (2, None, &["1970-01-01 00:00:00 UTC  healthy"]),
            (4, Some("gone"), &["00:00:04 UTC  unhealthy: not connected: gone", "1 connection error\n"]),
            (6, Some("gone"), &["00:00:04 UTC  unhealthy", "2 connection errors"]),
            (8, None, &["00:00:00 UTC  healthy", "00:00:08 UTC  healthy", "2 connection errors"]),
        ] {
            let text = watch.words(report(second, error));
            assert!(lines.iter().all(|line| text.contains(line)), "{text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
        assert_eq!(watch.changes.len(), 3);
        for second in 10..30 {
            watch.json(report(second, (second % 2 == 0).then_some("gone")));
        }
        assert_eq!(watch.changes.len(), CHANGES_MAX);
    }

    #[test]
    fn a_terminal_is_cleared_once_and_then_written_over() {
        let mut watch = Watch::new(true);
        let (first, second) = (watch.words(report(0, None)), watch.words(report(2, None)));
        assert!(first.starts_with("\x1b[2J\x1b[H") && second.starts_with("\x1b[HHealthy"), "{second:?}");
        assert!(second.ends_with("\x1b[J"));
        assert!(second.lines().all(|line| line.ends_with(REST_OF_LINE) || line == BELOW), "{second:?}");
    }
}
