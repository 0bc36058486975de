//! Programs that tests start: each has a deadline, and ends with its guard.
//!
//! - A program leads its own process group. The group is killed when the program has ended, when its guard is dropped,
//!   and at the deadline.
//! - At the deadline the threads' stacks are read first. The wait for the program then panics with the command line, the
//!   output, and the stacks. A test that reads the program's pipes itself sees their end.
//! - Nothing else calls `spawn`, `output` and `status` of `Command`. A test checks this.

mod stacks;

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Longer than any run takes on a slow machine.
pub(crate) const RUN_MAX: Duration = Duration::from_mins(3);
/// How long a pipe may stay open after its program has ended.
const CLOSE_MAX: Duration = Duration::from_secs(20);
/// The interval of checks for a program's end.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The bytes shown from the end of each output.
const SHOWN_MAX_BYTES: usize = 8 << 10;

/// Replaces `spawn`, `output` and `status` in tests.
pub(crate) trait Supervised {
    /// Starts the program with a deadline of [`RUN_MAX`].
    fn supervised(&mut self) -> io::Result<Process>;

    /// Runs the program without input to its end within [`RUN_MAX`], and collects its output.
    fn output_in_time(&mut self) -> io::Result<Output>;

    /// Runs the program without input to its end within [`RUN_MAX`].
    fn status_in_time(&mut self) -> io::Result<ExitStatus>;
}

/// A running program. Its pipes are here until they are taken.
pub(crate) struct Process {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
    watched: Arc<Watched>,
}

/// The output of a program, read continuously because a full pipe would block the program.
pub(crate) struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// A program and its watchdog's data.
struct Watched {
    command: String,
    pid: Pid,
    state: Mutex<State>,
    changed: Condvar,
    collected: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
}

struct State {
    child: Child,
    status: Option<ExitStatus>,
    /// None for a server, which ends with its guard.
    deadline: Option<Instant>,
    /// The report, once the deadline has passed.
    overdue: Option<String>,
    is_reported: bool,
}

/// Handles SIGHUP if this process ignores it, as under `nohup`: programs inherit an ignored signal, but not a handled one.
fn notice_hangups() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
        if ignored.is_some_and(|set| u64::from_str_radix(set, 16).is_ok_and(|set| set & 1 == 1)) {
            signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).expect("a handler");
        }
    });
}

impl Supervised for Command {
    fn supervised(&mut self) -> io::Result<Process> {
        notice_hangups();
        self.process_group(0);
        let command = format!("{self:?}");
        let mut child = self.spawn()?;
        let pid = Pid::from_raw(child.id().try_into().expect("a process number"));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let deadline = Some(Instant::now() + RUN_MAX);
        let state = State { child, status: None, deadline, overdue: None, is_reported: false };
        let watched = Arc::new(Watched {
            command,
            pid,
            state: Mutex::new(state),
            changed: Condvar::new(),
            collected: Mutex::default(),
        });
        let watchdog = Arc::clone(&watched);
        thread::spawn(move || watchdog.watch());
        Ok(Process { stdin, stdout, stderr, watched })
    }

    fn output_in_time(&mut self) -> io::Result<Output> {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = self.supervised()?;
        let (stdout, stderr) = (process.collect_stdout(), process.collect_stderr());
        let status = process.wait();
        let read = |output: Option<Collected>| output.map_or_else(Vec::new, Collected::finish);
        Ok(Output { status, stdout: read(stdout), stderr: read(stderr) })
    }

    fn status_in_time(&mut self) -> io::Result<ExitStatus> {
        self.stdin(Stdio::null());
        Ok(self.supervised()?.wait())
    }
}

impl Process {
    /// Sets another deadline from now, or none for a server, which ends with this guard.
    pub(crate) fn set_deadline(&self, limit: Option<Duration>) {
        lock(&self.watched.state).deadline = limit.map(|limit| Instant::now() + limit);
        self.watched.changed.notify_all();
    }

    /// Waits for a program without a deadline to do something within `limit`.
    #[track_caller]
    pub(crate) fn within<T>(&self, limit: Duration, wait: impl FnOnce() -> T) -> T {
        self.set_deadline(Some(limit));
        let result = wait();
        self.set_deadline(None);
        self.check();
        result
    }

    /// Collects standard output from now on.
    pub(crate) fn collect_stdout(&mut self) -> Option<Collected> {
        self.stdout.take().map(|pipe| self.watched.collect(pipe))
    }

    /// Collects standard error from now on.
    pub(crate) fn collect_stderr(&mut self) -> Option<Collected> {
        self.stderr.take().map(|pipe| self.watched.collect(pipe))
    }

    pub(crate) fn id(&self) -> u32 {
        self.watched.pid.as_raw().unsigned_abs()
    }

