//! `embedded`: the private PostgreSQL by itself.

use super::write_output;
use crate::cli::EmbeddedAction;
use crate::database::embedded::{self, Embedded, Lifetime, Status, Stopped};
use crate::error::{CommandError, Ending};
use crate::input::shell_quoted;

/// Runs the command.
pub fn run(action: &EmbeddedAction) -> Result<Ending, CommandError> {
    match action {
        EmbeddedAction::Start(args) => {
            let embedded = Embedded::open(&args.dir, Lifetime::UntilStopped)?;
            write_output(&format!("{}\n", embedded.url()))?;
            embedded.close()?;
        }
        EmbeddedAction::Stop(args) => {
            let dir = args.dir.display();
            let said = match embedded::stop(&args.dir)? {
                Stopped::Missing => format!("there is no private PostgreSQL in {dir}"),
                Stopped::Already => "it was not running".to_owned(),
                Stopped::Idle => "stopped".to_owned(),
                Stopped::InUse => "stopped, though a load was using it".to_owned(),
            };
            write_output(&format!("{said}\n"))?;
        }
        EmbeddedAction::Status(args) => return status(&args.dir),
        EmbeddedAction::Url(args) => {
            let Status::Running { url, .. } = embedded::status(&args.dir)? else {
                return not_running(&args.dir);
            };
            write_output(&format!("{url}\n"))?;
        }
    }
    Ok(Ending::Complete)
}

fn status(dir: &std::path::Path) -> Result<Ending, CommandError> {
    match embedded::status(dir)? {
        Status::Running { pid, url, version, lifetime } => {
            let until = match lifetime {
                Lifetime::WhileUsed => "until nobody uses it any more",
                Lifetime::UntilStopped => "until 'embedded stop'",
            };
            write_output(&format!("PostgreSQL {version} is running {until}, process {pid}\n{url}\n"))?;
            Ok(Ending::Complete)
        }
        Status::Stopped => {
            write_output("stopped; what was loaded is there\n")?;
            Ok(Ending::Missing)
        }
        Status::Missing => {
            write_output(&format!("there is no private PostgreSQL in {}\n", dir.display()))?;
            Ok(Ending::Missing)
        }
    }
}

fn not_running(dir: &std::path::Path) -> Result<Ending, CommandError> {
    Err(CommandError::Other(anyhow::anyhow!(
        "the private PostgreSQL in {} does not run; start it by: aegis-kills embedded start {}",
        dir.display(),
        shell_quoted(&dir.to_string_lossy())
    )))
}
