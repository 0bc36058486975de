//! The server process: examines, starts and stops it.
//!
//! - Starting and stopping require the start lock; examining does not.
//! - Only the postmaster of this directory's data is signalled or awaited. A `postmaster.pid` that outlived its server
//!   can name any process.
//! - PostgreSQL's own protection against two servers on the same data stays active: the shared memory that
//!   `postmaster.pid` names.
//! - Every wait has a limit.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::embedded::directory::{Directory, StartLock, if_exists, own_options, remove_file};
use crate::embedded::error::{At, EmbeddedError};
use crate::embedded::process::{POLL_INTERVAL, is_server_of};
use crate::embedded::program::{run, tail};
use crate::embedded::programs::Programs;
use crate::embedded::socket;

/// Time limit of a start. After a crash, the server first replays up to `max_wal_size` of its log.
const START_LIMIT: Duration = Duration::from_mins(10);
/// Time limit of a stop. The server first writes all changes in memory to disk.
const STOP_LIMIT: Duration = Duration::from_mins(5);
/// Time limit for the remaining processes of a killed server to exit.
const REMAINS_LIMIT: Duration = Duration::from_secs(30);
/// How long a `postmaster.pid` can be incomplete before it counts as torn by a crash.
const TORN_LIMIT: Duration = Duration::from_secs(2);
/// Size in bytes at which the server's log is rotated before a start. One older log is kept.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Read limit of `postmaster.pid` and `PG_VERSION`, which are much smaller.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Data files that PostgreSQL opens before its first output. A FIFO in place of one would block it.
const OPENED_BY_SERVER: [&str; 6] = [
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "postmaster.opts",
    "global/pg_control",
];
/// A process id that no system uses: the maximum is 2^22 on Linux and 99,998 on macOS.
const PID_UNUSED: i32 = i32::MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// No sign of a running server.
    Stopped,
    /// The process is gone, but `postmaster.pid` still exists.
    Crashed,
    /// `postmaster.pid` is incomplete: it is being written, or was torn by a power failure.
    Torn,
    /// The process exists.
    Alive(RunningServer),
}

/// A server whose process exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningServer {
    pub pid: i32,
    pub since: Option<Timestamp>,
    pub port: u16,
    /// The socket's directory, once `postmaster.pid` contains it.
    pub socket: Option<PathBuf>,
    pub phase: ServerPhase,
}

/// The phase of a server whose process exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPhase {
    /// It does not accept connections yet.
    Starting,
    /// It accepts connections.
    Ready,
    /// It no longer accepts connections.
    Stopping,
}

pub(crate) fn state(directory: &Directory) -> Result<ServerState, EmbeddedError> {
    let Some(bytes) = read_file(&pid_file(directory))? else {
        return Ok(ServerState::Stopped);
    };
    Ok(match parse(&bytes) {
        None => ServerState::Torn,
        Some(server) if is_server_of(&directory.data(), server.pid) => ServerState::Alive(server),
        Some(_) => ServerState::Crashed,
    })
}

