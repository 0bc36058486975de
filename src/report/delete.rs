//! The result of `delete`, as text and as JSON.

use crate::error_chain::in_lines;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::report::format::{counted, grouped, json_object, rfc3339, utc};
use crate::report::summary::RunStatus;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::time::Duration;

/// The result of a deletion. In a dry run the counts are those of a real run.
#[derive(Debug)]
pub(crate) struct DeleteReport {
    pub status: RunStatus,
    pub dry_run: bool,
    pub server: Server,
    pub layout: Layout,
    /// The value of `--before`; none for the events of dumps.
    pub before: Option<Timestamp>,
    /// Events read from the dumps, or events in the database before the time.
    pub events: u64,
    pub deleted: u64,
    /// Events of the dumps that are not stored.
    pub not_stored: u64,
    /// Values of the dumps that a load with the same options rejects.
    pub rejected: u64,
    /// Segments removed from the ledger.
    pub segments: u64,
    /// Files removed from the ledger.
    pub files: u64,
    pub elapsed: Duration,
    pub error: Option<String>,
    /// The command that resumes the deletion, if anything is left to delete.
    pub again: Option<String>,
    /// The directory in which the command works, quoted for a shell. None on a terminal, whose user is in it.
    pub directory: Option<String>,
}

impl DeleteReport {
    /// One JSON object, without a newline.
    pub(crate) fn to_json(&self) -> String {
        json_object(&[
            ("status", self.status.name().into()),
            ("dry_run", self.dry_run.into()),
            ("server", self.server.name().into()),
            ("layout", self.layout.name().into()),
            ("before", self.before.map(rfc3339).into()),
            ("events", self.events.into()),
            ("deleted", self.deleted.into()),
            ("not_stored", self.not_stored.into()),
            ("rejected", self.rejected.into()),
            ("segments", self.segments.into()),
            ("files", self.files.into()),
            ("elapsed_seconds", self.elapsed.as_secs_f64().into()),
            ("error", self.error.clone().into()),
        ])
    }

    /// The outcome, the counts, and the command that resumes the deletion.
    pub(crate) fn to_text(&self) -> String {
        let is_whole = matches!(self.status, RunStatus::Complete | RunStatus::Rejects);
        let which = match self.before {
            Some(time) => format!("{} before {}", counted(self.deleted, "event"), utc(time)),
            None if is_whole => {
                format!("{} of {} in the dumps", grouped(self.deleted), counted(self.events, "event"))
            }
            None if self.deleted == 0 => "0 events".to_owned(),
            None => format!("{} of the dumps", counted(self.deleted, "event")),
        };
        let headline = match (self.status, self.dry_run) {
            (RunStatus::Complete | RunStatus::Rejects, true) => format!("Dry run: would delete {which}"),
            (RunStatus::Complete | RunStatus::Rejects, false) => format!("Complete: deleted {which}"),
            (RunStatus::Interrupted, true) => format!("Dry run interrupted: {which} counted"),
            (RunStatus::Interrupted, false) => format!("Interrupted: {which} deleted"),
            (_, true) => format!("Dry run failed: {which} counted"),
            (_, false) => format!("Failed: {which} deleted"),
        };
        let mut text = format!("{headline}.\n");
        // Writing to a String cannot fail.
        if let Some(error) = &self.error {
            let _ = writeln!(text, "  cause: {}", in_lines(error, "  "));
        }
        for (count, what) in [
            (self.deleted, if self.dry_run { "would be deleted" } else { "deleted" }),
            (self.not_stored, "not stored"),
            (self.rejected, "rejected, as by a load with these options"),
            (
                self.segments,
                if self.segments == 1 { "segment of the ledger" } else { "segments of the ledger" },
            ),
            (self.files, if self.files == 1 { "file of the ledger" } else { "files of the ledger" }),
        ] {
            if count > 0 {
                let _ = writeln!(text, "  {:>12} {what}", grouped(count));
            }
        }
        if let Some(again) = self.again.as_ref().filter(|_| !is_whole) {
            if let Some(directory) = &self.directory {
                let _ = writeln!(text, "Working directory: {directory}");
            }
            let _ = writeln!(text, "To resume:\n  {again}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> DeleteReport {
        DeleteReport {
            status: RunStatus::Complete,
            dry_run: false,
            server: Server::Europe,
            layout: Layout::Archive,
            before: None,
            events: 1_310,
            deleted: 1_300,
            not_stored: 10,
            rejected: 0,
            segments: 12,
            files: 1,
            elapsed: Duration::from_millis(500),
            error: None,
            again: Some("aegis-kills delete --server europe a".to_owned()),
            directory: None,
        }
    }

    #[test]
    fn the_text_starts_with_the_outcome() {
        assert_eq!(
            report().to_text().lines().map(str::trim).collect::<Vec<_>>(),
            [
                "Complete: deleted 1,300 of 1,310 events in the dumps.",
                "1,300 deleted",
                "10 not stored",
                "12 segments of the ledger",
                "1 file of the ledger"
            ]
        );
        let rejected = DeleteReport { status: RunStatus::Rejects, rejected: 2, ..report() }.to_text();
        assert!(rejected.contains("2 rejected, as by a load with these options\n"), "{rejected}");
        let time = "2025-01-01T00:00:00Z".parse().expect("a time");
        let dry = DeleteReport { dry_run: true, before: Some(time), deleted: 1, ..report() }.to_text();
        assert!(dry.starts_with("Dry run: would delete 1 event before 2025-01-01 00:00:00 UTC.\n"), "{dry}");
        let failed =
            DeleteReport { status: RunStatus::Failed, error: Some("why".to_owned()), ..report() }.to_text();
        assert!(failed.starts_with("Failed: 1,300 events of the dumps deleted.\n  cause: why\n"), "{failed}");
        assert!(failed.ends_with("To resume:\n  aegis-kills delete --server europe a\n"), "{failed}");
        let directory = Some("'/my kills'".to_owned());
        let elsewhere = DeleteReport { status: RunStatus::Failed, directory, ..report() }.to_text();
        let end = "Working directory: '/my kills'\nTo resume:\n  aegis-kills delete --server europe a\n";
        assert!(elsewhere.ends_with(end), "{elsewhere}");
        let interrupted = |deleted, dry_run, before| {
            let status = RunStatus::Interrupted;
            let text = DeleteReport { status, dry_run, before, deleted, ..report() }.to_text();
            text.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(interrupted(0, false, None), "Interrupted: 0 events deleted.");
        assert_eq!(interrupted(1, false, None), "Interrupted: 1 event of the dumps deleted.");
        let before = "Interrupted: 1,300 events before 2025-01-01 00:00:00 UTC deleted.";
        assert_eq!(interrupted(1_300, false, Some(time)), before);
        assert_eq!(interrupted(1_300, true, None), "Dry run interrupted: 1,300 events of the dumps counted.");
        let damaged = DeleteReport { status: RunStatus::Failed, again: None, ..report() }.to_text();
        assert!(damaged.starts_with("Failed: ") && !damaged.contains("resume"), "{damaged}");
    }
}
