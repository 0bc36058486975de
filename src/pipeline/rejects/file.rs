//! The reject file: rejected values, each with its place and reason.
//!
//! Invariant: the file is created at the first reject, readable only by its owner, and only appended to.
//!
//! Invariant: its size is limited in proportion to the input, and the wait for its lock is bounded.

use crate::database::store::SegmentHash;
use crate::error_chain::system_text;
use crate::event::server::Server;
use crate::input::segment::Segment;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::rejects::kinds::Reasons;
use crate::pipeline::rejects::place as reject_place;
use crate::pipeline::rejects::reject::Reject;
use crate::sync::Mutex;
use crate::sync::channel::{Receiver, RecvTimeoutError};
use crate::visible::is_hidden;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{self, Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One line of the file.
#[derive(Serialize)]
struct RejectRecord<'r> {
    source: &'r str,
    line: u64,
    byte_offset: u64,
    index: Option<usize>,
    reason: Cow<'r, str>,
    field: Option<&'r str>,
    sqlstate: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battle: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'static str>,
    raw: &'r str,
    #[serde(skip_serializing_if = "is_false")]
    raw_base64: bool,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

/// Writes characters that a terminal would obey as escapes. The decoded values are the same.
struct VisibleJson;

impl Formatter for VisibleJson {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut start = 0;
        for (at, hidden) in fragment.char_indices().filter(|(_, letter)| is_hidden(*letter)) {
            writer.write_all(&fragment.as_bytes()[start..at])?;
            write!(writer, "\\u{:04x}", u32::from(hidden))?;
            start = at + hidden.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[start..])
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Debug, thiserror::Error)]
#[error("the reject file '{path}' cannot be {what}\nhint: {}", remedy(source), path = path.display())]
pub(crate) struct RejectFileError {
    path: PathBuf,
    what: &'static str,
    source: io::Error,
}

/// What helps against this error of the system.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::FileTooLarge => "raise the limit of file sizes with 'ulimit -f'",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space, or choose a path on another disk with --rejects"
        }
        io::ErrorKind::BrokenPipe => {
            "start the reader of the pipe before the load, or choose another path with --rejects"
        }
        _ => "choose another path with --rejects",
    }
}

#[derive(Debug)]
pub(crate) struct RejectFile {
    path: PathBuf,
    file: Mutex<Option<File>>,
    /// Bytes written by this run.
    written: AtomicU64,
    /// Segments whose rejects were all written.
    whole: Mutex<Vec<SegmentHash>>,
}

impl RejectFile {
    /// Prepares the file at `path` without creating it. Fails if it cannot be created.
    pub(crate) fn new(path: PathBuf) -> Result<Self, RejectFileError> {
        match reject_place::check(&path) {
            Ok(pipe) => Ok(Self { file: Mutex::new(pipe), ..Self::unchecked(path) }),
            Err(source) => Err(RejectFileError { path, what: "written", source }),
        }
    }

    /// The same for the default path. Only warns if the file cannot be created, because there may be no rejects.
    pub(crate) fn by_default(path: PathBuf) -> Self {
        if let Err(error) = reject_place::check(&path) {
            log::warn!(
                "the working directory is not writable: {}; a rejected event would end this load\nhint: choose another \
                 path for rejected events with --rejects",
                system_text(&error)
            );
        }
        Self::unchecked(path)
    }

    fn unchecked(path: PathBuf) -> Self {
        Self { path, file: Mutex::new(None), written: AtomicU64::new(0), whole: Mutex::default() }
    }

    /// The path as given. The file exists once there are rejects.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path once this run has written a reject. The file can exist without one: from an earlier run, or because
    /// the first write failed or exceeded the limit.
    pub(crate) fn path_if_written(&self) -> Option<&Path> {
        (self.written.load(Ordering::Relaxed) > 0).then_some(self.path.as_path())
    }

