//! A cache of the keys of each kind of object, so that known keys are not parsed again.
//!
//! A dump is written by one program. Objects of one kind therefore have the same keys in the same order, with the same
//! white space, and the text between two values is the same as in the previous object. One comparison consumes the
//! comma, the key and the colon.
//!
//! Invariant: a text is cached only after it was parsed as JSON. In an object of any kind, after a value (or after the
//! brace), the same text is valid JSON with the same key.

use crate::event::field::Field;

/// Maximum length of a cached text. The longest key of an event takes 24 bytes with its punctuation.
const TEXT_MAX: usize = 32;

/// Number of cached keys per kind of object. An event and a player have fewer than 20.
const KEYS_MAX: usize = 24;

/// The kinds of objects, each with its own order of keys.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ObjectKind {
    Event,
    Killer,
    Victim,
    Participant,
    GroupMember,
    Equipment,
    Item,
}

/// Number of kinds.
const KINDS: usize = ObjectKind::Item as usize + 1;

/// The keys of the last object of each kind.
///
/// The table has 11 KiB. It is created at the first key, because many cursors look only at the beginning of a value: two
/// per rejected value.
#[derive(Debug, Default)]
pub(crate) struct Keys(Option<Box<KeyTable>>);

type KeyTable = [[KeyStep; KEYS_MAX]; KINDS];

/// The text from the end of one value to the start of the next.
#[derive(Debug, Clone, Copy)]
struct KeyStep {
    /// The text, padded with arbitrary bytes.
    text: [u8; TEXT_MAX],
    /// The bytes of a window that belong to the text.
    mask: [u8; TEXT_MAX],
    length: u8,
    field: Field,
}

/// An empty entry. No byte of a str is 0xff, so it never matches.
const EMPTY_STEP: KeyStep =
    KeyStep { text: [0xff; TEXT_MAX], mask: [0xff; TEXT_MAX], length: 0, field: Field::Other };

impl Keys {
    /// If `rest` starts with the text before value `number` of the last object of this kind: its length and the field.
    #[inline]
    pub(crate) fn find(&self, kind: ObjectKind, number: usize, rest: &[u8]) -> Option<(usize, Field)> {
        let step = self.0.as_ref()?[kind as usize].get(number)?;
        // A fixed length avoids branches, and the processor compares 16 bytes or more at once.
        let window = rest.first_chunk::<TEXT_MAX>()?;
        let bytes = window.iter().zip(&step.text).zip(&step.mask);
        let differing = bytes.fold(0, |differing, ((found, text), mask)| differing | (found ^ text) & mask);
        (differing == 0).then_some((usize::from(step.length), step.field))
    }

    /// Caches the text before value `number` of an object.
    pub(crate) fn note(&mut self, kind: ObjectKind, number: usize, text: &[u8], field: Field) {
        let table = self.0.get_or_insert_with(|| Box::new([[EMPTY_STEP; KEYS_MAX]; KINDS]));
        let Some(step) = table[kind as usize].get_mut(number) else { return };
        if let (Some(place), Ok(length)) = (step.text.get_mut(..text.len()), u8::try_from(text.len())) {
            place.copy_from_slice(text);
            step.mask = std::array::from_fn(|byte| if byte < text.len() { 0xff } else { 0 });
            (step.length, step.field) = (length, field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_text_matches_only_completely() {
        for length in 1..=TEXT_MAX + 2 {
            let text = &"abcdefgh".repeat(5).into_bytes()[..length];
            let mut keys = Keys::default();
            let mut line = [text, &[b' '; TEXT_MAX]].concat();
            assert_eq!(keys.find(ObjectKind::Item, 1, &line), None);
            keys.note(ObjectKind::Item, 1, text, Field::Count);
            let expected = (length <= TEXT_MAX).then_some((length, Field::Count));
            assert_eq!(keys.find(ObjectKind::Item, 1, &line), expected, "{length}");
            assert_eq!(keys.find(ObjectKind::Item, 0, &line), None);
            assert_eq!(keys.find(ObjectKind::Event, 1, &line), None);
            for byte in 0..length {
                line[byte] ^= 1;
                assert_eq!(keys.find(ObjectKind::Item, 1, &line), None, "{byte} of {length}");
                line[byte] ^= 1;
            }
        }
    }

    #[test]
    fn empty_entries_never_match() {
        let mut keys = Keys::default();
        assert_eq!(keys.find(ObjectKind::Event, 0, &[b' '; TEXT_MAX]), None);
        assert!(keys.0.is_none(), "the table is created at the first key");
        keys.note(ObjectKind::Item, 0, b"{\"Type\":", Field::Type);
        for number in 0..=KEYS_MAX {
            assert_eq!(keys.find(ObjectKind::Event, number, &[0; TEXT_MAX]), None);
            assert_eq!(keys.find(ObjectKind::Event, number, &[b' '; TEXT_MAX]), None);
        }
    }

    #[test]
    fn more_keys_than_are_cached() {
        let mut keys = Keys::default();
        keys.note(ObjectKind::Killer, KEYS_MAX, b",\"Id\":", Field::Id);
        assert_eq!(keys.find(ObjectKind::Killer, KEYS_MAX, &[b','; TEXT_MAX]), None);
    }
}
