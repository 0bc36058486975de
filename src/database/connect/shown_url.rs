//! Connection URLs for the commands in messages.

use crate::database::connect::{is_public_pair, text};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that are encoded in values of a URL.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// The connection string without the password. None if another part may be secret, or if it is invalid.
pub(crate) fn without_password(url: &str) -> Option<String> {
    without(&["password"], url)
}

/// The same without the user, for a command of another role.
pub(crate) fn without_login(url: &str) -> Option<String> {
    without(&["user", "password"], url)
}

fn without(omitted: &[&str], url: &str) -> Option<String> {
    let url = url.trim();
    let all = text::parse(url).ok()?;
    let pairs: Vec<_> = all.iter().filter(|(name, _)| !omitted.contains(&name.as_str())).collect();
    if !pairs.iter().all(|pair| is_public_pair(pair)) {
        return None;
    }
    if pairs.len() == all.len() {
        return Some(url.to_owned());
    }
    let encoded = |value: &str| utf8_percent_encode(value, &ENCODED).to_string();
    let of_name = |wanted: &str| pairs.iter().rev().find(|(name, _)| name == wanted);
    let database = of_name("dbname").map(|(_, value)| encoded(value)).unwrap_or_default();
    let parameters: Vec<String> = pairs
        .iter()
        .filter(|(name, _)| name != "dbname")
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let start = if parameters.is_empty() { "" } else { "?" };
    Some(format!("postgresql:///{database}{start}{}", parameters.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_stay_or_lose_their_password() {
        for (url, expected) in [
            ("postgresql://db:5432/kills", Some("postgresql://db:5432/kills")),
            (
                "postgresql:///kills?host=%2Ftmp%2Fa&user=me",
                Some("postgresql:///kills?host=%2Ftmp%2Fa&user=me"),
            ),
            ("postgresql://me@db:5432/kills", Some("postgresql://me@db:5432/kills")),
            ("host=db user='a b'", Some("host=db user='a b'")),
            (
                "postgresql://me:secret@10.0.0.1/kills?sslmode=require",
                Some("postgresql:///kills?user=me&host=10.0.0.1&sslmode=require"),
            ),
            ("postgres://me:secret@[::1]/k", Some("postgresql:///k?user=me&host=%3A%3A1")),
            (
                "host=/tmp/a user='a b' password=secret dbname=kills",
                Some("postgresql:///kills?host=%2Ftmp%2Fa&user=a%20b"),
            ),
            ("postgresql://me:secret@db?options=-c%20a.b=secret", None),
            ("postgresql://me@db?pasword=secret", None),
            ("postgresql://db/me%3Asecret%40db", None),
            ("me:secret@db", None),
        ] {
            let found = without_password(url);
            assert_eq!(found.as_deref(), expected, "{url}");
            // The program understands it as the same place.
            let parts = |url: &str| {
                let mut pairs = text::parse(url).expect("a URL");
                pairs.retain(|(name, _)| name != "password");
                pairs.sort();
                pairs
            };
            if let Some(found) = found {
                assert_eq!(parts(&found), parts(url), "{url}");
            }
        }
    }

    #[test]
    fn a_command_of_another_role_has_no_login() {
        for (url, expected) in [
            ("postgresql://db:5432/kills", Some("postgresql://db:5432/kills")),
            ("postgresql://me@db:5432/kills", Some("postgresql:///kills?host=db&port=5432")),
            ("postgresql://me:secret@/kills?host=/tmp/a", Some("postgresql:///kills?host=%2Ftmp%2Fa")),
            ("postgresql:///kills?user=me&host=%2Ftmp", Some("postgresql:///kills?host=%2Ftmp")),
            ("host=db user=me password=secret", Some("postgresql:///?host=db")),
            ("postgresql://me:secret@db?options=-c%20a.b=secret", None),
        ] {
            assert_eq!(without_login(url).as_deref(), expected, "{url}");
        }
    }
}
