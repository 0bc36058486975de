//! The dumps of a command, looked at before anything is read.

use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::event::first_server::first_named_server;
use crate::event::server::Server;
use crate::input::error::InputError;
use crate::input::reader::{Reader, spawn_reader};
use crate::input::source::Source;
use crate::pipeline::source_segments::SourceError;
use crate::settings::EventSettings;
use crate::settings::environment::SettingError;
use anyhow::Context as _;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, IsTerminal as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The dumps of a command, and what can't be read of what was named.
#[derive(Debug, Default)]
pub(crate) struct FoundSources {
    pub(crate) sources: Vec<Source>,
    pub(crate) errors: Vec<InputError>,
}

impl FoundSources {
    /// Looks at what was named. A directory stands for its files, and those of the directories in it, in the order of their
    /// names, without hidden files, reject files and the files that are `written`.
    pub(crate) fn find(named: &[Source], written: &[&Path]) -> Self {
        let mut found = Self::default();
        for source in named {
            match source {
                Source::File(path) if path.is_dir() => found.walk(path, written),
                _ => found.add(source.clone()),
            }
        }
        found
    }

    /// Reports what can't be read. It is an error if that is all there is.
    pub(crate) fn check(&mut self) -> Result<(), InputError> {
        if self.sources.is_empty() && self.errors.len() == 1 {
            return self.errors.pop().map_or(Ok(()), Err);
        }
        for error in &self.errors {
            log::error!("{}", in_full(error));
        }
        let last = if self.sources.is_empty() { self.errors.pop() } else { None };
        if last.is_some() {
            return Err(InputError::NothingReadable);
        }
        for source in &self.sources {
            if metadata(source).is_some_and(|found| found.is_file() && found.len() == 0) {
                log::warn!("{source} is empty: there is nothing to read in it");
            }
        }
        if self.sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
            log::warn!(
                "no FILE is named, and nothing is piped in: waiting for events from the terminal; Ctrl-D ends them, \
                 Ctrl-C stops"
            );
        }
        Ok(())
    }

    /// The errors as a run reports them.
    pub(crate) fn source_errors(&mut self) -> Vec<SourceError> {
        self.errors.drain(..).map(SourceError::from).collect()
    }

    fn add(&mut self, source: Source) {
        match source.check() {
            Ok(()) => self.sources.push(source),
            Err(error) => self.errors.push(error),
        }
    }

    fn walk(&mut self, directory: &Path, written: &[&Path]) {
        let entries: io::Result<Vec<DirEntry>> = fs::read_dir(directory).and_then(Iterator::collect);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(cause) => {
                let input = Source::File(directory.to_owned());
                return self.errors.push(InputError::Unlisted { input, cause });
            }
        };
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries.iter().filter(|entry| !is_left_out(&entry.file_name())) {
            let path = entry.path();
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let found = fs::metadata(&path);
            match found {
                Ok(found) if found.is_dir() && is_link => {
                    log::warn!("{} is skipped: it is a link to a directory", path.display());
                }
                Ok(found) if found.is_dir() => self.walk(&path, written),
                Ok(found) if !found.is_file() => {
                    log::warn!("{} is skipped: it is not a regular file", path.display());
                }
                Ok(found) if written.iter().any(|written| is_same(written, &found)) => {}
                // With its error, if it can't be looked at.
                _ => self.add(Source::File(path)),
            }
        }
    }
}

/// Whether a directory does not stand for a file of this name: hidden files, and reject files of loads in it.
fn is_left_out(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name.starts_with("rejects-") && name.contains(".ndjson")
}

fn is_same(path: &Path, file: &Metadata) -> bool {
    fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
}

/// The game server that the first event of `sources` names, for a load that is not told of one. The reader that has begun to
/// read them is left in `reader` where they can't be read again.
pub(crate) fn first_server(
    sources: &[Source],
    event: &EventSettings,
    reader: &mut Option<Reader>,
) -> Result<Option<Server>, CommandError> {
    let mut opened = spawn_reader(sources.to_vec()).context("the reader thread can't be started")?;
    let events_at = event.reading.events_at.as_deref();
    let named = opened.look_ahead(|text, is_whole| first_named_server(text, is_whole, events_at));
    // Files are read anew, so that those that are unchanged need not be.
    if !sources.iter().all(|source| matches!(source, Source::File(path) if path.is_file())) {
        *reader = Some(opened);
    }
    Ok(named.flatten())
}

/// The bytes that are to be read of all of `sources`; none where one of them is a pipe, say.
pub(crate) fn bytes_total(sources: &[Source]) -> Option<u64> {
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
pub(crate) fn check_apart(
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
pub(crate) fn to_text(sources: &[Source]) -> String {
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
