//! Process limits of the system: a clear error, no panic, no signal.

use std::fs;

use crate::support::cluster::Cluster;
use crate::support::dumps::generated;
use crate::support::not_tried;
use crate::support::program::{Program, Workplace};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aegis-kills");

/// A load under a limit of the shell's `ulimit`.
fn under(work: &Workplace, limit: &str, args: &str) -> Program {
    let script = format!("ulimit {limit}; exec \"$0\" load {args}");
    work.other_program("sh", &["-c", &script, PROGRAM])
}

#[test]
fn a_file_size_limit_is_an_error() {
    let work = Workplace::new();
    work.write("dump", "no event\n".repeat(100_000));
    // In blocks of 512 or 1,024 bytes, depending on the shell.
    let ended = under(&work, "-f 64", "--dry-run --max-rejects 100% --rejects refused dump").run();
    let ended = ended.expect(1);
    for words in ["the reject file", "File too large", "raise the limit of file sizes with 'ulimit -f'"] {
        assert!(ended.stdout.contains(words), "{words:?} is missing in: {}", ended.stdout);
    }
    let size = fs::metadata(work.path().join("refused")).expect("a file").len();
    assert!(size <= 64 << 10, "{size}");
}

#[test]
fn an_open_file_limit_is_an_error_without_a_panic() {
    let database = Cluster::shared().database("files");
    for files in [8, 12, 16, 20, 24, 28, 32] {
        let work = Workplace::new();
        work.write("dump", generated(50, 1, 0.0));
        let program = under(&work, &format!("-n {files}"), "dump").env("DATABASE_URL", &database.url());
        let ended = program.env("DATABASE_CONNECTION_TIMEOUT", "2s").env("DATABASE_AWAY_TIMEOUT", "2s").run();
        assert!([0, 1, 127].contains(&ended.code), "{files}: {} {}", ended.code, ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{files}: {}", ended.stderr);
    }
}

#[test]
fn a_thread_limit_is_an_error_without_a_panic() {
    if !nix::unistd::geteuid().is_root() {
        return not_tried("a limit of processes", "it counts all of this user's");
    }
    let database = Cluster::shared().database("threads");
    for threads in [1, 2, 4, 8, 12] {
        let work = Workplace::new();
        let dump = work.path().join("dump");
        fs::write(&dump, generated(50, 1, 0.0)).expect("a file");
        // Root has no such limit. A user without other processes has.
        let script = format!(
            "ulimit -u {threads}; exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$0\" load --rejects /dev/null \"$1\""
        );
        let copy = std::env::temp_dir().join(format!("aegis-kills-{}", std::process::id()));
        fs::copy(PROGRAM, &copy).expect("a copy that all may run");
        let program = work.other_program("sh", &["-c", &script, copy.to_str().expect("UTF-8"), "-"]);
        let program = program.env("DATABASE_URL", &database.tcp_url()).stdin(generated(50, 1, 0.0));
        let ended = program.run();
        fs::remove_file(&copy).expect("the copy");
        assert!([0, 1, 126, 127].contains(&ended.code), "{threads}: {} {}", ended.code, ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{threads}: {}", ended.stderr);
        let said = ended.stdout + &ended.stderr;
        let is_advised = said.contains("'ulimit -u'") && !said.contains("os error");
        assert!(!said.contains("cannot start a thread") || is_advised, "{threads}: {said}");
    }
}
