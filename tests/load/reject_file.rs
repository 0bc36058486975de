//! Permissions of the reject file, and places that it is not written to because they may belong to others.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::cluster::Cluster;
use crate::support::dumps::small_event;
use crate::support::process::Supervised as _;
use crate::support::program::{Workplace, read_rejects};
use crate::support::{eventually, not_tried};

/// Another user, who need not exist.
const NOBODY: u32 = 65534;

const NO_EVENT: &str = "no event\n";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_new_reject_file_has_mode_0600_under_any_umask() {
    let work = Workplace::new();
    for mask in ["000", "022", "077", "777"] {
        let name = format!("refused-{mask}");
        let script = format!(
            "umask {mask}; printf 'no event\\n' | \"$0\" load --dry-run --server asia --rejects {name}"
        );
        let program = ["-c", &script, env!("CARGO_BIN_EXE_aegis-kills")];
        let status =
            Command::new("sh").args(program).current_dir(work.path()).stdout(Stdio::null()).status_in_time();
        assert_eq!(status.expect("a shell").code(), Some(3), "{mask}");
        assert_eq!(mode(&work.path().join(&name)), 0o600, "{mask}");
    }
}

#[test]
fn an_existing_reject_file_keeps_its_mode_with_a_warning() {
    let work = Workplace::new();
    let path = work.path().join("refused");
    let load = |args: &[&str]| {
        work.program(&["load", "--dry-run", "--rejects", "refused"])
            .args(args)
            .stdin(NO_EVENT)
            .expect(3)
            .stderr
    };
    for (number, mode_bits) in [0o600, 0o640, 0o604, 0o666].into_iter().enumerate() {
        if number > 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode_bits)).expect("its mode");
        }
        let warned = load(&[]);
        assert_eq!(warned.contains("chmod 600 refused"), mode_bits != 0o600, "{mode_bits:o}: {warned}");
        assert_eq!(mode(&path), mode_bits);
        assert_eq!(load(&["-q"]), "");
    }
    assert_eq!(read_rejects(&path).len(), 8, "each went to its end");
}

#[test]
fn unwritable_places_are_errors() {
    let work = Workplace::new();
    fs::create_dir(work.path().join("directory")).expect("a directory");
    for (place, words) in [("directory", "Is a directory"), ("no/such/refused", "No such file")] {
        let program = work.program(&["load", "--dry-run"]).env("KILLS_REJECTS_FILE", place).stdin(NO_EVENT);
        program.expect(1).says(&["the reject file", place, words, "--rejects"]);
    }
    // A device or a pipe is no regular file.
    let program = work.program(&["load", "--dry-run", "--rejects", "/dev/null"]).stdin(NO_EVENT);
    assert!(!program.expect(3).stderr.contains("chmod"));
    let ended = work.program(&["load", "--dry-run", "--rejects", "/dev/stderr"]).stdin(NO_EVENT).expect(3);
    assert!(ended.stderr.contains("\"raw\":\"no event\""), "{}", ended.stderr);
}

/// Only a reject needs the directory.
#[test]
fn an_unwritable_working_directory_ends_only_loads_with_rejects() {
    let mut command = "exec \"$0\" load --json -".to_owned();
    if nix::unistd::geteuid().is_root() {
        // Root without this capability can write only where its mode allows that.
        let capability = ["--bounding-set", "-dac_override"];
        let tried = Command::new("setpriv").args(capability).arg("true").status_in_time();
        if !tried.is_ok_and(|status| status.success()) {
            return not_tried("an unwritable working directory", "root can write everywhere");
        }
        command = command.replace("exec", &format!("exec setpriv {}", capability.join(" ")));
    }
    let database = Cluster::shared().database("unwritable");
    let work = Workplace::new();
    let locked = work.path().join("locked");
    fs::create_dir(&locked).expect("a directory");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).expect("its mode");
    let script = format!("cd locked && {command}");
    let load = |input: &str| {
        let program = work.other_program("sh", &["-c", &script, env!("CARGO_BIN_EXE_aegis-kills")]);
        program.env("DATABASE_URL", &database.url()).stdin(input)
    };
    let warning =
        "the working directory is not writable: Permission denied; a rejected event would end this load";
    let event = format!("{}\n", small_event(1));
    load(&event).expect(0).says(&[warning]).summary().check(&[("inserted", 1)]);
    let ended = load(NO_EVENT).expect(1).says(&[warning]);
    let summary = ended.summary();
    summary.check(&[("rejected", 0), ("unfinished", 1)]);
    assert!(summary.error().contains("cannot be written: Permission denied"), "{}", summary.error());
    assert!(summary.error().contains("--rejects"), "{}", summary.error());
    // The next load can write the file, and reports the reject.
    let ended = work.load(&database, &[]).stdin(NO_EVENT).expect(3);
    ended.summary().check(&[("rejected", 1), ("rejected_before", 0)]);
}

