//! Event times, in microseconds since 1970.

use crate::event::fault::FaultKind;
use crate::event::forms::extended_json;
use crate::event::forms::extended_json::ExtendedDate;
use crate::event::json::{Cursor, Parsed};
use jiff::civil::DateTime;

/// Parses an RFC 3339 time with `Z` or an offset. Microseconds are truncated.
pub(crate) fn time_stamp(cursor: &mut Cursor<'_>) -> Parsed<Option<i64>> {
    let extended = if cursor.peek() == Some(b'{') { extended_json::date(cursor)? } else { None };
    let text = match extended {
        Some(ExtendedDate::Milliseconds(milliseconds)) => return Ok(Some(milliseconds * 1000)),
        Some(ExtendedDate::Text(text)) => text.into(),
        None => match cursor.text()? {
            Some(text) => text,
            None => return Ok(None),
        },
    };
    let time = microseconds_since_1970(&text);
    time.map(Some).ok_or_else(|| FaultKind::NotTime.into())
}

fn microseconds_since_1970(text: &str) -> Option<i64> {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let (civil, offset) = if let Some(civil) = text.strip_suffix('Z') {
        (civil, 0)
    } else {
        let (civil, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
        (civil, offset_seconds(zone)?)
    };
    if !has_shape_of_rfc_3339(civil) {
        return None;
    }
    let nanoseconds = civil.parse::<DateTime>().ok()?.duration_since(EPOCH).as_nanos();
    let local = i64::try_from(nanoseconds.div_euclid(1000)).ok()?;
    Some(local - offset * 1_000_000)
}

/// Whether a time without its zone has the form of RFC 3339. The library also accepts other forms of ISO 8601 and
/// second 60.
fn has_shape_of_rfc_3339(civil: &str) -> bool {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((seconds, fraction)) = civil.as_bytes().split_first_chunk::<19>() else { return false };
    let fits = |(found, shape): (&u8, &u8)| match shape {
        b'0' => found.is_ascii_digit(),
        mark => found == mark,
    };
    let fraction_fits = match fraction.split_first() {
        Some((point, digits)) => *point == b'.' && digits.iter().all(u8::is_ascii_digit),
        None => true,
    };
    seconds.iter().zip(SHAPE).all(fits) && seconds[17] < b'6' && fraction_fits
}

/// Parses an offset such as `+02:00`, in seconds.
fn offset_seconds(zone: &str) -> Option<i64> {
    let &[sign @ (b'+' | b'-'), hour_tens, hour, b':', minute_tens, minute] = zone.as_bytes() else {
        return None;
    };
    let number = |tens: u8, ones: u8| {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        digits.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let (hours, minutes) = (number(hour_tens, hour)?, number(minute_tens, minute)?);
    let seconds = (hours * 60 + minutes) * 60;
    (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(microseconds_since_1970(text), expected, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-01T00:00:01.5Z", Some(1_500_000));
        check("1970-01-01T00:00:00.123456789Z", Some(123_456));
        check("1970-01-01T00:00:00.999999999Z", Some(999_999));
        check("1969-12-31T23:59:59.9999999Z", Some(-1));
        check("1970-01-01T02:00:00+02:00", Some(0));
        check("1969-12-31T18:30:00.000001-05:30", Some(1));
        check("1970-01-01T00:00:00-00:00", Some(0));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000));
        check("9999-12-31T23:59:59Z", Some(253_402_300_799_000_000));
        for wrong in [
            "",
            "now",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T25:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01",
            "2024-01-01T00:00:00Z[UTC]",
            "2024-01-01T00:00:00+02:00Z",
            "2024-01-01T00:00:00ZZ",
            "20240101T000000.0000Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00.0000000001Z",
            "2024-01-01T00:00:00+02",
            "2024-01-01T00:00:00+0200",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+00:60",
            "2024-01-01T00:00:00+02:00:00",
            "2024-01-01T00:00:00\u{2212}02:00",
            "2024-01-01T00:00+02Z",
        ] {
            check(wrong, None);
        }
    }
}
