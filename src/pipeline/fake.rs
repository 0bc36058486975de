//! A store for the tests of a run: it keeps what is committed in memory, and does what a script says.

use crate::database::store::{
    Batch, LoadedSegment, Refused, SegmentCounts, SegmentHash, SegmentStatus, Store, StoreError, Written,
};
use crossbeam_channel::Receiver;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// A call of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FakeOperation {
    Look,
    LookAgain,
    Write,
    CatchUp,
    NoteReported,
}

/// What a call does in place of its work.
#[derive(Debug, Clone)]
pub(crate) enum ScriptedFault {
    /// It fails for good.
    Fail,
    /// It panics.
    Panic,
    /// It works once the channel is disconnected, and is given up when the run gives up.
    Wait(Receiver<()>),
    /// The database rejects the first event of the batch.
    RejectFirst,
}

/// What another load does with a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Other {
    /// It has it for so many questions, and has then loaded it.
    Loads(usize),
    /// It has it for so many questions, and then gives it back.
    Leaves(usize),
}

/// See the module.
pub(crate) struct FakeStore {
    state: Mutex<FakeState>,
    changed: Condvar,
    aborted: Receiver<()>,
}

#[derive(Default)]
struct FakeState {
    /// By operation and how many calls of it came before.
    script: HashMap<(FakeOperation, usize), ScriptedFault>,
    /// What each call of an operation does that the script does not name.
    always: HashMap<FakeOperation, ScriptedFault>,
    calls: HashMap<FakeOperation, usize>,
    others: HashMap<SegmentHash, Other>,
    committed: Vec<u64>,
    loaded: HashMap<SegmentHash, LoadedSegment>,
    /// Segments with rejects that are not reported yet.
    unreported: HashMap<SegmentHash, LoadedSegment>,
    /// The segment whose version of an event is stored.
    events: HashMap<i64, u64>,
    claims: HashMap<SegmentHash, u32>,
}

