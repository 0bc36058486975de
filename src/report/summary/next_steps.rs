//! The commands that a summary suggests.

use crate::report::summary::{NextCommands, RunStatus, Summary};
use crate::shell::shell_quoted;

impl Summary {
    /// The commands to run next, each with its purpose.
    pub(crate) fn next_steps(&self) -> Vec<(&'static str, String)> {
        let NextCommands { again, unlimited, load, load_rejects, verify, delete_damaged, health } =
            &self.next;
        let of_input = |from_file, from_pipe| if verify.is_some() { from_file } else { from_pipe };
        let rejects = self.rejects_file.as_ref().map(|path| {
            let path = path.to_string_lossy();
            // Other names that begin with a hyphen look like options.
            shell_quoted(&if path.starts_with('-') { format!("./{path}") } else { path.into_owned() })
        });
        let list = rejects.as_ref().map(|file| {
            ("to list the rejects", format!("jq -r '[.source, .line, .field, .reason] | @tsv' {file}"))
        });
        let reload = |file: &String| ("to load the corrected rejects", format!("{load_rejects} {file}"));
        match self.status {
            RunStatus::Complete | RunStatus::Rejects if self.dry_run => {
                vec![(of_input("to load it", "to load it, with the same input"), load.clone())]
            }
            RunStatus::Complete => verify.iter().map(|verify| ("to check it", verify.clone())).collect(),
            RunStatus::Rejects => list.into_iter().chain(rejects.as_ref().map(reload)).collect(),
            RunStatus::Interrupted => {
                vec![(of_input("to resume", "to resume, with the same input"), again.clone())]
            }
            RunStatus::RejectLimit => {
                let remainder = of_input(
                    "to load the remaining events without a reject limit",
                    "to load the remaining events without a reject limit, with the same input",
                );
                list.into_iter().chain([(remainder, unlimited.clone())]).collect()
            }
            RunStatus::Failed => {
                let health = self.database_failed.then(|| ("to check the database", health.clone()));
                let delete = delete_damaged.clone().map(|delete| {
                    let what = "to delete the events of the damaged input, some of which may be wrong";
                    (of_input(what, "to delete the events of the damaged input, with the same input"), delete)
                });
                let resume = match delete {
                    Some(_) => of_input("to load an intact copy", "to load an intact copy, as the input"),
                    None => of_input(
                        "to resume after fixing the cause",
                        "to resume after fixing the cause, with the same input",
                    ),
                };
                health.into_iter().chain(delete).chain([(resume, again.clone())]).collect()
            }
        }
    }
}
