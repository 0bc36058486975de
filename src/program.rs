//! Maps the arguments to a command, and its result to an exit code.

use crate::cli::mistakes::in_two_lines;
use crate::cli::{Cli, Command, Verbosity};
use crate::commands::common::signals::{EarlySignals, Process};
use crate::commands::{delete, embedded, generate, health, load, manual, schema, verify};
use crate::conceal::without_connection_strings;
use crate::error::CommandError;
use crate::error_chain::{in_full, in_lines};
use crate::exit::ExitStatus;
use crate::panics::Panics;
use crate::report::terminal::logger::Logger;
use crate::report::terminal::screen::Screen;
use crate::settings::env_file::{EnvFile, misspelled_variables};
use crate::settings::environment;
use crate::settings::environment::Environment;
use crate::visible::visible;
use clap::Parser as _;
use clap::error::ErrorKind;
use env_logger::{Target, WriteStyle};
use log::LevelFilter;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

/// Runs the program with the arguments of the process and returns its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // The text of an error repeats arguments, so that those are parsed first in which the database is concealed, too.
    let shown = without_connection_strings(&arguments, &[]);
    let read = without_connection_strings(&arguments, &["--database-url", "--events-at"]);
    let cli = match Cli::try_parse_from(&shown).and_then(|_| Cli::try_parse_from(&read)) {
        Ok(cli) => cli,
        Err(error) => return print_usage_error(&error, &shown),
    };
    let screen = Screen::of_stderr(cli.verbosity.quiet);
    let panics = Panics::install();
    // The panic hook has already logged a panic of this thread.
    let exit_status = match catch_unwind(AssertUnwindSafe(|| run(&cli, &screen, &panics))) {
        Ok(Ok(exit_status)) => exit_status,
        Ok(Err(error)) => {
            let text = in_lines(&in_full(&error), "");
            screen.line(&format!("error: {}", visible(&text)));
            error.exit_status()
        }
        Err(_) => ExitStatus::Failed,
    };
    let exit_status = if panics.happened() { ExitStatus::Failed } else { exit_status };
    screen.flush();
    ExitCode::from(exit_status.code())
}

/// Prints the error in the arguments, or the requested help.
fn print_usage_error(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        // Fails if the reader has closed the pipe.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(ExitStatus::WrongSetting.code());
    }
    let arguments: Vec<String> =
        arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    // Fails if the reader has closed the pipe.
    let _ = writeln!(io::stderr(), "{}", visible(&in_two_lines(error, &arguments)));
    ExitCode::from(ExitStatus::WrongSetting.code())
}

fn run(cli: &Cli, screen: &Screen, panics: &Panics) -> Result<ExitStatus, CommandError> {
    let signals = EarlySignals::install()?;
    let file = settings_file(&cli.command)?;
    // The environment overrides the file, also with an empty value.
    let variable = |name: &str| environment::of_process(name).or_else(|| file.get(name).map(str::to_owned));
    let env = Environment(&variable);
    let quiet = cli.verbosity.quiet;
    if cli.command.reads_settings() {
        environment::check()?;
        environment::check_log(env)?;
    }
    // The logger prints the text of an invalid filter.
    let filters = env.get("RUST_LOG").filter(|_| environment::check_log(env).is_ok());
    start_log(cli.verbosity, screen.clone(), filters);
    if cli.command.reads_settings() {
        for warning in file.warnings.iter().chain(&misspelled_variables(&file)) {
            log::warn!("{warning}");
        }
    }
    let process = Process { signals: &signals, panics, screen };
    match &cli.command {
        Command::Load(args) => load::run(args, env, quiet, &process),
        Command::Verify(args) => verify::run(args, env, quiet, &process),
        Command::Delete(args) => delete::run(args, env, quiet, &process),
        Command::Health(args) => health::run(args, env, quiet),
        Command::Schema { action } => schema::run(action, env, quiet),
        Command::Embedded { action } => embedded::run(action, quiet),
        Command::Generate(args) => generate::run(args),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man(args) => manual::manual(args),
    }
}

/// The settings of `.env`, for a command that reads settings. Errors in the file never prevent `embedded` from working.
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

/// Starts the log, which writes through `screen`, because the progress may be drawn there.
fn start_log(verbosity: Verbosity, screen: Screen, filters: Option<String>) {
    let mut log = env_logger::Builder::new();
    log.write_style(if screen.has_colour() { WriteStyle::Always } else { WriteStyle::Never });
    log.target(Target::Pipe(Box::new(screen.clone())));
    // These log statements with their parameters, and bytes of the sessions. `RUST_LOG` can enable them by module name.
    for module in ["tokio_postgres", "postgres", "rustls", "mio", "tokio"] {
        log.filter_module(module, if verbosity.quiet { LevelFilter::Error } else { LevelFilter::Warn });
    }
    match (verbosity.quiet, verbosity.verbose) {
        (true, _) => log.filter_level(LevelFilter::Error),
        (false, 0) => log.filter_level(LevelFilter::Warn).parse_filters(&filters.unwrap_or_default()),
        (false, 1) => log.filter_level(LevelFilter::Info),
        (false, _) => log.filter_level(LevelFilter::Debug),
    };
    // Names and messages can contain control characters and line breaks of other users: those must not reach a terminal or
    // start a log line.
    log.format(|line, record| {
        let style = line.default_level_style(record.level());
        let text = in_lines(&record.args().to_string(), "");
        let text = visible(&text).replace('\n', "\n    ");
        writeln!(line, "[{} {style}{:<5}{style:#}] {text}", line.timestamp(), record.level())
    });
    Logger::install(log, screen);
}
