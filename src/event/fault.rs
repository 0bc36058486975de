//! The reason why an event was rejected: the field, the cause, and whether the text was JSON at all.

use std::fmt;

/// A fault of a line or an event. It never contains the text of the record.
///
/// It is one pointer wide, so that the parser's results stay small on the path without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<FaultDetail>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FaultDetail {
    kind: FaultKind,
    field: String,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultKind {
    /// The text is not JSON or exceeds a limit: the whole line is rejected.
    Line,
    /// The text is JSON, but can't be stored as an event: the event is rejected.
    Value,
}

impl Fault {
    /// The text is not JSON at `byte` of the line.
    #[cold]
    pub(crate) fn syntax(reason: &str, byte: usize) -> Self {
        Self(Box::new(FaultDetail {
            kind: FaultKind::Line,
            field: String::new(),
            reason: format!("not JSON: {reason} at byte {byte} of the line"),
        }))
    }

    /// The line exceeds a limit.
    #[cold]
    pub(crate) fn line(reason: String) -> Self {
        Self(Box::new(FaultDetail { kind: FaultKind::Line, field: String::new(), reason }))
    }

    /// The text is JSON, but a value is invalid.
    #[cold]
    pub(crate) fn value(reason: impl Into<String>) -> Self {
        Self(Box::new(FaultDetail { kind: FaultKind::Value, field: String::new(), reason: reason.into() }))
    }

    /// Prepends the name of the enclosing object to the path of the field.
    #[cold]
    pub(crate) fn within(mut self, name: &str) -> Self {
        if self.0.kind == FaultKind::Value {
            let joint = if self.0.field.is_empty() || self.0.field.starts_with('[') { "" } else { "." };
            self.0.field = format!("{name}{joint}{}", self.0.field);
        }
        self
    }

    /// Appends advice, which may be empty, to the reason.
    #[cold]
    pub(crate) fn and(mut self, advice: &str) -> Self {
        if !advice.is_empty() {
            self.0.reason = format!("{}; {advice}", self.0.reason);
        }
        self
    }

    /// Prepends the index of the enclosing array element to the path of the field.
    #[cold]
    pub(crate) fn within_element(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// Whether the whole line is rejected, not only one event.
    pub fn rejects_line(&self) -> bool {
        self.0.kind == FaultKind::Line
    }

    /// The path of the field below the event, such as `Participants[2].Id`, if known.
    pub fn field(&self) -> Option<&str> {
        (!self.0.field.is_empty()).then_some(self.0.field.as_str())
    }

    /// The reason, without the field.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field() {
            Some(field) => write!(f, "{field}: {}", self.0.reason),
            None => f.write_str(&self.0.reason),
        }
    }
}

impl std::error::Error for Fault {}
