//! Formats numbers and times for users, and times for scripts.

use jiff::Timestamp;
use std::time::Duration;

/// A number with thousands separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number with its noun, in the singular for 1.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

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

/// A time for users, such as `2024-05-01 12:30:00 UTC`.
pub(crate) fn utc(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time for scripts, in RFC 3339: `2024-05-01T12:30:00Z`.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
        for (number, expected) in [(0, "0 lines"), (1, "1 line"), (1000, "1,000 lines")] {
            assert_eq!(counted(number, "line"), expected);
        }
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
    }
}
