//! Stop requests in practice: GNU `timeout`, `nohup`, a closed terminal, a service of systemd, unread standard error,
//! repeats within a second.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_NOCTTY;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, lines};
use crate::support::process::{Process, Supervised as _};
use crate::support::program::{Program, Running, Workplace};
use crate::support::{eventually, find_program, not_tried};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aegis-kills");

/// Longer than any step on a slow machine.
const SHOWN_MAX: Duration = Duration::from_mins(1);

fn stored(database: &Database<'_>) -> i64 {
    let rows = database.client().query_one("select count(*) from kill_event", &[]);
    rows.map_or(0, |row| row.get(0))
}

/// Waits until the fed events are stored. From then on the load handles signals.
fn wait_until_stored(database: &Database<'_>) {
    eventually(SHOWN_MAX, "what was fed is stored", || stored(database) > 0);
}

/// A load of standard input, started by another program.
fn load_by(work: &Workplace, database: &Database<'_>, program: &str, args: &[&str]) -> Program {
    let args = [args, &[PROGRAM, "load", "--json"]].concat();
    work.other_program(program, &args).env("DATABASE_URL", &database.url()).env("KILLS_FLUSH_INTERVAL", "10")
}

#[test]
fn the_double_signal_of_timeout_drains_the_run() {
    let Some(timeout) = find_program(&["timeout"], &[]) else {
        return not_tried("GNU timeout", "it is not there");
    };
    let timeout = timeout.to_str().expect("UTF-8");
    for name in ["INT", "TERM", "HUP"] {
        let database = Cluster::shared().database("timeout");
        let work = Workplace::new();
        let args = ["--preserve-status", "--signal", name, "4"];
        let mut running = load_by(&work, &database, timeout, &args).start();
        running.feed(&generated(20, 3, 0.0));
        let ended = running.finish();
        let expected = match name {
            "INT" => 130,
            "TERM" => 143,
            _ => 129,
        };
        let ended = ended.expect(expected);
        let stored = u64::try_from(stored(&database)).expect("a count");
        ended.summary().check(&[("inserted", stored), ("unfinished", 0)]);
        assert_eq!(ended.summary().status(), "interrupted");
    }
}

#[test]
fn signals_within_a_second_are_one_request() {
    let database = Cluster::shared().database("repeats");
    let work = Workplace::new();
    let mut running = work.load(&database, &[]).env("KILLS_FLUSH_INTERVAL", "10").start();
    running.feed(&generated(20, 4, 0.0));
    wait_until_stored(&database);
    let begun = Instant::now();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM] {
        running.signal(signal);
    }
    if begun.elapsed() < Duration::from_millis(900) {
        // The system decides which of them is delivered first.
        let ended = running.finish();
        assert!([129, 130, 143].contains(&ended.code), "{}: {}", ended.code, ended.stderr);
        ended.summary().check(&[("unfinished", 0)]);
    }
}

/// A pipe that is stopped in the middle of an array on one line: its whole elements are stored, and the last is unread.
#[test]
fn elements_of_an_unfinished_array_are_stored_after_a_stop_request() {
    let database = Cluster::shared().database("elements");
    let work = Workplace::new();
    let mut running = work.load(&database, &[]).env("KILLS_FLUSH_INTERVAL", "10").start();
    let dump = generated(40, 8, 0.0);
    let events = lines(&dump);
    running.feed(&[events[0], b"\n"].concat());
    wait_until_stored(&database);
    // Much more than a pipe holds, so that the program has read most of it.
    running.feed(&[&b"["[..], &events[1..].join(&b','), b",{\"EventId\":"].concat());
    running.signal(Signal::SIGTERM);
    let ended = running.finish().expect(143);
    let summary = ended.summary();
    let inserted = u64::try_from(stored(&database)).expect("a count");
    summary.check(&[("inserted", inserted), ("rejected", 0), ("unfinished", 0), ("events", inserted)]);
    assert!(inserted > 10, "{}", ended.stdout);
}

