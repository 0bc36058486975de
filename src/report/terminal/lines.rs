//! What the progress of a run reads like: figures and a width in, lines out.

#[cfg(test)]
mod tests;

use crate::database::pool::state::DatabaseState;
use crate::pipeline::shutdown::Stopping;
use crate::report::format::{bytes, bytes_of, counted, grouped, time};
use crate::report::snapshot::RunSnapshot;
use crate::report::terminal::speed::Pace;
use std::time::Duration;

/// Between two pieces of a line.
const GAP: &str = "  ";

/// A bar says something from this width on, and no more beyond the other.
const BAR_WIDTH: std::ops::RangeInclusive<usize> = 12..=42;

/// A database that was away for less is not said to be: one connection may be broken, no more.
const AWAY_MIN: Duration = Duration::from_secs(1);

/// The progress at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    /// How far it has come, and how fast.
    pub(crate) advance: String,
    /// What became of the events.
    pub(crate) account: String,
    /// What else there is to say.
    pub(crate) state: Option<RunActivity>,
}

/// What a run is about, other than loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunActivity {
    pub(crate) words: String,
    /// Whether someone may have to do something about it.
    pub(crate) is_trouble: bool,
}

/// A piece of a line, and how soon it is left out when there is no room; 0 is last.
struct LinePiece(u8, String);

/// The lines for a terminal: each is shorter than `width`, and ASCII.
pub(crate) fn lines(figures: &RunSnapshot, pace: &Pace, width: usize) -> Lines {
    let room = width.saturating_sub(1);
    let mut advance = fit(advance(figures, pace), room, GAP);
    if let Some(fraction) = fraction(figures) {
        let bar_room = room.saturating_sub(advance.len() + GAP.len()).min(*BAR_WIDTH.end());
        if bar_room >= *BAR_WIDTH.start() {
            advance = format!("{}{GAP}{advance}", bar(fraction, bar_room));
        }
    }
    let state =
        state(figures, pace).map(|state| RunActivity { words: shortened(state.words, room), ..state });
    Lines { advance, account: fit(account(figures), room, GAP), state }
}

