//! Help, manual page, completions and version come from the same definitions.

use std::process::Command;

use aegis_kills::internals::{Cli, Server};
use clap::CommandFactory as _;

use crate::support::cluster::Cluster;
use crate::support::dumps::small_event;
use crate::support::oracle::Layout;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{find_program, log_case, not_tried};

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
fn the_examples_with_jq_print_a_list() {
    if find_program(&["jq"], &[]).is_none() {
        return not_tried("the examples with jq", "jq is not installed");
    }
    let (work, database) = (Workplace::new(), Cluster::shared().database("examples"));
    work.write("dump.ndjson", small_event(1).to_string());
    work.load(&database, &["--server", "europe", "dump.ndjson"]).expect(0);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_aegis-kills")).parent().expect("a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    for command in ["verify", "health"] {
        let help = output(&[command, "--help"]);
        let example = help.lines().find(|line| line.contains(" | jq ")).expect("an example").trim();
        log_case(example);
        let shell = work.other_program("bash", &["-o", "pipefail", "-c", example]).env("PATH", &path);
        let printed = shell.env("DATABASE_URL", &database.url()).expect(0).stdout;
        let list: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert!(list.is_array(), "{printed}");
    }
}

/// The top-level commands.
fn top_commands() -> Vec<String> {
    commands().into_iter().filter(|words| words.len() == 1).flatten().filter(|name| name != "help").collect()
}

/// The names of the page's sections.
fn sections(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|name| name.trim_matches('"')).collect()
}

#[test]
fn each_command_has_a_page_and_the_overview_lists_them() {
    let work = Workplace::new();
    work.program(&["man", "--dir", "new/man1"]).expect(0);
    let read = |name: &str| std::fs::read_to_string(work.path().join("new/man1").join(name)).expect("a page");
    let overview = read("aegis-kills.1");
    assert_eq!(output(&["man"]), overview);
    assert_eq!(
        sections(&overview),
        [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "COMMANDS",
            "OPTIONS",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
            "EXAMPLES",
            "SEE ALSO"
        ]
    );
    let files = std::fs::read_dir(work.path().join("new/man1")).expect("a directory").count();
    assert_eq!(files, top_commands().len() + 1);
    for command in top_commands() {
        log_case(&command);
        let page = read(&format!("aegis-kills-{command}.1"));
        assert_eq!(output(&["man", &command]), page);
        assert!(overview.contains(&format!("aegis\\-kills\\-{command}(1)")), "{command}");
        let found = sections(&page);
        assert_eq!(found[..3], ["NAME", "SYNOPSIS", "DESCRIPTION"], "{command}");
        for section in ["OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(found.contains(&section), "{command}: {section}");
        }
        let has_settings = !["embedded", "generate", "completions", "man"].contains(&&*command);
        assert_eq!(found.contains(&"ENVIRONMENT"), has_settings, "{command}");
        // One line, which 'apropos' reads.
        let (_, name) = page.split_once(".SH NAME\n").expect("a name");
        let name: Vec<&str> = name.lines().take_while(|line| !line.starts_with('.')).collect();
        assert!(matches!(&name[..], [line] if line.starts_with("aegis\\-kills\\-")), "{name:?}");
        // Each option and each action.
        let definition = Cli::command();
        let definition = definition.find_subcommand(&command).expect("a command");
        let below: Vec<&clap::Command> = definition.get_subcommands().collect();
        for option in below.iter().flat_map(|below| below.get_arguments()).chain(definition.get_arguments()) {
            if let Some(long) = option.get_long() {
                let long = format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-"));
                assert!(page.contains(&long), "{command}: {long}");
            }
        }
        assert!(
            below.iter().all(|below| page.contains(&format!("\\fB{}\\fR", below.get_name()))),
            "{command}"
        );
    }
    let load = read("aegis-kills-load.1").replace("\\-", "-");
    for wanted in ["KILLS_DRAIN_TIMEOUT", "zcat kills-*.ndjson.gz | aegis-kills", "[\\fIFILE|DIR\\fR]..."] {
        assert!(load.contains(wanted), "{wanted} is missing in: {load}");
    }
    assert!(read("aegis-kills-delete.1").contains("[\\fIFILE|DIR\\fR]..."));
    check_pages(&work);
}

/// Neither program has a warning, if it is installed.
fn check_pages(work: &Workplace) {
    let pages = work.path().join("new/man1");
    let names: Vec<_> =
        std::fs::read_dir(&pages).expect("pages").map(|page| page.expect("a page").path()).collect();
    for page in &names {
        let set = Command::new("groff").args(["-man", "-ww", "-Tutf8"]).arg(page).output_in_time();
        if let Ok(set) = set {
            assert!(
                set.status.success() && set.stderr.is_empty(),
                "{}",
                String::from_utf8_lossy(&set.stderr)
            );
        }
        let name = Command::new("lexgrog").arg(page).output_in_time();
        if let Ok(name) = name {
            assert!(name.status.success(), "{}", String::from_utf8_lossy(&name.stdout));
        }
    }
}

