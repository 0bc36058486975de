//! A verify run: several threads parse the segments of all sources and compare them with the database.
//!
//! Invariant: memory is bounded by one segment buffer and one comparison per thread.

use crate::input::buffers::BufferPool;
use crate::input::convert::PipedCommand;
use crate::input::reader::{Reader, spawn_reader};
use crate::input::segment::{Segment, SegmentLimits};
use crate::input::segmenter::Segmenter;
use crate::input::source::Source;
use crate::panics::NO_THREAD;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::source_segments::{Segments, SourceError};
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::{Mutex, thread};
use anyhow::Context as _;
use std::sync::PoisonError;

#[derive(Debug, Clone)]
pub(crate) struct VerifyRun {
    /// Threads that parse and compare, at least 1. Each holds one connection while it compares.
    pub workers: usize,
    pub segment: SegmentLimits,
    pub preparer: Preparer,
    /// The command that input errors suggest.
    pub piped: PipedCommand,
    /// Reading stops on a message or a disconnection.
    pub stop: Receiver<()>,
}

impl VerifyRun {
    /// Reads `sources` to their end and passes each parsed segment to `compare`, from several threads in arbitrary order.
    /// `reader` is the reader of the sources, if it was already started. Returns the sources that could not be read.
    ///
    /// # Errors
    ///
    /// Returns the first error of `compare`, or an error if a thread cannot be started or panics.
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
            None => spawn_reader(sources).context(NO_THREAD)?,
        };
        // Each run has its own monitor, so the value is not yet set.
        let _ = monitor.read.set(reader.counters());
        let buffers = BufferPool::new(self.workers + 1, self.segment.usual_bytes_max());
        let segmenter = Segmenter::new(reader, self.segment, buffers.clone(), self.stop.clone())
            .following(self.preparer.reading.event_path());
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
                workers.push(worker.context(NO_THREAD)?);
            }
            drop(segments);
            let events_at = self.preparer.reading.events_at.clone();
            let errors = read(Segments::new(segmenter, self.piped.clone(), events_at), &queue);
            drop(queue);
            for worker in workers {
                if worker.join().is_err() {
                    fail(anyhow::anyhow!("a comparison thread panicked").into());
                }
            }
            Ok(errors)
        })?;
        // A lost buffer would cause an endless wait.
        debug_assert_eq!(buffers.in_use(), 0, "a run returns everything that circulates");
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
        // If all threads fail, the queue closes and reading ends.
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

/// Sends segments to the workers until the input ends or no worker is left.
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
