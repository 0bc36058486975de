//! Times and ids of events. Both ascend, at about 100,000 events per day.

use crate::generate::chance::{Wheel, permille};
use crate::generate::text;
use fastrand::Rng;

/// Resolution of the game's clock: a tenth of a microsecond.
const TICKS_PER_SECOND: u64 = 10_000_000;
const TICKS_PER_DAY: u64 = 86_400 * TICKS_PER_SECOND;
/// Mean time between events: 864 ms.
const GAP_TICKS_MEAN: u64 = TICKS_PER_DAY / 100_000;
/// All event ids are above this one.
const EVENT_ID_BASE: u64 = 1_300_000_000;
/// Maximum gap between adjacent ids. The mean of real ones is about 5.
const EVENT_ID_GAP_MAX: u64 = 9;

/// Time and ids of the next event. Invariant: the time is a multiple of the fraction that it is written with, so that
/// the written times ascend, too.
pub(crate) struct Clock {
    event_id: u64,
    year: u64,
    month: u64,
    day: u64,
    /// Ticks since midnight; below `TICKS_PER_DAY`.
    ticks: u64,
    fraction_digits: usize,
    fractions: Wheel<usize>,
}

impl Clock {
    /// Starts in the first minutes of 2026-01-05.
    pub(crate) fn new() -> Self {
        Self {
            event_id: EVENT_ID_BASE,
            year: 2026,
            month: 1,
            day: 5,
            ticks: 0,
            fraction_digits: 9,
            fractions: Wheel::new([(9, 90), (6, 5), (7, 2), (3, 2), (0, 1)]),
        }
    }

    /// Advances to the next event, which sometimes has the same time.
    pub(crate) fn advance(&mut self, rng: &mut Rng) {
        self.event_id += rng.u64(1..=EVENT_ID_GAP_MAX);
        if permille(rng, 960) {
            self.ticks += rng.u64(..=2 * GAP_TICKS_MEAN);
        }
        self.fraction_digits = self.fractions.pick(rng);
        self.ticks = self.ticks.next_multiple_of(match self.fraction_digits {
            0 => TICKS_PER_SECOND,
            3 => TICKS_PER_SECOND / 1_000,
            6 => TICKS_PER_SECOND / 1_000_000,
            _ => 1,
        });
        if self.ticks >= TICKS_PER_DAY {
            self.ticks -= TICKS_PER_DAY;
            self.next_day();
        }
    }

    /// The id of the current event.
    pub(crate) fn event_id(&self) -> u64 {
        self.event_id
    }

    /// Appends the time of the current event, as `2026-01-05T00:00:00.123456700Z`.
    pub(crate) fn push_time(&self, buffer: &mut Vec<u8>) {
        let seconds = self.ticks / TICKS_PER_SECOND;
        let fraction = self.ticks % TICKS_PER_SECOND;
        text::push_padded(buffer, self.year, 4);
        for (mark, number) in [
            (b'-', self.month),
            (b'-', self.day),
            (b'T', seconds / 3600),
            (b':', seconds / 60 % 60),
            (b':', seconds % 60),
        ] {
            buffer.push(mark);
            text::push_padded(buffer, number, 2);
        }
        if self.fraction_digits > 0 {
            buffer.push(b'.');
            // A tick has seven digits. The remaining ones are zeros, as in the game's times.
            text::push_padded(buffer, fraction * 100, 9);
            buffer.truncate(buffer.len() - (9 - self.fraction_digits));
        }
        buffer.push(b'Z');
    }

    fn next_day(&mut self) {
        self.day += 1;
        if self.day > days_in_month(self.year, self.month) {
            self.day = 1;
            self.month += 1;
        }
        if self.month > 12 {
            self.month = 1;
            self.year += 1;
        }
    }
}

fn days_in_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other_as_in_the_calendar() {
        let mut clock = Clock::new();
        let mut expected = jiff::civil::date(2026, 1, 5);
        for _ in 0..3_000 {
            let mut buffer = Vec::new();
            clock.push_time(&mut buffer);
            assert!(String::from_utf8(buffer).unwrap().starts_with(&expected.to_string()));
            clock.next_day();
            expected = expected.tomorrow().unwrap();
        }
    }

    #[test]
    fn times_and_ids_ascend_at_about_a_hundred_thousand_per_day() {
        let mut clock = Clock::new();
        let mut rng = Rng::with_seed(7);
        let mut last = (jiff::Timestamp::MIN, EVENT_ID_BASE);
        for _ in 0..20_000 {
            clock.advance(&mut rng);
            let mut buffer = Vec::new();
            clock.push_time(&mut buffer);
            let time: jiff::Timestamp = std::str::from_utf8(&buffer).unwrap().parse().unwrap();
            assert!(time >= last.0 && clock.event_id() > last.1);
            last = (time, clock.event_id());
        }
        let minutes = last.0.duration_since("2026-01-05T00:00:00Z".parse().unwrap()).as_mins();
        assert!((270..=300).contains(&minutes), "{minutes} min for a fifth of a day's events");
    }
}
