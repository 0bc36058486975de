//! The private PostgreSQL of `--embedded`, with real servers.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use aegis_kills::Account;
use aegis_kills::internals::{
    Closed, Embedded, EmbeddedError, Lifetime, ServerPhase, Status, Stopped, status, stop,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};

use crate::support::process::Supervised as _;
use crate::support::scratch::Scratch;
use crate::support::{eventually, is_alive};

fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, Lifetime::WhileUsed).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

fn client(server: &Embedded) -> Client {
    Client::connect(server.url(), NoTls).unwrap_or_else(|error| panic!("{}: {error:?}", server.url()))
}

/// Adds a row to the table `t`, creates it if needed, and returns the number of rows.
fn add_row(server: &Embedded) -> i64 {
    let mut client = client(server);
    client.batch_execute("create table if not exists t (); insert into t default values").expect("a row");
    client.query_one("select count(*) from t", &[]).expect("an answer").get(0)
}

/// Run by root, an unfinished directory belongs to the server's account.
fn give_to_server_account(dir: &Path) {
    let other = dir.with_extension("owner");
    drop(open(&other));
    let owner = fs::metadata(other.join("data")).expect("data");
    let mut all = vec![dir.to_owned()];
    while let Some(path) = all.pop() {
        if path.is_dir() {
            all.extend(
                fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
        }
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("root may");
    }
}

/// The process id of the server in `dir`.
fn pid(dir: &Path) -> i32 {
    match status(dir).expect("a status") {
        Status::Running { pid, .. } => pid,
        other => panic!("{other:?}"),
    }
}

fn kill9(dir: &Path) {
    let pid = pid(dir);
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("to kill the server");
    eventually(Duration::from_secs(10), "the server is gone", || !is_alive(pid));
}

#[test]
fn a_new_directory_becomes_a_server_for_its_owner_only() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("not/yet/there");
    assert_eq!(status(&dir).expect("a status"), Status::Missing);
    assert_eq!(stop(&dir).expect("nothing to stop"), Stopped::Missing);
    assert!(!dir.exists(), "looking makes nothing");

    let server = open(&dir);
    let row = client(&server)
        .query_one(
            "select current_database()::text, current_user::text, current_setting('listen_addresses'),
                    current_setting('server_encoding'), current_setting('fsync'), current_setting('max_wal_size')",
            &[],
        )
        .expect("an answer");
    let values: Vec<String> = (0..row.len()).map(|column| row.get(column)).collect();
    assert_eq!(values, ["kills", "aegis", "", "UTF8", "on", "4GB"]);

    for directory in ["", "data", "run", "log"] {
        let metadata = fs::metadata(dir.join(directory)).expect("a directory");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o700, "{directory:?}");
        assert_ne!(metadata.uid(), 0, "{directory:?} is not root's");
    }
    let psql = Command::new("psql").args(["-Atc", "select 1", server.url()]).output_in_time().expect("psql");
    assert_eq!(String::from_utf8_lossy(&psql.stdout), "1\n", "{psql:?}");

    let Status::Running { pid, url, version, lifetime, since, socket, phase } =
        status(&dir).expect("a status")
    else {
        panic!("it runs");
    };
    assert_eq!((url.as_str(), lifetime), (server.url(), Lifetime::WhileUsed));
    assert_eq!((socket, phase), (dir.join("run/.s.PGSQL.5432"), ServerPhase::Ready));
    let age = since.map(|since| since.duration_until(jiff::Timestamp::now()).as_secs());
    assert!(age.is_some_and(|age| (0..600).contains(&age)), "{age:?}");
    assert_eq!(version, fs::read_to_string(dir.join("data/PG_VERSION")).expect("a version").trim());
    assert_eq!(server.close().expect("to close"), Closed::Stopped);
    assert!(!is_alive(pid));
    assert_eq!(status(&dir).expect("a status"), Status::Stopped);
}

