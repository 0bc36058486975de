//! Segments that other loads have taken: they are put off, and seen to when all else is read.
//!
//! Invariant: what is put off is in no count. Once it is loaded, by whom ever, it is counted; what is left when the run is
//! stopped is as input that was not read.
//!
//! Invariant: of a segment that is put off some 80 bytes are kept, never its text: of a dump of 1 TB some 10 MB.

use crate::database::store::{SegmentHash, SegmentStatus, Store, StoreError};
use crate::error_chain::in_full;
use crate::input::buffers::{Buffer, BufferPool};
use crate::input::reread::{Rereader, SegmentPlace, lasting_file};
use crate::input::segment::Segment;
use crate::input::source::Source;
use crate::pipeline::account::counts::Tally;
use crate::pipeline::account::monitor::Awaited;
use crate::pipeline::claim::{ClaimCount, SegmentClaim};
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::SourceError;
use crossbeam_channel::RecvTimeoutError;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two questions for segments that others have.
const AGAIN: Duration = Duration::from_millis(100);

/// The segments that are put off.
#[derive(Debug)]
pub(crate) struct TakenSegments {
    /// What can be read again, by its name as it is shown.
    files: HashMap<String, PathBuf>,
    waiting: Mutex<Vec<Taken>>,
}

/// A segment that can be read again. In ascending order the places of a source come in theirs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Taken {
    source: Arc<str>,
    place: SegmentPlace,
    hash: SegmentHash,
}

impl TakenSegments {
    pub(crate) fn new(sources: &[Source]) -> Self {
        let file = |source: &Source| Some((source.to_string(), lasting_file(source)?.to_owned()));
        let mut files = HashMap::new();
        for (name, path) in sources.iter().filter_map(file) {
            // Names that are no UTF-8 may look alike: then neither is known.
            let other = files.insert(name.clone(), path.clone());
            if other.is_some_and(|other| other != path) {
                files.insert(name, PathBuf::new());
            }
        }
        files.retain(|_, path| *path != Path::new(""));
        Self { files, waiting: Mutex::default() }
    }

    /// Notes a segment for later; false if it can't be read again.
    pub(crate) fn defer(&self, segment: &Segment, hash: SegmentHash) -> bool {
        let place = SegmentPlace::of(segment).filter(|_| self.files.contains_key(&*segment.source));
        if let Some(place) = place {
            self.add(vec![Taken { source: Arc::clone(&segment.source), place, hash }]);
        }
        place.is_some()
    }

    fn add(&self, mut taken: Vec<Taken>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).append(&mut taken);
    }

    fn take(&self) -> Vec<Taken> {
        let mut taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        taken.sort_unstable();
        taken
    }
}

/// What sees to the segments that are put off, once all else is read.
pub(crate) struct Remainder<'r> {
    pub(crate) taken: &'r TakenSegments,
    pub(crate) preparer: &'r Preparer,
    pub(crate) store: &'r dyn Store,
    pub(crate) tally: &'r Tally,
    pub(crate) shutdown: &'r Shutdown,
    pub(crate) awaited: &'r Awaited,
    pub(crate) buffers: &'r BufferPool,
    pub(crate) claims: &'r ClaimCount,
}

/// A segment that is ours by now, read again.
pub(crate) struct Reread<'r> {
    pub(crate) segment: Segment,
    pub(crate) hash: SegmentHash,
    pub(crate) claim: SegmentClaim<'r>,
}