/// All in one line, for a log.
pub(crate) fn one_line(figures: &RunSnapshot, pace: &Pace) -> String {
    let parts = [
        Some(fit(advance(figures, pace), usize::MAX, ", ")),
        Some(fit(account(figures), usize::MAX, ", ")),
        state(figures, pace).map(|state| state.words),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    format!("{}: {}", time(figures.elapsed), parts.join("; ").trim_start())
}

/// How much of the input is read, from 0 to 1, where it is known how much there is.
#[expect(clippy::cast_precision_loss, reason = "a bar has few steps")]
fn fraction(figures: &RunSnapshot) -> Option<f64> {
    let total = figures.bytes_total.filter(|&total| total > 0)?;
    Some((figures.bytes_read as f64 / total as f64).min(1.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the values are small and positive"
)]
fn bar(fraction: f64, width: usize) -> String {
    let inner = width.saturating_sub(2);
    #[expect(clippy::cast_precision_loss, reason = "a bar has few steps")]
    let full = (fraction * inner as f64) as usize;
    let head = if full < inner { ">" } else { "" };
    format!("[{:<inner$}]", format!("{}{head}", "=".repeat(full)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the values are positive, and below 2^53"
)]
fn advance(figures: &RunSnapshot, pace: &Pace) -> Vec<LinePiece> {
    let mut pieces = Vec::new();
    match (fraction(figures), figures.bytes_total) {
        (Some(fraction), Some(total)) => {
            // Not 100 before all is read.
            pieces.push(LinePiece(0, format!("{:>3}%", (fraction * 100.0) as u64)));
            pieces.push(LinePiece(3, bytes_of(figures.bytes_read.min(total), total)));
        }
        _ => pieces.push(LinePiece(0, bytes(figures.bytes_read))),
    }
    pieces.push(LinePiece(1, format!("{} events/s", grouped(pace.events_per_second.round() as u64))));
    pieces.push(LinePiece(4, format!("{}/s", bytes(pace.bytes_per_second.round() as u64))));
    if let Some(left) = pace.left {
        pieces.push(LinePiece(2, format!("{} left", time(left))));
    }
    pieces
}

fn account(figures: &RunSnapshot) -> Vec<LinePiece> {
    let counts = &figures.counts;
    let mut pieces = Vec::new();
    let mut add = |rank, what, number| {
        if number > 0 || rank == 0 {
            pieces.push(LinePiece(rank, format!("{what} {}", grouped(number))));
        }
    };
    if figures.database.is_none() {
        add(0, "events", counts.events);
    } else {
        add(0, "inserted", counts.inserted);
    }
    add(3, "updated", counts.updated);
    add(4, "duplicate", counts.duplicate);
    add(5, "already loaded", counts.already_loaded);
    add(1, "rejected", counts.rejected);
    add(2, "retries", figures.retries);
    pieces
}

fn state(figures: &RunSnapshot, pace: &Pace) -> Option<RunActivity> {
    let in_hand = || counted(figures.queue_depth as u64, "segment");
    let exit_status = figures.stopping.map(|stopping| match stopping {
        Stopping::Signal => format!("stopping, {} to write", in_hand()),
        Stopping::RejectLimit => format!("too many rejects: stopping, {} to write", in_hand()),
        Stopping::Failure => "failed: stopping".to_owned(),
    });
    let (words, is_trouble) = match (&figures.database, exit_status) {
        (_, Some(exit_status)) if figures.stopping == Some(Stopping::Failure) => (exit_status, true),
        (Some(DatabaseState::Away { elapsed, next_try }), exit_status) if *elapsed >= AWAY_MIN => {
            let next = match next_try {
                Some(wait) => format!("trying again in {} s", wait.as_secs_f64().ceil()),
                None => "trying again now".to_owned(),
            };
            let exit_status = exit_status.map(|exit_status| format!("{exit_status}; ")).unwrap_or_default();
            (format!("{exit_status}database away for {}, {next}", time(*elapsed)), true)
        }
        (_, Some(exit_status)) => (exit_status, true),
        (Some(DatabaseState::Building { index, elapsed }), None) => {
            (format!("building the index {index} for {}", time(*elapsed)), false)
        }
        _ if figures.segments_claimed_elsewhere > 0 && figures.queue_depth == 0 => {
            let segments = counted(figures.segments_claimed_elsewhere as u64, "segment");
            (format!("waiting for {segments} that other loads have taken"), false)
        }
        _ => match pace.still {
            Some(still) if figures.queue_depth > 0 => {
                (format!("waiting for the database for {}: nothing is stored", time(still)), true)
            }
            Some(still) if !figures.is_all_read() => {
                (format!("waiting for input for {}", time(still)), false)
            }
            _ if figures.is_all_read() && figures.queue_depth > 0 => {
                (format!("all is read, {} to write", in_hand()), false)
            }
            _ if pace.is_skipping => ("skipping what is loaded already".to_owned(), false),
            _ => return None,
        },
    };
    Some(RunActivity { words, is_trouble })
}

/// As many pieces as there is room for.
fn fit(mut pieces: Vec<LinePiece>, room: usize, gap: &str) -> String {
    loop {
        let texts: Vec<&str> = pieces.iter().map(|LinePiece(_, text)| text.as_str()).collect();
        let line = texts.join(gap);
        if line.len() <= room || pieces.len() == 1 {
            return cut(line, room);
        }
        let last = pieces.iter().map(|LinePiece(rank, _)| *rank).max();
        pieces.retain(|LinePiece(rank, _)| Some(*rank) != last);
    }
}

/// The state, in fewer words where there is no room for all.
fn shortened(words: String, room: usize) -> String {
    if words.len() <= room {
        return words;
    }
    cut(words.replace("database away for ", "database away ").replace("trying again", "again"), room)
}

/// Only what is ASCII comes here, but a name of an index could be otherwise one day.
fn cut(mut line: String, room: usize) -> String {
    line.truncate(line.floor_char_boundary(room));
    line
}
