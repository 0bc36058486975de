//! Lines of a reject file, which contain the rejected value.

use crate::event::fault::{Fault, FaultKind};
use crate::event::forms::envelope::PathStep;
use crate::event::json::Cursor;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[derive(Debug)]
pub(crate) struct RejectLine {
    /// The name of the source that contained the value.
    pub(crate) source: String,
    /// The battle that the source of an earlier reject of the value names.
    pub(crate) battle: Option<i64>,
    /// The game server that the values around it named.
    pub(crate) server: Option<Server>,
    /// The rejected value, or why it is unavailable.
    pub(crate) value: Result<String, Fault>,
}

/// Reads a line of a reject file. `None` if `text`, a JSON value, is no such line. `path` leads to the events in each
/// value, if they are in envelopes.
pub(crate) fn read(text: &str, path: &[PathStep]) -> Option<RejectLine> {
    let mut cursor = Cursor::new(NulPolicy::Replace);
    cursor.start_at(text, 0);
    if cursor.peek() != Some(b'{') {
        return None;
    }
    let (mut raw, mut source, mut battle, mut server) = (None, None, None, None);
    let (mut reason, mut base64, mut truncated) = (false, false, false);
    let mut key = cursor.first_key().ok()?;
    while let Some(name) = key {
        let start = cursor.at();
        match (&*name, cursor.peek()) {
            ("raw", Some(b'"')) => raw = Some(cursor.whole_string().ok()?),
            ("source", Some(b'"')) => source = Some(cursor.whole_string().ok()?),
            (name, _) => {
                cursor.skip().ok()?;
                let value = cursor.text_since(start);
                match name {
                    "reason" => reason = value.starts_with('"'),
                    "battle" => battle = value.parse().ok(),
                    "server" => server = value.trim_matches('"').parse().ok(),
                    "raw_base64" => base64 = value == "true",
                    "truncated" => truncated = value == "true",
                    _ => {}
                }
            }
        }
        key = cursor.following_key().ok()?;
    }
    let (raw, source) = raw.zip(source).filter(|_| reason)?;
    let value: Result<String, Fault> = if truncated {
        Err(FaultKind::TruncatedReject.into())
    } else if base64 {
        let bytes = STANDARD.decode(raw.as_bytes()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| FaultKind::RejectNotUtf8.into())
    } else {
        Ok(completed(raw.into_owned(), path))
    };
    Some(RejectLine { source: source.into_owned(), battle, server, value })
}

/// Completes the text of a reject that was the rest of a line in an array or an envelope.
#[cold]
fn completed(raw: String, path: &[PathStep]) -> String {
    let is_json = |text: &str| {
        let mut cursor = Cursor::new(NulPolicy::Replace);
        cursor.start_at(text, 0);
        cursor.skip_all().is_ok()
    };
    if is_json(&raw) {
        return raw;
    }
    let rest = raw.trim().trim_end_matches(',');
    let texts = [rest.to_owned(), format!("[{rest}"), format!("[{rest}]"), format!("[[{rest}")];
    let found = texts.into_iter().chain(enveloped(rest, path)).find(|text| is_json(text));
    found.unwrap_or(raw)
}

/// Encloses the rest of an envelope in the beginning of one. It can begin at any depth, and lack the end.
fn enveloped<'p>(rest: &'p str, path: &'p [PathStep]) -> impl Iterator<Item = String> + 'p {
    let beginnings = (1..=path.len()).flat_map(move |depth| {
        let (outer, last) = path[..depth].split_at(depth - 1);
        let outer: String = outer.iter().map(PathStep::opening).collect();
        let array = format!("{outer}{}[", last[0].opening());
        // At an element, or at a member.
        [array, outer + "{"]
    });
    beginnings.flat_map(move |beginning| {
        let text = beginning + rest;
        let mut closed = text.clone();
        closed.extend(closing(&text));
        [text, closed]
    })
}

/// Returns the closing brackets that a text lacks.
fn closing(text: &str) -> impl Iterator<Item = char> {
    let (mut open, mut is_string, mut is_escaped) = (Vec::new(), false, false);
    for letter in text.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_string => is_escaped = true,
            '"' => is_string = !is_string,
            '[' if !is_string => open.push(']'),
            '{' if !is_string => open.push('}'),
            ']' | '}' if !is_string => {
                open.pop();
            }
            _ => {}
        }
    }
    open.into_iter().rev()
}
