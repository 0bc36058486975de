//! Connection strings in place of any argument or variable: no part of a password is printed.

use std::collections::BTreeSet;
use std::fs;

use aegis_kills::internals::{Cli, libpq_variables};
use clap::{Arg, Command, CommandFactory as _};

use crate::security::secrets::assert_clean;
use crate::support::dumps::small_event;
use crate::support::log_case;
use crate::support::program::{Ended, Program, Workplace};

/// Passwords with white space, line feeds, quotes, encoded signs and misspelled names, in each form of a connection string.
const MISPLACED: [&str; 36] = [
    "postgresql://me:zebra@db/kills",
    "postgresql://me:1zebra zebra @db/kills",
    "postgresql://me:1\nzebra@db/kills",
    "postgresql://me:1\n\nzebra@db/kills",
    "postgresql:/me:1 zebra@db/kills",
    "postgresql://me:zebra%40127.0.0.1:1/kills",
    "postgresql://me:1,zebra%40127.0.0.1:1/kills",
    "mysql://me:1 zebra@db/kills",
    "postgresql://db/kills?pasword=zebra",
    "postgresql://db/kills?password=1 zebra&port=1",
    "postgresql://db/kills?options=-c%20my.token=zebra",
    "postgresql://db/kills?options=-c%20my.token=1%20zebra",
    "postgresql://db/kills?sslrootcert=me%3A1%20zebra%40db",
    "postgresql://127.0.0.1:1/me%3A1%20zebra%40db",
    "host=db password='zebra zebra",
    "host=db password = zebra",
    "host=db password=1zebra zebra",
    "host=db password=1&zebra port=1",
    "password=\"1 zebra\"",
    "sslrootcert='me:1 zebra@db' host=127.0.0.1",
    "//me:zebra@db/kills",
    "me:zebra@db/kills",
    "me:1 zebra zebra@db:5432/kills",
    "me:\"zebra\"@db/kills",
    "me:it's zebra@db/kills",
    "me:1,zebra\tzebra@db/kills",
    "me:1\nzebra@db/kills",
    "me:1\r\n\thint: zebra@db",
    "postgresql%3A%2F%2Fme%3Azebra%40db%2Fkills",
    "db:5432:kills:me:zebra",
    "db:5432:kills:me:1 zebra",
    "postgresql://db/kills?user=me&password=1@zebra",
    "postgresql://127.0.0.1:1/kills?user=me&password=1@zebra",
    "postgresql://127.0.0.1:1/kills?password=1 @zebra",
    "127.0.0.1:1:kills:me:1://zebra",
    "me:1://zebra@127.0.0.1/kills",
];

/// A program whose server is unreachable.
fn program(work: &Workplace, args: &[&str]) -> Program {
    let program = work.program(args).env("PGHOST", "127.0.0.1").env("PGPORT", "1");
    program.env("DATABASE_AWAY_TIMEOUT", "1").env("DATABASE_CONNECTION_TIMEOUT", "200")
}

#[track_caller]
fn assert_run_is_clean(program: Program, what: &str) -> Ended {
    let ended = program.run();
    assert_clean(what, &format!("{}{}", ended.stdout, ended.stderr));
    ended
}

/// The program and its commands, each with its words, such as `schema print`.
fn commands() -> Vec<(Vec<String>, Command)> {
    fn collect(words: &[String], command: &Command, found: &mut Vec<(Vec<String>, Command)>) {
        for below in command.get_subcommands() {
            collect(&[words, &[below.get_name().to_owned()]].concat(), below, found);
        }
        found.push((words.to_vec(), command.clone()));
    }
    let mut found = Vec::new();
    collect(&[], &Cli::command(), &mut found);
    found
}

/// Arguments that complete a command, so that it checks the value of the tested argument.
fn completion(command: &str, tested: &str) -> &'static [&'static str] {
    match (command, tested) {
        (_, "files") | ("delete", "before") | ("generate", "events") | ("completions", "shell") => &[],
        ("load" | "verify" | "delete", _) => &["dump"],
        ("generate", _) => &["--events", "1"],
        ("completions", _) => &["bash"],
        _ => &[],
    }
}

