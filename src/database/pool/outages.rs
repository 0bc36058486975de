//! When the database was away, and for how long: kept by the gate, for who watches a run.

use crate::database::failure::public::in_public;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::error::Error;
use std::time::{Duration, Instant};

/// So many are kept, the last ones.
const OUTAGES_MAX: usize = 20;

/// A time in which nothing succeeded.
#[derive(Debug, Clone)]
pub struct Outage {
    /// When it began.
    pub began: Timestamp,
    /// How long it took, or has taken so far.
    pub length: Duration,
    /// Why the database was found away, at first.
    pub cause: String,
    /// Whether it is over.
    pub is_over: bool,
}

/// All outages of a manager.
#[derive(Debug, Clone, Default)]
pub struct Outages {
    /// The last ones, in the order of time; one that is not over is the last.
    pub recent: Vec<Outage>,
    /// How many there were, those included that are no longer kept.
    pub count: u64,
    /// How long they took together.
    pub length: Duration,
    /// Whether all wait for the database at this moment. Once it answers they try again, and the outage is over when
    /// something succeeds.
    pub is_away: bool,
}

#[derive(Debug, Default)]
pub(crate) struct OutageLog {
    /// Those that are over.
    over: VecDeque<Outage>,
    current: Option<(Instant, Timestamp, String)>,
    count: u64,
    length: Duration,
}

impl OutageLog {
    /// One begins, unless it has begun before.
    pub(crate) fn begin(&mut self, cause: &(dyn Error + 'static)) {
        self.current.get_or_insert_with(|| (Instant::now(), Timestamp::now(), in_public(cause)));
    }

    /// When the one began that goes on.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.current.as_ref().map(|(since, ..)| *since)
    }

    /// It is over. False: there was none, or it was no longer than `length_min`, and is not worth telling.
    pub(crate) fn end(&mut self, length_min: Duration) -> bool {
        let Some((since, began, cause)) = self.current.take() else { return false };
        let length = since.elapsed();
        if length <= length_min {
            return false;
        }
        self.count += 1;
        self.length += length;
        if self.over.len() == OUTAGES_MAX {
            self.over.pop_front();
        }
        self.over.push_back(Outage { began, length, cause, is_over: true });
        true
    }

    pub(crate) fn outages(&self, is_away: bool) -> Outages {
        let recent = self.over.iter().cloned().collect();
        let mut all = Outages { recent, count: self.count, length: self.length, is_away };
        if let Some((since, began, cause)) = &self.current {
            let length = since.elapsed();
            all.count += 1;
            all.length += length;
            all.recent.push(Outage { began: *began, length, cause: cause.clone(), is_over: false });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let mut log = OutageLog::default();
        for number in 0..30 {
            log.begin(&io::Error::other(number.to_string()));
            log.begin(&io::Error::other("again"));
            assert!(log.since().is_some() && log.end(Duration::ZERO));
        }
        log.begin(&io::Error::other("a blink"));
        assert!(!log.end(Duration::MAX) && !log.end(Duration::ZERO) && log.since().is_none());
        log.begin(&io::Error::other("now"));
        let outages = log.outages(true);
        assert_eq!((outages.count, outages.recent.len()), (31, OUTAGES_MAX + 1));
        let causes: Vec<&str> = outages.recent.iter().map(|outage| outage.cause.as_str()).collect();
        assert_eq!((causes[0], causes[OUTAGES_MAX - 1], causes[OUTAGES_MAX]), ("10", "29", "now"));
        assert!(outages.recent.iter().rev().skip(1).all(|outage| outage.is_over));
        assert!(!outages.recent[OUTAGES_MAX].is_over);
    }
}
