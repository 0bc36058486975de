//! The outages of the database, which the gate records for reports.

use crate::database::failure::outage_kind::OutageKind;
use crate::database::failure::public::in_public;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::error::Error;
use std::time::{Duration, Instant};

/// The number of recent outages that are kept.
const OUTAGES_MAX: usize = 20;

/// A period in which no call succeeded.
#[derive(Debug, Clone)]
pub struct Outage {
    pub began: Timestamp,
    /// The length so far.
    pub length: Duration,
    /// Why the last attempt to use the database failed.
    pub cause: String,
    pub is_over: bool,
}

/// All outages of a manager.
#[derive(Debug, Clone, Default)]
pub struct Outages {
    /// The last ones in order of time. A current outage is the last.
    pub recent: Vec<Outage>,
    /// The number of outages, including those that are no longer kept.
    pub count: u64,
    /// Their total length.
    pub length: Duration,
    /// Whether all calls wait for the database at this moment. When it responds they retry, and the outage ends when
    /// a call succeeds.
    pub is_unreachable: bool,
}

#[derive(Debug, Default)]
pub(crate) struct OutageLog {
    over: VecDeque<Outage>,
    current: Option<CurrentOutage>,
    count: u64,
    length: Duration,
}

#[derive(Debug)]
struct CurrentOutage {
    since: Instant,
    began: Timestamp,
    cause: String,
    /// The kind that the log names, once it does.
    logged: Option<OutageKind>,
}

impl OutageLog {
    /// Starts an outage, or notes a later cause of the current one.
    pub(crate) fn begin(&mut self, cause: &(dyn Error + 'static)) {
        match &mut self.current {
            Some(current) => current.cause = in_public(cause),
            None => {
                self.current = Some(CurrentOutage {
                    since: Instant::now(),
                    began: Timestamp::now(),
                    cause: in_public(cause),
                    logged: None,
                });
            }
        }
    }

    /// Notes a later cause of the current outage, if there is one.
    pub(crate) fn note(&mut self, cause: &(dyn Error + 'static)) {
        if let Some(current) = &mut self.current {
            current.cause = in_public(cause);
        }
    }

    /// The start of the current outage.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.current.as_ref().map(|current| current.since)
    }

    /// Notes that the log names the current outage. False if it does already, or if there is none.
    pub(crate) fn log_once(&mut self, kind: OutageKind) -> bool {
        let current = self.current.as_mut().filter(|current| current.logged.is_none());
        current.map(|current| current.logged = Some(kind)).is_some()
    }

    /// Ends the current outage. Returns its length and its kind if the log names it. One of at most `length_min` is not
    /// counted.
    pub(crate) fn end(&mut self, length_min: Duration) -> Option<(Duration, OutageKind)> {
        let CurrentOutage { since, began, cause, logged } = self.current.take()?;
        let length = since.elapsed();
        if length > length_min {
            self.keep(Outage { began, length, cause, is_over: true });
        }
        logged.map(|kind| (length, kind))
    }

    fn keep(&mut self, outage: Outage) {
        self.count += 1;
        self.length += outage.length;
        if self.over.len() == OUTAGES_MAX {
            self.over.pop_front();
        }
        self.over.push_back(outage);
    }

    pub(crate) fn outages(&self, is_unreachable: bool) -> Outages {
        let recent = self.over.iter().cloned().collect();
        let mut all = Outages { recent, count: self.count, length: self.length, is_unreachable };
        if let Some(CurrentOutage { since, began, cause, .. }) = &self.current {
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
            log.begin(&io::Error::other("first"));
            log.begin(&io::Error::other("later"));
            log.note(&io::Error::other(number.to_string()));
            assert!(log.since().is_some() && log.log_once(OutageKind::ReadOnly));
            assert!(!log.log_once(OutageKind::NotReady), "once");
            assert_eq!(log.end(Duration::ZERO).map(|(_, kind)| kind), Some(OutageKind::ReadOnly));
        }
        log.begin(&io::Error::other("a blink"));
        assert!(log.end(Duration::MAX).is_none() && log.end(Duration::ZERO).is_none());
        assert!(log.since().is_none());
        log.begin(&io::Error::other("now"));
        let outages = log.outages(true);
        assert_eq!((outages.count, outages.recent.len()), (31, OUTAGES_MAX + 1));
        let causes: Vec<&str> = outages.recent.iter().map(|outage| outage.cause.as_str()).collect();
        assert_eq!((causes[0], causes[OUTAGES_MAX - 1], causes[OUTAGES_MAX]), ("10", "29", "now"));
        assert!(outages.recent.iter().rev().skip(1).all(|outage| outage.is_over));
        assert!(!outages.recent[OUTAGES_MAX].is_over);
    }
}