/// Starts the server if necessary, waits until it is ready, and returns its URL.
pub(crate) fn ensure(directory: &Directory, start_lock: &StartLock) -> Result<String, EmbeddedError> {
    let begun = Instant::now();
    loop {
        let is_within = |limit: Duration| begun.elapsed() < limit;
        match state(directory)? {
            ServerState::Alive(RunningServer {
                phase: ServerPhase::Ready,
                socket: Some(place),
                port,
                ..
            }) => {
                return Ok(socket::url(&place, port));
            }
            // The process that started it was killed, or a user is stopping it manually.
            ServerState::Alive(_) => {}
            ServerState::Torn if is_within(TORN_LIMIT) => {}
            ServerState::Torn => remove_file(&pid_file(directory))?,
            ServerState::Stopped => start(directory, start_lock)?,
            ServerState::Crashed => match start(directory, start_lock) {
                // The children of a killed postmaster hold its shared memory for a moment.
                Err(EmbeddedError::Failed { .. } | EmbeddedError::Elsewhere { .. })
                    if is_within(REMAINS_LIMIT) => {}
                other => other?,
            },
        }
        if !is_within(START_LIMIT) {
            return Err(timeout(directory, "ready", START_LIMIT));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Stops the server if it is running, and returns whether it was. Open sessions are terminated, committed data is kept.
pub(crate) fn stop(directory: &Directory, _start: &StartLock) -> Result<bool, EmbeddedError> {
    let begun = Instant::now();
    let mut interrupted = None;
    let mut place = None;
    loop {
        match state(directory)? {
            ServerState::Alive(server) => {
                place = server.socket.or(place);
                if interrupted != Some(server.pid) {
                    log::info!("stopping the private PostgreSQL in {}", directory.dir().display());
                    interrupt(server.pid).at("stop the server of", directory.dir())?;
                    interrupted = Some(server.pid);
                }
            }
            // The server removes postmaster.pid shortly before it exits.
            _ if interrupted.is_some_and(|pid| is_server_of(&directory.data(), pid)) => {}
            _ => break,
        }
        if begun.elapsed() >= STOP_LIMIT {
            return Err(timeout(directory, "stopped", STOP_LIMIT));
        }
        thread::sleep(POLL_INTERVAL);
    }
    if let Some(place) = place {
        socket::remove_outside(directory, &place);
    }
    Ok(interrupted.is_some())
}

/// Requests a fast shutdown. `pg_ctl stop -m fast` sends the same signal, but trusts any `postmaster.pid`.
fn interrupt(pid: i32) -> Result<(), Errno> {
    match kill(Pid::from_raw(pid), Signal::SIGINT) {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

/// Returns the version that created the data, from `PG_VERSION`, or `None` without data.
pub(crate) fn data_version(directory: &Directory) -> Result<Option<String>, EmbeddedError> {
    let text = read_file(&directory.data().join("PG_VERSION"))?;
    Ok(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
}

/// Starts the stopped server and waits until it is ready.
fn start(directory: &Directory, start_lock: &StartLock) -> Result<(), EmbeddedError> {
    let version = data_version(directory)?.unwrap_or_default();
    let programs = Programs::find_for(&directory.data(), &version, directory.account())?;
    let place = socket::place(directory)?;
    socket::prepare(directory, &place)?;
    if socket::answers(&place, directory.account()) {
        return Err(EmbeddedError::Elsewhere { socket: socket::path(&place) });
    }
    socket::clear(&place)?;
    clear_pid(directory)?;

    for name in OPENED_BY_SERVER {
        let path = directory.data().join(name);
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(EmbeddedError::Planted { path });
        }
    }
    let log = server_log(directory);
    directory.check_log("server.log")?;
    let log_len = rotate_log(&log)?;
    log::info!("starting the private PostgreSQL {} in {}", programs.version(), directory.dir().display());
    let mut command = directory.account().command(&programs.program("pg_ctl"));
    command.args(["start", "-w", "-t", &START_LIMIT.as_secs().to_string()]);
    // pg_ctl starts the server through a shell and quotes neither the data directory nor the log. So the directory is
    // in the environment and, quoted by us, in the server's options. The log has a name that needs no quotes.
    command.env("PGDATA", directory.data()).arg("-o").arg(server_options(&directory.data(), &place));
    command.current_dir(directory.log()).args(["-l", "server.log"]);
    run(command, "pg_ctl", directory, start_lock).map_err(|error| match error {
        EmbeddedError::Failed { program, status, tail: said, log: program_log } => {
            let server_said = tail(&log, log_len);
            let (tail, log) = if server_said.is_empty() { (said, program_log) } else { (server_said, log) };
            EmbeddedError::Failed { program, status, tail, log }
        }
        other => other,
    })
}

/// Returns options for a shell that override the settings.
fn server_options(data: &Path, place: &Path) -> std::ffi::OsString {
    let mut options = b"-D ".to_vec();
    options.extend(shell_quoted(data.as_os_str().as_bytes()));
    options.extend(b" -c listen_addresses= -c unix_socket_permissions=0700 -c external_pid_file= ");
    options.extend(format!("-c port={} -c ", socket::PORT).bytes());
    // The setting is a list. Items with special characters must be in double quotes.
    let parts: Vec<&[u8]> = place.as_os_str().as_bytes().split(|&byte| byte == b'"').collect();
    let setting = [&b"unix_socket_directories=\""[..], &parts.join(&b"\"\""[..]), b"\""].concat();
    options.extend(shell_quoted(&setting));
    std::ffi::OsString::from_vec(options)
}

fn shell_quoted(text: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b'\'').collect();
    [&b"'"[..], &parts.join(&b"'\\''"[..]), b"'"].concat()
}

/// Replaces the process id in a stale `postmaster.pid` by one that does not exist. PostgreSQL refuses to start while
/// the named process exists, whatever it is. The rest of the file is kept: PostgreSQL uses it to detect children of the
/// old server that still write.
fn clear_pid(directory: &Directory) -> Result<(), EmbeddedError> {
    let path = pid_file(directory);
    let Some(bytes) = read_file(&path)? else { return Ok(()) };
    let rest = bytes.iter().position(|&byte| byte == b'\n').map_or(&[][..], |end| &bytes[end..]);
    let mut text = PID_UNUSED.to_string().into_bytes();
    text.extend_from_slice(rest);
    let mut file = own_options().write(true).truncate(true).open(&path).at("open", &path)?;
    file.write_all(&text).at("write", &path)
}

/// Reads a small file if it exists. A FIFO in its place reads as empty and does not block.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, EmbeddedError> {
    let Some(file) = if_exists(own_options().read(true).open(path)).at("read", path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).at("read", path)?;
    Ok(Some(bytes))
}

/// Rotates the server's log if it is large, and returns the length of the current log.
fn rotate_log(log: &Path) -> Result<u64, EmbeddedError> {
    let len = fs::symlink_metadata(log).map_or(0, |metadata| metadata.len());
    if len <= LOG_BYTES_MAX {
        return Ok(len);
    }
    fs::rename(log, log.with_extension("log.1")).at("rename", log)?;
    Ok(0)
}

/// Parses `postmaster.pid`. Its lines are: process id, data directory, start time, port, socket directory, addresses,
/// shared memory, status.
fn parse(bytes: &[u8]) -> Option<RunningServer> {
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    let line = |at: usize| lines.get(at).copied().filter(|line| !line.is_empty());
    let number = |at: usize| std::str::from_utf8(line(at)?).ok();
    Some(RunningServer {
        pid: number(0)?.parse().ok().filter(|&pid| pid > 0)?,
        since: number(2).and_then(|second| Timestamp::from_second(second.parse().ok()?).ok()),
        port: number(3).and_then(|port| port.parse().ok()).unwrap_or(socket::PORT),
        socket: line(4).map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path))),
        phase: match line(7) {
            Some(b"ready" | b"standby") => ServerPhase::Ready,
            Some(b"stopping") => ServerPhase::Stopping,
            _ => ServerPhase::Starting,
        },
    })
}