/// The arguments that give a text to an argument. Of two forms of an option, `number` selects one.
fn given(argument: &Arg, text: &str, number: usize) -> Vec<String> {
    let Some(name) = argument.get_long() else { return vec![text.to_owned()] };
    if argument.get_action().takes_values() && number.is_multiple_of(2) {
        vec![format!("--{name}"), text.to_owned()]
    } else {
        vec![format!("--{name}={text}")]
    }
}

#[test]
fn no_argument_prints_a_misplaced_password() {
    let work = Workplace::new();
    work.write("dump", format!("no event\n{}\n", small_event(1)));
    let mut arguments = BTreeSet::new();
    for (words, command) in commands() {
        let path = words.join(" ");
        let check = |tested: &str, given: Vec<String>| {
            let completion = completion(&path, tested).iter().map(|&word| word.to_owned());
            let args: Vec<String> = words.iter().cloned().chain(given).chain(completion).collect();
            log_case(&args);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let ended = assert_run_is_clean(program(&work, &args), &format!("{args:?}"));
            // Of the texts, only some are URLs. `schema print` needs no database.
            let is_database = tested == "database_url" || path == "schema print" && tested == "embedded";
            assert!(ended.code != 0 || is_database, "{args:?}: {}", ended.stdout);
        };
        for (number, text) in MISPLACED.into_iter().enumerate() {
            for argument in command.get_arguments() {
                let tested = argument.get_id().as_str();
                arguments.insert(format!("{path} {tested}"));
                // The values of flags take one way through the program.
                if argument.get_action().takes_values() || number.is_multiple_of(5) {
                    check(tested, given(argument, text, number));
                }
            }
            check("", vec![format!("--databse-url={text}")]);
            check("", vec![format!("-Z{text}")]);
            if command.get_positionals().next().is_none() {
                check("", vec![text.to_owned()]);
            }
        }
    }
    // The options of the commands and their groups are found.
    for name in
        ["load database_url", "verify battle", "generate seed", "schema print schema", "embedded url dir"]
    {
        assert!(arguments.contains(name), "{name}: {arguments:?}");
    }
}

/// The variables of the program, as its help names them.
fn own_variables() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, mut command) in commands() {
        let help = command.render_long_help().to_string();
        let words = help.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
        let is_own =
            |word: &&str| ["KILLS_", "DATABASE_", "ALBION_"].iter().any(|start| word.starts_with(start));
        found.extend(words.filter(is_own).map(str::to_owned));
    }
    assert!(found.contains("KILLS_LEDGER_SCHEMA") && found.contains("KILLS_DRAIN_TIMEOUT"), "{found:?}");
    found
}

#[test]
fn no_variable_prints_a_misplaced_password() {
    let work = Workplace::new();
    work.write("dump", format!("no event\n{}\n", small_event(1)));
    let mut names = own_variables();
    names.extend(libpq_variables().chain(["PGREQUIRESSL", "RUST_LOG"]).map(str::to_owned));
    for (number, text) in MISPLACED.into_iter().enumerate() {
        for (name, parity) in names.iter().zip([0, 1].into_iter().cycle()) {
            log_case((name, text));
            let command = if number % 2 == parity { &["health", "-v"][..] } else { &["load", "dump", "-v"] };
            assert_run_is_clean(program(&work, command).env(name, text), name);
        }
        work.write(".env", format!("KILLS_LISTEN=\"{}\"\n", text.replace('"', "\\\"")));
        assert_run_is_clean(work.program(&["load", "dump", "--dry-run"]), ".env");
        fs::remove_file(work.path().join(".env")).expect("the file");
        // The logger of a command without settings prints no invalid filter either.
        let ended = work.program(&["completions", "bash"]).env("RUST_LOG", text).expect(0);
        assert_clean("RUST_LOG", &ended.stderr);
    }
}