    /// Sends a signal to the program only. It fails only after the program was waited for.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.watched.pid, signal).expect("it runs");
    }

    #[track_caller]
    pub(crate) fn has_ended(&self) -> bool {
        self.check();
        self.watched.look().is_some()
    }

    /// Waits for its end. Panics if the deadline passes first.
    #[track_caller]
    pub(crate) fn wait(&self) -> ExitStatus {
        loop {
            self.check();
            if let Some(status) = self.watched.look() {
                return status;
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits for its end in a drop, and prints the report, because a second panic would hide the test's own.
    pub(crate) fn end_within(&self, limit: Duration) {
        self.set_deadline(Some(limit));
        while self.watched.look().is_none() {
            thread::sleep(LOOK_INTERVAL);
        }
        if !thread::panicking() {
            self.check();
        }
    }

    /// Panics if the deadline has passed.
    #[track_caller]
    fn check(&self) {
        let mut state = lock(&self.watched.state);
        if let Some(report) = state.overdue.clone() {
            state.is_reported = true;
            drop(state);
            panic!("{report}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closes the pipes first, so that a program that reads all of its input can end.
        drop((self.stdin.take(), self.stdout.take(), self.stderr.take()));
        let mut state = lock(&self.watched.state);
        if let Some(report) = &state.overdue
            && !state.is_reported
        {
            // The test only saw the end of a pipe.
            let _ = writeln!(io::stderr(), "{report}");
        }
        if state.look(self.watched.pid).is_none() {
            let _ = killpg(self.watched.pid, Signal::SIGKILL);
            state.status = state.child.wait().ok();
        }
        state.deadline = None;
        drop(state);
        self.watched.changed.notify_all();
    }
}

impl Watched {
    /// Waits for the program's end, and kills the program at its deadline.
    fn watch(&self) {
        let mut state = lock(&self.state);
        loop {
            let wait = match state.deadline {
                _ if state.status.is_some() => return,
                None => Duration::from_hours(1),
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if wait.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.look(self.pid).is_none() {
            state.overdue = Some(self.report());
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }

    fn look(&self) -> Option<ExitStatus> {
        let status = lock(&self.state).look(self.pid);
        if status.is_some() {
            self.changed.notify_all();
        }
        status
    }

    fn collect(&self, mut pipe: impl Read + Send + 'static) -> Collected {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        lock(&self.collected).push(Arc::clone(&bytes));
        let into = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut part = [0; 16 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut part) {
                lock(&into).extend_from_slice(&part[..count]);
            }
        });
        Collected { bytes, reader }
    }

    fn report(&self) -> String {
        let printed: Vec<String> = lock(&self.collected)
            .iter()
            .map(|bytes| {
                let bytes = lock(bytes);
                String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SHOWN_MAX_BYTES)..]).into_owned()
            })
            .collect();
        format!(
            "not ended within its deadline: {}\n--- printed so far:\n{}\n--- threads:\n{}",
            self.command,
            printed.join("\n---\n"),
            stacks::of_group(self.pid)
        )
    }
}

impl State {
    /// The program's exit status, if it has ended. Kills the remaining processes of its group.
    fn look(&mut self, group: Pid) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child");
            if self.status.is_some() {
                let _ = killpg(group, Signal::SIGKILL);
            }
        }
        self.status
    }
}

impl Collected {
    /// All output, once the pipe is closed.
    #[track_caller]
    pub(crate) fn finish(self) -> Vec<u8> {
        super::eventually(CLOSE_MAX, "the outputs of a program that ended are closed", || {
            self.reader.is_finished()
        });
        std::mem::take(&mut *lock(&self.bytes))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::{Path, PathBuf};

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.supervised().expect("a shell")
    }

    /// The calls of `Command` without a deadline, as text, because other types have a `status` too.
    const UNBOUNDED: [&str; 6] =
        [".spawn()", ".output()", ".status().expect(", ".status().unwrap", ".status().is_ok", ".status();"];

    fn sources(directory: &Path) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("a file").path());
        let list = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
        entries.flat_map(list).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
    }

    #[test]
    fn programs_are_started_only_by_this_module() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        for path in sources(&tests).iter().filter(|path| !path.to_string_lossy().contains("support/process"))
        {
            let text = fs::read_to_string(path).expect("a source");
            let found = UNBOUNDED.iter().find(|call| text.contains(**call));
            let replacement =
                "start programs by tests/support/process.rs: supervised, output_in_time, status_in_time";
            assert_eq!(found, None, "{}: {replacement}", path.display());
        }
    }

    #[test]
    fn a_hang_is_reported_with_command_output_and_threads() {
        let mut process = shell("echo printed; read line; echo never");
        let output = process.collect_stdout().expect("a pipe");
        super::super::eventually(CLOSE_MAX, "it prints", || !lock(&output.bytes).is_empty());
        process.set_deadline(Some(Duration::ZERO));
        let panic = catch_unwind(AssertUnwindSafe(|| process.wait())).expect_err("it is overdue");
        let report = panic.downcast_ref::<String>().expect("a text");
        for words in ["read line", "printed\n", "threads:", &format!("process {}", process.id())] {
            assert!(report.contains(words), "{words:?} is missing in {report}");
        }
        assert_eq!(output.finish(), b"printed\n");
    }

    #[test]
    fn children_of_a_program_end_with_it() {
        for ends_by_itself in [true, false] {
            let wait = if ends_by_itself { "" } else { "; read line" };
            let mut process = shell(&format!("sleep 600 & echo $!{wait}"));
            let mut pid = String::new();
            let mut stdout = io::BufReader::new(process.stdout.take().expect("a pipe"));
            io::BufRead::read_line(&mut stdout, &mut pid).expect("a number");
            let pid = pid.trim().parse().expect("a number");
            if ends_by_itself {
                process.wait();
            } else {
                assert!(super::super::is_alive(pid) && !process.has_ended());
            }
            drop(process);
            super::super::eventually(CLOSE_MAX, "it is gone", || !super::super::is_alive(pid));
        }
    }
}
