//! The path to the events in a value. The framer follows it into values that are too long to hold.

/// A path of keys, without knowledge of what they mean.
#[derive(Debug, Clone)]
pub struct EventPath {
    /// The keys. None stands for each key.
    pub(crate) steps: Vec<Option<String>>,
    /// The key that marks an event. An event is never divided.
    pub(crate) event_key: &'static str,
    /// Returns whether a key can be one of an event.
    pub(crate) is_of_event: fn(&str) -> bool,
    /// The keys of texts in an envelope that matter for the events after them.
    pub(crate) note_keys: &'static [&'static str],
    /// Returns whether such a text matters.
    pub(crate) is_note: fn(&str) -> bool,
}

/// The surroundings of a value that the framer took out of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The number of steps of the path that lead to the value.
    pub steps: usize,
    /// Whether the value is an element of an array in the envelope, not a member of an object.
    pub is_element: bool,
    /// The first text that matters, of the outermost object before all others.
    pub note: Option<String>,
}
