//! The output of `health --watch`: the last report, and the last changes.

use crate::report::format::utc;
use crate::report::health::HealthReport;
use crate::visible::visible;
use std::collections::VecDeque;
use std::fmt::Write as _;

/// The number of changes shown.
const CHANGES_MAX: usize = 5;

/// Starts a synchronized update up to `END`, hides the cursor and disables line wrap. Terminals ignore unknown sequences.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l\x1b[?7l";
/// Restores the terminal after each report, so that the watch can end at any time.
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?2026l";
/// Clears the terminal.
const CLEAR: &str = "\x1b[2J";
/// Moves to the first line.
const HOME: &str = "\x1b[H";
/// Clears the remainder of a line.
const REST_OF_LINE: &str = "\x1b[K";
/// Clears everything below the last line.
const BELOW: &str = "\x1b[J";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TerminalSize {
    pub rows: usize,
    pub columns: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Watch {
    connection_errors: u64,
    /// The last changes, each with its time and the new state.
    changes: VecDeque<String>,
    state: Option<String>,
    /// The terminal's size at the previous report.
    size: Option<TerminalSize>,
}

impl Watch {
    pub(crate) fn json(&mut self, report: HealthReport) -> String {
        format!("{}\n", self.add(report).to_json())
    }

    /// Formats a report for users. On a terminal of this size it overwrites the previous report. Elsewhere it is one line,
    /// followed by the full report after a change.
    pub(crate) fn text(&mut self, report: HealthReport, terminal: Option<TerminalSize>) -> String {
        let before = self.state.clone();
        let report = self.add(report);
        let Some(size) = terminal else {
            let line = report.line();
            let text =
                if self.state == before { format!("{line}\n") } else { format!("{line}\n{report}\n\n") };
            return visible(&text).into_owned();
        };
        let mut text = format!("{report}\nChanges (checked every 2 s, Ctrl-C stops):\n");
        for change in &self.changes {
            let _ = writeln!(text, "  {change}");
        }
        // Clear after a change of size, because terminals reflow their lines differently.
        let start = if self.size.replace(size) == Some(size) { "" } else { CLEAR };
        // After the last column the cursor is still on it, so clearing the remainder would clear its letter.
        let ended = |line: String| {
            let rest = if line.chars().count() < size.columns { REST_OF_LINE } else { "" };
            format!("{line}{rest}\n")
        };
        let lines: String =
            clipped(&wrapped(&visible(&text), size.columns), size).into_iter().map(ended).collect();
        format!("{BEGIN}{start}{HOME}{lines}{BELOW}{END}")
    }

    /// Records a report and sets its number of errors to that of the whole watch.
    fn add(&mut self, mut report: HealthReport) -> HealthReport {
        self.connection_errors += report.connection_errors;
        report.connection_errors = self.connection_errors;
        let state = report.state();
        if self.state.as_ref() != Some(&state) {
            if self.changes.len() == CHANGES_MAX {
                self.changes.pop_front();
            }
            self.changes.push_back(format!("{}  {state}", utc(report.status.last_check)));
            self.state = Some(state);
        }
        report
    }
}

/// Wraps the text to `columns`, with continuation lines indented.
fn wrapped(text: &str, columns: usize) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len() + 2;
        let mut length = 0;
        for (number, word) in line.split(' ').enumerate() {
            let letters = word.chars().count();
            if number > 0 && length + 1 + letters > columns && length > indent {
                let _ = write!(shown, "\n{:indent$}", "");
                length = indent;
            } else if number > 0 {
                shown.push(' ');
                length += 1;
            }
            shown.push_str(word);
            length += letters;
        }
        shown.push('\n');
    }
    shown
}

