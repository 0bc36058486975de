//! Formats numbers and times for users, and times and objects for scripts.

pub(crate) use crate::numbers::{counted, grouped, per_second, rounded};

use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

const UNITS: [(f64, &str); 5] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")];

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn in_unit(bytes: u64, (size, name): (f64, &str)) -> String {
    let value = bytes as f64 / size;
    let digits = usize::from(name != "bytes");
    format!("{value:.digits$}")
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn unit_of(bytes: u64) -> (f64, &'static str) {
    UNITS.into_iter().find(|(size, _)| bytes as f64 >= *size).unwrap_or(UNITS[4])
}

/// The command that lists the rejects of a file, whose name is quoted for the shell.
pub(crate) fn list_rejects_command(file: &str) -> String {
    format!("jq -r '[.source, .line, .field, .reason] | @tsv' {file}")
}

/// A number of bytes, such as `12.8 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let unit = unit_of(bytes);
    format!("{} {}", in_unit(bytes, unit), unit.1)
}

/// A part of a number of bytes, such as `0.3 of 12.8 GB`.
pub(crate) fn bytes_of(part: u64, whole: u64) -> String {
    let unit = unit_of(whole);
    format!("{} of {} {}", in_unit(part, unit), in_unit(whole, unit), unit.1)
}

/// A duration in its two largest units, such as `2 min 10 s`.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A time of a setting in the largest unit without a remainder, such as `1 min`, `30 s` or `500 ms`.
pub(crate) fn setting(time: Duration) -> String {
    let milliseconds = time.as_millis();
    match (milliseconds % 60_000, milliseconds % 1000) {
        (0, _) if milliseconds > 0 => format!("{} min", milliseconds / 60_000),
        (_, 0) => format!("{} s", milliseconds / 1000),
        _ => format!("{milliseconds} ms"),
    }
}

/// A time for users, such as `2024-05-01 12:30:00 UTC`.
pub(crate) fn utc(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time for scripts, in RFC 3339: `2024-05-01T12:30:00Z`.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A JSON object in one line, with the fields in this order. A map of the library would sort them.
pub(crate) fn json_object(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, expected) in
            [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (12_849_000_000, "12.8 GB")]
        {
            assert_eq!(bytes(number), expected);
        }
        assert_eq!(bytes_of(312_000_000, 12_849_000_000), "0.3 of 12.8 GB");
        assert_eq!(bytes_of(0, 0), "0 of 0 bytes");
        for (seconds, expected) in
            [(0, "0 s"), (59, "59 s"), (130, "2 min 10 s"), (3720, "1 h 2 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(time(Duration::from_secs(seconds)), expected);
        }
        for (milliseconds, expected) in
            [(30_000, "30 s"), (60_000, "1 min"), (90_000, "90 s"), (500, "500 ms"), (1500, "1500 ms")]
        {
            assert_eq!(setting(Duration::from_millis(milliseconds)), expected);
        }
    }
}
