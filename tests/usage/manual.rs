//! Help, manual page, completions and version come from the same definitions.

use std::process::Command;

use aegis_kills::internals::Cli;
use clap::CommandFactory as _;

use crate::support::log_case;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;

/// All commands, each as its words.
fn commands() -> Vec<Vec<String>> {
    fn collect(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        for below in command.get_subcommands() {
            let words = [words, &[below.get_name().to_owned()]].concat();
            collect(below, &words, all);
            all.push(words);
        }
    }
    let mut all = Vec::new();
    collect(&Cli::command(), &[], &mut all);
    assert!(all.len() > 12, "{all:?}");
    all
}

fn output(args: &[&str]) -> String {
    Workplace::new().program(args).expect(0).stdout
}

#[test]
fn help_has_groups_and_examples() {
    let (short, long) = (output(&["load", "-h"]), output(&["load", "--help"]));
    for help in [&short, &long] {
        for heading in
            ["\nDatabase:\n", "\nEvents:\n", "\nStoring:\n", "\nRejects:\n", "\nOutput:\n", "\nExamples:\n"]
        {
            assert!(help.contains(heading), "{heading:?} is missing in: {help}");
        }
        // This is no login to hide.
        assert!(help.contains("postgresql://user@host:5432/database"), "{help}");
    }
    assert!(short.lines().count() * 2 < long.lines().count(), "{short}");
    let words = long.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("DATABASE_AWAY_TIMEOUT") && words.contains("ds of different servers collide"));
    assert!(output(&["--help"]).contains("129, 130, 143"));
    for words in commands() {
        let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        log_case(&args);
        let help = output(&args);
        assert!(help.contains("Usage: aegis-kills"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
    }
}

#[test]
fn the_manual_lists_all_commands_and_options() {
    let page = output(&["man"]);
    assert!(page.lines().any(|line| line.starts_with(".TH aegis-kills 1")), "{page}");
    for words in commands() {
        let heading = format!(".SH \"AEGIS-KILLS {}\"", words.join(" ").to_uppercase());
        assert!(page.contains(&heading), "{heading} is missing");
    }
    let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
    for option in ["--database-url", "--on-conflict", "--max-rejects", "--listen", "--overlap", "--watch"] {
        assert!(plain.contains(option), "{option} is missing");
    }
    for wanted in
        [".SH \"EXIT CODES\"", "KILLS_DRAIN_TIMEOUT", ".SH FILES", "zcat kills-*.ndjson.gz | aegis-kills"]
    {
        assert!(plain.contains(wanted), "{wanted} is missing in: {plain}");
    }
    assert!(page.contains("[\\fIFILE\\fR]..."), "{page}");
    // No warning of the program that sets the variable, if it is installed.
    let work = Workplace::new();
    work.write("page.1", &page);
    let set = Command::new("groff")
        .args(["-man", "-ww", "-Tutf8", "page.1"])
        .current_dir(work.path())
        .output_in_time();
    if let Ok(set) = set {
        assert!(set.status.success() && set.stderr.is_empty(), "{}", String::from_utf8_lossy(&set.stderr));
    }
}

#[test]
fn completions_list_all_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        log_case(shell);
        let script = output(&["completions", shell]);
        for words in commands() {
            assert!(script.contains(words.last().expect("a name")), "{shell}: {words:?}");
        }
        for option in ["on-conflict", "europe", "replace", "aegis"] {
            assert!(script.contains(option), "{shell}: {option}");
        }
    }
}

#[test]
fn bash_completion_works() {
    let work = Workplace::new();
    work.write("complete.bash", output(&["completions", "bash"]));
    let complete = |words: &[&str]| {
        let script = "source ./complete.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1));
            complete=$(complete -p aegis-kills); complete=${complete#*-F }; \"${complete%% *}\" aegis-kills \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut shell = Command::new("bash");
        shell.args(["-c", script, "bash", "aegis-kills"]).args(words);
        let output = shell.current_dir(work.path()).output_in_time().expect("bash");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (words, expected) in [
        (&["lo"][..], &["load"][..]),
        (&["embedded", "sta"], &["start", "status"]),
        (&["load", "--serv"], &["--server"]),
        (&["load", "--server", "eu"], &["europe"]),
        (&["load", "--on-conflict", ""], &["skip", "update"]),
        (&["schema", "print", "--layout", "a"], &["archive", "aegis"]),
    ] {
        log_case(words);
        assert_eq!(complete(words), expected);
    }
}

#[test]
fn the_version_includes_the_commit_if_known() {
    let version = output(&["--version"]);
    let root = env!("CARGO_MANIFEST_DIR");
    let number = format!("aegis-kills {}", env!("CARGO_PKG_VERSION"));
    match version.trim().rsplit_once(" (") {
        None => {
            assert_eq!(version.trim(), number);
            assert!(
                !std::path::Path::new(root).join(".git").exists(),
                "a checkout has a commit; after 'cargo package' remove target/package"
            );
        }
        Some((before, commit)) => {
            assert_eq!(before, number);
            // It need not be the latest: a commit may have followed the build.
            let object = format!("{}^{{commit}}", commit.trim_end_matches(')'));
            let git = Command::new("git").args(["-C", root, "cat-file", "-e", &object]).output_in_time();
            assert!(git.is_ok_and(|git| git.status.success()), "{object} is no commit of {root}");
        }
    }
}