#[test]
fn links_and_files_of_others_in_a_shared_directory_are_not_written() {
    let work = Workplace::new();
    let shared = work.path().join("shared");
    fs::create_dir(&shared).expect("a directory");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("its mode");
    let load = |name: &str| {
        work.program(&["load", "--dry-run", "--rejects", &format!("shared/{name}")]).stdin(NO_EVENT)
    };
    symlink("../mine", shared.join("own-link")).expect("a link");
    load("own-link").expect(3);
    assert_eq!(mode(&work.path().join("mine")), 0o600);
    load("own-link").expect(3);
    // A hard link to one's own file. Anyone who can write to the directory can create it.
    work.write("own", "own");
    fs::hard_link(work.path().join("own"), shared.join("hard")).expect("a link");
    symlink("shared/hard", work.path().join("to-hard")).expect("a link");
    for mode in [0o1777, 0o777] {
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).expect("its mode");
        load("hard").expect(1).says(&["hard link", "--rejects"]);
        // The same behind a link of one's own.
        load("../to-hard").expect(1).says(&["hard link", "--rejects"]);
    }
    assert_eq!(fs::read_to_string(work.path().join("own")).expect("a file"), "own");
    if !nix::unistd::geteuid().is_root() {
        // Only root can create files of another user.
        return;
    }
    work.write("precious", "precious");
    symlink("../precious", shared.join("link")).expect("a link");
    symlink("../new", shared.join("dangling")).expect("a link");
    fs::write(shared.join("file"), "").expect("a file");
    for (name, what) in [("link", "link"), ("dangling", "link"), ("file", "file")] {
        lchown(shared.join(name), Some(NOBODY), Some(NOBODY)).expect("another owner");
        for mode in [0o1777, 0o777, 0o775] {
            fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).expect("its mode");
            let words = format!("a {what} of another user");
            load(name).expect(1).says(&[&words, "that others can write", "--rejects"]);
        }
    }
    load("hard").expect(1).says(&["hard link"]);
    assert_eq!(fs::read_to_string(work.path().join("precious")).expect("a file"), "precious");
    assert!(!work.path().join("new").exists());
    assert_eq!(fs::metadata(shared.join("file")).expect("a file").len(), 0);
    // If only its owner can write to the directory, its files are trusted.
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).expect("its mode");
    load("file").expect(3);
}

/// Entries of another user lead elsewhere: a link in their directory, a link on the path, a pipe that they read.
#[test]
fn links_and_pipes_of_others_are_not_followed() {
    if !nix::unistd::geteuid().is_root() {
        return not_tried("links of another user", "only root can make them");
    }
    let (work, database) = (Workplace::new(), Cluster::shared().database("others_links"));
    let at = |name: &str| work.path().join(name);
    for name in ["shared", "shared/theirs", "ours"] {
        fs::create_dir(at(name)).expect("a directory");
    }
    work.write("ours/precious", "precious");
    symlink("../../ours/precious", at("shared/theirs/link")).expect("a link");
    symlink("../ours", at("shared/way")).expect("a link");
    symlink("../ours/precious", at("shared/link")).expect("a link");
    mkfifo(&at("shared/pipe"), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    for name in ["shared/theirs", "shared/theirs/link", "shared/way", "shared/link", "shared/pipe"] {
        lchown(at(name), Some(NOBODY), Some(NOBODY)).expect("another owner");
    }
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o1777)).expect("its mode");
    let theirs = ["shared/theirs/link", "shared/way/precious", "shared/link", "shared/pipe"];
    for place in theirs {
        let load = work.program(&["load", "--dry-run", "--rejects", place]).stdin(NO_EVENT);
        load.expect(1).says(&["of another user (id 65534)", place]);
        let load = work.program(&["load", "--server", "asia", "--metrics-file", place]).stdin("");
        load.env("DATABASE_URL", &database.url()).expect(1).says(&["of another user (id 65534)", place]);
    }
    assert_eq!(fs::read_to_string(at("ours/precious")).expect("a file"), "precious");
    assert_eq!(fs::read_dir(at("ours")).expect("a directory").count(), 1);
    // A new file in another user's directory is harmless.
    work.program(&["load", "--dry-run", "--rejects", "shared/theirs/new"]).stdin(NO_EVENT).expect(3);
}

