//! `embedded`: starts, stops and inspects the private PostgreSQL.

use crate::cli::EmbeddedAction;
use crate::commands::common::next_steps::own_program;
use crate::commands::common::output::{write_output, write_text};
use crate::database::connect::from_url;
use crate::database::connect::server_version::VERSION_MIN;
use crate::database::health::HealthProbe;
use crate::database::pool::liveness::ServerHealth;
use crate::embedded;
use crate::embedded::error::EmbeddedError;
use crate::embedded::programs::MAJOR_MIN;
use crate::embedded::server::ServerPhase;
use crate::embedded::size::disk_bytes;
use crate::embedded::{Embedded, Lifetime, Status, Stopped};
use crate::error::CommandError;
use crate::exit::ExitStatus;
use crate::report::format::{bytes, counted, time, utc};
use crate::settings::environment::SettingError;
use crate::shell::shell_quoted;
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

// A private server must be one that the commands support.
const _: () = assert!(MAJOR_MIN == VERSION_MIN);

/// How long `status` waits for a response of the server.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Runs the command. With `quiet`, only the exit code shows the result of `stop` and `status`.
pub(crate) fn run(action: &EmbeddedAction, quiet: bool) -> Result<ExitStatus, CommandError> {
    match action {
        EmbeddedAction::Start(args) => {
            let embedded = Embedded::open(&args.dir, Lifetime::UntilStopped)?;
            write_output(&format!("{}\n", embedded.url()))?;
            embedded.close()?;
        }
        EmbeddedAction::Stop(args) => {
            let dir = args.dir.display();
            let result = match embedded::stop(&args.dir).map_err(EmbeddedError::of_existing)? {
                Stopped::Missing => format!("no private PostgreSQL in {dir}"),
                Stopped::Already => "already stopped".to_owned(),
                Stopped::Idle => "stopped".to_owned(),
                Stopped::InUse => "stopped while a load was using it".to_owned(),
            };
            if !quiet {
                write_text(&format!("{result}\n"))?;
            }
        }
        EmbeddedAction::Status(args) => {
            let status = embedded::status(&args.dir).map_err(EmbeddedError::of_existing)?;
            if !quiet {
                write_text(&to_text(&args.dir, &status)?)?;
            }
            return Ok(match status {
                Status::Running { .. } => ExitStatus::Complete,
                Status::Stopped => ExitStatus::Missing,
                Status::Missing => ExitStatus::WrongSetting,
            });
        }
        EmbeddedAction::Url(args) => {
            let status = embedded::status(&args.dir).map_err(EmbeddedError::of_existing)?;
            let Status::Running { url, .. } = status else {
                return Err(CommandError::Other(anyhow::anyhow!(
                    "the private PostgreSQL in {} is not running\nhint: start it with: {}",
                    args.dir.display(),
                    start_command(&args.dir)
                )));
            };
            write_output(&format!("{url}\n"))?;
        }
    }
    Ok(ExitStatus::Complete)
}

fn to_text(dir: &Path, status: &Status) -> Result<String, CommandError> {
    let start = start_command(dir);
    Ok(match status {
        Status::Running { pid, url, version, lifetime, since, socket, phase } => {
            let server = match phase {
                ServerPhase::Ready => ask(url)?,
                ServerPhase::Starting | ServerPhase::Stopping => None,
            };
            let phase = match (phase, &server) {
                (ServerPhase::Ready, Some(_)) => "Running",
                (ServerPhase::Ready, None) => "Running, but not responding",
                (ServerPhase::Starting, _) => "Starting",
                (ServerPhase::Stopping, _) => "Stopping",
            };
            let version = server.as_ref().map_or(version, |server| &server.version);
            let since = since.map(age).unwrap_or_default();
            let until = match lifetime {
                Lifetime::WhileUsed => "while loads use it",
                Lifetime::UntilStopped => "until 'embedded stop'",
            };
            let used = server.as_ref().map_or_else(String::new, |server| {
                // Without the connection of this check.
                let others = server.connections_used.saturating_sub(1);
                format!(
                    "  used by  {}, of {} at most\n",
                    counted(others.into(), "connection"),
                    server.connections_max
                )
            });
            format!(
                "{phase}: PostgreSQL {version}, process {pid}{since}, {until}.\n{used}{}  socket   {}\n  url      {url}\n",
                directory(dir),
                socket.display(),
            )
        }
        Status::Stopped => {
            format!("Stopped: the data is kept; start it with: {start}\n{}", directory(dir))
        }
        Status::Missing => {
            format!("No private PostgreSQL in {}; create one with: {start}\n", dir.display())
        }
    })
}

/// The health of the server; none if it does not respond.
fn ask(url: &str) -> Result<Option<ServerHealth>, CommandError> {
    let target = from_url(url, &|_| None).map_err(SettingError::from)?;
    Ok(HealthProbe::new(&target, "aegis-kills status", ANSWER_TIME_MAX).check().server)
}

/// The line with the directory and its size. The size is left out if this user cannot read it.
fn directory(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let size = disk_bytes(&dir).map(|size| format!(", {} on disk", bytes(size)));
    format!("  data     {}{}\n", dir.display(), size.unwrap_or_default())
}

fn age(since: Timestamp) -> String {
    // If the clock was set back, the age is 0.
    let age = Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default();
    format!(", since {} ({})", utc(since), time(age))
}

fn start_command(dir: &Path) -> String {
    format!("{} embedded start {}", own_program(), shell_quoted(&dir.to_string_lossy()))
}
