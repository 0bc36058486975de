//! Logins in the wrong place, learned from the arguments and the settings of the process.
//!
//! In a message, some passwords have no recognizable end, such as one with white space in a login without a scheme. So the
//! program learns them at its start, and `concealed` removes them from each text.

use crate::conceal::parts::{
    assignment, is_word_end, line_password, login_password, name_before, names_secret,
};
use crate::shell::dollar_quoted;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::iter;
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

/// The minimum length of a password that is learned because a message may cut it, in bytes.
const LONG_MIN: usize = 1 << 10;

/// Learns an argument or a value of a setting. Has no effect unless it contains a login, a line of `~/.pgpass` or a secret
/// parameter, in which the password contains white space, quotes or the like. The name of an existing file is no login: an
/// option for a file to write, or for a directory, does not accept one.
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

/// The texts to remove because of a value.
fn texts(value: &str) -> Vec<LearnedText> {
    let value = match value.split_once('=') {
        Some((option, value)) if option.starts_with('-') => value,
        _ => value,
    };
    let (is_url, rest) = value.split_once("://").map_or((false, value), |(_, rest)| (true, rest));
    // A parameter of a connection is shown alone, and decoded.
    let parameters = rest.split(['/', '?', '&', '=', '\'']).skip(1);
    let mut texts = Vec::new();
    for (number, part) in iter::once(value).chain(parameters).enumerate() {
        add_texts(part, &mut texts);
        if number > 0 || !is_url {
            add_texts(&percent_decode_str(part).decode_utf8_lossy(), &mut texts);
        }
    }
    texts
}

/// A password in a value, with the signs before and after it.
struct Misplaced<'v> {
    before: &'v str,
    password: &'v str,
    after: &'v str,
}

fn add_texts(value: &str, texts: &mut Vec<LearnedText>) {
    let mut add = |text: String, shown: &str, is_word: bool| {
        let learned = LearnedText { text, shown: shown.to_owned(), is_word };
        if !texts.contains(&learned) {
            texts.push(learned);
        }
    };
    let found = login(value).into_iter().chain(pgpass_line(value)).chain(parameters(value));
    for Misplaced { before, password, after } in found {
        for form in forms(&format!("{before}{password}{after}")) {
            add(form, &format!("{before}…{after}"), false);
        }
        for form in forms(password).into_iter().filter(|form| form.len() >= PART_MIN) {
            add(form, "…", false);
        }
        // A list of hosts and a path are printed in parts.
        let parts = password.split(|letter: char| is_break(letter) || "/\\".contains(letter));
        for part in parts.filter(|part| part.len() >= WORD_MIN) {
            add(part.to_owned(), "…", part.len() < PART_MIN);
        }
    }
}

/// Whether a password without a scheme has to be learned because of this character.
fn is_break(letter: char) -> bool {
    is_word_end(letter) || "`,".contains(letter)
}

/// The password of a login. With a scheme, messages show it in one piece unless it contains white space, or is a part of a
/// list of hosts.
fn login(value: &str) -> Option<Misplaced<'_>> {
    let of_scheme = ["postgresql://", "postgres://"].iter().find_map(|scheme| value.strip_prefix(scheme));
    let place = of_scheme.unwrap_or(value);
    let range = login_password(place)?;
    let password = &place[range.clone()];
    let (user, host) = (&place[..range.start], &place[range.end..]);
    let is_cut = match of_scheme {
        // An `@` can be in the value of a parameter, which is learned itself.
        Some(_) if password.contains(['/', '?']) => {
            password.contains(char::is_whitespace) && parameters(value).is_empty()
        }
        Some(_) => password.contains(|letter: char| letter.is_whitespace() || letter == ','),
        // Parameters such as `host=::1` are recognized by their names.
        None => password.contains(is_break) && !user.contains('='),
    };
    let sign = |is_plain: bool| if is_plain { 1 } else { "%40".len() };
    let before = &user[user.len() - sign(user.ends_with(':'))..];
    let after = &host[..sign(host.starts_with('@'))];
    (is_cut || password.len() > LONG_MIN).then_some(Misplaced { before, password, after })
}

/// The password of a line of `~/.pgpass`.
fn pgpass_line(value: &str) -> Option<Misplaced<'_>> {
    let password = &value[line_password(value)?];
    password.contains(is_word_end).then_some(Misplaced { before: ":", password, after: "" })
}

