//! Standard output, whose reader can close it at any time.

use crate::visible::visible;
use anyhow::Context as _;
use std::io::{self, Write as _};

/// Writes to standard output. Returns false if its reader has closed it (`| head`), which is not an error.
pub(crate) fn write_output(text: &str) -> anyhow::Result<bool> {
    // Flush the log first, so that both appear in order on a terminal.
    log::logger().flush();
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        written => Ok(written.is_ok()),
    }
}

/// Writes a text for users, with control characters escaped.
pub(crate) fn write_text(text: &str) -> anyhow::Result<bool> {
    write_output(&visible(text))
}