#[test]
fn a_shared_server_runs_until_its_last_user_ends() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("shared");
    // Both find an empty directory: one creates the server, the other waits for it.
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(|| open(&dir));
        (open(&dir), other.join().expect("no panic"))
    });
    assert_eq!(one.url(), two.url());
    let pid = pid(&dir);
    assert_eq!(one.close().expect("to close"), Closed::InUse);
    assert_eq!(add_row(&two), 1);
    drop(two);
    assert!(!is_alive(pid), "a drop stops it, too");
}

#[test]
fn a_kept_server_runs_until_it_is_stopped() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("kept");
    let starter = Embedded::open(&dir, Lifetime::UntilStopped).expect("a server");
    assert_eq!(starter.close().expect("to close"), Closed::Kept);
    let first = pid(&dir);
    let user = open(&dir);
    assert_eq!(add_row(&user), 1);
    assert_eq!(user.close().expect("to close"), Closed::Kept);
    assert!(matches!(status(&dir), Ok(Status::Running { lifetime: Lifetime::UntilStopped, .. })));

    let user = open(&dir);
    assert_eq!(stop(&dir).expect("to stop"), Stopped::InUse);
    assert!(!is_alive(first));
    assert_eq!(user.close().expect("to close"), Closed::Stopped);
    assert_eq!(stop(&dir).expect("to stop"), Stopped::Already);

    // A stop clears the request to keep the server running.
    let user = open(&dir);
    assert_eq!(add_row(&user), 2);
    assert_eq!(user.close().expect("to close"), Closed::Stopped);
}

#[test]
fn the_next_user_stops_the_server_of_a_killed_one() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("orphan");
    Embedded::open(&dir, Lifetime::UntilStopped).expect("a server").close().expect("to close");
    // A running server without users that is not kept: the state after its user was killed.
    fs::remove_file(dir.join("kept")).expect("the mark");
    let orphan = pid(&dir);
    let user = open(&dir);
    assert_eq!(pid(&dir), orphan, "the same server");
    assert_eq!(user.close().expect("to close"), Closed::Stopped);
    assert!(!is_alive(orphan));
}

#[test]
fn an_unused_server_can_be_stopped() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("idle");
    Embedded::open(&dir, Lifetime::UntilStopped).expect("a server").close().expect("to close");
    assert_eq!(stop(&dir).expect("to stop"), Stopped::Idle);
    assert_eq!(status(&dir).expect("a status"), Status::Stopped);
}

#[test]
fn a_killed_server_starts_again_with_its_data() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("crash");
    let server = open(&dir);
    assert_eq!(add_row(&server), 1);
    // Sessions of the killed server may live a moment longer.
    let _session = client(&server);
    kill9(&dir);
    assert_eq!(status(&dir).expect("a status"), Status::Stopped);
    let again = open(&dir);
    assert_eq!(add_row(&again), 2);
    assert_eq!(server.close().expect("to close"), Closed::InUse);
    assert_eq!(again.close().expect("to close"), Closed::Stopped);
}

#[test]
fn the_process_of_a_stale_pid_file_is_not_signalled() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("stale");
    let server = open(&dir);
    assert_eq!(add_row(&server), 1);
    let pid_files = [dir.join("data/postmaster.pid"), dir.join("run/.s.PGSQL.5432.lock")];
    let stale: Vec<String> = pid_files.iter().map(|path| fs::read_to_string(path).expect("a pid")).collect();
    kill9(&dir);

    // The worst case for a reused id: a process of the same user that PostgreSQL mistakes for a server.
    let account = Account::for_paths(&[&dir.join("data")]).expect("an account");
    let mut bystander = account
        .command(Path::new("/bin/sh"))
        .args(["-c", "read line"])
        .stdin(Stdio::piped())
        .supervised()
        .expect("a shell");
    for (path, text) in pid_files.iter().zip(&stale) {
        let (_, rest) = text.split_once('\n').expect("lines");
        fs::write(path, format!("{}\n{rest}", bystander.id())).expect("a stale file");
    }
    assert_eq!(status(&dir).expect("a status"), Status::Stopped);
    assert_eq!(stop(&dir).expect("nothing to stop"), Stopped::Already);
    let again = open(&dir);
    assert_eq!(add_row(&again), 2);
    drop(server);
    drop(again);
    assert!(!bystander.has_ended(), "the bystander lives");
    drop(bystander.stdin.take());
    bystander.wait();
}

