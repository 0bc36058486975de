//! How the values of a segment are read, and the keys under which the ledger knows what was read so.

use crate::database::store::{ReadingDigest, SegmentHash};
use crate::event::forms::envelope::EventsAt;
use crate::event::line::ReadRules;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::input::segment::Segment;
use crate::layout::Layout;
use crate::layout::encoder::Encoder;
use crate::layout::rows::DuplicatePolicy;
use std::fmt::Write as _;
use std::sync::Arc;

/// What is read of a segment beside its events.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Where events lie in each value.
    pub events_at: Option<Arc<EventsAt>>,
    /// The battle of events that name none.
    pub battle: Battle,
    /// Whether each event must name its game server.
    pub must_name_server: bool,
    /// What tells the tables from others that the same ledger knows; none where it knows no others.
    pub tables: Option<String>,
}

/// The battle of events that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Battle {
    /// Such events have no battle.
    #[default]
    Unknown,
    /// The one of this id.
    Id(i64),
    /// The one whose id is in the name of the file.
    FromName,
}

/// Prepares segments.
#[derive(Debug, Clone)]
pub struct Preparer {
    /// The tables.
    pub layout: Layout,
    /// The game server that the events are of.
    pub server: Server,
    /// What becomes of a NUL.
    pub nul: NulPolicy,
    /// Which of several events of one id is stored.
    pub repeats: DuplicatePolicy,
    /// What is known of events beside their text.
    pub reading: Reading,
}

impl Preparer {
    /// The key of a segment in the ledger.
    pub fn hash(&self, segment: &Segment) -> SegmentHash {
        self.hash_of(&segment.source, &segment.bytes, segment.oversized)
    }

    /// The same of a source's bytes; `oversized` is the length of a value of which they are only the head. What makes other
    /// events of the same bytes is part of the key.
    pub(crate) fn hash_of(&self, source: &str, bytes: &[u8], oversized: Option<u64>) -> SegmentHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        if let Some(bytes) = oversized {
            // Only the head is there; its length tells it from a whole value of the same text.
            hasher.update(&bytes.to_le_bytes());
        }
        hasher.update(self.reading_key(source).as_bytes());
        SegmentHash(*hasher.finalize().as_bytes())
    }

    /// What makes other events of the same bytes, such as `--events-at`: a digest of how the values of a source are read.
    pub fn reading_digest(&self, source: &str) -> ReadingDigest {
        ReadingDigest(*blake3::hash(self.reading_key(source).as_bytes()).as_bytes())
    }

    /// How the values of a source are read, as it is part of the keys of segments and files. Empty by default.
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
        }
        if let Some(tables) = &self.reading.tables {
            let _ = write!(key, "\0tables {tables}");
        }
        key
    }

    /// How the values of a source are read.
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
        }
    }

    pub(crate) fn encoder(&self) -> Encoder {
        Encoder::new(self.layout, self.server, self.nul, self.repeats)
    }
}

/// The number in a file's name, before its first dot, if there is just one.
pub(crate) fn battle_in_name(source: &str) -> Option<i64> {
    let name = source.rsplit('/').next()?;
    let stem = name.split('.').next()?;
    let mut numbers = stem.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let number = numbers.next()?;
    if numbers.next().is_some() { None } else { number.parse().ok() }
}
