//! Formats an error with all its causes, and its hint.
//!
//! A text of an error may end with `\nhint: ` and a remedy. Of a chain, the first hint counts, and it comes last.

use postgres::error::DbError;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io;

/// The text of a connection that ended without an error of the server.
pub(crate) const CLOSED: &str = "the server closed the connection";

/// What separates the hint in the form of one line.
const HINT: &str = "; hint: ";

/// Longer texts of the server are truncated: a trigger can raise megabytes.
pub(crate) const SERVER_TEXT_BYTES_MAX: usize = 4 << 10;

/// An error and its causes in one line, then `; hint: ` and the hint if there is one.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut hint) = (String::new(), None);
    for cause in std::iter::successors(Some(error), |&cause| next_cause(cause)) {
        let Some((own, own_hint)) = own_text(cause) else { continue };
        hint = hint.or(own_hint);
        // Some libraries repeat the cause in their own text.
        if text.is_empty() {
            text = own;
        } else if !text.ends_with(&own) {
            let _ = write!(text, ": {own}");
        }
    }
    if let Some(hint) = hint {
        let _ = write!(text, "{HINT}{hint}");
    }
    // Texts of other programs can have several lines.
    text.trim_end().replace('\n', "; ")
}

/// A text of [`in_full`] with its hint in a line of its own, which starts with `indent`.
pub(crate) fn in_lines(text: &str, indent: &str) -> String {
    match split(text) {
        (what, Some(hint)) => format!("{what}\n{indent}hint: {hint}"),
        (what, None) => what.to_owned(),
    }
}

/// A text of [`in_full`] with a note before its hint.
pub(crate) fn with_note(text: &str, note: &str) -> String {
    match split(text) {
        (what, Some(hint)) => format!("{what}{note}{HINT}{hint}"),
        (what, None) => format!("{what}{note}"),
    }
}

/// A text of [`in_full`] without its hint.
pub(crate) fn without_hint(text: &str) -> &str {
    split(text).0
}

fn split(text: &str) -> (&str, Option<&str>) {
    let end = [HINT, "\nhint: "].into_iter().filter_map(|start| Some((text.find(start)?, start.len()))).min();
    match end {
        Some((end, length)) => (&text[..end], Some(&text[end + length..])),
        None => (text, None),
    }
}

/// The text of an error without its causes, and its hint. None if the cause has the complete text. The text is empty if the
/// error only adds a hint. A server error includes its SQLSTATE, and not its severity, which its outcome shows.
pub(crate) fn own_text(error: &(dyn Error + 'static)) -> Option<(String, Option<String>)> {
    if let Some(error) = error.downcast_ref::<postgres::Error>() {
        if is_closed_by_server(error) {
            return Some((CLOSED.to_owned(), None));
        }
        if error.as_db_error().is_some() || cause_of::<io::Error>(error).is_some() {
            return None;
        }
    }
    if let Some(error) = error.downcast_ref::<DbError>() {
        let shown = |text| truncated(text, SERVER_TEXT_BYTES_MAX);
        let detail = error.detail().map(|detail| format!(": {}", shown(detail))).unwrap_or_default();
        let text = format!("{}{detail} (SQLSTATE {})", server_message(error), error.code().code());
        return Some((text, error.hint().map(|hint| shown(hint).into_owned())));
    }
    // Libraries put errors of the system into their own.
    let text = error.to_string();
    let (what, hint) = split(without_number(&text));
    Some((what.to_owned(), hint.map(str::to_owned)))
}

/// The cause that follows in the text. None if the text of this one is complete.
pub(crate) fn next_cause<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    if cause.downcast_ref().is_some_and(is_closed_by_server) { None } else { cause.source() }
}

/// Whether the server ended the session without an error. The system and the client library have several texts for it.
fn is_closed_by_server(error: &postgres::Error) -> bool {
    error.is_closed() || cause_of::<io::Error>(error).is_some_and(is_end)
}

/// Whether the other side of a connection has closed it.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
}

/// An error of a connection to the server, with the same text for each form of its end.
pub(crate) fn of_connection(error: io::Error) -> io::Error {
    if is_end(&error) { io::Error::new(error.kind(), CLOSED) } else { error }
}

/// A text of at most `bytes_max` bytes, followed by `…` if it was longer.
pub(crate) fn truncated(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(bytes_max)]))
}

/// The message of a server error, truncated.
pub(crate) fn server_message(error: &DbError) -> Cow<'_, str> {
    truncated(error.message(), SERVER_TEXT_BYTES_MAX)
}

/// The message of the system without its number.
pub(crate) fn system_text(error: &io::Error) -> String {
    without_number(&error.to_string()).to_owned()
}

/// A text without the number of an error of the system at its end.
fn without_number(text: &str) -> &str {
    match text.rsplit_once(" (os error ") {
        Some((what, number)) if number.trim_end_matches(')').bytes().all(|byte| byte.is_ascii_digit()) => {
            what
        }
        _ => text,
    }
}

/// The nearest cause of this type.
pub(crate) fn cause_of<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    std::iter::successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write '{0}'\nhint: choose another path")]
    struct Unwritable(&'static str, #[source] io::Error);

    #[test]
    fn several_lines_become_one() {
        let error = io::Error::other("ERROR: no room\nDETAIL: 3 of 3 are taken\n");
        assert_eq!(in_full(&error), "ERROR: no room; DETAIL: 3 of 3 are taken");
    }

    #[test]
    fn long_texts_are_truncated() {
        for (text, bytes_max, expected) in [("äb", 3, "äb"), ("äbc", 3, "äb…"), ("bä", 2, "b…")] {
            assert_eq!(truncated(text, bytes_max), expected);
        }
    }

    #[test]
    fn the_hint_follows_the_causes() {
        let error = Unwritable("a", io::Error::from_raw_os_error(2));
        let text = in_full(&error);
        assert_eq!(text, "cannot write 'a': No such file or directory; hint: choose another path");
        assert_eq!(
            in_lines(&text, "  "),
            "cannot write 'a': No such file or directory\n  hint: choose another path"
        );
        assert_eq!(without_hint(&text), "cannot write 'a': No such file or directory");
        let outer = anyhow::Error::from(error).context("loading failed\nhint: this one counts");
        let text = "loading failed: cannot write 'a': No such file or directory; hint: this one counts";
        assert_eq!(in_full(outer.as_ref()), text);
        assert_eq!(in_lines("no hint", "  "), "no hint");
    }
}