#[test]
fn a_load_under_nohup_survives_sighup() {
    let Some(nohup) = find_program(&["nohup"], &[]) else { return not_tried("nohup", "it is not there") };
    let database = Cluster::shared().database("nohup");
    let work = Workplace::new();
    let mut running = load_by(&work, &database, nohup.to_str().expect("UTF-8"), &[]).start();
    running.feed(&generated(10, 5, 0.0));
    wait_until_stored(&database);
    running.signal(Signal::SIGHUP);
    running.feed(&generated(20, 6, 0.0));
    let ended = running.finish_after_input().expect(0);
    assert_eq!(ended.summary().status(), "complete");
}

fn drain_by_hangup(setsid: &Path, prints_to_terminal: bool) {
    let database = Cluster::shared().database("hangup");
    let work = Workplace::new();
    let fifo = work.path().join("dump");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a pipe");
    let terminal =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it may be used");
    let path = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("UTF-8");
    let end = || {
        let opened = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&path);
        Stdio::from(opened.expect("its other end"))
    };
    let summary = work.path().join("summary");
    let child = Command::new(setsid)
        .args(["--ctty", "--wait", PROGRAM, "load", "--json", "dump"])
        .current_dir(work.path())
        .env("DATABASE_URL", database.url())
        .env("KILLS_FLUSH_INTERVAL", "10")
        .env("ALBION_SERVER", "americas")
        .env("TERM", "xterm")
        .stdin(end())
        .stderr(end())
        .stdout(if prints_to_terminal { end() } else { File::create(&summary).expect("a file").into() })
        .supervised()
        .expect("setsid");
    let mut writer = OpenOptions::new().write(true).open(&fifo).expect("the pipe");
    writer.write_all(&generated(10, 7, 0.0)).expect("to write");
    wait_until_stored(&database);
    drop(terminal);
    eventually(SHOWN_MAX, "the load ends", || child.has_ended());
    let status = child.wait();
    assert_eq!(status.code(), Some(129));
    if prints_to_terminal {
        let runs = "select status from kill_load_run where finished is not null";
        let status: String = database.client().query_one(runs, &[]).expect("a run").get(0);
        assert_eq!(status, "interrupted");
        return;
    }
    let summary = fs::read_to_string(&summary).expect("a file");
    assert!(
        summary.contains("\"status\":\"interrupted\"") && summary.contains("\"unfinished\":0"),
        "{summary}"
    );
}

#[test]
fn a_closed_terminal_drains_the_run() {
    let Some(setsid) = find_program(&["setsid"], &[]) else { return not_tried("setsid", "it is not there") };
    // The terminal for the summary is gone too.
    for prints_to_terminal in [false, true] {
        drain_by_hangup(&setsid, prints_to_terminal);
    }
}

/// A load as systemd starts it: without input and terminal, and with both outputs on a socket of the journal.
fn start_service(work: &Workplace, database: &Database<'_>, dump: &str) -> (Process, UnixStream) {
    let (journal, output) = UnixStream::pair().expect("a socket");
    let end = || Stdio::from(OwnedFd::from(output.try_clone().expect("a copy")));
    let service = Command::new(PROGRAM)
        .args(["load", "-q", "--server", "americas", dump])
        .current_dir(work.path())
        .env_clear()
        .env("DATABASE_URL", database.url())
        .env("KILLS_FLUSH_INTERVAL", "10")
        .env("JOURNAL_STREAM", "8:4711")
        .stdin(Stdio::null())
        .stdout(end())
        .stderr(end())
        .supervised()
        .expect("the program");
    (service, journal)
}

/// Its text, once the service has ended.
fn read_journal(mut journal: UnixStream) -> String {
    let mut text = String::new();
    journal.read_to_string(&mut text).expect("UTF-8");
    text
}

#[test]
fn a_stopped_service_drains_and_reports_to_the_journal() {
    // If the journal is restarted meanwhile, nobody reads the socket.
    for is_read in [true, false] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("service"));
        let fifo = work.path().join("dump");
        mkfifo(&fifo, Mode::S_IRWXU).expect("a pipe");
        let (service, journal) = start_service(&work, &database, "dump");
        let journal = is_read.then_some(journal);
        let mut writer = OpenOptions::new().write(true).open(&fifo).expect("the pipe");
        writer.write_all(&generated(10, 9, 0.0)).expect("to write");
        wait_until_stored(&database);
        // Both are sent by systemd.
        service.signal(Signal::SIGTERM);
        service.signal(Signal::SIGCONT);
        assert_eq!(service.wait().code(), Some(143));
        let runs = "select status from kill_load_run where finished is not null";
        let status: String = database.client().query_one(runs, &[]).expect("a run").get(0);
        assert_eq!(status, "interrupted");
        if let Some(journal) = journal {
            let text = read_journal(journal);
            assert!(text.starts_with("Interrupted: ") && text.contains("none unfinished"), "{text}");
            assert!(!text.contains(['\x1b', '\r']), "{text}");
        }
        // The next start is silent.
        work.write("whole", generated(10, 9, 0.0));
        let (service, journal) = start_service(&work, &database, "whole");
        assert_eq!((service.wait().code(), &*read_journal(journal)), (Some(0), ""));
        assert_eq!(stored(&database), 10);
    }
}

