//! The writer threads: each takes the next batch, has it stored, and settles its account.

use crate::database::store::{Batch, Store, StoreError, Written};
use crate::input::decode::raw::ReadCounters;
use crate::panics::inject;
use crate::pipeline::account::activity::{Activities, Activity};
use crate::pipeline::account::counts::{RejectLimit, Tally};
use crate::pipeline::claim::ClaimedBatch;
use crate::pipeline::files::FileSegments;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::rejects::kinds::Reasons;
use crate::pipeline::reorder::{InFlight, QueuedBatch};
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the writers of a run share.
pub(crate) struct Writers<'r> {
    /// None in a dry run.
    pub(crate) store: Option<&'r dyn Store>,
    /// How many writers there are.
    pub(crate) workers: usize,
    pub(crate) rejects: &'r RejectFile,
    pub(crate) reject_limit: Option<RejectLimit>,
    pub(crate) tally: &'r Tally,
    pub(crate) shutdown: &'r Shutdown,
    pub(crate) in_flight: &'r InFlight,
    pub(crate) reasons: &'r Reasons,
    pub(crate) activities: &'r Activities,
    pub(crate) files: &'r FileSegments,
    /// How much is read, to which the size of the reject file is compared.
    pub(crate) read: Arc<ReadCounters>,
}

/// The rejects of a run may take so many bytes, and so many more for each byte of input as it comes. A dump compresses 25 times
/// at most, so that one whose events are all rejected stays below.
const REJECT_BYTES_MIN: u64 = 16 << 20;
const REJECT_BYTES_PER_BYTE: u64 = 32;

impl Writers<'_> {
    /// Writes batches until there are no more. After a failure they are taken and dropped, so that nobody
    /// waits for a place in the queue.
    pub(crate) fn work(&self, batches: &Receiver<QueuedBatch<'_>>) {
        let _alarm = self.shutdown.alarm("writer");
        let own = self.activities.begin();
        let mut pace = InputWait::default();
        while let Some(QueuedBatch { batch, entry }) = self.next(batches, &mut pace) {
            // The claim is given back once the batch is settled, and before others get their turn.
            let ClaimedBatch { prepared: mut batch, is_abandoned, _claim } = batch;
            let at_hand = Some((batch.segment.number, batch.batch.counts.events));
            own.set_activity(Activity::WaitingForTurn, at_hand);
            entry.wait_for_turn();
            own.set_activity(Activity::Writing, at_hand);
            inject("writer");
            if is_abandoned {
                self.name_rejects(&batch);
            } else if !self.shutdown.has_failed() {
                match self.store_batch(&batch.batch) {
                    Ok(written) => self.settle(&mut batch, written),
                    // Its events stay unfinished; that is what was asked for.
                    Err(error) if error.is_given_up() => {}
                    Err(error) => {
                        let culprit = error.event().map(|event| batch.place(event));
                        let error = anyhow::Error::from(error);
                        let error = match culprit {
                            Some(culprit) => error.context(culprit),
                            None => error,
                        };
                        self.shutdown.stop(ShutdownReason::Failed(error));
                    }
                }
            }
            own.set_activity(Activity::Waiting, None);
        }
    }

    /// The next batch; what was put off is done when they come slowly. None at the end.
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

    /// Nothing is written in a dry run.
    fn store_batch(&self, batch: &Arc<Batch>) -> Result<Option<Written>, StoreError> {
        self.store.map(|store| store.write(batch)).transpose()
    }

    /// Accounts for each event of a batch.
    fn settle(&self, batch: &mut Prepared, written: Option<Written>) {
        let repeated = batch.repeated();
        let (inserted, updated, duplicate) = match written {
            Some(Written::AlreadyLoaded(held)) => return self.tally.add_loaded(&held),
            Some(Written::Stored { inserted, updated, duplicate, refused }) => {
                for refused in refused {
                    batch.reject(refused.event, refused.reason, refused.sqlstate);
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
        self.name_rejects(batch);
    }

    /// Writes the rejects of a batch. Events count as rejected when they are named, not before: without that they stay
    /// unfinished.
    fn name_rejects(&self, batch: &Prepared) {
        let bytes_max =
            REJECT_BYTES_MIN.saturating_add(self.read.bytes_read().saturating_mul(REJECT_BYTES_PER_BYTE));
        let aborted = self.shutdown.aborted();
        let rejected = match self.rejects.write(batch, self.reasons, bytes_max, &aborted) {
            Ok(named) => named,
            Err(error) => return self.shutdown.stop(ShutdownReason::Failed(error.into())),
        };
        if rejected < batch.rejected() {
            self.shutdown.stop(ShutdownReason::RejectBytes(bytes_max));
        }
        self.tally.add(|counts| counts.rejected += rejected);
        let passed = |limit: RejectLimit| limit.is_passed_so_far(&self.tally.counts());
        if rejected > 0 && self.reject_limit.is_some_and(passed) {
            self.shutdown.stop(ShutdownReason::RejectLimit);
        }
    }
}

/// How much of its time a writer waits for input.
#[derive(Default)]
struct InputWait {
    /// When its first batch came: until then the input may only be starting.
    begun: Option<Instant>,
    waited: Duration,
}

/// How often a writer that waits looks at its pace.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A shorter time says nothing of the pace.
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

    /// Whether the writers wait nearly always, as behind a pipe that brings events as they happen: what all of them do is
    /// less than a quarter of what one could.
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
        // Seconds since the first batch, seconds of them waited, writers.
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
    fn what_was_put_off_is_done_while_there_is_little_to_write() {
        let (tally, shutdown, in_flight) = (Tally::default(), Shutdown::default(), InFlight::default());
        let (reasons, activities, files) =
            (Reasons::default(), Activities::default(), FileSegments::default());
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
                read: Arc::default(),
            };
            let (_, ended) = crossbeam_channel::bounded::<QueuedBatch<'_>>(1);
            let begun = Instant::now().checked_sub(Duration::from_mins(1));
            let mut pace = InputWait { begun, waited: Duration::from_secs(waited) };
            assert!(writers.next(&ended, &mut pace).is_none());
            assert_eq!(store.calls(FakeOperation::CatchUp), expected, "{waited} s waited");
        }
    }
}
