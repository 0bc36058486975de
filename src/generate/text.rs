//! Appends numbers and escapes as JSON text. It uses integer arithmetic only, so the bytes are the same on every
//! platform.

/// The decimal digits of all numbers below 100, two bytes each.
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    let mut tens = b'0';
    while tens <= b'9' {
        let mut ones = b'0';
        while ones <= b'9' {
            pairs[number] = tens;
            pairs[number + 1] = ones;
            number += 2;
            ones += 1;
        }
        tens += 1;
    }
    pairs
};

/// Maximum number of digits of a `u64`.
const DIGITS_MAX: usize = 20;

/// Appends `value` without leading zeros.
pub(crate) fn push_u64(buffer: &mut Vec<u8>, value: u64) {
    let (digits, start) = digits_of(value);
    buffer.extend_from_slice(&digits[start..]);
}

/// Appends the last `width` digits of `value` with leading zeros. `width` is at most 20.
pub(crate) fn push_padded(buffer: &mut Vec<u8>, value: u64, width: usize) {
    let (digits, _) = digits_of(value);
    buffer.extend_from_slice(&digits[DIGITS_MAX - width..]);
}

/// Appends `value` billionths as a decimal number with at least one decimal and no other trailing zeros.
pub(crate) fn push_billionths(buffer: &mut Vec<u8>, value: u64) {
    push_u64(buffer, value / 1_000_000_000);
    buffer.push(b'.');
    let fraction_start = buffer.len();
    push_padded(buffer, value % 1_000_000_000, 9);
    while buffer.len() > fraction_start + 1 && buffer.last() == Some(&b'0') {
        buffer.pop();
    }
}

/// Appends text with all characters outside ASCII as `\uXXXX`, as surrogate pairs if necessary. ASCII is copied
/// unchanged.
pub(crate) fn push_escaped(buffer: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for character in text.chars() {
        if character.is_ascii() {
            buffer.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            buffer.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                buffer.push(HEX[usize::from(*unit >> shift & 0xf)]);
            }
        }
    }
}

/// The digits of `value` with leading zeros, and the position of the first significant digit.
fn digits_of(mut value: u64) -> ([u8; DIGITS_MAX], usize) {
    let mut digits = [b'0'; DIGITS_MAX];
    let mut start = DIGITS_MAX;
    while value >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(pair(value % 100));
        value /= 100;
    }
    let last = pair(value);
    if value >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(last);
    } else {
        start -= 1;
        digits[start] = last[1];
    }
    (digits, start)
}

/// The two digits of a number below 100.
#[expect(clippy::cast_possible_truncation, reason = "the number is below 100")]
fn pair(number: u64) -> &'static [u8] {
    let at = number as usize * 2;
    &PAIRS[at..at + 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut buffer = Vec::new();
        push(&mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn integers_match_the_standard_library() {
        for value in [0, 7, 9, 10, 42, 99, 100, 101, 12_345, 1_300_000_007, u64::MAX] {
            assert_eq!(text(|b| push_u64(b, value)), value.to_string());
        }
    }

    #[test]
    fn padded_numbers_keep_their_width() {
        let check = |value, width, expected: &str| {
            assert_eq!(text(|b| push_padded(b, value, width)), expected);
        };
        check(0, 2, "00");
        check(7, 9, "000000007");
        check(1_234_567, 7, "1234567");
        check(1_234_567, 3, "567");
        check(u64::MAX, 20, "18446744073709551615");
    }

    #[test]
    fn billionths_keep_one_digit_after_the_point() {
        let check = |value, expected: &str| assert_eq!(text(|b| push_billionths(b, value)), expected);
        check(0, "0.0");
        check(260_000_000_000, "260.0");
        check(1_199_999_900, "1.1999999");
        check(1_650_000, "0.00165");
    }

    #[test]
    fn escapes_decode_to_the_same_text() {
        for name in ["Plain", "Ñandú", "龙影", "𠮷野"] {
            let escaped = text(|b| push_escaped(b, name));
            assert!(escaped.is_ascii());
            let back: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
            assert_eq!(back, name);
        }
    }
}
