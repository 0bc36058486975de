//! `--embedded` run by root in another user's directory: that user's entries lead root nowhere.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::{User, geteuid, mkfifo};

use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{log_case, not_tried};

/// A directory of the user `nobody` with the lock of a private PostgreSQL, and a file of root beside it.
struct Trap {
    work: Workplace,
    uid: u32,
}

impl Trap {
    fn new() -> Option<Self> {
        let nobody = User::from_name("nobody").ok().flatten().filter(|_| geteuid().is_root());
        let Some(nobody) = nobody else {
            not_tried(
                "traps for root in a directory of another user",
                "this is not root, or there is no nobody",
            );
            return None;
        };
        let trap = Self { work: Workplace::new(), uid: nobody.uid.as_raw() };
        fs::create_dir(trap.dir()).expect("a directory");
        trap.work.write("secret", "of root alone\n");
        fs::set_permissions(trap.secret(), fs::Permissions::from_mode(0o600)).expect("its mode");
        trap.work.write("db/aegis-kills.lock", "");
        trap.give_away();
        Some(trap)
    }

    fn dir(&self) -> PathBuf {
        self.work.path().join("db")
    }

    fn secret(&self) -> PathBuf {
        self.work.path().join("secret")
    }

    fn give_away(&self) {
        for path in [self.dir(), self.dir().join("aegis-kills.lock")] {
            chown(path, Some(self.uid), Some(self.uid)).expect("root may");
        }
    }

    /// Root starts a server there, and stops it if it runs. Asserts that root's file is unchanged.
    fn start_as_root(&self) -> String {
        let ended = self.work.program(&["embedded", "start", "db"]).run();
        if ended.code == 0 {
            self.work.program(&["embedded", "stop", "db"]).expect(0);
        }
        let found = fs::metadata(self.secret()).expect("the file");
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600), "{}", ended.stderr);
        assert_eq!(fs::read_to_string(self.secret()).expect("its text"), "of root alone\n");
        ended.stderr
    }
}

#[test]
fn planted_file_links_are_not_followed() {
    let Some(trap) = Trap::new() else { return };
    for name in [
        "aegis-kills.lock",
        "aegis-kills.lease",
        "kept",
        "log/initdb.log",
        "log/pg_ctl.log",
        "log/server.log",
    ] {
        for hard in [true, false] {
            log_case((name, hard));
            let path = trap.dir().join(name);
            if name.starts_with("log/") {
                let _ = fs::create_dir(trap.dir().join("log"));
                chown(trap.dir().join("log"), Some(trap.uid), Some(trap.uid)).expect("root may");
            }
            let _ = fs::remove_file(&path);
            if hard { fs::hard_link(trap.secret(), &path) } else { symlink(trap.secret(), &path) }
                .expect("a link");
            trap.start_as_root();
            let _ = fs::remove_dir_all(trap.dir());
            fs::create_dir(trap.dir()).expect("a directory");
            trap.work.write("db/aegis-kills.lock", "");
            trap.give_away();
        }
    }
}

#[test]
fn planted_directory_links_are_not_followed() {
    let Some(trap) = Trap::new() else { return };
    let theirs = trap.work.path().join("of-root");
    fs::create_dir(&theirs).expect("a directory");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).expect("its mode");
    for name in
        ["server.log", "initdb.log", "postgresql.conf", ".s.PGSQL.5432", "PG_VERSION", "postmaster.pid"]
    {
        fs::hard_link(trap.secret(), theirs.join(name)).expect("a file");
    }
    for name in ["log", "run", "data", "data.new"] {
        log_case(name);
        symlink(&theirs, trap.dir().join(name)).expect("a link");
        trap.start_as_root();
        assert_eq!(fs::metadata(&theirs).expect("a directory").uid(), 0, "{name}");
        assert_eq!(fs::read_dir(&theirs).expect("a directory").count(), 6, "{name}");
        let _ = fs::remove_dir_all(trap.dir());
        fs::create_dir(trap.dir()).expect("a directory");
        trap.work.write("db/aegis-kills.lock", "");
        trap.give_away();
    }
}

/// A directory of root where the account's own is expected.
#[test]
fn planted_directories_of_others_are_rejected() {
    let Some(trap) = Trap::new() else { return };
    let log = trap.dir().join("log");
    fs::create_dir(&log).expect("a directory");
    let said = trap.start_as_root();
    assert!(said.contains("belongs to another user"), "{said}");
    assert_eq!(fs::metadata(&log).expect("a directory").uid(), 0);
}

/// The hint gives no file of root away, and names nothing that has just failed.
#[test]
fn data_of_root_is_rejected_with_a_hint_that_helps() {
    let Some(trap) = Trap::new() else { return };
    let data = trap.dir().join("data");
    fs::hard_link(trap.secret(), &data).expect("a link");
    let said = trap.start_as_root();
    assert!(said.contains("has a second name") && !said.contains("chown"), "{said}");
    fs::remove_file(&data).expect("the link");
    fs::create_dir(&data).expect("a directory");
    let said = trap.start_as_root();
    assert!(
        said.contains("choose another directory, or give the directory to nobody with 'chown -R'"),
        "{said}"
    );
    assert_eq!(fs::metadata(&data).expect("a directory").uid(), 0);
}