/// A link of one's own leads to an entry of another user, directly or through a second link.
#[test]
fn links_and_pipes_of_others_behind_own_links_are_not_followed() {
    if !nix::unistd::geteuid().is_root() {
        return not_tried("links of another user behind one's own", "only root can make them");
    }
    let (work, database) = (Workplace::new(), Cluster::shared().database("own_links"));
    let at = |name: &str| work.path().join(name);
    for name in ["shared", "ours"] {
        fs::create_dir(at(name)).expect("a directory");
    }
    work.write("ours/precious", "precious");
    work.write("shared/file", "");
    fs::set_permissions(at("shared/file"), fs::Permissions::from_mode(0o666)).expect("its mode");
    symlink(at("ours/precious"), at("shared/link")).expect("a link");
    symlink("../ours/new", at("shared/dangling")).expect("a link");
    symlink("../ours", at("shared/way")).expect("a link");
    mkfifo(&at("shared/pipe"), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    for name in ["file", "link", "dangling", "way", "pipe"] {
        lchown(at("shared").join(name), Some(NOBODY), Some(NOBODY)).expect("another owner");
        symlink(Path::new("shared").join(name), at(&format!("to-{name}"))).expect("a link");
    }
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o1777)).expect("its mode");
    symlink("to-link", at("twice")).expect("a link");
    symlink(at("shared"), at("shortcut")).expect("a link");
    let places =
        ["to-file", "to-link", "to-dangling", "to-way/precious", "to-pipe", "twice", "shortcut/link"];
    for place in places {
        let load = work.program(&["load", "--dry-run", "--rejects", place]).stdin(NO_EVENT);
        load.expect(1).says(&["of another user (id 65534)", place]);
        let load = work.program(&["load", "--server", "asia", "--metrics-file", place]).stdin("");
        load.env("DATABASE_URL", &database.url()).expect(1).says(&["of another user (id 65534)", place]);
    }
    assert_eq!(fs::read_to_string(at("ours/precious")).expect("a file"), "precious");
    assert_eq!(fs::read_dir(at("ours")).expect("a directory").count(), 1);
    assert_eq!(fs::metadata(at("shared/file")).expect("a file").len(), 0);
}

#[test]
fn links_of_ones_own_are_followed() {
    let work = Workplace::new();
    fs::create_dir(work.path().join("there")).expect("a directory");
    for (target, link) in [("there", "way"), ("way/refused", "first"), ("first", "second"), ("loop", "loop")]
    {
        symlink(target, work.path().join(link)).expect("a link");
    }
    let load = |place: &str| work.program(&["load", "--dry-run", "--rejects", place]).stdin(NO_EVENT);
    for place in ["second", "first", "way/refused", "there/../way/refused"] {
        load(place).expect(3);
    }
    let refused = work.path().join("there/refused");
    assert_eq!((mode(&refused), read_rejects(&refused).len()), (0o600, 4));
    load("loop").expect(1).says(&["Too many levels of symbolic links", "--rejects"]);
}

