//! The swarm: random loads of the program into a server. Each must end in time with truthful counts and with the oracle's
//! tables.
//!
//! `SWARM` is the number of cases, `SEED` the seed of the first. Each further case uses the next seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::support::seeds::{first_seed, say, setting};
use crate::support::swarm::{Case, play};

const CASES: u64 = 60;
/// Concurrent cases. More of them find more, because they disturb each other.
const THREADS: u64 = 4;

/// Runs a case and returns the report if it fails.
fn failure(case: &Case) -> Option<String> {
    let mut notes = Vec::new();
    let panic = catch_unwind(AssertUnwindSafe(|| play(case, &mut |note| notes.push(note)))).err()?;
    let why = panic.downcast_ref::<String>().map(String::as_str);
    let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    Some(format!(
        "SWARM FAILURE, again with: SWARM=1 SEED={} scripts/test swarm\n{why}\n{case:#?}\n{}\n",
        case.seed,
        notes.join("\n")
    ))
}

#[test]
fn random_loads_end_with_truthful_counts() {
    let (cases, first) = (setting("SWARM").unwrap_or(CASES), first_seed());
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS.min(cases) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases {
                        return;
                    }
                    let case = Case::new(first.wrapping_add(number));
                    if let Some(text) = failure(&case) {
                        say(&text);
                        failures.lock().expect("no panic").push(case.seed);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic");
    failures.sort_unstable();
    assert!(failures.is_empty(), "of {cases} cases from seed {first} these failed: {failures:?}");
    if setting("SWARM").is_some() {
        say(&format!("{cases} cases from seed {first} in {:.0?}", begun.elapsed()));
    }
}