/// Clips the text to the terminal, and leaves the last line for the cursor.
fn clipped(text: &str, TerminalSize { rows, columns }: TerminalSize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let room = rows.saturating_sub(1).max(1);
    let mut shown: Vec<String> = lines.iter().take(room).map(|line| (*line).to_owned()).collect();
    if lines.len() > room {
        let hidden = lines.len() - room + 1;
        shown[room - 1] = format!("({hidden} more lines; enlarge the terminal)");
    }
    for line in &mut shown {
        if line.chars().count() > columns {
            *line = line.chars().take(columns.saturating_sub(1)).chain(['…']).collect();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::pool::connections::PoolSettings;
    use crate::database::pool::liveness::HealthStatus;
    use jiff::Timestamp;

    const SIZE: TerminalSize = TerminalSize { rows: 50, columns: 120 };

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
            schema_apply: "aegis-kills schema apply".to_owned(),
        }
    }

    #[test]
    fn changes_are_kept_and_errors_are_added_up() {
        let mut watch = Watch::default();
        for (second, error, lines) in [
            (0, None, &["1970-01-01 00:00:00 UTC  healthy", "0 connection errors"][..]),
            (2, None, &["1970-01-01 00:00:00 UTC  healthy"]),
            (4, Some("gone"), &["00:00:04 UTC  unhealthy: gone", "1 connection error\n"]),
            (6, Some("gone"), &["00:00:04 UTC  unhealthy", "2 connection errors"]),
            (8, None, &["00:00:00 UTC  healthy", "00:00:08 UTC  healthy", "2 connection errors"]),
        ] {
            let text = watch.text(report(second, error), Some(SIZE)).replace(REST_OF_LINE, "");
            assert!(lines.iter().all(|line| text.contains(line)), "{text}");
        }
        assert_eq!(watch.changes.len(), 3);
        for second in 10..30 {
            watch.json(report(second, (second % 2 == 0).then_some("gone")));
        }
        assert_eq!(watch.changes.len(), CHANGES_MAX);
    }

    #[test]
    fn a_terminal_is_cleared_once_and_then_written_over() {
        let mut watch = Watch::default();
        let mut text = |second, size| watch.text(report(second, None), Some(size));
        let (first, second) = (text(0, SIZE), text(2, SIZE));
        assert!(first.starts_with(&format!("{BEGIN}{CLEAR}{HOME}Healthy")), "{first:?}");
        assert!(second.starts_with(&format!("{BEGIN}{HOME}Healthy")), "{second:?}");
        let end = format!("{BELOW}{END}");
        assert!(second.lines().all(|line| line.ends_with(REST_OF_LINE) || line == end), "{second:?}");
        let smaller = TerminalSize { rows: 5, columns: 20 };
        let third = text(4, smaller);
        assert!(third.contains(CLEAR) && third.matches('\n').count() == 4, "{third:?}");
        assert!(!text(6, smaller).contains(CLEAR));
    }

    #[test]
    fn a_line_of_the_full_width_keeps_its_last_letter() {
        let error = "a cause whose line ends in the last column";
        let columns = "Unhealthy: ".len() + error.len();
        let mut terminal = vt100::Parser::new(cells(24), cells(columns), 0);
        let mut watch = Watch::default();
        for second in [0, 2] {
            let text = watch.text(report(second, Some(error)), Some(TerminalSize { rows: 24, columns }));
            terminal.process(text.replace('\n', "\r\n").as_bytes());
        }
        let shown = terminal.screen().contents();
        assert_eq!(shown.lines().next(), Some(format!("Unhealthy: {error}").as_str()));
    }

    fn cells(number: usize) -> std::num::NonZero<u16> {
        std::num::NonZero::new(u16::try_from(number).expect("small")).expect("some")
    }

    #[test]
    fn a_long_line_is_wrapped() {
        for (text, columns, expected) in [
            ("Healthy: yes\n", 12, "Healthy: yes\n"),
            ("Unhealthy: the cause and\nthe hint\n", 16, "Unhealthy: the\n  cause and\nthe hint\n"),
            ("  pool   min=2, max=10\n", 16, "  pool   min=2,\n    max=10\n"),
            ("/a/word/too/long for it\n", 8, "/a/word/too/long\n  for it\n"),
        ] {
            assert_eq!(wrapped(text, columns), expected);
        }
        let cause = "nothing listens at 127.0.0.1:5432; start the server, or correct the host and the port";
        let small = TerminalSize { rows: 12, columns: 60 };
        let text = Watch::default().text(report(0, Some(cause)), Some(small)).replace(REST_OF_LINE, "");
        assert!(
            text.contains("127.0.0.1:5432; start the\n  server, or correct the host and the port\n"),
            "{text}"
        );
    }

    #[test]
    fn a_report_is_clipped_to_the_terminal() {
        let check = |rows, columns, expected: &[&str]| {
            assert_eq!(
                clipped("one\ntwo\nthe third\n", TerminalSize { rows, columns }),
                expected,
                "{rows} {columns}"
            );
        };
        check(4, 80, &["one", "two", "the third"]);
        check(4, 5, &["one", "two", "the …"]);
        check(3, 80, &["one", "(2 more lines; enlarge the terminal)"]);
        check(2, 10, &["(3 more l…"]);
        check(0, 0, &["…"]);
    }
}
