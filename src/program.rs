//! The program: from arguments to a command to an exit code.

use crate::cli::mistakes::with_remedy;
use crate::cli::{Cli, Command, Verbosity};
use crate::commands::common::process::Process;
use crate::commands::common::signals::EarlySignals;
use crate::commands::{delete, embedded, generate, health, load, manual, schema, verify};
use crate::error::CommandError;
use crate::error_chain::{concealed, in_full};
use crate::exit::ExitStatus;
use crate::panics::Panics;
use crate::report::terminal::logger::Logger;
use crate::report::terminal::screen::Screen;
use crate::settings::env_file::{EnvFile, misspelled_variables};
use crate::settings::environment;
use crate::settings::environment::Environment;
use crate::visible::visible;
use clap::Parser as _;
use env_logger::{Target, WriteStyle};
use log::LevelFilter;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

/// Runs the program with the arguments of the process, and gives its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&with_remedy(error)),
    };
    let screen = Screen::of_stderr(cli.verbosity.quiet);
    let panics = Panics::install();
    // Of this thread's panics the hook has told.
    let exit_status = match catch_unwind(AssertUnwindSafe(|| run(&cli, &screen, &panics))) {
        Ok(Ok(exit_status)) => exit_status,
        Ok(Err(error)) => {
            let text = in_full(&error).replace("; hint: ", "\nhint: ");
            screen.line(&format!("aegis-kills: {}", visible(&text)));
            error.exit_status()
        }
        Err(_) => ExitStatus::Failed,
    };
    let exit_status = if panics.happened() { ExitStatus::Failed } else { exit_status };
    screen.flush();
    ExitCode::from(exit_status.code())
}

/// Tells what is wrong with the arguments, which the words repeat, or prints the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // It fails when nobody reads it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let words = error.to_string();
    let shown = visible(&concealed(&words)).into_owned();
    // Both fail when nobody reads it.
    let _ = if shown == words { error.print() } else { write!(io::stderr(), "{shown}") };
    ExitCode::from(ExitStatus::WrongSetting.code())
}

fn run(cli: &Cli, screen: &Screen, panics: &Panics) -> Result<ExitStatus, CommandError> {
    let signals = EarlySignals::install()?;
    let file = settings_file(&cli.command)?;
    // The environment wins, and hides the file's setting where it sets an empty one.
    let variable = |name: &str| environment::of_process(name).or_else(|| file.get(name).map(str::to_owned));
    let env = Environment(&variable);
    let quiet = cli.verbosity.quiet;
    if cli.command.reads_settings() {
        environment::check()?;
        environment::check_log(env)?;
    }
    start_log(cli.verbosity, screen.clone(), env.get("RUST_LOG"));
    if cli.command.reads_settings() {
        for warning in file.warnings.iter().chain(&misspelled_variables(&file)) {
            log::warn!("{warning}");
        }
    }
    match &cli.command {
        Command::Load(args) => load::run(args, env, quiet, &Process { signals: &signals, panics, screen }),
        Command::Verify(args) => verify::run(args, env, quiet, screen),
        Command::Delete(args) => {
            delete::run(args, env, quiet, &Process { signals: &signals, panics, screen })
        }
        Command::Health(args) => health::run(args, env),
        Command::Schema { action } => schema::run(action, env),
        Command::Embedded { action } => embedded::run(action),
        Command::Generate(args) => generate::run(args),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man => manual::manual(),
    }
}

/// The settings of `.env`, for a command that has any. The private PostgreSQL can be looked at and stopped whatever stands there.
fn settings_file(command: &Command) -> Result<EnvFile, CommandError> {
    if !command.reads_settings() {
        return Ok(EnvFile::default());
    }
    let is_set = |name: &str| std::env::var_os(name).is_some();
    match (EnvFile::read(Path::new(".env"), &is_set), command) {
        (Err(error), Command::Embedded { .. }) => Ok(EnvFile::ignored(in_full(&error))),
        (file, _) => Ok(file?),
    }
}

/// What is logged goes by way of `screen`, where the progress may be drawn.
fn start_log(verbosity: Verbosity, screen: Screen, filters: Option<String>) {
    let mut log = env_logger::Builder::new();
    log.write_style(if screen.has_colour() { WriteStyle::Always } else { WriteStyle::Never });
    log.target(Target::Pipe(Box::new(screen.clone())));
    // These tell statements with their parameters, and bytes of the sessions. Who needs that asks for it by the module's name.
    for module in ["tokio_postgres", "postgres", "rustls", "mio", "tokio"] {
        log.filter_module(module, if verbosity.quiet { LevelFilter::Error } else { LevelFilter::Warn });
    }
    match (verbosity.quiet, verbosity.verbose) {
        (true, _) => log.filter_level(LevelFilter::Error),
        (false, 0) => log.filter_level(LevelFilter::Warn).parse_filters(&filters.unwrap_or_default()),
        (false, 1) => log.filter_level(LevelFilter::Info),
        (false, _) => log.filter_level(LevelFilter::Debug),
    };
    // A name that is quoted may be a URL that was typed in the wrong place. What others have put into names and messages must not reach a terminal as it is, nor begin a line of its own.
    log.format(|line, record| {
        let style = line.default_level_style(record.level());
        let text = record.args().to_string();
        let text = visible(&concealed(&text)).replace('\n', "\n    ");
        writeln!(line, "[{} {style}{:<5}{style:#}] {text}", line.timestamp(), record.level())
    });
    Logger::install(log, screen);
}
