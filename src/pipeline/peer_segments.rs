//! Segments claimed by other loads. They are deferred until all other input is read.
//!
//! Invariant: a deferred segment is in no count. It is counted once this or another load has loaded it. Segments that remain
//! when the run is stopped are treated like unread input.
//!
//! Invariant: about 80 bytes are kept per deferred segment, never its text. That is about 10 MB for a dump of 1 TB.

use crate::database::store::{SegmentHash, SegmentStatus, Store, StoreError};
use crate::error_chain::in_full;
use crate::input::buffers::{Buffer, BufferPool};
use crate::input::reread::{Rereader, SegmentPlace, rereadable_file};
use crate::input::segment::Segment;
use crate::input::source::Source;
use crate::pipeline::account::counts::Tally;
use crate::pipeline::account::monitor::Awaited;
use crate::pipeline::claim::{ClaimCount, SegmentClaim};
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::SourceError;
use crate::sync::channel::RecvTimeoutError;
use crate::sync::{Mutex, lock};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The interval between two checks of segments claimed by other loads.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct DeferredSegments {
    /// The files that can be reread, by display name.
    files: HashMap<String, PathBuf>,
    waiting: Mutex<Vec<DeferredSegment>>,
}

/// A segment that can be reread. Ascending order keeps the segments of a source in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DeferredSegment {
    source: Arc<str>,
    place: SegmentPlace,
    hash: SegmentHash,
}

impl DeferredSegments {
    pub(crate) fn new(sources: &[Source]) -> Self {
        let file = |source: &Source| Some((source.to_string(), rereadable_file(source)?.to_owned()));
        let mut files = HashMap::new();
        for (name, path) in sources.iter().filter_map(file) {
            // Names that are not UTF-8 can have the same display name. In this case neither file is recorded.
            let other = files.insert(name.clone(), path.clone());
            if other.is_some_and(|other| other != path) {
                files.insert(name, PathBuf::new());
            }
        }
        files.retain(|_, path| *path != Path::new(""));
        Self { files, waiting: Mutex::default() }
    }

    /// Defers a segment. Returns false if it cannot be reread.
    pub(crate) fn defer(&self, segment: &Segment, hash: SegmentHash) -> bool {
        let place = SegmentPlace::of(segment).filter(|_| self.files.contains_key(&*segment.source));
        if let Some(place) = place {
            self.add(vec![DeferredSegment { source: Arc::clone(&segment.source), place, hash }]);
        }
        place.is_some()
    }

    fn add(&self, mut deferred: Vec<DeferredSegment>) {
        lock(&self.waiting).append(&mut deferred);
    }

    fn take(&self) -> Vec<DeferredSegment> {
        let mut deferred = std::mem::take(&mut *lock(&self.waiting));
        deferred.sort_unstable();
        deferred
    }
}

/// Loads the deferred segments after all other input is read.
pub(crate) struct Remainder<'r> {
    pub(crate) deferred: &'r DeferredSegments,
    pub(crate) preparer: &'r Preparer,
    pub(crate) store: &'r dyn Store,
    pub(crate) tally: &'r Tally,
    pub(crate) shutdown: &'r Shutdown,
    pub(crate) awaited: &'r Awaited,
    pub(crate) buffers: &'r BufferPool,
    pub(crate) claims: &'r ClaimCount,
}

/// A deferred segment that this run has claimed and reread.
pub(crate) struct Reread<'r> {
    pub(crate) segment: Segment,
    pub(crate) hash: SegmentHash,
    pub(crate) claim: SegmentClaim<'r>,
}

