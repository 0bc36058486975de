//! Parses arbitrary bytes as a line. The result must match `serde_json` and the oracle, the rows must match the oracle,
//! and the time must be linear.
//!
//! The first byte selects the NUL policy, and whether the other bytes are the line itself or the pieces of a long line.

#![no_main]

#[path = "../../tests/support"]
#[allow(dead_code, unused_imports, reason = "the tests use the other items")]
mod support {
    pub(crate) mod agreement;
    pub(crate) mod copybin;
    pub(crate) mod oracle;
}

use aegis_kills::internals::{Event, LineReader, NulPolicy};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use support::agreement::{POLICIES, check};

/// The length of a line that is assembled from pieces. Quadratic time on it exceeds libFuzzer's time limit.
const LONG_LINE_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let line = String::from_utf8_lossy(bytes);
    // The parser only receives UTF-8. So other bytes must not be valid JSON.
    assert!(matches!(line, std::borrow::Cow::Borrowed(_)) || serde_json::from_slice::<Value>(bytes).is_err());
    if choice < 0xf0 {
        check(&line, usize::from(choice) % POLICIES.len());
    } else {
        check_long(&line);
    }
});

/// Checks a long line: the part between two bars is repeated.
fn check_long(pieces: &str) {
    let mut pieces = pieces.splitn(3, '|');
    let (Some(head), Some(middle), Some(tail)) = (pieces.next(), pieces.next(), pieces.next()) else {
        return;
    };
    let line = [head, &middle.repeat(LONG_LINE_BYTES / middle.len().max(1)), tail].concat();
    let text = line.strip_prefix('\u{feff}').unwrap_or(&line);
    let is_blank = text.bytes().all(|byte| b" \t\r\n".contains(&byte));
    let is_json = serde_json::from_str::<Value>(text).is_ok();
    match LineReader::new(NulPolicy::Reject).read(&line, &mut Event::default(), |_| ()) {
        // A lone surrogate rejects only the event that contains it.
        Ok(()) if text.to_ascii_lowercase().contains("\\ud") => {}
        Ok(()) => assert!(is_json || is_blank, "accepted, but it is not JSON"),
        Err(fault) if fault.reason().starts_with("an array of more than") => {}
        Err(fault) => assert!(!is_json, "rejected, but it is JSON: {fault}"),
    }
}