/// A full pipe, which stays full while its reading end is held.
fn full_pipe() -> (OwnedFd, Stdio) {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).expect("a pipe");
    let mut file = File::from(writer.try_clone().expect("a copy"));
    while file.write(&[b'x'; 4096]).is_ok() {}
    while file.write(b"x").is_ok() {}
    // Writes at the program's end must block.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
    let blocking = OpenOptions::new().write(true).open(path).expect("the pipe");
    (reader, Stdio::from(blocking))
}

fn load_with_full_stderr(work: &Workplace, database: &Database<'_>) -> (OwnedFd, Running) {
    let (reader, stderr) = full_pipe();
    let program = work.load(database, &["-v", "-v"]).env("KILLS_FLUSH_INTERVAL", "10").stderr(stderr);
    (reader, program.start())
}

#[test]
fn unread_standard_error_blocks_nothing() {
    let database = Cluster::shared().database("full");
    let work = Workplace::new();
    for requests in [1, 2] {
        let (reader, mut running) = load_with_full_stderr(&work, &database);
        running.feed(&generated(20, requests, 0.0));
        wait_until_stored(&database);
        if requests == 1 {
            running.signal(Signal::SIGTERM);
            let ended = running.finish().expect(143);
            assert_eq!(ended.summary().status(), "interrupted");
        } else {
            // The events cannot be stored while this lock is held.
            let mut client = database.client();
            let mut transaction = client.transaction().expect("a transaction");
            transaction.batch_execute("lock table kill_event in exclusive mode").expect("a lock");
            running.feed(&generated(20, 99, 0.0));
            running.signal(Signal::SIGTERM);
            // A second request must come at least a second later.
            thread::sleep(Duration::from_millis(1100));
            running.signal(Signal::SIGTERM);
            assert_eq!(running.finish().expect(143).stdout, "", "there was no time for a summary");
        }
        drop(reader);
    }
    // The same if the run ends by itself.
    let (_reader, mut running) = load_with_full_stderr(&work, &database);
    running.feed(&generated(20, 1, 0.0));
    running.finish_after_input().expect(0);
}

#[test]
fn a_watch_with_unread_output_ends_by_one_request() {
    let database = Cluster::shared().database("watched");
    let (_reader, stdout) = full_pipe();
    let mut command = Command::new(PROGRAM);
    command
        .args(["health", "--watch", "--database-url", &database.url()])
        .stdin(Stdio::null())
        .stdout(stdout);
    let child = command.supervised().expect("the program");
    eventually(SHOWN_MAX, "it writes its report", || {
        // The kernel's function in which it waits.
        let waits = fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default();
        waits.contains("pipe_write") || waits.contains("pipe_wait")
    });
    child.signal(Signal::SIGTERM);
    assert_eq!(child.wait().code(), Some(143));
}

#[test]
fn a_load_that_prepares_ends_although_its_output_is_unread() {
    let database = Cluster::shared().database("unread");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut holder = database.client();
    holder.batch_execute("begin; lock table kill_load_run in access exclusive mode").expect("a lock");
    let (_reader, stdout) = full_pipe();
    let mut command = Command::new(PROGRAM);
    command
        .args(["load", "--json", "--server", "europe", "--database-url", &database.url()])
        .stdin(Stdio::null())
        .stdout(stdout);
    let child = command.supervised().expect("the program");
    let blocked =
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let mut observer = database.client();
    eventually(SHOWN_MAX, "the load waits", || !observer.query(blocked, &[]).expect("sessions").is_empty());
    child.signal(Signal::SIGTERM);
    assert_eq!(child.wait().code(), Some(143));
}
