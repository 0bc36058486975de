//! An error told with all that brought it about, and without the passwords that someone may have put where none belongs.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes, in one line, as [`concealed`] leaves it.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = words_of(error).unwrap_or_default();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some libraries repeat the cause in their own words.
        match words_of(cause) {
            Some(words) if text.is_empty() => text = words,
            Some(words) if !text.ends_with(&words) => {
                let _ = write!(text, ": {words}");
            }
            _ => {}
        }
        source = cause.source();
    }
    // A database tells the details of an error in further lines.
    concealed(&text.trim_end().replace('\n', "; "))
}

/// What an error says itself; of a server's error its SQLSTATE as well, once.
fn words_of(error: &(dyn Error + 'static)) -> Option<String> {
    if error.downcast_ref::<postgres::Error>().is_some_and(|error| error.as_db_error().is_some()) {
        // Its cause says all.
        return None;
    }
    Some(match error.downcast_ref::<postgres::error::DbError>() {
        Some(error) => format!("{error} (SQLSTATE {})", error.code().code()),
        None => error.to_string(),
    })
}

/// The nearest cause of an error that is of this type.
pub(crate) fn cause_of<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    std::iter::successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

/// The text without the login of each URL, with or without a scheme, and without the value of each `password=`, such as of a
/// URL that was typed in place of a file's name, or that a server sends back.
pub(crate) fn concealed(text: &str) -> String {
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, '\'' | '"');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        rest = after;
        let word = &after[..after.find(ends).unwrap_or(after.len())];
        // But not of the form that is told as a remedy.
        if let Some(login) = word.rfind('@').filter(|login| word[..*login] != *"user:password") {
            shown.push('…');
            rest = &after[login..];
        }
    }
    shown.push_str(rest);
    without_values(&without_logins(&shown), "password=")
}

/// The text without the password of each word that is a URL without its scheme, such as `user:password@host/database`.
fn without_logins(text: &str) -> String {
    let is_end = |letter: char| letter.is_whitespace() || "'\"()<>".contains(letter);
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        match (word.find(':'), word.rfind('@')) {
            // Others have a scheme, and are concealed already.
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
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, value) = rest.split_at(at + name.len());
        shown.push_str(before);
        let quoted = value.strip_prefix('\'').and_then(|inner| inner.find('\'').map(|end| end + 2));
        let bare = || value.find(|letter: char| letter.is_whitespace() || "&'\"".contains(letter));
        let end = quoted.or_else(bare).unwrap_or(value.len());
        shown.push_str(if end == 0 { "" } else { "…" });
        rest = &value[end..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_many_lines_is_told_in_one() {
        let error = std::io::Error::other("ERROR: no room\nDETAIL: 3 of 3 are taken\n");
        assert_eq!(in_full(&error), "ERROR: no room; DETAIL: 3 of 3 are taken");
    }

    #[test]
    fn passwords_are_concealed_wherever_they_stand() {
        for (text, shown) in [
            ("no such file: dump.ndjson", "no such file: dump.ndjson"),
            ("postgresql://me:secret@db/kills: no", "postgresql://…@db/kills: no"),
            ("'mysql://me:s/e?c@ret@db' and x://y:secret@z!", "'mysql://…@db' and x://…@z!"),
            ("see https://example.org/a, me@example.org", "see https://example.org/a, me@example.org"),
            ("x:se:c@ret@db/kills: no such file", "x:…@db/kills: no such file"),
            ("--rejects is \"x:secret@db/kills\": no", "--rejects is \"x:…@db/kills\": no"),
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
