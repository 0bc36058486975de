//! `man` and `completions`: writes the manual pages and completion scripts.

use crate::cli::value_examples::possible_values;
use crate::cli::{Cli, ManArgs};
use crate::commands::common::output::write_output;
use crate::commands::manual_page::{file_name, page};
use crate::error::CommandError;
use crate::exit::ExitStatus;
use crate::settings::check_path;
use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory as _, ValueHint};
use clap_complete::Shell;
use std::fs;
use std::path::Path;

/// Writes a shell's completion script.
pub(crate) fn completions(shell: Shell) -> Result<ExitStatus, CommandError> {
    let mut script = Vec::new();
    let mut root = with_values(Cli::command());
    clap_complete::generate(shell, &mut root, "aegis-kills", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Bash {
        script = corrected_for_bash(&script, &root);
    }
    write_output(&script)?;
    Ok(ExitStatus::Complete)
}

/// Writes a page to standard output, or all pages into a directory.
pub(crate) fn manual(args: &ManArgs) -> Result<ExitStatus, CommandError> {
    let mut root = Cli::command();
    root.build();
    if let Some(directory) = &args.dir {
        check_path("--dir", directory, "a directory")?;
        write_pages(&root, directory)?;
    } else {
        write_output(&page(&root, args.command.as_deref()).context("cannot write the manual page")?)?;
    }
    Ok(ExitStatus::Complete)
}

fn write_pages(root: &Command, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| {
        format!("cannot create the directory {}\nhint: choose another one with --dir", directory.display())
    })?;
    let names = root.get_subcommands().map(Command::get_name).filter(|name| *name != "help");
    for command in [None].into_iter().chain(names.map(Some)) {
        let path = directory.join(file_name(command));
        fs::write(&path, page(root, command)?).with_context(|| {
            format!("cannot write {}\nhint: choose another directory with --dir", path.display())
        })?;
    }
    Ok(())
}

/// Adds the possible values of options, for completion, and that the other values are no files. The settings check
/// values, because variables need the same checks.
fn with_values(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        let values = match argument.get_long() {
            // Or a number.
            Some("battle") => vec!["from-name"],
            Some(option) => possible_values(option),
            None => return argument,
        };
        if !values.is_empty() {
            return argument.value_parser(PossibleValuesParser::new(values));
        }
        // The scripts would offer files.
        let is_unknown =
            argument.get_action().takes_values() && argument.get_value_hint() == ValueHint::Unknown;
        if is_unknown { argument.value_hint(ValueHint::Other) } else { argument }
    });
    command.mut_subcommands(with_values)
}

/// Corrects the library's script for bash.
fn corrected_for_bash(script: &str, root: &Command) -> String {
    // The library replaces the hyphen of the program's name differently in one of two places. Without this correction
    // nothing is completed after a subcommand.
    let script = script.replace("aegis__subcmd__kills", "aegis__kills");
    let mut blocks = Vec::new();
    find_file_blocks(root, "aegis__kills", &mut blocks);
    let (mut corrected, mut takes_files) = (String::new(), false);
    for line in script.lines() {
        corrected.push_str(line);
        corrected.push('\n');
        if let Some(block) = line.strip_prefix("        ").and_then(|line| line.strip_suffix(')')) {
            takes_files = blocks.iter().any(|name| name == block);
        } else if takes_files && line.starts_with("            opts=") {
            // The library offers options in place of files. Without a result, bash completes files.
            corrected.push_str("            [[ ${cur} == -* ]] || opts=\"\"\n");
        } else if line == "    prev=\"$3\"" {
            // bash splits --server=eu into three words.
            corrected.push_str(
                "    [[ ${cur} == \"=\" ]] && cur=\"\" && prev=\"=\" && (( COMP_CWORD++ ))\n    \
                 [[ ${prev} == \"=\" ]] && prev=\"${COMP_WORDS[COMP_CWORD-2]}\"\n",
            );
        }
    }
    corrected
}

/// The names that the script for bash has for the commands with a file or directory as argument.
fn find_file_blocks(command: &Command, block: &str, found: &mut Vec<String>) {
    let is_path = |argument: &clap::Arg| argument.get_value_hint() == ValueHint::AnyPath;
    if command.get_positionals().any(is_path) {
        found.push(block.to_owned());
    }
    for below in command.get_subcommands() {
        find_file_blocks(below, &format!("{block}__subcmd__{}", below.get_name()), found);
    }
}
