//! The database interface of the pipeline, without types of a client library.

use crate::error_chain::truncated;
use crate::layout::rows::Rows;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The blake3 hash of a segment's bytes. Together with server and layout it is the segment's key in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentHash(pub [u8; 32]);

impl SegmentHash {
    /// The key of the entry for an input that was abandoned in this segment. The segment itself is not loaded.
    pub(crate) fn abandoned(&self) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(b"\0abandoned");
        Self(*hasher.finalize().as_bytes())
    }
}

/// The blake3 hash of the reading options that affect the events of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadingDigest(pub [u8; 32]);

/// The counts of a segment when it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentCounts {
    /// Lines, including blank ones.
    pub lines: u64,
    /// Events, including rejected ones.
    pub events: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadedSegment {
    pub counts: SegmentCounts,
    /// Rejected events, which are in the reject file of `run`.
    pub rejected: u64,
    /// The latest run that loaded it.
    pub run: Uuid,
}

impl LoadedSegment {
    /// The number of stored events.
    pub(crate) fn stored(&self) -> u64 {
        self.counts.events.saturating_sub(self.rejected)
    }
}

/// A segment ready to be written. Each attempt writes the same value.
#[derive(Debug)]
pub struct Batch {
    /// Its key in the ledger.
    pub hash: SegmentHash,
    /// Its position in the run, from 0.
    pub number: u64,
    pub counts: SegmentCounts,
    /// The size of its text, in bytes.
    pub text_bytes: usize,
    /// Events rejected before writing.
    pub rejected: u64,
    /// The rows of all events.
    pub rows: Rows,
    /// All events of `rows` by id. Of events with the same id, the version to store comes first.
    pub versions: Vec<usize>,
    /// The first version of each id. All writers use the same order, which prevents deadlocks.
    pub order: Vec<usize>,
}

impl Batch {
    /// The version of an event to store if `version` cannot be stored.
    pub fn next_version(&self, version: usize) -> Option<usize> {
        let id = |event: usize| self.rows.events()[event].id;
        let first = self.versions.partition_point(|&event| id(event) < id(version));
        let mut versions = self.versions[first..].iter().copied().skip_while(|&event| event != version);
        versions.nth(1).filter(|&event| id(event) == id(version))
    }
}

/// The committed outcome of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// Its events are stored.
    Stored {
        /// New events.
        inserted: u64,
        /// Stored events that differed and were rewritten (`--on-conflict update`).
        updated: u64,
        /// Events stored before, and repetitions within the segment.
        duplicate: u64,
        /// Events that the database refused.
        refused: Vec<Refused>,
    },
    /// Another run has stored the same segment.
    AlreadyLoaded(LoadedSegment),
}

/// An event that the database refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The event's index in the batch's rows.
    pub event: usize,
    /// The SQLSTATE; `None` if a trigger dropped or changed the row silently.
    pub sqlstate: Option<String>,
    pub reason: RefusalReason,
}

/// Longer messages about an event are truncated: a trigger can raise megabytes for each event of a batch.
const REASON_BYTES_MAX: usize = 1 << 10;

/// The database's message about an event, which may quote it. It has no `Display`, so that no error or log line includes
/// it: the ledger and the pages could show those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusalReason(Arc<str>);

impl RefusalReason {
    pub(crate) fn new(message: &str) -> Self {
        Self(Arc::from(&*truncated(message, REASON_BYTES_MAX)))
    }

    /// The message for the reject of the event.
    pub(crate) fn into_reject(self) -> String {
        (*self.0).to_owned()
    }
}

/// The status of a segment before it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentStatus {
    /// This load may write it. Another load may do so, too; it is stored once.
    Free,
    /// It is loaded, and its rejected events are in a reject file.
    Loaded(LoadedSegment),
    /// Another load has claimed it.
    Taken,
}

pub(crate) trait Store: Sync {
    /// The status of a segment. A free segment is claimed until [`done`](Self::done) is called.
    fn look(&self, hash: &SegmentHash) -> Result<SegmentStatus, StoreError>;

