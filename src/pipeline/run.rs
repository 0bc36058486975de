//! Runs a load: starts its threads and connects them.

use crate::database::store::{LoadedSegment, SegmentHash, SegmentStatus, Store, StoreError};
use crate::error_chain::in_full;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::input::buffers::BufferPool;
use crate::input::convert::PipedCommand;
use crate::input::reader::{Reader, spawn_reader};
use crate::input::segment::{Segment, SegmentLimits};
use crate::input::segmenter::Segmenter;
use crate::input::source::Source;
use crate::layout::Layout;
use crate::layout::rows::DuplicatePolicy;
use crate::panics::{NO_THREAD, inject};
use crate::pipeline::account::counts::RejectLimit;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::claim::{ClaimCount, ClaimedBatch, SegmentClaim};
use crate::pipeline::peer_segments::{DeferredSegments, Remainder, Reread};
use crate::pipeline::prepare::first_values::FirstValues;
use crate::pipeline::prepare::preparer::{Preparer, Reading};
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::reorder::{SequenceSlot, Sequencer};
use crate::pipeline::run_error::RunError;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::{Segments, SourceError};
use crate::pipeline::worker::Writers;
use crate::sync::channel::bounded;
use crate::sync::{pool, thread};
use anyhow::Context as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Clone)]
pub struct PipelineSettings {
    /// Writer threads, at least 1.
    pub workers: usize,
    /// Threads that parse and encode, at least 1.
    pub parse_threads: usize,
    pub segment: SegmentLimits,
    pub layout: Layout,
    /// The game server of the events.
    pub server: Server,
    /// The treatment of NUL characters.
    pub nul: NulPolicy,
    /// Which of several events with the same id is stored.
    pub repeats: DuplicatePolicy,
    pub reading: Reading,
    pub reject_limit: Option<RejectLimit>,
    /// The command that input errors suggest.
    pub piped: PipedCommand,
}

impl PipelineSettings {
    /// Creates the preparer for the run's segments.
    pub fn preparer(&self) -> Preparer {
        let Self { layout, server, nul, repeats, .. } = *self;
        Preparer { layout, server, nul, repeats, reading: self.reading.clone() }
    }
}

/// Reads `sources` to their end, or until `shutdown`, and stores their events. Without a store they are only counted.
/// `monitor` is new and shows the progress. `reader` is the reader of the sources, if it was already started.
pub(crate) fn run(
    sources: Vec<Source>,
    reader: Option<Reader>,
    settings: &PipelineSettings,
    store: Option<&dyn Store>,
    rejects: &RejectFile,
    shutdown: &Shutdown,
    monitor: &Monitor,
) -> RunReport {
    let read = read_and_store(sources, reader, settings, store, rejects, shutdown, monitor);
    let source_errors = read.unwrap_or_else(|error| {
        shutdown.stop(ShutdownReason::Failed(error));
        Vec::new()
    });
    match rejects.sync() {
        Ok(()) => note_reported(store, rejects),
        Err(error) => shutdown.stop(ShutdownReason::Failed(error.into())),
    }
    let counts = monitor.counts();
    if settings.reject_limit.is_some_and(|limit| limit.is_exceeded_at_end(&counts)) {
        shutdown.stop(ShutdownReason::RejectLimit);
    }
    // Displays cannot see the reason of a stop any more.
    monitor.settle();
    RunReport { source_errors, ..RunReport::counted(monitor, shutdown) }
}

/// Records in the store which rejects are on disk.
fn note_reported(store: Option<&dyn Store>, rejects: &RejectFile) {
    let segments = rejects.take_whole();
    let Some(store) = store.filter(|_| !segments.is_empty()) else { return };
    if let Err(error) = store.note_reported(&segments, &rejects.absolute_path()) {
        log::warn!("{}", unreported(&error));
    }
}

/// The message about rejects that the ledger does not have as reported.
fn unreported(error: &StoreError) -> String {
    let what = "the next load of the same input reports these rejects again";
    if error.is_aborted() {
        return format!("{what}, because this one was stopped before the ledger had them");
    }
    format!("{what}: {}", in_full(error))
}

