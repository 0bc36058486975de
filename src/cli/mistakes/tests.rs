//! A test of the hints of all arguments. `tests/usage/error_texts.txt` has whole texts.

use crate::cli::Cli;
use crate::cli::mistakes::in_two_lines;
use crate::cli::value_examples::example_of;
use clap::{Command, CommandFactory as _, Parser as _};

/// The text of the error in these arguments, without the program.
fn text(arguments: &[&str]) -> Option<String> {
    let error = Cli::try_parse_from(["aegis-kills"].iter().chain(arguments)).err()?;
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    error.use_stderr().then(|| in_two_lines(&error, &arguments))
}

fn commands() -> Vec<(Vec<String>, Command)> {
    fn collect(words: &[String], command: &Command, found: &mut Vec<(Vec<String>, Command)>) {
        for below in command.get_subcommands() {
            let words = [words, &[below.get_name().to_owned()]].concat();
            collect(&words, below, found);
            found.push((words, below.clone()));
        }
    }
    let mut found = Vec::new();
    collect(&[], &Cli::command(), &mut found);
    found
}

#[test]
fn each_mistake_with_each_argument_has_a_hint_to_follow() {
    for (words, command) in commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let check = |more: &[&str]| {
            let arguments = [&words[..], more].concat();
            let Some(text) = text(&arguments) else { panic!("no error in {arguments:?}") };
            assert!(text.contains("\nhint: ") && !text.contains("lists what is expected"), "{text}");
            assert_eq!(text.lines().count(), 2, "{text}");
        };
        for argument in command.get_arguments() {
            let Some(name) = argument.get_long() else { continue };
            let option = format!("--{name}");
            if !argument.get_action().takes_values() {
                check(&[format!("{option}=yes").as_str()]);
                continue;
            }
            check(&[option.as_str()]);
            let example = example_of(name).unwrap_or_else(|| panic!("no example of {option}"));
            let valid = text(&[&words[..], &[option.as_str(), example.value]].concat());
            assert!(valid.is_none_or(|text| !text.contains("value")), "{option} {}", example.value);
        }
        check(&["--no-such-option"]);
        check(&["-Z"]);
    }
}
