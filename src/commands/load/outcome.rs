//! Derives the status, the exit code and the error of a load from the report of its run.

use crate::database::failure::public::in_public;
use crate::error::database_exit_status;
use crate::exit::ExitStatus;
use crate::pipeline::run_error::RunError;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::ShutdownReason;
use crate::report::format::bytes;
use crate::report::status::RunOutcome;
use crate::report::summary::RunStatus;
use std::error::Error;

/// The status and exit code. A failure takes precedence over unreadable input, and that over a stop request.
pub(crate) fn outcome(report: &RunReport) -> (RunStatus, ExitStatus) {
    match &report.halted {
        Some(ShutdownReason::Failed(error)) => {
            let exit_status = match error {
                RunError::Store(error) | RunError::Event { source: error, .. } => database_exit_status(error),
                RunError::RejectFile(_) | RunError::Program(_) => ExitStatus::Failed,
            };
            (RunStatus::Failed, exit_status)
        }
        Some(ShutdownReason::Panicked(_)) => (RunStatus::Failed, ExitStatus::Failed),
        _ if !report.source_errors.is_empty() => (RunStatus::Failed, ExitStatus::Failed),
        Some(ShutdownReason::RejectLimit | ShutdownReason::RejectBytes(_)) => {
            (RunStatus::RejectLimit, ExitStatus::RejectLimit)
        }
        Some(ShutdownReason::Signal(signal)) => (RunStatus::Interrupted, ExitStatus::Interrupted(*signal)),
        None if report.counts.rejected_new() > 0 => (RunStatus::Rejects, ExitStatus::Rejects),
        None => (RunStatus::Complete, ExitStatus::Complete),
    }
}

/// Whether everything is stored except rejects.
pub(crate) fn has_succeeded(report: &RunReport) -> bool {
    matches!(outcome(report).1, ExitStatus::Complete | ExitStatus::Rejects)
}

/// The outcome for the public status page.
pub(crate) fn run_outcome(report: &RunReport) -> RunOutcome {
    RunOutcome { status: outcome(report).0, error: cause(report, in_public) }
}

/// Whether the log has the error of the run: inputs that cannot be read are logged when they are found.
pub(crate) fn is_logged(report: &RunReport) -> bool {
    let is_of_run = matches!(
        report.halted,
        Some(ShutdownReason::Failed(_) | ShutdownReason::Panicked(_) | ShutdownReason::RejectBytes(_))
    );
    !is_of_run && !report.source_errors.is_empty()
}

/// The error of the run, formatted by `describe`.
pub(crate) fn cause(report: &RunReport, describe: fn(&(dyn Error + 'static)) -> String) -> Option<String> {
    match &report.halted {
        Some(ShutdownReason::Failed(error)) => Some(describe(error)),
        Some(ShutdownReason::Panicked(message)) => Some(message.clone()),
        Some(ShutdownReason::RejectBytes(bytes_max)) => Some(format!(
            "the reject file would exceed {}, which is out of proportion to the input; check the input",
            bytes(*bytes_max)
        )),
        _ => report.source_errors.first().map(|error| describe(error)),
    }
}
