//! The progress of `load` on a real terminal.

use std::time::Duration;

use nix::sys::signal::Signal;
use postgres::{Client, Transaction};

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Program, Workplace, assert_tables};
use crate::support::terminal::Terminal;
use crate::support::{eventually, free_port};

const SOON: Duration = Duration::from_mins(1);

/// A database with tables, and a directory with a dump of 60 events.
fn prepared(database: &Database<'_>) -> (Workplace, Vec<u8>) {
    let (work, dump) = (Workplace::new(), generated(60, 81, 0.0));
    work.write("dump.ndjson", &dump);
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    (work, dump)
}

/// A load with output for people, in segments of a few events.
fn load(work: &Workplace, database: &Database<'_>, args: &[&str]) -> Program {
    let program = work.program(&["load"]).args(args).env("DATABASE_URL", &database.url());
    program.segment_bytes(32 << 10).env("TERM", "xterm").env("NO_COLOR", "")
}

/// No load proceeds while the lock is held.
fn hold(client: &mut Client) -> Transaction<'_> {
    let mut transaction = client.transaction().expect("a transaction");
    transaction.batch_execute("lock table kill_event in exclusive mode").expect("a lock");
    transaction
}

#[test]
fn the_progress_shows_an_unreachable_database() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("progress");
    let (work, dump) = prepared(&database);
    let terminal = Terminal::new(500);
    let mut client = database.client();
    let held = hold(&mut client);
    let running = load(&work, &database, &["dump.ndjson"]).on(&terminal).start();
    terminal.shows(&["%  ", " of ", "events/s", "/s", " s elapsed"]);
    terminal.shows(&["dump.ndjson"]);
    terminal.shows(&["inserted 0"]);
    cluster.stop_immediate();
    terminal.shows(&["database unreachable for ", " s, attempt ", ", retrying "]);
    assert!(terminal.bytes().contains("\x1b[33mdatabase unreachable"), "trouble has a colour");
    assert!(held.commit().is_err(), "the lock went with the server");
    cluster.start();
    let ended = running.finish().expect(0);
    let complete = "Complete: 60 events, all stored by this run or an earlier one.\n";
    assert!(ended.stdout.starts_with(complete), "{}", ended.stdout);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);

    // The log remains with complete lines, because no cause is wider than the terminal.
    terminal.shows(&["database reachable again after "]);
    let lines = terminal.lines();
    // One line at its start, with a hint, and one at its end.
    let of_log: Vec<&String> = lines.iter().filter(|line| !line.starts_with("    hint: ")).collect();
    assert!(of_log.iter().all(|line| line.starts_with('[') && line.contains("WARN")), "{lines:#?}");
    let starts = of_log.iter().filter(|line| line.ends_with("; retrying for 5 min"));
    assert_eq!((starts.count(), of_log.len()), (1, 2), "{lines:#?}");
}

#[test]
fn the_progress_shows_the_wait_for_the_first_connection() {
    let work = Workplace::new();
    work.write("dump.ndjson", generated(5, 1, 0.0));
    let terminal = Terminal::new(120);
    let url = format!("postgresql://me@127.0.0.1:{}/kills", free_port());
    let program = work.program(&["load", "dump.ndjson"]).env("DATABASE_URL", &url);
    let running = program.env("TERM", "xterm").env("NO_COLOR", "").on(&terminal).start();
    terminal.shows(&["preparing the database  ", " s elapsed"]);
    running.signal(Signal::SIGINT);
    let ended = running.finish().expect(130);
    assert!(ended.stdout.starts_with("Interrupted: 0 events read"), "{}", ended.stdout);
    let is_cleared = || !terminal.lines().iter().any(|line| line.contains("preparing"));
    eventually(SOON, "only the log remains", is_cleared);
}

#[test]
fn the_progress_shows_a_database_without_answers() {
    let database = Cluster::shared().database("stalled");
    let (work, _) = prepared(&database);
    let terminal = Terminal::new(120);
    let mut client = database.client();
    let held = hold(&mut client);
    let running = load(&work, &database, &["dump.ndjson"]).on(&terminal).start();
    terminal.shows(&["no answer from the database for "]);
    let of_progress = terminal.lines().into_iter().find(|line| line.contains("events/s"));
    assert!(of_progress.is_some_and(|line| !line.ends_with(" left")), "{:#?}", terminal.lines());
    assert!(terminal.bytes().contains("\x1b[33mno answer from the database"), "trouble has a colour");
    held.rollback().expect("the lock is given back");
    running.finish().expect(0);
    eventually(SOON, "nothing is left", || terminal.lines().is_empty());
}