    /// The statuses of distinct segments that another load has claimed, in their order. Of segments that are free now,
    /// only some are claimed and returned as free. `waited` is the time without news of any: their owner may be frozen.
    fn look_again(&self, hashes: &[SegmentHash], waited: Duration) -> Result<Vec<SegmentStatus>, StoreError>;

    /// Releases a segment. Has no effect if it is not claimed.
    fn done(&self, hash: &SegmentHash);

    /// Stores a batch in one transaction, and retries if that can help. A hanging attempt is abandoned and may hold the
    /// batch for longer than this call.
    fn write(&self, batch: &Arc<Batch>) -> Result<Written, StoreError>;

    /// Records that the rejects of these segments of this run are in the file, on disk. From then on the segments count
    /// as loaded. The path is absolute.
    fn note_reported(&self, segments: &[SegmentHash], rejects_file: &Path) -> Result<(), StoreError>;

    /// Does deferred work, such as building indexes. The pipeline calls it repeatedly while there is little to write;
    /// writes wait for it. Failures are only logged, because nothing is lost.
    fn catch_up(&self);
}

/// A database call that failed permanently. Nothing of a batch is stored, unless the call was aborted.
#[derive(Debug)]
pub struct StoreError {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    kind: FailureKind,
    is_aborted: bool,
    is_at_batch: bool,
    event: Option<usize>,
}

/// The kind of a failure, which decides whether another run can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// An outage, or an error that persisted through all retries. It may pass.
    Passing,
    /// The database refuses for a permanent reason: login, privileges, names, incompatible tables.
    Permanent,
    /// The program itself: a limit of its process, such as threads or open files, or a panic.
    Program,
}

/// An error that can cause a [`StoreError`].
pub(crate) trait FailureCause: Error + Send + Sync + 'static {
    fn failure_kind(&self) -> FailureKind;
}

impl StoreError {
    /// A failure of the operation `what`, with its cause.
    pub(crate) fn new(what: impl Into<String>, source: impl FailureCause) -> Self {
        let kind = source.failure_kind();
        Self { kind, source: Some(Box::new(source)), ..Self::plain(what) }
    }

    /// A failure without a further cause.
    pub fn plain(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
            kind: FailureKind::Passing,
            is_aborted: false,
            is_at_batch: false,
            event: None,
        }
    }

    /// The database is unusable in its current state, for example because of incompatible tables or missing privileges.
    /// A retry would fail again.
    pub fn refused(what: impl Into<String>) -> Self {
        Self { kind: FailureKind::Permanent, ..Self::plain(what) }
    }

    /// The caller aborted the call. The operation may still succeed.
    pub fn aborted(what: impl Into<String>) -> Self {
        Self { is_aborted: true, ..Self::plain(what) }
    }

    /// The same failure, caused by the event with this index in the batch's rows.
    #[must_use]
    pub fn at_event(self, event: Option<usize>) -> Self {
        Self { event, ..self }
    }

    /// The same failure while the batch was written, at this event if that is known.
    #[must_use]
    pub(crate) fn at_batch(self, event: Option<usize>) -> Self {
        Self { is_at_batch: true, event, ..self }
    }

    /// The same failure with this hint in place of its own.
    #[must_use]
    pub(crate) fn with_hint(self, hint: &str) -> Self {
        let what = self.what.split("\nhint: ").next().unwrap_or_default();
        Self { what: format!("{what}\nhint: {hint}"), ..self }
    }

    /// Whether the place of the batch is part of the failure.
    pub(crate) fn is_at_batch(&self) -> bool {
        self.is_at_batch
    }

    /// The event that caused it, if known.
    pub fn event(&self) -> Option<usize> {
        self.event
    }

    /// The kind of the failure, which is that of its cause.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Whether the caller aborted the call.
    pub fn is_aborted(&self) -> bool {
        self.is_aborted
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

/// The counts of a file when it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileCounts {
    /// The size of the file.
    pub bytes: u64,
    /// Lines, including blank ones.
    pub lines: u64,
    pub events: u64,
    pub segments: u64,
    pub rejected: u64,
    /// The runs whose reject files contain them.
    pub reported_by: Vec<Uuid>,
}
