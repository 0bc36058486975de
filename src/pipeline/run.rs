//! One run: the threads, and what goes between them.

use crate::database::store::{LoadedSegment, SegmentHash, SegmentStatus, Store};
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
use crate::panics::inject;
use crate::pipeline::account::counts::{Counts, RejectLimit};
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::claim::{ClaimCount, ClaimedBatch, SegmentClaim};
use crate::pipeline::peer_segments::{Remainder, Reread, TakenSegments};
use crate::pipeline::prepare::first_values::FirstValues;
use crate::pipeline::prepare::preparer::{Preparer, Reading};
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::reorder::{SequenceSlot, Sequencer};
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::{Segments, SourceError};
use crate::pipeline::worker::Writers;
use anyhow::Context as _;
use crossbeam_channel::bounded;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How a run works.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    /// Writer threads, at least 1.
    pub workers: usize,
    /// Threads that parse and encode, at least 1.
    pub parse_threads: usize,
    /// How the input is cut.
    pub segment: SegmentLimits,
    /// The tables.
    pub layout: Layout,
    /// The game server that the events are of.
    pub server: Server,
    /// What becomes of a NUL.
    pub nul: NulPolicy,
    /// Which of several events of one id is stored.
    pub repeats: DuplicatePolicy,
    /// What is known of events beside their text.
    pub reading: Reading,
    /// How many rejects are too many.
    pub reject_limit: Option<RejectLimit>,
    /// What errors of inputs suggest.
    pub piped: PipedCommand,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct RunReport {
    /// The account.
    pub counts: Counts,
    /// Bytes as they came, compressed or not.
    pub bytes_read: u64,
    /// Bytes of text.
    pub bytes_uncompressed: u64,
    /// Why the run ended early, if it did.
    pub halted: Option<ShutdownReason>,
    /// Sources that could not be read to their end.
    pub source_errors: Vec<SourceError>,
}

impl RunReport {
    /// A run that ended before anything was read.
    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::unread(Some(ShutdownReason::Failed(error.into())))
    }

    /// A run that was asked to stop before anything was read.
    pub(crate) fn stopped(shutdown: &Shutdown) -> Self {
        Self::unread(shutdown.take_reason())
    }

    fn unread(halted: Option<ShutdownReason>) -> Self {
        Self {
            counts: Counts::default(),
            bytes_read: 0,
            bytes_uncompressed: 0,
            halted,
            source_errors: Vec::new(),
        }
    }

    /// Whether a source was damaged within its compressed data, so that what was read of it may be wrong.
    pub(crate) fn has_damaged_source(&self) -> bool {
        self.source_errors.iter().any(SourceError::is_damaged)
    }
}

impl PipelineSettings {
    /// What prepares the run's segments.
    pub fn preparer(&self) -> Preparer {
        let Self { layout, server, nul, repeats, .. } = *self;
        Preparer { layout, server, nul, repeats, reading: self.reading.clone() }
    }
}

/// Reads `sources` to their end, or until `shutdown`, and stores their events; without a store they are only counted.
/// `monitor` is new, and shows how far it has come. `reader` is that of the
/// sources, if someone has begun to read them.
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
    if settings.reject_limit.is_some_and(|limit| limit.is_passed_at_end(&counts)) {
        shutdown.stop(ShutdownReason::RejectLimit);
    }
    RunReport {
        counts,
        bytes_read: monitor.bytes_read(),
        bytes_uncompressed: monitor.bytes_uncompressed(),
        halted: shutdown.take_reason(),
        source_errors,
    }
}

/// Has the store note which rejects are on the disk.
fn note_reported(store: Option<&dyn Store>, rejects: &RejectFile) {
    let segments = rejects.take_whole();
    let Some(store) = store.filter(|_| !segments.is_empty()) else { return };
    if let Err(error) = store.note_reported(&segments, &rejects.absolute_path()) {
        log::warn!("the next load of the same input reports these rejects again: {}", in_full(&error));
    }
}

