//! Conceals passwords in texts that are printed. Users put connection strings in the wrong place, and servers send them back.
//!
//! Invariant: in doubt, too much is concealed. A password can contain white space, quotes and `@`.

use crate::misplaced::without_learned;
use std::ops::Range;

/// Removes the login of each URL, with or without a scheme, and the value of each parameter that may be secret.
pub(crate) fn concealed(text: &str) -> String {
    without_values(&without_bare_logins(&without_url_logins(&without_learned(text))))
}

/// An invalid value of a setting, for an error. Of a value that looks like a connection string, only the scheme is shown.
pub(crate) fn shown_value(value: &str) -> String {
    let is_scheme = |scheme: &str| scheme.bytes().all(|letter| letter.is_ascii_alphabetic());
    match value.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://…"),
        Some(_) => "…".to_owned(),
        None if concealed(value) != value || holds_spaced_login(value) || is_pairs(value) => "…".to_owned(),
        None => value.to_owned(),
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
    is_first_part && (holds_spaced_login(place) || line_password(place).is_some())
}

/// Whether a value is `user:password@host`, also with white space in the password.
fn holds_spaced_login(value: &str) -> bool {
    first_colon(value).zip(last_at(value)).is_some_and(|(user, login)| user <= login)
}

/// The end of the first colon, which can be percent-encoded.
fn first_colon(text: &str) -> Option<usize> {
    let ends = [":", "%3a", "%3A"].into_iter().filter_map(|sign| Some(text.find(sign)? + sign.len()));
    ends.min()
}

/// The start of the last `@`, which can be percent-encoded.
fn last_at(text: &str) -> Option<usize> {
    ["@", "%40"].into_iter().filter_map(|sign| text.rfind(sign)).max()
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
    if has_password { Some(last) } else { word.rfind('@').or_else(|| unfinished_login(word)) }
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
        let login = first_colon(word).zip(last_at(word)).filter(|(user, login)| user <= login);
        let secret = match (login, line_password(word)) {
            // Words with a scheme are already concealed.
            _ if word.contains("://") => None,
            (Some((user, login)), None) => Some(user..login),
            // The password of either form can look like the other one.
            (Some((user, _)), Some(password)) => Some(user..password.end),
            (None, password) => password,
        };
        match secret {
            Some(secret) => {
                shown.push_str(&word[..secret.start]);
                shown.push('…');
                shown.push_str(&word[secret.end..]);
            }
            None => shown.push_str(word),
        }
    }
    shown
}

/// Whether a word without a scheme ends with this character.
fn is_word_end(letter: char) -> bool {
    letter.is_whitespace() || "'\"()<>".contains(letter)
}

/// The place of the password in a word like a line of `~/.pgpass`: `host:port:database:user:password`.
fn line_password(word: &str) -> Option<Range<usize>> {
    let line = word.trim_end_matches(|letter: char| is_word_end(letter) || ":,;".contains(letter));
    let mut fields = line.splitn(5, ':');
    let (host, port) = (fields.next()?, fields.next()?);
    let (database, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    let is_port = port == "*" || port.bytes().all(|letter| letter.is_ascii_digit());
    let is_address = line.bytes().all(|letter| letter.is_ascii_hexdigit() || b":[]".contains(&letter));
    let is_line = is_port && !is_address && ![host, port, database, user, password].contains(&"");
    is_line.then(|| line.len() - password.len()..line.len())
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

/// The start and the end of the next `=`.
fn assignment(text: &str) -> Option<(usize, usize)> {
    text.match_indices(['=', '%']).find_map(|(at, sign)| {
        let end = if sign == "=" { at + 1 } else { at + 3 };
        let is_sign = text.get(at..end).is_some_and(|sign| sign == "=" || sign.eq_ignore_ascii_case("%3d"));
        is_sign.then_some((at, end))
    })
}

/// The last name in a text, in lower case.
fn name_before(text: &str) -> String {
    let text = text.trim_end();
    let is_of_name = |letter: char| letter.is_alphanumeric() || "_-.%".contains(letter);
    text[text.trim_end_matches(is_of_name).len()..].to_lowercase()
}

/// Whether a parameter is a password, also misspelled.
fn names_password(name: &str) -> bool {
    !names_file(name) && (name.contains("passw") || strsim::osa_distance(name, "password") <= 2)
}

/// Whether the name of a parameter stands for a secret.
fn names_secret(name: &str) -> bool {
    const PARTS: [&str; 5] = ["pas", "pw", "secret", "token", "key"];
    !names_file(name) && (names_password(name) || PARTS.iter().any(|part| name.contains(part)))
}

/// Whether a parameter is the name of a file.
fn names_file(name: &str) -> bool {
    ["passfile", "pgpassfile", "sslkey", "pgsslkey"].contains(&name)
}

/// The end of a value. A quoted one without an end extends to the end of the text.
fn value_end(text: &str) -> usize {
    let is_quoted = text.starts_with(['\'', '"']);
    let mut letters = text.char_indices();
    let quote = if is_quoted { letters.next().map(|(_, quote)| quote) } else { None };
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
        ] {
            check(text, shown);
        }
    }

    #[test]
    fn values_are_concealed() {
        for (text, shown) in [
            ("postgresql://db?password=secret&port=1", "postgresql://db?password=…&port=1"),
            ("postgresql://db?pasword=secret", "postgresql://db?pasword=…"),
            ("'postgresql://db?api_key=se'cret' for", "'postgresql://db?api_key=…' for"),
            ("db?options=-c%20foo.pw=secret&port=1", "db?options=-c%20foo.pw=…&port=1"),
            ("db?options=-c%20foo.token%3Dsecret", "db?options=-c%20foo.token%3D…"),
            ("host=db password='sec ret' port=1", "host=db password=… port=1"),
            ("host=db password='sec\\' ret' port=1", "host=db password=… port=1"),
            ("host=db password='Zq9 Secret", "host=db password=…"),
            ("host=db password = Zq9Secret port = 1", "host=db password = … port = 1"),
            ("PGPASSWORD=secret", "PGPASSWORD=…"),
            ("sslpassword=secret password=", "sslpassword=… password="),
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
