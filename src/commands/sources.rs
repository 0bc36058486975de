//! The dumps of a command, looked at before anything is read.

use crate::input::{InputError, Source};
use std::io::{self, IsTerminal as _};

/// Whether all of `sources` can be read, as far as that can be known by now.
pub(super) fn check(sources: &[Source]) -> Result<(), InputError> {
    sources.iter().try_for_each(Source::check)?;
    if sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
        log::warn!("reading events from the terminal; Ctrl-D ends them");
    }
    Ok(())
}
