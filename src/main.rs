//! The `aegis-kills` program: from arguments to a command to an exit code.

use aegis_kills::causes::{concealed, in_full};
use aegis_kills::cli::{Cli, Command, Verbosity, with_remedy};
use aegis_kills::commands::{EarlySignals, embedded, generate, health, load, manual, schema, verify};
use aegis_kills::error::{CommandError, Ending};
use aegis_kills::report::Screen;
use aegis_kills::settings::{Environment, environment};
use clap::Parser as _;
use env_logger::{Target, WriteStyle};
use log::LevelFilter;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&with_remedy(error)),
    };
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

/// Tells what is wrong with the arguments, which the words repeat, or prints the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // It fails when nobody reads it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let words = error.to_string();
    let shown = concealed(&words);
    // Both fail when nobody reads it.
    let _ = if shown == words { error.print() } else { write!(io::stderr(), "{shown}") };
    ExitCode::from(Ending::WrongSetting.code())
}

fn run(cli: &Cli) -> Result<Ending, CommandError> {
    let signals = EarlySignals::heed()?;
    environment::read_file(Path::new(".env"))?;
    environment::check()?;
    let variable = |name: &str| std::env::var(name).ok();
    let env = Environment(&variable);
    environment::check_log(env)?;
    let quiet = cli.verbosity.quiet;
    let screen = Screen::of_stderr(quiet);
    start_log(cli.verbosity, screen.clone());
    match &cli.command {
        Command::Load(args) => load::run(args, env, quiet, &signals, &screen),
        Command::Verify(args) => verify::run(args, env, quiet, &screen),
        Command::Health(args) => health::run(args, env),
        Command::Schema { action } => schema::run(action, env),
        Command::Embedded { action } => embedded::run(action),
        Command::Generate(args) => generate::run(args),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man => manual::manual(),
    }
}

/// What is logged goes by way of `screen`, where the progress may be drawn.
fn start_log(verbosity: Verbosity, screen: Screen) {
    let mut log = env_logger::Builder::new();
    log.write_style(if screen.has_colour() { WriteStyle::Always } else { WriteStyle::Never });
    log.target(Target::Pipe(Box::new(screen)));
    // These tell statements with their parameters, and bytes of the sessions. Who needs that asks for it by the module's name.
    for module in ["tokio_postgres", "postgres", "rustls", "mio", "tokio"] {
        log.filter_module(module, if verbosity.quiet { LevelFilter::Error } else { LevelFilter::Warn });
    }
    match (verbosity.quiet, verbosity.verbose) {
        (true, _) => log.filter_level(LevelFilter::Error),
        (false, 0) => log.filter_level(LevelFilter::Warn).parse_default_env(),
        (false, 1) => log.filter_level(LevelFilter::Info),
        (false, _) => log.filter_level(LevelFilter::Debug),
    };
    log.format_target(false).init();
}
