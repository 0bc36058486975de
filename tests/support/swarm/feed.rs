//! Feeds pipes to a load: standard input, and FIFOs, as slowly as the case says.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::O_NONBLOCK;

/// The most pieces that a pipe is fed in.
const PIECES: usize = 8;
/// How often a FIFO is tried that nobody has opened yet.
const OPEN_INTERVAL: Duration = Duration::from_millis(5);

/// Writes all, unless the reader leaves.
pub(super) fn pipe(mut pipe: impl Write, bytes: &[u8], pause: Duration) {
    for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
        thread::sleep(pause);
        if pipe.write_all(piece).and_then(|()| pipe.flush()).is_err() {
            return;
        }
    }
}

/// Writes all to a FIFO once the load has opened it; gives up when the load has ended before.
pub(super) fn fifo(path: &Path, bytes: &[u8], pause: Duration, has_ended: &AtomicBool) {
    while !has_ended.load(Ordering::Relaxed) {
        // Without a reader this fails, where a plain open would wait.
        if let Ok(file) = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path) {
            return pipe(blocking(file), bytes, pause);
        }
        thread::sleep(OPEN_INTERVAL);
    }
}

fn blocking(file: File) -> File {
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).expect("a pipe");
    file
}
