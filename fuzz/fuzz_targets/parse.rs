//! A line of any bytes: taken or refused as `serde_json` and the oracle say, with the rows that the oracle says, in linear time.
//!
//! The first byte chooses what becomes of a NUL, and whether the rest is the line itself or the pieces of a long one.

#![no_main]

#[path = "../../tests/support"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest of it")]
mod support {
    pub(crate) mod agreement;
    pub(crate) mod copybin;
    pub(crate) mod oracle;
}

use aegis_kills::internals::{Event, LineReader, NulPolicy};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use support::agreement::{POLICIES, check};

/// The length of a line that is made of pieces. What takes quadratic time on it runs into libFuzzer's time limit.
const LONG_LINE_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let line = String::from_utf8_lossy(bytes);
    // What is no UTF-8 never comes to the parser, so it must be no JSON either.
    assert!(matches!(line, std::borrow::Cow::Borrowed(_)) || serde_json::from_slice::<Value>(bytes).is_err());
    if choice < 0xf0 {
        check(&line, usize::from(choice) % POLICIES.len());
    } else {
        check_long(&line);
    }
});

/// A line whose middle, between two bars, is there again and again.
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
        Ok(()) => assert!(is_json || is_blank, "taken, but it is no JSON"),
        Err(fault) if fault.reason().starts_with("an array of more than") => {}
        Err(fault) => assert!(!is_json, "refused, but it is JSON: {fault}"),
    }
}
