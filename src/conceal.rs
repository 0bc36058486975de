//! Conceals passwords in texts that are printed. Users put connection strings in the wrong place, and servers send them back.
//!
//! Invariant: in doubt, too much is concealed. A password can contain white space, quotes and `@`.

pub(crate) mod parts;

use crate::conceal::parts::{assignment, first_colon, is_word_end, line_password, login_password};
use crate::conceal::parts::{name_before, names_password, names_secret};
use crate::misplaced::without_learned;
use std::borrow::Cow;
use std::ops::Range;

/// Removes the login of each URL, with or without a scheme, and the value of each parameter that may be secret.
pub(crate) fn concealed(text: &str) -> String {
    without_secrets(&without_learned(text))
}

/// What can be removed without knowing the arguments.
fn without_secrets(text: &str) -> String {
    without_values(&without_bare_logins(&without_url_logins(text)))
}

/// Whether a value may be a connection string, or contain one. It is then no name and no word.
pub(crate) fn may_hold_secret(value: &str) -> bool {
    value.contains("://")
        || login_password(value).is_some()
        || line_password(value).is_some()
        || is_pairs(value)
        || without_secrets(value) != value
}

/// An invalid value of a setting, for an error. Of a value that looks like a connection string, only the scheme is shown.
pub(crate) fn shown_value(value: &str) -> Cow<'_, str> {
    let is_scheme = |scheme: &str| scheme.bytes().all(|letter| letter.is_ascii_alphabetic());
    match value.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://…").into(),
        None if !may_hold_secret(value) => without_learned(value),
        _ => "…".into(),
    }
}

/// An argument for an error. Of an option with a value, the name is shown.
pub(crate) fn shown_argument(argument: &str) -> String {
    let hyphens = argument.len() - argument.trim_start_matches('-').len();
    let (hyphens, rest) = argument.split_at(hyphens);
    match rest.split_once('=') {
        Some((name, value)) if !hyphens.is_empty() && !may_hold_secret(name) => {
            let is_secret = names_secret(&name.to_lowercase());
            let shown = if is_secret { Cow::Borrowed("…") } else { shown_value(value) };
            format!("{hyphens}{name}={shown}")
        }
        _ => format!("{hyphens}{}", shown_value(rest)),
    }
}

/// Whether a value is a URL with or without a scheme, has a password in libpq's `name=value` form, or is a line of
/// `~/.pgpass`. It is then no name of a file. As for `scp`, a name with a `/` before its first colon is one of a file, also
/// after `./`.
pub(crate) fn is_connection_string(value: &str) -> bool {
    let mut names = value.split('=').rev().skip(1);
    value.contains("://") || is_login(value) || names.any(|text| names_password(&name_before(text)))
}

/// Whether a value begins with `user:password@` or `//user:password@`, or is a line of `~/.pgpass`.
fn is_login(value: &str) -> bool {
    // An absolute path has one slash.
    let place = value.strip_prefix("//").map_or(value, |rest| rest.trim_start_matches('/'));
    let is_first_part = first_colon(place).is_some_and(|end| !place[..end].contains('/'));
    is_first_part && (login_password(place).is_some() || line_password(place).is_some())
}

/// Whether a value begins like libpq's `name=value` form.
fn is_pairs(value: &str) -> bool {
    const NAMES: [&str; 5] = ["host", "hostaddr", "port", "dbname", "user"];
    value.split_once('=').is_some_and(|(name, _)| NAMES.contains(&name.trim()))
}

/// The placeholder of hints, which is no secret.
const PLACEHOLDER: &str = "user:password@host";

fn without_url_logins(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut remaining = text;
    while let Some(start) = url_start(remaining) {
        let (before, after) = remaining.split_at(start);
        shown.push_str(before);
        remaining = after;
        if let Some(rest) = after.strip_prefix(PLACEHOLDER) {
            shown.push_str(PLACEHOLDER);
            remaining = rest;
        } else if let Some(end) = login_end(url_region(after)) {
            shown.push('…');
            remaining = &after[end..];
        }
    }
    shown.push_str(remaining);
    shown
}

/// The place after the next `://`. A path may have lost one of the slashes.
fn url_start(text: &str) -> Option<usize> {
    text.match_indices(":/").find_map(|(at, _)| {
        let after = &text[at + 1..];
        let slashes = after.len() - after.trim_start_matches('/').len();
        let is_url =
            slashes > 1 || ["postgresql", "postgres"].into_iter().any(|name| text[..at].ends_with(name));
        is_url.then_some(at + 1 + slashes)
    })
}

