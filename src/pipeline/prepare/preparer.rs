//! The settings for reading segments, and the ledger keys that depend on them.

use crate::database::store::{ReadingDigest, SegmentHash};
use crate::event::field::Field;
use crate::event::forms::envelope::{EventsAt, PathStep};
use crate::event::rules::{ReadRules, SERVER_KEYS, battle_in_name};
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::input::framing::path::{EventPath, Surroundings};
use crate::input::segment::Segment;
use crate::layout::Layout;
use crate::layout::encoder::Encoder;
use crate::layout::rows::DuplicatePolicy;
use std::fmt::Write as _;
use std::sync::Arc;

/// Settings for reading events that are not in their text.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The location of events in each value.
    pub events_at: Option<Arc<EventsAt>>,
    /// The battle of events that name none.
    pub battle: Battle,
    /// Whether each event must name its game server.
    pub must_name_server: bool,
    /// Distinguishes the tables from others in the same ledger. None if the ledger has no others.
    pub tables: Option<String>,
}

impl Reading {
    /// Returns the path to the events for the framer.
    pub fn event_path(&self) -> Option<Arc<EventPath>> {
        let steps = self.events_at.as_ref()?.steps().iter().map(|step| match step {
            PathStep::Member(name) => Some(name.clone()),
            PathStep::Each => None,
        });
        Some(Arc::new(EventPath {
            steps: steps.collect(),
            event_key: "EventId",
            is_of_event: |key| !SERVER_KEYS.contains(&key) && Field::of(key) != Field::Other,
            note_keys: &SERVER_KEYS,
            is_note: |text| text.parse::<Server>().is_ok(),
        }))
    }
}

/// The battle of events that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Battle {
    /// Such events have no battle.
    #[default]
    Unknown,
    Id(i64),
    /// The battle whose id is in the file name.
    FromName,
}

/// Prepares segments.
#[derive(Debug, Clone)]
pub struct Preparer {
    /// The tables.
    pub layout: Layout,
    /// The game server of the events.
    pub server: Server,
    /// The treatment of NUL characters.
    pub nul: NulPolicy,
    /// Which of several events with the same id is stored.
    pub repeats: DuplicatePolicy,
    /// Settings for reading events that are not in their text.
    pub reading: Reading,
}

impl Preparer {
    /// Returns the key of a segment in the ledger.
    pub fn hash(&self, segment: &Segment) -> SegmentHash {
        let envelope = envelope_key(segment);
        if envelope.is_empty() {
            return self.hash_of(&segment.source, &segment.bytes, segment.oversized);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.hash_of(&segment.source, &segment.bytes, segment.oversized).0);
        hasher.update(envelope.as_bytes());
        SegmentHash(*hasher.finalize().as_bytes())
    }

    /// Returns the key for bytes of a source. If they are only the head of a value, `oversized` is its length. The key
    /// includes all settings that can turn the same bytes into different events.
    pub(crate) fn hash_of(&self, source: &str, bytes: &[u8], oversized: Option<u64>) -> SegmentHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        if let Some(bytes) = oversized {
            // The length distinguishes the head from a whole value with the same text.
            hasher.update(&bytes.to_le_bytes());
        }
        hasher.update(self.reading_key(source).as_bytes());
        SegmentHash(*hasher.finalize().as_bytes())
    }

    /// Returns a digest of the settings that can turn the same bytes into different events, such as `--events-at`.
    pub fn reading_digest(&self, source: &str) -> ReadingDigest {
        ReadingDigest(*blake3::hash(self.reading_key(source).as_bytes()).as_bytes())
    }

    /// Returns these settings as a part of the keys of segments and files. Empty by default.
    fn reading_key(&self, source: &str) -> String {
        let rules = self.rules(source);
        let mut key = String::new();
        if let Some(path) = rules.events_at {
            let _ = write!(key, "\0events at {path}");
        }
        if rules.nul != NulPolicy::Reject {
            let _ = write!(key, "\0nul {:?}", rules.nul);
        }
        if let Some(battle) = rules.battle {
            let _ = write!(key, "\0battle {battle}");
        }
        if rules.must_name_server || rules.must_name_battle {
            let _ = write!(key, "\0must {} {}", rules.must_name_server, rules.must_name_battle);
            if rules.must_name_battle {
                // Release 0.2.0 rejected the values of all rejects.
                key.push_str(" or its reject");
            }
        }
        if let Some(tables) = &self.reading.tables {
            let _ = write!(key, "\0tables {tables}");
        }
        key
    }

    pub(crate) fn rules(&self, source: &str) -> ReadRules<'_> {
        let battle = match self.reading.battle {
            Battle::Unknown => None,
            Battle::Id(id) => Some(id),
            Battle::FromName => battle_in_name(source),
        };
        ReadRules {
            nul: self.nul,
            events_at: self.reading.events_at.as_deref(),
            server: Some(self.server),
            must_name_server: self.reading.must_name_server,
            battle,
            must_name_battle: self.reading.battle == Battle::FromName && battle.is_none(),
            has_battle_of_source: self.reading.battle == Battle::FromName,
        }
    }

    pub(crate) fn encoder(&self) -> Encoder {
        Encoder::new(self.layout, self.server, self.nul, self.repeats)
    }
}

/// Returns what the envelope around the values of a segment says about them. The same bytes elsewhere can be other events.
fn envelope_key(segment: &Segment) -> String {
    let (mut key, mut previous) = (String::new(), None);
    for span in segment.spans.iter().flatten() {
        if let Some(surroundings) = &span.surroundings
            && previous != Some(surroundings)
        {
            let Surroundings { steps, is_element, note } = &**surroundings;
            let note = note.as_deref().unwrap_or_default();
            let _ = write!(key, "\0{} at step {steps} {is_element} {note}", span.start);
            previous = Some(surroundings);
        }
        if let Some(unread) = span.unread {
            let _ = write!(key, "\0{} after {unread} unread", span.start);
        }
    }
    key
}
