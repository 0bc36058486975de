//! A connection that was not made: where, the cause, stated once, and what to do.

use crate::database::connect::cause::{cause, place};
use crate::database::connect::hints;
use crate::database::connect::tls::Tls;
use postgres::{Config, Error};
use std::fmt;

/// Why there is no connection. Its second line is the hint.
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

    /// A server that is not as `target_session_attrs` asks.
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
