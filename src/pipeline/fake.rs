//! A scripted in-memory store for tests of a run, with the lines and the settings of such a run.

use crate::database::store::{
    Batch, LoadedSegment, RefusalReason, Refused, SegmentCounts, SegmentHash, SegmentStatus, Store,
    StoreError, Written,
};
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::input::convert::PipedCommand;
use crate::input::segment::{LINE_MAX_BYTES, SegmentLimits};
use crate::layout::Layout;
use crate::layout::rows::DuplicatePolicy;
use crate::pipeline::prepare::preparer::Reading;
use crate::pipeline::run::PipelineSettings;
use crate::sync::channel::{Receiver, select_biased};
use crate::sync::{Condvar, Mutex, lock};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Builds one line, which is a segment of its own.
pub(crate) fn event(id: i64, fame: u32) -> String {
    format!(
        "{{\"EventId\":{id},\"TimeStamp\":\"2024-01-01T00:00:00Z\",\"TotalVictimKillFame\":{fame},\
         \"Killer\":{{\"Id\":\"a\",\"Name\":\"a\"}},\"Victim\":{{\"Id\":\"b\",\"Name\":\"b\"}}}}\n"
    )
}

/// Returns the hash of a line that is read with default options.
pub(crate) fn hash(line: &str) -> SegmentHash {
    SegmentHash(*blake3::hash(line.as_bytes()).as_bytes())
}

/// Settings that make each line a segment.
pub(crate) fn settings(workers: usize) -> PipelineSettings {
    let segment = SegmentLimits {
        segment_bytes: 1,
        lines_max: 1,
        line_max_bytes: LINE_MAX_BYTES,
        flush_interval: Duration::MAX,
    };
    PipelineSettings {
        piped: PipedCommand::default(),
        workers,
        parse_threads: 4,
        segment,
        layout: Layout::Archive,
        server: Server::Americas,
        nul: NulPolicy::Reject,
        repeats: DuplicatePolicy::KeepFirst,
        reading: Reading::default(),
        reject_limit: None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FakeOperation {
    Look,
    LookAgain,
    Write,
    CatchUp,
    NoteReported,
}

/// The scripted behavior of a call.
#[derive(Debug, Clone)]
pub(crate) enum ScriptedFault {
    Fail,
    Panic,
    /// Waits until the channel is disconnected, then works. Is aborted with the run.
    Wait(Receiver<()>),
    /// The database rejects the first event of the batch.
    RejectFirst,
}

/// The behavior of another load that has claimed a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OtherLoad {
    /// Has loaded the segment after this number of checks.
    Loads(usize),
    /// Releases the segment after this number of checks.
    Releases(usize),
}

/// A scripted in-memory store.
pub(crate) struct FakeStore {
    state: Mutex<FakeState>,
    changed: Condvar,
    aborted: Receiver<()>,
}

#[derive(Default)]
struct FakeState {
    /// By operation and number of its previous calls.
    script: HashMap<(FakeOperation, usize), ScriptedFault>,
    /// The behavior of calls that are not in `script`.
    always: HashMap<FakeOperation, ScriptedFault>,
    calls: HashMap<FakeOperation, usize>,
    others: HashMap<SegmentHash, OtherLoad>,
    committed: Vec<u64>,
    loaded: HashMap<SegmentHash, LoadedSegment>,
    /// Segments with rejects that are not reported yet.
    unreported: HashMap<SegmentHash, LoadedSegment>,
    /// The segment whose version of an event is stored.
    events: HashMap<i64, u64>,
    claims: HashMap<SegmentHash, u32>,
}

impl FakeStore {
    /// Creates an empty store. Waiting calls are aborted when the channel is disconnected.
    pub(crate) fn new(aborted: Receiver<()>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), aborted }
    }

    /// Scripts one call of an operation, counted from 0.
    pub(crate) fn on(self, operation: FakeOperation, call: usize, fault: ScriptedFault) -> Self {
        lock(&self.state).script.insert((operation, call), fault);
        self
    }

    /// Scripts all calls of an operation.
    pub(crate) fn always(self, operation: FakeOperation, fault: ScriptedFault) -> Self {
        lock(&self.state).always.insert(operation, fault);
        self
    }

    /// Scripts a claim of another load on a segment.
    pub(crate) fn claimed_by(self, hash: SegmentHash, other: OtherLoad) -> Self {
        lock(&self.state).others.insert(hash, other);
        self
    }

    /// Returns the numbers of the stored segments, in commit order.
    pub(crate) fn committed(&self) -> Vec<u64> {
        lock(&self.state).committed.clone()
    }

    /// Returns the segment whose version of the event is stored.
    pub(crate) fn segment_of(&self, event: i64) -> Option<u64> {
        lock(&self.state).events.get(&event).copied()
    }

    pub(crate) fn calls(&self, operation: FakeOperation) -> usize {
        lock(&self.state).calls.get(&operation).copied().unwrap_or_default()
    }

    /// Returns the number of segments that are currently claimed.
    pub(crate) fn claims(&self) -> usize {
        lock(&self.state).claims.len()
    }

    /// Waits until an operation was called at least `calls` times.
    pub(crate) fn wait_for(&self, operation: FakeOperation, calls: usize) {
        let state = lock(&self.state);
        let too_few =
            |state: &mut FakeState| state.calls.get(&operation).copied().unwrap_or_default() < calls;
        let (_state, waited) =
            self.changed.wait_timeout_while(state, Duration::from_mins(1), too_few).expect("no panic");
        assert!(!waited.timed_out(), "{operation:?} was not called {calls} times");
    }

    /// Counts a call and runs its script. Returns a fault that the caller must handle, if any.
    fn call(&self, operation: FakeOperation) -> Result<Option<ScriptedFault>, StoreError> {
        let mut state = lock(&self.state);
        let number = state.calls.entry(operation).or_default();
        let key = (operation, *number);
        *number += 1;
        self.changed.notify_all();
        let fault = state.script.get(&key).or_else(|| state.always.get(&operation)).cloned();
        drop(state);
        match fault {
            Some(ScriptedFault::Fail) => Err(StoreError::plain("scripted failure")),
            // Without the panic hook, which would print the schedule if schedules are explored.
            Some(ScriptedFault::Panic) => std::panic::resume_unwind(Box::new("scripted failure")),
            Some(ScriptedFault::Wait(until)) => select_biased! {
                recv(until) -> _ => Ok(None),
                recv(self.aborted) -> _ => Err(StoreError::aborted("the run was aborted")),
            },
            other => Ok(other),
        }
    }
}

