//! How fast a run gets on, and when it may be done, by what it did lately.

use crate::database::pool::state::DatabaseState;
use crate::report::snapshot::RunSnapshot;
use std::collections::VecDeque;
use std::time::Duration;

/// The rates that are shown are those of this time.
const RATE_TIME: Duration = Duration::from_secs(10);

/// The time left is told by what was loaded in this time, so that it does not jump.
const LEFT_TIME: Duration = Duration::from_mins(1);

/// What was loaded in less time says nothing of the rest: it is mostly what fills the queue.
const LEFT_TIME_MIN: Duration = Duration::from_secs(5);

/// Between two figures that are kept.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A run that stands still for less is not said to.
const STILL_MIN: Duration = Duration::from_secs(10);

/// How a run gets on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Pace {
    /// Events a second, of the last seconds.
    pub events_per_second: f64,
    /// Bytes a second as they come, compressed or not, of the last seconds.
    pub bytes_read_per_second: f64,
    /// Bytes of text a second, of the last seconds.
    pub bytes_per_second: f64,
    /// How long it may go on, where that can be told.
    pub left: Option<Duration>,
    /// Whether what is read was loaded before.
    pub is_skipping: bool,
    /// How long nothing has been read or stored, if it is long.
    pub still: Option<Duration>,
}

/// Makes a pace of the figures of a run, which it is given again and again.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    recent: Samples,
    /// Since the run last did something that says nothing of the rest: to skip what is loaded already, which is many
    /// times as fast, or to wait for a database that is away.
    typical: Samples,
    last: SpeedSample,
    /// When it last got on.
    moved: Duration,
}

#[derive(Debug, Default, Clone, Copy)]
struct SpeedSample {
    elapsed: Duration,
    events: u64,
    already_loaded: u64,
    bytes_read: u64,
    bytes_text: u64,
}

impl Speed {
    /// Takes the figures of this moment into account.
    pub(crate) fn look(&mut self, figures: &RunSnapshot) -> Pace {
        let now = SpeedSample {
            elapsed: figures.elapsed,
            events: figures.events_done(),
            already_loaded: figures.counts.already_loaded,
            bytes_read: figures.bytes_read,
            bytes_text: figures.bytes_uncompressed,
        };
        if self.recent.0.is_empty() {
            // The run may have begun before anyone looked.
            (self.last, self.moved) = (now, now.elapsed);
        }
        let events = now.events.saturating_sub(self.last.events);
        let skipped = now.already_loaded.saturating_sub(self.last.already_loaded);
        let is_present = matches!(figures.database, None | Some(DatabaseState::Present));
        if (now.events, now.bytes_read) != (self.last.events, self.last.bytes_read) || !is_present {
            self.moved = now.elapsed;
        }
        self.last = now;
        if skipped * 2 > events || !is_present {
            self.typical.0.clear();
        }
        if !is_present {
            // Once it is back, the rates are those of loading again.
            self.recent.0.clear();
        }
        self.typical.add(now, LEFT_TIME);
        self.recent.add(now, RATE_TIME);
        let recent = self.recent.to(now);
        let still = now.elapsed.saturating_sub(self.moved);
        Pace {
            events_per_second: recent.rate(|sample| sample.events),
            bytes_read_per_second: recent.rate(|sample| sample.bytes_read),
            bytes_per_second: recent.rate(|sample| sample.bytes_text),
            left: self.left(figures, now),
            is_skipping: recent.is_skipping(),
            still: (still >= STILL_MIN).then_some(still),
        }
    }

    fn left(&self, figures: &RunSnapshot, now: SpeedSample) -> Option<Duration> {
        let rest = figures.bytes_total?.saturating_sub(now.bytes_read);
        let typical = self.typical.to(now);
        let rate = typical.rate(|sample| sample.bytes_read);
        if typical.time() < LEFT_TIME_MIN || rate <= 0.0 || rest == 0 || figures.stopping.is_some() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
        Duration::try_from_secs_f64(rest as f64 / rate).ok()
    }
}

/// Figures of the last seconds, the oldest first.
#[derive(Debug, Default)]
struct Samples(VecDeque<SpeedSample>);

