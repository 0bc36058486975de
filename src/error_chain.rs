//! Formats an error with all its causes.

use crate::conceal::concealed;
use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes in one line, without secrets (see [`concealed`]).
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = own_text(error).unwrap_or_default();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some libraries repeat the cause in their own text.
        match own_text(cause) {
            Some(cause_text) if text.is_empty() => text = cause_text,
            Some(cause_text) if !text.ends_with(&cause_text) => {
                let _ = write!(text, ": {cause_text}");
            }
            _ => {}
        }
        source = cause.source();
    }
    // A server error has its details in further lines.
    concealed(&text.trim_end().replace('\n', "; "))
}

/// The text of an error without its causes. A server error includes its SQLSTATE, once.
fn own_text(error: &(dyn Error + 'static)) -> Option<String> {
    if error.downcast_ref::<postgres::Error>().is_some_and(|error| error.as_db_error().is_some()) {
        // The cause has the complete text.
        return None;
    }
    Some(match error.downcast_ref::<postgres::error::DbError>() {
        Some(error) => format!("{error} (SQLSTATE {})", error.code().code()),
        None => error.to_string(),
    })
}

/// The nearest cause of this type.
pub(crate) fn cause_of<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    std::iter::successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_become_one() {
        let error = std::io::Error::other("ERROR: no room\nDETAIL: 3 of 3 are taken\n");
        assert_eq!(in_full(&error), "ERROR: no room; DETAIL: 3 of 3 are taken");
    }
}
