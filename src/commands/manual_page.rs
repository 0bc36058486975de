//! Renders the manual pages: an overview, and one page per command.

use crate::cli::variables_help::{TIMES, VARIABLES_WITHOUT_OPTION};
use crate::commands::manual_facts::{COMMANDS, CommandFacts, FILES, PURPOSE};
use crate::exit::EXIT_CODES;
use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

const PROGRAM: &str = "aegis-kills";

/// An item with its explanation.
type ManualItem = (String, String);

/// The file name of a page; `None` is the overview.
pub(crate) fn file_name(command: Option<&str>) -> String {
    format!("{}.1", title(command))
}

fn title(command: Option<&str>) -> String {
    command.map_or_else(|| PROGRAM.to_owned(), |command| format!("{PROGRAM}-{command}"))
}

/// A page in roff. `root` is the built command line of the program; `None` is the overview.
pub(crate) fn page(root: &Command, name: Option<&str>) -> io::Result<String> {
    let title = title(name);
    // Without a date, so that the same version has the same page.
    let mut page =
        format!(".TH {title} 1 \"\" \"{PROGRAM} {}\" \"User Commands\"\n", crate::VERSION).into_bytes();
    let command = name.and_then(|name| root.find_subcommand(name));
    let facts = COMMANDS.iter().find(|facts| Some(facts.name) == name);
    match command.zip(facts) {
        None => write_overview(root, &mut page)?,
        Some((command, facts)) => write_command(command, facts, &title, &mut page)?,
    }
    String::from_utf8(page).map_err(io::Error::other)
}

fn write_overview(root: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    write_name(&mut roff, PROGRAM, PURPOSE);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(PROGRAM), roman(" COMMAND [OPTIONS] [ARGUMENT]...")]);
    roff.to_writer(page)?;
    Man::new(root.clone()).render_description_section(page)?;
    let mut roff = Roff::new();
    let commands = COMMANDS.iter().map(|facts| (format!("{PROGRAM}-{}(1)", facts.name), facts.purpose));
    write_items(&mut roff, "COMMANDS", commands);
    roff.to_writer(page)?;
    write_options(root, page)?;
    let mut roff = Roff::new();
    write_items(&mut roff, "EXIT STATUS", EXIT_CODES);
    write_environment(&mut roff, unique(below(root).flat_map(all_variables)));
    write_items(&mut roff, "FILES", FILES.iter().copied());
    write_examples(&mut roff, root);
    roff.control("SH", ["SEE ALSO"]);
    let pages = COMMANDS.iter().map(|facts| format!("{PROGRAM}-{}(1), ", facts.name));
    roff.text([roman(pages.collect::<String>() + "psql(1), pg_dump(1), jq(1), zstd(1)")]);
    roff.to_writer(page)
}

fn write_command(command: &Command, facts: &CommandFacts, title: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let actions: Vec<&Command> = below(command).collect();
    let mut roff = Roff::new();
    write_name(&mut roff, title, facts.purpose);
    roff.control("SH", ["SYNOPSIS"]);
    let used = if actions.is_empty() { vec![command] } else { actions.clone() };
    for (index, command) in used.into_iter().enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        write_synopsis(&mut roff, command);
    }
    roff.to_writer(page)?;
    Man::new(command.clone()).render_description_section(page)?;
    let mut described = command.clone();
    let mut roff = Roff::new();
    for action in &actions {
        let known: Vec<_> = described.get_arguments().map(|argument| argument.get_id().clone()).collect();
        let new = action.get_arguments().filter(|argument| !known.contains(argument.get_id()));
        described = described.clone().args(new);
    }
    if !actions.is_empty() {
        let about = |action: &&Command| action.get_about().map(ToString::to_string).unwrap_or_default();
        write_items(&mut roff, "ACTIONS", actions.iter().map(|action| (action.get_name(), about(action))));
    }
    roff.to_writer(page)?;
    write_options(&described, page)?;
    let mut roff = Roff::new();
    write_items(&mut roff, "EXIT STATUS", facts.exits.iter().copied());
    write_environment(&mut roff, all_variables(command));
    write_examples(&mut roff, command);
    roff.control("SH", ["SEE ALSO"]).text([roman(format!("{PROGRAM}(1), psql(1)"))]);
    roff.to_writer(page)
}