impl Samples {
    /// Adds one, unless the last is younger than a second, and forgets those that are not needed for `time`.
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

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 15 digits")]
    fn rate(&self, figure: impl Fn(&SpeedSample) -> u64) -> f64 {
        let seconds = self.time().as_secs_f64();
        let change = figure(&self.to).saturating_sub(figure(&self.from));
        if seconds > 0.0 { change as f64 / seconds } else { 0.0 }
    }

    fn is_skipping(&self) -> bool {
        let skipped = self.to.already_loaded.saturating_sub(self.from.already_loaded);
        skipped * 2 > self.to.events.saturating_sub(self.from.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::account::counts::Counts;

    const GB: u64 = 1_000_000_000;

    /// A run of 10 GB in which a GB has a million events.
    #[derive(Default)]
    struct Run {
        speed: Speed,
        milliseconds: u64,
        done: u64,
        skipped: u64,
    }

    impl Run {
        /// Goes on for so many seconds, at so many bytes a second.
        fn go(&mut self, seconds: u64, loads: u64, skips: u64, database: &DatabaseState) -> Pace {
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
                segments_claimed_elsewhere: 0,
                retries: 0,
                database: Some(database.clone()),
                stopping: None,
            }
        }
    }

    fn seconds_left(pace: &Pace) -> Option<u64> {
        pace.left.map(|left| left.as_secs())
    }

    fn away() -> DatabaseState {
        DatabaseState::Away { elapsed: Duration::from_secs(3), next_try: None }
    }

    #[test]
    fn the_time_left_is_that_of_loading() {
        let mut run = Run::default();
        let pace = run.go(4, GB / 10, 0, &DatabaseState::Present);
        assert_eq!(seconds_left(&pace), None, "it has only begun");
        let pace = run.go(16, GB / 10, 0, &DatabaseState::Present);
        assert_eq!(seconds_left(&pace), Some(80));
        assert!(
            (pace.events_per_second - 1e5).abs() < 1.0 && (pace.bytes_per_second - 5e8).abs() < 1.0,
            "{pace:?}"
        );
    }

    #[test]
    fn what_is_skipped_says_nothing_of_the_time_left() {
        let mut run = Run::default();
        let pace = run.go(8, 0, GB / 2, &DatabaseState::Present);
        assert_eq!((seconds_left(&pace), pace.is_skipping), (None, true));
        let pace = run.go(4, GB / 100, 0, &DatabaseState::Present);
        assert_eq!(seconds_left(&pace), None);
        let pace = run.go(4, GB / 100, 0, &DatabaseState::Present);
        // 5.9 GB at a hundredth of a GB a second, though two thirds of the last seconds were fifty times as fast.
        assert!((580..=600).contains(&seconds_left(&pace).unwrap()), "{pace:?}");
        assert!(!run.go(10, GB / 100, 0, &DatabaseState::Present).is_skipping);
    }

    #[test]
    fn a_database_that_is_away_says_nothing_of_the_time_left() {
        let mut run = Run::default();
        run.go(20, GB / 10, 0, &DatabaseState::Present);
        let pace = run.go(100, 0, 0, &away());
        assert_eq!((seconds_left(&pace), pace.still), (None, None), "that it is away is told by itself");
        assert!(pace.events_per_second < 1.0);
        let pace = run.go(8, GB / 10, 0, &DatabaseState::Present);
        assert!((70..=75).contains(&seconds_left(&pace).unwrap()), "{pace:?}");
        assert!(pace.events_per_second > 9e4, "{pace:?}");
    }

    #[test]
    fn a_run_that_stands_still_is_noticed() {
        let mut run = Run::default();
        run.go(5, GB / 10, 0, &DatabaseState::Present);
        assert_eq!(run.go(9, 0, 0, &DatabaseState::Present).still, None);
        let still = run.go(9, 0, 0, &DatabaseState::Present).still.unwrap();
        assert!((17..=18).contains(&still.as_secs()), "{still:?}");
        assert_eq!(run.go(1, GB / 10, 0, &DatabaseState::Present).still, None);
    }

    #[test]
    fn few_figures_are_kept() {
        let mut run = Run::default();
        run.go(600, GB / 1000, 0, &DatabaseState::Present);
        assert!(run.speed.recent.0.len() < 15 && run.speed.typical.0.len() < 65);
    }
}
