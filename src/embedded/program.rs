//! Runs a server program to completion and keeps its output.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::embedded::directory::{Directory, StartLock, own_options};
use crate::embedded::error::{At, EmbeddedError};
use crate::embedded::process::wait_at_most;

/// Time limit of a program. A start has its own limit of 10 minutes.
const RUN_LIMIT: Duration = Duration::from_mins(15);
/// Number of log lines in an error.
const TAIL_LINES: usize = 10;
/// Number of bytes that are read from the end of a log.
const TAIL_BYTES_MAX: u64 = 8 * 1024;

/// Runs `command` with its output in the log `<program>.log`. If it fails, the error contains the last lines.
///
/// The output goes to a file, because a server that the program leaves running would keep a pipe open. The program's
/// standard input is the start lock. So the directory stays locked while the program runs, even if this process is
/// killed.
pub(crate) fn run(
    mut command: Command,
    program: &'static str,
    directory: &Directory,
    start: &StartLock,
) -> Result<(), EmbeddedError> {
    let (file, log) = directory.open_log(&format!("{program}.log"))?;
    command.stdin(start.as_stdin().at("share the lock of", directory.dir())?);
    command.stderr(file.try_clone().at("open", &log)?).stdout(file);
    let failed =
        |command: &Command, source| EmbeddedError::Spawn { program: command.get_program().into(), source };
    let mut child = command.spawn().map_err(|source| failed(&command, source))?;
    match wait_at_most(&mut child, RUN_LIMIT).map_err(|source| failed(&command, source))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(EmbeddedError::Failed { program, status, tail: tail(&log, 0), log }),
        None => Err(EmbeddedError::Endless { program, limit: RUN_LIMIT, tail: tail(&log, 0), log }),
    }
}

/// Returns the last lines of `log` after byte `from`, or nothing if it can't be read.
pub(crate) fn tail(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = own_options().read(true).open(log)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(len.saturating_sub(TAIL_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_tail_is_the_last_lines_from_an_offset_on() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let check = |text: &str, from: u64, expected: &str| {
            fs::write(&log, text).expect("the log");
            assert_eq!(tail(&log, from), expected, "{text:?} from {from}");
        };
        check("", 0, "");
        check("one\n\ntwo\n", 0, "one\ntwo");
        check("one\ntwo\n", 4, "two");
        check("one\n", 100, "");
        let many: Vec<String> = (0..2000).map(|line| line.to_string()).collect();
        check(&many.join("\n"), 0, &many[1990..].join("\n"));
        assert_eq!(tail(Path::new("/missing/log"), 0), "");
    }
}
