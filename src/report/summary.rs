//! The summary of a load, as text and as JSON.

mod next_steps;
#[cfg(test)]
mod tests;

use crate::error_chain::in_lines;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::pipeline::account::counts::Counts;
use crate::pipeline::rejects::kinds::{RejectKind, RejectKinds};
use crate::report::format::{bytes, counted, grouped, json_object, per_second, rounded, time};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};
use uuid::Uuid;

/// How a load ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunStatus {
    /// Every event is stored, by this run or an earlier one.
    Complete,
    /// Everything is stored except new rejects.
    Rejects,
    /// A signal stopped the load; in-flight work was committed.
    Interrupted,
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

/// Shell commands that carry the options of the finished load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NextCommands {
    /// The same command.
    pub again: String,
    /// The same command without a reject limit.
    pub unlimited: String,
    /// The same command without `--dry-run`.
    pub load: String,
    /// A load with its own reject file, without the dumps.
    pub load_rejects: String,
    /// Verifies the load; none if it read standard input.
    pub verify: Option<String>,
    /// The commands with the `--events-at` that most rejects advise, if any advise one.
    pub advised: Option<AdvisedCommands>,
    /// The same command with the game server that all rejects name, if that is another one.
    pub of_named_server: Option<String>,
    /// The commands that read inputs in another way, with their purposes.
    pub other_ways: Vec<(&'static str, String)>,
    /// Whether the same command always fails in the same way.
    pub is_futile: bool,
    /// Deletes the events of damaged inputs, if there are any.
    pub delete_damaged: Option<String>,
    /// Checks the database.
    pub health: String,
    /// The directory in which the commands work, quoted for a shell. None on a terminal, whose user is in it.
    pub directory: Option<String>,
}

/// Commands with another `--events-at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdvisedCommands {
    /// The same command.
    pub again: String,
    /// A load with its own reject file, without the dumps.
    pub load_rejects: String,
}

/// The result of a load. `events` is the sum of `inserted` to `unfinished`.
#[derive(Debug)]
pub(crate) struct Summary {
    pub status: RunStatus,
    /// The id of the run in the ledger.
    pub run: Uuid,
    pub server: Server,
    pub layout: Layout,
    /// The number of files; none if standard input is read.
    pub files: Option<u64>,
    pub counts: Counts,
    /// Bytes read, compressed or not.
    pub bytes_read: u64,
    /// Bytes of text.
    pub bytes_uncompressed: u64,
    pub retries: u64,
    pub connection_errors: u64,
    /// From the start to the last commit.
    pub elapsed: Duration,
    /// The reject file of this run, if there are new rejects.
    pub rejects_file: Option<PathBuf>,
    /// The reject files of earlier runs that hold rejects of these dumps, the latest first.
    pub earlier_rejects: Vec<String>,
    /// The reject reasons, most frequent first.
    pub reasons: RejectKinds,
    pub error: Option<String>,
    /// Whether the log has the error, so that the text does not repeat it.
    pub is_logged: bool,
    /// Whether the error is a failure of the database.
    pub database_failed: bool,
    pub dry_run: bool,
    /// The error of the metrics file. The exit code is then 1, although the events are stored.
    pub metrics_error: Option<String>,
    pub next: NextCommands,
}

impl Summary {
    /// The summary of a load that is stopped before it reads anything.
    pub(crate) fn of_nothing(run: Uuid, server: Server, layout: Layout, next: NextCommands) -> Self {
        Self {
            status: RunStatus::Interrupted,
            run,
            server,
            layout,
            files: None,
            counts: Counts::default(),
            bytes_read: 0,
            bytes_uncompressed: 0,
            retries: 0,
            connection_errors: 0,
            elapsed: Duration::ZERO,
            rejects_file: None,
            earlier_rejects: Vec::new(),
            reasons: RejectKinds::default(),
            error: None,
            is_logged: false,
            database_failed: false,
            dry_run: false,
            metrics_error: None,
            next,
        }
    }

