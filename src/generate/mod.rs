//! The synthetic dump: events with the shape, sizes and oddities of real ones.
//!
//! Real dumps hold real players and can't be handed out; this makes dumps of any size that load, compress
//! and query like them. Sizes, shares and shapes are those measured on real events of 2020 to 2026.
//!
//! Invariant: the same options give the same bytes on every platform. So no number is written by way
//! of a float, no hash map is iterated over, and no random number has the width of a pointer.
//!
//! Invariant: memory does not grow with the number of events.
//!
//! What is the same in many events (players, items, statistics) is rendered once, and events are put together from
//! these pieces.

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

/// Most lines of a dump: past them the years of its time stamps would need five digits.
pub(crate) const EVENTS_MAX: u64 = 100_000_000_000;

/// Largest share of repeated lines, in percent.
pub(crate) const OVERLAP_PERCENT_MAX: f64 = 50.0;

/// Most lines of one overlap.
const OVERLAP_RUN_MAX: u64 = 25;

/// What dump to make.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Lines of the dump, one event each, repeats included; at most [`EVENTS_MAX`].
    pub events: u64,
    /// Another seed gives other players and other events, under ids that may be the same.
    pub seed: u64,
    /// Share of lines, in percent (0 to 50, in steps of a thousandth), that repeat an event given out shortly before,
    /// byte for byte and some in a row, as overlapping pages of the game's API do. A mean of 8.5 was measured.
    pub overlap_percent: f64,
}

impl Default for GenerateOptions {
    /// A thousand events of seed 1, all different.
    fn default() -> Self {
        Self { events: 1_000, seed: 1, overlap_percent: 0.0 }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratedDump {
    /// Lines, as many as were asked for.
    pub lines: u64,
    /// Different events among them.
    pub events_distinct: u64,
    /// Bytes of all lines, line feeds included.
    pub bytes: u64,
}

/// Writes the dump, in pieces of 256 KiB or more; returns how much it was.
///
/// Errors are those of `out` (a broken pipe included), and [`io::ErrorKind::InvalidInput`] for options out of
/// their range, before anything is written.
pub fn generate(options: &GenerateOptions, out: &mut impl Write) -> io::Result<GeneratedDump> {
    let overlap = Overlap::new(options)?;
    let memory = if overlap.repeats_total == 0 { Memory::None } else { Memory::Page };
    let mut spool = Spool::new(out, memory);
    let mut events = EventWriter::new(options.seed);
    // Its own generator, so that the events are the same with and without overlap.
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

/// How much of the dump repeats itself, and when.
struct Overlap {
    lines_total: u64,
    repeats_total: u64,
    /// Thousandths of a percent.
    share: u64,
}

impl Overlap {
    fn new(options: &GenerateOptions) -> io::Result<Self> {
        let (events, percent) = (options.events, options.overlap_percent);
        if events > EVENTS_MAX {
            return Err(invalid(format!(
                "{events} events are more than the {EVENTS_MAX} that a dump can have"
            )));
        }
        if !(0.0..=OVERLAP_PERCENT_MAX).contains(&percent) {
            return Err(invalid(format!(
                "an overlap of {percent} % is not within 0 to {OVERLAP_PERCENT_MAX} %"
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

    /// How many lines to repeat now: a run once so many are owed, the rest at the end, else none.
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

/// A number from 0 to `last`.
fn position(rng: &mut Rng, last: usize) -> usize {
    rng.u32(..=u32::try_from(last).expect("few events are kept")) as usize
}
