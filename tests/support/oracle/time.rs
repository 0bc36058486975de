//! Parses RFC 3339 time stamps by hand, because a check of a time library should not use one.

const MICROS_A_SECOND: i64 = 1_000_000;

/// An instant, truncated to microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    /// Since 1970-01-01T00:00:00Z, negative before.
    pub(super) micros: i64,
    /// The reason for which a reader may reject it, although it can be read.
    pub(super) doubt: Option<&'static str>,
}

/// The instant of `text`. None if it is no RFC 3339 time stamp with `T` and seconds, or if the date does not exist.
pub(super) fn parse(text: &str) -> Option<Instant> {
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(19)?;
    let marks = [head[4], head[7], head[13], head[16]];
    if marks != [b'-', b'-', b':', b':'] {
        return None;
    }
    let mut doubt = match head[10] {
        b'T' => None,
        b't' => Some("a lower-case t in a time stamp"),
        _ => return None,
    };
    let (year, month, day) = (number(&head[..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) = (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..])?);
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if second == 60 {
        doubt = Some("a leap second");
    }

    let (micros, digits, zone) = fraction(tail)?;
    if digits > 9 {
        doubt = Some("more than nine fraction digits");
    }
    let offset = match zone {
        b"Z" => 0,
        b"z" => {
            doubt = Some("a lower-case z in a time stamp");
            0
        }
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };

    let days = days_from_epoch(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let common = days_from_epoch(1, 1, 1) * 86_400..days_from_epoch(10_000, 1, 1) * 86_400;
    if !common.contains(&seconds) {
        doubt = Some("an instant outside of the years 1 to 9999");
    }
    Some(Instant { micros: seconds * MICROS_A_SECOND + micros, doubt })
}

/// The fraction in microseconds (truncated), its number of digits, and the text after it.
fn fraction(tail: &[u8]) -> Option<(i64, usize, &[u8])> {
    let Some(after) = tail.strip_prefix(b".") else {
        return Some((0, 0, tail));
    };
    let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let (fraction, zone) = after.split_at(digits);
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + fraction.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    }
    Some((micros, digits, zone))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the year 0 or later, in the proleptic Gregorian calendar.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Leap days of the years before this one, including the year 0.
    let leap_days = |year: i64| (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let years = (year - 1970) * 365 + leap_days(year) - leap_days(1970);
    let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn instants_match_the_calendar() {
        // Each number is from `date -u -d … +%s`.
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-08-18T20:45:46.725895400Z", 1_724_013_946_725_895),
            ("2024-08-18T22:45:46.7258959+02:00", 1_724_013_946_725_895),
            ("2020-02-29T23:59:59.999999999Z", 1_583_020_799_999_999),
            ("2000-02-29T00:00:00-00:30", 951_784_200_000_000),
            ("1969-12-31T23:59:59.9999999Z", -1),
            ("1900-03-01T00:00:00.5Z", -2_203_891_199_500_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
        ] {
            let instant = parse(text).unwrap_or_else(|| panic!("{text} is rejected"));
            assert_eq!((instant.micros, instant.doubt), (micros, None), "{text}");
        }
    }

    #[test]
    fn invalid_dates_are_rejected() {
        for text in [
            "",
            "today",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-04-31T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T25:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00Z",
            "2024-01-01",
            "2024-01-01 00:00:00Z",
            "1724013946",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00+2:00",
            "2024-01-01T00:00:00+0200",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+00:60",
            " 2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00Z ",
            "+2024-01-01T00:00:00Z",
            "2024-1-01T00:00:00Z",
            "2024-01-01T00:00:00ZZ",
            "٢٠٢٤-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn optional_rejects_are_doubtful() {
        for text in [
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2016-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2024-01-01T00:00:00.1234567890Z",
        ] {
            let instant = parse(text).unwrap_or_else(|| panic!("{text} is rejected"));
            assert!(instant.doubt.is_some(), "{text}");
        }
    }
}
