//! Suggestions for invalid arguments that the parser cannot make.

use crate::cli::Cli;
use crate::shell::shell_quoted;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, Error};
use std::path::Path;

/// Adds a suggestion to the error, if there is one.
pub(crate) fn with_remedy(mut error: Error) -> Error {
    let value = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.clone()),
        _ => None,
    };
    let remedy = match error.kind() {
        ErrorKind::UnknownArgument => value(ContextKind::InvalidArg).and_then(|option| owners(&option)),
        ErrorKind::InvalidSubcommand => value(ContextKind::InvalidSubcommand).and_then(|word| file(&word)),
        _ => None,
    };
    if let Some(remedy) = remedy {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(remedy)]));
    }
    error
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
    is_file.then(|| format!("to load a file: 'aegis-kills load {}'", shell_quoted(word)))
}
