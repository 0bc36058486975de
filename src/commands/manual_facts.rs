//! What the manual pages state beside the help: purposes, exit codes by command, files.

use crate::exit::{EXIT_CODES, ExitMeaning};

pub(crate) const PURPOSE: &str = "load Albion Online kill dumps into PostgreSQL";

#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandFacts {
    pub name: &'static str,
    /// The purpose, for the line NAME, which fits into a terminal of 80 columns.
    pub purpose: &'static str,
    pub exits: &'static [ExitMeaning],
}

const FAILED: ExitMeaning = ("1", "the program failed; the message has the cause");
const FAILED_INPUT: ExitMeaning = ("1", "the input, an output file or the program itself failed");
const INVALID: ExitMeaning = EXIT_CODES[2];
const UNREACHABLE: ExitMeaning =
    ("4", "the database was unreachable or kept failing; run the same command again once it is back");
const REFUSED: ExitMeaning = EXIT_CODES[7];
const INTERRUPTED: ExitMeaning = EXIT_CODES[EXIT_CODES.len() - 1];
const WRITTEN: ExitMeaning = ("0", "everything is written, or the reader has closed the pipe");

/// The commands, in the order of the help.
pub(crate) const COMMANDS: [CommandFacts; 9] = [
    command(
        "load",
        "load dumps into PostgreSQL",
        &[
            ("0", "every event is stored, by this run or an earlier one, and no reject is new"),
            EXIT_CODES[1],
            INVALID,
            EXIT_CODES[3],
            EXIT_CODES[4],
            ("5", "more rejects than --max-rejects allows; stopped"),
            REFUSED,
            INTERRUPTED,
        ],
    ),
    command(
        "verify",
        "compare dumps with the database",
        &[
            ("0", "no difference"),
            FAILED_INPUT,
            INVALID,
            UNREACHABLE,
            ("6", "events are missing or different"),
            REFUSED,
            ("129, 130, 143", "SIGHUP, SIGINT or SIGTERM: the report has the events compared so far"),
        ],
    ),
    command(
        "delete",
        "delete old events or the events of dumps",
        &[
            ("0", "all events are deleted"),
            FAILED_INPUT,
            INVALID,
            ("3", "all events are deleted; rejected values of the dumps are no events"),
            UNREACHABLE,
            REFUSED,
            ("129, 130, 143", "SIGHUP, SIGINT or SIGTERM: the current batch was committed"),
        ],
    ),
    command(
        "health",
        "check the database and the pool settings",
        &[
            ("0", "healthy"),
            FAILED,
            INVALID,
            ("4", "the private PostgreSQL of --embedded does not start"),
            ("6", "unhealthy"),
            ("129, 130, 143", "--watch was ended by SIGHUP, SIGINT or SIGTERM"),
        ],
    ),
    command(
        "schema",
        "print or apply the DDL of the tables",
        &[
            ("0", "the DDL is printed, or all tables and indexes exist"),
            FAILED,
            INVALID,
            UNREACHABLE,
            REFUSED,
        ],
    ),
    command(
        "embedded",
        "start, stop or inspect a private PostgreSQL",
        &[
            ("0", "done; status: the server runs"),
            FAILED,
            ("2", "invalid option or value, or no private PostgreSQL in this directory"),
            ("4", "the server does not start or stop"),
            ("6", "status: the server is stopped"),
        ],
    ),
    command("generate", "write a realistic synthetic dump", &[WRITTEN, FAILED, INVALID]),
    command("completions", "write a completion script for a shell", &[WRITTEN, FAILED, INVALID]),
    command("man", "write the manual pages", &[WRITTEN, FAILED, INVALID]),
];

const fn command(name: &'static str, purpose: &'static str, exits: &'static [ExitMeaning]) -> CommandFacts {
    CommandFacts { name, purpose, exits }
}

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
            let known = |exit: &&ExitMeaning| EXIT_CODES.iter().any(|known| known.0 == exit.0);
            assert_eq!(facts.exits.iter().filter(known).count(), facts.exits.len(), "{facts:?}");
            assert!(facts.exits.is_sorted_by_key(|exit| exit.0.len()), "{facts:?}");
        }
    }

    #[test]
    fn each_exit_code_is_one_of_a_command() {
        let used: Vec<&str> = COMMANDS.iter().flat_map(|facts| facts.exits).map(|exit| exit.0).collect();
        for (code, _) in EXIT_CODES {
            assert!(used.contains(&code), "no command ends with {code}");
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
