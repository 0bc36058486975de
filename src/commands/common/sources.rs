//! Finds and checks the dumps of a command before anything is read.

use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::event::first_server::{first_named_server, place_of_named_server};
use crate::event::server::Server;
use crate::input::error::InputError;
use crate::input::reader::{Reader, spawn_reader};
use crate::input::source::Source;
use crate::pipeline::source_segments::SourceError;
use crate::settings::environment::SettingError;
use crate::settings::event::EventSettings;
use anyhow::Context as _;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, IsTerminal as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The dumps of a command, and the errors of unreadable ones.
#[derive(Debug, Default)]
pub(crate) struct FoundSources {
    pub(crate) sources: Vec<Source>,
    pub(crate) errors: Vec<InputError>,
    /// The reader, if reading has already started.
    pub(crate) reader: Option<Reader>,
}

impl FoundSources {
    /// Finds the named dumps, and the game server that the first event names if no setting does. A directory stands for its
    /// files and those in its subdirectories, in name order, without hidden files, reject files and the files in `written`.
    pub(crate) fn find(
        named: &[Source],
        written: &[&Path],
        event: &mut EventSettings,
    ) -> Result<Self, CommandError> {
        let mut found = Self::default();
        for source in named {
            match source {
                Source::File(path) if path.is_dir() => found.walk(path, written),
                _ => found.add(source.clone()),
            }
        }
        if event.reading.must_name_server {
            event.server = found.first_server(event)?;
        }
        Ok(found)
    }

    /// The game server that the first event names, or an error if it names none. Sources that cannot be read twice are read on
    /// later.
    fn first_server(&mut self, event: &EventSettings) -> Result<Server, CommandError> {
        let mut reader = spawn_reader(self.sources.clone()).context("cannot start the reader thread")?;
        let events_at = event.reading.events_at.as_deref();
        let mut deeper = None;
        let named = reader.look_ahead(|text, is_whole| {
            let found = first_named_server(text, is_whole, events_at);
            if found.is_none() && is_whole && events_at.is_none() && deeper.is_none() {
                deeper = place_of_named_server(text);
            }
            found
        });
        // Regular files are opened again later, so that unchanged files can be skipped.
        if !self.sources.iter().all(|source| matches!(source, Source::File(path) if path.is_file())) {
            self.reader = Some(reader);
        }
        let missing = match deeper {
            Some(events_at) => SettingError::ServerInEnvelope { events_at },
            None => SettingError::ServerRequired,
        };
        named.flatten().ok_or_else(|| missing.into())
    }

    /// Logs the errors of unreadable sources. Returns an error if no source is readable.
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
                log::warn!("{source} is empty");
            }
        }
        if self.sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
            log::warn!(
                "no FILE given and nothing piped in: waiting for events from the terminal; Ctrl-D ends the input, \
                 Ctrl-C stops"
            );
        }
        Ok(())
    }

    /// The errors in the form of a run's report.
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
                    log::warn!("{} is skipped: link to a directory", path.display());
                }
                Ok(found) if found.is_dir() => self.walk(&path, written),
                Ok(found) if !found.is_file() => {
                    log::warn!("{} is skipped: not a regular file", path.display());
                }
                Ok(found) if written.iter().any(|written| is_same(written, &found)) => {}
                // Adds the error if the file is unreadable.
                _ => self.add(Source::File(path)),
            }
        }
    }
}

/// Whether a file of this name in a directory is left out: hidden files and reject files.
fn is_left_out(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name.starts_with("rejects-") && name.contains(".ndjson")
}

fn is_same(path: &Path, file: &Metadata) -> bool {
    fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
}

/// The total size of `sources` in bytes; none if one is unknown, for example a pipe.
pub(crate) fn bytes_total(sources: &[Source]) -> Option<u64> {
    sources.iter().map(bytes).sum()
}

fn bytes(source: &Source) -> Option<u64> {
    match source {
        Source::File(path) => fs::metadata(path).ok().filter(Metadata::is_file).map(|file| file.len()),
        Source::Stdin => {
            let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
            let len = file.metadata().ok().filter(Metadata::is_file)?.len();
            // A part may have been read by another program before.
            Some(len.saturating_sub(file.stream_position().ok()?))
        }
    }
}

/// Returns an error if the output file of an option is one of the dumps.
pub(crate) fn check_apart(
    sources: &[Source],
    place: &'static str,
    written: &Path,
) -> Result<(), SettingError> {
    let mut found = sources.iter().filter_map(metadata);
    if written.is_file() && found.any(|source| is_same(written, &source)) {
        let value = written.display().to_string();
        let wanted = "it is a dump to read, choose another file".to_owned();
        return Err(SettingError::Value { place, value, wanted });
    }
    Ok(())
}

/// The metadata of a source, also of standard input.
fn metadata(source: &Source) -> Option<Metadata> {
    match source {
        Source::Stdin => File::from(io::stdin().as_fd().try_clone_to_owned().ok()?).metadata().ok(),
        Source::File(path) => fs::metadata(path).ok(),
    }
}

pub(crate) fn to_text(sources: &[Source]) -> String {
    let name = |source: &Source| source.file_name().unwrap_or_else(|| "standard input".to_owned());
    match sources {
        [] => "nothing".to_owned(),
        [one] => name(one),
        [first, others @ ..] => format!("{} and {} more", name(first), others.len()),
    }
}
