//! The progress of a run over time, so that a page opened late shows the whole run.
//!
//! Invariant: the history is bounded. When it is full, every second sample is removed and the interval doubles.

use serde_json::{Value, json};

/// The maximum number of samples.
const SAMPLES_MAX: usize = 360;

/// The progress at one time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct HistorySample {
    /// Since the start of the run.
    pub(crate) seconds: f64,
    /// Events with a known outcome.
    pub(crate) events: u64,
    /// Bytes of text read.
    pub(crate) bytes_text: u64,
}

#[derive(Debug)]
pub(crate) struct History {
    kept: Vec<HistorySample>,
    /// Between two kept samples.
    interval_seconds: f64,
    /// The last sample, kept or not.
    newest: HistorySample,
}

impl Default for History {
    /// The first sample is the start of the run.
    fn default() -> Self {
        let start = HistorySample::default();
        Self { kept: vec![start], interval_seconds: 1.0, newest: start }
    }
}

impl History {
    /// Adds a sample, about once per second.
    pub(crate) fn add(&mut self, sample: HistorySample) {
        self.newest = sample;
        let due = self.kept.last().map_or(0.0, |last| last.seconds + self.interval_seconds);
        // The timer is not exact.
        if sample.seconds + 0.1 < due {
            return;
        }
        if self.kept.len() == SAMPLES_MAX {
            let mut number = 0;
            self.kept.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.interval_seconds *= 2.0;
        }
        self.kept.push(sample);
    }

    /// The samples as lists of equal length. The last one is the newest sample.
    pub(crate) fn to_json(&self) -> Value {
        let newest = Some(&self.newest).filter(|newest| self.kept.last() != Some(newest));
        let samples: Vec<&HistorySample> = self.kept.iter().chain(newest).collect();
        let seconds: Vec<f64> = samples.iter().map(|sample| tenths(sample.seconds)).collect();
        let list =
            |of: fn(&HistorySample) -> u64| samples.iter().map(|sample| of(sample)).collect::<Vec<_>>();
        json!({
            "interval_seconds": self.interval_seconds,
            "seconds": seconds,
            "events": list(|sample| sample.events),
            "bytes_uncompressed": list(|sample| sample.bytes_text),
        })
    }
}

/// Rounds to tenths, to send fewer digits.
pub(crate) fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> HistorySample {
        let events = u64::from(second) * 100;
        HistorySample { seconds: f64::from(second) + 0.03, events, bytes_text: events * 10 }
    }

    #[test]
    fn it_thins_out_and_keeps_start_and_end() {
        for (seconds, interval) in [(10, 1.0), (359, 1.0), (400, 2.0), (1000, 4.0), (50_000, 256.0)] {
            let mut history = History::default();
            (1..=seconds).for_each(|second| history.add(at(second)));
            let json = history.to_json();
            let times = json["seconds"].as_array().unwrap();
            let number = |value: &Value| value.as_f64().unwrap();
            assert!(times.len() <= SAMPLES_MAX + 1 && times.len() > 9, "{}", times.len());
            assert_eq!(json["interval_seconds"], json!(interval), "{seconds}");
            assert_eq!((number(&times[0]), number(times.last().unwrap())), (0.0, f64::from(seconds)));
            assert!(times.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])));
            let gaps = times.windows(2).take(times.len() - 2).map(|pair| number(&pair[1]) - number(&pair[0]));
            assert!(
                gaps.clone().all(|gap| (gap - interval).abs() < 0.2),
                "{seconds}: {:?}",
                gaps.collect::<Vec<_>>()
            );
            for list in ["events", "bytes_uncompressed"] {
                assert_eq!(json[list].as_array().unwrap().len(), times.len());
            }
            assert!(json.to_string().len() < 16 << 10);
        }
    }
}
