//! `man` and `completions`: writes the manual page and completion scripts.

use crate::cli::Cli;
use crate::commands::common::output::write_output;
use crate::error::CommandError;
use crate::event::server::Server;
use crate::exit::ExitStatus;
use crate::layout::Layout;
use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

/// Writes a shell's completion script.
pub(crate) fn completions(shell: Shell) -> Result<ExitStatus, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut with_values(Cli::command()), "aegis-kills", &mut script);
    // For bash, the library replaces the hyphen of the program's name differently in one of two places. Without this
    // correction nothing is completed after a subcommand.
    let script = String::from_utf8_lossy(&script).replace("aegis__subcmd__kills", "aegis__kills");
    write_output(&script)?;
    Ok(ExitStatus::Complete)
}

/// Writes the manual: one page with all commands.
pub(crate) fn manual() -> Result<ExitStatus, CommandError> {
    let mut page = Vec::new();
    render(&mut page).context("cannot write the manual page")?;
    write_output(&String::from_utf8_lossy(&page))?;
    Ok(ExitStatus::Complete)
}

/// Adds the possible values of options, for completion. The settings check values, because variables need the same checks.
fn with_values(command: Command) -> Command {
    let servers = Server::ALL.map(Server::name);
    let layouts = Layout::ALL.map(Layout::name);
    let command = command.mut_args(|argument| {
        let values: &[&'static str] = match argument.get_id().as_str() {
            "server" => &servers,
            "layout" => &layouts,
            "nul" => &["reject", "strip", "replace"],
            "on_conflict" => &["skip", "update"],
            _ => return argument,
        };
        argument.value_parser(PossibleValuesParser::new(values))
    });
    command.mut_subcommands(with_values)
}

fn render(page: &mut Vec<u8>) -> io::Result<()> {
    let mut root = Cli::command();
    root.build();
    let man =
        Man::new(root.clone()).source(format!("aegis-kills {}", crate::VERSION)).manual("User Commands");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        render_command(command, page)?;
    }
    let mut end = Roff::new();
    after_help(&mut end, "SH", &root);
    end.control("SH", ["FILES"]);
    for (file, what) in FILES {
        end.control("TP", []).text([bold(*file)]).text([roman(*what)]);
    }
    end.control("SH", ["SEE ALSO"]).text([roman("psql(1), pg_dump(1), jq(1), zstd(1)")]);
    end.to_writer(page)
}

const FILES: &[(&str, &str)] = &[
    (".env", "Settings as NAME=value, in the working directory. The environment overrides them."),
    ("rejects-UTC-RUN.ndjson", "Rejects of a load, in the working directory, created at the first reject."),
    ("~/.pgpass", "Passwords, in the format of psql."),
];

/// The section of a command, and those of the commands below it.
fn render_command(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut heading = Roff::new();
    heading.control("SH", [name.to_uppercase().as_str()]);
    heading.to_writer(page)?;
    let man = Man::new(command.clone());
    let mut parts = Vec::new();
    man.render_synopsis_section(&mut parts)?;
    man.render_description_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    // The library renders them as sections of a separate page.
    let parts = String::from_utf8_lossy(&parts).replace("\n.SH ", "\n.SS ");
    // The library does not mark repeatable arguments.
    page.extend(parts.replace("[\\fIFILE\\fR]", "[\\fIFILE\\fR]...").bytes());
    let mut end = Roff::new();
    after_help(&mut end, "SS", command);
    end.to_writer(page)?;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        render_command(below, page)?;
    }
    Ok(())
}

/// Renders the text after the options: paragraphs with a heading that ends with a colon, with unchanged line breaks.
fn after_help(roff: &mut Roff, heading: &str, command: &Command) {
    let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) else {
        return;
    };
    for paragraph in text.to_string().split("\n\n") {
        let (first, body) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let Some(title) = first.strip_suffix(':') else {
            roff.control("PP", []).text([roman(paragraph)]);
            continue;
        };
        roff.control(heading, [title.to_uppercase().as_str()]).control("nf", []);
        for line in body.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
}