/// The place of the value is shown.
#[test]
fn a_misplaced_connection_string_is_concealed_as_a_whole() {
    let work = Workplace::new();
    let url = "postgresql://me:zebra@db/kills";
    for (args, code, shown) in [
        (&["load", url][..], 1, "error: postgresql://…: No such file or directory\nhint: use --database-url"),
        (&["verify", "me:1\nzebra@db/kills"], 1, "error: postgresql://…: No such file"),
        (&["health", url], 2, "unexpected argument 'postgresql://…'"),
        (&[url], 2, "unrecognized subcommand 'postgresql://…'"),
        (&["load", "--databse-url=postgresql://me:zebra@db/kills"], 2, "'--databse-url'"),
        (&["load", "--server", url], 2, "invalid value 'postgresql://…' for '--server'"),
        (&["generate", "--seed", "me:1\nzebra@db"], 2, "invalid value 'postgresql://…' for '--seed'"),
        (&["schema", "print", "--schema", url], 2, "'--schema' (expected a name, not a connection string)"),
        (
            &["schema", "print", "--ledger-schema", "me:zebra@db"],
            2,
            "invalid value 'postgresql://…' for '--ledger-schema'",
        ),
        (&["load", "--database-url me:zebra@db/kills"], 2, "unexpected argument '--…'"),
        (&["load", "--", "--database-url=me:zebra@db/kills"], 1, "error: postgresql://…: No such file"),
        (&["man", "--dir", url], 2, "invalid value 'postgresql://…' for '--dir' (expected a directory"),
    ] {
        let ended = work.program(args).env("DATABASE_URL", url).expect(code).says(&[shown]);
        assert_clean(&format!("{args:?}"), &format!("{}{}", ended.stdout, ended.stderr));
    }
    assert!(work.program(&["--help"]).expect(0).stdout.contains("Exit codes"));
}

/// No word of a message is taken for a part of a secret, even if a password contains it.
#[test]
fn other_texts_stay_whole() {
    let work = Workplace::new();
    work.write("dump", format!("{{\"ns:a@b\": {}}}\n", small_event(1)));
    let check = |args: &[&str], url: &str, code: i32, words: &[&str]| {
        log_case((args, url));
        let program = work.program(args).env("DATABASE_URL", url).env("DATABASE_AWAY_TIMEOUT", "1");
        let ended = program.env("DATABASE_CONNECTION_TIMEOUT", "200").run().expect(code);
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} are missing in {text}");
    };
    for password in ["refused, server,hint", "Unhealthy%20Connection", "a, 127.0.0.1, start the"] {
        let url = format!("postgresql://me:{password}@127.0.0.1:1/kills");
        check(
            &["health"],
            &url,
            6,
            &["Unhealthy: 127.0.0.1:1: Connection refused\nhint: start the server, "],
        );
    }
    let url = "postgresql://127.0.0.1:1/kills";
    check(&["load", "--dry-run", "--events-at", "ns:a@b", "dump"], url, 0, &["1  can be loaded"]);
    // A key can also be a login, so it is not printed.
    let words = ["no value at 'postgresql://…', the path of --events-at"];
    check(&["load", "--dry-run", "--events-at", "ns:b@a", "dump"], url, 3, &words);
    let name = "kills of 12:30 @eu, all of today.ndjson";
    check(&["load", "--dry-run", name], url, 1, &[&format!("error: {name}: No such file")]);
}

/// The commands that a report suggests, after the database's URL or another option held a password.
#[test]
fn suggested_commands_repeat_no_secret() {
    let work = Workplace::new();
    work.write("dump", format!("no event\n{}\n", small_event(1)));
    let load = |args: &[&str]| {
        let program = work.program(&["load", "dump"]).args(args).env("DATABASE_AWAY_TIMEOUT", "1");
        let ended = program.env("DATABASE_CONNECTION_TIMEOUT", "200").run();
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert_clean(&format!("{args:?}"), &text);
        text
    };
    for text in MISPLACED {
        load(&["--dry-run", "--database-url", text]);
        load(&["--database-url", text]);
    }
    let url = "postgresql://me@127.0.0.1:1/kills?options=-c%20my.secret=zebra";
    assert!(load(&["--dry-run", "--database-url", url]).contains("--database-url 'postgresql://…'"));
    let url = "postgresql://me@127.0.0.1:1/kills?connect_timeout=2";
    let shown = load(&["--dry-run", "--database-url", url]);
    assert!(shown.contains(&format!("--database-url '{url}'")), "{shown}");
}
