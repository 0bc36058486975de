//! Owns the model of a load: files, the ledger's segments, and which version of each event the tables hold.
//!
//! - It is small on purpose. Each line has [`LINE_BYTES`], so that each segment has [`SEGMENT_LINES`], and files are cut as the
//!   model cuts them.
//! - After a load that was stopped in the middle the model learns from the tables what was stored; what it learns must be
//!   possible: whole segments, and versions that the files or the tables had.

use std::collections::{BTreeMap, BTreeSet};

use super::dumps::small_event;
use super::samples;

/// Bytes of each line, its line feed too.
const LINE_BYTES: usize = 4096;
/// Lines of each segment but a file's last.
const SEGMENT_LINES: usize = 4;
/// The setting that makes segments of so many lines.
pub(crate) const SEGMENT_BYTES: usize = SEGMENT_LINES * LINE_BYTES;
/// The most events of a file.
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
    /// A load that was stopped may have written it.
    Maybe,
}

/// What is on the disk and in the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) files: [Vec<Line>; 4],
    ledger: BTreeMap<Vec<Line>, Known>,
    /// The version of each event that the tables hold.
    pub(crate) stored: BTreeMap<i64, i64>,
}

/// What a load must report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) duplicate: u64,
    pub(crate) already_loaded: u64,
    pub(crate) rejected: u64,
    /// Whether the three counts of what was there already are sure one by one; else their sum is.
    pub(crate) is_exact: bool,
}

impl Model {
    /// Replaces a file by events that begin with an id of its own.
    pub(crate) fn write(&mut self, file: usize, count: usize, version: i64) {
        self.files[file].clear();
        self.grow(file, count, version);
    }

    /// Adds events at the end of a file.
    pub(crate) fn grow(&mut self, file: usize, count: usize, version: i64) {
        let first = 1 + 1000 * i64::try_from(file).expect("few");
        let lines = &mut self.files[file];
        let count = count.min(EVENTS_MAX.saturating_sub(lines.len()));
        let begin = i64::try_from(lines.len()).expect("few");
        let end = begin + i64::try_from(count).expect("few");
        lines.extend((begin..end).map(|number| Line::Event { id: first + number, version }));
    }

    /// Puts what is no event in the place of a line.
    pub(crate) fn spoil(&mut self, file: usize, line: usize) {
        if let Some(line) = self.files[file].get_mut(line) {
            *line = Line::NoEvent;
        }
    }

    /// Deletes the rows of events by hand; the ledger stays.
    pub(crate) fn delete(&mut self, file: usize, ids: usize) -> std::ops::Range<i64> {
        let first = 1 + 1000 * i64::try_from(file).expect("few");
        let range = first..first + i64::try_from(ids).expect("few");
        self.stored.retain(|id, _| !range.contains(id));
        range
    }

    fn segments(&self) -> Vec<Vec<Line>> {
        self.files.iter().flat_map(|lines| lines.chunks(SEGMENT_LINES)).map(<[Line]>::to_vec).collect()
    }

    /// Loads all files to the end; gives what the program must report.
    pub(crate) fn load(&mut self, mode: Mode) -> Counts {
        let segments = self.segments();
        let mut counts = Counts { is_exact: !has_twins(&segments), ..Counts::default() };
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
                // What the ledger may have counts as one or the other; unless its rows were deleted, which the caller sees.
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

    /// The segments that the ledger must have at least, and may have at most.
    pub(crate) fn ledger_rows(&self) -> (usize, usize) {
        let sure = self.ledger.values().filter(|known| **known == Known::Yes).count();
        (sure, self.ledger.len())
    }

    /// Learns what a load that was stopped has stored, and says what of it is not possible.
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
        let twins = has_twins(&segments);
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

    /// A dump of what is stored, for the oracle.
    pub(crate) fn stored_dump(&self) -> Vec<u8> {
        let events = self.stored.iter().map(|(&id, &version)| Line::Event { id, version });
        text(&events.collect::<Vec<_>>())
    }
}

/// Whether an event is there more than once.
fn has_twins(segments: &[Vec<Line>]) -> bool {
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
    // What it says of itself; a table's row shows it.
    event["TotalVictimKillFame"] = version.into();
    event["BattleId"] = id.into();
    event["Killer"]["Name"] = format!("The killer of version {version}").into();
    event["Victim"]["Inventory"] = serde_json::json!([{"Type": "T4_BAG", "Count": version, "Quality": 1}]);
    event.as_object_mut().expect("an object").remove("GroupMembers");
    event.as_object_mut().expect("an object").remove("Participants");
    event.to_string().into_bytes()
}
