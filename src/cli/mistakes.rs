//! Errors in the arguments, in the two lines of all errors of this program: the error, then a hint.
//!
//! Invariant: each hint has something to write, to remove or to run.

#[cfg(test)]
mod tests;

use crate::cli::Cli;
use crate::cli::value_examples::{ValueExample, example_of};
use crate::shell::shell_quoted;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, Error};
use std::fmt::Write as _;
use std::path::Path;

/// Options that a command has no need of, and why. Users know them from other commands.
const NEEDLESS: [(&str, &str, &str); 3] = [
    ("aegis-kills verify", "--force", "verify reads every file and ignores the ledger, so remove --force"),
    ("aegis-kills verify", "--reread", "verify reads every file, so remove --reread"),
    ("aegis-kills verify", "--dry-run", "verify writes nothing, so remove --dry-run"),
];

/// Options of psql that name the database.
const OF_PSQL: [&str; 7] = ["-U", "-d", "--host", "--port", "--user", "--username", "--dbname"];

/// The text of an error in these arguments: the error in one line, then what to write instead.
pub(crate) fn in_two_lines(error: &Error, arguments: &[String]) -> String {
    let given = GivenCommand::new(arguments);
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let what = in_one_line(paragraphs.next().unwrap_or_default().trim_end());
    let tips = paragraphs.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("tip: "));
    // The advice to pass a misspelled option as a file leads astray, and so does the help for one with another name.
    let tips: Vec<&str> =
        tips.filter(|tip| !tip.starts_with("to pass ") && !tip.ends_with("'--help'")).collect();
    let tip = || (!tips.is_empty()).then(|| tips.join("; "));
    let remedy = remedy(error, &given).or_else(tip).or_else(|| given.remedy(error));
    let hint = remedy.unwrap_or_else(|| format!("'{} --help' lists what is expected", given.path));
    format!("{}\nhint: {hint}", own_words(error, &given).unwrap_or(what))
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

/// The error where the text of clap lacks the valid values, or names only a part of what is missing.
fn own_words(error: &Error, given: &GivenCommand) -> Option<String> {
    match error.kind() {
        ErrorKind::MissingRequiredArgument if given.path == "aegis-kills delete" => {
            Some("error: nothing to delete given".to_owned())
        }
        ErrorKind::InvalidValue if value(error)?.is_empty() => {
            let argument = argument(error)?;
            let option = option_of(&argument);
            let wanted = example(&argument)?.wanted();
            Some(format!("error: a value is required for '{option}' ({wanted})"))
        }
        ErrorKind::ValueValidation => {
            let (argument, value) = (argument(error)?, value(error)?);
            let wanted = example(&argument)?.wanted();
            Some(format!("error: invalid value '{value}' for '{}' ({wanted})", option_of(&argument)))
        }
        ErrorKind::MissingRequiredArgument => Some(format!("error: '{}' is required", argument(error)?)),
        ErrorKind::TooManyValues => {
            let argument = argument(error)?;
            Some(format!("error: unexpected value '{}' for '{}'", value(error)?, option_of(&argument)))
        }
        _ => None,
    }
}

/// What to write, if this program knows more than the suggestions of clap.
fn remedy(error: &Error, given: &GivenCommand) -> Option<String> {
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let option = argument(error)?;
            negative(&option)
                .or_else(|| needless(&option, given))
                .or_else(|| version(&option))
                .or_else(|| given.database(&option))
                .or_else(|| owners(&option, given))
        }
        ErrorKind::InvalidSubcommand => context(error, ContextKind::InvalidSubcommand)
            .and_then(|word| version(&word).or_else(|| file(&word))),
        ErrorKind::InvalidValue if value(error)?.is_empty() => {
            let argument = argument(error)?;
            Some(format!("add one, such as: {}", with_example(&argument, example(&argument)?)))
        }
        ErrorKind::ValueValidation => {
            let (argument, value) = (argument(error)?, value(error)?);
            Some(match whole_number(&value) {
                Some(number) if ["--events", "--seed"].contains(&option_of(&argument)) => {
                    format!("write: {} {number}", option_of(&argument))
                }
                _ => format!("write a number, such as: {}", with_example(&argument, example(&argument)?)),
            })
        }
        ErrorKind::TooManyValues => Some(format!("write {} without a value", option_of(&argument(error)?))),
        ErrorKind::ArgumentConflict => {
            let argument = argument(error)?;
            let prior = context(error, ContextKind::PriorArg).unwrap_or_default();
            Some(if prior == argument {
                format!("write {} once", option_of(&argument))
            } else if [&prior, &argument].into_iter().any(|one| option_of(one) == "--before") {
                "delete old events and the events of dumps by two commands, one with --before and one with the dumps"
                    .to_owned()
            } else {
                "remove one of them".to_owned()
            })
        }
        ErrorKind::MissingRequiredArgument => given.missing(error),
        ErrorKind::InvalidUtf8 => {
            Some("write the values of options in UTF-8; only file names can have other bytes".to_owned())
        }
        _ => None,
    }
}