#[test]
fn a_pipe_without_a_reader_is_an_error_at_once() {
    let work = Workplace::new();
    mkfifo(&work.path().join("pipe"), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    let load = work.program(&["load", "--dry-run", "--rejects", "pipe"]).stdin(NO_EVENT);
    let hint = "hint: start the reader of the pipe before the load, or choose another path with --rejects";
    load.expect(1).says(&["the reject file 'pipe' cannot be written: no program reads this pipe", hint]);
}

/// Nobody reads the pipe, so the load would wait for ever, or lose the rejects.
#[test]
fn a_pipe_that_appears_during_a_load_is_an_error() {
    let database = Cluster::shared().database("new_pipe");
    let work = Workplace::new();
    let load = work.load(&database, &["--max-rejects", "100%", "--rejects", "pipe"]);
    let mut running = load.env("KILLS_FLUSH_INTERVAL", "10").start();
    running.feed(format!("{}\n", small_event(1)).as_bytes());
    eventually(Duration::from_mins(1), "the load has checked the path", || {
        let rows = database.client().query_one("select count(*) from kill_event", &[]);
        rows.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    });
    mkfifo(&work.path().join("pipe"), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    running.feed(NO_EVENT.repeat(5).as_bytes());
    let summary = running.finish_after_input().expect(1).summary();
    assert!(summary.error().contains("it has become a pipe since the start"), "{}", summary.error());
    summary.check(&[("inserted", 1), ("rejected", 0)]);
}

/// The reader ends once no program writes to the pipe.
#[test]
fn a_pipe_gets_more_rejects_than_it_holds() {
    let work = Workplace::new();
    mkfifo(&work.path().join("pipe"), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    work.write("dump", "no event\n".repeat(2_000));
    // Until the pipe has its reader, a load ends with code 1.
    let script = "cat pipe > read & while \"$0\" load --dry-run --max-rejects 100% --rejects pipe dump
        code=$?; [ $code = 1 ]; do :; done; wait; exit $code";
    let ended = work.other_program("sh", &["-c", script, env!("CARGO_BIN_EXE_aegis-kills")]).expect(3);
    assert_eq!(read_rejects(&work.path().join("read")).len(), 2_000);
    assert!(!ended.stdout.contains("to list the rejects"), "no command reads them again: {}", ended.stdout);
}

/// Without a limit, the load would end 1 minute after the drain, without a summary.
#[test]
fn a_stop_request_ends_the_wait_for_the_reader_of_a_pipe() {
    let database = Cluster::shared().database("unread");
    let work = Workplace::new();
    let pipe = work.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    // To write, too, so that the open does not wait for the load.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a reader");
    let load = work.load(&database, &["--max-rejects", "100%", "--rejects", "pipe"]);
    let mut running = load.env("KILLS_FLUSH_INTERVAL", "10").env("KILLS_DRAIN_TIMEOUT", "300").start();
    running.feed(format!("{}{}\n", NO_EVENT.repeat(2_000), small_event(1)).as_bytes());
    eventually(Duration::from_mins(1), "the event after the rejects is stored", || {
        let rows = database.client().query_one("select count(*) from kill_event", &[]);
        rows.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    });
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    let summary = running.finish().expect(1).summary();
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert!(summary.error().contains("no program reads the full pipe"), "{}", summary.error());
    summary.check(&[("inserted", 1)]);
    assert!(summary.count("unfinished") > 0, "{summary:?}");
    let row = database.client().query_one("select status, finished is not null from kill_load_run", &[]);
    let row = row.expect("a run");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("failed", true));
    drop(reader);
}

/// A link in place of the temporary metrics file.
#[test]
fn a_link_in_place_of_the_temporary_metrics_file_is_not_followed() {
    let work = Workplace::new();
    work.write("precious", "precious");
    let script = "ln -s precious kills.prom.$$.tmp; exec \"$0\" load --server asia --metrics-file kills.prom --database-url \"$1\"";
    let database = Cluster::shared().database("link");
    let status = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_aegis-kills"), &database.url()])
        .current_dir(work.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status_in_time();
    assert_eq!(status.expect("a shell").code(), Some(0));
    assert_eq!(fs::read_to_string(work.path().join("precious")).expect("a file"), "precious");
    assert!(fs::read_to_string(work.path().join("kills.prom")).expect("a file").contains("aegis_kills_"));
}

/// Another program holds the lock on the file, so this load opens it and writes nothing.
#[test]
fn a_reject_file_without_a_reject_of_the_load_is_not_named() {
    let work = Workplace::new();
    work.write("refused", "");
    let path = work.path().join("refused");
    let held = fs::File::open(&path).expect("the file");
    held.lock().expect("a lock");
    let args = ["load", "--dry-run", "--json", "--rejects", "refused"];
    let mut running = work.program(&args).env("KILLS_DRAIN_TIMEOUT", "300").start();
    running.feed(NO_EVENT.as_bytes());
    drop(running.take_input());
    let descriptors = format!("/proc/{}/fd", running.pid());
    eventually(Duration::from_mins(1), "the load opens the file", || {
        let mut opened = fs::read_dir(&descriptors).expect("the descriptors of the load").flatten();
        opened.any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.ends_with("refused")))
    });
    running.signal(Signal::SIGTERM);
    let ended = running.finish().expect(1);
    ended.summary().check(&[("rejected", 0), ("unfinished", 1)]);
    assert!(ended.stdout.contains("\"rejects_file\":null"), "{}", ended.stdout);
    assert_eq!(fs::read(&path).expect("the file"), b"");
    drop(held);
}
