//! Shows the progress of a running load on standard error.

use crate::panics::inject;
use crate::report::format::time;
use crate::report::snapshot::{LiveRun, RunSnapshot};
use crate::report::terminal::lines;
use crate::report::terminal::lines::Lines;
use crate::report::terminal::screen::{Manner, Screen};
use crate::report::terminal::speed::{Pace, Speed};
use crate::report::terminal::ticker::Ticker;
use crate::visible::visible;
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io;
use std::time::{Duration, Instant};
use terminal_size::{Height, Width, terminal_size_of};

/// The interval of updates.
const INTERVAL: Duration = Duration::from_millis(250);

/// The interval of progress lines if nothing can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// A shorter preparation is not shown.
const PREPARATION_MIN: Duration = Duration::from_secs(1);

/// The progress of a run. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// None if nothing is shown.
    ticker: Option<Ticker>,
    screen: Screen,
}

impl Progress {
    /// Shows on a terminal that a run that began at `begun` waits for its database, before it reads anything.
    pub(crate) fn of_preparation(begun: Instant, screen: Screen) -> io::Result<Self> {
        let shown = screen.clone();
        let show = move || {
            let elapsed = begun.elapsed();
            if elapsed >= PREPARATION_MIN {
                draw_line(&shown, &format!("preparing the database  {} elapsed", time(elapsed)));
            }
        };
        let is_drawn = screen.manner() == Manner::Drawn;
        let ticker = is_drawn.then(|| Ticker::start("preparation", INTERVAL, show)).transpose()?;
        Ok(Self { ticker, screen })
    }

    /// Shows `run` on `screen`, with the address of its page if it has one.
    pub(crate) fn start(run: LiveRun, screen: Screen, url: Option<String>) -> io::Result<Self> {
        inject("show");
        let shown = screen.clone();
        let (mut speed, mut next_line) = (Speed::default(), LINE_INTERVAL);
        let show = move || {
            let figures = run.figures();
            let pace = speed.look(&figures);
            if shown.manner() == Manner::Drawn {
                draw(&shown, &figures, &pace, url.as_deref());
            } else if figures.elapsed >= next_line {
                shown.line(&visible(&lines::one_line(&figures, &pace)));
                next_line = figures.elapsed + LINE_INTERVAL;
            }
        };
        let ticker = match screen.manner() {
            Manner::Silent => None,
            Manner::Drawn | Manner::Lines => Some(Ticker::start("progress", INTERVAL, show)?),
        };
        Ok(Self { ticker, screen })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Stop the ticker first, so that it does not draw after the clear.
        drop(self.ticker.take());
        self.screen.clear();
    }
}

/// Draws a line of ASCII letters, as far as it fits.
fn draw_line(screen: &Screen, line: &str) {
    if is_in_background() {
        return screen.forget();
    }
    let Width(width) = terminal_size_of(io::stderr()).map_or(Width(80), |(width, _)| width);
    let room = usize::from(width).saturating_sub(1).min(line.len());
    screen.draw(&[line[..room].to_owned()]);
}

fn draw(screen: &Screen, figures: &RunSnapshot, pace: &Pace, url: Option<&str>) {
    if is_in_background() {
        // Another process uses the terminal now.
        return screen.forget();
    }
    let (Width(width), Height(height)) = terminal_size_of(io::stderr()).unwrap_or((Width(80), Height(24)));
    let Lines { advance, source, account, state } = lines::lines(figures, pace, url, usize::from(width));
    let state = state.map(|state| {
        let is_coloured = state.is_trouble && screen.has_colour();
        let text = visible(&state.text);
        if is_coloured { format!("\x1b[33m{text}\x1b[0m") } else { text.into_owned() }
    });
    // A terminal with few lines shows the most important ones.
    let (advance, account) = (visible(&advance).into_owned(), visible(&account).into_owned());
    let account = (height >= 4 || state.is_none()).then_some(account);
    let source = source.filter(|_| height >= 6).map(|source| visible(&source).into_owned());
    let mut shown: Vec<String> = [Some(advance), source, account, state].into_iter().flatten().collect();
    shown.truncate(usize::from(height).saturating_sub(1).max(1));
    screen.draw(&shown);
}

/// Whether this program is a background job of the shell.
fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|foreground| foreground != getpgrp())
}
