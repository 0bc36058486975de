//! The summary of a load, for scripts and for people.

use crate::kill::Server;
use crate::layout::Layout;
use crate::pipeline::Counts;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// How a load ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every event is in the database.
    Complete,
    /// All but the rejects.
    Rejects,
    /// A signal stopped it; what was read is stored.
    Interrupted,
    /// Something broke.
    Failed,
    /// More rejects than allowed.
    RejectLimit,
}

impl Status {
    /// The name in JSON and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Status::Complete => "complete",
            Status::Rejects => "rejects",
            Status::Interrupted => "interrupted",
            Status::Failed => "failed",
            Status::RejectLimit => "reject_limit",
        }
    }
}

/// The account of a load. Its `events` are the sum of `inserted` to `unfinished`.
#[derive(Debug)]
pub struct Summary {
    /// How it ended.
    pub status: Status,
    /// Its id in the ledger.
    pub run: Uuid,
    /// The game server.
    pub server: Server,
    /// The tables.
    pub layout: Layout,
    /// What became of the events.
    pub counts: Counts,
    /// Bytes as they came.
    pub bytes_read: u64,
    /// Bytes of text.
    pub bytes_uncompressed: u64,
    /// How often something was tried again.
    pub retries: u64,
    /// How often a connection failed.
    pub connection_errors: u64,
    /// From the start to the last commit.
    pub elapsed: Duration,
    /// Where the rejects are, if there are any.
    pub rejects_file: Option<PathBuf>,
    /// What broke.
    pub error: Option<String>,
    /// Whether the database was left alone.
    pub dry_run: bool,
}

#[derive(Serialize)]
struct Json<'s> {
    status: Status,
    run: String,
    server: &'s str,
    layout: &'s str,
    lines: u64,
    events: u64,
    inserted: u64,
    updated: u64,
    duplicate: u64,
    already_loaded: u64,
    rejected: u64,
    unfinished: u64,
    bytes_read: u64,
    bytes_uncompressed: u64,
    segments: u64,
    segments_skipped: u64,
    retries: u64,
    connection_errors: u64,
    elapsed_seconds: f64,
    events_per_second: f64,
    rejects_file: Option<String>,
    error: Option<&'s str>,
}

impl Summary {
    /// One JSON object, without a newline.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let counts = &self.counts;
        let json = Json {
            status: self.status,
            run: self.run.to_string(),
            server: self.server.name(),
            layout: self.layout.name(),
            lines: counts.lines,
            events: counts.events,
            inserted: counts.inserted,
            updated: counts.updated,
            duplicate: counts.duplicate,
            already_loaded: counts.already_loaded,
            rejected: counts.rejected,
            unfinished: counts.unfinished(),
            bytes_read: self.bytes_read,
            bytes_uncompressed: self.bytes_uncompressed,
            segments: counts.segments,
            segments_skipped: counts.segments_skipped,
            retries: self.retries,
            connection_errors: self.connection_errors,
            elapsed_seconds: self.elapsed.as_secs_f64(),
            events_per_second: self.events_per_second(),
            rejects_file: self.rejects_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
            error: self.error.as_deref(),
        };
        serde_json::to_string(&json)
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 15 digits")]
    fn events_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.counts.events as f64 / seconds } else { 0.0 }
    }

    fn outcome(&self) -> &'static str {
        match self.status {
            Status::Complete if self.dry_run => {
                "Dry run: every event can be loaded; the database was left alone."
            }
            Status::Rejects if self.dry_run => {
                "Dry run: some events would be rejected; the database was left alone."
            }
            Status::Complete => "Complete: every event is in the database.",
            Status::Rejects => "All is loaded but the rejected events.",
            Status::Interrupted if self.counts.unfinished() > 0 => {
                "Interrupted: not all that was read is in the database; run the same command to go on."
            }
            Status::Interrupted => {
                "Interrupted: what was read is in the database; run the same command to go on."
            }
            Status::Failed => {
                "Failed: not everything is in the database; run the same command again once it is mended."
            }
            Status::RejectLimit => "Stopped: more events were rejected than allowed.",
        }
    }
}

/// The summary for people: the outcome, the account, the speed, and what to look at next.
impl fmt::Display for Summary {
    #[expect(clippy::cast_precision_loss, reason = "megabytes are shown with one digit")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        writeln!(f, "{}", self.outcome())?;
        if let Some(error) = &self.error {
            writeln!(f, "  cause: {error}")?;
        }
        writeln!(
            f,
            "  {:>12} events in {} lines, {}",
            grouped(counts.events),
            grouped(counts.lines),
            self.server
        )?;
        let not_loaded = if self.dry_run { "that can be loaded" } else { "unfinished" };
        for (number, what) in [
            (counts.inserted, "inserted"),
            (counts.updated, "updated"),
            (counts.duplicate, "duplicate"),
            (counts.already_loaded, "already loaded"),
            (counts.rejected, "rejected"),
            (counts.unfinished(), not_loaded),
        ] {
            if number > 0 {
                writeln!(f, "  {:>12} {what}", grouped(number))?;
            }
        }
        let megabytes = self.bytes_uncompressed as f64 / 1e6;
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.events_per_second();
        write!(f, "  {megabytes:.1} MB in {seconds:.1} s, {rate:.0} events/s")?;
        if let Some(path) = &self.rejects_file {
            write!(f, "\n  rejects, each with its place and reason: {}", path.display())?;
        }
        Ok(())
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
