//! Generates synthetic dumps with the shape, sizes and peculiarities of real events.
//!
//! Real dumps contain real players and can't be published. Generated dumps of any size load, compress and query like
//! real ones. Their sizes and shares were measured on real events of 2020 to 2026.
//!
//! Invariant: the same options produce the same bytes on every platform. Therefore no number is formatted from a float,
//! no hash map is iterated over, and no random number has the width of a pointer.
//!
//! Invariant: memory does not grow with the number of events.

pub(crate) mod cast;
pub(crate) mod chance;
pub(crate) mod draft;
pub(crate) mod event;
pub(crate) mod items;
pub(crate) mod players;
pub(crate) mod souls;
#[cfg(test)]
mod tests;

use chance::index;
use event::EventWriter;
use fastrand::Rng;
use std::collections::VecDeque;
use std::io::{self, Write};

/// Maximum number of lines. With more, the years of the time stamps would need five digits.
pub(crate) const EVENTS_MAX: u64 = 100_000_000_000;

/// Maximum share of repeated lines, in percent.
pub(crate) const OVERLAP_PERCENT_MAX: f64 = 50.0;

/// Maximum number of lines of one overlap.
const OVERLAP_RUN_MAX: u64 = 25;

/// Maximum age of a repeated event, in distinct events: the size of a page of the game's API.
const RECENT_EVENTS_MAX: usize = 51;

/// Minimum size of a write.
const WRITE_BYTES_MIN: usize = 256 * 1024;

/// Options of a generated dump.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Number of lines, with one event each and repeats included; at most [`EVENTS_MAX`].
    pub events: u64,
    /// Seed of the random numbers. Another seed produces other players and events, whose ids may be the same.
    pub seed: u64,
    /// Share of lines in percent (0 to 50, in steps of a thousandth) that repeat a recent event byte for byte. Repeats
    /// come one by one or in runs, as in overlapping pages of the game's API. The measured mean is 8.5.
    pub overlap_percent: f64,
}

impl Default for GenerateOptions {
    /// 1,000 distinct events of seed 1.
    fn default() -> Self {
        Self { events: 1_000, seed: 1, overlap_percent: 0.0 }
    }
}

/// Writes a dump in pieces of at least 256 KiB.
///
/// Returns the errors of `out` (a broken pipe included), or [`io::ErrorKind::InvalidInput`] for options out of range,
/// before anything is written.
pub fn generate(options: &GenerateOptions, out: &mut impl Write) -> io::Result<()> {
    let share = overlap_share(options)?;
    let repeats_total = options.events * share / 100_000;
    let mut events = EventWriter::new(options.seed);
    // A separate generator, so that the events are the same with and without overlap.
    let mut rng = Rng::with_seed(!options.seed);
    let mut recent = VecDeque::new();
    let (mut lines, mut repeats) = (0, 0);
    let mut run = rng.u64(1..=OVERLAP_RUN_MAX);
    while lines < options.events {
        let left = repeats_total - repeats;
        // A run is due as soon as its repeats are missing, and the remainder at the end.
        let due = match options.events - lines {
            _ if lines * share / 100_000 >= repeats + run => run.min(left),
            rest if rest == left => left,
            _ => 0,
        };
        if due > 0 {
            let length = recent.len().min(usize::try_from(due).unwrap_or(usize::MAX));
            let first = index(&mut rng, recent.len() - length + 1);
            events.draft.text.extend(recent.range(first..first + length).map(String::as_str));
            lines += length as u64;
            repeats += length as u64;
            run = rng.u64(1..=OVERLAP_RUN_MAX);
        } else {
            let start = events.draft.text.len();
            events.append();
            lines += 1;
            if repeats_total > 0 {
                if recent.len() == RECENT_EVENTS_MAX {
                    recent.pop_front();
                }
                recent.push_back(String::from(&events.draft.text[start..]));
            }
        }
        if events.draft.text.len() >= WRITE_BYTES_MIN || lines == options.events {
            out.write_all(events.draft.text.as_bytes())?;
            events.draft.text.clear();
        }
    }
    out.flush()
}

/// Checks the options and returns the share of repeats in thousandths of a percent.
fn overlap_share(options: &GenerateOptions) -> io::Result<u64> {
    let (events, percent) = (options.events, options.overlap_percent);
    let invalid = |message: String| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    if events > EVENTS_MAX {
        return invalid(format!("{events} events exceed the maximum of {EVENTS_MAX} per dump"));
    }
    if !(0.0..=OVERLAP_PERCENT_MAX).contains(&percent) {
        return invalid(format!("an overlap of {percent} % is not between 0 and {OVERLAP_PERCENT_MAX} %"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 50,000, checked above"
    )]
    Ok((percent * 1_000.0).round() as u64)
}
