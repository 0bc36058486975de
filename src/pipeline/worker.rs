//! The writer threads. Each takes the next batch, stores it and accounts for its events.

use crate::database::store::{Store, Written};
use crate::error_chain::in_full;
use crate::input::decode::raw::ReadCounters;
use crate::numbers::{counted, grouped, per_second, rounded};
use crate::panics::inject;
use crate::pipeline::account::activity::{Activities, Activity, ActivityHandle};
use crate::pipeline::account::counts::{RejectLimit, Tally};
use crate::pipeline::claim::ClaimedBatch;
use crate::pipeline::files::FileSegments;
use crate::pipeline::prepare::first_values::FirstValues;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::rejects::kinds::Reasons;
use crate::pipeline::reorder::{InFlight, QueuedBatch};
use crate::pipeline::run_error::RunError;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::sync::channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shared state of a run's writers.
pub(crate) struct Writers<'r> {
    /// None in a dry run.
    pub(crate) store: Option<&'r dyn Store>,
    /// The number of writers.
    pub(crate) workers: usize,
    pub(crate) rejects: &'r RejectFile,
    pub(crate) reject_limit: Option<RejectLimit>,
    pub(crate) tally: &'r Tally,
    pub(crate) shutdown: &'r Shutdown,
    pub(crate) in_flight: &'r InFlight,
    pub(crate) reasons: &'r Reasons,
    pub(crate) activities: &'r Activities,
    pub(crate) files: &'r FileSegments,
    pub(crate) first_values: &'r FirstValues,
    /// The amount read, which limits the size of the reject file.
    pub(crate) read: Arc<ReadCounters>,
}

/// The maximum size of a run's rejects: this many bytes, plus [`REJECT_BYTES_PER_BYTE`] per raw input byte. A dump
/// compresses at most 25 times, so a dump whose events are all rejected stays below the limit.
const REJECT_BYTES_MIN: u64 = 16 << 20;
const REJECT_BYTES_PER_BYTE: u64 = 32;

impl Writers<'_> {
    /// Writes batches until there are no more. After a failure it receives and drops them, so that the queue never blocks.
    pub(crate) fn work(&self, batches: &Receiver<QueuedBatch<'_>>) {
        let _alarm = self.shutdown.alarm("writer");
        let activity = self.activities.begin();
        let mut input_wait = InputWait::default();
        while let Some(QueuedBatch { batch, entry }) = self.next(batches, &mut input_wait) {
            // The claim is released after the batch is accounted for, and before later batches get their turn.
            let ClaimedBatch { prepared: mut batch, abandoned, _claim } = batch;
            let segment = Some((batch.segment.number, batch.batch.counts.events));
            activity.set_activity(Activity::WaitingForTurn, segment);
            entry.wait_for_turn();
            activity.set_activity(Activity::Writing, segment);
            inject("writer");
            if !self.shutdown.has_failed() {
                let begun = Instant::now();
                match self.store.map(|store| store.write(&batch.batch)).transpose() {
                    Ok(written) => {
                        log_segment(&batch, written.as_ref(), begun.elapsed());
                        if let Some(error) = abandoned {
                            log::error!("{}", in_full(&error));
                            self.first_values.add_error(error);
                        }
                        self.settle(&mut batch, written, &activity);
                    }
                    // The run was aborted. The events remain unfinished.
                    Err(error) if error.is_aborted() => {}
                    Err(error) => {
                        let culprit = error.event().map(|event| batch.place(event));
                        let culprit = culprit.or_else(|| error.is_at_batch().then(|| batch.whole_place()));
                        let error = match culprit {
                            Some(place) => RunError::Event { place, source: error },
                            None => RunError::Store(error),
                        };
                        self.shutdown.stop(ShutdownReason::Failed(error));
                    }
                }
            }
            activity.set_activity(Activity::Waiting, None);
        }
    }

    /// Returns the next batch, or none at the end. Does deferred work while batches arrive slowly.
    fn next<'q>(&self, batches: &Receiver<QueuedBatch<'q>>, pace: &mut InputWait) -> Option<QueuedBatch<'q>> {
        loop {
            let batch = pace.wait_for(batches);
            if let Some(store) = self.store
                && pace.is_slow(self.workers)
                && !self.shutdown.has_failed()
            {
                store.catch_up();
            }
            match batch {
                Err(RecvTimeoutError::Timeout) => {}
                batch => return batch.ok(),
            }
        }
    }

    /// Accounts for each event of a batch.
    fn settle(&self, batch: &mut Prepared, written: Option<Written>, activity: &ActivityHandle<'_>) {
        let repeated = batch.repeated();
        let (inserted, updated, duplicate) = match written {
            Some(Written::AlreadyLoaded(held)) => return self.tally.add_loaded(&held),
            Some(Written::Stored { inserted, updated, duplicate, refused }) => {
                for refused in refused {
                    batch.reject(refused.event, refused.reason.into_reject(), refused.sqlstate);
                }
                (inserted, updated, duplicate)
            }
            None => (0, 0, repeated),
        };
        self.tally.add(|counts| {
            counts.inserted += inserted;
            counts.updated += updated;
            counts.duplicate += duplicate;
        });
        if batch.rejected() > 0 {
            let segment = (batch.segment.number, batch.batch.counts.events);
            activity.set_activity(Activity::WritingRejects, Some(segment));
        }
        self.write_rejects(batch);
    }

    /// Writes the rejects of a batch. Events count as rejected only once they are written. Otherwise they remain unfinished.
    fn write_rejects(&self, batch: &Prepared) {
        let bytes_max =
            REJECT_BYTES_MIN.saturating_add(self.read.bytes_read().saturating_mul(REJECT_BYTES_PER_BYTE));
        let aborted = self.shutdown.aborted();
        let rejected = match self.rejects.write(batch, self.reasons, bytes_max, &aborted) {
            Ok(rejected) => rejected,
            Err(error) => return self.shutdown.stop(ShutdownReason::Failed(error.into())),
        };
        if rejected < batch.rejected() {
            self.shutdown.stop(ShutdownReason::RejectBytes(bytes_max));
        }
        self.tally.add(|counts| counts.rejected += rejected);
        let is_exceeded = |limit: RejectLimit| limit.is_exceeded_so_far(&self.tally.counts());
        if rejected > 0 && self.reject_limit.is_some_and(is_exceeded) {
            self.shutdown.stop(ShutdownReason::RejectLimit);
        }
    }
}

