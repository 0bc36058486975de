//! How a load ended, by what its run reports: the status, the exit code, and what broke.

use crate::database::failure::public::in_public;
use crate::database::store::StoreError;
use crate::error::database_ending;
use crate::exit::Ending;
use crate::pipeline::run::RunReport;
use crate::pipeline::shutdown::HaltReason;
use crate::report::format::bytes;
use crate::report::status::RunOutcome;
use crate::report::summary::Status;
use std::error::Error;

/// What broke counts before what could not be read, and that before what stopped the run.
pub(crate) fn outcome(report: &RunReport) -> (Status, Ending) {
    match &report.halted {
        Some(HaltReason::Failed(error)) => {
            let ending = error.downcast_ref::<StoreError>().map_or(Ending::Failed, database_ending);
            (Status::Failed, ending)
        }
        Some(HaltReason::Panicked(_)) => (Status::Failed, Ending::Failed),
        _ if !report.source_errors.is_empty() => (Status::Failed, Ending::Failed),
        Some(HaltReason::RejectLimit | HaltReason::RejectBytes(_)) => {
            (Status::RejectLimit, Ending::RejectLimit)
        }
        Some(HaltReason::Signal(signal)) => (Status::Interrupted, Ending::Interrupted(*signal)),
        None if report.counts.rejected_new() > 0 => (Status::Rejects, Ending::Rejects),
        None => (Status::Complete, Ending::Complete),
    }
}

/// Whether all is loaded, but the rejects.
pub(crate) fn has_succeeded(report: &RunReport) -> bool {
    matches!(outcome(report).1, Ending::Complete | Ending::Rejects)
}

/// The outcome for a page that all can see.
pub(crate) fn run_outcome(report: &RunReport) -> RunOutcome {
    RunOutcome { status: outcome(report).0, error: cause(report, in_public) }
}

/// What broke, told by `in_words`.
pub(crate) fn cause(report: &RunReport, in_words: fn(&(dyn Error + 'static)) -> String) -> Option<String> {
    match &report.halted {
        Some(HaltReason::Failed(error)) => Some(in_words(error.as_ref())),
        Some(HaltReason::Panicked(message)) => Some(message.clone()),
        Some(HaltReason::RejectBytes(bytes_max)) => Some(format!(
            "the rejects would take more than {}, which is out of proportion to the input: check what it is",
            bytes(*bytes_max)
        )),
        _ => report.source_errors.first().map(|error| in_words(error)),
    }
}
