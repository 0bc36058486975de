//! Runs the program under test, in a folder of its own and without the settings of whoever runs the tests.
//!
//! Invariant: whatever is run is waited for, and ended when it takes too long.

mod account;

use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::cluster::Database;
use super::eventually;
use super::oracle::{self, Expected, Nul, Tables, assert_same, read_tables};
use super::scratch::Scratch;
use super::terminal::Terminal;
pub(crate) use account::{Reject, Summary, read_rejects};

/// Longer than any run takes on a slow machine.
const RUN_MAX: Duration = Duration::from_mins(3);

/// What the settings of the person or the machine begin with.
const SETTING_PREFIXES: [&str; 5] = ["KILLS_", "DATABASE_", "ALBION_", "PG", "RUST_LOG"];

/// A folder to run in, where dumps are, and rejects go.
pub(crate) struct Workplace {
    scratch: Scratch,
}

/// A run to be.
pub(crate) struct Program {
    command: Command,
    input: Vec<u8>,
    folder: PathBuf,
    nested: bool,
    /// Where standard error goes; into a pipe if nothing else is set.
    stderr: Option<Stdio>,
}

/// A run that is fed by hand.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    stdout: Output,
    stderr: Output,
    folder: PathBuf,
    /// Whether the program is a child of our child.
    nested: bool,
}

/// A run that was.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; 128 and more where a signal ended it, as a shell has it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    folder: PathBuf,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Puts a file into the folder.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).expect("a file");
    }

    /// The program, with nothing to read, and nothing set but the game server.
    pub(crate) fn program(&self, args: &[&str]) -> Program {
        self.other_program(env!("CARGO_BIN_EXE_aegis-kills"), args)
    }

    /// Another program, which runs the one under test.
    pub(crate) fn other_program(&self, program: &str, args: &[&str]) -> Program {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path());
        for (name, _) in std::env::vars_os() {
            if SETTING_PREFIXES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        // What each load needs; a test of the setting itself takes it away.
        command.env("ALBION_SERVER", "americas");
        Program { command, input: Vec::new(), folder: self.path().to_owned(), nested: false, stderr: None }
    }

    /// `load --json` into a database.
    pub(crate) fn load(&self, database: &Database<'_>, args: &[&str]) -> Program {
        self.program(&["load", "--json"]).args(args).env("DATABASE_URL", &database.url())
    }
}

impl Program {
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without a variable that is set for every run.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// As process 1 of a world of its own, as in a container. None where this process may not make one.
    pub(crate) fn into_first_process(self) -> Option<Self> {
        let wrap = ["--pid", "--fork", "--kill-child"];
        let may = Command::new("unshare").args(wrap).arg("true").output();
        may.ok().filter(|tried| tried.status.success())?;
        let mut command = Command::new("unshare");
        command.args(wrap).arg(self.command.get_program()).args(self.command.get_args());
        command.current_dir(&self.folder);
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Some(Self { command, nested: true, ..self })
    }

    /// With standard error on a terminal.
    pub(crate) fn on(mut self, terminal: &Terminal) -> Self {
        self.stderr = Some(terminal.end().into());
        self
    }

    /// Small segments, so that there are many of them.
    pub(crate) fn segment_bytes(self, bytes: usize) -> Self {
        self.env("KILLS_SEGMENT_BYTES", &bytes.to_string())
    }

    pub(crate) fn workers(self, workers: u32) -> Self {
        self.env("KILLS_WORKER_CONCURRENCY", &workers.to_string())
    }

    /// Standard input, as a whole.
    pub(crate) fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ended {
        let input = self.input.clone();
        let mut running = self.start();
        let mut pipe = running.input.take().expect("not closed yet");
        thread::scope(|scope| {
            // A program that reads no further closes the pipe, which is its right.
            scope.spawn(move || drop(pipe.write_all(&input)));
            running.finish()
        })
    }

    /// Runs it, and asserts the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ended {
        self.run().expect(code)
    }

    /// Starts it, its input being a pipe that stays open.
    pub(crate) fn start(mut self) -> Running {
        let stderr = self.stderr.take().unwrap_or_else(Stdio::piped);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = self.command.spawn().expect("the program");
        let input = child.stdin.take();
        let stdout = Some(collect(child.stdout.take().expect("a pipe")));
        let stderr = child.stderr.take().map(collect);
        Running { child, input, stdout, stderr, folder: self.folder, nested: self.nested }
    }
}

