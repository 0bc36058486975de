//! The result of `verify`, as text and as JSON.

#[cfg(test)]
mod tests;

use crate::input::source::Source;
use crate::layout::compare::Difference;
use crate::report::format::{counted, grouped, json_object};
use crate::report::summary::RunStatus;
use crate::shell::shell_quoted;
use roaring::RoaringTreemap;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::path::Path;

/// The number of events listed in the report. With `-v` the log lists all findings.
const NAMED_MAX: usize = 100;

/// The number of differences kept, to bound memory.
const DIFFERENCES_MAX: usize = 10_000;

/// The position of an event in the input: the number of its segment, and its index in the segment.
type Position = (u64, usize);

/// A problem with one event.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The event is not stored.
    Missing(i64),
    /// The stored rows differ from those of the dump.
    Different(i64, Difference),
    /// The event cannot be loaded, for this reason.
    Unloadable(String),
}

/// The result of comparing dumps with a database.
///
/// If the dumps contain several versions of an event and one of them is stored, the others are not differences. The
/// differences are therefore known only at the end.
#[derive(Debug, Default)]
pub(crate) struct VerifyReport {
    /// Events in the dumps.
    pub events: u64,
    /// Whether missing events can still appear.
    pub half_committed: bool,
    /// Whether only the ids were compared.
    pub ids_only: bool,
    /// Statements without which no load runs, if there are any.
    pub before_load: Option<String>,
    /// The command that repeats the comparison, if a signal stopped it.
    pub again: Option<String>,
    /// The directory in which the commands and the places of events work, quoted for a shell. None on a terminal.
    pub directory: Option<String>,
    missing: u64,
    unloadable: u64,
    missing_ids: BTreeMap<Position, i64>,
    /// The first missing or unloadable events.
    first: BTreeMap<Position, PlacedFinding>,
    /// The first differences. Some can belong to another version of a stored event.
    differences: BTreeMap<Position, PlacedFinding>,
    /// Ids of events with a stored version.
    same: RoaringTreemap,
    /// Ids of events with a version that differs from the stored one.
    different: RoaringTreemap,
    /// How often an id of `different` was repeated.
    different_again: HashMap<u64, u64>,
    missing_sources: BTreeSet<String>,
    different_sources: BTreeSet<String>,
    unloadable_sources: BTreeSet<String>,
}

#[derive(Debug)]
struct PlacedFinding {
    source: String,
    line: u64,
    finding: Finding,
}

impl VerifyReport {
    /// Records an event that is stored with the same content.
    pub(crate) fn add_same(&mut self, event_id: i64) {
        self.same.insert(event_id.cast_unsigned());
    }

    pub(crate) fn add(&mut self, position: Position, source: &str, line: u64, finding: Finding) {
        let (map, sources, most) = match &finding {
            Finding::Missing(id) => {
                log::info!("{source}:{line}  {finding}");
                self.missing += 1;
                insert_bounded(&mut self.missing_ids, position, || *id, NAMED_MAX);
                (&mut self.first, &mut self.missing_sources, NAMED_MAX)
            }
            Finding::Unloadable(_) => {
                log::info!("{source}:{line}  {finding}");
                self.unloadable += 1;
                (&mut self.first, &mut self.unloadable_sources, NAMED_MAX)
            }
            Finding::Different(id, _) => {
                let id = id.cast_unsigned();
                if !self.different.insert(id) {
                    *self.different_again.entry(id).or_default() += 1;
                }
                (&mut self.differences, &mut self.different_sources, DIFFERENCES_MAX)
            }
        };
        if !sources.contains(source) {
            sources.insert(source.to_owned());
        }
        let entry = || PlacedFinding { source: source.to_owned(), line, finding };
        insert_bounded(map, position, entry, most);
    }

    /// Leaves `source` out of the commands that load, because its text may be wrong.
    pub(crate) fn distrust(&mut self, source: &str) {
        self.missing_sources.remove(source);
        self.different_sources.remove(source);
    }

