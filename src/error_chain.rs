//! Formats an error with all its causes, and removes passwords that users have put in the wrong place.

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

/// Removes the login of each URL, with or without a scheme, and the value of each `password=`. A URL can appear in a text
/// because it was typed in place of a file name, or because a server sent it back.
pub(crate) fn concealed(text: &str) -> String {
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, '\'' | '"');
    let mut shown = String::with_capacity(text.len());
    let mut remaining = text;
    while let Some(at) = remaining.find("://") {
        let (before, after) = remaining.split_at(at + "://".len());
        shown.push_str(before);
        remaining = after;
        let word = &after[..after.find(ends).unwrap_or(after.len())];
        // Hints contain the placeholder `user:password`, which is no secret.
        if let Some(login) = word.rfind('@').filter(|login| word[..*login] != *"user:password") {
            shown.push('…');
            remaining = &after[login..];
        }
    }
    shown.push_str(remaining);
    without_values(&without_logins(&shown), "password=")
}

/// Removes the password of each URL without a scheme, such as `user:password@host/database`.
fn without_logins(text: &str) -> String {
    let is_end = |letter: char| letter.is_whitespace() || "'\"()<>".contains(letter);
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        match (word.find(':'), word.rfind('@')) {
            // Words with a scheme are already concealed.
            (Some(user), Some(login)) if user < login && !word.contains("://") => {
                shown.push_str(&word[..=user]);
                shown.push('…');
                shown.push_str(&word[login..]);
            }
            _ => shown.push_str(word),
        }
    }
    shown
}

fn without_values(text: &str, name: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut remaining = text;
    while let Some(at) = remaining.find(name) {
        let (before, value) = remaining.split_at(at + name.len());
        shown.push_str(before);
        let quoted = value.strip_prefix('\'').and_then(|inner| inner.find('\'').map(|end| end + 2));
        let bare = || value.find(|letter: char| letter.is_whitespace() || "&'\"".contains(letter));
        let end = quoted.or_else(bare).unwrap_or(value.len());
        shown.push_str(if end == 0 { "" } else { "…" });
        remaining = &value[end..];
    }
    shown.push_str(remaining);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_become_one() {
        let error = std::io::Error::other("ERROR: no room\nDETAIL: 3 of 3 are taken\n");
        assert_eq!(in_full(&error), "ERROR: no room; DETAIL: 3 of 3 are taken");
    }

    #[test]
    fn passwords_are_concealed_everywhere() {
        for (text, shown) in [
            ("no such file: dump.ndjson", "no such file: dump.ndjson"),
            ("postgresql://me:secret@db/kills: no", "postgresql://…@db/kills: no"),
            ("'mysql://me:s/e?c@ret@db' and x://y:secret@z!", "'mysql://…@db' and x://…@z!"),
            ("see https://example.org/a, me@example.org", "see https://example.org/a, me@example.org"),
            ("x:se:c@ret@db/kills: no such file", "x:…@db/kills: no such file"),
            ("value \"x:secret@db/kills\" for --rejects", "value \"x:…@db/kills\" for --rejects"),
            ("me@db:5432, line 3:7, 19:30", "me@db:5432, line 3:7, 19:30"),
            ("postgresql://db?password=secret&port=1", "postgresql://db?password=…&port=1"),
            ("host=db password='sec ret' port=1", "host=db password=… port=1"),
            ("password=secret", "password=…"),
            ("sslpassword=secret password=", "sslpassword=… password="),
        ] {
            assert_eq!(concealed(text), shown);
        }
    }
}
