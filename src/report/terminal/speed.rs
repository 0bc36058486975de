//! Estimates the rates and the time left of a run from its recent progress.

use crate::database::pool::state::DatabaseState;
use crate::report::format::per_second;
use crate::report::snapshot::RunSnapshot;
use std::collections::VecDeque;
use std::time::Duration;

/// The window of the rates.
const RATE_TIME: Duration = Duration::from_secs(10);

/// The window of the time left. It is longer than that of the rates, so that the estimate is stable.
const LEFT_TIME: Duration = Duration::from_mins(1);

/// The minimum window of the time left.
const LEFT_TIME_MIN: Duration = Duration::from_secs(1);

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A run is stalled after this time without progress.
const STALLED_MIN: Duration = Duration::from_secs(10);

/// The speed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Pace {
    pub events_per_second: f64,
    /// Compressed or not, as read.
    pub bytes_read_per_second: f64,
    /// Of text.
    pub bytes_per_second: f64,
    /// The estimated time left, if it can be estimated.
    pub left: Option<Duration>,
    /// Whether the run is skipping segments already loaded.
    pub is_skipping: bool,
    /// The time without progress, if the run is stalled.
    pub stalled: Option<Duration>,
}

/// Computes the pace from successive snapshots of a run.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    recent: Samples,
    /// Samples since the run last skipped loaded segments (many times as fast) or waited for the database. Neither predicts
    /// the speed of the remaining input.
    typical: Samples,
    last: SpeedSample,
    /// The time of the last progress.
    progressed: Duration,
}

#[derive(Debug, Default, Clone, Copy)]
struct SpeedSample {
    elapsed: Duration,
    events: u64,
    already_loaded: u64,
    bytes_read: u64,
    /// Bytes read whose events are done. The first seconds fill the queue, so the bytes read are ahead of them.
    bytes_done: u64,
    bytes_text: u64,
}

impl Speed {
    /// Adds a snapshot and returns the current pace.
    pub(crate) fn look(&mut self, figures: &RunSnapshot) -> Pace {
        let now = SpeedSample {
            elapsed: figures.elapsed,
            events: figures.events_done(),
            already_loaded: figures.counts.already_loaded,
            bytes_read: figures.bytes_read,
            bytes_done: figures.bytes_done(),
            bytes_text: figures.bytes_uncompressed,
        };
        if self.recent.0.is_empty() {
            // The run may have started before the first snapshot.
            (self.last, self.progressed) = (now, now.elapsed);
        }
        let events = now.events.saturating_sub(self.last.events);
        let skipped = now.already_loaded.saturating_sub(self.last.already_loaded);
        // A stall is part of the speed, unlike an outage.
        let is_present =
            matches!(figures.database, None | Some(DatabaseState::Present | DatabaseState::Stalled(_)));
        if (now.events, now.bytes_read) != (self.last.events, self.last.bytes_read) || !is_present {
            self.progressed = now.elapsed;
        }
        self.last = now;
        if skipped * 2 > events || !is_present {
            self.typical.0.clear();
        }
        if !is_present {
            // After an outage the rates start anew.
            self.recent.0.clear();
        }
        self.typical.add(now, LEFT_TIME);
        self.recent.add(now, RATE_TIME);
        let recent = self.recent.to(now);
        let stalled = now.elapsed.saturating_sub(self.progressed);
        Pace {
            events_per_second: recent.rate(|sample| sample.events),
            bytes_read_per_second: recent.rate(|sample| sample.bytes_read),
            bytes_per_second: recent.rate(|sample| sample.bytes_text),
            left: self.left(figures, now),
            is_skipping: recent.is_skipping(),
            stalled: (stalled >= STALLED_MIN).then_some(stalled),
        }
    }