#[test]
fn a_link_of_another_user_to_the_directory_is_rejected() {
    let Some(trap) = Trap::new() else { return };
    let work = Workplace::new();
    let link = work.path().join("link");
    symlink(trap.dir(), &link).expect("a link");
    std::os::unix::fs::lchown(&link, Some(trap.uid), None).expect("root may");
    work.program(&["embedded", "start", "link"]).expect(1).says(&["is a link"]);
}

/// A FIFO without a writer blocks nothing.
#[test]
fn planted_fifos_block_nothing() {
    let Some(trap) = Trap::new() else { return };
    let give = |path: &Path| chown(path, Some(trap.uid), Some(trap.uid)).expect("root may");
    let data = trap.dir().join("data");
    fs::create_dir(&data).expect("a directory");
    give(&data);
    for name in ["PG_VERSION", "postmaster.pid"] {
        let path = data.join(name);
        mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
        give(&path);
        for command in ["status", "stop", "start"] {
            log_case((name, command));
            // A command that hangs fails by its deadline.
            trap.work.program(&["embedded", command, "db"]).run();
        }
        // A start may have removed a stale entry.
        let _ = fs::remove_file(&path);
        fs::write(data.join("PG_VERSION"), "15\n").expect("a file");
        give(&data.join("PG_VERSION"));
    }
}

/// The server and its programs open these themselves. Anyone who can write to the directory can place them, so the test
/// needs no root.
#[test]
fn fifos_planted_for_the_server_block_nothing() {
    let work = Workplace::new();
    work.program(&["embedded", "start", "db"]).expect(0);
    work.program(&["embedded", "stop", "db"]).expect(0);
    let dir = work.path().join("db");
    for name in [
        "log/server.log",
        "log/pg_ctl.log",
        "data/postgresql.conf",
        "data/postgresql.auto.conf",
        "data/pg_hba.conf",
        "data/pg_ident.conf",
        "data/global/pg_control",
    ] {
        log_case(name);
        let (path, aside) = (dir.join(name), dir.join("aside"));
        let owner = fs::metadata(&path).expect("a file");
        fs::rename(&path, &aside).expect("a name");
        mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("it is ours, or root may");
        let ended = work.program(&["embedded", "start", "db"]).run();
        assert_ne!(ended.code, 0, "{}", ended.stderr);
        ended.says(&[name]);
        fs::rename(&aside, &path).expect("a name");
    }
    work.program(&["embedded", "start", "db"]).expect(0);
    work.program(&["embedded", "stop", "db"]).expect(0);
}

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let work = Workplace::new();
    let program = |dir: &str| work.program(&["embedded", "start", dir]);
    // A failing PostgreSQL tool, placed before the real ones on PATH.
    let bin = work.path().join("bin");
    fs::create_dir(&bin).expect("a directory");
    for (name, script) in [
        ("postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n"),
        ("pg_ctl", "#!/bin/sh\nexit 1\n"),
        ("initdb", "#!/bin/sh\necho no room >&2; exit 1\n"),
    ] {
        work.write(&format!("bin/{name}"), script);
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    program("a/b/c").env("PATH", &path).expect(4).says(&["initdb failed", "no room"]);
    // Its log stays.
    assert!(work.path().join("a/b/c/log/initdb.log").exists());
    if geteuid().is_root() {
        let barred = work.path().join("barred");
        fs::create_dir(&barred).expect("a directory");
        fs::set_permissions(&barred, fs::Permissions::from_mode(0o700)).expect("its mode");
        program("barred/x/y").expect(1).says(&["can't enter"]);
        assert_eq!(fs::read_dir(&barred).expect("a directory").count(), 0);
        // A user id without a name, as in a container.
        let open = work.path().join("open");
        fs::create_dir(&open).expect("a directory");
        chown(&open, Some(47_110), Some(47_110)).expect("root may");
        let setpriv =
            ["--reuid", "47110", "--regid", "47110", "--clear-groups", env!("CARGO_BIN_EXE_aegis-kills")];
        if Command::new("setpriv").arg("--version").output_in_time().is_ok() && entered_by_all() {
            let dir = open.join("db").display().to_string();
            let run = work.other_program("setpriv", &setpriv).args(&["embedded", "start", &dir]).run();
            assert_eq!(run.code, 1, "{}", run.stderr);
            run.says(&["user id 47110 has no entry in /etc/passwd"]);
            assert_eq!(fs::read_dir(&open).expect("a directory").count(), 0);
        }
    }
}

/// Whether every user can run the program under test.
fn entered_by_all() -> bool {
    Path::new(env!("CARGO_BIN_EXE_aegis-kills"))
        .ancestors()
        .skip(1)
        .all(|directory| fs::metadata(directory).is_ok_and(|found| found.mode() & 0o001 != 0))
}
