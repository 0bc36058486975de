//! The parts of connection strings: logins, lines of `~/.pgpass`, and parameters. Their signs can be percent-encoded.

use std::ops::Range;

/// The end of the first colon.
pub(crate) fn first_colon(text: &str) -> Option<usize> {
    let ends = [":", "%3a", "%3A"].into_iter().filter_map(|sign| Some(text.find(sign)? + sign.len()));
    ends.min()
}

/// The start of the last `@`.
fn last_at(text: &str) -> Option<usize> {
    ["@", "%40"].into_iter().filter_map(|sign| text.rfind(sign)).max()
}

/// The place of the password in a text like `user:password@host`.
pub(crate) fn login_password(text: &str) -> Option<Range<usize>> {
    first_colon(text)
        .zip(last_at(text))
        .filter(|(user, login)| user <= login)
        .map(|(user, login)| user..login)
}

/// Whether a login without a scheme ends with this character, because it cannot be separated from the text around it.
pub(crate) fn is_word_end(letter: char) -> bool {
    letter.is_whitespace() || "'\"()<>".contains(letter)
}

/// The place of the password in a text like a line of `~/.pgpass`: `host:port:database:user:password`.
pub(crate) fn line_password(text: &str) -> Option<Range<usize>> {
    let line = text.trim_end_matches(|letter: char| is_word_end(letter) || ":,;".contains(letter));
    let mut fields = line.splitn(5, ':');
    let (host, port) = (fields.next()?, fields.next()?);
    let (database, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    let is_port = port == "*" || port.bytes().all(|letter| letter.is_ascii_digit());
    let is_address = line.bytes().all(|letter| letter.is_ascii_hexdigit() || b":[]".contains(&letter));
    let is_line = is_port && !is_address && ![host, port, database, user, password].contains(&"");
    is_line.then(|| line.len() - password.len()..line.len())
}

/// The start and the end of the next `=`.
pub(crate) fn assignment(text: &str) -> Option<(usize, usize)> {
    text.match_indices(['=', '%']).find_map(|(at, sign)| {
        let end = if sign == "=" { at + 1 } else { at + 3 };
        let is_sign = text.get(at..end).is_some_and(|sign| sign == "=" || sign.eq_ignore_ascii_case("%3d"));
        is_sign.then_some((at, end))
    })
}

/// The last name in a text, in lower case.
pub(crate) fn name_before(text: &str) -> String {
    let text = text.trim_end();
    let is_of_name = |letter: char| letter.is_alphanumeric() || "_-.%".contains(letter);
    text[text.trim_end_matches(is_of_name).len()..].to_lowercase()
}

/// Whether a parameter is a password, also misspelled.
pub(crate) fn names_password(name: &str) -> bool {
    !names_file(name) && (name.contains("passw") || strsim::osa_distance(name, "password") <= 2)
}

/// Whether the name of a parameter stands for a secret.
pub(crate) fn names_secret(name: &str) -> bool {
    const PARTS: [&str; 5] = ["pas", "pw", "secret", "token", "key"];
    !names_file(name) && (names_password(name) || PARTS.iter().any(|part| name.contains(part)))
}

/// Whether a parameter is the name of a file.
fn names_file(name: &str) -> bool {
    ["passfile", "pgpassfile", "sslkey", "pgsslkey"].contains(&name)
}