    /// Appends the rejects of a segment in the order of its lines, and counts them by reason. Returns the number written,
    /// which is less than all if this run would write more than `bytes_max`. Waits for another program's lock on the file
    /// until `aborted` is disconnected, and at most [`LOCK_MAX`].
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
        let append_to =
            |file: &mut File| append_whole(file, aborted, |file| append(file, batch, reasons, left, aborted));
        let result = match &mut *file {
            Some(file) => append_to(file),
            none => reject_place::open(&self.path).and_then(|opened| append_to(none.insert(opened))),
        };
        let Appended { rejects, bytes } = result.map_err(|source| self.error("written", source))?;
        self.written.fetch_add(bytes, Ordering::Relaxed);
        if rejects == batch.rejected() {
            self.whole.lock().unwrap_or_else(PoisonError::into_inner).push(batch.batch.hash);
        }
        Ok(rejects)
    }

    /// Takes the segments whose rejects were all written.
    pub(crate) fn take_whole(&self) -> Vec<SegmentHash> {
        std::mem::take(&mut self.whole.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn absolute_path(&self) -> PathBuf {
        path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// Syncs the file, so that the rejects survive a system crash. Its name was synced when it was opened.
    pub(crate) fn sync(&self) -> Result<(), RejectFileError> {
        match &*self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => match file.sync_all() {
                // A device or a pipe cannot be synced.
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

/// Lets `append` append all or nothing, so that a full disk leaves no partial line. Two loads that share a file wait for
/// each other.
fn append_whole(
    file: &mut File,
    aborted: &Receiver<()>,
    append: impl FnOnce(&mut File) -> io::Result<Appended>,
) -> io::Result<Appended> {
    let locked = lock(file, aborted, LOCK_MAX)?;
    let end = file.metadata()?.len();
    let result = end_partial_line(file, end).and_then(|()| append(file));
    if result.is_err() && file.set_len(end).is_err() {
        log::warn!("the last line of the reject file may be incomplete");
    }
    if locked {
        file.unlock()?;
    }
    result
}

/// The maximum wait for another program's lock on the file. Another load holds it only for a few writes.
const LOCK_MAX: Duration = Duration::from_secs(30);

/// The interval between two attempts to lock the file.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Locks the file. Returns false if the file system has no locks; then only one load at a time may write. Polls, because
/// a blocking wait could not be interrupted.
fn lock(file: &File, aborted: &Receiver<()>, time_max: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => return Ok(false),
        }
        let held = |how: &str| {
            io::Error::new(io::ErrorKind::TimedOut, format!("another program has locked it{how}"))
        };
        if begun.elapsed() >= time_max {
            return Err(held(&format!(" for {} s", time_max.as_secs())));
        }
        if aborted.recv_timeout(LOCK_INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return Err(held("; stopped waiting because of a stop request"));
        }
    }
}

/// Ends a partial last line, which a system crash may have left.
fn end_partial_line(file: &mut File, end: u64) -> io::Result<()> {
    let Some(last) = end.checked_sub(1) else { return Ok(()) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    if byte == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

struct Appended {
    rejects: u64,
    bytes: u64,
}

/// The interval between two attempts to write to a full pipe.
const PIPE_INTERVAL: Duration = Duration::from_millis(1);

/// Writes all bytes. Polls a full pipe until `aborted` is disconnected, because a blocking wait for its reader could not be
/// interrupted.
fn write_all(file: &mut File, mut bytes: &[u8], aborted: &Receiver<()>) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if aborted.recv_timeout(PIPE_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    let message = "no program reads the full pipe; stopped waiting because of a stop request";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends rejects up to a total of `bytes_max` bytes.
fn append(
    file: &mut File,
    batch: &Prepared,
    reasons: &Reasons,
    bytes_max: u64,
    aborted: &Receiver<()>,
) -> io::Result<Appended> {
    const WRITE_BYTES: usize = 1 << 20;
    let mut lines = Vec::new();
    let mut appended = Appended { rejects: 0, bytes: 0 };
    let mut is_full = false;
    let result = batch.each_reject(|reject| {
        let start = lines.len();
        let (decoded, mut base64) = (batch.unheld_text(reject), String::new());
        let record = RejectRecord {
            battle: batch.battle_of_line(reject),
            ..record(&batch.segment, reject, decoded.as_deref(), &mut base64)
        };
        record.serialize(&mut Serializer::with_formatter(&mut lines, VisibleJson))?;
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
            write_all(file, &lines, aborted)?;
            lines.clear();
        }
        reasons.add(&batch.segment.source, reject);
        io::Result::Ok(())
    });
    if !is_full {
        result?;
    }
    write_all(file, &lines, aborted)?;
    Ok(appended)
}

/// `decoded` is the text of the reject if it is not held.
fn record<'r>(
    segment: &'r Segment,
    reject: &'r Reject,
    decoded: Option<&'r str>,
    base64: &'r mut String,
) -> RejectRecord<'r> {
    let bytes = &segment.bytes[reject.text.clone()];
    let text = reject.raw.as_deref().or(decoded).map_or_else(|| str::from_utf8(bytes), Ok);
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
        reason: reject.cause.reason(),
        field: reject.cause.field(),
        sqlstate: reject.cause.sqlstate(),
        battle: None,
        server: reject.enclosing_server.map(Server::name),
        raw,
        raw_base64,
        truncated: reject.truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::channel::{bounded, never};

    #[test]
    fn waiting_for_a_lock_of_another_program_is_bounded() {
        let other = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(other.path()).unwrap();
        other.as_file().lock_shared().unwrap();
        let error = lock(&file, &never(), Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "another program has locked it for 0 s");
        let (abort, aborted) = bounded(0);
        drop(abort);
        let error = lock(&file, &aborted, Duration::MAX).unwrap_err();
        assert_eq!(
            error.to_string(),
            "another program has locked it; stopped waiting because of a stop request"
        );
        other.as_file().unlock().unwrap();
        assert!(lock(&file, &aborted, Duration::ZERO).unwrap());
    }
}
