//! Runs the program under test in its own directory, without the settings of the test's user.
//!
//! Invariant: every run is a [`Process`], so it has a deadline.

mod account;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::cluster::Database;
use super::eventually;
use super::oracle::{self, Expected, Nul, Tables, assert_same, read_tables};
use super::process::{Collected, Process, RUN_MAX, Supervised as _};
use super::scratch::Scratch;
use super::terminal::Terminal;
pub(crate) use account::{Reject, Summary, read_rejects};

/// Prefixes of settings in the user's environment.
const SETTING_PREFIXES: [&str; 5] = ["KILLS_", "DATABASE_", "ALBION_", "PG", "RUST_LOG"];

/// A working directory for dumps and reject files.
pub(crate) struct Workplace {
    scratch: Scratch,
}

/// A prepared run.
pub(crate) struct Program {
    command: Command,
    input: Vec<u8>,
    directory: PathBuf,
    nested: bool,
    /// The target of standard error, a pipe by default.
    stderr: Option<Stdio>,
}

/// A running program with open input.
pub(crate) struct Running {
    process: Process,
    input: Option<ChildStdin>,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    directory: PathBuf,
    /// Whether the program is a grandchild of the test.
    nested: bool,
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, or as in a shell 128 plus the signal's number.
    pub(crate) code: i32,
    /// Whether a signal ended it, rather than an exit of its own.
    pub(crate) by_signal: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    directory: PathBuf,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes a file into the directory.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).expect("a file");
    }

    /// The program without input, and only the game server set.
    pub(crate) fn program(&self, args: &[&str]) -> Program {
        self.other_program(env!("CARGO_BIN_EXE_aegis-kills"), args)
    }

    /// Another program, which runs the program under test.
    pub(crate) fn other_program(&self, program: &str, args: &[&str]) -> Program {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path());
        for (name, _) in std::env::vars_os() {
            if SETTING_PREFIXES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        // Each load needs it. A test of the setting itself removes it.
        command.env("ALBION_SERVER", "americas");
        Program { command, input: Vec::new(), directory: self.path().to_owned(), nested: false, stderr: None }
    }

    pub(crate) fn load(&self, database: &Database<'_>, args: &[&str]) -> Program {
        self.program(&["load", "--json"]).args(args).env("DATABASE_URL", &database.url())
    }
}

impl Program {
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable that every run gets.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it as process 1 of its own namespace, as in a container. None if this process cannot create one.
    pub(crate) fn into_first_process(self) -> Option<Self> {
        let wrap = ["--pid", "--fork", "--kill-child"];
        let may = Command::new("unshare").args(wrap).arg("true").output_in_time();
        may.ok().filter(|tried| tried.status.success())?;
        let mut command = Command::new("unshare");
        command.args(wrap).arg(self.command.get_program()).args(self.command.get_args());
        command.current_dir(&self.directory);
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Some(Self { command, nested: true, ..self })
    }

    /// Connects standard error to a terminal.
    pub(crate) fn on(mut self, terminal: &Terminal) -> Self {
        self.stderr = Some(terminal.end().into());
        self
    }

    /// Redirects standard error.
    pub(crate) fn stderr(mut self, stderr: Stdio) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// Sets small segments, so that there are many.
    pub(crate) fn segment_bytes(self, bytes: usize) -> Self {
        self.env("KILLS_SEGMENT_BYTES", &bytes.to_string())
    }

    pub(crate) fn workers(self, workers: u32) -> Self {
        self.env("KILLS_WORKER_CONCURRENCY", &workers.to_string())
    }

    /// Sets the whole standard input.
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
            // A program may close its input early.
            scope.spawn(move || drop(pipe.write_all(&input)));
            running.finish()
        })
    }

    /// Runs it and asserts the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ended {
        self.run().expect(code)
    }

    /// Starts it with a pipe as input, which stays open.
    pub(crate) fn start(mut self) -> Running {
        let stderr = self.stderr.take().unwrap_or_else(Stdio::piped);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut process = self.command.supervised().expect("the program");
        let (input, stdout, stderr) =
            (process.stdin.take(), process.collect_stdout(), process.collect_stderr());
        Running { process, input, stdout, stderr, directory: self.directory, nested: self.nested }
    }
}

impl Running {
    /// Writes to its standard input. If that is more than a pipe holds, this returns only after the program has begun to
    /// read. Errors are ignored, because the exit of a program that has ended says more.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("not closed yet");
        let _ = input.write_all(bytes).and_then(|()| input.flush());
    }

    /// Its standard input, for another writer.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("not taken yet")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if !self.nested {
            return self.process.signal(signal);
        }
        let child = self.process.id();
        let pid = fs::read_to_string(format!("/proc/{child}/task/{child}/children")).expect("its children");
        kill(Pid::from_raw(pid.trim().parse().expect("one process id")), signal).expect("it runs");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Closes its standard input, and waits for its end.
    pub(crate) fn finish_after_input(mut self) -> Ended {
        drop(self.input.take());
        self.finish()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Repeats a signal until it has ended.
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

    /// Waits for its end without closing its standard input.
    pub(crate) fn finish(mut self) -> Ended {
        let status = self.process.wait();
        let text = |output: Option<Collected>| {
            let bytes = output.map_or_else(Vec::new, Collected::finish);
            String::from_utf8(bytes).expect("the program writes UTF-8")
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).expect("it ended");
        Ended { code, by_signal: status.signal().is_some(), stdout, stderr, directory: self.directory }
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstandard output: {}\nstandard error: {}", self.stdout, self.stderr);
        self
    }

    /// Asserts that standard error contains all of these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is missing in: {}", self.stderr);
        }
        self
    }

    /// Asserts that standard output contains this text.
    #[track_caller]
    pub(crate) fn says_in_output(self, texts: &str) -> Self {
        assert!(self.stdout.contains(texts), "{texts:?} is missing in: {}", self.stdout);
        self
    }

    /// The summary, after a check of its shape and its sum.
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

    /// The rejects in the file that the summary names, in the order of the input's lines.
    pub(crate) fn rejects(&self) -> Vec<Reject> {
        match self.summary().0["rejects_file"].as_str() {
            Some(path) => read_rejects(&self.directory.join(path)),
            None => Vec::new(),
        }
    }
}

/// Asserts the rows of `server` in the schema `public`.
#[track_caller]
pub(crate) fn assert_tables(database: &Database<'_>, server: &str, expected: &Tables) {
    assert_same(expected, &read_tables(&mut database.client(), "public", server));
}

/// Asserts that a run stored exactly `text` in empty tables, and that its summary agrees.
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
    // A repeated segment counts as already loaded.
    assert_eq!(summary.count("duplicate") + summary.count("already_loaded"), expected.duplicates);
    expected
}
