//! Tools of the tests.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) mod agreement;
pub(crate) mod backends;
pub(crate) mod browser;
pub(crate) mod citus;
pub(crate) mod cluster;
pub(crate) mod copybin;
pub(crate) mod dumps;
pub(crate) mod fake;
pub(crate) mod hostile;
pub(crate) mod http;
pub(crate) mod impostor;
pub(crate) mod model;
pub(crate) mod oracle;
pub(crate) mod pgbouncer;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod progress;
pub(crate) mod proxy;
pub(crate) mod samples;
pub(crate) mod scratch;
pub(crate) mod seeds;
pub(crate) mod swarm;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod tree;

/// Logs the current case, for a failing test.
#[expect(clippy::print_stderr, reason = "a test's output is shown when it fails")]
pub(crate) fn log_case(what: impl std::fmt::Debug) {
    eprintln!("trying {what:?}");
}

/// Reports a part of a test that this machine cannot run. Bypasses the test harness, which captures the output of passing
/// tests.
pub(crate) fn not_tried(what: &str, why: &str) {
    let said = writeln!(std::io::stderr(), "NOT TRIED: {what}, as {why}");
    said.expect("standard error");
}

/// The first program with one of these names on `PATH`, or in one of `more_directories`.
pub(crate) fn find_program(names: &[&str], more_directories: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> =
        std::env::split_paths(&path).chain(more_directories.iter().map(PathBuf::from)).collect();
    names.iter().find_map(|name| {
        directories.iter().map(|directory| directory.join(name)).find(|program| program.is_file())
    })
}

/// A recently free TCP port of 127.0.0.1.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// Polls until `condition` is true. Panics with `what` after the limit.
#[track_caller]
pub(crate) fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process is alive. A zombie is not.
pub(crate) fn is_alive(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')),
        Err(_) if cfg!(target_os = "linux") => false,
        Err(_) => nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok(),
    }
}
