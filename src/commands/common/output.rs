//! Standard output, whose reader may leave at any time.

use crate::visible::visible;
use anyhow::Context as _;
use std::io::{self, Write as _};

/// Writes to standard output, and says whether someone still reads it. A reader that has gone (`| head`) is no error.
pub(crate) fn write_output(text: &str) -> anyhow::Result<bool> {
    // On a terminal both appear in their order.
    log::logger().flush();
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output can't be written")
        }
        written => Ok(written.is_ok()),
    }
}

/// Writes text for people, in which names and messages of others may do nothing to a terminal.
pub(crate) fn write_text(text: &str) -> anyhow::Result<bool> {
    write_output(&visible(text))
}
