//! Lines of a reject file, which contain the rejected value.

use crate::event::fault::{Fault, FaultKind};
use crate::event::json::Cursor;
use crate::event::text::NulPolicy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A line of a reject file.
#[derive(Debug)]
pub(crate) struct RejectLine {
    /// The name of the source that contained the value.
    pub(crate) source: String,
    /// The rejected value, or why it is unavailable.
    pub(crate) value: Result<String, Fault>,
}

/// Reads a line of a reject file. `None` if `text`, a JSON value, is no such line.
pub(crate) fn read(text: &str) -> Option<RejectLine> {
    let mut cursor = Cursor::new(NulPolicy::Replace);
    cursor.start_at(text, 0);
    if cursor.peek() != Some(b'{') {
        return None;
    }
    let (mut raw, mut source, mut reason, mut base64, mut truncated) = (None, None, false, false, false);
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
        Ok(completed(raw.into_owned()))
    };
    Some(RejectLine { source: source.into_owned(), value })
}

/// Completes the text of a reject that was the rest of a line in an array.
#[cold]
fn completed(raw: String) -> String {
    let is_json = |text: &str| {
        let mut cursor = Cursor::new(NulPolicy::Replace);
        cursor.start_at(text, 0);
        cursor.skip_all().is_ok()
    };
    if is_json(&raw) {
        return raw;
    }
    let rest = raw.trim_end().trim_end_matches(',');
    let texts = [rest.to_owned(), format!("[{rest}"), format!("[{rest}]")];
    texts.into_iter().find(|text| is_json(text)).unwrap_or(raw)
}