    /// One JSON object, without a newline.
    pub(crate) fn to_json(&self) -> String {
        let counts = &self.counts;
        let new_rejects = self.rejects_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        let rejects_file = new_rejects.or_else(|| self.earlier_rejects.first().cloned());
        // As the exit code, which is 1.
        let has_stored_all = matches!(self.status, RunStatus::Complete | RunStatus::Rejects);
        let status =
            if has_stored_all && self.metrics_error.is_some() { RunStatus::Failed } else { self.status };
        json_object(&[
            ("status", status.name().into()),
            ("run", self.run.to_string().into()),
            ("server", self.server.name().into()),
            ("layout", self.layout.name().into()),
            ("lines", counts.lines.into()),
            ("events", counts.events.into()),
            ("inserted", counts.inserted.into()),
            ("updated", counts.updated.into()),
            ("duplicate", counts.duplicate.into()),
            ("already_loaded", counts.already_loaded.into()),
            ("rejected", counts.rejected.into()),
            ("rejected_before", counts.rejected_before.into()),
            ("unfinished", counts.unfinished().into()),
            ("files_skipped", counts.files_skipped.into()),
            ("bytes_read", self.bytes_read.into()),
            ("bytes_uncompressed", self.bytes_uncompressed.into()),
            ("segments", counts.segments.into()),
            ("segments_skipped", counts.segments_skipped.into()),
            ("retries", self.retries.into()),
            ("connection_errors", self.connection_errors.into()),
            ("elapsed_seconds", self.elapsed.as_secs_f64().into()),
            ("events_per_second", per_second(counts.events, self.elapsed).into()),
            ("rejects_file", rejects_file.into()),
            ("error", self.error.as_ref().or(self.metrics_error.as_ref()).cloned().into()),
        ])
    }

    fn outcome(&self) -> String {
        match (self.status, self.dry_run) {
            (RunStatus::Complete, true) => match self.counts.events {
                0 => format!("Dry run: {}; the database was not used.", self.nothing()),
                1 => "Dry run: the event can be loaded; the database was not used.".to_owned(),
                _ => format!("Dry run: all {} can be loaded; the database was not used.", self.events()),
            },
            (RunStatus::Rejects, true) => {
                format!("Dry run: {} would be rejected; the database was not used.", self.rejected_of_all())
            }
            (RunStatus::Interrupted, true) => {
                format!("Dry run interrupted: {} read; the database was not used.", self.events())
            }
            (RunStatus::Failed, true) => {
                format!("Dry run failed: {} read; the database was not used.", self.events())
            }
            (RunStatus::Complete, false) => self.complete(),
            (RunStatus::Rejects, false) => self.loaded_with_rejects(),
            (RunStatus::Interrupted, false) if self.counts.unfinished() > 0 => {
                format!("Interrupted: {}.", self.some_unfinished())
            }
            (RunStatus::Interrupted, false) => {
                format!("Interrupted: {} read, none unfinished.", self.events())
            }
            (RunStatus::Failed, false) if self.counts.unfinished() > 0 => {
                format!("Failed: {}.", self.some_unfinished())
            }
            (RunStatus::Failed, false) => "Failed: the load is incomplete.".to_owned(),
            (RunStatus::RejectLimit, _) => {
                let verb = was_or_were(self.counts.rejected_new());
                format!("Stopped: {} {verb} rejected, more than allowed.", self.rejected_of_all())
            }
        }
    }

    fn complete(&self) -> String {
        let Counts { events, rejected_before, .. } = self.counts;
        let stored = events.saturating_sub(rejected_before);
        match (events, rejected_before) {
            (0, _) => format!("Complete: {}.", self.nothing()),
            (1, 0) => "Complete: 1 event, stored by this run or an earlier one.".to_owned(),
            (_, 0) => format!("Complete: {}, all stored by this run or an earlier one.", self.events()),
            _ if stored == 0 => format!("Complete: nothing new; {}.", self.rejected_earlier()),
            _ => format!(
                "Complete: {} of {} stored by this run or an earlier one; {}.",
                grouped(stored),
                self.events(),
                self.rejected_earlier()
            ),
        }
    }

    fn loaded_with_rejects(&self) -> String {
        let Counts { events, rejected, rejected_before, .. } = self.counts;
        let headline = if rejected >= events { "Nothing loaded" } else { "Loaded all but the rejects" };
        let new = self.counts.rejected_new();
        let text = format!("{headline}: {} {} rejected", self.rejected_of_all(), was_or_were(new));
        match rejected_before {
            0 => format!("{text}."),
            _ => format!("{text}; {}.", self.rejected_earlier()),
        }
    }

    /// The headline of an input without events: `0 events in 1 file`.
    fn nothing(&self) -> String {
        match self.files {
            Some(files) => format!("0 events in {}", counted(files, "file")),
            None => "0 events in the input".to_owned(),
        }
    }

    fn events(&self) -> String {
        counted(self.counts.events, "event")
    }

