//! Generates synthetic dumps with the shape, sizes and peculiarities of real events.
//!
//! Real dumps contain real players and can't be published. Generated dumps of any size load, compress and query like
//! real ones. Their sizes and shares were measured on real events of 2020 to 2026.
//!
//! Invariant: the same options produce the same bytes on every platform. Therefore no number is formatted from a float,
//! no hash map is iterated over, and no random number has the width of a pointer.
//!
//! Invariant: memory does not grow with the number of events.
//!
//! Parts that many events share (players, items, statistics) are rendered once, and events are assembled from these
//! parts.

pub(crate) mod cast;
pub(crate) mod chance;
pub(crate) mod clock;
pub(crate) mod event;
pub(crate) mod gearing;
pub(crate) mod items;
pub(crate) mod names;
pub(crate) mod population;
pub(crate) mod souls;
pub(crate) mod spool;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use event::EventWriter;
use fastrand::Rng;
use spool::{Memory, Spool};
use std::io::{self, Write};

/// Maximum number of lines. With more, the years of the time stamps would need five digits.
pub(crate) const EVENTS_MAX: u64 = 100_000_000_000;

/// Maximum share of repeated lines, in percent.
pub(crate) const OVERLAP_PERCENT_MAX: f64 = 50.0;

/// Maximum number of lines of one overlap.
const OVERLAP_RUN_MAX: u64 = 25;

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

/// Size of a generated dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratedDump {
    /// Number of lines.
    pub lines: u64,
    /// Number of distinct events.
    pub events_distinct: u64,
    /// Number of bytes, line feeds included.
    pub bytes: u64,
}

/// Writes a dump in pieces of at least 256 KiB, and returns its size.
///
/// Returns the errors of `out` (a broken pipe included), or [`io::ErrorKind::InvalidInput`] for options out of range,
/// before anything is written.
pub fn generate(options: &GenerateOptions, out: &mut impl Write) -> io::Result<GeneratedDump> {
    let overlap = Overlap::new(options)?;
    let memory = if overlap.repeats_total == 0 { Memory::None } else { Memory::Page };
    let mut spool = Spool::new(out, memory);
    let mut events = EventWriter::new(options.seed);
    // A separate generator, so that the events are the same with and without overlap.
    let mut rng = Rng::with_seed(!options.seed);
    let mut lines = 0;
    let mut repeats = 0;
    let mut run = rng.u64(1..=OVERLAP_RUN_MAX);
    while lines < options.events {
        let due = overlap.due(lines, repeats, run);
        if due == 0 {
            spool.add(|buffer| events.append(buffer))?;
            lines += 1;
            continue;
        }
        let recent = spool.recent();
        let length = recent.min(usize::try_from(due).unwrap_or(recent));
        let start = position(&mut rng, recent - length);
        for event in start..start + length {
            spool.repeat(event)?;
        }
        lines += length as u64;
        repeats += length as u64;
        run = rng.u64(1..=OVERLAP_RUN_MAX);
    }
    Ok(GeneratedDump { lines, events_distinct: lines - repeats, bytes: spool.finish()? })
}

/// The schedule of repeated lines.
struct Overlap {
    lines_total: u64,
    repeats_total: u64,
    /// In thousandths of a percent.
    share: u64,
}

impl Overlap {
    fn new(options: &GenerateOptions) -> io::Result<Self> {
        let (events, percent) = (options.events, options.overlap_percent);
        if events > EVENTS_MAX {
            return Err(invalid(format!("{events} events exceed the maximum of {EVENTS_MAX} per dump")));
        }
        if !(0.0..=OVERLAP_PERCENT_MAX).contains(&percent) {
            return Err(invalid(format!(
                "an overlap of {percent} % is not between 0 and {OVERLAP_PERCENT_MAX} %"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 50,000, checked above"
        )]
        let share = (percent * 1_000.0).round() as u64;
        Ok(Self { lines_total: events, repeats_total: events * share / 100_000, share })
    }

    /// Number of lines to repeat now: a run as soon as it is due, the remainder at the end, otherwise none.
    fn due(&self, lines: u64, repeats: u64, run: u64) -> u64 {
        let left = self.repeats_total - repeats;
        let owed = lines * self.share / 100_000;
        if owed >= repeats + run {
            run.min(left)
        } else if left == self.lines_total - lines {
            left
        } else {
            0
        }
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Draws a number from 0 to `last`.
fn position(rng: &mut Rng, last: usize) -> usize {
    rng.u32(..=u32::try_from(last).expect("few events are kept")) as usize
}
