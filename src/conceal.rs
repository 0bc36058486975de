//! Connection strings in the wrong place, with a password: as any argument, and as the value of any variable.
//!
//! Invariant: nothing in the program reads such a text. [`without_connection_strings`] and the settings replace it by
//! [`CONCEALED`], so that no message has to be searched for a password.
//!
//! Invariant: the few settings that can contain a secret or look like it are never printed, or through [`shown`].

use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What stands for a connection string. It is one itself, so that settings of names and paths reject it, and no file.
pub(crate) const CONCEALED: &str = "postgresql://…";

/// A value of a setting for a message.
pub(crate) fn shown(value: &str) -> Cow<'_, str> {
    if is_connection_string(value) { CONCEALED.into() } else { value.into() }
}

/// The arguments with [`CONCEALED`] in place of each connection string. The values of the options `kept` stay, and so do the
/// names of existing files. After `--` there are no options.
pub(crate) fn without_connection_strings(arguments: &[OsString], kept: &[&str]) -> Vec<OsString> {
    let mut before = OsStr::new("");
    let mut can_be_option = true;
    let mut all = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let text = argument.to_string_lossy();
        let has_value = |option: &&str| text.strip_prefix(*option).is_some_and(|rest| rest.starts_with('='));
        let is_kept = can_be_option && kept.iter().any(|option| *before == **option || has_value(option));
        can_be_option &= text != "--";
        all.push(if !is_kept && can_be_option && text.starts_with('-') {
            without_value(argument, &text)
        } else if !is_kept && is_connection_string(&text) && !Path::new(argument).exists() {
            CONCEALED.into()
        } else {
            argument.clone()
        });
        before = argument.as_os_str();
    }
    all
}

/// An option without a connection string that follows it: after `=`, after white space, or directly.
fn without_value(argument: &OsStr, text: &str) -> OsString {
    let rest = text.trim_start_matches('-');
    let hyphens = &text[..text.len() - rest.len()];
    let (name, value) = rest.split_once('=').unwrap_or((rest, ""));
    let mut after_spaces = name.match_indices(char::is_whitespace).map(|(at, _)| &name[at..]);
    if is_connection_string(name) || after_spaces.any(is_connection_string) {
        format!("{hyphens}…").into()
    } else if is_connection_string(value) || rest.get(..=name.len()).is_some_and(has_password) {
        format!("{hyphens}{name}={CONCEALED}").into()
    } else {
        argument.to_owned()
    }
}

/// Whether a value looks like a connection string that can contain a password: a URL with or without a scheme, libpq's
/// `name=value` form, or a line of `~/.pgpass`, also percent-encoded. After `./` it is the name of a file. So is a login with a
/// `/` before its first colon, as for `scp`.
pub(crate) fn is_connection_string(value: &str) -> bool {
    let value = percent_decode_str(value.trim()).decode_utf8_lossy();
    if value.starts_with("./") {
        return false;
    }
    let is_url = value.contains("://") && (value.contains("postgres") || value.contains(['@', '=']));
    is_url || is_login(&value) || is_password_line(&value) || has_password(&value)
}

/// Whether a value begins with `user:password@` or `//user:password@`.
fn is_login(value: &str) -> bool {
    let is_of_user = |letter: char| letter != '/' && !letter.is_whitespace();
    let place = value.strip_prefix("//").unwrap_or(value);
    place.split_once(':').is_some_and(|(user, rest)| user.chars().all(is_of_user) && rest.contains('@'))
}

/// Whether a value looks like a line of `~/.pgpass`: `host:port:database:user:password`, with `\:` for a colon in a field.
fn is_password_line(value: &str) -> bool {
    let value = &value.replace(r"\:", "");
    let fields: Vec<&str> = value.splitn(5, ':').collect();
    let [host, port, _, _, _] = fields[..] else { return false };
    let is_port = port == "*" || port.bytes().all(|letter| letter.is_ascii_digit());
    let is_address = value.bytes().all(|letter| letter.is_ascii_hexdigit() || b":[]".contains(&letter));
    is_port && !is_address && !host.contains('/') && !fields.contains(&"")
}