/// The sources that could not be read to their end.
fn read_and_store(
    sources: Vec<Source>,
    reader: Option<Reader>,
    settings: &PipelineSettings,
    store: Option<&dyn Store>,
    rejects: &RejectFile,
    shutdown: &Shutdown,
    monitor: &Monitor,
) -> anyhow::Result<Vec<SourceError>> {
    let taken = TakenSegments::new(&sources);
    let last_source = sources.last().map(Source::to_string);
    let reader = match reader {
        Some(reader) => reader,
        None => spawn_reader(sources).context("the reader thread can't be started")?,
    };
    // One monitor is for one run; a second would go on counting for the first.
    let _ = monitor.read.set(reader.counters());
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
        read: reader.counters(),
    };
    // One buffer in each pair of hands: the reader's, those that parse, those that write. More cores than four
    // take no more memory: parsing outruns the writers long before.
    let buffer_count = settings.parse_threads.min(4) + settings.workers + 1;
    // A buffer that has grown for a long line is not kept, and there is one at a time.
    let buffers = BufferPool::new(buffer_count, settings.segment.usual_bytes_max());
    let claims = ClaimCount::default();
    let segmenter = Segmenter::new(reader, settings.segment, buffers.clone(), shutdown.stopped());
    let preparer = settings.preparer();
    let rest = store.map(|store| Remainder {
        taken: &taken,
        preparer: &preparer,
        store,
        tally: &monitor.tally,
        shutdown,
        awaited: &monitor.awaited,
        buffers: &buffers,
        claims: &claims,
    });
    // A panic has been noted by then; what was in flight is dropped, and so returned, on its way to here.
    let work = || {
        run_threads(settings, &preparer, &writers, segmenter, rest.as_ref(), &claims, last_source.as_deref())
    };
    let result = catch_unwind(AssertUnwindSafe(work));
    let held =
        Circulating { buffers: buffers.in_use(), batches: monitor.in_flight.len(), claims: claims.held() };
    // Whatever is lost here would have someone wait for it in vain.
    debug_assert_eq!(held, Circulating::default(), "all that circulates is back at the end of a run");
    if held != Circulating::default() {
        log::error!("a defect of the program: {held:?} at the end of the run; report it");
    }
    result.unwrap_or_else(|_| {
        shutdown.stop(ShutdownReason::Panicked("a thread of the run panicked".to_owned()));
        Ok(Vec::new())
    })
}

/// What is still held of what circulates.
#[derive(Debug, PartialEq, Eq, Default)]
struct Circulating {
    buffers: usize,
    batches: usize,
    claims: usize,
}

/// Runs parsing threads and writers until the segments are at their end and all is written.
fn run_threads(
    settings: &PipelineSettings,
    preparer: &Preparer,
    writers: &Writers<'_>,
    segmenter: Segmenter,
    rest: Option<&Remainder<'_>>,
    claims: &ClaimCount,
    last_source: Option<&str>,
) -> anyhow::Result<Vec<SourceError>> {
    let parsers = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.parse_threads)
        .thread_name(|number| format!("parse-{number}"))
        .build()
        .context("the parsing threads can't be started")?;
    let first_values = &FirstValues::default();
    thread::scope(|scope| {
        // In the scope, so that the writers see its end however this function is left.
        let (batches, queue) = bounded(1);
        for number in 0..settings.workers {
            let queue = queue.clone();
            thread::Builder::new()
                .name(format!("writer-{number}"))
                .spawn_scoped(scope, move || writers.work(&queue))
                .context("a writer thread can't be started")?;
        }
        drop(queue);
        let judged = settings.reject_limit.is_none().then_some(first_values);
        let sequencer = Sequencer::new(batches, writers.in_flight, judged);
        let taken = rest.map(|rest| rest.taken);
        let has_warned = AtomicBool::new(false);
        let stage = PrepareStage { preparer, has_warned, writers, sequencer, claims, first_values, taken };
        let stage = &stage;
        let (mut errors, next_number) = parsers.in_place_scope(|tasks| {
            let segments = Segments::new(segmenter, settings.piped.clone());
            read_segments(segments, tasks, stage, last_source)
        });
        if let Some(rest) = rest {
            errors.extend(rest.finish(next_number, |segments| {
                parsers.in_place_scope(|tasks| {
                    for Reread { segment, hash, claim } in segments {
                        let slot = stage.sequencer.slot(segment.number, None);
                        tasks.spawn(move |_| stage.load(segment, hash, Some(claim), slot));
                    }
                });
            }));
        }
        errors.extend(first_values.take_errors());
        Ok(errors)
    })
}

