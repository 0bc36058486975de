//! SQL identifiers.

pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes an identifier if it needs quotes. Reserved words are not detected.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain { name.to_owned() } else { quote_identifier(name) }
}

/// Quotes names and joins them with commas.
pub(crate) fn quoted_list(names: &[&str]) -> String {
    names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
}
