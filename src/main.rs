//! The `aegis-kills` program: from arguments to a command to an exit code.

use aegis_kills::cli::{Cli, Command, Verbosity};
use aegis_kills::commands::{embedded, generate, load, schema, verify, write_output};
use aegis_kills::error::{CommandError, Ending, in_full};
use aegis_kills::settings::Environment;
use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ending = match run(&cli) {
        Ok(ending) => ending,
        Err(error) => {
            // Standard error may be gone, and then there is nobody left to tell.
            let _ = writeln!(io::stderr(), "aegis-kills: {}", in_full(&error));
            error.ending()
        }
    };
    ExitCode::from(ending.code())
}

fn run(cli: &Cli) -> Result<Ending, CommandError> {
    read_env_file()?;
    start_log(cli.verbosity);
    let variable = |name: &str| std::env::var(name).ok();
    let env = Environment(&variable);
    let quiet = cli.verbosity.quiet;
    match &cli.command {
        Command::Load(args) => load::run(args, env, quiet),
        Command::Verify(args) => verify::run(args, env, quiet),
        Command::Schema { action } => schema::run(action, env),
        Command::Embedded { action } => embedded::run(action),
        Command::Generate(args) => generate::run(args),
        Command::Completions { shell } => completions(*shell),
        Command::Man => manual(),
    }
}

/// The real environment wins over the file.
fn read_env_file() -> anyhow::Result<()> {
    match dotenvy::from_path(".env") {
        Err(error) if !error.not_found() => Err(error).context("the file .env can't be read"),
        _ => Ok(()),
    }
}

fn start_log(verbosity: Verbosity) {
    let level = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = env_logger::Env::default().default_filter_or(level);
    env_logger::Builder::from_env(filter).format_target(false).init();
}

fn completions(shell: Shell) -> Result<Ending, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "aegis-kills", &mut script);
    write_output(&String::from_utf8_lossy(&script))?;
    Ok(Ending::Complete)
}

fn manual() -> Result<Ending, CommandError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).context("the manual page can't be made")?;
    write_output(&String::from_utf8_lossy(&page))?;
    Ok(Ending::Complete)
}
