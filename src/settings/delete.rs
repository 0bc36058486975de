//! The settings of `delete`.

use crate::cli::DeleteArgs;
use crate::input::segment::SegmentLimits;
use crate::input::source::Source;
use crate::settings::database::DatabaseSettings;
use crate::settings::environment::{Environment, NO_VARIABLE, SettingError, duration};
use crate::settings::event::EventSettings;
use crate::settings::{segment_limits, sources};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct DeleteSettings {
    /// The events before this time are deleted, if it is set.
    pub before: Option<Timestamp>,
    /// The dumps whose events are deleted; none with a time.
    pub sources: Vec<Source>,
    pub database: DatabaseSettings,
    /// The game server, and how dumps are read.
    pub event: EventSettings,
    pub segment: SegmentLimits,
    /// The time limit of an in-flight batch after a signal.
    pub drain_timeout: Duration,
    /// Whether to count only.
    pub dry_run: bool,
}

impl DeleteSettings {
    /// Reads options and variables. Ages count from `now`. With a time, a setting must name the server.
    pub(crate) fn new(args: &DeleteArgs, env: Environment<'_>, now: Timestamp) -> Result<Self, SettingError> {
        let event = EventSettings::new(&args.event, env)?;
        let before = env.read(("--before", args.before.as_deref()), NO_VARIABLE, |text| time(text, now))?;
        if before.is_some() && event.reading.must_name_server {
            return Err(SettingError::ServerOfOldEvents);
        }
        Ok(Self {
            before,
            sources: if before.is_some() { Vec::new() } else { sources(&args.files) },
            database: DatabaseSettings::new(&args.database, env)?,
            event,
            segment: segment_limits(env)?,
            drain_timeout: env.variable("KILLS_DRAIN_TIMEOUT", Duration::from_secs(25), duration)?,
            dry_run: args.dry_run,
        })
    }
}

/// Parses a time: RFC 3339, a date or a date and time in UTC, or an age such as `90d`.
fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wanted = || {
        "expected a date such as 2025-01-01 (UTC), an RFC 3339 time such as 2025-01-01T12:00:00Z, or an age \
         such as 90d, 6mo or 1y"
            .to_owned()
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return TimeZone::UTC.to_timestamp(time).map_err(|_| wanted());
    }
    let age: Span = text.parse().map_err(|_| wanted())?;
    if !age.is_positive() {
        return Err(wanted());
    }
    if age.get_minutes() != 0
        || age.get_seconds() != 0
        || age.get_milliseconds() != 0
        || age.get_microseconds() != 0
        || age.get_nanoseconds() != 0
    {
        return Err(unit_too_small(text));
    }
    let then = TimeZone::UTC.to_datetime(now).checked_sub(age).map_err(|_| wanted())?;
    TimeZone::UTC.to_timestamp(then).map_err(|_| wanted())
}

/// The error of an age with a unit below an hour: most likely `m` is meant as months.
fn unit_too_small(text: &str) -> String {
    let units = "expected an age in h, d, w, mo or y";
    match text.strip_suffix('m') {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{units}; m is minutes, so for months write {number}mo")
        }
        _ => format!("{units}, such as 36h, 90d or 6mo"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages() {
        let now: Timestamp = "2026-03-31T12:00:00Z".parse().expect("a time");
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(time(text, now).ok().map(|time| time.to_string()).as_deref(), expected, "{text}");
        };
        check("2025-01-01", Some("2025-01-01T00:00:00Z"));
        check("2025-01-01 06:30", Some("2025-01-01T06:30:00Z"));
        check("2025-01-01T00:00:00.25+02:00", Some("2024-12-31T22:00:00.25Z"));
        check("90d", Some("2025-12-31T12:00:00Z"));
        check("36 hours", Some("2026-03-30T00:00:00Z"));
        check("1mo", Some("2026-02-28T12:00:00Z"));
        check("1y", Some("2025-03-31T12:00:00Z"));
        for wrong in ["", "yesterday", "90", "-90d", "0d", "90d ago", "2025-13-01", "2025", "99999y"] {
            check(wrong, None);
        }
        for too_small in ["6m", "90m", "10s", "500ms", "1h 30m"] {
            check(too_small, None);
        }
    }
}