    /// Ends the comparison: removes differences of events that are stored in another version of the dumps.
    pub(crate) fn finish(&mut self) {
        let Self { same, different, differences, .. } = self;
        *different -= &*same;
        differences.retain(|_, entry| {
            entry.finding.different_id().is_some_and(|id| different.contains(id.cast_unsigned()))
        });
        for PlacedFinding { source, line, finding } in differences.values() {
            log::info!("{source}:{line}  {finding}");
        }
    }

    /// Events that are not stored, including unloadable ones.
    pub(crate) fn missing(&self) -> u64 {
        self.missing + self.unloadable
    }

    /// Events whose stored rows differ from every version in the dumps.
    pub(crate) fn different(&self) -> u64 {
        let again = self.different_again.iter().filter(|(id, _)| self.different.contains(**id));
        self.different.len() + again.map(|(_, times)| times).sum::<u64>()
    }

    /// Events that are stored with the same content.
    fn present(&self) -> u64 {
        self.events.saturating_sub(self.missing() + self.different())
    }

    /// One JSON object, without a newline.
    pub(crate) fn to_json(&self, sources_whole: bool) -> String {
        let mut different_ids: Vec<i64> =
            self.differences.values().filter_map(|entry| entry.finding.different_id()).collect();
        let mut named = BTreeSet::new();
        different_ids.retain(|id| named.insert(*id));
        different_ids.truncate(NAMED_MAX);
        let status = if self.again.is_some() {
            Some(RunStatus::Interrupted)
        } else {
            (!sources_whole).then_some(RunStatus::Failed)
        };
        let status = status.map(|status| ("status", status.name().into()));
        let missing_ids: Vec<i64> = self.missing_ids.values().copied().collect();
        let counts = [
            ("events", self.events.into()),
            ("present", self.present().into()),
            ("missing", self.missing().into()),
            ("missing_ids", missing_ids.into()),
            ("different", self.different().into()),
            ("different_ids", different_ids.into()),
        ];
        let fields: Vec<(&str, Value)> = status.into_iter().chain(counts).collect();
        json_object(&fields)
    }

    /// The outcome, the counts, the first findings with their places, and the next commands. `load` is the load command
    /// without its files.
    pub(crate) fn to_text(&self, sources_whole: bool, load: &str) -> String {
        let events = counted(self.events, "event");
        let (missing, different) = (self.missing(), self.different());
        let of_events = |number: u64, what: &str| {
            format!("{} of {events} {} {what}", grouped(number), if number == 1 { "is" } else { "are" })
        };
        let mut text = match (missing, different) {
            (0, 0) if self.again.is_some() => {
                format!("Interrupted: compared {events}; no difference so far.\n")
            }
            _ if self.again.is_some() => format!(
                "Interrupted: compared {events}; so far {} missing and {} different.\n",
                grouped(missing),
                grouped(different)
            ),
            _ if !sources_whole => format!(
                "Failed: some input could not be read. Of {events} read, {} missing and {} different.\n",
                grouped(missing),
                grouped(different)
            ),
            (0, 0) if self.events == 0 => "No events to compare.\n".to_owned(),
            (0, 0) => {
                let subject =
                    if self.events == 1 { "The event is".to_owned() } else { format!("All {events} are") };
                let content =
                    if self.ids_only { "; the content was not compared" } else { ", with the same content" };
                format!("{subject} in the database{content}.\n")
            }
            (0, different) => format!("Different: {}.\n", of_events(different, "stored with other content")),
            (missing, 0) => format!("Missing: {}.\n", of_events(missing, "not in the database")),
            (missing, different) => format!(
                "Missing and different: {}; {} stored with other content.\n",
                of_events(missing, "not in the database"),
                grouped(different)
            ),
        };
        if self.missing > 0 && self.half_committed {
            text.push_str(
                "Missing events may still appear: some Citus nodes hold transactions that other nodes have \
                 committed. Citus completes them within a minute, also after a crash. Run verify again after \
                 that.\n",
            );
        }
        // Writing to a String cannot fail.
        if let Some(directory) = &self.directory
            && (missing + different > 0 || self.again.is_some())
        {
            let _ = writeln!(text, "Working directory: {directory}");
        }
        if missing + different > 0 {
            self.write_findings(&mut text, load);
        }
        if let Some(again) = &self.again {
            let _ = writeln!(text, "To run it again:\n  {again}");
        }
        text
    }

