//! What the manual pages state beside the help: purposes, exit codes by command, files.

/// The purpose of the program.
pub(crate) const PURPOSE: &str = "load Albion Online kill dumps into PostgreSQL";

/// Facts about a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandFacts {
    pub name: &'static str,
    /// The purpose, for the line NAME, which fits into a terminal of 80 columns.
    pub purpose: &'static str,
    pub exits: &'static [ExitMeaning],
}

/// An exit code with its meaning.
type ExitMeaning = (&'static str, &'static str);

const FAILED: ExitMeaning = ("1", "the program failed; the message has the cause");
const FAILED_INPUT: ExitMeaning = ("1", "the input, an output file or the program itself failed");
const INVALID: ExitMeaning = ("2", "invalid option, variable or value; nothing was done");
const UNREACHABLE: ExitMeaning =
    ("4", "the database was unreachable or kept failing; run the same command again once it is back");
const REFUSED: ExitMeaning = (
    "7",
    "the database refuses for a permanent reason: login, privileges, missing database, incompatible tables",
);
const WRITTEN: ExitMeaning = ("0", "everything is written, or the reader has closed the pipe");

/// The commands, in the order of the help.
pub(crate) const COMMANDS: [CommandFacts; 9] = [
    CommandFacts {
        name: "load",
        purpose: "load dumps into PostgreSQL",
        exits: &[
            ("0", "every event is stored, by this run or an earlier one, and no reject is new"),
            ("1", "the input, the reject file, the metrics file or the program itself failed"),
            INVALID,
            ("3", "everything is stored except new rejects"),
            (
                "4",
                "the database was unreachable or kept failing; some events are not stored; retrying can help",
            ),
            ("5", "more rejects than --max-rejects allows; stopped"),
            REFUSED,
            ("129, 130, 143", "SIGHUP, SIGINT or SIGTERM: in-flight work was committed"),
        ],
    },
    CommandFacts {
        name: "verify",
        purpose: "compare dumps with the database",
        exits: &[
            ("0", "no difference"),
            FAILED_INPUT,
            INVALID,
            UNREACHABLE,
            ("6", "events are missing or different"),
            REFUSED,
            ("129, 130, 143", "SIGHUP, SIGINT or SIGTERM: the report has the events compared so far"),
        ],
    },
    CommandFacts {
        name: "delete",
        purpose: "delete old events or the events of dumps",
        exits: &[
            ("0", "all events are deleted"),
            FAILED_INPUT,
            INVALID,
            ("3", "all events are deleted; rejected values of the dumps are no events"),
            UNREACHABLE,
            REFUSED,
            ("129, 130, 143", "SIGHUP, SIGINT or SIGTERM: the current batch was committed"),
        ],
    },
    CommandFacts {
        name: "health",
        purpose: "check the database and the pool settings",
        exits: &[
            ("0", "healthy"),
            FAILED,
            INVALID,
            ("4", "the private PostgreSQL of --embedded does not start"),
            ("6", "unhealthy"),
            ("129, 130, 143", "--watch was ended by SIGHUP, SIGINT or SIGTERM"),
        ],
    },
    CommandFacts {
        name: "schema",
        purpose: "print or apply the DDL of the tables",
        exits: &[
            ("0", "the DDL is printed, or all tables and indexes exist"),
            FAILED,
            INVALID,
            UNREACHABLE,
            REFUSED,
        ],
    },
    CommandFacts {
        name: "embedded",
        purpose: "start, stop or inspect a private PostgreSQL",
        exits: &[
            ("0", "done; status: the server runs"),
            FAILED,
            ("2", "invalid option or value, or no private PostgreSQL in this directory"),
            ("4", "the server does not start or stop"),
            ("6", "status: the server is stopped"),
        ],
    },
    CommandFacts {
        name: "generate",
        purpose: "write a realistic synthetic dump",
        exits: &[WRITTEN, FAILED, INVALID],
    },
    CommandFacts {
        name: "completions",
        purpose: "write a completion script for a shell",
        exits: &[WRITTEN, FAILED, INVALID],
    },
    CommandFacts { name: "man", purpose: "write the manual pages", exits: &[WRITTEN, FAILED, INVALID] },
];

/// Files of the program.
pub(crate) const FILES: &[(&str, &str)] = &[
    (".env", "Settings as NAME=value, in the working directory. The environment overrides them."),
    ("rejects-UTC-RUN.ndjson", "Rejects of a load, in the working directory, created at the first reject."),
    ("~/.pgpass", "Passwords, in the format of psql."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::cli::variables_help::VARIABLES_WITHOUT_OPTION;
    use crate::commands::manual_page::page;
    use crate::exit::EXIT_CODES;
    use crate::settings::variables::VARIABLES;
    use clap::CommandFactory as _;

    #[test]
    fn the_facts_name_each_command_and_known_codes() {
        let root = Cli::command();
        let commands: Vec<&str> = root.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(COMMANDS.map(|facts| facts.name).to_vec(), commands);
        assert_eq!(crate::cli::help_text::COMMANDS.to_vec(), commands);
        for facts in COMMANDS {
            // A terminal of 80 columns, less the margins of man.
            assert!("aegis-kills- - ".len() + facts.name.len() + facts.purpose.len() <= 71, "{facts:?}");
            let known = |exit: &&ExitMeaning| EXIT_CODES.iter().any(|known| known.code == exit.0);
            assert_eq!(facts.exits.iter().filter(known).count(), facts.exits.len(), "{facts:?}");
            assert!(facts.exits.is_sorted_by_key(|exit| exit.0.len()), "{facts:?}");
        }
    }

    #[test]
    fn each_exit_code_is_one_of_a_command() {
        let used: Vec<&str> = COMMANDS.iter().flat_map(|facts| facts.exits).map(|exit| exit.0).collect();
        for exit in EXIT_CODES {
            assert!(used.contains(&exit.code), "no command ends with {exit:?}");
        }
    }

    #[test]
    fn the_overview_has_each_variable() {
        let mut root = Cli::command();
        root.build();
        let overview = page(&root, None).expect("a page").replace("\\-", "-");
        for variable in VARIABLES {
            assert!(overview.contains(&format!("\\fB{variable}\\fR")), "{variable}");
        }
        assert!(VARIABLES_WITHOUT_OPTION.iter().all(|variable| VARIABLES.contains(&variable.name)));
    }
}
