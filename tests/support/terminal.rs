//! A pseudo-terminal that programs write to, and the text that a person sees on it.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_NOCTTY;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::Parser;

const ROWS: u16 = 50;

/// Longer than any step on a slow machine.
const SHOWN_MAX: Duration = Duration::from_mins(1);

/// A terminal.
pub(crate) struct Terminal {
    ours: OwnedFd,
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    screen: Parser,
    /// All output so far.
    bytes: Vec<u8>,
}

impl Terminal {
    /// Creates a terminal with this many columns.
    pub(crate) fn new(columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it may be used");
        let path = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("UTF-8").into();
        let screen = Parser::new(cells(ROWS), cells(columns), 1000);
        let seen = Arc::new(Mutex::new(Seen { screen, bytes: Vec::new() }));
        let terminal = Self { ours, path, seen };
        terminal.set_size(columns);
        let (mut reader, seen) =
            (File::from(terminal.ours.try_clone().expect("a copy")), Arc::clone(&terminal.seen));
        // Keeps the terminal open until a program does.
        let end = terminal.end();
        thread::spawn(move || {
            let _end = end;
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let mut seen = lock(&seen);
                seen.screen.process(&bytes[..count]);
                seen.bytes.extend_from_slice(&bytes[..count]);
            }
        });
        terminal
    }

    /// The program's end.
    pub(crate) fn end(&self) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NOCTTY)
            .open(&self.path)
            .expect("its other end")
    }

    /// Sets the number of columns.
    pub(crate) fn resize(&self, columns: u16) {
        lock(&self.seen).screen.set_size(cells(ROWS), cells(columns));
        self.set_size(columns);
    }

    fn set_size(&self, columns: u16) {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.ours, size).expect("a size");
    }

    /// The visible lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = lock(&self.seen).screen.screen().contents();
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// All output so far.
    pub(crate) fn bytes(&self) -> String {
        String::from_utf8_lossy(&lock(&self.seen).bytes).into_owned()
    }

    /// Waits until a visible line contains all of these texts.
    #[track_caller]
    pub(crate) fn shows(&self, words: &[&str]) {
        let begun = Instant::now();
        while !self.lines().iter().any(|line| words.iter().all(|word| line.contains(word))) {
            assert!(begun.elapsed() < SHOWN_MAX, "{words:?} is not in {:#?}", self.lines());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("some")
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("nobody panics with it")
}
