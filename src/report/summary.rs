//! The summary of a load, for scripts and for people.

#[cfg(test)]
mod tests;

use crate::event::server::Server;
use crate::layout::Layout;
use crate::pipeline::account::counts::Counts;
use crate::pipeline::rejects::kinds::{RejectKind, RejectKinds};
use crate::report::format::{bytes, counted, grouped, time};
use crate::shell::shell_quoted;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// How a load ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunStatus {
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

impl RunStatus {
    /// The name in JSON and in the ledger.
    pub(crate) fn name(self) -> &'static str {
        match self {
            RunStatus::Complete => "complete",
            RunStatus::Rejects => "rejects",
            RunStatus::Interrupted => "interrupted",
            RunStatus::Failed => "failed",
            RunStatus::RejectLimit => "reject_limit",
        }
    }
}

/// Commands with the options of a load that has ended, as they are typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NextCommands {
    /// The same again.
    pub again: String,
    /// The same, with no limit of rejects.
    pub unlimited: String,
    /// The same, but no dry run.
    pub load: String,
    /// A load of standard input, whose rejects go to a file of their own.
    pub load_piped: String,
    /// To check the load, unless it read standard input.
    pub verify: Option<String>,
    /// To look at the database.
    pub health: String,
}

/// The account of a load. Its `events` are the sum of `inserted` to `unfinished`.
#[derive(Debug)]
pub(crate) struct Summary {
    /// How it ended.
    pub status: RunStatus,
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
    /// Where this run's rejects are, if there are any.
    pub rejects_file: Option<PathBuf>,
    /// Where the rejects are that earlier runs have reported, the last file first.
    pub earlier_rejects: Vec<String>,
    /// Why events were rejected, most often.
    pub reasons: RejectKinds,
    /// What broke.
    pub error: Option<String>,
    /// Whether that is the database.
    pub database_failed: bool,
    /// Whether the database was left alone.
    pub dry_run: bool,
    /// What to run next.
    pub next: NextCommands,
}

#[derive(Serialize)]
struct SummaryJson<'s> {
    status: RunStatus,
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
    rejected_before: u64,
    unfinished: u64,
    files_skipped: u64,
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
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let counts = &self.counts;
        let new_rejects = self.rejects_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        let json = SummaryJson {
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
            rejected_before: counts.rejected_before,
            unfinished: counts.unfinished(),
            files_skipped: counts.files_skipped,
            bytes_read: self.bytes_read,
            bytes_uncompressed: self.bytes_uncompressed,
            segments: counts.segments,
            segments_skipped: counts.segments_skipped,
            retries: self.retries,
            connection_errors: self.connection_errors,
            elapsed_seconds: self.elapsed.as_secs_f64(),
            events_per_second: self.events_per_second(),
            rejects_file: new_rejects.or_else(|| self.earlier_rejects.first().cloned()),
            error: self.error.as_deref(),
        };
        serde_json::to_string(&json)
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 15 digits")]
    fn events_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.counts.events as f64 / seconds } else { 0.0 }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and below 2^53"
    )]
    fn rates(&self) -> (u64, u64) {
        let seconds = self.elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 15 digits")]
        let per_second = self.bytes_uncompressed as f64 / seconds.max(f64::MIN_POSITIVE);
        (per_second.round() as u64, self.events_per_second().round() as u64)
    }

    fn outcome(&self) -> String {
        let counts = &self.counts;
        let (events, unfinished) = (counted(counts.events, "event"), grouped(counts.unfinished()));
        let rejected = format!("{} of {events}", grouped(counts.rejected_new()));
        let before = match counts.rejected_before {
            0 => String::new(),
            1 => "1 reject that an earlier run reported".to_owned(),
            more => format!("{} rejects that earlier runs reported", grouped(more)),
        };
        match self.status {
            RunStatus::Complete if self.dry_run => {
                format!("Dry run: {events}, all can be loaded; the database was left alone.")
            }
            RunStatus::Rejects if self.dry_run => {
                format!("Dry run: {rejected} would be rejected; the database was left alone.")
            }
            RunStatus::Interrupted if self.dry_run => {
                format!("Dry run, interrupted: {events} seen; the database was left alone.")
            }
            RunStatus::Failed if self.dry_run => {
                format!("Dry run, failed: {events} seen; the database was left alone.")
            }
            RunStatus::Complete if before.is_empty() => format!("Complete: {events}, all in the database."),
            RunStatus::Complete => format!("Complete: {events}, all in the database but {before}."),
            RunStatus::Rejects if before.is_empty() => {
                format!("Loaded all but the rejects: {rejected} were rejected.")
            }
            RunStatus::Rejects => {
                format!("Loaded all but the rejects: {rejected} were rejected, beside {before}.")
            }
            RunStatus::Interrupted if counts.unfinished() > 0 => {
                format!("Interrupted: {unfinished} of {events} that were read are not in the database.")
            }
            RunStatus::Interrupted => format!("Interrupted: {events} read, none of them lost."),
            RunStatus::Failed if counts.unfinished() > 0 => {
                format!("Failed: {unfinished} of {events} that were read are not in the database.")
            }
            RunStatus::Failed => "Failed: not everything is in the database.".to_owned(),
            RunStatus::RejectLimit => format!("Stopped: {rejected} were rejected, more than allowed."),
        }
    }

    /// What became of the events, as a sum.
    fn account(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let unfinished = if self.dry_run { "can be loaded" } else { "unfinished" };
        for (number, what) in [
            (counts.inserted, "inserted"),
            (counts.updated, "updated"),
            (counts.duplicate, "duplicate"),
            (counts.already_loaded, "already loaded"),
            (counts.rejected_new(), "rejected"),
            (counts.rejected_before, "rejected and reported before"),
            (counts.unfinished(), unfinished),
        ] {
            if number > 0 {
                writeln!(f, "{:>15}  {what}", grouped(number))?;
            }
        }
        let (events, lines) = (grouped(counts.events), counted(counts.lines, "line"));
        let noun = if counts.events == 1 { "event" } else { "events" };
        writeln!(f, "{:>15}\n{events:>15}  {noun} in {lines}, {}", "-".repeat(events.len()), self.server)
    }

    fn speed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", bytes(self.bytes_uncompressed))?;
        if self.bytes_read < self.bytes_uncompressed {
            write!(f, " (packed {})", bytes(self.bytes_read))?;
        }
        let elapsed = match self.elapsed.as_secs_f64() {
            seconds if seconds < 60.0 => format!("{seconds:.1} s"),
            _ => time(self.elapsed),
        };
        let (bytes_rate, events_rate) = self.rates();
        write!(f, " in {elapsed}: {}/s, {} events/s", bytes(bytes_rate), grouped(events_rate))?;
        if self.retries > 0 {
            write!(
                f,
                "\n  tried again: {}, connection errors: {}",
                grouped(self.retries),
                grouped(self.connection_errors)
            )?;
        }
        Ok(())
    }

    fn rejects(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.earlier_rejects.first() {
            let more = match self.earlier_rejects.len() - 1 {
                0 => String::new(),
                1 => " and 1 more file".to_owned(),
                more => format!(" and {more} more files"),
            };
            write!(f, "\n  rejects of earlier runs: {path}{more}")?;
        }
        let Some(path) = &self.rejects_file else { return Ok(()) };
        write!(f, "\n  rejects, each with its place and reason: {}", path.display())?;
        let (shown, rest) = self.reasons.kinds.split_at(REASONS_SHOWN.min(self.reasons.kinds.len()));
        for kind in shown {
            write!(f, "\n{:>15}  {}", grouped(kind.count), to_text(kind))?;
        }
        match self.reasons.others + rest.iter().map(|kind| kind.count).sum::<u64>() {
            0 => Ok(()),
            others => write!(f, "\n{:>15}  for other reasons", grouped(others)),
        }
    }
}