    fn left(&self, figures: &RunSnapshot, now: SpeedSample) -> Option<Duration> {
        // During a stall, an estimate would count down although nothing is done.
        if matches!(figures.database, Some(DatabaseState::Stalled(_))) {
            return None;
        }
        let remaining = figures.bytes_total?.saturating_sub(now.bytes_done);
        let typical = self.typical.to(now);
        let rate = typical.rate(|sample| sample.bytes_done);
        let is_ending = figures.stopping.is_some() || figures.is_settled;
        if typical.time() < LEFT_TIME_MIN || rate <= 0.0 || remaining == 0 || is_ending {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
        Duration::try_from_secs_f64(remaining as f64 / rate).ok()
    }
}

/// The last samples, oldest first.
#[derive(Debug, Default)]
struct Samples(VecDeque<SpeedSample>);

impl Samples {
    /// Adds a sample, unless the last one is less than 1 s old, and removes samples older than `time`.
    fn add(&mut self, now: SpeedSample, time: Duration) {
        if self.0.back().is_none_or(|last| now.elapsed >= last.elapsed + SAMPLE_INTERVAL) {
            self.0.push_back(now);
        }
        while self.0.get(1).is_some_and(|second| second.elapsed + time <= now.elapsed) {
            self.0.pop_front();
        }
    }

    fn to(&self, now: SpeedSample) -> SpeedSpan {
        SpeedSpan { from: self.0.front().copied().unwrap_or(now), to: now }
    }
}

struct SpeedSpan {
    from: SpeedSample,
    to: SpeedSample,
}

impl SpeedSpan {
    fn time(&self) -> Duration {
        self.to.elapsed.saturating_sub(self.from.elapsed)
    }

    fn rate(&self, figure: impl Fn(&SpeedSample) -> u64) -> f64 {
        per_second(figure(&self.to).saturating_sub(figure(&self.from)), self.time())
    }

