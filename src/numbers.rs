//! Formats numbers for users, and computes rates.

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

/// The rate of a count per second; 0 without time.
#[expect(clippy::cast_precision_loss, reason = "a rate needs at most 15 digits")]
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for small positive numbers")]
pub(crate) fn rounded(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_agree_with_their_nouns() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
        for (number, expected) in [(0, "0 lines"), (1, "1 line"), (1000, "1,000 lines")] {
            assert_eq!(counted(number, "line"), expected);
        }
    }
}
