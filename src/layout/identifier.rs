//! Identifiers as SQL takes them.

/// An identifier in the quotes that SQL wants, whatever it holds.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name in the quotes that SQL wants, where it wants them; only the words of PostgreSQL itself are not looked for.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain { name.to_owned() } else { quote_identifier(name) }
}

/// Names, quoted, with commas between them.
pub(crate) fn quoted_list(names: &[&str]) -> String {
    names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
}
