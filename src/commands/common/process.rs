//! What a command gets of the process that it runs in.

use crate::commands::common::signals::EarlySignals;
use crate::panics::Panics;
use crate::report::terminal::screen::Screen;

/// What a load has of its process.
#[derive(Debug)]
pub(crate) struct Process<'p> {
    /// Signals until the load listens for itself.
    pub signals: &'p EarlySignals,
    /// What a panic does.
    pub panics: &'p Panics,
    /// Where log and progress go.
    pub screen: &'p Screen,
}
