//! Standard error, shared by the log and the progress, so that neither overwrites the other.
//!
//! Invariant: after each write the cursor is at the start of the first drawn line. If a terminal becomes narrower and wraps
//! the drawn lines, they are still below the cursor and are cleared with it.
//!
//! Invariant: a write never blocks, even if standard error is not read.

use crate::report::terminal::stderr::StderrQueue;
use anstream::{AutoStream, ColorChoice};
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Moves to the start of the line and clears everything from there.
const CLEAR: &str = "\r\x1b[J";
/// Disables line wrap while drawing, because the terminal may have just become narrower.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// How the progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Redrawn in place.
    Drawn,
    /// One line per interval.
    Lines,
    /// Not shown.
    Silent,
}

/// The output of the log and the progress. Clones share it.
#[derive(Clone)]
pub(crate) struct Screen {
    inner: Arc<Mutex<ScreenState>>,
    manner: Manner,
    has_colour: bool,
}

/// How long a flush waits for a reader that does not read.
const READER_MAX: Duration = Duration::from_secs(2);

/// The same limit if the program ends immediately.
const READER_MAX_AT_ONCE: Duration = Duration::from_millis(100);

enum Out {
    Queue(StderrQueue),
    /// If no thread can be started, and in tests.
    Direct(Box<dyn Write + Send>),
}

struct ScreenState {
    out: Out,
    /// The text that redraws the progress lines; empty if none are shown.
    drawn: String,
}

impl Screen {
    /// Writes to standard error. `quiet` disables the progress.
    pub(crate) fn of_stderr(quiet: bool) -> Self {
        let stderr = io::stderr();
        // This respects NO_COLOR and similar variables.
        let has_colour = AutoStream::choice(&stderr) != ColorChoice::Never;
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let manner = match (quiet, stderr.is_terminal() && !is_dumb) {
            (true, _) => Manner::Silent,
            (false, true) => Manner::Drawn,
            (false, false) => Manner::Lines,
        };
        let out = StderrQueue::start().map_or_else(|_| Out::Direct(Box::new(stderr)), Out::Queue);
        Self::new(out, manner, has_colour)
    }

    fn new(out: Out, manner: Manner, has_colour: bool) -> Self {
        Self { inner: Arc::new(Mutex::new(ScreenState { out, drawn: String::new() })), manner, has_colour }
    }

    pub(crate) fn manner(&self) -> Manner {
        self.manner
    }

    pub(crate) fn has_colour(&self) -> bool {
        self.has_colour
    }

    /// Replaces the drawn lines. Each line must be shorter than the terminal's width.
    pub(crate) fn draw(&self, lines: &[String]) {
        let mut drawn = format!("{WRAP_OFF}{}", lines.join("\r\n"));
        if lines.len() > 1 {
            let _ = write!(drawn, "\x1b[{}A", lines.len() - 1);
        }
        let _ = write!(drawn, "\r{WRAP_ON}");
        let mut inner = self.lock();
        if let Out::Queue(queue) = &inner.out
            && !queue.is_idle()
        {
            // Do not queue outdated progress.
            return;
        }
        inner.write(format!("{CLEAR}{drawn}").as_bytes());
        inner.drawn = drawn;
    }

    /// Clears the drawn lines and waits until that is written.
    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.flush();
    }

    /// Clears the drawn lines, for a program that ends immediately.
    pub(crate) fn clear_at_once(&self) {
        self.lock().clear();
        self.flush_within(READER_MAX_AT_ONCE);
    }

    /// Waits until everything is written. Gives up after 2 s in which the reader reads nothing.
    pub(crate) fn flush(&self) {
        self.flush_within(READER_MAX);
    }

    fn flush_within(&self, idle_max: Duration) {
        let queue = match &self.lock().out {
            Out::Queue(queue) => queue.clone(),
            Out::Direct(_) => return,
        };
        queue.flush(idle_max);
    }

    /// Forgets the drawn lines, because another program has written over them.
    pub(crate) fn forget(&self) {
        self.lock().drawn.clear();
    }

    /// Writes a line, unless `--quiet` is given.
    pub(crate) fn say(&self, line: &str) {
        if self.manner != Manner::Silent {
            self.line(line);
        }
    }

    pub(crate) fn line(&self, line: &str) {
        self.lock().write_above(format!("{line}\n").as_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, ScreenState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("manner", &self.manner).finish_non_exhaustive()
    }
}

impl ScreenState {
    fn clear(&mut self) {
        if !self.drawn.is_empty() {
            self.drawn.clear();
            self.write(CLEAR.as_bytes());
        }
    }

    /// Writes whole lines above the drawn lines, in one write.
    fn write_above(&mut self, text: &[u8]) {
        if self.drawn.is_empty() {
            return self.write(text);
        }
        let all = [CLEAR.as_bytes(), text, self.drawn.as_bytes()].concat();
        self.write(&all);
    }

    fn write(&mut self, bytes: &[u8]) {
        match &mut self.out {
            Out::Queue(queue) => queue.push(bytes),
            // If the output is closed, the text has no reader.
            Out::Direct(out) => drop(out.write_all(bytes).and_then(|()| out.flush())),
        }
    }
}

/// The log writes whole lines.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write_above(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZero;

    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<vt100::Parser>>);

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // As a terminal driver does.
            let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\n', "\r\n");
            self.0.lock().unwrap().process(text.as_bytes());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Terminal {
        fn rows(&self) -> Vec<String> {
            let parser = self.0.lock().unwrap();
            let text = parser.screen().contents();
            text.lines().map(|line| line.trim_end().to_owned()).collect()
        }
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn log_and_progress_share_a_terminal() {
        let terminal = Terminal::default();
        let mut screen = Screen::new(Out::Direct(Box::new(terminal.clone())), Manner::Drawn, true);
        screen.write_all(b"first\n").unwrap();
        assert_eq!(terminal.rows(), ["first"]);
        screen.draw(&lines(&["a longer line", "b", "c"]));
        assert_eq!(terminal.rows(), ["first", "a longer line", "b", "c"]);
        screen.write_all(b"second, which is long\n").unwrap();
        assert_eq!(terminal.rows(), ["first", "second, which is long", "a longer line", "b", "c"]);
        screen.draw(&lines(&["d"]));
        assert_eq!(terminal.rows(), ["first", "second, which is long", "d"]);
        screen.line("third");
        screen.draw(&lines(&["e", "f"]));
        screen.clear();
        assert_eq!(terminal.rows(), ["first", "second, which is long", "third"]);
        screen.write_all(b"fourth\n").unwrap();
        assert_eq!(terminal.rows(), ["first", "second, which is long", "third", "fourth"]);
    }

    #[test]
    fn at_the_bottom_of_a_terminal_nothing_is_lost() {
        let size = |cells| NonZero::new(cells).expect("some");
        let terminal = Terminal(Arc::new(Mutex::new(vt100::Parser::new(size(5), size(20), 100))));
        let mut screen = Screen::new(Out::Direct(Box::new(terminal.clone())), Manner::Drawn, true);
        for number in 0..9 {
            screen.draw(&lines(&["a", "a line of the width"]));
            screen.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(terminal.rows(), ["6", "7", "8", "a", "a line of the width"]);
    }
}
