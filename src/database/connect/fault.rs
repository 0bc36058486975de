//! A failed connection: the host, the cause and a hint.

use crate::database::connect::cause::{cause, place};
use crate::database::connect::hints;
use crate::database::connect::tls::Tls;
use postgres::{Config, Error};
use std::fmt;

/// Describes a failed connection. The second line of the text is the hint.
#[derive(Debug)]
pub(crate) struct ConnectFault {
    place: String,
    cause: String,
    hint: Option<String>,
}

impl ConnectFault {
    pub(crate) fn new(error: &Error, tls: &Tls, config: &Config) -> Self {
        let hint = hints::hint(error, tls, config);
        Self { place: place(config), cause: cause(error, tls, config), hint }
    }

    /// The fault of a server that does not match `target_session_attrs`.
    pub(crate) fn unmet(unmet: &crate::database::connect::attributes::Unmet, config: &Config) -> Self {
        Self { place: place(config), cause: unmet.to_string(), hint: Some(hints::UNMET.to_owned()) }
    }
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