/// The sources that had to be left, and the number of the next segment.
fn read_segments<'s>(
    mut segments: Segments,
    tasks: &rayon::Scope<'s>,
    stage: &'s PrepareStage<'_>,
    last_source: Option<&str>,
) -> (Vec<SourceError>, u64) {
    let mut errors = Vec::new();
    for read in &mut segments {
        match read {
            Ok(segment) => {
                let slot = stage.sequencer.slot(segment.number, Some(Arc::clone(&segment.source)));
                if stage.first_values.is_abandoned(&segment.source) {
                    if Some(&*segment.source) == last_source {
                        // There is nothing to come but the rest of it.
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

/// What a parsing thread does with a segment.
struct PrepareStage<'r> {
    preparer: &'r Preparer,
    /// Whether a run was warned of ids that are none of its server's.
    has_warned: AtomicBool,
    writers: &'r Writers<'r>,
    sequencer: Sequencer<'r>,
    claims: &'r ClaimCount,
    first_values: &'r FirstValues,
    /// Where segments are put off that other loads have taken; none in a dry run.
    taken: Option<&'r TakenSegments>,
}

/// How it stands with a segment that is to be prepared.
enum SegmentFate<'r> {
    /// It is to be loaded, with the claim on it, if it was claimed.
    Ours(Option<SegmentClaim<'r>>),
    Loaded(LoadedSegment),
    /// Another load has it, and it is noted for later.
    PutOff,
}

impl<'r> PrepareStage<'r> {
    fn prepare(&self, segment: Segment, slot: SequenceSlot<'_, 'r>) {
        let _alarm = self.writers.shutdown.alarm("parsing");
        inject("parse");
        let hash = self.preparer.hash(&segment);
        self.writers.files.note(&segment.source, hash);
        match self.find(&segment, hash) {
            SegmentFate::Ours(claim) => self.load(segment, hash, claim, slot),
            SegmentFate::Loaded(held) => {
                self.writers.tally.skip(&held);
                slot.pass(held);
            }
            SegmentFate::PutOff => {}
        }
    }

    fn find(&self, segment: &Segment, hash: SegmentHash) -> SegmentFate<'r> {
        let Writers { store, shutdown, .. } = *self.writers;
        let store = match store {
            // Whether its reject is reported is seen where it is written.
            Some(store) if segment.oversized.is_none() && !shutdown.has_failed() => store,
            _ => return SegmentFate::Ours(None),
        };
        match store.look(&hash) {
            Ok(SegmentStatus::Free) => SegmentFate::Ours(Some(SegmentClaim::new(store, hash, self.claims))),
            Ok(SegmentStatus::Loaded(held)) => SegmentFate::Loaded(held),
            Ok(SegmentStatus::Taken) if self.taken.is_some_and(|taken| taken.defer(segment, hash)) => {
                SegmentFate::PutOff
            }
            Ok(SegmentStatus::Taken) => SegmentFate::Ours(None),
            // The segment's events are counted all the same, and stay unfinished.
            Err(error) => {
                if !error.is_given_up() {
                    shutdown.stop(ShutdownReason::Failed(error.into()));
                }
                SegmentFate::Ours(None)
            }
        }
    }

    /// Parses a segment, and passes it on to be written.
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
        slot.fill(ClaimedBatch { prepared, is_abandoned: false, _claim: claim });
    }
}
