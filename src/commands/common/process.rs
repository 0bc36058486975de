//! Process-wide resources of a command.

use crate::commands::common::signals::EarlySignals;
use crate::panics::Panics;
use crate::report::terminal::screen::Screen;

/// The process-wide resources of a command that reads dumps.
#[derive(Debug)]
pub(crate) struct Process<'p> {
    /// Handles signals until the command installs its own listener.
    pub signals: &'p EarlySignals,
    pub panics: &'p Panics,
    /// The output of the log and the progress.
    pub screen: &'p Screen,
}
