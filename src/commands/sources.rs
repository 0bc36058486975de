//! The dumps of a command, looked at before anything is read.

use crate::input::{InputError, Source};
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Seek as _};
use std::os::fd::AsFd as _;

/// Whether all of `sources` can be read, as far as that can be known by now.
pub(super) fn check(sources: &[Source]) -> Result<(), InputError> {
    sources.iter().try_for_each(Source::check)?;
    if sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
        log::warn!("reading events from the terminal; Ctrl-D ends them");
    }
    Ok(())
}

/// The bytes that are to be read of all of `sources`; none where one of them is a pipe, say.
pub(super) fn bytes_total(sources: &[Source]) -> Option<u64> {
    sources.iter().map(bytes).sum()
}

fn bytes(source: &Source) -> Option<u64> {
    match source {
        Source::File(path) => fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|file| file.len()),
        Source::Stdin => {
            let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
            let len = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
            // Someone may have read a part of it before.
            Some(len.saturating_sub(file.stream_position().ok()?))
        }
    }
}
