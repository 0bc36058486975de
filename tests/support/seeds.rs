//! The scale and the seeds of random tests, from the environment.

use std::env;
use std::io::Write as _;

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name} is {text:?}: {error}")))
}

/// The seed of the first case. It is fixed in CI, so that failures are reproducible.
pub(crate) fn first_seed() -> u64 {
    setting("SEED").unwrap_or_else(|| match env::var("CI").as_deref() {
        Err(_) | Ok("" | "0" | "false") => fastrand::u64(0..1_000_000_000),
        Ok(_) => 1,
    })
}

/// Bypasses the test harness, which captures output until a test ends.
pub(crate) fn say(text: &str) {
    let said = writeln!(std::io::stderr(), "{text}");
    said.expect("standard error");
}
