//! The reject file: where lines go that were refused, each with its place and reason.
//!
//! Invariant: the file is made at the first reject, readable by its owner alone, and only ever appended to.

use super::prepare::Prepared;
use super::reasons::Reasons;
use super::reject_place;
use crate::input::Segment;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A refused line or element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The number of its line in the source, from 1.
    pub line: u64,
    /// Its place in the line's array, from 0.
    pub index: Option<usize>,
    /// Where its text stands in the segment.
    pub text: Range<usize>,
    /// Its text, where it was in a string of the segment.
    pub raw: Option<String>,
    /// Why it was refused.
    pub reason: String,
    /// The field at fault, as a path below the event.
    pub field: Option<String>,
    /// What the database called it.
    pub sqlstate: Option<String>,
    /// Whether the text is only the head of the line.
    pub truncated: bool,
}

/// One line of the file.
#[derive(Serialize)]
struct Record<'r> {
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
pub struct RejectFileError {
    path: PathBuf,
    what: &'static str,
    source: io::Error,
}

/// The reject file of a run.
#[derive(Debug)]
pub struct RejectFile {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl RejectFile {
    /// The file at `path`, which is not made yet; an error if it could not be.
    pub fn new(path: PathBuf) -> Result<Self, RejectFileError> {
        match reject_place::check(&path) {
            Ok(()) => Ok(Self { path, file: Mutex::new(None) }),
            Err(source) => Err(RejectFileError { path, what: "written", source }),
        }
    }

    /// Where it is, once there are rejects.
    pub fn path_if_made(&self) -> Option<&Path> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.is_some().then_some(self.path.as_path())
    }

    /// Appends the rejects of a segment, in the order of its lines, and counts them by reason.
    pub(super) fn write(&self, batch: &Prepared, reasons: &Reasons) -> Result<(), RejectFileError> {
        if batch.rejected() == 0 {
            return Ok(());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match &mut *file {
            Some(file) => append_whole(file, batch, reasons),
            none => reject_place::open(&self.path)
                .and_then(|opened| append_whole(none.insert(opened), batch, reasons)),
        };
        result.map_err(|source| self.error("written", source))
    }

    /// Makes sure that what was written outlives the machine.
    pub(super) fn sync(&self) -> Result<(), RejectFileError> {
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
fn append_whole(file: &mut File, batch: &Prepared, reasons: &Reasons) -> io::Result<()> {
    // Some file systems have no locks; then one load at a time is all that is safe.
    let locked = file.lock().is_ok();
    let end = file.metadata()?.len();
    let mut result = end_torn_line(file, end).and_then(|()| append(file, batch, reasons));
    if result.is_err() && file.set_len(end).is_err() {
        log::warn!("the last line of the reject file may be torn");
    }
    if locked {
        result = file.unlock().and(result);
    }
    result
}

/// A machine that went down may have left half a line.
fn end_torn_line(file: &mut File, end: u64) -> io::Result<()> {
    let Some(last) = end.checked_sub(1) else { return Ok(()) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    if byte == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

fn append(file: &mut File, batch: &Prepared, reasons: &Reasons) -> io::Result<()> {
    const WRITE_BYTES: usize = 1 << 20;
    let mut lines = Vec::new();
    batch.each_reject(|reject| {
        reasons.add(&batch.segment.source, reject);
        serde_json::to_writer(&mut lines, &record(&batch.segment, reject, &mut String::new()))?;
        lines.push(b'\n');
        if lines.len() >= WRITE_BYTES {
            file.write_all(&lines)?;
            lines.clear();
        }
        io::Result::Ok(())
    })?;
    file.write_all(&lines)
}

fn record<'r>(segment: &'r Segment, reject: &'r Reject, base64: &'r mut String) -> Record<'r> {
    let bytes = &segment.bytes[reject.text.clone()];
    let text = reject.raw.as_deref().map_or_else(|| str::from_utf8(bytes), Ok);
    let (raw, raw_base64) = if let Ok(text) = text {
        (text, false)
    } else {
        STANDARD.encode_string(bytes, base64);
        (base64.as_str(), true)
    };
    Record {
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
