//! Segments that other loads have taken: they are put off, and seen to when all else is read.
//!
//! Invariant: what is put off is in no count. Once it is loaded, by whom ever, it is counted; what is left when the run is
//! stopped is as input that was not read.
//!
//! Invariant: of a segment that is put off some 80 bytes are kept, never its text: of a dump of 1 TB some 10 MB.

use super::halt::{Halt, HaltReason};
use super::monitor::Awaited;
use super::prepare::Preparer;
use super::segments::SourceError;
use super::tally::Tally;
use crate::causes::in_full;
use crate::database::store::{SegmentHash, Standing, Store, StoreError};
use crate::input::{Place, Rereader, Segment, Source, lasting_file};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select_biased};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two questions for segments that others have.
const AGAIN: Duration = Duration::from_millis(100);

/// The segments that are put off.
#[derive(Debug)]
pub(super) struct TakenSegments {
    /// What can be read again, by its name as it is shown.
    files: HashMap<String, PathBuf>,
    waiting: Mutex<Vec<Taken>>,
}

/// A segment that can be read again. In ascending order the places of a source come in theirs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Taken {
    source: Arc<str>,
    place: Place,
    hash: SegmentHash,
}

impl TakenSegments {
    pub(super) fn new(sources: &[Source]) -> Self {
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

    /// Puts a segment off, and gives its buffer back; the segment itself if it can't be read again.
    pub(super) fn put_off(&self, segment: Segment, hash: SegmentHash) -> Result<Vec<u8>, Segment> {
        if !self.files.contains_key(&*segment.source) {
            return Err(segment);
        }
        let (place, source) = (Place::of(&segment), segment.source);
        self.add(vec![Taken { source, place, hash }]);
        Ok(segment.bytes)
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
pub(super) struct Rest<'r> {
    pub(super) taken: &'r TakenSegments,
    pub(super) preparer: &'r Preparer,
    pub(super) store: &'r dyn Store,
    pub(super) tally: &'r Tally,
    pub(super) halt: &'r Halt,
    pub(super) awaited: &'r Awaited,
    pub(super) buffers: &'r Receiver<Vec<u8>>,
    pub(super) give_back: &'r Sender<Vec<u8>>,
}

/// A segment that is ours by now, read again.
pub(super) type Reread = (Segment, SegmentHash);

impl Rest<'_> {
    /// Asks for the segments again and again, until each is loaded or the run is to stop. Those that become ours are given
    /// to `load`, numbered from `number` on.
    pub(super) fn finish(
        &self,
        mut number: u64,
        load: impl Fn(&mut dyn Iterator<Item = Reread>),
    ) -> Vec<SourceError> {
        let (mut errors, mut moved, stopped) = (Vec::new(), Instant::now(), self.halt.stopped());
        let mut waiting = self.taken.take();
        while !waiting.is_empty() && !self.halt.has_failed() {
            let before = waiting.len();
            let ours = match self.sort_out(&mut waiting, moved.elapsed()) {
                Ok(ours) => ours,
                Err(error) if error.is_given_up() => break,
                Err(error) => {
                    self.halt.stop(HaltReason::Failed(error.into()));
                    break;
                }
            };
            self.awaited.set(waiting.len());
            if waiting.len() < before {
                moved = Instant::now();
            }
            let mut reading = Reading { rest: self, ours, errors: &mut errors, number, file: None };
            load(&mut reading);
            number = reading.number;
            waiting.extend(reading.ours);
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
    fn sort_out(&self, waiting: &mut Vec<Taken>, waited: Duration) -> Result<VecDeque<Taken>, StoreError> {
        let mut seen = HashSet::new();
        let hashes: Vec<SegmentHash> =
            waiting.iter().map(|taken| taken.hash).filter(|hash| seen.insert(*hash)).collect();
        let standings = self.store.look_again(&hashes, waited)?;
        let standings: HashMap<SegmentHash, Standing> = hashes.into_iter().zip(standings).collect();
        let (mut ours, mut others, mut chosen) = (VecDeque::new(), Vec::new(), HashSet::new());
        for taken in waiting.drain(..) {
            match standings.get(&taken.hash) {
                Some(Standing::Loaded(held)) => self.tally.add(|counts| counts.skip(*held)),
                // Of several that are alike one is loaded, and the others are then loaded already.
                Some(Standing::Free) if chosen.insert(taken.hash) => ours.push_back(taken),
                _ => others.push(taken),
            }
        }
        *waiting = others;
        Ok(ours)
    }

    /// A buffer to read into; none when the run is to stop.
    fn buffer(&self) -> Option<Vec<u8>> {
        select_biased! {
            recv(self.halt.stopped()) -> _ => None,
            recv(self.buffers) -> buffer => buffer.ok(),
        }
    }
}

/// Reads segments again, one file after the other.
struct Reading<'r> {
    rest: &'r Rest<'r>,
    /// Those that are to come, in their order.
    ours: VecDeque<Taken>,
    /// At most one of each source.
    errors: &'r mut Vec<(Arc<str>, SourceError)>,
    /// That of the next segment.
    number: u64,
    /// The file at hand.
    file: Option<(Arc<str>, Rereader)>,
}

impl Iterator for Reading<'_> {
    type Item = Reread;

    fn next(&mut self) -> Option<Reread> {
        while !self.ours.is_empty() {
            let mut buffer = self.rest.buffer()?;
            let taken = self.ours.pop_front()?;
            match self.read(&taken, &mut buffer) {
                Ok(()) => {
                    let segment = taken.place.segment(self.number, taken.source, buffer);
                    self.number += 1;
                    return Some((segment, taken.hash));
                }
                Err(error) => {
                    self.rest.store.done(&taken.hash);
                    // There is room for every buffer there is.
                    let _ = self.rest.give_back.try_send(buffer);
                    self.note(taken.source, error);
                }
            }
        }
        None
    }
}

impl Reading<'_> {
    fn read(&mut self, taken: &Taken, buffer: &mut Vec<u8>) -> Result<(), SourceError> {
        let changed = || SourceError::Changed { source_name: taken.source.to_string() };
        if self.file.as_ref().is_none_or(|(source, _)| *source != taken.source) {
            // To open a pipe that stands there by now would wait for who writes into it.
            let may_open = |path: &&PathBuf| path.is_file() || !path.exists();
            let path = self.rest.taken.files.get(&*taken.source).filter(may_open).ok_or_else(changed)?;
            self.file = Some((Arc::clone(&taken.source), Rereader::open(path)?));
        }
        let (_, file) = self.file.as_mut().ok_or_else(changed)?;
        let is_there = file.read(&taken.place, buffer)? && self.rest.preparer.hash_of(&taken.source, buffer, None) == taken.hash;
        if is_there { Ok(()) } else { Err(changed()) }
    }

    fn note(&mut self, source: Arc<str>, error: SourceError) {
        if self.errors.iter().all(|(known, _)| *known != source) {
            log::error!("{}", in_full(&error));
            self.errors.push((source, error));
        }
    }
}
