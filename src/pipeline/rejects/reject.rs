//! Rejected values.

use crate::event::fault::{Fault, FaultKind};
use crate::event::server::Server;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A rejected line, value or array element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The number of its line in the source, counted from 1.
    pub line: u64,
    /// Its index in the line's array, counted from 0.
    pub index: Option<usize>,
    /// The range of its text in the segment.
    pub text: Range<usize>,
    /// Its decoded text, if it was in a string of the segment.
    pub raw: Option<Box<str>>,
    /// The number of that text among those of its value, if it is too long to hold.
    pub unheld: Option<usize>,
    /// The game server that the values around it name.
    pub enclosing_server: Option<Server>,
    pub cause: RejectCause,
    /// Whether the text is only the head of the value.
    pub truncated: bool,
}

impl Reject {
    /// Returns the game server that the values around the event, or the event itself if known, name.
    pub(crate) fn named_server(&self) -> Option<Server> {
        if let RejectCause::Fault(fault) = &self.cause
            && let FaultKind::OtherServer { named, .. } = fault.kind()
        {
            return Some(*named);
        }
        self.enclosing_server
    }
}

/// The cause of a rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RejectCause {
    /// The value is invalid.
    Fault(Fault),
    /// The database refused the event.
    Database {
        /// The database's message.
        reason: Box<str>,
        /// None if a trigger dropped or changed the row silently.
        sqlstate: Option<Box<str>>,
    },
}

impl RejectCause {
    pub fn reason(&self) -> Cow<'_, str> {
        match self {
            Self::Fault(fault) => fault.reason().into(),
            Self::Database { reason, .. } => Cow::Borrowed(reason),
        }
    }

    /// The field and the reason, and the advice for the whole input, which can name keys of it and may be empty.
    pub(crate) fn with_advice_apart(&self) -> (String, String) {
        match self {
            Self::Fault(fault) => {
                let advice = match fault.kind() {
                    FaultKind::OtherServer { named, .. } => format!("load it with --server {named}"),
                    _ => fault.advice(),
                };
                (fault.without_advice().to_string(), advice)
            }
            Self::Database { reason, .. } => (reason.to_string(), String::new()),
        }
    }

    /// The field at fault, as a path below the event.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Fault(fault) => fault.field(),
            Self::Database { .. } => None,
        }
    }

    /// The path at which an event seems to be inside the value.
    pub(crate) fn events_at(&self) -> Option<&str> {
        match self {
            Self::Fault(fault) => fault.events_at(),
            Self::Database { .. } => None,
        }
    }

    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Fault(_) => None,
            Self::Database { sqlstate, .. } => sqlstate.as_deref(),
        }
    }
}

impl fmt::Display for RejectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Database { reason, .. } => f.write_str(reason),
        }
    }
}
