//! The memory for events of nearly the maximum size.
#![cfg(target_os = "linux")]

use std::io::Write as _;

use super::memory::{check, event_with, load_with};

/// An event of about this many bytes: items, each with a soul.
fn event(id: u64, bytes: usize) -> String {
    const SOUL: usize = 440;
    let item = format!(r#"{{"Type":"T4_BAG","Count":1,"Quality":1,"LegendarySoul":"{}"}}"#, "s".repeat(SOUL));
    let items = (bytes - 400) / (item.len() + 1);
    assert!(items < 32_768, "no more fit in an inventory");
    event_with(id, &format!(",\"Inventory\":[{}{item}]", format!("{item},").repeat(items - 1)))
}

/// Loads `count` events of `bytes` each.
fn load_events(name: &str, options: &[&str], count: u64, bytes: usize) {
    let loaded = load_with(name, options, 1, |input| {
        for id in 1..=count {
            input.write_all(event(id, bytes).as_bytes())?;
        }
        Ok(count)
    });
    check(name, 1, loaded, [("events", count), ("inserted", count), ("rejected", 0)]);
}

#[test]
fn memory_is_bounded_for_the_longest_events() {
    load_events("memory longest events", &[], 14, 15_900_000);
}

#[test]
fn memory_is_bounded_for_events_of_a_segment_each() {
    load_events("memory segments", &[], 14, 8_300_000);
}

#[test]
fn memory_is_bounded_for_events_of_half_a_segment() {
    load_events("memory halves", &[], 28, 4_100_000);
}

#[test]
fn memory_is_bounded_for_updates_of_the_longest_events() {
    load_events("memory rewritten", &["--on-conflict", "update"], 14, 15_900_000);
}

/// Loads events of more bytes than may be in memory, all on one line.
fn load_line(name: &str, options: &[&str], open: &[u8], close: &[u8]) {
    let count = 1400;
    let loaded = load_with(name, options, 1, |input| {
        input.write_all(open)?;
        for id in 1..=count {
            input.write_all(event(id, 200_000).trim_end().as_bytes())?;
            input.write_all(if id < count { &b","[..] } else { close })?;
        }
        Ok(count)
    });
    check(name, 1, loaded, [("events", count), ("inserted", count), ("rejected", 0)]);
}

#[test]
fn memory_is_bounded_for_an_array_on_one_line() {
    load_line("memory array", &[], b"[", b"]");
}

#[test]
fn memory_is_bounded_for_an_envelope_of_any_size() {
    load_line("memory envelope", &["--events-at", "data.events"], b"{\"data\":{\"events\":[", b"]}}");
}