/// Returns the sources that could not be read completely.
fn read_and_store(
    sources: Vec<Source>,
    reader: Option<Reader>,
    settings: &PipelineSettings,
    store: Option<&dyn Store>,
    rejects: &RejectFile,
    shutdown: &Shutdown,
    monitor: &Monitor,
) -> Result<Vec<SourceError>, RunError> {
    let deferred = DeferredSegments::new(&sources);
    let last_source = sources.last().map(Source::to_string);
    let reader = match reader {
        Some(reader) => reader,
        None => spawn_reader(sources).context(NO_THREAD)?,
    };
    // Each run has its own monitor, so the value is not yet set.
    let _ = monitor.read.set(reader.counters());
    let first_values = FirstValues::default();
    let writers = Writers {
        store,
        workers: settings.workers,
        rejects,
        reject_limit: settings.reject_limit,
        tally: &monitor.tally,
        reasons: &monitor.reasons,
        shutdown,
        in_flight: &monitor.in_flight,
        activities: &monitor.activities,
        files: &monitor.files,
        first_values: &first_values,
        read: reader.counters(),
    };
    // One buffer for the reader, one per parsing thread and one per writer. Above four parsing threads no further buffers
    // are needed, because parsing is much faster than writing.
    let buffer_count = settings.parse_threads.min(4) + settings.workers + 1;
    // A buffer that has grown for a long line is freed, and there is only one at a time.
    let buffers = BufferPool::new(buffer_count, settings.segment.usual_bytes_max());
    let claims = ClaimCount::default();
    let segmenter = Segmenter::new(reader, settings.segment, buffers.clone(), shutdown.stopped())
        .following(settings.reading.event_path());
    let preparer = settings.preparer();
    let remainder = store.map(|store| Remainder {
        deferred: &deferred,
        preparer: &preparer,
        store,
        tally: &monitor.tally,
        shutdown,
        awaited: &monitor.awaited,
        buffers: &buffers,
        claims: &claims,
    });
    // A panic is recorded before it arrives here. Unwinding has dropped, and therefore returned, everything in flight.
    let work = || {
        run_threads(
            settings,
            &preparer,
            &writers,
            segmenter,
            remainder.as_ref(),
            &claims,
            last_source.as_deref(),
        )
    };
    let result = catch_unwind(AssertUnwindSafe(work));
    let held = Circulating {
        buffers: buffers.in_use(),
        permits: buffers.permits_in_use(),
        batches: monitor.in_flight.len(),
        claims: claims.held(),
    };
    // A lost item would cause an endless wait.
    debug_assert_eq!(held, Circulating::default(), "a run returns everything that circulates");
    if held != Circulating::default() {
        log::error!("internal error: {held:?} not returned at the end of the run; report this error");
    }
    let mut errors = result.unwrap_or_else(|_| {
        shutdown.stop(ShutdownReason::Panicked("a thread of the run panicked".to_owned()));
        Ok(Vec::new())
    })?;
    errors.extend(first_values.take_errors());
    Ok(errors)
}

/// The numbers of circulating items that are held.
#[derive(Debug, PartialEq, Eq, Default)]
struct Circulating {
    buffers: usize,
    permits: usize,
    batches: usize,
    claims: usize,
}

/// Runs parsing threads and writers until all segments are read and written.
fn run_threads(
    settings: &PipelineSettings,
    preparer: &Preparer,
    writers: &Writers<'_>,
    segmenter: Segmenter,
    remainder: Option<&Remainder<'_>>,
    claims: &ClaimCount,
    last_source: Option<&str>,
) -> Result<Vec<SourceError>, RunError> {
    let parsers = pool::ThreadPoolBuilder::new()
        .num_threads(settings.parse_threads)
        .thread_name(|number| format!("parse-{number}"))
        .build()
        .context(NO_THREAD)?;
    thread::scope(|scope| {
        // Created inside the scope, so that the channel closes on every exit from this closure and the writers end.
        let (batches, queue) = bounded(1);
        for number in 0..settings.workers {
            let queue = queue.clone();
            thread::Builder::new()
                .name(format!("writer-{number}"))
                .spawn_scoped(scope, move || writers.work(&queue))
                .context(NO_THREAD)?;
        }
        drop(queue);
        let first_values_rule = settings.reject_limit.is_none().then_some(writers.first_values);
        let sequencer = Sequencer::new(batches, writers.in_flight, first_values_rule);
        let deferred = remainder.map(|remainder| remainder.deferred);
        let has_warned = AtomicBool::new(false);
        let stage = PrepareStage { preparer, has_warned, writers, sequencer, claims, deferred };
        let stage = &stage;
        let (mut errors, next_number) = parsers.in_place_scope(|tasks| {
            let events_at = preparer.reading.events_at.clone();
            let segments = Segments::new(segmenter, settings.piped.clone(), events_at);
            read_segments(segments, tasks, stage, last_source)
        });
        if let Some(remainder) = remainder {
            errors.extend(remainder.finish(next_number, |segments| {
                parsers.in_place_scope(|tasks| {
                    for Reread { segment, hash, claim } in segments {
                        let slot = stage.sequencer.slot(segment.number, None);
                        tasks.spawn(move |_| stage.load(segment, hash, Some(claim), slot));
                    }
                });
            }));
        }
        Ok(errors)
    })
}

