//! What the pipeline asks of a database, in words that hold no type of a client library.

use crate::layout::rows::Rows;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The blake3 hash of a segment's bytes; with server and layout it is the segment's key in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentHash(pub [u8; 32]);

/// How the values of a file are read: the blake3 hash of the options that make other events of the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadingDigest(pub [u8; 32]);

/// What a segment held when it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentCounts {
    /// Lines, blank ones too.
    pub lines: u64,
    /// Events, refused ones too.
    pub events: u64,
}

/// A segment that was loaded before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadedSegment {
    /// What it held.
    pub counts: SegmentCounts,
    /// Events of it that were rejected. They are in the reject file of the run.
    pub rejected: u64,
    /// The run that loaded it last.
    pub run: Uuid,
}

impl LoadedSegment {
    /// Events of it that are stored.
    pub(crate) fn stored(&self) -> u64 {
        self.counts.events.saturating_sub(self.rejected)
    }
}

/// A segment ready to be written: the same value is written again by each try.
#[derive(Debug)]
pub struct Batch {
    /// Its key in the ledger.
    pub hash: SegmentHash,
    /// Its place in the run, from 0.
    pub number: u64,
    /// Its lines and events.
    pub counts: SegmentCounts,
    /// Events that were refused before the database saw them.
    pub rejected: u64,
    /// The rows of all events.
    pub rows: Rows,
    /// All events of `rows` by id; of one id, the version that is to be stored comes first.
    pub versions: Vec<usize>,
    /// The first version of each id. One order for all who write is what keeps two of them from waiting for
    /// each other in a circle.
    pub order: Vec<usize>,
}

impl Batch {
    /// The version of an event that is to be stored if `version` can't be.
    pub fn next_version(&self, version: usize) -> Option<usize> {
        let id = |event: usize| self.rows.events()[event].id;
        let first = self.versions.partition_point(|&event| id(event) < id(version));
        let mut rest = self.versions[first..].iter().copied().skip_while(|&event| event != version);
        rest.nth(1).filter(|&event| id(event) == id(version))
    }
}

/// What became of a batch. The outcome is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// Its events are stored.
    Stored {
        /// Events that are new.
        inserted: u64,
        /// Events that were stored before and differed, where that is asked for.
        updated: u64,
        /// Events that were stored before, or stand in the segment more than once.
        duplicate: u64,
        /// Events that the database refused.
        refused: Vec<Refused>,
    },
    /// Another load, or another run, has stored the same segment.
    AlreadyLoaded(LoadedSegment),
}

/// An event that the database refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The event's place in the batch's rows.
    pub event: usize,
    /// The SQLSTATE; none where a trigger dropped the row without a word.
    pub sqlstate: Option<String>,
    /// The database's own words.
    pub reason: String,
}

/// How it stands with a segment that is about to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentStatus {
    /// It is ours to load. Another load may come to it all the same; it is stored once.
    Free,
    /// It has been loaded, and those of its events that were rejected are in a reject file.
    Loaded(LoadedSegment),
    /// Another load is at it.
    Taken,
}

/// Where segments are stored.
pub(crate) trait Store: Sync {
    /// How it stands with a segment; one that is free is ours from now on, until [`done`](Self::done) is called.
    fn look(&self, hash: &SegmentHash) -> Result<SegmentStatus, StoreError>;

    /// The same of segments that were taken, each named once, in their order. Of those that are given free some are made
    /// ours, and the others stay taken. `waited` is for how long nothing was heard of any: who has them may be frozen.
    fn look_again(&self, hashes: &[SegmentHash], waited: Duration) -> Result<Vec<SegmentStatus>, StoreError>;

    /// Says that nothing more is done with a segment. Nothing where it is not ours.
    fn done(&self, hash: &SegmentHash);

    /// Stores a batch in one transaction, trying again where that can help. A try that hangs is left behind, and
    /// may hold the batch for longer than this call.
    fn write(&self, batch: &Arc<Batch>) -> Result<Written, StoreError>;

    /// Notes that the rejects of these segments, which this run has stored, are in the file and on the disk: from now on the
    /// segments count as loaded. The path is absolute.
    fn note_reported(&self, segments: &[SegmentHash], rejects_file: &Path) -> Result<(), StoreError>;

    /// Does what was put off for the sake of speed. It is called again and again while there is little to write; who
    /// writes meanwhile waits. What fails of it is told in the log, as nothing is lost.
    fn catch_up(&self);
}

/// A call of the database that failed for good. Of a batch nothing is stored, unless it was given up.
#[derive(Debug)]
pub struct StoreError {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    mark: Mark,
    event: Option<usize>,
}

/// What is known of a failure besides its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Nothing.
    None,
    /// It is the caller's own wish.
    Aborted,
    /// Another try would fail again.
    Refused,
}

impl StoreError {
    /// A failure, with what was being done.
    pub fn new(what: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()), mark: Mark::None, event: None }
    }

    /// A failure that has no further cause.
    pub fn plain(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None, mark: Mark::None, event: None }
    }

    /// The database can't be used as it is: tables that do not fit, a role that may not write. Another try would fail again.
    pub fn refused(what: impl Into<String>) -> Self {
        Self { mark: Mark::Refused, ..Self::plain(what) }
    }

    /// The caller wanted to wait no longer. What was being done may still come to be.
    pub fn aborted(what: impl Into<String>) -> Self {
        Self { mark: Mark::Aborted, ..Self::plain(what) }
    }

    /// The same failure, which one event of the batch has caused; it is the event's place in the batch's rows.
    #[must_use]
    pub fn at_event(self, event: Option<usize>) -> Self {
        Self { event, ..self }
    }

    /// The same failure in other words.
    #[must_use]
    pub fn map_message(self, words: impl FnOnce(&str) -> String) -> Self {
        Self { what: words(&self.what), ..self }
    }

    /// The event that has caused it, where that is known.
    pub fn event(&self) -> Option<usize> {
        self.event
    }

    /// Whether it was marked as one that another try would end with again.
    pub(crate) fn is_marked_refused(&self) -> bool {
        self.mark == Mark::Refused
    }

    /// Whether it is the caller's own wish that ended it.
    pub fn is_given_up(&self) -> bool {
        self.mark == Mark::Aborted
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| -> &(dyn Error + 'static) { source.as_ref() })
    }
}

/// What a file held when it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileCounts {
    /// Lines, blank ones too.
    pub lines: u64,
    /// Events.
    pub events: u64,
    /// Segments.
    pub segments: u64,
    /// Events that were rejected.
    pub rejected: u64,
    /// The runs whose reject files have them.
    pub reported_by: Vec<Uuid>,
}
