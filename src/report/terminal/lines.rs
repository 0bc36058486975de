//! Formats the progress lines from a snapshot and a terminal width.

#[cfg(test)]
mod tests;

use crate::database::pool::gate::OutageProgress;
use crate::database::pool::state::DatabaseState;
use crate::input::decode::raw::CurrentSource;
use crate::pipeline::shutdown::Stopping;
use crate::report::format::{bytes, bytes_of, counted, grouped, rounded, time};
use crate::report::snapshot::{RunSnapshot, RunTask};
use crate::report::terminal::speed::Pace;
use std::time::Duration;

/// The gap between two pieces of a line.
const GAP: &str = "  ";

/// The useful widths of a progress bar.
const BAR_WIDTH: std::ops::RangeInclusive<usize> = 12..=42;

/// Shorter outages are not shown, because they can be a single broken connection.
const AWAY_MIN: Duration = Duration::from_secs(1);

/// The progress at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Progress, rates and times.
    pub(crate) advance: String,
    /// The current file and the address of the page, if there are any.
    pub(crate) source: Option<String>,
    /// Event outcomes.
    pub(crate) account: String,
    /// The activity, if it is not loading.
    pub(crate) state: Option<RunActivity>,
}

/// An activity of a run other than loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunActivity {
    pub(crate) text: String,
    /// Whether the user may have to act.
    pub(crate) is_trouble: bool,
}

/// A piece of a line with its rank. If the line is too long, the pieces with the highest rank are left out first.
struct LinePiece(u8, String);

/// The lines for a terminal, each shorter than `width`. Only names are not ASCII.
pub(crate) fn lines(figures: &RunSnapshot, pace: &Pace, url: Option<&str>, width: usize) -> Lines {
    let room = width.saturating_sub(1);
    let mut advance = fit(advance(figures, pace), room, GAP);
    if let Some(fraction) = fraction(figures) {
        let bar_room = room.saturating_sub(advance.len() + GAP.len()).min(*BAR_WIDTH.end());
        if bar_room >= *BAR_WIDTH.start() {
            advance = format!("{}{GAP}{advance}", bar(fraction, bar_room));
        }
    }
    let state = state(figures, pace).map(|state| RunActivity { text: shortened(state.text, room), ..state });
    let source = source(figures, url);
    let source = (!source.is_empty()).then(|| fit(source, room, GAP));
    Lines { advance, source, account: fit(account(figures), room, GAP), state }
}

