//! Skips files that an earlier load has read to the end and that are unchanged since.
//!
//! A file is unchanged if name, size, mtime, ctime and inode are unchanged. Timestamps are coarse: a file that was modified
//! just before it is examined could be modified once more without a new time, so it is read.

use crate::database::ledger::files::{FileStamp, LoadedFiles, UnchangedFile, as_signed, nanoseconds, size};
use crate::database::options::{LoadedSegments, StoreSettings};
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::locate;
use crate::database::session::deadline::Deadline;
use crate::database::store::{ReadingDigest, StoreError};
use crate::error_chain::in_full;
use crate::input::source::Source;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::source_segments::SourceError;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{self, Path};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// A file is read if it was modified within this time before it is examined.
const RACY: Duration = Duration::from_secs(2);

pub(crate) struct Files {
    /// None if nothing is skipped or recorded.
    loaded: Option<LoadedFiles>,
    /// The stamps of the files to read, taken before reading, by source name.
    read: HashMap<String, FileStamp>,
    pub(crate) skipped: Vec<UnchangedFile>,
    pub(crate) sources: Vec<Source>,
    preparer: Preparer,
}

impl Files {
    /// Examines the sources. Nothing is skipped if segments are loaded again or `rereads` is set.
    pub(crate) fn examine(
        manager: &DatabaseManager,
        settings: &StoreSettings,
        sources: &[Source],
        preparer: Preparer,
        rereads: bool,
        deadline: &Deadline,
    ) -> Result<Self, StoreError> {
        let read = stamps(sources, &preparer);
        let mut files = Self { loaded: None, read, skipped: Vec::new(), sources: sources.to_vec(), preparer };
        if settings.held == LoadedSegments::LoadAgain || files.read.is_empty() {
            return Ok(files);
        }
        files.loaded = LoadedFiles::open(manager, settings, deadline);
        if files.loaded.is_some() {
            // Another role may have created the table since the first check.
            locate::check_again(manager, settings.layout, &settings.schemas, deadline)?;
        }
        let Some(loaded) = files.loaded.as_ref().filter(|_| !rereads) else { return Ok(files) };
        let asked: Vec<FileStamp> = files.read.values().cloned().collect();
        let unchanged = loaded.unchanged(manager, &asked, deadline)?;
        let is_skipped = |source: &Source| {
            files.read.get(&source.to_string()).and_then(|stamp| unchanged.get(&stamp.name))
        };
        files.skipped.extend(sources.iter().filter_map(is_skipped).cloned());
        files.sources = sources.iter().filter(|source| is_skipped(source).is_none()).cloned().collect();
        Ok(files)
    }

    /// Records the files that were loaded completely and did not change meanwhile. After a failure, the next load only
    /// takes longer.
    pub(crate) fn record(
        &self,
        manager: &DatabaseManager,
        run: Uuid,
        report: &RunReport,
        monitor: &Monitor,
        deadline: &Deadline,
    ) {
        let Some(loaded) = self.loaded.as_ref().filter(|_| report.halted.is_none()) else { return };
        let now = stamps(&self.sources, &self.preparer);
        let failed: HashSet<String> = report.source_errors.iter().map(SourceError::source_name).collect();
        let is_complete = |name: &String| !failed.contains(name) && now.get(name) == self.read.get(name);
        let complete = self.read.iter().filter(|(name, _)| is_complete(name)).filter_map(|(name, stamp)| {
            let segments = monitor.segments_of(name)?;
            Some((stamp.clone(), segments))
        });
        let complete: Vec<_> = complete.collect();
        if let Err(error) = loaded.record(manager, run, &complete, deadline) {
            log::warn!("{}", in_full(&error));
        }
    }
}

/// The stamps of files with unique names that were not modified recently, by source name.
fn stamps(sources: &[Source], preparer: &Preparer) -> HashMap<String, FileStamp> {
    let mut stamps = HashMap::new();
    let mut repeated = HashSet::new();
    for source in sources {
        let Source::File(path) = source else { continue };
        let Some(stamp) = stamp(path, preparer.reading_digest(&source.to_string())) else { continue };
        if stamps.insert(source.to_string(), stamp).is_some() {
            repeated.insert(source.to_string());
        }
    }
    stamps.retain(|name, _| !repeated.contains(name));
    stamps
}

fn stamp(path: &Path, reading: ReadingDigest) -> Option<FileStamp> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let name = path::absolute(path).ok()?.to_str()?.to_owned();
    let mtime_ns = nanoseconds(found.mtime(), found.mtime_nsec());
    let ctime_ns = nanoseconds(found.ctime(), found.ctime_nsec());
    let settled = i64::try_from(now.saturating_sub(RACY).as_nanos()).ok()?;
    let is_settled = mtime_ns.max(ctime_ns) < settled;
    is_settled.then(|| FileStamp {
        name,
        size: size(found.len()),
        mtime_ns,
        ctime_ns,
        inode: as_signed(found.ino()),
        reading,
    })
}
