//! Feeds pipes to a load: standard input and FIFOs, as slowly as the case says.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::O_NONBLOCK;

/// The maximum number of pieces per pipe.
const PIECES: usize = 8;
/// The interval of attempts to open a FIFO without a reader.
const OPEN_INTERVAL: Duration = Duration::from_millis(5);

/// Writes everything, unless the reader closes the pipe.
pub(super) fn pipe(mut pipe: impl Write, bytes: &[u8], pause: Duration) {
    for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
        thread::sleep(pause);
        if pipe.write_all(piece).and_then(|()| pipe.flush()).is_err() {
            return;
        }
    }
}

/// Writes everything to a FIFO once the load has opened it. Stops if the load ends first.
pub(crate) fn fifo(path: &Path, bytes: &[u8], pause: Duration, has_ended: &AtomicBool) {
    while !has_ended.load(Ordering::Relaxed) {
        // Without a reader this fails, and a plain open would block.
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
