//! Finds out whether a process id belongs to the server of a data directory.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Poll interval while waiting for a process or a lock.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

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
    let output = std::process::Command::new("/bin/ps")
        .env_clear()
        .args(["-ww", "-o", "command=", "-p", &pid])
        .output();
    output.ok().map(|output| output.stdout)
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
