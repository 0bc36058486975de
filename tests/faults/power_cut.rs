//! A power failure: what a load has reported is on the disk when the system's cache is lost. The disk is the image of an
//! ext4 behind a loop device. A copy of the image, taken at the moment of the failure, has only what was synced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aegis_kills::internals::{Embedded, Lifetime, Status, status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};

use crate::support::dumps::{generated, lines};
use crate::support::oracle::{self, Nul, assert_same, read_tables};
use crate::support::process::Supervised as _;
use crate::support::program::{Workplace, read_rejects};
use crate::support::{eventually, is_alive, not_tried};

/// A file system in a file. Its cache reaches the file by a sync only: the journal is committed every 15 min, and the
/// system writes nothing that is younger than 30 s.
struct Disk(PathBuf);

impl Disk {
    /// Creates and mounts a new file system. None if this user or machine may not.
    fn create(image: &Path, directory: PathBuf) -> Option<Self> {
        fs::File::create(image).and_then(|file| file.set_len(512 << 20)).expect("an image");
        let options = ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        let made = Command::new("mkfs.ext4").args(options).arg(image).output_in_time().ok()?;
        if !made.status.success() {
            return None;
        }
        Self::mount(image, directory)
    }

    fn mount(image: &Path, directory: PathBuf) -> Option<Self> {
        fs::create_dir(&directory).expect("a directory");
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-o", "loop,commit=900"]).arg(image).arg(&directory).output_in_time().ok()?;
        mounted.status.success().then_some(Self(directory))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).output_in_time();
        if !std::thread::panicking() {
            assert!(unmounted.expect("umount").status.success());
        }
    }
}

#[test]
fn what_a_load_has_reported_survives_a_power_failure() {
    let work = Workplace::new();
    let image = work.path().join("image");
    let Some(disk) = Disk::create(&image, work.path().join("disk")) else {
        return not_tried("a power failure", "this user cannot mount a file system from a file");
    };
    let events = generated(40, 58, 0.0);
    let text: Vec<u8> =
        lines(&events).into_iter().flat_map(|event| [event, b"\nno event\n"].concat()).collect();
    work.write("dump.ndjson", &text);
    work.program(&["embedded", "start", "disk/kills"]).expect(0);
    let args = ["load", "--json", "--embedded", "disk/kills", "--rejects", "disk/rejects", "dump.ndjson"];
    let load = work.program(&args).args(&["--metrics-file", "disk/metrics.prom"]).segment_bytes(32 << 10);
    let reported = load.expect(3).summary();
    assert!(reported.count("segments") > 3, "{reported:?}");

    // The failure. What nobody has synced is lost.
    fs::write(disk.path("unsynced"), "text").expect("a file");
    let Status::Running { pid, .. } = status(&disk.path("kills")).expect("a status") else {
        panic!("no server");
    };
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("to kill the server");
    let copy = work.path().join("copy");
    let copied = Command::new("cp").arg("--sparse=always").arg(&image).arg(&copy).output_in_time();
    assert!(copied.expect("cp").status.success());
    eventually(Duration::from_secs(10), "the server is gone", || !is_alive(pid));
    drop(disk);

    let disk = Disk::mount(&copy, work.path().join("after")).expect("the copy");
    assert_ne!(fs::read(disk.path("unsynced")).unwrap_or_default(), b"text");
    let rejects = read_rejects(&disk.path("rejects"));
    assert_eq!(rejects.len() as u64, reported.count("rejected"));
    let metrics = fs::read_to_string(disk.path("metrics.prom")).expect("metrics");
    assert!(metrics.contains(&format!(" {}\n", reported.count("rejected"))), "{metrics}");
    let expected = oracle::expect(&text, Nul::Reject);
    {
        let server = Embedded::open(&disk.path("kills"), Lifetime::WhileUsed).expect("the server");
        let mut client = Client::connect(server.url(), NoTls).expect("a session");
        assert_same(&expected.tables, &read_tables(&mut client, "public", "americas"));
    }
    let args = ["load", "--json", "--embedded", "after/kills", "dump.ndjson"];
    let again = work.program(&args).segment_bytes(32 << 10).expect(0).summary();
    again.check(&[("already_loaded", 40), ("rejected_before", 40), ("inserted", 0)]);
}