/// The commands below a command, without clap's `help`.
fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| below.get_name() != "help")
}

/// One line, which `apropos` and `whatis` read.
fn write_name(roff: &mut Roff, title: &str, purpose: &str) {
    roff.control("SH", ["NAME"]).text([roman(format!("{title} - {purpose}"))]);
}

fn write_synopsis(roff: &mut Roff, command: &Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let usage = command.clone().render_usage().to_string();
    let arguments = usage.split_once(&name).map(|(_, arguments)| arguments.trim_end().to_owned());
    roff.text([bold(name), roman(arguments.unwrap_or_default())]);
}

fn write_options(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut sections = Vec::new();
    Man::new(command.clone()).render_options_section(&mut sections)?;
    let mut sections = String::from_utf8_lossy(&sections).into_owned();
    // The library renders each group as a section. The first one is the group without a heading.
    if let Some(first) = sections.find(".SH ") {
        let (before, groups) = sections.split_at(first + 1);
        sections = format!("{before}{}", groups.replace("\n.SH ", "\n.SS "));
    }
    // The library does not mark repeatable arguments.
    sections = sections.replace("[\\fIFILE|DIR\\fR]", "[\\fIFILE|DIR\\fR]...");
    page.extend(sections.bytes());
    Ok(())
}

fn write_items<N: Into<String>, M: Into<String>>(
    roff: &mut Roff,
    section: &str,
    items: impl IntoIterator<Item = (N, M)>,
) {
    roff.control("SH", [section]);
    for (name, meaning) in items {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
}

fn write_environment(roff: &mut Roff, variables: Vec<ManualItem>) {
    if variables.is_empty() {
        return;
    }
    write_items(roff, "ENVIRONMENT", variables);
    roff.control("PP", []).text([roman(format!(
        "An option overrides its variable. A variable overrides a .env file in the working directory. {TIMES}"
    ))]);
}

/// The variables of a command and the commands below it: those of its options, then the others.
fn all_variables(command: &Command) -> Vec<ManualItem> {
    let name = command.get_name();
    let arguments = [command].into_iter().chain(below(command)).flat_map(Command::get_arguments);
    let of_options = arguments.filter_map(of_option);
    let others = VARIABLES_WITHOUT_OPTION.iter().filter(|variable| variable.commands.contains(&name));
    let others = others
        .map(|variable| (variable.name.to_owned(), format!("{} ({})", variable.meaning, variable.default)));
    let mut all = unique(of_options.chain(others));
    if all.iter().any(|(variable, _)| variable == "DATABASE_URL") {
        let libpq = ("PGHOST, PGPORT, PGUSER, PGDATABASE, ...", "the database, as for psql, without a URL");
        all.push((libpq.0.to_owned(), libpq.1.to_owned()));
        all.push(("RUST_LOG".to_owned(), "levels of log messages, such as info".to_owned()));
    }
    all
}

/// The variable of an option, which its help names.
fn of_option(argument: &Arg) -> Option<ManualItem> {
    let help = argument.get_help()?.to_string();
    let (_, rest) = help.split_once("[env: ")?;
    let (variable, _) = rest.split_once(']')?;
    Some((variable.to_owned(), format!("as --{}", argument.get_long()?)))
}

fn unique(items: impl IntoIterator<Item = ManualItem>) -> Vec<ManualItem> {
    let mut unique: Vec<ManualItem> = Vec::new();
    for item in items {
        if unique.iter().all(|(name, _)| *name != item.0) {
            unique.push(item);
        }
    }
    unique
}

/// The examples in the text after the options, with unchanged line breaks.
fn write_examples(roff: &mut Roff, command: &Command) {
    let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) else {
        return;
    };
    let text = text.to_string();
    let is_example = |line: &&str| line.starts_with("  ") || line.is_empty();
    let mut lines = text.lines().skip_while(|line| !EXAMPLES.iter().any(|heading| line.starts_with(heading)));
    if lines.next().is_none() {
        return;
    }
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in lines.take_while(is_example) {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
}

/// The first words of the headings of examples.
const EXAMPLES: [&str; 3] = ["Examples:", "Start,", "Install"];