    fn write_findings(&self, text: &mut String, load: &str) {
        for (count, what) in [
            (self.present(), "present"),
            (self.missing, "missing"),
            (self.unloadable, "missing, and can't be loaded"),
            (self.different(), "different"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "  {:>12} {what}", grouped(count));
            }
        }
        let entries: BTreeMap<&Position, &PlacedFinding> =
            self.first.iter().chain(&self.differences).collect();
        for PlacedFinding { source, line, finding } in entries.values().take(NAMED_MAX) {
            // A line feed in a name could imitate lines of the report.
            let source = source.replace('\n', "\\n");
            let _ = writeln!(text, "{source}:{line}  {finding}");
        }
        let more = self.missing() + self.different() - entries.len().min(NAMED_MAX) as u64;
        if more > 0 {
            let place = if log::log_enabled!(log::Level::Info) { " in the log" } else { "; -v lists all" };
            let _ = writeln!(text, "… and {} more{place}", grouped(more));
        }
        if let Some(statements) = self.before_load.as_ref().filter(|_| self.missing + self.different() > 0) {
            let _ = writeln!(text, "Before a load, run in psql as the owner:\n  {statements}");
        }
        if self.different() > 0 && !self.different_sources.is_empty() {
            let sources: BTreeSet<&String> =
                self.different_sources.iter().chain(&self.missing_sources).collect();
            let command = of_files(load, "--on-conflict update", sources);
            let what = if self.missing_sources.is_empty() {
                "repair the different"
            } else {
                "load the missing and repair the different"
            };
            let _ = writeln!(text, "To {what} events:\n  {command}");
        } else if !self.missing_sources.is_empty() {
            let _ = writeln!(
                text,
                "To load the missing events:\n  {}",
                of_files(load, "--force", self.missing_sources.iter().collect())
            );
        }
        if self.unloadable > 0 {
            let command = of_files(load, "--dry-run", self.unloadable_sources.iter().collect());
            let _ = writeln!(
                text,
                "To write the events that can't be loaded to a reject file, with the reasons:\n  {command}"
            );
        }
    }
}

/// Inserts a value if it is one of the first `most`.
fn insert_bounded<T>(
    map: &mut BTreeMap<Position, T>,
    position: Position,
    value: impl FnOnce() -> T,
    most: usize,
) {
    if map.len() >= most && map.last_key_value().is_some_and(|(last, _)| *last < position) {
        return;
    }
    map.insert(position, value());
    if map.len() > most {
        map.pop_last();
    }
}

impl Finding {
    fn different_id(&self) -> Option<i64> {
        match self {
            Self::Different(id, _) => Some(*id),
            Self::Missing(_) | Self::Unloadable(_) => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(id) => write!(f, "event {id} is missing"),
            Self::Different(id, difference) => write!(f, "event {id} is different: {difference}"),
            Self::Unloadable(reason) => write!(f, "can't be loaded: {reason}"),
        }
    }
}

/// The load command for these sources. The option `how` makes it load segments that the ledger lists as loaded.
fn of_files(load: &str, how: &str, sources: BTreeSet<&String>) -> String {
    let stdin = Source::Stdin.to_string();
    let is_stream = |source: &&String| **source == stdin || Source::from(Path::new(*source)).is_stream();
    let (streams, files): (Vec<&String>, Vec<&String>) = sources.into_iter().partition(is_stream);
    let (producer, input) = if streams.is_empty() { ("", "") } else { ("… | ", " -") };
    let mut command = format!("{producer}{load} {how}{input}");
    for file in files {
        let _ = write!(command, " {}", shell_quoted(file));
    }
    command
}