impl<'r> Remainder<'r> {
    /// Asks for the segments again and again, until each is loaded or the run is to stop. Those that become ours are given
    /// to `load`, numbered from `number` on.
    pub(crate) fn finish(
        &self,
        mut number: u64,
        load: impl Fn(&mut dyn Iterator<Item = Reread<'r>>),
    ) -> Vec<SourceError> {
        let (mut errors, mut moved, stopped) = (Vec::new(), Instant::now(), self.shutdown.stopped());
        let mut waiting = self.taken.take();
        while !waiting.is_empty() && !self.shutdown.has_failed() {
            let before = waiting.len();
            let ours = match self.sort_out(&mut waiting, moved.elapsed()) {
                Ok(ours) => ours,
                Err(error) if error.is_given_up() => break,
                Err(error) => {
                    self.shutdown.stop(ShutdownReason::Failed(error.into()));
                    break;
                }
            };
            self.awaited.set(waiting.len());
            if waiting.len() < before {
                moved = Instant::now();
            }
            let mut reading = PeerReading { rest: self, ours, errors: &mut errors, number, file: None };
            load(&mut reading);
            number = reading.number;
            // Those that could not be read any more, as the run is to stop.
            waiting.extend(reading.ours.into_iter().map(|(taken, _claim)| taken));
            if !waiting.is_empty() && stopped.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        self.awaited.set(0);
        if !waiting.is_empty() {
            let count = waiting.len();
            log::warn!(
                "{count} segment(s) that other loads have taken are left to them, and counted nowhere"
            );
        }
        errors.into_iter().map(|(_, error)| error).collect()
    }

    /// Counts those that are loaded, leaves in `waiting` those that others have, and returns ours.
    fn sort_out(&self, waiting: &mut Vec<Taken>, waited: Duration) -> Result<Ours<'r>, StoreError> {
        let mut seen = HashSet::new();
        let hashes: Vec<SegmentHash> =
            waiting.iter().map(|taken| taken.hash).filter(|hash| seen.insert(*hash)).collect();
        let standings = self.store.look_again(&hashes, waited)?;
        let claim = |hash| SegmentClaim::new(self.store, hash, self.claims);
        let is_free = |(hash, standing)| (standing == SegmentStatus::Free).then(|| (hash, claim(hash)));
        let both = || hashes.iter().copied().zip(standings.iter().copied());
        let mut claims: HashMap<SegmentHash, SegmentClaim<'r>> = both().filter_map(is_free).collect();
        let standings: HashMap<SegmentHash, SegmentStatus> = both().collect();
        let (mut ours, mut others) = (VecDeque::new(), Vec::new());
        for taken in waiting.drain(..) {
            match standings.get(&taken.hash) {
                Some(SegmentStatus::Loaded(held)) => self.tally.skip(held),
                // Of several that are alike one is loaded, and the others are then loaded already.
                Some(SegmentStatus::Free) => match claims.remove(&taken.hash) {
                    Some(claim) => ours.push_back((taken, claim)),
                    None => others.push(taken),
                },
                _ => others.push(taken),
            }
        }
        *waiting = others;
        Ok(ours)
    }
}

/// Segments that are ours by now, in their order.
type Ours<'r> = VecDeque<(Taken, SegmentClaim<'r>)>;

/// Reads segments again, one file after the other.
struct PeerReading<'a, 'r> {
    rest: &'a Remainder<'r>,
    /// Those that are to come.
    ours: Ours<'r>,
    /// At most one of each source.
    errors: &'a mut Vec<(Arc<str>, SourceError)>,
    /// That of the next segment.
    number: u64,
    /// The file at hand.
    file: Option<(Arc<str>, Rereader)>,
}

impl<'r> Iterator for PeerReading<'_, 'r> {
    type Item = Reread<'r>;

    fn next(&mut self) -> Option<Reread<'r>> {
        while !self.ours.is_empty() {
            // None when the run is to stop.
            let Remainder { buffers, shutdown, .. } = self.rest;
            let mut buffer = buffers.take(&shutdown.stopped())?;
            if self.ours.front()?.0.place.bytes() > buffers.usual_bytes_max() {
                buffer.permit(buffers.take_permit(&shutdown.stopped())?);
            }
            let (taken, claim) = self.ours.pop_front()?;
            match self.read(&taken, &mut buffer) {
                Ok(()) => {
                    let segment = taken.place.segment(self.number, taken.source, buffer);
                    self.number += 1;
                    return Some(Reread { segment, hash: taken.hash, claim });
                }
                Err(error) => self.note(taken.source, error),
            }
        }
        None
    }
}

impl PeerReading<'_, '_> {
    fn read(&mut self, taken: &Taken, buffer: &mut Buffer) -> Result<(), SourceError> {
        let changed = || SourceError::Changed { source_name: taken.source.to_string() };
        if self.file.as_ref().is_none_or(|(source, _)| *source != taken.source) {
            // To open a pipe that stands there by now would wait for who writes into it.
            let may_open = |path: &&PathBuf| path.is_file() || !path.exists();
            let path = self.rest.taken.files.get(&*taken.source).filter(may_open).ok_or_else(changed)?;
            self.file = Some((Arc::clone(&taken.source), Rereader::open(path)?));
        }
        let (_, file) = self.file.as_mut().ok_or_else(changed)?;
        let is_there = file.read(&taken.place, buffer)?
            && self.rest.preparer.hash_of(&taken.source, buffer, None) == taken.hash;
        if is_there { Ok(()) } else { Err(changed()) }
    }

    fn note(&mut self, source: Arc<str>, error: SourceError) {
        if self.errors.iter().all(|(known, _)| *known != source) {
            log::error!("{}", in_full(&error));
            self.errors.push((source, error));
        }
    }
}