/// Whether a value has a parameter whose name is that of a password, also misspelled.
fn has_password(value: &str) -> bool {
    value.match_indices('=').any(|(at, _)| {
        let before = value[..at].trim_end();
        let start = before.trim_end_matches(char::is_alphanumeric).len();
        let name = before[start..].to_lowercase();
        name.contains("passw") || strsim::osa_distance(&name, "password") <= 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_recognized() {
        for value in [
            CONCEALED,
            "postgresql://me:secret@db/kills",
            "postgresql://me:se cret@db/kills",
            "postgresql:/me:secret@db",
            "postgres://db/kills",
            "mysql://me:s/e?c@ret@db",
            "https://db/kills?token=secret",
            "postgresql%3A%2F%2Fme%3Asecret%40db",
            "me:secret@db",
            " me:it's secret@db:5432/kills\n",
            "me%3asecret%40db",
            "me:a://secret@db",
            "//me:secret@db/kills",
            "sslcert='me:secret@db' port=1",
            "db:5432:kills:me:secret",
            "*:*:*:*:se:cret",
            r"\:\:1:5432:kills:me:secret",
            "host=db password=secret",
            "host=db PASSWORD = 'sec ret'",
            "db/kills?pasword=secret",
            "PGPASSWORD=secret",
            "sslpassword=",
        ] {
            assert!(is_connection_string(value), "{value}");
            assert_eq!(shown(value), CONCEALED, "{value}");
        }
    }

    #[test]
    fn other_values_are_shown() {
        for value in [
            "",
            "dump.ndjson",
            "/srv/u:pw@h/x",
            "./rejects-00:05@eu.ndjson",
            "./h:5432:x:u:pw",
            "./passwords=1.ndjson",
            "dumps/h:5432:x:u:pw",
            "kills of 12:30 @eu.ndjson",
            "rejects@eu-00:05.ndjson",
            "kills token=5.ndjson",
            "/a=b/host=1/key=2/rejects",
            "passfile=/a sslkey=/b",
            "2026-01-31 12:00:00",
            "me@db:5432",
            "[2001:4860:0:1:2:3:4:5]:5432",
            "2001:4860:4860::8888",
            "a:1:2:3",
            "a:b:c:d:e",
            "http://x",
            "127.0.0.1:8080",
            "aegis_kills=trace",
            "8 GB",
        ] {
            assert!(!is_connection_string(value), "{value}");
            assert_eq!(shown(value), value);
        }
    }

    #[test]
    fn arguments_lose_their_connection_strings() {
        let url = "postgresql://me:pw@db";
        for (arguments, read) in [
            (&["load", "-q", "-", "--", "a"][..], &["load", "-q", "-", "--", "a"][..]),
            (&["load", url, "u:pw\n@h"], &["load", CONCEALED, CONCEALED]),
            (&["--server", url, "--server=u:pw@h"], &["--server", CONCEALED, "--server=postgresql://…"]),
            (&["--kept", url, url], &["--kept", url, CONCEALED]),
            (&["--kept=u:pw@h", "--kept-not=u:pw@h"], &["--kept=u:pw@h", "--kept-not=postgresql://…"]),
            (&["--password=Zq9", "--server=eu"], &["--password=postgresql://…", "--server=eu"]),
            (&["-qu:pw@h", "--postgresql://db?pasword=Zq9"], &["-…", "--…"]),
            (&["--kept u:p w@h", "-d u:pw@h/db?a=b", "-d a"], &["--…", "-…", "-d a"]),
            (&["--server eu --kept u:pw@h"], &["--…"]),
            (&["--passfile=./passwords=1"], &["--passfile=./passwords=1"]),
            (&["--kept", "--", "--kept", url], &["--kept", "--", "--kept", CONCEALED]),
            (&["--", "--kept=u:pw@h", "-qu:pw@h"], &["--", CONCEALED, CONCEALED]),
        ] {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(without_connection_strings(&arguments, &["--kept"]), read, "{arguments:?}");
        }
    }
}