impl FakeState {
    fn status(&mut self, hash: &SegmentHash) -> SegmentStatus {
        if let Some(loaded) = self.loaded.get(hash) {
            return SegmentStatus::Loaded(*loaded);
        }
        match self.others.get_mut(hash) {
            Some(OtherLoad::Loads(0)) => {
                SegmentStatus::Loaded(loaded(SegmentCounts { lines: 1, events: 1 }, 0))
            }
            Some(OtherLoad::Loads(left) | OtherLoad::Releases(left)) if *left > 0 => {
                *left -= 1;
                SegmentStatus::Taken
            }
            Some(OtherLoad::Loads(_) | OtherLoad::Releases(_)) | None => {
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
        Ok(lock(&self.state).status(hash))
    }

    fn look_again(
        &self,
        hashes: &[SegmentHash],
        _waited: Duration,
    ) -> Result<Vec<SegmentStatus>, StoreError> {
        self.call(FakeOperation::LookAgain)?;
        let mut state = lock(&self.state);
        Ok(hashes.iter().map(|hash| state.status(hash)).collect())
    }

    fn done(&self, hash: &SegmentHash) {
        let mut state = lock(&self.state);
        let Some(claims) = state.claims.get_mut(hash) else { return };
        *claims -= 1;
        if *claims == 0 {
            state.claims.remove(hash);
        }
    }

    fn write(&self, batch: &Arc<Batch>) -> Result<Written, StoreError> {
        let fault = self.call(FakeOperation::Write)?;
        let rejects_first = matches!(fault, Some(ScriptedFault::RejectFirst));
        let mut state = lock(&self.state);
        if let Some(loaded) = state.loaded.get(&batch.hash) {
            return Ok(Written::AlreadyLoaded(*loaded));
        }
        let refused: Vec<Refused> = batch
            .order
            .iter()
            .take(usize::from(rejects_first))
            .map(|&event| Refused {
                event,
                sqlstate: Some("23514".to_owned()),
                reason: RefusalReason::new("no"),
            })
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
        let mut state = lock(&self.state);
        for hash in segments {
            // Batches of abandoned sources were not written, and identical segments were recorded once.
            if let Some(loaded) = state.unreported.remove(hash) {
                state.loaded.insert(*hash, loaded);
            }
        }
        Ok(())
    }

    fn catch_up(&self) {
        // Scripted panics and waits happen here.
        let _ = self.call(FakeOperation::CatchUp);
    }
}
