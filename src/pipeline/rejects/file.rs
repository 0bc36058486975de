//! The reject file: where lines go that were refused, each with its place and reason.
//!
//! Invariant: the file is made at the first reject, readable by its owner alone, and only ever appended to.
//!
//! Invariant: it does not grow out of proportion to the input, and nobody waits for its lock without an end.

use crate::database::store::SegmentHash;
use crate::input::segment::Segment;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::rejects::kinds::Reasons;
use crate::pipeline::rejects::place as reject_place;
use crate::pipeline::rejects::reject::Reject;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Serialize;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{self, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line of the file.
#[derive(Serialize)]
struct RejectRecord<'r> {
    source: &'r str,
    line: u64,
    byte_offset: u64,
    index: Option<usize>,
    reason: &'r str,
    field: Option<&'r str>,
    sqlstate: Option<&'r str>,
    raw: &'r str,
    #[serde(skip_serializing_if = "is_false")]
    raw_base64: bool,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The reject file can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the reject file {path:?} can't be {what}; another place can be chosen by --rejects")]
pub(crate) struct RejectFileError {
    path: PathBuf,
    what: &'static str,
    source: io::Error,
}

/// The reject file of a run.
#[derive(Debug)]
pub(crate) struct RejectFile {
    path: PathBuf,
    file: Mutex<Option<File>>,
    /// Bytes that this run has written.
    written: AtomicU64,
    /// Segments whose rejects are all written.
    whole: Mutex<Vec<SegmentHash>>,
}

impl RejectFile {
    /// The file at `path`, which is not made yet; an error if it could not be.
    pub(crate) fn new(path: PathBuf) -> Result<Self, RejectFileError> {
        match reject_place::check(&path) {
            Ok(()) => Ok(Self::unchecked(path)),
            Err(source) => Err(RejectFileError { path, what: "written", source }),
        }
    }

    /// The same for a path that nobody has chosen: that it could not be made is a warning, as there may be no rejects.
    pub(crate) fn by_default(path: PathBuf) -> Self {
        if let Err(error) = reject_place::check(&path) {
            log::warn!(
                "the working directory can't be written: {error}; a rejected event would end this load; --rejects names \
                 another place for rejected events"
            );
        }
        Self::unchecked(path)
    }

    fn unchecked(path: PathBuf) -> Self {
        Self { path, file: Mutex::new(None), written: AtomicU64::new(0), whole: Mutex::default() }
    }

    /// Where it is, once there are rejects.
    pub(crate) fn path_if_made(&self) -> Option<&Path> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.is_some().then_some(self.path.as_path())
    }

    /// Appends the rejects of a segment, in the order of its lines, counts them by reason, and returns how many: less than all if
    /// this run's would take more than `bytes_max`. Another program's lock on the file is waited for until
    /// `aborted` is disconnected, and at most [`LOCK_MAX`].
    pub(crate) fn write(
        &self,
        batch: &Prepared,
        reasons: &Reasons,
        bytes_max: u64,
        aborted: &Receiver<()>,
    ) -> Result<u64, RejectFileError> {
        if batch.rejected() == 0 {
            return Ok(0);
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let left = bytes_max.saturating_sub(self.written.load(Ordering::Relaxed));
        let result = match &mut *file {
            Some(file) => append_whole(file, batch, reasons, left, aborted),
            none => reject_place::open(&self.path)
                .and_then(|opened| append_whole(none.insert(opened), batch, reasons, left, aborted)),
        };
        let Appended { rejects, bytes } = result.map_err(|source| self.error("written", source))?;
        self.written.fetch_add(bytes, Ordering::Relaxed);
        if rejects == batch.rejected() {
            self.whole.lock().unwrap_or_else(PoisonError::into_inner).push(batch.batch.hash);
        }
        Ok(rejects)
    }

    /// The segments whose rejects are all written.
    pub(crate) fn take_whole(&self) -> Vec<SegmentHash> {
        std::mem::take(&mut self.whole.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its absolute path.
    pub(crate) fn absolute_path(&self) -> PathBuf {
        path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// Makes sure that what was written outlives the machine.
    pub(crate) fn sync(&self) -> Result<(), RejectFileError> {
        match &*self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => match file.sync_all() {
                // A device or a pipe keeps nothing that could be synced.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                synced => synced.map_err(|source| self.error("synced", source)),
            },
            None => Ok(()),
        }
    }

    fn error(&self, what: &'static str, source: io::Error) -> RejectFileError {
        RejectFileError { path: self.path.clone(), what, source }
    }
}

/// Appends all or nothing, so that a disk that fills up leaves no torn line for the next run to go on from. Two
/// loads that share a file wait for each other.
fn append_whole(
    file: &mut File,
    batch: &Prepared,
    reasons: &Reasons,
    bytes_max: u64,
    aborted: &Receiver<()>,
) -> io::Result<Appended> {
    let locked = lock(file, aborted, LOCK_MAX)?;
    let end = file.metadata()?.len();
    let result = end_torn_line(file, end).and_then(|()| append(file, batch, reasons, bytes_max));
    if result.is_err() && file.set_len(end).is_err() {
        log::warn!("the last line of the reject file may be torn");
    }
    if locked {
        file.unlock()?;
    }
    result
}

/// How long another program's lock on the file is waited for. Another load holds it for the time of a few writes.
const LOCK_MAX: Duration = Duration::from_secs(30);

/// Between two looks at a lock that another program holds.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Locks the file; false where its file system has no locks, and one load at a time is all that is safe. The wait is a poll,
/// as a blocking one could not be ended.
fn lock(file: &File, aborted: &Receiver<()>, time_max: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => return Ok(false),
        }
        let held = |how: &str| {
            io::Error::new(io::ErrorKind::TimedOut, format!("another program holds its lock{how}"))
        };
        if begun.elapsed() >= time_max {
            return Err(held(&format!(" for {} s", time_max.as_secs())));
        }
        if aborted.recv_timeout(LOCK_INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return Err(held(", and the time to finish is over"));
        }
    }
}

/// A machine that went down may have left half a line.
fn end_torn_line(file: &mut File, end: u64) -> io::Result<()> {
    let Some(last) = end.checked_sub(1) else { return Ok(()) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    if byte == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// What was appended.
struct Appended {
    rejects: u64,
    bytes: u64,
}

/// Appends rejects for as long as they take no more than `bytes_max` bytes.
fn append(file: &mut File, batch: &Prepared, reasons: &Reasons, bytes_max: u64) -> io::Result<Appended> {
    const WRITE_BYTES: usize = 1 << 20;
    let mut lines = Vec::new();
    let mut appended = Appended { rejects: 0, bytes: 0 };
    let mut is_full = false;
    let result = batch.each_reject(|reject| {
        let start = lines.len();
        serde_json::to_writer(&mut lines, &record(&batch.segment, reject, &mut String::new()))?;
        lines.push(b'\n');
        let bytes = (lines.len() - start) as u64;
        if appended.bytes + bytes > bytes_max {
            lines.truncate(start);
            is_full = true;
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        appended.rejects += 1;
        appended.bytes += bytes;
        if lines.len() >= WRITE_BYTES {
            file.write_all(&lines)?;
            lines.clear();
        }
        reasons.add(&batch.segment.source, reject);
        io::Result::Ok(())
    });
    if !is_full {
        result?;
    }
    file.write_all(&lines)?;
    Ok(appended)
}

fn record<'r>(segment: &'r Segment, reject: &'r Reject, base64: &'r mut String) -> RejectRecord<'r> {
    let bytes = &segment.bytes[reject.text.clone()];
    let text = reject.raw.as_deref().map_or_else(|| str::from_utf8(bytes), Ok);
    let (raw, raw_base64) = if let Ok(text) = text {
        (text, false)
    } else {
        STANDARD.encode_string(bytes, base64);
        (base64.as_str(), true)
    };
    RejectRecord {
        source: &segment.source,
        line: reject.line,
        byte_offset: segment.byte_offset + reject.text.start as u64,
        index: reject.index,
        reason: &reject.reason,
        field: reject.field.as_deref(),
        sqlstate: reject.sqlstate.as_deref(),
        raw,
        raw_base64,
        truncated: reject.truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{bounded, never};

    #[test]
    fn a_lock_of_another_program_is_not_waited_for_without_an_end() {
        let other = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(other.path()).unwrap();
        other.as_file().lock_shared().unwrap();
        let error = lock(&file, &never(), Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "another program holds its lock for 0 s");
        let (alive, aborted) = bounded(0);
        drop(alive);
        let error = lock(&file, &aborted, Duration::MAX).unwrap_err();
        assert_eq!(error.to_string(), "another program holds its lock, and the time to finish is over");
        other.as_file().unlock().unwrap();
        assert!(lock(&file, &aborted, Duration::ZERO).unwrap());
    }
}
