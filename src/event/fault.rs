//! The reason why a text or an event was rejected.

use crate::event::server::Server;
use std::fmt;

/// The fault of a text or an event: its kind and its field. Only its advice can name keys of the record; it contains no other
/// text of it.
///
/// It is one pointer wide, so that the parser's results stay small on the path without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<FaultDetail>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FaultDetail {
    kind: FaultKind,
    field: String,
    events_at: Option<String>,
    rejects_line: bool,
    /// Whether the byte in the reason counts from the start of a value, not of a line.
    is_of_value: bool,
}

/// The kind of a fault. Its text is the reason in the reject file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    #[error("not JSON: {reason} at byte {byte} of the line")]
    Syntax { reason: &'static str, byte: usize },
    #[error("not UTF-8 at byte {byte} of the line")]
    NotUtf8 { byte: usize },
    #[error("contains a lone surrogate such as \\ud800, which is not a character and can't be stored")]
    LoneSurrogate,
    #[error("a value of {bytes} bytes exceeds the limit of {bytes_max}")]
    ValueTooLong { bytes: u64, bytes_max: usize },
    #[error(
        "not JSON: malformed at byte {byte} of the value; correct the input itself, because the reject file has only the \
         beginning of the remaining {bytes} bytes of the line"
    )]
    LongLine { byte: usize, bytes: u64 },
    #[error("not JSON: the object that ends here is not closed")]
    NotClosed,
    #[error(
        "not JSON: an object is not closed or malformed, so {bytes} bytes around this place, which are not in the reject file, \
         may hold events that were not read; correct the input itself"
    )]
    Unread { bytes: u64 },
    #[error("an array of more than {0} elements")]
    ArrayTooLong(usize),
    #[error("expected {wanted}, found {found}")]
    WrongType { wanted: &'static str, found: &'static str },
    #[error("expected an integer, found a number with a fraction or an exponent")]
    Fraction,
    #[error("expected a 64-bit integer, found another number")]
    NotInteger,
    #[error("integer exceeds 64 bits")]
    IntegerTooLarge,
    #[error("integer exceeds the {bits} bits of its column")]
    IntegerExceedsColumn { bits: usize },
    #[error("implausible number: its absolute value is neither 0 nor between 1e-100 and 1e12")]
    ImplausibleNumber,
    #[error("longer than {0} bytes")]
    TextTooLong(usize),
    #[error("longer than the {0} characters of its column")]
    TextExceedsColumn(usize),
    #[error("contains \\u0000, which PostgreSQL can't store; load it with --nul strip or --nul replace")]
    Nul,
    #[error("JSON longer than {0} bytes")]
    JsonTooLong(usize),
    #[error("JSON nested more than {0} levels deep")]
    JsonTooDeep(u32),
    #[error("number of more than {0} digits in stored JSON")]
    TooManyDigits(usize),
    #[error("number with an exponent beyond {0} in stored JSON")]
    ExponentTooLarge(u32),
    #[error("required field is missing")]
    Missing,
    #[error("required field is missing or empty")]
    MissingOrEmpty,
    #[error("more than {0} players in one list")]
    TooManyPlayers(usize),
    #[error("more than 32768 inventory slots")]
    TooManySlots,
    #[error("not a date and time such as 2024-08-18T20:45:46.725895400Z")]
    NotTime,
    #[error("{0} without a valid number")]
    ExtendedNumber(String),
    #[error("$date without a time in the years 1 to 9999")]
    ExtendedDate,
    #[error("names two game servers, {0} and {1}")]
    TwoServers(Server, Server),
    #[error("the event is from {named}, but this load is for {expected}")]
    OtherServer { named: Server, expected: Server },
    #[error("names no game server, unlike earlier events; load it with --server")]
    NoServer,
    #[error("names no battle, and neither does the file name (--battle from-name)")]
    NoBattle,
    #[error("no value at '{0}', the path of --events-at")]
    NothingAtPath(String),
    #[error("the reject file contains only the beginning of the value; load it from its source")]
    TruncatedReject,
    #[error("the value in the reject file is not UTF-8")]
    RejectNotUtf8,
}

