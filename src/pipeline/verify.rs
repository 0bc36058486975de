//! A run that compares: the segments of all sources are parsed and compared by several threads.
//!
//! Invariant: memory is bounded by one segment buffer and one comparison per thread.

use crate::input::buffers::BufferPool;
use crate::input::convert::PipedCommand;
use crate::input::reader::{Reader, spawn_reader};
use crate::input::segment::{Segment, SegmentLimits};
use crate::input::segmenter::Segmenter;
use crate::input::source::Source;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::source_segments::{Segments, SourceError};
use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How a comparison runs.
#[derive(Debug, Clone)]
pub(crate) struct VerifyRun {
    /// Threads that parse and compare, at least 1; each holds one connection while it compares.
    pub workers: usize,
    /// How the input is cut.
    pub segment: SegmentLimits,
    /// How events are parsed and encoded.
    pub preparer: Preparer,
    /// What errors of inputs suggest.
    pub piped: PipedCommand,
    /// A message, or its end, ends the reading.
    pub stop: Receiver<()>,
}

impl VerifyRun {
    /// Reads `sources` to their end and gives each parsed segment to `compare`, from several threads and in no certain order. `reader`
    /// is that of the sources, if someone has begun to read them.
    /// The sources that could not be read are returned.
    ///
    /// # Errors
    ///
    /// The first error of `compare`, or a thread that cannot be started or panicked.
    pub(crate) fn run<E>(
        &self,
        sources: Vec<Source>,
        reader: Option<Reader>,
        monitor: &Monitor,
        compare: impl Fn(&Prepared) -> Result<(), E> + Sync,
    ) -> Result<Vec<SourceError>, E>
    where
        E: From<anyhow::Error> + Send,
    {
        let reader = match reader {
            Some(reader) => reader,
            None => spawn_reader(sources).context("the reader thread can't be started")?,
        };
        // One monitor is for one run.
        let _ = monitor.read.set(reader.counters());
        let buffers = BufferPool::new(self.workers + 1, self.segment.usual_bytes_max());
        let segmenter = Segmenter::new(reader, self.segment, buffers, self.stop.clone());
        let failure = Mutex::new(None);
        let fail = |error: E| {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        };
        let (queue, segments) = bounded(0);
        let errors = thread::scope(|scope| {
            let mut workers = Vec::with_capacity(self.workers);
            for number in 0..self.workers {
                let segments = segments.clone();
                let (compare, fail) = (&compare, &fail);
                let work = move || self.work(&segments, monitor, compare).unwrap_or_else(fail);
                let worker =
                    thread::Builder::new().name(format!("verify-{number}")).spawn_scoped(scope, work);
                workers.push(worker.context("a thread can't be started")?);
            }
            drop(segments);
            let errors = read(Segments::new(segmenter, self.piped.clone()), &queue);
            drop(queue);
            for worker in workers {
                if worker.join().is_err() {
                    fail(anyhow::anyhow!("a thread that compares panicked").into());
                }
            }
            Ok(errors)
        })?;
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(errors),
        }
    }

    fn work<E>(
        &self,
        segments: &Receiver<Segment>,
        monitor: &Monitor,
        compare: &impl Fn(&Prepared) -> Result<(), E>,
    ) -> Result<(), E> {
        // After a failure the queue is closed, which ends the reading.
        for segment in segments {
            let hash = self.preparer.hash(&segment);
            let prepared = self.preparer.prepare(segment, hash);
            compare(&prepared)?;
            monitor.tally.add(|counts| {
                counts.segments += 1;
                counts.lines += prepared.batch.counts.lines;
                counts.events += prepared.batch.counts.events;
            });
        }
        Ok(())
    }
}

/// Passes segments on until they end, or until no worker takes them.
fn read(segments: Segments, queue: &Sender<Segment>) -> Vec<SourceError> {
    let mut errors = Vec::new();
    for read in segments {
        match read {
            Ok(segment) => {
                if queue.send(segment).is_err() {
                    break;
                }
            }
            Err(error) => errors.push(error),
        }
    }
    errors
}