struct GivenCommand {
    command: Command,
    /// Its words.
    path: String,
}

impl GivenCommand {
    fn new(arguments: &[String]) -> Self {
        let (mut command, mut path) = (Cli::command(), "aegis-kills".to_owned());
        for argument in arguments {
            if let Some(below) = command.find_subcommand(argument).cloned() {
                command = below;
                path = format!("{path} {argument}");
            }
        }
        Self { command, path }
    }

    /// What the command accepts.
    fn remedy(&self, error: &Error) -> Option<String> {
        match error.kind() {
            ErrorKind::InvalidSubcommand => {
                let names: Vec<&str> = self.command.get_subcommands().map(Command::get_name).collect();
                // `help load WORD`: the command that was found has no subcommands.
                Some(if names.is_empty() {
                    format!("run: {} --help", self.path)
                } else {
                    format!("use one of {}", names.join(", "))
                })
            }
            ErrorKind::UnknownArgument => {
                let unknown = argument(error)?;
                Some(if unknown.starts_with('-') { self.options(&unknown) } else { self.positional() })
            }
            ErrorKind::InvalidValue => {
                let path = &self.path;
                let name = self.command.get_positionals().next()?.get_value_names()?.first()?.to_string();
                let value = if name == "COMMAND" { "load" } else { example_of(&name)?.value };
                Some(format!("such as: {path} {value}"))
            }
            _ => None,
        }
    }

    /// The options of the command, in place of an unknown one. A command that takes files has too many for a line.
    fn options(&self, unknown: &str) -> String {
        let path = &self.path;
        if self.command.get_arguments().any(|argument| argument.get_id() == "files") {
            let file = if Path::new(unknown).exists() {
                format!("for the file of this name, write ./{unknown}")
            } else {
                "file names need no option".to_owned()
            };
            return format!("list the options with: {path} --help; {file}");
        }
        let named = self.command.get_arguments().filter_map(clap::Arg::get_long);
        let options: Vec<String> = named.map(|name| format!("--{name}")).collect();
        if options.is_empty() {
            return format!("remove it: '{path}' has no options of its own");
        }
        format!("use one of {}", options.join(", "))
    }

    /// The way to name the database, in place of an option of psql.
    fn database(&self, option: &str) -> Option<String> {
        let has_database =
            self.command.get_arguments().any(|argument| argument.get_long() == Some("database-url"));
        (has_database && OF_PSQL.contains(&option)).then(|| {
            "name the database with --database-url postgresql://user@host:5432/database, or set PGHOST, PGPORT, PGUSER \
             and PGDATABASE"
                .to_owned()
        })
    }

    /// The positional argument of the command, in place of another.
    fn positional(&self) -> String {
        let path = &self.path;
        match self.command.get_positionals().next() {
            Some(one) => format!("remove it: '{path}' takes one {one}"),
            None => format!("remove it: '{path}' takes only options"),
        }
    }

    /// What to add.
    fn missing(&self, error: &Error) -> Option<String> {
        if self.path == "aegis-kills delete" {
            let before = with_example("--before", example("--before")?);
            return Some(format!("add a time, such as {before}, or the dumps whose events to delete"));
        }
        let missing = argument(error)?;
        let example = with_example(&missing, example(&missing)?);
        Some(if missing.starts_with("--") {
            format!("add {example}")
        } else {
            format!("such as: {} {example}", self.path)
        })
    }
}

