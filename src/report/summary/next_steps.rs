//! The commands that a summary suggests.
//!
//! Invariant: no suggested command fails in the same way as the one that has just ended.

use crate::pipeline::rejects::kinds::{RejectKind, RejectKinds};
use crate::report::format::list_rejects_command;
use crate::report::summary::{AdvisedCommands, RunStatus, Summary};
use crate::shell::shell_quoted;

/// A command after its purpose.
type NextStep = (&'static str, String);

impl Summary {
    /// The commands to run next, each with its purpose.
    pub(crate) fn next_steps(&self) -> Vec<NextStep> {
        let next = &self.next;
        match self.status {
            RunStatus::Complete | RunStatus::Rejects if self.dry_run => self.after_dry_run(),
            // No event is missing in the database if there are none.
            RunStatus::Complete if self.counts.events == 0 => Vec::new(),
            RunStatus::Complete => next.verify.iter().map(|verify| ("to check it", verify.clone())).collect(),
            RunStatus::Rejects => self.steps_of_rejects(),
            RunStatus::Interrupted => {
                vec![self.of_input("to resume", "to resume, with the same input", &next.again)]
            }
            RunStatus::RejectLimit => {
                let unlimited = || {
                    self.of_input(
                        "to load the remaining events without a reject limit",
                        "to load the remaining events without a reject limit, with the same input",
                        &next.unlimited,
                    )
                };
                // The error is that the reject file is out of proportion to the input, as in each load of it.
                let unlimited = self.error.is_none().then(unlimited);
                let advised = self.advised().filter(|_| self.has_only_rejects());
                self.list_rejects().into_iter().chain(advised.or(unlimited)).collect()
            }
            RunStatus::Failed => self.after_failure(),
        }
    }

    /// The directory in which the commands and the path of the reject file work, if the summary has any of them.
    pub(crate) fn directory(&self) -> Option<&str> {
        let has_any = self.rejects_file.is_some() || !self.next_steps().is_empty();
        self.next.directory.as_deref().filter(|_| has_any)
    }

    /// If nothing can be loaded, the load would only reject the same values.
    fn after_dry_run(&self) -> Vec<NextStep> {
        let loadable = self.counts.events.saturating_sub(self.counts.rejected);
        let load = (loadable > 0)
            .then(|| self.of_input("to load it", "to load it, with the same input", &self.next.load));
        let steps: Vec<NextStep> = self.advised().into_iter().chain(load).collect();
        if steps.is_empty() { self.list_rejects().into_iter().collect() } else { steps }
    }

    fn after_failure(&self) -> Vec<NextStep> {
        let next = &self.next;
        let health = self.database_failed.then(|| ("to check the database", next.health.clone()));
        let delete = next.delete_damaged.as_ref().map(|delete| {
            self.of_input(
                "to delete the events of the damaged input, some of which may be wrong",
                "to delete the events of the damaged input, with the same input",
                delete,
            )
        });
        let resume = match delete {
            Some(_) => {
                self.of_input("to load an intact copy", "to load an intact copy, as the input", &next.again)
            }
            None => self.of_input(
                "to resume after fixing the cause",
                "to resume after fixing the cause, with the same input",
                &next.again,
            ),
        };
        // No load of the same input follows.
        let is_last = next.is_futile && self.counts.unfinished() == 0 && !self.dry_run;
        let rejects = if is_last { self.steps_of_rejects() } else { Vec::new() };
        let resume = (!next.is_futile).then_some(resume);
        let other_ways = next.other_ways.iter().cloned();
        health.into_iter().chain(delete).chain(other_ways).chain(rejects).chain(resume).collect()
    }

    /// The same command with the advised `--events-at`, which also reads events at the top level, or with the game server that
    /// all events name.
    fn advised(&self) -> Option<NextStep> {
        if let Some(AdvisedCommands { again, .. }) = &self.next.advised {
            return Some(self.of_input(
                "to read the events inside the values",
                "to read the events inside the values, with the same input",
                again,
            ));
        }
        let of_named_server = self.next.of_named_server.as_ref().filter(|_| self.has_only_rejects())?;
        Some(self.of_input(
            "to load it under the game server that it names",
            "to load it under the game server that it names, with the same input",
            of_named_server,
        ))
    }

    fn has_only_rejects(&self) -> bool {
        self.counts.events > 0 && self.counts.rejected >= self.counts.events
    }

    fn list_rejects(&self) -> Option<NextStep> {
        let file = self.rejects_path()?;
        Some(("to list the rejects", list_rejects_command(&file)))
    }

    fn steps_of_rejects(&self) -> Vec<NextStep> {
        self.list_rejects().into_iter().chain(self.after_rejects()).collect()
    }

    /// The load of what is missing. A reject file has only the beginnings of long values, so that the input itself is loaded
    /// again.
    fn after_rejects(&self) -> Vec<NextStep> {
        let Some(file) = self.rejects_path() else { return Vec::new() };
        let truncated: Vec<&RejectKind> = self.reasons.kinds.iter().filter(|kind| kind.truncated).collect();
        if truncated.iter().any(|kind| kind.events_at.is_some()) {
            return self.advised().into_iter().collect();
        }
        let reload = match &self.next.advised {
            Some(AdvisedCommands { load_rejects, .. }) => {
                ("to load the events inside the rejects", format!("{load_rejects} {file}"))
            }
            None => (self.purpose_of_reload(), format!("{} {file}", self.next.load_rejects)),
        };
        let has_whole =
            truncated.is_empty() || truncated.len() < self.reasons.kinds.len() || self.reasons.others > 0;
        let correct = (
            "to load the values that the reject file has only the beginning of, correct the input itself, then run",
            self.next.again.clone(),
        );
        has_whole.then_some(reload).into_iter().chain((!truncated.is_empty()).then_some(correct)).collect()
    }

    /// The values that only the database refuses may need no correction, but a constraint or trigger.
    fn purpose_of_reload(&self) -> &'static str {
        let RejectKinds { kinds, others, .. } = &self.reasons;
        let is_of_input = *others > 0 || kinds.iter().any(|kind| kind.sqlstate.is_none());
        if is_of_input || kinds.is_empty() {
            "to load the corrected rejects"
        } else {
            "to load the rejects, once the database accepts them"
        }
    }

    /// The reject file, quoted for a shell. None if it is a pipe or a device, which no later command can read.
    fn rejects_path(&self) -> Option<String> {
        let file = self.rejects_file.as_ref()?;
        if file.metadata().is_ok_and(|found| !found.is_file()) {
            return None;
        }
        let path = file.to_string_lossy();
        // Other names that begin with a hyphen look like options.
        Some(shell_quoted(&if path.starts_with('-') { format!("./{path}") } else { path.into_owned() }))
    }

    /// A command with the purpose for files, or for standard input, which the user must provide again.
    fn of_input(&self, from_file: &'static str, from_pipe: &'static str, command: &str) -> NextStep {
        let purpose = if self.next.verify.is_some() { from_file } else { from_pipe };
        (purpose, command.to_owned())
    }
}
