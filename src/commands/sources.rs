//! The dumps of a command, looked at before anything is read.

use crate::error::CommandError;
use crate::input::{InputError, Reader, Source, spawn_reader};
use crate::kill::{Server, first_named_server};
use crate::settings::{EventSettings, SettingError};
use anyhow::Context as _;
use std::fs::{self, File, Metadata};
use std::io::{self, IsTerminal as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Whether all of `sources` can be read, as far as that can be known by now.
pub(super) fn check(sources: &[Source]) -> Result<(), InputError> {
    sources.iter().try_for_each(Source::check)?;
    for source in sources {
        if metadata(source).is_some_and(|found| found.is_file() && found.len() == 0) {
            log::warn!("{source} is empty: there is nothing to read in it");
        }
    }
    if sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
        log::warn!(
            "no FILE is named, and nothing is piped in: waiting for events from the terminal; Ctrl-D ends them, \
             Ctrl-C stops"
        );
    }
    Ok(())
}

/// The game server that the first event of `sources` names, for a load that is not told of one. The reader that has begun to
/// read them is left in `reader`.
pub(super) fn first_server(
    sources: &[Source],
    event: &EventSettings,
    reader: &mut Option<Reader>,
) -> Result<Option<Server>, CommandError> {
    sources.iter().try_for_each(Source::check)?;
    let opened = spawn_reader(sources.to_vec()).context("the reader thread can't be started")?;
    let events_at = event.reading.events_at.as_deref();
    let named =
        reader.insert(opened).look_ahead(|text, is_whole| first_named_server(text, is_whole, events_at));
    Ok(named.flatten())
}

/// The bytes that are to be read of all of `sources`; none where one of them is a pipe, say.
pub(super) fn bytes_total(sources: &[Source]) -> Option<u64> {
    sources.iter().map(bytes).sum()
}

fn bytes(source: &Source) -> Option<u64> {
    match source {
        Source::File(path) => fs::metadata(path).ok().filter(Metadata::is_file).map(|file| file.len()),
        Source::Stdin => {
            let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
            let len = file.metadata().ok().filter(Metadata::is_file)?.len();
            // Someone may have read a part of it before.
            Some(len.saturating_sub(file.stream_position().ok()?))
        }
    }
}

/// Refuses to write what was named by the option over a dump that is read.
pub(super) fn check_apart(
    sources: &[Source],
    place: &'static str,
    written: &Path,
) -> Result<(), SettingError> {
    let same = |found: &Metadata, other: &Metadata| (found.dev(), found.ino()) == (other.dev(), other.ino());
    let is_source = fs::metadata(written).is_ok_and(|written| {
        written.is_file() && sources.iter().filter_map(metadata).any(|source| same(&written, &source))
    });
    if is_source {
        let value = written.display().to_string();
        let wanted = "that is a dump to read, and would be written to; another file is needed".to_owned();
        return Err(SettingError::Value { place, value, wanted });
    }
    Ok(())
}

/// Of an open file too, such as standard input's.
fn metadata(source: &Source) -> Option<Metadata> {
    match source {
        Source::Stdin => File::from(io::stdin().as_fd().try_clone_to_owned().ok()?).metadata().ok(),
        Source::File(path) => fs::metadata(path).ok(),
    }
}

/// The sources in a few words.
pub(super) fn in_words(sources: &[Source]) -> String {
    let name = |source: &Source| match source {
        Source::Stdin => "standard input".to_owned(),
        Source::File(path) => path.file_name().unwrap_or(path.as_os_str()).display().to_string(),
    };
    match sources {
        [] => "nothing".to_owned(),
        [one] => name(one),
        [first, rest @ ..] => format!("{} and {} more", name(first), rest.len()),
    }
}
