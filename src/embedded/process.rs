//! Whose process a number names.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// How often a wait for a process or a lock looks again.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Whose process a number names, as a server's data see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The server of these data, or so it must be taken.
    Us,
    /// A process that has nothing to do with them, or the last trace of one that ended.
    Other,
    /// There is no such process.
    Nobody,
}

/// Whose process `pid` is: the postmaster of `data`, which names that directory in its arguments or stands in it.
pub(crate) fn owner(pid: i32, data: &Path) -> Owner {
    match kill(Pid::from_raw(pid), None) {
        // A process of another user lives, too, and may be ours all the same: root looks at everybody's, but in a
        // container even root may lack the right to signal.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(_) => return Owner::Nobody,
    }
    match arguments(pid) {
        Some(arguments) if names(&arguments, data.as_os_str().as_bytes()) || stands_in(pid, data) => {
            Owner::Us
        }
        Some(_) => Owner::Other,
        // Nothing can be known: to take a living process for the server loses time, the opposite could lose data.
        None => Owner::Us,
    }
}

/// The command line of a process: empty for one that ended and was not yet waited for.
#[cfg(target_os = "linux")]
fn arguments(pid: i32) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/cmdline")).ok()
}

/// The command line of a process: empty for one that ended and was not yet waited for.
#[cfg(not(target_os = "linux"))]
fn arguments(pid: i32) -> Option<Vec<u8>> {
    let pid = pid.to_string();
    let output = std::process::Command::new("/bin/ps")
        .env_clear()
        .args(["-ww", "-o", "command=", "-p", &pid])
        .output();
    output.ok().map(|output| output.stdout)
}

#[cfg(target_os = "linux")]
fn stands_in(pid: i32, data: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == data)
}

#[cfg(not(target_os = "linux"))]
fn stands_in(_pid: i32, _data: &Path) -> bool {
    false
}

/// Whether one of the arguments is `data`: each ends with a NUL.
#[cfg(target_os = "linux")]
fn names(arguments: &[u8], data: &[u8]) -> bool {
    arguments.split(|&byte| byte == 0).any(|argument| argument == data)
}

/// Whether `data` is in the arguments, which stand there without marks between them.
#[cfg(not(target_os = "linux"))]
fn names(arguments: &[u8], data: &[u8]) -> bool {
    memchr::memmem::find(arguments, data).is_some()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_ours_only_if_it_names_the_data() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = std::fs::canonicalize(directory.path()).expect("its name");
        let text = data.to_str().expect("text");
        for (argument, expected) in [(text, Owner::Us), ("/elsewhere", Owner::Other)] {
            let mut child = Command::new("/bin/sh")
                .args(["-c", "echo begun; read line; exit 0", "sh", "-D", argument])
                .current_dir("/")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a shell");
            let pid = i32::try_from(child.id()).expect("a process number");
            // A program has its arguments only a moment after it was spawned.
            let mut line = String::new();
            BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
            assert_eq!(owner(pid, &data), expected, "{argument}");
            drop(child.stdin.take());
            child.wait().expect("its end");
            assert_eq!(owner(pid, &data), Owner::Nobody, "after its end");
        }
    }
}
