//! The model of a load: files, the ledger's segments, and the stored version of each event.
//!
//! - It is small on purpose. Each line has [`LINE_BYTES`] and each segment [`SEGMENT_LINES`], so that the model cuts
//!   files as the program does.
//! - After an interrupted load the model learns from the tables what was stored. It checks that this is possible: whole
//!   segments, and versions that the files or the tables had.

use std::collections::{BTreeMap, BTreeSet};

use super::dumps::small_event;
use super::samples;

/// Bytes of each line, with its line feed.
const LINE_BYTES: usize = 4096;
/// Lines of each segment except the last of a file.
const SEGMENT_LINES: usize = 4;
/// The setting for segments of this many lines.
pub(crate) const SEGMENT_BYTES: usize = SEGMENT_LINES * LINE_BYTES;
/// The maximum number of events in a file.
const EVENTS_MAX: usize = 30;

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    Event { id: i64, version: i64 },
    NoEvent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Skip,
    Force,
    Update,
}

/// Whether the ledger has a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Yes,
    /// An interrupted load may have written it.
    Maybe,
}

/// The state of the disk and the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) files: [Vec<Line>; 4],
    ledger: BTreeMap<Vec<Line>, Known>,
    /// The stored version of each event.
    pub(crate) stored: BTreeMap<i64, i64>,
}

/// The counts that a load must report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) duplicate: u64,
    pub(crate) already_loaded: u64,
    pub(crate) rejected: u64,
    /// Whether the three counts of existing events are certain individually. Otherwise only their sum is.
    pub(crate) is_exact: bool,
}

impl Model {
    /// Replaces a file by events whose ids begin at a base of its own.
    pub(crate) fn write(&mut self, file: usize, count: usize, version: i64) {
        self.files[file].clear();
        self.grow(file, count, version);
    }

    /// Appends events to a file.
    pub(crate) fn grow(&mut self, file: usize, count: usize, version: i64) {
        let first = 1 + 1000 * i64::try_from(file).expect("few");
        let lines = &mut self.files[file];
        let count = count.min(EVENTS_MAX.saturating_sub(lines.len()));
        let begin = i64::try_from(lines.len()).expect("few");
        let end = begin + i64::try_from(count).expect("few");
        lines.extend((begin..end).map(|number| Line::Event { id: first + number, version }));
    }

    /// Replaces a line by something that is no event.
    pub(crate) fn spoil(&mut self, file: usize, line: usize) {
        if let Some(line) = self.files[file].get_mut(line) {
            *line = Line::NoEvent;
        }
    }

    /// Deletes rows of events by hand. The ledger stays.
    pub(crate) fn delete(&mut self, file: usize, ids: usize) -> std::ops::Range<i64> {
        let first = 1 + 1000 * i64::try_from(file).expect("few");
        let range = first..first + i64::try_from(ids).expect("few");
        self.stored.retain(|id, _| !range.contains(id));
        range
    }

    fn segments(&self) -> Vec<Vec<Line>> {
        self.files.iter().flat_map(|lines| lines.chunks(SEGMENT_LINES)).map(<[Line]>::to_vec).collect()
    }

    /// Loads all files completely, and returns the expected report.
    pub(crate) fn load(&mut self, mode: Mode) -> Counts {
        let segments = self.segments();
        let mut counts = Counts { is_exact: !has_duplicates(&segments), ..Counts::default() };
        for segment in segments {
            let known = (mode == Mode::Skip).then(|| self.ledger.get(&segment).copied()).flatten();
            counts.is_exact &= known != Some(Known::Maybe);
            for line in &segment {
                counts.events += 1;
                let Line::Event { id, version } = *line else {
                    counts.rejected += 1;
                    continue;
                };
                if known == Some(Known::Yes) {
                    counts.already_loaded += 1;
                    continue;
                }
                // An event of an uncertain segment can count either way, unless its rows were deleted, which the caller
                // checks.
                match self.stored.get(&id) {
                    None if known == Some(Known::Maybe) => counts.already_loaded += 1,
                    None => {
                        counts.inserted += 1;
                        self.stored.insert(id, version);
                    }
                    Some(&stored) if mode == Mode::Update && stored != version => {
                        counts.updated += 1;
                        self.stored.insert(id, version);
                    }
                    Some(_) => counts.duplicate += 1,
                }
            }
            self.ledger.insert(segment, Known::Yes);
        }
        counts
    }

