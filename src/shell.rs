//! Shell quoting.

use crate::visible::is_hidden;

/// Quotes a path for a shell, if necessary.
pub(crate) fn shell_quoted(path: &str) -> String {
    let harmless = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if !path.is_empty() && path.chars().all(harmless) {
        path.to_owned()
    } else if path.chars().any(|letter| is_hidden(letter) || letter.is_control()) {
        format!("$'{}'", dollar_quoted(path))
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// The text within `$'…'`, the form of bash, zsh and ksh for characters that a terminal does not show.
fn dollar_quoted(text: &str) -> String {
    let escaped = |letter: char| match letter {
        '\'' | '\\' => format!("\\{letter}"),
        hidden if is_hidden(hidden) || hidden.is_control() => {
            hidden.to_string().bytes().fold(String::new(), |text, byte| format!("{text}\\x{byte:02x}"))
        }
        other => other.to_string(),
    };
    text.chars().map(escaped).collect()
}