/// Logs the outcome of a segment, and its rate.
fn log_segment(batch: &Prepared, written: Option<&Written>, time: Duration) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let (number, source, events) =
        (batch.segment.number + 1, &batch.segment.source, batch.batch.counts.events);
    match written {
        Some(Written::Stored { inserted, updated, duplicate, refused }) => {
            let outcomes = [
                (*inserted, "inserted"),
                (*updated, "updated"),
                (*duplicate, "duplicate"),
                (batch.rejected(), "rejected"),
                (refused.len() as u64, "refused by the database"),
            ];
            let some = outcomes.iter().filter(|(count, _)| *count > 0);
            let outcomes: Vec<String> =
                some.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
            let (outcomes, seconds) = (outcomes.join(", "), time.as_secs_f64());
            let rate = counted(rounded(per_second(events, time)), "event");
            log::debug!("segment {number} of {source}: {outcomes} in {seconds:.2} s, {rate}/s");
        }
        Some(Written::AlreadyLoaded(_)) => {
            log::debug!("segment {number} of {source}: {} already loaded", counted(events, "event"));
        }
        None => log::debug!("segment {number} of {source}: {} read", counted(events, "event")),
    }
}

/// The time that a writer waits for input.
#[derive(Default)]
struct InputWait {
    /// The arrival of the first batch. The wait before it does not count, because the input may only be starting.
    begun: Option<Instant>,
    waited: Duration,
}

/// The interval at which a waiting writer checks its pace.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The minimum time for a meaningful pace.
const SLOW_MIN: Duration = Duration::from_secs(10);

impl InputWait {
    fn wait_for<T>(&mut self, queue: &Receiver<T>) -> Result<T, RecvTimeoutError> {
        let since = Instant::now();
        let received = queue.recv_timeout(LOOK_INTERVAL);
        if self.begun.is_some() {
            self.waited += since.elapsed();
        } else if received.is_ok() {
            self.begun = Some(Instant::now());
        }
        received
    }

    /// Returns whether the writers are nearly always waiting, as for a pipe with live events: together they are busy for
    /// less than a quarter of the time of one writer.
    fn is_slow(&self, workers: usize) -> bool {
        let elapsed = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed()).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "threads are few")]
        let busy_max = elapsed / 4.0 / workers as f64;
        elapsed >= SLOW_MIN.as_secs_f64() && elapsed - self.waited.as_secs_f64() < busy_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::fake::{FakeOperation, FakeStore};

    #[test]
    fn many_writers_that_wait_for_each_other_are_not_slow() {
        // Seconds since the first batch, seconds waited, writers.
        for (elapsed, waited, workers, expected) in [
            (5, 5, 1, false),
            (20, 10, 1, false),
            (20, 18, 1, true),
            (20, 18, 3, false),
            (20, 18, 10, false),
            (2000, 1999, 10, true),
        ] {
            let begun = Instant::now().checked_sub(Duration::from_secs(elapsed));
            let pace = InputWait { begun, waited: Duration::from_secs(waited) };
            assert_eq!(pace.is_slow(workers), expected, "{elapsed} {waited} {workers}");
        }
        assert!(!InputWait::default().is_slow(1));
    }

    #[test]
    fn deferred_work_is_done_while_there_is_little_to_write() {
        let (tally, shutdown, in_flight) = (Tally::default(), Shutdown::default(), InFlight::default());
        let (reasons, activities, files, first_values) =
            (Reasons::default(), Activities::default(), FileSegments::default(), FirstValues::default());
        let directory = tempfile::tempdir().unwrap();
        let rejects = RejectFile::new(directory.path().join("rejects")).unwrap();
        for (waited, expected) in [(0, 0), (60, 1)] {
            let store = FakeStore::new(shutdown.aborted());
            let writers = Writers {
                store: Some(&store as &dyn Store),
                workers: 1,
                rejects: &rejects,
                reject_limit: None,
                tally: &tally,
                shutdown: &shutdown,
                in_flight: &in_flight,
                reasons: &reasons,
                activities: &activities,
                files: &files,
                first_values: &first_values,
                read: Arc::default(),
            };
            let (_, ended) = crate::sync::channel::bounded::<QueuedBatch<'_>>(1);
            let begun = Instant::now().checked_sub(Duration::from_mins(1));
            let mut input_wait = InputWait { begun, waited: Duration::from_secs(waited) };
            assert!(writers.next(&ended, &mut input_wait).is_none());
            assert_eq!(store.calls(FakeOperation::CatchUp), expected, "{waited} s waited");
        }
    }
}