    /// The minimum and maximum number of segments in the ledger.
    pub(crate) fn ledger_rows(&self) -> (usize, usize) {
        let sure = self.ledger.values().filter(|known| **known == Known::Yes).count();
        (sure, self.ledger.len())
    }

    /// Learns what an interrupted load stored, and returns a description of impossible parts.
    pub(crate) fn learn(&mut self, mode: Mode, found: BTreeMap<i64, i64>) -> Result<(), String> {
        let segments = self.segments();
        let mut first: BTreeMap<i64, i64> = BTreeMap::new();
        let mut all: BTreeSet<(i64, i64)> = BTreeSet::new();
        for (id, version) in segments.iter().flatten().filter_map(Line::event) {
            first.entry(id).or_insert(version);
            all.insert((id, version));
        }
        for (id, version) in &found {
            let is_possible = match (self.stored.get(id), mode) {
                (Some(stored), Mode::Update) => stored == version || all.contains(&(*id, *version)),
                (Some(stored), _) => stored == version,
                (None, Mode::Update) => all.contains(&(*id, *version)),
                (None, _) => first.get(id) == Some(version),
            };
            if !is_possible {
                return Err(format!("event {id} is stored in version {version}"));
            }
        }
        if let Some(id) = self.stored.keys().find(|id| !found.contains_key(id)) {
            return Err(format!("event {id} is gone"));
        }
        let is_new = |id: &i64| found.contains_key(id) && !self.stored.contains_key(id);
        let twins = has_duplicates(&segments);
        for segment in segments {
            let ids: Vec<i64> = segment.iter().filter_map(Line::event).map(|(id, _)| id).collect();
            let new = ids.iter().filter(|id| is_new(id)).count();
            let lacking = ids.iter().filter(|id| !found.contains_key(id)).count();
            if new > 0 && lacking > 0 && !twins {
                return Err(format!("a part of the segment {segment:?} is stored"));
            }
            if lacking == 0 {
                self.ledger.entry(segment).or_insert(Known::Maybe);
            }
        }
        self.stored = found;
        Ok(())
    }

    /// A dump of the stored events, for the oracle.
    pub(crate) fn stored_dump(&self) -> Vec<u8> {
        let events = self.stored.iter().map(|(&id, &version)| Line::Event { id, version });
        text(&events.collect::<Vec<_>>())
    }
}

/// Whether an event occurs more than once.
fn has_duplicates(segments: &[Vec<Line>]) -> bool {
    let mut ids = BTreeSet::new();
    !segments.iter().flatten().filter_map(Line::event).all(|(id, _)| ids.insert(id))
}

impl Line {
    fn event(&self) -> Option<(i64, i64)> {
        match *self {
            Self::Event { id, version } => Some((id, version)),
            Self::NoEvent => None,
        }
    }
}

/// The text of a file.
pub(crate) fn text(lines: &[Line]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        let mut line = match *line {
            Line::Event { id, version } => event(id, version),
            Line::NoEvent => "no event".to_owned().into_bytes(),
        };
        assert!(line.len() < LINE_BYTES, "{}", line.len());
        line.resize(LINE_BYTES - 1, b' ');
        line.push(b'\n');
        text.extend(line);
    }
    text
}

fn event(id: i64, version: i64) -> Vec<u8> {
    let mut event = if id % 2 == 0 { samples::lean_event(id) } else { small_event(id) };
    // The version, which a row of the table shows.
    event["TotalVictimKillFame"] = version.into();
    event["BattleId"] = id.into();
    event["Killer"]["Name"] = format!("The killer of version {version}").into();
    event["Victim"]["Inventory"] = serde_json::json!([{"Type": "T4_BAG", "Count": version, "Quality": 1}]);
    event.as_object_mut().expect("an object").remove("GroupMembers");
    event.as_object_mut().expect("an object").remove("Participants");
    event.to_string().into_bytes()
}