#[test]
fn a_torn_pid_file_does_not_prevent_a_start() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("torn");
    let server = open(&dir);
    assert_eq!(add_row(&server), 1);
    kill9(&dir);
    fs::write(dir.join("data/postmaster.pid"), "").expect("a torn file");
    assert_eq!(add_row(&open(&dir)), 2);
}

#[test]
fn an_incomplete_cluster_is_recreated() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("half");
    fs::create_dir_all(dir.join("data.new/base")).expect("a directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("its mode");
    fs::write(dir.join("data.new/PG_VERSION"), "15\n").expect("a file");
    fs::write(dir.join("aegis-kills.lock"), "").expect("a file");
    give_to_server_account(&dir);
    assert_eq!(status(&dir).expect("a status"), Status::Missing);
    assert_eq!(add_row(&open(&dir)), 1);
    assert!(!dir.join("data.new").exists());
}

#[test]
fn any_path_can_hold_a_server() {
    let long = "l".repeat(120);
    let odd = r#"sp ace 'one' "two" %41 $(exit 1) `x` \n;&é日"#;
    for (name, inside) in [(odd, true), (long.as_str(), false), ("comma,comma", false)] {
        let scratch = Scratch::new();
        let dir = scratch.path().join(name);
        let server = open(&dir);
        assert_eq!(add_row(&server), 1, "{name}");
        let row = client(&server).query_one("show unix_socket_directories", &[]).expect("an answer");
        let setting: String = row.get(0);
        let socket = PathBuf::from(setting.trim_matches('"').replace("\"\"", "\""));
        assert_eq!(socket.starts_with(&dir), inside, "{name}: {}", socket.display());
        assert_eq!(
            fs::metadata(&socket).expect("its directory").permissions().mode() & 0o777,
            0o700,
            "{name}"
        );
        let psql =
            Command::new("psql").args(["-Atc", "select 1", server.url()]).output_in_time().expect("psql");
        assert_eq!(String::from_utf8_lossy(&psql.stdout), "1\n", "{name}: {psql:?}");

        // A restart, and another name of the same directory, reach the same server.
        kill9(&dir);
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&dir, &link).expect("a link");
        let again = open(&link);
        assert_eq!(again.url(), server.url(), "{name}");
        drop(server);
        assert_eq!(add_row(&again), 2, "{name}");
        assert_eq!(again.close().expect("to close"), Closed::Stopped, "{name}");
        assert_eq!(socket.exists(), inside, "{name}: nothing is left outside");
    }
}

#[test]
fn foreign_directories_are_rejected_unchanged() {
    let scratch = Scratch::new();
    let holds_file = scratch.path().join("documents");
    fs::create_dir(&holds_file).expect("a directory");
    fs::write(holds_file.join("letter"), "dear").expect("a file");
    let another_cluster = scratch.path().join("cluster");
    fs::create_dir(&another_cluster).expect("a directory");
    fs::write(another_cluster.join("PG_VERSION"), "15\n").expect("a file");
    let file = holds_file.join("letter");

    for dir in [&holds_file, &another_cluster, &file] {
        let error = Embedded::open(dir, Lifetime::WhileUsed).expect_err("rejected");
        assert!(error.to_string().contains(&*dir.to_string_lossy()), "{error}");
        for error in [error, stop(dir).expect_err("rejected"), status(dir).expect_err("rejected")] {
            let fits = match error {
                EmbeddedError::NoDirectory { .. } => *dir == file,
                EmbeddedError::Foreign { .. } => *dir != file,
                _ => false,
            };
            assert!(fits && error.is_wrong_directory(), "{error:?}");
        }
    }
    let names: Vec<_> = fs::read_dir(&holds_file)
        .expect("a directory")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    assert_eq!(names, ["letter"]);
    let error = Embedded::open(&scratch.path().join("a\nb"), Lifetime::WhileUsed).expect_err("rejected");
    assert!(matches!(error, EmbeddedError::Path { .. }), "{error:?}");
}

