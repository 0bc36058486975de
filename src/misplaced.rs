//! Logins in the wrong place, learned from the arguments and the settings of the process.
//!
//! In a message, the password of a login without a scheme has no recognizable end if it contains white space or quotes. So
//! the program learns such passwords at its start, and `concealed` removes them from each text.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// Sorted by length: the longest comes first.
static LEARNED: RwLock<Vec<LearnedText>> = RwLock::new(Vec::new());

/// A text that contains a password or a part of one.
#[derive(PartialEq, Eq)]
struct LearnedText {
    text: String,
    shown: String,
    /// Whether it is removed only if no letter or digit is next to it. Short parts occur in other words.
    is_word: bool,
}

/// The minimum length of a part of a password that is removed as a word, and of one that is removed everywhere, in bytes.
const WORD_MIN: usize = 4;
const PART_MIN: usize = 6;

/// Learns an argument or a value of a setting. Has no effect unless it is like `user:password@host`, with a password that
/// contains white space, quotes, brackets or a comma, or like `password=two words`. The name of an existing file is no login:
/// an option for a file to write, or for a directory, does not accept one.
pub(crate) fn learn(value: &str) {
    let texts = texts(value);
    if texts.is_empty() || Path::new(value).exists() {
        return;
    }
    let mut learned = LEARNED.write().unwrap_or_else(PoisonError::into_inner);
    learned.extend(texts);
    learned.sort_by_key(|learned| Reverse(learned.text.len()));
}

/// Removes what was learned.
pub(crate) fn without_learned(text: &str) -> Cow<'_, str> {
    without(text, &LEARNED.read().unwrap_or_else(PoisonError::into_inner))
}

/// Whether a password has to be learned because of this character.
fn is_break(letter: char) -> bool {
    letter.is_whitespace() || "'\"`()<>,".contains(letter)
}

/// The texts to remove because of a value.
fn texts(value: &str) -> Vec<LearnedText> {
    let value = match value.split_once('=') {
        Some((option, value)) if option.starts_with('-') => value,
        _ => value,
    };
    let login = value.rsplit_once('@').and_then(|(login, _)| login.split_once(':'));
    // URLs with a scheme are recognized in any text, and parameters such as `host=::1` by their names.
    let login = login.filter(|(user, password)| {
        !password.starts_with("//") && !user.contains('=') && password.contains(is_break)
    });
    let password = login.map(|(_, password)| password).or_else(|| unquoted_password(value));
    let Some(password) = password else { return Vec::new() };
    let mut texts = Vec::new();
    let mut add = |text: String, shown: &str, is_word: bool| {
        let learned = LearnedText { text, shown: shown.to_owned(), is_word };
        if !texts.contains(&learned) {
            texts.push(learned);
        }
    };
    if let Some((user, password)) = login {
        for form in forms(&format!("{user}:{password}@")) {
            add(form, &format!("{user}:…@"), false);
        }
    }
    for form in forms(password).into_iter().filter(|form| form.len() >= PART_MIN) {
        add(form, "…", false);
    }
    // A list of hosts and a path are printed in parts.
    let parts = password.split(|letter: char| is_break(letter) || "/\\".contains(letter));
    for part in parts.filter(|part| part.len() >= WORD_MIN) {
        add(part.to_owned(), "…", part.len() < PART_MIN);
    }
    texts
}

/// The password in `host=db password=two words port=1`, which lacks quotes around two words. It ends before the next name.
fn unquoted_password(value: &str) -> Option<&str> {
    const NAME: &str = "password=";
    let start = value.to_ascii_lowercase().find(NAME)? + NAME.len();
    let mut end = start;
    for word in value[start..].split_inclusive(char::is_whitespace) {
        if end > start && word.contains('=') {
            break;
        }
        end += word.len();
    }
    let password = value[start..end].trim();
    (!password.starts_with('\'') && !value.contains("://") && password.contains(char::is_whitespace))
        .then_some(password)
}

/// The forms in which messages print a text: as it is, in one line, escaped, and quoted for a shell.
fn forms(text: &str) -> [String; 4] {
    let quoted = format!("{text:?}");
    let escaped = quoted[1..quoted.len() - 1].to_owned();
    [text.to_owned(), text.replace('\n', "; "), escaped, text.replace('\'', r"'\''")]
}

fn without<'t>(text: &'t str, learned: &[LearnedText]) -> Cow<'t, str> {
    let mut shown = Cow::Borrowed(text);
    for learned in learned {
        if shown.contains(&learned.text) {
            shown = Cow::Owned(replaced(&shown, learned));
        }
    }
    shown
}

fn replaced(text: &str, learned: &LearnedText) -> String {
    if !learned.is_word {
        return text.replace(&learned.text, &learned.shown);
    }
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for (at, found) in text.match_indices(&learned.text) {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        shown.push_str(&text[end..at]);
        let is_part_of_word =
            before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        shown.push_str(if is_part_of_word { found } else { &learned.shown });
        end = at + found.len();
    }
    shown.push_str(&text[end..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_passwords_are_removed_in_any_form() {
        for (value, text, shown) in [
            ("u:a b PW@h/db", "u:a b PW@h/db: No such file", "u:…@h/db: No such file"),
            ("u:a b PW@h/db", "[/srv/u:a b PW@h/db]: no", "[/srv/u:…@h/db]: no"),
            ("u:a b@c PW@h/db", "u:a b@c PW@h/db", "u:…@h/db"),
            ("--rejects=u:\"PW\"@h", "invalid \"u:\\\"PW\\\"@h\"", "invalid \"u:…@h\""),
            ("u:it's PW@h", "run: embedded start '/a/u:it'\\''s PW@h'", "run: embedded start '/a/u:…@h'"),
            ("u:a\nPW@h", "u:a; PW@h: no", "u:…@h: no"),
            ("u:one,secret@h", "[secret@h]:5432", "[…@h]:5432"),
            ("u:one, data@h", "data of the database", "… of the database"),
            (":longer secret@h", "user \"longer secret\"", "user \"…\""),
            ("host=h password=two words port=1", "h password=two words port=1", "h password=… port=1"),
            ("host=h PASSWORD=a secret", "[a secret] secret", "[…] …"),
        ] {
            let mut learned = texts(value);
            learned.sort_by_key(|learned| Reverse(learned.text.len()));
            assert_eq!(without(text, &learned), shown, "{value}");
        }
    }

    #[test]
    fn other_values_are_not_learned() {
        for value in [
            "dump.ndjson",
            "2026-01-31 12:00:00",
            "me@db:5432",
            "u:secret@h",
            "postgresql://u:a b@h/db",
            "host=::1 user=me@x",
            "password=one port=1",
            "password='two words'",
            "--database-url=postgresql://db, me@x",
            "",
        ] {
            assert!(texts(value).is_empty(), "{value}");
        }
    }
}