#[test]
fn the_progress_shows_the_input() {
    let database = Cluster::shared().database("known");
    let (work, dump) = prepared(&database);
    let program = env!("CARGO_BIN_EXE_aegis-kills");
    let redirected = format!("exec '{program}' load < dump.ndjson");
    let shell = || {
        let shell = work.other_program("sh", &["-c", &redirected]).env("DATABASE_URL", &database.url());
        shell.segment_bytes(32 << 10).env("TERM", "xterm")
    };
    let begin = join(&lines(&dump)[..5]);
    for (program, is_piped, reads_pipe) in [
        (load(&work, &database, &["--force", "dump.ndjson"]), false, false),
        (shell(), false, false),
        (load(&work, &database, &["--force"]), true, true),
        (load(&work, &database, &["--force", "dump.ndjson", "-"]), true, false),
    ] {
        let terminal = Terminal::new(100);
        let mut client = database.client();
        // Stored events would not be written again.
        client.batch_execute("truncate kill_event, kill_load_segment").expect("as if nothing was loaded");
        let held = hold(&mut client);
        let mut running = program.on(&terminal).start();
        // At most the contents of a pipe and the program's buffers.
        if reads_pipe {
            running.feed(&begin);
        }
        terminal.shows(&["events/s"]);
        assert_eq!(terminal.bytes().contains('%'), !is_piped, "{:#?}", terminal.lines());
        held.rollback().expect("the lock is given back");
        running.finish_after_input().expect(0);
        eventually(SOON, "nothing is left", || terminal.lines().is_empty());
    }
}

#[test]
fn the_progress_fits_a_narrow_terminal_without_colours() {
    let database = Cluster::shared().database("narrow");
    let (work, _) = prepared(&database);
    let terminal = Terminal::new(120);
    let mut client = database.client();
    let held = hold(&mut client);
    let running = load(&work, &database, &["-v", "dump.ndjson"]).env("NO_COLOR", "1").on(&terminal).start();
    terminal.shows(&["[====", "%  ", "events/s", "/s"]);
    terminal.resize(40);
    let is_narrow = |line: &String| line.contains("% ") && line.ends_with("elapsed") && line.len() < 40;
    eventually(SOON, "a shorter line", || terminal.lines().iter().any(is_narrow));
    running.signal(Signal::SIGTERM);
    terminal.shows(&["stopping, ", " to write"]);
    held.rollback().expect("the lock is given back");
    let ended = running.finish().expect(143);
    assert!(ended.stdout.starts_with("Interrupted: "), "{}", ended.stdout);
    let bytes = terminal.bytes();
    assert!(bytes.contains("INFO"), "{bytes:?}");
    let is_colour =
        |part: &str| part.trim_start_matches(|c: char| "[0123456789;".contains(c)).starts_with('m');
    assert!(!bytes.split('\x1b').skip(1).any(is_colour), "{bytes:?}");
}

#[test]
fn without_a_terminal_a_line_appears_every_10_s() {
    let database = Cluster::shared().database("dumb");
    let (work, _) = prepared(&database);
    let (dumb, quiet) = (Terminal::new(200), Terminal::new(200));
    let mut client = database.client();
    let held = hold(&mut client);
    let begin = |terminal: &Terminal, args: &[&str], term| {
        load(&work, &database, args).env("TERM", term).on(terminal).start()
    };
    let running = [begin(&dumb, &["dump.ndjson"], "dumb"), begin(&quiet, &["-q", "dump.ndjson"], "xterm")];
    dumb.shows(&["%, ", " of ", " events/s, ", " s elapsed", "; dump.ndjson; inserted 0"]);
    held.rollback().expect("the lock is given back");
    for run in running {
        run.finish().expect(0);
    }
    assert!(!dumb.bytes().contains('\x1b'), "{:?}", dumb.bytes());
    assert_eq!(quiet.bytes(), "", "quiet is quiet for as long as the other had something to say");
}