#[test]
fn an_unknown_page_is_an_error() {
    let ended = Workplace::new().program(&["man", "lod"]).expect(2);
    assert!(ended.stderr.contains("load"), "{}", ended.stderr);
    let ended = Workplace::new().program(&["man", "--dir", "/dev/null/man1"]).expect(1);
    assert!(ended.stderr.contains("/dev/null/man1"), "{}", ended.stderr);
}

/// The commands of a help text, run in a home without any of its directories.
fn install(work: &Workplace, help: &str) {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_aegis-kills")).parent().expect("a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let lines = help.lines().filter(|line| line.starts_with("  ") && !line.contains("sudo"));
    let commands = ["mkdir ", "aegis-kills ", "grep ", "echo "];
    let lines =
        lines.map(str::trim_start).filter(|line| commands.iter().any(|start| line.starts_with(start)));
    let script =
        format!("set -e\n{}", lines.filter(|line| !line.contains("| man")).collect::<Vec<_>>().join("\n"));
    let home = work.path().to_str().expect("UTF-8");
    work.other_program("/bin/sh", &["-c", &script]).env("PATH", &path).env("HOME", home).expect(0);
}

#[test]
fn the_installation_works_on_a_fresh_account() {
    let work = Workplace::new();
    let help = output(&["completions", "--help"]) + &output(&["man", "--help"]);
    // A second installation adds no second line.
    install(&work, &help);
    install(&work, &help);
    for (file, words) in [
        (".bashrc", "source <(aegis-kills completions bash)"),
        (".local/share/bash-completion/completions/aegis-kills", "complete -F"),
        (".zfunc/_aegis-kills", "#compdef aegis-kills"),
        (".zshrc", "fpath=(~/.zfunc $fpath)"),
        (".config/fish/completions/aegis-kills.fish", "complete -c aegis-kills"),
        (".local/share/man/man1/aegis-kills.1", ".SH NAME"),
        (".local/share/man/man1/aegis-kills-load.1", ".SH NAME"),
    ] {
        let text = std::fs::read_to_string(work.path().join(file)).expect(file);
        assert!(text.contains(words), "{file}");
        assert!(!file.ends_with("rc") || text.lines().count() == 1, "{file}: {text}");
    }
    // bash without the package bash-completion.
    let sourced = "PATH=$1:$PATH; source ./.bashrc; complete -p aegis-kills";
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_aegis-kills")).parent().expect("a directory");
    let directory = program.to_str().expect("UTF-8");
    work.other_program("bash", &["-c", sourced, "bash", directory]).expect(0);
}

#[test]
fn completions_list_all_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        log_case(shell);
        let script = output(&["completions", shell]);
        for words in commands() {
            assert!(script.contains(words.last().expect("a name")), "{shell}: {words:?}");
        }
        for option in ["on-conflict", "europe", "replace", "aegis", "citus"] {
            assert!(script.contains(option), "{shell}: {option}");
        }
    }
}

#[test]
fn bash_completion_works() {
    let work = Workplace::new();
    work.write("complete.bash", output(&["completions", "bash"]));
    let complete = |words: &[&str]| {
        // compopt works only while a user completes.
        let script = "source ./complete.bash; compopt() { :; }; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1));
            complete=$(complete -p aegis-kills); complete=${complete#*-F }; \"${complete%% *}\" aegis-kills \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut shell = Command::new("bash");
        shell.args(["-c", script, "bash", "aegis-kills"]).args(words);
        let output = shell.current_dir(work.path()).output_in_time().expect("bash");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (layouts, servers) = (Layout::ALL.map(Layout::name), Server::ALL.map(Server::name));
    for (words, expected) in [
        (&["lo"][..], &["load"][..]),
        (&["embedded", "sta"], &["start", "status"]),
        (&["load", "--serv"], &["--server"]),
        (&["load", "--server", "eu"], &["europe"]),
        (&["load", "--on-conflict", ""], &["skip", "update"]),
        (&["schema", "print", "--layout", "ar"], &["archive"]),
        (&["schema", "print", "--layout", ""], &layouts),
        (&["schema", "apply", "--distributed", ""], &["citus"]),
        (&["load", "--server", "=", "eu"], &["europe"]),
        (&["load", "--server", "="], &servers),
        (&["load", "--battle", ""], &["from-name"]),
        // Neither files nor values.
        (&["load", "--events-at", "da"], &["da"]),
        (&["delete", "--before", ""], &[""]),
        (&["man", "lo"], &["load"]),
        // No result: bash completes files.
        (&["load", ""], &[""]),
        (&["load", "--server", "europe", ""], &[""]),
        (&["load", "--server", "europe", "--force", "dump"], &[""]),
        (&["delete", "--server", "europe", ""], &[""]),
        (&["embedded", "start", ""], &[""]),
        (&["verify", "--server", "europe", "a.gz", "--ids"], &["--ids-only"]),
    ] {
        log_case(words);
        assert_eq!(complete(words), expected);
    }
    let script = output(&["completions", "bash"]);
    assert!(
        script.lines().filter(|line| line.contains("complete -F")).all(|line| line.contains("-o default"))
    );
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
            match git {
                Ok(git) => assert!(git.status.success(), "{object} is no commit of {root}"),
                Err(error) => not_tried("the commit of the version", &format!("git cannot be run: {error}")),
            }
        }
    }
}