impl FakeStore {
    /// An empty store of a run that gives up when the channel is disconnected.
    pub(crate) fn new(aborted: Receiver<()>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), aborted }
    }

    /// Has the call of that number, from 0, do something else.
    pub(crate) fn on(self, operation: FakeOperation, call: usize, fault: ScriptedFault) -> Self {
        self.lock().script.insert((operation, call), fault);
        self
    }

    /// The same for each call.
    pub(crate) fn always(self, operation: FakeOperation, fault: ScriptedFault) -> Self {
        self.lock().always.insert(operation, fault);
        self
    }

    /// Has another load at a segment.
    pub(crate) fn taken(self, hash: SegmentHash, other: Other) -> Self {
        self.lock().others.insert(hash, other);
        self
    }

    /// The numbers of the segments that were stored, in the order of the commits.
    pub(crate) fn committed(&self) -> Vec<u64> {
        self.lock().committed.clone()
    }

    /// The segment whose version of the event is stored.
    pub(crate) fn segment_of(&self, event: i64) -> Option<u64> {
        self.lock().events.get(&event).copied()
    }

    pub(crate) fn calls(&self, operation: FakeOperation) -> usize {
        self.lock().calls.get(&operation).copied().unwrap_or_default()
    }

    /// Segments that are claimed at this moment.
    pub(crate) fn claims(&self) -> usize {
        self.lock().claims.len()
    }

    /// Waits until an operation was called so often.
    pub(crate) fn wait_for(&self, operation: FakeOperation, calls: usize) {
        let state = self.lock();
        let too_few =
            |state: &mut FakeState| state.calls.get(&operation).copied().unwrap_or_default() < calls;
        let (_state, waited) =
            self.changed.wait_timeout_while(state, Duration::from_mins(1), too_few).expect("no panic");
        assert!(!waited.timed_out(), "{operation:?} was not called {calls} times");
    }

    /// Counts a call, and does what the script says. The fault that is left to the caller, if there is one.
    fn call(&self, operation: FakeOperation) -> Result<Option<ScriptedFault>, StoreError> {
        let mut state = self.lock();
        let number = state.calls.entry(operation).or_default();
        let key = (operation, *number);
        *number += 1;
        self.changed.notify_all();
        let fault = state.script.get(&key).or_else(|| state.always.get(&operation)).cloned();
        drop(state);
        match fault {
            Some(ScriptedFault::Fail) => Err(StoreError::plain("as the script says")),
            Some(ScriptedFault::Panic) => panic!("as the script says"),
            Some(ScriptedFault::Wait(until)) => crossbeam_channel::select_biased! {
                recv(until) -> _ => Ok(None),
                recv(self.aborted) -> _ => Err(StoreError::aborted("as the run gives up")),
            },
            other => Ok(other),
        }
    }

    fn lock(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeState {
    fn standing(&mut self, hash: &SegmentHash) -> SegmentStatus {
        if let Some(loaded) = self.loaded.get(hash) {
            return SegmentStatus::Loaded(*loaded);
        }
        match self.others.get_mut(hash) {
            Some(Other::Loads(0)) => SegmentStatus::Loaded(loaded(SegmentCounts { lines: 1, events: 1 }, 0)),
            Some(Other::Loads(left) | Other::Leaves(left)) if *left > 0 => {
                *left -= 1;
                SegmentStatus::Taken
            }
            Some(Other::Loads(_) | Other::Leaves(_)) | None => {
                *self.claims.entry(*hash).or_default() += 1;
                SegmentStatus::Free
            }
        }
    }
}

fn loaded(counts: SegmentCounts, rejected: u64) -> LoadedSegment {
    LoadedSegment { counts, rejected, run: Uuid::nil() }
}

impl Store for FakeStore {
    fn look(&self, hash: &SegmentHash) -> Result<SegmentStatus, StoreError> {
        self.call(FakeOperation::Look)?;
        Ok(self.lock().standing(hash))
    }

    fn look_again(
        &self,
        hashes: &[SegmentHash],
        _waited: Duration,
    ) -> Result<Vec<SegmentStatus>, StoreError> {
        self.call(FakeOperation::LookAgain)?;
        let mut state = self.lock();
        Ok(hashes.iter().map(|hash| state.standing(hash)).collect())
    }

    fn done(&self, hash: &SegmentHash) {
        let mut state = self.lock();
        let Some(claims) = state.claims.get_mut(hash) else { return };
        *claims -= 1;
        if *claims == 0 {
            state.claims.remove(hash);
        }
    }

    fn write(&self, batch: &Arc<Batch>) -> Result<Written, StoreError> {
        let fault = self.call(FakeOperation::Write)?;
        let rejects_first = matches!(fault, Some(ScriptedFault::RejectFirst));
        let mut state = self.lock();
        if let Some(loaded) = state.loaded.get(&batch.hash) {
            return Ok(Written::AlreadyLoaded(*loaded));
        }
        let refused: Vec<Refused> = batch
            .order
            .iter()
            .take(usize::from(rejects_first))
            .map(|&event| Refused { event, sqlstate: Some("23514".to_owned()), reason: "no".to_owned() })
            .collect();
        let ids = batch.rows.ids(&batch.order[refused.len()..]);
        let mut inserted = 0;
        for id in ids {
            state.events.entry(id).or_insert_with(|| {
                inserted += 1;
                batch.number
            });
        }
        state.committed.push(batch.number);
        let rejected = batch.rejected + refused.len() as u64;
        let kept = if rejected == 0 { &mut state.loaded } else { &mut state.unreported };
        kept.insert(batch.hash, loaded(batch.counts, rejected));
        let duplicate = batch.versions.len() as u64 - inserted - refused.len() as u64;
        Ok(Written::Stored { inserted, updated: 0, duplicate, refused })
    }

    fn note_reported(&self, segments: &[SegmentHash], rejects_file: &Path) -> Result<(), StoreError> {
        self.call(FakeOperation::NoteReported)?;
        assert!(rejects_file.is_absolute());
        let mut state = self.lock();
        for hash in segments {
            // What is abandoned was not written, and of twins one was noted.
            if let Some(loaded) = state.unreported.remove(hash) {
                state.loaded.insert(*hash, loaded);
            }
        }
        Ok(())
    }

    fn catch_up(&self) {
        // A call that panics or waits does so here.
        let _ = self.call(FakeOperation::CatchUp);
    }
}
