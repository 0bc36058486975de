//! Errors in the arguments, in the two lines of all errors of this program: the error, then a hint.

use crate::cli::Cli;
use crate::shell::shell_quoted;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, Error};
use std::fmt::Write as _;
use std::path::Path;

/// The text of an error in these arguments: the error in one line, then the suggestion of clap or of this program, else the
/// command that prints the help.
pub(crate) fn in_two_lines(error: &Error, arguments: &[String]) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let what = paragraphs.next().unwrap_or_default().trim_end();
    let tips = paragraphs.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("tip: "));
    // The advice to pass a misspelled option as a file leads astray.
    let tips: Vec<&str> = tips.filter(|tip| !tip.starts_with("to pass ")).collect();
    let hint = remedy(error).or_else(|| (!tips.is_empty()).then(|| tips.join("; ")));
    let hint = hint.unwrap_or_else(|| format!("{} lists what is expected", help_command(arguments)));
    format!("{}\nhint: {hint}", in_one_line(what))
}

/// Joins the lines of an error: `invalid value` and `[possible values: …]`, or a list of missing arguments.
fn in_one_line(what: &str) -> String {
    let mut line = String::new();
    for part in what.lines().map(str::trim) {
        if let Some(values) = part.strip_prefix("[possible values: ").and_then(|part| part.strip_suffix(']'))
        {
            // Writing to a String cannot fail.
            let _ = write!(line, " (possible values: {values})");
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(part);
        }
    }
    line
}

fn remedy(error: &Error) -> Option<String> {
    let value = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => value(ContextKind::InvalidArg).and_then(|option| owners(&option)),
        ErrorKind::InvalidSubcommand => value(ContextKind::InvalidSubcommand).and_then(|word| file(&word)),
        _ => None,
    }
}

/// The help command of the command in the arguments.
fn help_command(arguments: &[String]) -> String {
    let root = Cli::command();
    let (mut command, mut words) = (&root, "aegis-kills".to_owned());
    for argument in arguments {
        if let Some(below) = command.find_subcommand(argument) {
            command = below;
            words = format!("{words} {argument}");
        }
    }
    format!("'{words} --help'")
}

/// Names the commands that have this option.
fn owners(option: &str) -> Option<String> {
    let name = option.strip_prefix("--")?;
    let mut commands = Vec::new();
    collect_owners(&Cli::command(), name, "aegis-kills", &mut commands);
    let (last, others) = commands.split_last()?;
    let named = if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
    Some(format!("'{option}' is an option of {named}; put it after the command"))
}

fn collect_owners(command: &Command, name: &str, path: &str, owners: &mut Vec<String>) {
    for subcommand in command.get_subcommands() {
        let path = format!("{path} {}", subcommand.get_name());
        if subcommand.get_arguments().any(|argument| argument.get_long() == Some(name)) {
            owners.push(format!("'{path}'"));
        }
        collect_owners(subcommand, name, &path, owners);
    }
}

/// The command that loads a file that was given in place of a command.
fn file(word: &str) -> Option<String> {
    let is_file = word == "-" || word.contains(['/', '.']) || Path::new(word).exists();
    is_file.then(|| format!("to load a file, run: aegis-kills load {}", shell_quoted(word)))
}