/// The progress in one line, for a log.
pub(crate) fn one_line(figures: &RunSnapshot, pace: &Pace) -> String {
    let parts = [
        Some(fit(advance(figures, pace), usize::MAX, ", ")),
        Some(fit(source(figures, None), usize::MAX, ", ")),
        Some(fit(account(figures), usize::MAX, ", ")),
        state(figures, pace).map(|state| state.text),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join("; ").trim_start().to_owned()
}

/// The part of the input that is read, from 0 to 1, if the size is known.
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

fn advance(figures: &RunSnapshot, pace: &Pace) -> Vec<LinePiece> {
    let mut pieces = Vec::new();
    // A deletion by time reads nothing.
    let reads = figures.source.is_some() || figures.task != RunTask::Delete;
    match (fraction(figures), figures.bytes_total) {
        (Some(fraction), Some(total)) => {
            // Rounded down, so that 100% means all.
            pieces.push(LinePiece(0, format!("{:>3}%", rounded((fraction * 100.0).floor()))));
            pieces.push(LinePiece(4, bytes_of(figures.bytes_read.min(total), total)));
        }
        _ if reads => pieces.push(LinePiece(0, bytes(figures.bytes_read))),
        _ => {}
    }
    pieces.push(LinePiece(2, format!("{}/s", counted(rounded(pace.events_per_second), "event"))));
    if reads {
        // Sizes are those of the files, the rate is that of their text.
        let of_text = if figures.bytes_uncompressed > figures.bytes_read { " of text" } else { "" };
        let rate = bytes(rounded(pace.bytes_per_second));
        pieces.push(LinePiece(5, format!("{rate}/s{of_text}")));
    }
    pieces.push(LinePiece(1, format!("{} elapsed", time(figures.elapsed))));
    if let Some(left) = pace.left {
        pieces.push(LinePiece(3, format!("{} left", time(left))));
    }
    pieces
}

/// The current file and its number, and the address of the page.
fn source(figures: &RunSnapshot, url: Option<&str>) -> Vec<LinePiece> {
    let mut pieces = Vec::new();
    if let Some(CurrentSource { number, count, file_name }) = &figures.source {
        if *count > 1 {
            pieces.push(LinePiece(
                0,
                format!("file {} of {}", grouped(*number as u64), grouped(*count as u64)),
            ));
        }
        pieces.extend(file_name.iter().map(|name| LinePiece(1, name.clone())));
    }
    pieces.extend(url.map(|url| LinePiece(2, url.to_owned())));
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
    match figures.task {
        RunTask::Load if figures.database.is_none() => add(0, "events", counts.events),
        RunTask::Load => add(0, "inserted", counts.inserted),
        RunTask::Verify => add(0, "compared", counts.events),
        RunTask::Delete => add(0, "deleted", figures.deleted),
    }
    add(1, "missing", figures.missing);
    // A later version of the event in the dumps can be the stored one.
    add(2, "possibly different", figures.different);
    add(3, "updated", counts.updated);
    add(4, "duplicate", counts.duplicate);
    add(5, "already loaded", counts.already_loaded);
    add(1, "rejected", counts.rejected);
    add(2, "retries", figures.retries);
    pieces
}

fn state(figures: &RunSnapshot, pace: &Pace) -> Option<RunActivity> {
    let queued = || counted(figures.queue_depth as u64, "segment");
    let stopping = figures.stopping.map(|stopping| match stopping {
        Stopping::Signal => match figures.task {
            RunTask::Load => format!("stopping, {} to write", queued()),
            RunTask::Verify => "stopping after the current segments".to_owned(),
            RunTask::Delete => "stopping after the current batch".to_owned(),
        },
        Stopping::RejectLimit => format!("too many rejects: stopping, {} to write", queued()),
        Stopping::Failure => "failed: stopping".to_owned(),
    });
    let before = |stopping: Option<String>| stopping.map(|text| format!("{text}; ")).unwrap_or_default();
    let (text, is_trouble) = match (&figures.database, stopping) {
        (_, Some(stopping)) if figures.stopping == Some(Stopping::Failure) => (stopping, true),
        (Some(DatabaseState::Away(outage)), stopping) if outage.elapsed >= AWAY_MIN => {
            (format!("{}{}", before(stopping), self::outage(outage)), true)
        }
        (Some(DatabaseState::Stalled(stalled)), stopping) => {
            (format!("{}no answer from the database for {}", before(stopping), time(*stalled)), true)
        }
        (_, Some(stopping)) => (stopping, true),
        (Some(DatabaseState::Building { index, elapsed }), None) => {
            (format!("building index {index} for {}", time(*elapsed)), false)
        }
        _ if figures.is_settled => {
            let stalled = pace.stalled.filter(|_| figures.database.is_some())?;
            (format!("no progress for {}: waiting for the database", time(stalled)), true)
        }
        _ if figures.segments_claimed_elsewhere > 0 && figures.queue_depth == 0 => {
            let segments = counted(figures.segments_claimed_elsewhere as u64, "segment");
            (format!("waiting for {segments} claimed by other loads"), false)
        }
        _ => match pace.stalled {
            Some(stalled) if figures.queue_depth > 0 => {
                let awaited = if figures.awaits_reject_file { "reject file" } else { "database" };
                (format!("no progress for {}: waiting for the {awaited}", time(stalled)), true)
            }
            Some(stalled) if !figures.is_all_read() => {
                (format!("no progress for {}: waiting for input", time(stalled)), false)
            }
            _ if figures.is_all_read() && figures.queue_depth > 0 => {
                (format!("input complete, {} to write", queued()), false)
            }
            _ if pace.is_skipping => ("skipping segments already loaded".to_owned(), false),
            _ => return None,
        },
    };
    Some(RunActivity { text, is_trouble })
}

fn outage(outage: &OutageProgress) -> String {
    let OutageProgress { kind, elapsed, attempts, next_try, .. } = outage;
    let next = match next_try {
        Some(wait) => format!("retrying in {} s", wait.as_secs_f64().ceil()),
        None => "retrying now".to_owned(),
    };
    format!("database {kind} for {}, attempt {}, {next}", time(*elapsed), attempts.max(&1))
}

/// Joins as many pieces as fit.
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

/// Abbreviates the state if it does not fit.
fn shortened(text: String, room: usize) -> String {
    if text.len() <= room {
        return text;
    }
    let without_attempt = match text.split_once(", attempt ") {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|letter: char| letter.is_ascii_digit()))
        }
        None => text,
    };
    if without_attempt.len() <= room {
        return without_attempt;
    }
    cut(
        without_attempt.replace(" for ", " ").replace("unreachable", "down").replace("retrying", "retry"),
        room,
    )
}

/// Truncates a line. The text is ASCII, unless an index has another name.
fn cut(mut line: String, room: usize) -> String {
    line.truncate(line.floor_char_boundary(room));
    line
}