/// The length of text that is searched for the end of one URL. A hostile server could send thousands of URLs in one message.
const URL_BYTES_MAX: usize = 4 << 10;

/// The text that may belong to a URL: it ends with the line, before the next URL, or before a hint.
fn url_region(text: &str) -> &str {
    let text = &text[..text.floor_char_boundary(URL_BYTES_MAX)];
    let ends = ["\n", "; hint: "].into_iter().filter_map(|end| text.find(end));
    let line = &text[..ends.min().unwrap_or(text.len())];
    let is_of_scheme = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    let next = line.match_indices("://").find_map(|(at, _)| {
        let before = line[..at].trim_end_matches(is_of_scheme);
        // In a password, no space or quote precedes the scheme.
        let begins = before.ends_with(|letter: char| letter.is_whitespace() || "'\"`(<".contains(letter));
        (begins && before.len() < at).then_some(before.len())
    });
    &line[..next.unwrap_or(line.len())]
}

/// The end of the login at the start of a region; none if there is none.
fn login_end(region: &str) -> Option<usize> {
    let word = &region[..word_end(region)];
    let Some(last) = region.rfind('@') else { return unfinished_login(word) };
    let has_password = region[..last].contains(':') || has_escape(&region[..last], "%3a");
    let end = if has_password { last } else { word.rfind('@').or_else(|| unfinished_login(word))? };
    // The `@` can be in the value of a secret parameter.
    let login = format!("{}@", &region[..end]);
    let is_in_value = without_values(&login) != login;
    Some(if is_in_value { end + word_end(&region[end..]) } else { end })
}

/// The end of a word that contains a login without an `@`, or with an encoded one. A host has only digits after its colon.
fn unfinished_login(word: &str) -> Option<usize> {
    let end = word.find(['/', '?', '#']).unwrap_or(word.len());
    let authority = word[..end].trim_end_matches([':', ',', ';', '.', ')']);
    let is_place = |place: &str| {
        let port = place.split_once(':').map_or("", |(_, port)| port);
        place.starts_with('[') || port.bytes().all(|letter| letter.is_ascii_digit())
    };
    let is_plain = authority.split(',').all(is_place) && !has_escape(authority, "%40");
    (!is_plain).then_some(word.len())
}

fn has_escape(text: &str, escape: &str) -> bool {
    text.to_ascii_lowercase().contains(escape)
}

/// The end of the first word: white space, or the quote at the end of a quotation.
fn word_end(text: &str) -> usize {
    let ends = |(at, letter): &(usize, char)| letter.is_whitespace() || is_closing_quote(text, *at, *letter);
    text.char_indices().find(ends).map_or(text.len(), |(at, _)| at)
}

/// Whether the letter at this place is a quote that ends a quotation. One within a password has a letter after it.
fn is_closing_quote(text: &str, at: usize, letter: char) -> bool {
    let after = || text[at + letter.len_utf8()..].chars().next();
    matches!(letter, '\'' | '"' | '`')
        && after().is_none_or(|next| next.is_whitespace() || ",;:.)]}>&'\"`".contains(next))
}

/// Removes the password of each URL without a scheme, such as `user:password@host/database`, also percent-encoded, and of
/// each line of `~/.pgpass`.
fn without_bare_logins(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(is_word_end) {
        // The login of a URL with a scheme is already concealed, but not one in the name of its database or in a parameter.
        let (address, rest) = word.split_at(address_end(word));
        shown.push_str(address);
        let separators: &[char] = if address.is_empty() { &[] } else { &['/', '?', '&', '='] };
        for part in rest.split_inclusive(separators) {
            let secret = match (login_password(part), line_password(part)) {
                // The password of either form can look like the other one.
                (Some(of_login), Some(of_line)) => Some(of_login.start..of_line.end),
                (of_login, of_line) => of_login.or(of_line),
            };
            let Range { start, end } = secret.unwrap_or(part.len()..part.len());
            shown.push_str(&part[..start]);
            shown.push_str(if start < part.len() { "…" } else { "" });
            shown.push_str(&part[end..]);
        }
    }
    shown
}

/// The end of the hosts in a URL with a scheme; 0 in another word. A password can contain `://`, too, after a colon.
fn address_end(word: &str) -> usize {
    let split = word.split_once("://").filter(|(scheme, _)| first_colon(scheme).is_none());
    let Some((scheme, rest)) = split else { return 0 };
    scheme.len() + 3 + rest.find(['/', '?']).unwrap_or(rest.len())
}