fn context(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(value) => Some(value.clone()),
        ContextValue::Strings(values) => values.first().cloned(),
        _ => None,
    }
}

/// The argument of the error, such as `--server <NAME>` or `<DIR>`.
fn argument(error: &Error) -> Option<String> {
    context(error, ContextKind::InvalidArg)
}

fn value(error: &Error) -> Option<String> {
    context(error, ContextKind::InvalidValue)
}

/// The option without the name of its value, and without the dots of one that can be repeated.
fn option_of(argument: &str) -> &str {
    argument.split([' ', '=']).next().unwrap_or(argument).trim_end_matches('.')
}

fn example(argument: &str) -> Option<ValueExample> {
    let option = option_of(argument);
    match option.strip_prefix("--") {
        Some(name) => example_of(name),
        None => example_of(option.trim_matches(|letter: char| !letter.is_alphanumeric())),
    }
}

fn with_example(argument: &str, example: ValueExample) -> String {
    let option = option_of(argument);
    if option.starts_with("--") { format!("{option} {}", example.value) } else { example.value.to_owned() }
}

/// The number in digits, if the text is a whole number with an exponent, a point or separators.
fn whole_number(text: &str) -> Option<String> {
    const LARGEST: f64 = 1e15;
    let plain: String = text.chars().filter(|letter| !"_,' ".contains(*letter)).collect();
    let number: f64 = plain.parse().ok()?;
    let is_whole = (0.0..=LARGEST).contains(&number) && number.fract() == 0.0;
    is_whole.then(|| format!("{number:.0}"))
}

/// The advice for a value such as -90d, which looks like an option.
fn negative(option: &str) -> Option<String> {
    let is_negative = option.strip_prefix('-')?.starts_with(|letter: char| letter.is_ascii_digit());
    is_negative.then(|| "numbers and ages have no sign, so remove the '-'".to_owned())
}

/// The command that prints the version.
fn version(word: &str) -> Option<String> {
    let is_version = ["--version", "-V", "version"].contains(&word);
    is_version.then(|| "to print the version, run: aegis-kills --version".to_owned())
}

fn needless(option: &str, given: &GivenCommand) -> Option<String> {
    let found = NEEDLESS.iter().find(|(path, name, _)| *path == given.path && *name == option);
    found.map(|(_, _, why)| (*why).to_owned())
}

/// Names the commands that have this option.
fn owners(option: &str, given: &GivenCommand) -> Option<String> {
    let name = option.strip_prefix("--")?;
    let mut commands = Vec::new();
    collect_owners(&Cli::command(), name, "aegis-kills", &mut commands);
    // Before the command, or between `schema` and `apply`, no option of the command is known.
    let is_too_early = commands.iter().any(|path| path.starts_with(&given.path));
    commands.retain(|path| !is_too_early || path.starts_with(&given.path));
    let (last, others) = commands.split_last()?;
    let quoted = |path: &String| format!("'{path}'");
    let last_quoted = quoted(last);
    let named = if others.is_empty() {
        last_quoted
    } else {
        format!("{} and {last_quoted}", others.iter().map(quoted).collect::<Vec<_>>().join(", "))
    };
    Some(if is_too_early {
        format!("'{option}' is an option of {named}; put it after the command")
    } else {
        format!("'{option}' is an option of {named}, so remove it from '{}'", given.path)
    })
}

fn collect_owners(command: &Command, name: &str, path: &str, owners: &mut Vec<String>) {
    for subcommand in command.get_subcommands() {
        let path = format!("{path} {}", subcommand.get_name());
        if subcommand.get_arguments().any(|argument| argument.get_long() == Some(name)) {
            owners.push(path.clone());
        }
        collect_owners(subcommand, name, &path, owners);
    }
}

/// The command that loads a file that was given in place of a command.
fn file(word: &str) -> Option<String> {
    let is_file = word == "-" || word.contains(['/', '.']) || Path::new(word).exists();
    // A URL of the database is no file.
    let is_file = is_file && !word.contains("://");
    is_file.then(|| format!("to load a file, run: aegis-kills load {}", shell_quoted(word)))
}