/// So many reasons of rejects are told.
const REASONS_SHOWN: usize = 3;

fn to_text(kind: &RejectKind) -> String {
    let field = kind.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
    let sqlstate = kind.sqlstate.as_ref().map(|sqlstate| format!(" ({sqlstate})")).unwrap_or_default();
    format!("{field}{}{sqlstate}", kind.reason)
}

/// The summary for people: the outcome, the account, the speed, the rejects, and what to do next.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.outcome())?;
        if let Some(error) = &self.error {
            writeln!(f, "  cause: {error}")?;
        }
        self.account(f)?;
        self.speed(f)?;
        self.rejects(f)?;
        for (what_for, command) in self.next_steps() {
            write!(f, "\n  {what_for}:\n    {command}")?;
        }
        Ok(())
    }
}

impl Summary {
    /// What to do next, each with what it is for.
    pub(crate) fn next_steps(&self) -> Vec<(&'static str, String)> {
        let NextCommands { again, unlimited, load, load_piped, verify, health } = &self.next;
        let of_input = |from_file, from_pipe| if verify.is_some() { from_file } else { from_pipe };
        let rejects = self.rejects_file.as_ref().map(|path| shell_quoted(&path.to_string_lossy()));
        let look = rejects
            .as_ref()
            .map(|file| ("to see them", format!("jq -r '[.source, .line, .field, .reason] | @tsv' {file}")));
        let mend = |file: &String| ("once they are mended", format!("jq -r .raw {file} | {load_piped}"));
        match self.status {
            RunStatus::Complete | RunStatus::Rejects if self.dry_run => {
                vec![(of_input("to load it", "to load it, with the same input"), load.clone())]
            }
            RunStatus::Complete => verify.iter().map(|verify| ("to check it", verify.clone())).collect(),
            RunStatus::Rejects => look.into_iter().chain(rejects.as_ref().map(mend)).collect(),
            RunStatus::Interrupted => {
                vec![(of_input("to go on", "to go on, with the same input"), again.clone())]
            }
            RunStatus::RejectLimit => {
                let more = of_input(
                    "to load the rest, however many are rejected",
                    "to load the rest, however many are rejected, with the same input",
                );
                look.into_iter().chain([(more, unlimited.clone())]).collect()
            }
            RunStatus::Failed => {
                let health = self.database_failed.then(|| ("to look at the database", health.clone()));
                let mended = of_input("once that is mended", "once that is mended, with the same input");
                health.into_iter().chain([(mended, again.clone())]).collect()
            }
        }
    }
}