fn pid_file(directory: &Directory) -> PathBuf {
    directory.data().join("postmaster.pid")
}

fn server_log(directory: &Directory) -> PathBuf {
    directory.log().join("server.log")
}

fn timeout(directory: &Directory, wanted: &'static str, limit: Duration) -> EmbeddedError {
    EmbeddedError::Timeout { dir: directory.dir().to_path_buf(), wanted, limit, log: server_log(directory) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_pid_files_are_parsed() {
        let check = |text: &str, expected: Option<(i32, u16, Option<&str>, ServerPhase)>| {
            let since = (text.lines().count() > 2).then(|| Timestamp::from_second(17).expect("a time"));
            let expected = expected.map(|(pid, port, socket, phase)| RunningServer {
                pid,
                since,
                port,
                socket: socket.map(PathBuf::from),
                phase,
            });
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        };
        check("", None);
        check("\n", None);
        check("-12\n/d\n", None);
        check("12\n/d\n17\n5432\n", Some((12, 5432, None, ServerPhase::Starting)));
        let whole = "12\n/d\n17\n6543\n/d/run\n\n  77  1\n";
        check(whole, Some((12, 6543, Some("/d/run"), ServerPhase::Starting)));
        check(&format!("{whole}ready   \n"), Some((12, 6543, Some("/d/run"), ServerPhase::Ready)));
        check(&format!("{whole}stopping\n"), Some((12, 6543, Some("/d/run"), ServerPhase::Stopping)));
    }
}