#[test]
fn a_link_in_place_of_the_lock_is_named_and_not_followed() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("kills");
    add_row(&open(&dir));
    let lock = dir.join("aegis-kills.lock");
    fs::remove_file(&lock).expect("a lock");
    std::os::unix::fs::symlink("../precious", &lock).expect("a link");
    let error = Embedded::open(&dir, Lifetime::WhileUsed).expect_err("rejected");
    assert!(matches!(&error, EmbeddedError::Planted { path } if *path == lock), "{error:?}");
    assert!(!scratch.path().join("precious").exists());
}

#[test]
fn an_error_for_data_of_another_version_names_both() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("old");
    drop(open(&dir));
    fs::write(dir.join("data/PG_VERSION"), "11\n").expect("a version");
    let error = Embedded::open(&dir, Lifetime::WhileUsed).expect_err("rejected");
    assert!(matches!(&error, EmbeddedError::Version { data, .. } if data == "11"), "{error:?}");
    assert!(error.to_string().contains("PostgreSQL 11"), "{error}");
}

#[test]
fn a_failed_start_shows_the_server_log() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("broken");
    drop(open(&dir));
    let conf = dir.join("data/postgresql.conf");
    let text = fs::read_to_string(&conf).expect("settings");
    fs::write(&conf, format!("{text}\nno_such_setting = on\n")).expect("settings");
    let error = Embedded::open(&dir, Lifetime::WhileUsed).expect_err("rejected").to_string();
    for part in ["pg_ctl failed", "no_such_setting", "log/server.log"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    fs::write(&conf, text).expect("settings");
    assert_eq!(add_row(&open(&dir)), 1, "it starts after the correction");
}

#[test]
fn an_inaccessible_parent_directory_is_named() {
    let scratch = Scratch::new();
    let barred = scratch.path().join("barred");
    fs::create_dir(&barred).expect("a directory");
    let bar = |mode| fs::set_permissions(&barred, fs::Permissions::from_mode(mode)).expect("its mode");
    bar(0o600);
    let error = Embedded::open(&barred.join("dir"), Lifetime::WhileUsed).expect_err("rejected");
    bar(0o700);
    // The system itself denies an ordinary user its own directory.
    if nix::unistd::geteuid().is_root() {
        assert!(matches!(&error, EmbeddedError::Blocked { blocker, .. } if *blocker == barred), "{error:?}");
    } else {
        assert!(matches!(&error, EmbeddedError::Io { .. }), "{error:?}");
    }
    assert!(error.to_string().contains(&*barred.to_string_lossy()), "{error}");
}

/// Neither the environment of this process nor root's privileges.
#[test]
fn a_directory_that_cannot_be_created_is_named() {
    let error = Embedded::open(Path::new("/proc/kills"), Lifetime::WhileUsed).expect_err("rejected");
    assert!(error.to_string().starts_with("could not create the directory /proc/kills"), "{error}");
}

#[test]
fn the_programs_inherit_no_secret_and_no_setting() {
    const EXPECTED: [&str; 7] =
        ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ", "LC_ALL", "HOME"];
    let account = Account::for_paths(&[]).expect("an account");
    let output = |program: &str, args: &[&str]| {
        let ended = account.command(Path::new(program)).args(args).output_in_time().expect(program);
        String::from_utf8(ended.stdout).expect("UTF-8")
    };
    let is_other = |name: &OsStr| EXPECTED.iter().all(|expected| name != *expected);
    assert!(std::env::vars_os().any(|(name, _)| is_other(&name)), "there is nothing to inherit");
    let environment = output("/usr/bin/env", &[]);
    for line in environment.lines() {
        let (name, _) = line.split_once('=').expect("NAME=value");
        assert!(EXPECTED.contains(&name), "{line}");
    }
    assert!(environment.contains("LC_ALL=C\n") && environment.contains("HOME=/\n"), "{environment}");
    assert_ne!(output("/usr/bin/id", &["-u"]), "0\n");
}
