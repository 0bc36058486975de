//! What to run after a load, as commands to copy.

use super::summary::{Status, Summary};
use crate::input::shell_quoted;

/// Commands with the options of a load that has ended, as they are typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Next {
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

impl Summary {
    /// What to do next, each with what it is for.
    pub(super) fn next_steps(&self) -> Vec<(&'static str, String)> {
        let Next { again, unlimited, load, load_piped, verify, health } = &self.next;
        let of_input = |from_file, from_pipe| if verify.is_some() { from_file } else { from_pipe };
        let rejects = self.rejects_file.as_ref().map(|path| shell_quoted(&path.to_string_lossy()));
        let look = rejects
            .as_ref()
            .map(|file| ("to see them", format!("jq -r '[.source, .line, .field, .reason] | @tsv' {file}")));
        let mend = |file: &String| ("once they are mended", format!("jq -r .raw {file} | {load_piped}"));
        match self.status {
            Status::Complete | Status::Rejects if self.dry_run => {
                vec![(of_input("to load it", "to load it, with the same input"), load.clone())]
            }
            Status::Complete => verify.iter().map(|verify| ("to check it", verify.clone())).collect(),
            Status::Rejects => look.into_iter().chain(rejects.as_ref().map(mend)).collect(),
            Status::Interrupted => {
                vec![(of_input("to go on", "to go on, with the same input"), again.clone())]
            }
            Status::RejectLimit => {
                let more = of_input(
                    "to load the rest, however many are rejected",
                    "to load the rest, however many are rejected, with the same input",
                );
                look.into_iter().chain([(more, unlimited.clone())]).collect()
            }
            Status::Failed => {
                let health = self.database_failed.then(|| ("to look at the database", health.clone()));
                let mended = of_input("once that is mended", "once that is mended, with the same input");
                health.into_iter().chain([(mended, again.clone())]).collect()
            }
        }
    }
}