/// Starts a task for each segment. Returns the errors of skipped sources, and the number of the next segment.
fn read_segments<'s>(
    mut segments: Segments,
    tasks: &pool::Scope<'s>,
    stage: &'s PrepareStage<'_>,
    last_source: Option<&str>,
) -> (Vec<SourceError>, u64) {
    let mut errors = Vec::new();
    for read in &mut segments {
        match read {
            Ok(segment) => {
                let slot = stage.sequencer.slot(segment.number, Some(Arc::clone(&segment.source)));
                if stage.writers.first_values.is_abandoned(&segment.source) {
                    if Some(&*segment.source) == last_source {
                        // Nothing else follows.
                        break;
                    }
                    continue;
                }
                tasks.spawn(move |_| stage.prepare(segment, slot));
            }
            Err(error) => {
                log::error!("{}", in_full(&error));
                errors.push(error);
            }
        }
    }
    (errors, segments.number())
}

/// The work of the parsing threads.
struct PrepareStage<'r> {
    preparer: &'r Preparer,
    /// Whether the warning about implausible ids was logged.
    has_warned: AtomicBool,
    writers: &'r Writers<'r>,
    sequencer: Sequencer<'r>,
    claims: &'r ClaimCount,
    /// Collects segments claimed by other loads. None in a dry run.
    deferred: Option<&'r DeferredSegments>,
}

/// The next step for a segment.
enum SegmentFate<'r> {
    /// Load it, with the claim on it, if it was claimed.
    Load(Option<SegmentClaim<'r>>),
    /// Skip it, because it is already loaded.
    Skip(LoadedSegment),
    /// Another load has claimed it.
    Deferred,
}

impl<'r> PrepareStage<'r> {
    fn prepare(&self, segment: Segment, slot: SequenceSlot<'_, 'r>) {
        let _alarm = self.writers.shutdown.alarm("parsing");
        inject("parse");
        let hash = self.preparer.hash(&segment);
        self.writers.files.note(&segment.source, hash);
        match self.find(&segment, hash) {
            SegmentFate::Load(claim) => self.load(segment, hash, claim, slot),
            SegmentFate::Skip(held) => {
                let (number, events) = (segment.number + 1, held.counts.events);
                log::debug!("segment {number} of {}: {events} events already loaded", segment.source);
                self.writers.tally.skip(&held);
                slot.pass(held);
            }
            SegmentFate::Deferred => {}
        }
    }

    fn find(&self, segment: &Segment, hash: SegmentHash) -> SegmentFate<'r> {
        let Writers { store, shutdown, .. } = *self.writers;
        let store = match store {
            // The write checks whether the reject of an oversized value was already reported.
            Some(store) if segment.oversized.is_none() && !shutdown.has_failed() => store,
            _ => return SegmentFate::Load(None),
        };
        match store.look(&hash) {
            Ok(SegmentStatus::Free) => SegmentFate::Load(Some(SegmentClaim::new(store, hash, self.claims))),
            Ok(SegmentStatus::Loaded(held)) => SegmentFate::Skip(held),
            Ok(SegmentStatus::Taken)
                if self.deferred.is_some_and(|deferred| deferred.defer(segment, hash)) =>
            {
                SegmentFate::Deferred
            }
            Ok(SegmentStatus::Taken) => SegmentFate::Load(None),
            // The segment's events are still counted, and remain unfinished.
            Err(error) => {
                if !error.is_aborted() {
                    shutdown.stop(ShutdownReason::Failed(error.into()));
                }
                SegmentFate::Load(None)
            }
        }
    }

    /// Parses a segment and passes it to the writers.
    fn load(
        &self,
        segment: Segment,
        hash: SegmentHash,
        claim: Option<SegmentClaim<'r>>,
        slot: SequenceSlot<'_, 'r>,
    ) {
        let _alarm = self.writers.shutdown.alarm("parsing");
        let prepared = self.preparer.prepare(segment, hash);
        if let Some(id) = prepared.implausible
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            let server = self.preparer.server;
            log::warn!(
                "event {id} of {} is implausible for {server}: check --server",
                prepared.segment.source
            );
        }
        self.writers.tally.add(|counts| {
            counts.segments += 1;
            counts.lines += prepared.batch.counts.lines;
            counts.events += prepared.batch.counts.events;
        });
        slot.fill(ClaimedBatch { prepared, abandoned: None, _claim: claim });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_that_are_not_noted_have_one_cause() {
        let start = "the next load of the same input reports these rejects again";
        let stopped = StoreError::aborted("recording reported rejects in the ledger was cancelled");
        let (failed, stopped) = (unreported(&StoreError::plain("it failed")), unreported(&stopped));
        assert_eq!(failed, format!("{start}: it failed"));
        assert_eq!(stopped, format!("{start}, because this one was stopped before the ledger had them"));
    }
}
