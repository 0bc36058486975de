//! The thread that shows how far a run has come.

use super::figures::{Figures, LiveRun};
use super::lines::{self, Lines};
use super::screen::{Manner, Screen};
use super::speed::{Pace, Speed};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use terminal_size::{Height, Width, terminal_size_of};

/// Between two looks at the run.
const INTERVAL: Duration = Duration::from_millis(250);

/// Between two lines where nothing can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a run, until it is dropped.
#[derive(Debug)]
pub struct Progress {
    /// Above the handle, so that the thread sees its end before it is waited for.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows `run` on `screen`, in the manner that it allows.
    pub fn start(run: LiveRun, screen: Screen) -> io::Result<Self> {
        if screen.manner() == Manner::Silent {
            return Ok(Self { alive: None, thread: None });
        }
        let (alive, ended) = bounded(0);
        let show = move || show(&run, &screen, &ended);
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show)?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

fn show(run: &LiveRun, screen: &Screen, ended: &Receiver<()>) {
    let mut speed = Speed::default();
    let mut next_line = LINE_INTERVAL;
    while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let figures = run.figures();
        let pace = speed.look(&figures);
        if screen.manner() == Manner::Drawn {
            draw(screen, &figures, &pace);
        } else if figures.elapsed >= next_line {
            screen.line(&lines::one_line(&figures, &pace));
            next_line = figures.elapsed + LINE_INTERVAL;
        }
    }
    screen.clear();
}

fn draw(screen: &Screen, figures: &Figures, pace: &Pace) {
    if is_in_background() {
        // The terminal is someone else's by now.
        return screen.forget();
    }
    let (Width(width), Height(height)) = terminal_size_of(io::stderr()).unwrap_or((Width(80), Height(24)));
    let Lines { advance, account, state } = lines::lines(figures, pace, usize::from(width));
    let state = state.map(|state| {
        let is_coloured = state.is_trouble && screen.has_colour();
        if is_coloured { format!("\x1b[33m{}\x1b[0m", state.words) } else { state.words }
    });
    // A low terminal shows what matters most.
    let account = (height >= 4 || state.is_none()).then_some(account);
    let mut shown: Vec<String> = [Some(advance), account, state].into_iter().flatten().collect();
    shown.truncate(usize::from(height).saturating_sub(1).max(1));
    screen.draw(&shown);
}

/// Whether a shell runs something else on the terminal meanwhile.
fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|foreground| foreground != getpgrp())
}