/// Removes the value of each `name=value` whose name stands for a secret. `=` can be percent-encoded.
fn without_values(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut remaining = text;
    while let Some((sign, after)) = assignment(remaining) {
        let (before, value) = remaining.split_at(after);
        shown.push_str(before);
        remaining = value;
        let name = name_before(&before[..sign]);
        let blank = value.len() - value.trim_start().len();
        let is_spaced = blank > 0 || before[..sign].ends_with(char::is_whitespace);
        let is_secret = if is_spaced { names_password(&name) } else { names_secret(&name) };
        if is_secret {
            let end = value_end(&value[blank..]);
            shown.push_str(&value[..blank]);
            shown.push_str(if end == 0 { "" } else { "…" });
            remaining = &value[blank + end..];
        }
    }
    shown.push_str(remaining);
    shown
}

/// The end of a value. A quoted one without an end extends to the end of the text.
fn value_end(text: &str) -> usize {
    let is_quoted = text.starts_with(['\'', '"']);
    let mut letters = text.char_indices();
    let quote = if is_quoted { letters.next().map(|(_, quote)| quote) } else { None };
    // The sign after a value that is already concealed belongs to the message.
    if text.starts_with("…; ") || text.starts_with("…: ") {
        return "…".len();
    }
    while let Some((at, letter)) = letters.next() {
        let is_closing = is_closing_quote(text, at, letter);
        match quote {
            Some(_) if letter == '\\' => {
                letters.next();
            }
            Some(quote) if letter == quote && is_closing => return at + 1,
            None if is_closing || letter.is_whitespace() || letter == '&' => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        assert_eq!(concealed(text), shown);
        assert_eq!(concealed(shown), shown, "concealing twice changes nothing");
    }

    #[test]
    fn harmless_texts_stay() {
        for text in [
            "no such file: dump.ndjson",
            "see https://example.org/a, me@example.org",
            "me@db:5432, line 3:7, 19:30",
            "listening on http://127.0.0.1:8080/, http://[::1]:80 and http://localhost:1: done",
            "hint: write postgresql://user:password@host:5432/database, with @ percent-encoded (@ as %40)",
            "postgresql://a:1,b:2/kills?sslmode=require&sslkey=/a/b&passfile=/c",
            "[2001:4860:0:1:2:3:4:5]:5432 and 2001:4860:4860::8888, a:1:2:3, a:b:c:d:e",
            "Key (event_id)=(5) already exists; user = me",
            "",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn logins_are_concealed() {
        for (text, shown) in [
            ("postgresql://me:secret@db/kills: no", "postgresql://…@db/kills: no"),
            ("'mysql://me:s/e?c@ret@db' and x://y:secret@z!", "'mysql://…@db' and x://…@z!"),
            ("'postgresql://u:Zq9 Secret @host/x' for '--server'", "'postgresql://…@host/x' for '--server'"),
            ("\"postgresql://u:Zq' \\\"Secret@host/x\": no", "\"postgresql://…@host/x\": no"),
            ("postgresql://u:a://Secret@host", "postgresql://…@host"),
            ("postgresql:/u:Zq9 Secret@host/x", "postgresql:…@host/x"),
            ("'postgresql://u:pw%40127.0.0.1:1/x'", "'postgresql://…'"),
            ("postgresql://u:secret", "postgresql://…"),
            ("postgresql://u%3Apw@h and me@x", "postgresql://…@x"),
            ("postgresql://me@db and you@there", "postgresql://…@db and you@there"),
            ("mysql://u:pw@h/x; hint: write x://h (@ as %40)", "mysql://…@h/x; hint: write x://h (@ as %40)"),
            ("x:se:c@ret@db/kills: no such file", "x:…@db/kills: no such file"),
            ("value \"x:secret@db/kills\" for --rejects", "value \"x:…@db/kills\" for --rejects"),
            ("//u:pw@h/x", "//u:…@h/x"),
            ("postgresql%3A%2F%2Fu%3Apw%40h%2Fx: no", "postgresql%3A…%40h%2Fx: no"),
            ("u%3apw@h and u:pw%40h", "u%3a…@h and u:…%40h"),
            ("'h:5432:x:u:p:w': no such file", "'h:5432:x:u:…': no such file"),
            ("*:*:*:*:pw", "*:*:*:*:…"),
            ("h:5432:x:u:p@w", "h:…"),
            ("u:12:p:w:x@h", "u:…"),
            ("'h:5432:x:u:p://w': no", "'h:5432:x:u:…': no"),
            ("h:5432:x:u:p://w@y", "h:…"),
            ("u:p://w@h/x: no", "u:…@h/x: no"),
            ("'postgresql://db/x?sslcert=u%3Apw%40h&port=1'", "'postgresql://db/x?sslcert=u%3A…%40h&port=1'"),
            ("postgresql://db:1/u%3Apw%40h", "postgresql://db:1/u%3A…%40h"),
        ] {
            check(text, shown);
        }
    }

    #[test]
    fn values_are_concealed() {
        for (text, shown) in [
            ("postgresql://db?password=secret&port=1", "postgresql://db?password=…&port=1"),
            ("postgresql://db?pasword=secret", "postgresql://db?pasword=…"),
            ("postgresql://db/x?user=me&password=a@secret; hint: no", "postgresql://…; hint: no"),
            ("'postgresql://db:1/x?password=@secret&port=1' for", "'postgresql://…' for"),
            ("postgresql://db/x?password=a://secret", "postgresql://db/x?password=…"),
            ("'postgresql://db?api_key=se'cret' for", "'postgresql://db?api_key=…' for"),
            ("db?options=-c%20foo.pw=secret&port=1", "db?options=-c%20foo.pw=…&port=1"),
            ("db?options=-c%20foo.token%3Dsecret", "db?options=-c%20foo.token%3D…"),
            ("host=db password='sec ret' port=1", "host=db password=… port=1"),
            ("host=db password='sec\\' ret' port=1", "host=db password=… port=1"),
            ("host=db password='Zq9 Secret", "host=db password=…"),
            ("host=db password = Zq9Secret port = 1", "host=db password = … port = 1"),
            ("PGPASSWORD=secret", "PGPASSWORD=…"),
            ("sslpassword=secret password=", "sslpassword=… password="),
            ("no file x?password=…; hint: list them", "no file x?password=…; hint: list them"),
        ] {
            check(text, shown);
        }
    }

    #[test]
    fn connection_strings_are_no_file_names() {
        for (value, expected) in [
            ("rejects-00:05.ndjson", false),
            ("rejects@eu-00:05.ndjson", false),
            ("./rejects-00:05@eu.ndjson", false),
            ("/srv/u:pw@h/x", false),
            ("u:pw@h", true),
            ("//u:p w@h/x", true),
            ("u%3Apw%40h", true),
            ("h:5432:x:u:pw", true),
            ("./h:5432:x:u:pw", false),
            ("/a=b/host=1/key=2/rejects", false),
            ("postgresql://db/kills", true),
            ("host=db password = secret", true),
            ("host=db pasword=", true),
        ] {
            assert_eq!(is_connection_string(value), expected, "{value}");
        }
    }

    #[test]
    fn of_an_argument_the_name_of_the_option_is_shown() {
        for (argument, shown) in [
            ("--json", "--json"),
            ("--server=eu", "--server=eu"),
            ("--databse-url=postgresql://u:pw@h", "--databse-url=postgresql://…"),
            ("--password=Zq9", "--password=…"),
            ("-qu:pw@h", "-…"),
            ("-qmysql://u:pw@h?a=b", "-qmysql://…"),
            ("-u:pw@h=a", "-…"),
            ("u:pw\n@h", "…"),
            ("host=db", "…"),
            ("dump.ndjson", "dump.ndjson"),
            ("-", "-"),
        ] {
            assert_eq!(shown_argument(argument), shown, "{argument}");
        }
    }

    #[test]
    fn of_an_invalid_value_only_the_scheme_is_shown() {
        for (value, shown) in [
            ("eu", "eu"),
            ("8 GB", "8 GB"),
            ("aegis_kills=trac", "aegis_kills=trac"),
            ("/no/where/kills@eu.prom", "/no/where/kills@eu.prom"),
            ("postgresql://db/kills", "postgresql://…"),
            ("u:pw://db/kills", "…"),
            ("//u:pw@h/x", "…"),
            ("u:Zq9 Secret@host", "…"),
            ("host=db user=me", "…"),
            ("pasword = Zq9Secret", "…"),
        ] {
            assert_eq!(shown_value(value), shown);
        }
    }
}