/// The values of secret parameters. In a message, such a value ends with a word.
fn parameters(value: &str) -> Vec<Misplaced<'_>> {
    let is_url = value.contains("://");
    let (mut found, mut end) = (Vec::new(), 0);
    while let Some((sign, start)) = assignment(&value[end..]) {
        let (sign, start) = (end + sign, end + start);
        end = start;
        if !names_secret(&name_before(&value[..sign])) {
            continue;
        }
        let rest = &value[start..];
        let start = start + rest.len() - rest.trim_start().len();
        let password = parameter_value(&value[start..], is_url);
        let quotes = password.matches('\'').count();
        let is_quoted = quotes == 2 && password.starts_with('\'') && password.ends_with('\'');
        let is_cut = password.contains(|letter: char| is_break(letter) || letter == '&') && !is_quoted;
        if is_cut || password.len() > LONG_MIN {
            found.push(Misplaced { before: &value[sign..start], password, after: "" });
        }
    }
    found
}

/// The value of a parameter at the start of a text. In a URL it ends with the parameter, in the `name=value` form before the
/// next name, because quotes may be missing.
fn parameter_value(text: &str, is_url: bool) -> &str {
    let mut end = 0;
    if is_url {
        end = text.find('&').unwrap_or(text.len());
    } else {
        for word in text.split_inclusive(char::is_whitespace) {
            if end > 0 && word.contains('=') {
                break;
            }
            end += word.len();
        }
    }
    text[..end].trim_end()
}

/// The forms in which messages print a text: as it is, in one line, escaped, and quoted for SQL and for a shell.
fn forms(text: &str) -> [String; 6] {
    let quoted = format!("{text:?}");
    [
        text.to_owned(),
        text.replace('\n', "; "),
        quoted[1..quoted.len() - 1].to_owned(),
        text.replace('"', "\"\""),
        text.replace('\'', r"'\''"),
        dollar_quoted(text),
    ]
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
            ("u:a PW\n@h", "run: load $'u:a PW\\x0a@h'", "run: load $'u:…@h'"),
            ("postgresql://u:a\nPW@h", "postgresql://u:a\nPW@h", "postgresql://u:…@h"),
            ("u%3Aa PW%40h", "u%3Aa PW%40h, u:a PW@h", "u%3A…%40h, u:…@h"),
            ("u:one,secret@h", "[secret@h]:5432", "[…@h]:5432"),
            ("postgresql://u:one,secret%40h", "secret%40h:5432", "…%40h:5432"),
            ("u:one, data@h", "data of the database", "… of the database"),
            (":longer secret@h", "user \"longer secret\"", "user \"…\""),
            ("host=h password=two words port=1", "h password=two words port=1", "h password=… port=1"),
            ("host=h PASSWORD=a secret", "[a secret] secret", "[…] …"),
            ("postgresql://h/x?password=a PW&port=1", "'x?password=a PW&port=1'", "'x?password=…&port=1'"),
            ("postgresql://h:1/x?password=a @PW", "'h:1/x?password=a @PW': no", "'h:1/x?password=…': no"),
            ("host=h password=a&PW port=1", "password=a&PW port=1", "password=… port=1"),
            ("password=\"a PW\"", "'password=\"a PW\"': no", "'password=…': no"),
            ("x?options=-c%20a.token%3Da%20PW", "-c a.token=a PW", "-c a.token=…"),
            ("postgresql://h/x?sslcert=u%3Aa%20PW%40h", "u:a PW@h: no", "u:…@h: no"),
            ("sslcert='u:a PW@h' port=1", "u:a PW@h: no", "u:…@h: no"),
            ("h:5432:x:u:a PW", "'h:5432:x:u:a PW': no", "'h:5432:x:u:…': no"),
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
            "postgresql://u:it's(me)@h/db",
            "postgresql://u:a%20b@h:1,h:2/db?user=me@x&password=a%20b",
            "host=::1 user=me@x",
            "password=one port=1",
            "password='two words'",
            "--database-url=postgresql://db, me@x",
            "h:5432:x:u:secret",
            "",
        ] {
            assert!(texts(value).is_empty(), "{value}");
        }
    }
}