    fn is_skipping(&self) -> bool {
        let skipped = self.to.already_loaded.saturating_sub(self.from.already_loaded);
        skipped * 2 > self.to.events.saturating_sub(self.from.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::failure::outage_kind::OutageKind;
    use crate::database::pool::gate::OutageProgress;
    use crate::pipeline::account::counts::Counts;

    const GB: u64 = 1_000_000_000;

    /// A run of 10 GB with a million events per GB.
    #[derive(Default)]
    struct Run {
        speed: Speed,
        milliseconds: u64,
        done: u64,
        skipped: u64,
    }

    impl Run {
        /// Advances by `seconds`, loading and skipping these bytes per second.
        fn advance(&mut self, seconds: u64, loads: u64, skips: u64, database: &DatabaseState) -> Pace {
            let mut pace = Pace::default();
            for _ in 0..seconds * 4 {
                pace = self.speed.look(&self.figures(database));
                self.milliseconds += 250;
                self.done += (loads + skips) / 4;
                self.skipped += skips / 4;
            }
            pace
        }

        fn figures(&self, database: &DatabaseState) -> RunSnapshot {
            let (events, already_loaded) = (self.done / 1000, self.skipped / 1000);
            let inserted = events - already_loaded;
            RunSnapshot {
                elapsed: Duration::from_millis(self.milliseconds),
                counts: Counts { events, inserted, already_loaded, ..Counts::default() },
                bytes_read: self.done,
                bytes_total: Some(10 * GB),
                bytes_uncompressed: self.done * 5,
                queue_depth: 3,
                database: Some(database.clone()),
                ..RunSnapshot::default()
            }
        }
    }

    fn seconds_left(pace: &Pace) -> Option<u64> {
        pace.left.map(|left| left.as_secs())
    }

    fn away() -> DatabaseState {
        DatabaseState::Away(OutageProgress {
            kind: OutageKind::Unreachable,
            cause: String::new(),
            elapsed: Duration::from_secs(3),
            attempts: 2,
            next_try: None,
            left: Duration::from_mins(4),
        })
    }

    #[test]
    fn the_time_left_is_that_of_loading() {
        let mut run = Run::default();
        let pace = run.advance(1, GB / 10, 0, &DatabaseState::Present);
        assert_eq!(seconds_left(&pace), None, "no span of time yet");
        let pace = run.advance(1, GB / 10, 0, &DatabaseState::Present);
        assert_eq!(seconds_left(&pace), Some(98));
        let pace = run.advance(18, GB / 10, 0, &DatabaseState::Present);
        assert_eq!(seconds_left(&pace), Some(80));
        assert!(
            (pace.events_per_second - 1e5).abs() < 1.0 && (pace.bytes_per_second - 5e8).abs() < 1.0,
            "{pace:?}"
        );
    }

    #[test]
    fn skipped_segments_do_not_affect_the_time_left() {
        let mut run = Run::default();
        let pace = run.advance(8, 0, GB / 2, &DatabaseState::Present);
        assert_eq!((seconds_left(&pace), pace.is_skipping), (None, true));
        let pace = run.advance(8, GB / 100, 0, &DatabaseState::Present);
        // 5.9 GB at 0.01 GB/s, although two thirds of the last seconds were fifty times as fast.
        assert!((580..=600).contains(&seconds_left(&pace).unwrap()), "{pace:?}");
        assert!(!run.advance(10, GB / 100, 0, &DatabaseState::Present).is_skipping);
    }

    #[test]
    fn an_outage_does_not_affect_the_time_left() {
        let mut run = Run::default();
        run.advance(20, GB / 10, 0, &DatabaseState::Present);
        let pace = run.advance(100, 0, 0, &away());
        assert_eq!((seconds_left(&pace), pace.stalled), (None, None), "an outage is not a stall");
        assert!(pace.events_per_second < 1.0);
        let pace = run.advance(8, GB / 10, 0, &DatabaseState::Present);
        assert!((70..=75).contains(&seconds_left(&pace).unwrap()), "{pace:?}");
        assert!(pace.events_per_second > 9e4, "{pace:?}");
    }

    #[test]
    fn a_stalled_database_has_no_time_left() {
        let mut run = Run::default();
        run.advance(20, GB / 10, 0, &DatabaseState::Present);
        let stalled = DatabaseState::Stalled(Duration::from_secs(8));
        assert_eq!(seconds_left(&run.advance(6, 0, 0, &stalled)), None);
        let pace = run.advance(4, GB / 10, 0, &DatabaseState::Present);
        // 7.6 GB, after 2.4 GB in 30 s.
        assert!((90..=100).contains(&seconds_left(&pace).unwrap()), "{pace:?}");
    }

    #[test]
    fn a_stalled_run_is_noticed() {
        let mut run = Run::default();
        run.advance(5, GB / 10, 0, &DatabaseState::Present);
        assert_eq!(run.advance(9, 0, 0, &DatabaseState::Present).stalled, None);
        let stalled = run.advance(9, 0, 0, &DatabaseState::Present).stalled.unwrap();
        assert!((17..=18).contains(&stalled.as_secs()), "{stalled:?}");
        assert_eq!(run.advance(1, GB / 10, 0, &DatabaseState::Present).stalled, None);
    }

    /// The terminal is drawn more often than the page asks.
    #[test]
    fn the_rate_does_not_depend_on_how_often_it_is_asked_for() {
        let (mut run, mut page) = (Run::default(), Speed::default());
        for second in 0..40 {
            let figures = run.figures(&DatabaseState::Present);
            let (of_page, of_terminal) = (page.look(&figures), run.speed.look(&figures));
            let difference = of_page.events_per_second - of_terminal.events_per_second;
            assert!(difference.abs() < 1.0, "after {second} s: {of_page:?} {of_terminal:?}");
            run.advance(1, GB / 100 * (second % 7), 0, &DatabaseState::Present);
        }
    }

    #[test]
    fn the_number_of_samples_is_bounded() {
        let mut run = Run::default();
        run.advance(600, GB / 1000, 0, &DatabaseState::Present);
        assert!(run.speed.recent.0.len() < 15 && run.speed.typical.0.len() < 65);
    }
}
