//! The query for ledger rows of segments, and its answer.

use crate::database::ledger::segments::count;
use crate::database::store::{LoadedSegment, SegmentCounts, SegmentHash};
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use postgres::SimpleQueryMessage;
use std::collections::HashMap;
use std::fmt::Write as _;
use uuid::Uuid;

/// The part of the ledger that a load uses: one schema, server and layout.
#[derive(Debug)]
pub(crate) struct LedgerScope {
    schema: String,
    server: &'static str,
    layout: &'static str,
}

/// Rows of the ledger, by segment.
#[derive(Debug, Default)]
pub(crate) struct Entries(HashMap<SegmentHash, LedgerEntry>);

/// The row of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LedgerEntry {
    /// With the ids of its first and its last event, if they are known and none of its events was rejected.
    Loaded(LoadedSegment, Option<[i64; 2]>),
    /// Loaded, except for rejects that no run has reported.
    Unreported,
}

impl LedgerScope {
    pub(crate) fn new(schema: &str, server: Server, layout: Layout) -> Self {
        Self { schema: quote_identifier(schema), server: server.name(), layout: layout.name() }
    }

    /// `kill_load_segment` with its schema.
    pub(crate) fn segment_table(&self) -> String {
        format!("{}.kill_load_segment", self.schema)
    }

    /// The statement that finds the segments' rows. It has no parameters, so that other statements can be sent with it.
    pub(crate) fn question(&self, hashes: &[SegmentHash]) -> String {
        let Self { schema, server, layout } = self;
        let decoded: Vec<String> =
            hashes.iter().map(|hash| format!("decode('{}', 'hex')", hex(hash))).collect();
        format!(
            "SELECT encode(hash, 'hex') AS hash, lines, events, rejected, reported, run, first_event_id, last_event_id
             FROM {schema}.kill_load_segment WHERE hash IN ({}) AND server = '{server}' AND layout = '{layout}'",
            decoded.join(", ")
        )
    }

    /// The key of the advisory lock that claims a segment. Advisory locks are per database, so the key includes the
    /// schema, server and layout.
    pub(crate) fn claim_key(&self, hash: &SegmentHash) -> i64 {
        let mut hasher = blake3::Hasher::new();
        for part in [&b"aegis-kills segment"[..], self.schema.as_bytes(), self.server.as_bytes()] {
            hasher.update(part).update(&[0]);
        }
        hasher.update(self.layout.as_bytes()).update(&[0]).update(&hash.0);
        let mut key = [0; 8];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        i64::from_le_bytes(key)
    }
}

impl Entries {
    /// Reads the answer to [`LedgerScope::question`]. Answers to other statements may precede it.
    pub(crate) fn read(messages: &[SimpleQueryMessage], hashes: &[SegmentHash]) -> Self {
        let by_text: HashMap<String, SegmentHash> = hashes.iter().map(|hash| (hex(hash), *hash)).collect();
        let entry = |message: &SimpleQueryMessage| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            let hash = by_text.get(row.try_get("hash").ok()??)?;
            let signed = |name: &str| row.try_get(name).ok()??.parse::<i64>().ok();
            let number = |name: &str| signed(name).map(count);
            let counts = SegmentCounts { lines: number("lines")?, events: number("events")? };
            let rejected = number("rejected")?;
            let is_reported = rejected == 0 || row.try_get("reported").ok()?? == "t";
            let run = Uuid::parse_str(row.try_get("run").ok()??).ok()?;
            let loaded = LoadedSegment { counts, rejected, run };
            let ends = signed("first_event_id").zip(signed("last_event_id"));
            let ends = ends.filter(|_| rejected == 0).map(|(first, last)| [first, last]);
            let entry = if is_reported { LedgerEntry::Loaded(loaded, ends) } else { LedgerEntry::Unreported };
            Some((*hash, entry))
        };
        Self(messages.iter().filter_map(entry).collect())
    }

    pub(crate) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The segments that have a row.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = SegmentHash> {
        self.0.keys().copied()
    }

    pub(crate) fn get(&self, hash: &SegmentHash) -> Option<LedgerEntry> {
        self.0.get(hash).copied()
    }
}

/// The digits of a hash, as `encode` and `decode` use them.
pub(super) fn hex(hash: &SegmentHash) -> String {
    hash.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_keys_of_different_scopes_differ() {
        let hash = SegmentHash([7; 32]);
        let key = |schema, server, layout| LedgerScope::new(schema, server, layout).claim_key(&hash);
        let keys = [
            key("public", Server::Europe, Layout::Archive),
            key("public", Server::Asia, Layout::Archive),
            key("public", Server::Europe, Layout::Aegis),
            key("other", Server::Europe, Layout::Archive),
            LedgerScope::new("public", Server::Europe, Layout::Archive).claim_key(&SegmentHash([8; 32])),
        ];
        for (number, key) in keys.iter().enumerate() {
            assert!(!keys[..number].contains(key), "{keys:?}");
        }
        assert_eq!(keys[0], key("public", Server::Europe, Layout::Archive), "all processes use the same key");
    }
}
