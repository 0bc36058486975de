//! Waits for programs with a time limit, and finds out whether a process id belongs to the server of a data directory.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Poll interval while waiting for a process or a lock.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The first poll interval for a program, which usually ends at once.
const FIRST_INTERVAL: Duration = Duration::from_millis(1);
/// Time limit of a program that only prints a line.
pub(crate) const LINE_LIMIT: Duration = Duration::from_secs(10);

/// Waits until a program ends. After `limit` it kills the program's process group, with everything that the program has
/// started, and returns nothing. The program must lead its group.
pub(crate) fn wait_at_most(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        let waited = begun.elapsed();
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if waited < limit => thread::sleep(POLL_INTERVAL.min(FIRST_INTERVAL + waited / 4)),
            None => {
                if let Ok(pid) = i32::try_from(child.id()) {
                    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                }
                child.wait()?;
                return Ok(None);
            }
        }
    }
}

/// Runs a program that prints a line, and returns its status and output, or nothing if it exceeds [`LINE_LIMIT`].
pub(crate) fn output_of(command: &mut Command) -> Option<(ExitStatus, Vec<u8>)> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    // The line fits into the pipe.
    let status = wait_at_most(&mut child, LINE_LIMIT).ok()??;
    // Something that the program has left behind may keep the pipe open, so nothing is awaited.
    let mut stdout = child.stdout.take()?;
    fcntl(&stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
    let mut output = vec![0; 64 << 10];
    let length = match stdout.read(&mut output) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        read => read.ok()?,
    };
    output.truncate(length);
    Some((status, output))
}

/// Whether `pid` is the postmaster of `data`, which has that directory in its arguments or as its working directory. A zombie
/// is none.
pub(crate) fn is_server_of(data: &Path, pid: i32) -> bool {
    match kill(Pid::from_raw(pid), None) {
        // With EPERM the process exists as another user and can still be ours: root examines all processes, but in a
        // container even root can lack the privilege to send signals.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(_) => return false,
    }
    // If it is unknown, treating another process as the server costs time, the opposite could lose data.
    arguments(pid)
        .is_none_or(|arguments| names(&arguments, data.as_os_str().as_bytes()) || runs_in(pid, data))
}

/// The command line of a process; empty for a zombie.
#[cfg(target_os = "linux")]
fn arguments(pid: i32) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/cmdline")).ok()
}

/// The command line of a process; empty for a zombie.
#[cfg(not(target_os = "linux"))]
fn arguments(pid: i32) -> Option<Vec<u8>> {
    let pid = pid.to_string();
    let mut ps = Command::new("/bin/ps");
    let (_, output) = output_of(ps.env_clear().args(["-ww", "-o", "command=", "-p", &pid]))?;
    Some(output)
}

#[cfg(target_os = "linux")]
fn runs_in(pid: i32, data: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == data)
}

#[cfg(not(target_os = "linux"))]
fn runs_in(_pid: i32, _data: &Path) -> bool {
    false
}

/// Whether one of the NUL-terminated arguments is `data`.
#[cfg(target_os = "linux")]
fn names(arguments: &[u8], data: &[u8]) -> bool {
    arguments.split(|&byte| byte == 0).any(|argument| argument == data)
}

/// Whether the arguments, which are not delimited, contain `data`.
#[cfg(not(target_os = "linux"))]
fn names(arguments: &[u8], data: &[u8]) -> bool {
    memchr::memmem::find(arguments, data).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_killed_at_its_limit_with_what_it_has_started() {
        let mut shell = Command::new("/bin/sh");
        let shell = shell.args(["-c", "sleep 600 & sleep 600"]).process_group(0).stdout(Stdio::piped());
        let mut child = shell.spawn().expect("a shell");
        let status = wait_at_most(&mut child, Duration::from_millis(50)).expect("to wait");
        assert!(status.is_none(), "{status:?}");
        // Both ends of the pipe are closed.
        let mut output = Vec::new();
        child.stdout.take().expect("its output").read_to_end(&mut output).expect("the end");
        assert_eq!(output, b"");
    }

    #[test]
    fn output_does_not_wait_for_what_a_program_has_left_behind() {
        let begun = Instant::now();
        for (script, expected) in [("sleep 20 & echo line", "line\n"), ("sleep 20 &", "")] {
            let (status, output) =
                output_of(Command::new("/bin/sh").args(["-c", script])).expect("a shell within its limit");
            assert!(status.success(), "{status}");
            assert_eq!(String::from_utf8_lossy(&output), expected);
        }
        assert!(begun.elapsed() < LINE_LIMIT, "{:?}", begun.elapsed());
    }
}