impl<'r> Remainder<'r> {
    /// Checks the segments periodically until each is loaded or the run must stop. Passes the segments that this run
    /// could claim to `load`, numbered from `number` on.
    pub(crate) fn finish(
        &self,
        mut number: u64,
        load: impl Fn(&mut dyn Iterator<Item = Reread<'r>>),
    ) -> Vec<SourceError> {
        let (mut errors, mut last_progress, stopped) = (Vec::new(), Instant::now(), self.shutdown.stopped());
        let mut waiting = self.deferred.take();
        while !waiting.is_empty() && !self.shutdown.has_failed() {
            let before = waiting.len();
            let claimed = match self.classify(&mut waiting, last_progress.elapsed()) {
                Ok(claimed) => claimed,
                Err(error) if error.is_aborted() => break,
                Err(error) => {
                    self.shutdown.stop(ShutdownReason::Failed(error.into()));
                    break;
                }
            };
            self.awaited.set(waiting.len());
            if waiting.len() < before {
                last_progress = Instant::now();
            }
            let mut reading =
                PeerReading { remainder: self, claimed, errors: &mut errors, number, file: None };
            load(&mut reading);
            number = reading.number;
            // Segments that could not be reread because the run must stop.
            waiting.extend(reading.claimed.into_iter().map(|(deferred, _claim)| deferred));
            if !waiting.is_empty() && stopped.recv_timeout(CHECK_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        self.awaited.set(0);
        if !waiting.is_empty() {
            let count = waiting.len();
            log::warn!("segments left to the loads that claimed them, and not counted: {count}");
        }
        errors.into_iter().map(|(_, error)| error).collect()
    }

    /// Counts loaded segments, keeps in `waiting` those claimed by other loads, and returns those claimed by this run.
    fn classify(
        &self,
        waiting: &mut Vec<DeferredSegment>,
        waited: Duration,
    ) -> Result<Claimed<'r>, StoreError> {
        let mut seen = HashSet::new();
        let hashes: Vec<SegmentHash> =
            waiting.iter().map(|deferred| deferred.hash).filter(|hash| seen.insert(*hash)).collect();
        let statuses = self.store.look_again(&hashes, waited)?;
        let claim = |hash| SegmentClaim::new(self.store, hash, self.claims);
        let is_free = |(hash, status)| (status == SegmentStatus::Free).then(|| (hash, claim(hash)));
        let both = || hashes.iter().copied().zip(statuses.iter().copied());
        let mut claims: HashMap<SegmentHash, SegmentClaim<'r>> = both().filter_map(is_free).collect();
        let statuses: HashMap<SegmentHash, SegmentStatus> = both().collect();
        let (mut claimed, mut unavailable) = (VecDeque::new(), Vec::new());
        for deferred in waiting.drain(..) {
            match statuses.get(&deferred.hash) {
                Some(SegmentStatus::Loaded(held)) => self.tally.skip(held),
                // Of identical segments only one is claimed. The others are then already loaded.
                Some(SegmentStatus::Free) => match claims.remove(&deferred.hash) {
                    Some(claim) => claimed.push_back((deferred, claim)),
                    None => unavailable.push(deferred),
                },
                _ => unavailable.push(deferred),
            }
        }
        *waiting = unavailable;
        Ok(claimed)
    }
}

/// Segments claimed by this run, in order.
type Claimed<'r> = VecDeque<(DeferredSegment, SegmentClaim<'r>)>;

/// Rereads segments, one file after the other.
struct PeerReading<'a, 'r> {
    remainder: &'a Remainder<'r>,
    /// The remaining segments.
    claimed: Claimed<'r>,
    /// At most one error per source.
    errors: &'a mut Vec<(Arc<str>, SourceError)>,
    /// The number of the next segment.
    number: u64,
    /// The current file.
    file: Option<(Arc<str>, Rereader)>,
}

impl<'r> Iterator for PeerReading<'_, 'r> {
    type Item = Reread<'r>;

    fn next(&mut self) -> Option<Reread<'r>> {
        while !self.claimed.is_empty() {
            // Waits return none when the run must stop.
            let Remainder { buffers, shutdown, .. } = self.remainder;
            let mut buffer = buffers.take(&shutdown.stopped())?;
            if self.claimed.front()?.0.place.bytes() > buffers.usual_bytes_max() {
                buffer.permit(buffers.take_permit(&shutdown.stopped())?);
            }
            let (deferred, claim) = self.claimed.pop_front()?;
            match self.read(&deferred, &mut buffer) {
                Ok(()) => {
                    let segment = deferred.place.segment(self.number, deferred.source, buffer);
                    self.number += 1;
                    return Some(Reread { segment, hash: deferred.hash, claim });
                }
                Err(error) => self.note(deferred.source, error),
            }
        }
        None
    }
}

impl PeerReading<'_, '_> {
    fn read(&mut self, deferred: &DeferredSegment, buffer: &mut Buffer) -> Result<(), SourceError> {
        let changed = || SourceError::Changed { source_name: deferred.source.to_string() };
        if self.file.as_ref().is_none_or(|(source, _)| *source != deferred.source) {
            // Opening a pipe that replaced the file would wait for a writer.
            let may_open = |path: &&PathBuf| path.is_file() || !path.exists();
            let path =
                self.remainder.deferred.files.get(&*deferred.source).filter(may_open).ok_or_else(changed)?;
            self.file = Some((Arc::clone(&deferred.source), Rereader::open(path)?));
        }
        let (_, file) = self.file.as_mut().ok_or_else(changed)?;
        let is_there = file.read(&deferred.place, buffer)?
            && self.remainder.preparer.hash_of(&deferred.source, buffer, None) == deferred.hash;
        if is_there { Ok(()) } else { Err(changed()) }
    }

    fn note(&mut self, source: Arc<str>, error: SourceError) {
        if self.errors.iter().all(|(known, _)| *known != source) {
            log::error!("{}", in_full(&error));
            self.errors.push((source, error));
        }
    }
}