/// What a program writes, read as it comes: a pipe that is full would hold it up.
type Output = Option<JoinHandle<Vec<u8>>>;

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes).expect("its output")
    })
}

impl Running {
    /// Writes to its standard input; with more than a pipe holds, it has begun to read when this returns.
    /// A program that has ended reads nothing, and how it ended says more than this could.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("not closed yet");
        let _ = input.write_all(bytes).and_then(|()| input.flush());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.id();
        let pid = if self.nested {
            fs::read_to_string(format!("/proc/{child}/task/{child}/children")).expect("its children")
        } else {
            child.to_string()
        };
        kill(Pid::from_raw(pid.trim().parse().expect("one process id")), signal).expect("it runs");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes its standard input, and waits for its end.
    pub(crate) fn finish_after_input(mut self) -> Ended {
        drop(self.input.take());
        self.finish()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Sends a signal again and again until it has ended.
    pub(crate) fn signal_until_ended(mut self, signal: Signal) -> Ended {
        eventually(RUN_MAX, "the program ends", || {
            let ended = self.has_ended();
            if !ended {
                self.signal(signal);
            }
            ended
        });
        self.finish()
    }

    /// Waits for its end, leaving its standard input open if it is.
    pub(crate) fn finish(mut self) -> Ended {
        let status = self.wait();
        let text = |output: &mut Output| {
            let bytes = output.take().map_or_else(Vec::new, |output| output.join().expect("no panic"));
            String::from_utf8(bytes).expect("the program writes UTF-8")
        };
        let (stdout, stderr) = (text(&mut self.stdout), text(&mut self.stderr));
        let status =
            status.unwrap_or_else(|| panic!("not ended within {RUN_MAX:?}\nstandard error: {stderr}"));
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).expect("it ended");
        Ended { code, stdout, stderr, folder: self.folder.clone() }
    }

    /// Waits for its end. What takes too long is killed, so that who reads its output comes to an end as well.
    fn wait(&mut self) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < RUN_MAX {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().expect("a child");
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail once it has ended, as it nearly always has.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstandard output: {}\nstandard error: {}", self.stdout, self.stderr);
        self
    }

    /// Asserts that standard error has all of these words.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in: {}", self.stderr);
        }
        self
    }

    /// Asserts that standard output has these words.
    #[track_caller]
    pub(crate) fn says_in_output(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "{words:?} is missing in: {}", self.stdout);
        self
    }

    /// The summary, its shape and its rule checked.
    #[track_caller]
    pub(crate) fn summary(&self) -> Summary {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}, {}", self.stdout, self.stderr));
        let summary = Summary(value);
        summary.check_shape();
        let parts = ["inserted", "updated", "duplicate", "already_loaded", "rejected", "unfinished"];
        let sum: u64 = parts.iter().map(|name| summary.count(name)).sum();
        assert_eq!(summary.count("events"), sum, "{summary:?}");
        summary
    }

    /// The rejects of the file that the summary names, in the order of the input's lines.
    pub(crate) fn rejects(&self) -> Vec<Reject> {
        match self.summary().0["rejects_file"].as_str() {
            Some(path) => read_rejects(&self.folder.join(path)),
            None => Vec::new(),
        }
    }
}

/// Asserts the rows of `server` in the schema `public`.
#[track_caller]
pub(crate) fn assert_tables(database: &Database<'_>, server: &str, expected: &Tables) {
    assert_same(expected, &read_tables(&mut database.client(), "public", server));
}

/// Asserts that a run put `text`, and nothing else, into empty tables, and that it says so.
#[track_caller]
pub(crate) fn assert_loaded(database: &Database<'_>, text: &[u8], run: &Ended) -> Expected {
    let expected = oracle::expect(text, Nul::Reject);
    assert_tables(database, "americas", &expected.tables);
    let summary = run.summary();
    summary.check(&[
        ("lines", expected.lines),
        ("events", expected.events),
        ("inserted", expected.loaded()),
        ("rejected", expected.rejected.len() as u64),
        ("unfinished", 0),
    ]);
    // A segment that is there twice is loaded already when it comes again.
    assert_eq!(summary.count("duplicate") + summary.count("already_loaded"), expected.duplicates);
    expected
}
