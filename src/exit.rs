//! All exit codes in one table, the source for `--help`, the manual and the program's exit. A test compares the documents.

use std::fmt::Write as _;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Every event is stored, by this run or an earlier one.
    Complete,
    /// The input, the reject file, the metrics file or the program itself failed.
    Failed,
    /// Invalid option, variable or value; nothing was done.
    WrongSetting,
    /// Everything is stored except new rejects.
    Rejects,
    /// The database was unreachable or kept failing.
    DatabaseFailed,
    /// More rejects than allowed.
    RejectLimit,
    /// `verify` found differences, `health` found the database unhealthy, or the private PostgreSQL is stopped.
    Missing,
    /// The database refuses for a permanent reason.
    DatabaseRefused,
    /// Interrupted by the signal of this number.
    Interrupted(i32),
}

/// An exit code, or the codes of all signals, with its meaning in one line.
pub(crate) type ExitMeaning = (&'static str, &'static str);

/// The exit codes, ascending.
pub(crate) const EXIT_CODES: [ExitMeaning; 9] = [
    ("0", "every event is stored, by this run or an earlier one; health: healthy; verify: no difference"),
    ("1", "the input, the reject file, the metrics file or the program itself failed"),
    ("2", "invalid option, variable or value; nothing was done"),
    ("3", "everything is stored except new rejects"),
    ("4", "the database was unreachable or kept failing; some events are not stored; retrying can help"),
    ("5", "more rejects than allowed; stopped"),
    ("6", "verify found differences; health: unhealthy; embedded status: stopped"),
    (
        "7",
        "the database refuses for a permanent reason: login, privileges, missing database, incompatible tables",
    ),
    ("129, 130, 143", "SIGHUP, SIGINT or SIGTERM: in-flight work was committed"),
];

impl ExitStatus {
    pub(crate) fn code(self) -> u8 {
        match self {
            ExitStatus::Complete => 0,
            ExitStatus::Failed => 1,
            ExitStatus::WrongSetting => 2,
            ExitStatus::Rejects => 3,
            ExitStatus::DatabaseFailed => 4,
            ExitStatus::RejectLimit => 5,
            ExitStatus::Missing => 6,
            ExitStatus::DatabaseRefused => 7,
            // As shells report it: 129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM.
            ExitStatus::Interrupted(signal) => 128 + u8::try_from(signal).unwrap_or(0),
        }
    }
}

pub(crate) fn exit_codes_help() -> String {
    let mut text = "Exit codes:".to_owned();
    for (code, meaning) in EXIT_CODES {
        // Writing to a String can't fail.
        let _ = write!(text, "\n  {code}  {meaning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_in_the_table() {
        for exit_status in [
            ExitStatus::Complete,
            ExitStatus::Failed,
            ExitStatus::WrongSetting,
            ExitStatus::Rejects,
            ExitStatus::DatabaseFailed,
            ExitStatus::RejectLimit,
            ExitStatus::Missing,
            ExitStatus::DatabaseRefused,
            ExitStatus::Interrupted(1),
            ExitStatus::Interrupted(2),
            ExitStatus::Interrupted(15),
        ] {
            let code = exit_status.code().to_string();
            let is_listed = EXIT_CODES.iter().any(|exit| exit.0.split(", ").any(|listed| listed == code));
            assert!(is_listed, "{exit_status:?}");
        }
    }

    /// The documents have their own tables, with an action for each code.
    #[test]
    fn the_documents_have_each_code() {
        for (name, text) in [
            ("README.md", include_str!("../README.md")),
            ("docs/deployment.md", include_str!("../docs/deployment.md")),
        ] {
            for (code, _) in EXIT_CODES {
                // Code 6 comes from verify and health, which a deployment does not restart.
                let is_needed = name == "README.md" || code != "6";
                assert!(!is_needed || text.contains(&format!("\n| {code} | ")), "{name}: {code}");
            }
        }
    }
}
