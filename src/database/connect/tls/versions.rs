//! The range of TLS versions (`ssl_min_protocol_version`, `ssl_max_protocol_version`).

use crate::database::connect::error::TargetError;
use crate::database::connect::parameters::Parameters;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// libpq's names in rising order. The first two are valid as a lower limit; no session uses them.
const NAMES: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// The TLS versions that a session may use; never empty.
pub(crate) fn versions(
    parameters: &Parameters,
) -> Result<Vec<&'static SupportedProtocolVersion>, TargetError> {
    let min = limit(parameters, "ssl_min_protocol_version", &NAMES)?;
    // Versions before TLS 1.2 are not supported, so a lower maximum would leave none.
    let max = limit(parameters, "ssl_max_protocol_version", &NAMES[2..])?;
    let all = [("TLSv1.2", &TLS12), ("TLSv1.3", &TLS13)];
    let number = |name: &str| NAMES.iter().position(|known| *known == name);
    let is_allowed = |name: &str| {
        min.is_none_or(|min| number(name) >= number(min)) && max.is_none_or(|max| number(name) <= number(max))
    };
    let found: Vec<_> =
        all.into_iter().filter(|(name, _)| is_allowed(name)).map(|(_, version)| version).collect();
    match (found.is_empty(), min, max) {
        (true, Some(min), Some(max)) => Err(TargetError::VersionRange { min, max }),
        _ => Ok(found),
    }
}

fn limit(
    parameters: &Parameters,
    name: &str,
    names: &[&'static str],
) -> Result<Option<&'static str>, TargetError> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    let known = names.iter().copied().find(|known| known.eq_ignore_ascii_case(&value.text));
    known.map(Some).ok_or_else(|| value.not_among(names))
}
