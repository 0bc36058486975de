//! What the tests stand on.

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
pub(crate) mod swarm;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod tree;

/// Says what is tried, to be read where the test fails.
#[expect(clippy::print_stderr, reason = "a test's output is shown when it fails")]
pub(crate) fn tell(what: impl std::fmt::Debug) {
    eprintln!("trying {what:?}");
}

/// Says what a test can't try on this machine, past the test harness, which keeps what a test that passes prints.
pub(crate) fn not_tried(what: &str, why: &str) {
    let said = writeln!(std::io::stderr(), "NOT TRIED: {what}, as {why}");
    said.expect("standard error");
}

/// The first program of these names that is on `PATH`, or in one of `more_directories`.
pub(crate) fn find_program(names: &[&str], more_directories: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> =
        std::env::split_paths(&path).chain(more_directories.iter().map(PathBuf::from)).collect();
    names.iter().find_map(|name| {
        directories.iter().map(|directory| directory.join(name)).find(|program| program.is_file())
    })
}

/// A TCP port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// Waits until `condition` holds, looking again and again; panics with `what` if it does not in time.
#[track_caller]
pub(crate) fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process lives; one that ended and was not waited for does not.
pub(crate) fn lives(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')),
        Err(_) if cfg!(target_os = "linux") => false,
        Err(_) => nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok(),
    }
}