    /// The new rejects as a part of all events: `3 of 500 events`, or `all 500 events`.
    fn rejected_of_all(&self) -> String {
        match (self.counts.rejected_new(), self.counts.events) {
            (1, 1) => "the event".to_owned(),
            (new, events) if new == events => format!("all {}", self.events()),
            (new, _) => format!("{} of {}", grouped(new), self.events()),
        }
    }

    fn rejected_earlier(&self) -> String {
        match self.counts.rejected_before {
            1 => "an earlier run rejected 1 event".to_owned(),
            more => format!("earlier runs rejected {} events", grouped(more)),
        }
    }

    fn some_unfinished(&self) -> String {
        let unfinished = self.counts.unfinished();
        let verb = if unfinished == 1 { "is" } else { "are" };
        format!("{} of {} read {verb} unfinished", grouped(unfinished), self.events())
    }

    /// The counts of the outcomes and their sum.
    fn account(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let unfinished = match (self.dry_run, self.status) {
            // Some of them were not examined, or are rejects that could not be written.
            (true, RunStatus::Interrupted | RunStatus::RejectLimit | RunStatus::Failed) => {
                "not rejected so far"
            }
            (true, _) => "can be loaded",
            (false, _) => "unfinished",
        };
        for (number, what) in [
            (counts.inserted, "inserted"),
            (counts.updated, "updated"),
            (counts.duplicate, "duplicate"),
            (counts.already_loaded, "already loaded"),
            (counts.rejected_new(), "rejected"),
            (counts.rejected_before, "rejected and reported by an earlier run"),
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
            write!(f, " (compressed {})", bytes(self.bytes_read))?;
        }
        let elapsed = match self.elapsed.as_secs_f64() {
            seconds if seconds < 60.0 => format!("{seconds:.1} s"),
            _ => time(self.elapsed),
        };
        let rate = |count| rounded(per_second(count, self.elapsed));
        let (of_bytes, of_events) = (rate(self.bytes_uncompressed), rate(self.counts.events));
        write!(f, " in {elapsed}: {}/s, {}/s", bytes(of_bytes), counted(of_events, "event"))?;
        if self.retries > 0 {
            let (retries, errors) = (grouped(self.retries), grouped(self.connection_errors));
            write!(f, "\n  retries: {retries}, connection errors: {errors}")?;
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
            // The run that wrote it may have been on another host.
            let is_gone = Path::new(path).is_absolute() && matches!(fs::exists(path), Ok(false));
            let gone = if is_gone { " (not found here; --force reports them again)" } else { "" };
            write!(f, "\n  rejects of earlier runs: {path}{gone}{more}")?;
        }
        let Some(path) = &self.rejects_file else { return Ok(()) };
        write!(f, "\n  rejects, each with its place and reason: {}", path.display())?;
        let (shown, others) = self.reasons.kinds.split_at(REASONS_SHOWN.min(self.reasons.kinds.len()));
        for kind in shown {
            write!(f, "\n{:>15}  {}", grouped(kind.count), to_text(kind))?;
        }
        match self.reasons.others + others.iter().map(|kind| kind.count).sum::<u64>() {
            0 => Ok(()),
            count => write!(f, "\n{:>15}  for other reasons", grouped(count)),
        }
    }
}

/// The number of reject reasons in the summary.
const REASONS_SHOWN: usize = 3;

fn was_or_were(number: u64) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

fn to_text(kind: &RejectKind) -> String {
    let field = kind.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
    let sqlstate = kind.sqlstate.as_ref().map(|sqlstate| format!(" ({sqlstate})")).unwrap_or_default();
    format!("{field}{}{sqlstate}", kind.reason)
}

/// Formats the summary for users: headline, counts, speed, rejects and the next commands.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metrics = if self.metrics_error.is_some() { " The metrics file is missing or old." } else { "" };
        writeln!(f, "{}{metrics}", self.outcome())?;
        match &self.error {
            Some(_) if self.is_logged => {
                writeln!(f, "  cause: some input could not be read completely, see above")?;
            }
            Some(error) => writeln!(f, "  cause: {}", in_lines(error, "  "))?,
            None => {}
        }
        self.account(f)?;
        self.speed(f)?;
        if let Some(directory) = self.directory() {
            write!(f, "\n  working directory: {directory}")?;
        }
        self.rejects(f)?;
        for (what_for, command) in self.next_steps() {
            write!(f, "\n  {what_for}:\n    {command}")?;
        }
        Ok(())
    }
}