impl FaultKind {
    /// The reason without what differs between lines: the position and the length.
    pub(crate) fn without_position(&self) -> String {
        match self {
            Self::Syntax { reason, .. } => format!("not JSON: {reason}"),
            Self::NotUtf8 { .. } => "not UTF-8".to_owned(),
            Self::LongLine { .. } => {
                "not JSON: malformed in a line that is too long for the reject file".to_owned()
            }
            Self::Unread { .. } => {
                "not JSON: an object is not closed or malformed, and a part of it was not read".to_owned()
            }
            Self::ValueTooLong { bytes_max, .. } => format!("a value exceeds the limit of {bytes_max} bytes"),
            other => other.to_string(),
        }
    }
}

impl From<FaultKind> for Fault {
    #[cold]
    fn from(kind: FaultKind) -> Self {
        let rejects_line = matches!(kind, FaultKind::Syntax { .. } | FaultKind::ArrayTooLong(_));
        let field = String::new();
        Self(Box::new(FaultDetail { kind, field, events_at: None, rejects_line, is_of_value: false }))
    }
}

impl Fault {
    /// Prepends the name of the enclosing object to the path of the field.
    #[cold]
    pub(crate) fn within(mut self, name: &str) -> Self {
        if !self.0.rejects_line {
            let joint = if self.0.field.is_empty() || self.0.field.starts_with('[') { "" } else { "." };
            self.0.field = format!("{name}{joint}{}", self.0.field);
        }
        self
    }

    /// Prepends the index of the enclosing array element to the path of the field.
    #[cold]
    pub(crate) fn within_element(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// Adds the path at which an event seems to be inside the value.
    #[cold]
    pub(crate) fn with_events_at(mut self, path: Option<String>) -> Self {
        self.0.events_at = path;
        self
    }

    /// The advice, which can name keys of the record. May be empty.
    pub(crate) fn advice(&self) -> String {
        let at = |path: &str| format!("an event seems to be at '{path}': add --events-at '{path}'");
        self.events_at().map_or_else(String::new, at)
    }

    /// The same fault without its advice.
    pub(crate) fn without_advice(&self) -> Self {
        self.clone().with_events_at(None)
    }

    /// The same fault in a text decoded from a string: only this event is rejected, not the whole line.
    #[cold]
    pub(crate) fn in_string(mut self) -> Self {
        self.0.rejects_line = false;
        self
    }

    /// The same fault in a value that does not begin its line, or that spans several lines.
    #[cold]
    pub(crate) fn of_value(mut self) -> Self {
        self.0.is_of_value = true;
        self
    }

    /// Whether the whole line is rejected, not only one event.
    pub fn rejects_line(&self) -> bool {
        self.0.rejects_line
    }

    /// Whether the cause is an escape that JSON's grammar allows, but no text can contain.
    pub(crate) fn is_lone_surrogate(&self) -> bool {
        matches!(self.0.kind, FaultKind::LoneSurrogate)
    }

    /// The kind of the fault.
    pub fn kind(&self) -> &FaultKind {
        &self.0.kind
    }

    /// The path of the field below the event, such as `Participants[2].Id`, if known.
    pub fn field(&self) -> Option<&str> {
        (!self.0.field.is_empty()).then_some(self.0.field.as_str())
    }

    /// The path at which an event seems to be inside the value. The reason advises it.
    pub(crate) fn events_at(&self) -> Option<&str> {
        self.0.events_at.as_deref()
    }

    /// The reason with its advice, without the field.
    pub fn reason(&self) -> String {
        let mut reason = self.0.kind.to_string();
        if self.0.is_of_value
            && let Some(place) = reason.strip_suffix("of the line")
        {
            reason = format!("{place}of the value");
        }
        self.with_advice(reason)
    }

    /// The reason with its advice, without the field and without what differs between lines.
    pub(crate) fn reason_without_position(&self) -> String {
        self.with_advice(self.0.kind.without_position())
    }

    fn with_advice(&self, reason: String) -> String {
        let advice = self.advice();
        if advice.is_empty() { reason } else { format!("{reason}; {advice}") }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.field() {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.reason())
    }
}

impl std::error::Error for Fault {}
