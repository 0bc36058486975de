//! Standard error, which the log and the progress share, so that neither tears the other.
//!
//! Invariant: after each write the cursor stands at the start of the first line that is drawn. Where a terminal that is made
//! narrower folds what is drawn, all of it is still below the cursor, and is cleared with it.
//!
//! Invariant: whoever writes waits for nobody, also where standard error is not read.

use crate::report::terminal::stderr::StderrQueue;
use anstream::{AutoStream, ColorChoice};
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Goes to the start of the line, and clears it with all that is below.
const CLEAR: &str = "\r\x1b[J";
/// While lines are drawn what is too long is cut off, as the terminal may have been made narrower a moment ago.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// How the progress can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Drawn over and over.
    Drawn,
    /// A line now and then.
    Lines,
    /// Not at all.
    Silent,
}

/// Where the log and the progress go; clones share it.
#[derive(Clone)]
pub(crate) struct Screen {
    inner: Arc<Mutex<ScreenState>>,
    manner: Manner,
    has_colour: bool,
}

/// What a reader that does not read is waited for at a flush.
const READER_MAX: Duration = Duration::from_secs(2);

/// The same where the program ends at once.
const READER_MAX_AT_ONCE: Duration = Duration::from_millis(100);

enum Out {
    Queue(StderrQueue),
    /// Where no thread can be started, and in tests.
    Direct(Box<dyn Write + Send>),
}

struct ScreenState {
    out: Out,
    /// What draws the lines that are shown; empty while none are.
    drawn: String,
}

impl Screen {
    /// Standard error; `quiet` is for no progress.
    pub(crate) fn of_stderr(quiet: bool) -> Self {
        let stderr = io::stderr();
        // It heeds NO_COLOR and the like.
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

    /// How the progress can be shown.
    pub(crate) fn manner(&self) -> Manner {
        self.manner
    }

    /// Whether colours are wanted.
    pub(crate) fn has_colour(&self) -> bool {
        self.has_colour
    }

    /// Draws these lines in place of those before; each must be shorter than the terminal is wide.
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
            // Old figures are of no use to a reader that reads again.
            return;
        }
        inner.write(&format!("{CLEAR}{drawn}"));
        inner.drawn = drawn;
    }

    /// Takes what is drawn away, and waits until that is done.
    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.flush();
    }

    /// The same for a program that ends at once.
    pub(crate) fn clear_at_once(&self) {
        self.lock().clear();
        self.flush_within(READER_MAX_AT_ONCE);
    }

    /// Waits until all is written; for at most 2 s in which a reader reads nothing.
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

    /// Lets what is drawn be: something else has written over it.
    pub(crate) fn forget(&self) {
        self.lock().drawn.clear();
    }

    /// Writes a line by itself, unless little is to be said.
    pub(crate) fn say(&self, line: &str) {
        if self.manner != Manner::Silent {
            self.line(line);
        }
    }

    /// Writes a line by itself.
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
            self.write(CLEAR);
        }
    }

    /// Whole lines, above what is drawn, in one write.
    fn write_above(&mut self, text: &[u8]) {
        if self.drawn.is_empty() {
            return self.write_bytes(text);
        }
        let all = [CLEAR.as_bytes(), text, self.drawn.as_bytes()].concat();
        self.write_bytes(&all);
    }

    fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        match &mut self.out {
            Out::Queue(queue) => queue.push(bytes),
            // It may be gone, and then there is nobody left to read it.
            Out::Direct(out) => drop(out.write_all(bytes).and_then(|()| out.flush())),
        }
    }
}

/// For the log, which writes whole lines.
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
            // As a terminal's driver has it.
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
