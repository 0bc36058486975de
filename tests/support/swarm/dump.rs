//! The dumps of the swarm: contents, form, compression, source.

use std::sync::LazyLock;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::dumps::{generated, gzip, gzip_members, lines, small_event, zstd_frames};
use crate::support::samples;

/// A dump. Its `Debug` shows everything that it was made of.
#[derive(Clone, Debug)]
pub(crate) struct Dump {
    pub(crate) parts: Vec<Part>,
    /// The seed of the lines' order, or none for the order of the parts.
    pub(crate) shuffle: Option<u64>,
    pub(crate) form: Form,
    pub(crate) frame: Frame,
    pub(crate) pack: Pack,
    /// A compressed dump that breaks after its last line. An intact one replaces it before the last round.
    pub(crate) is_broken: bool,
    pub(crate) via: Via,
}

/// Some lines of a dump.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Events with only the required fields.
    Small { first: i64, count: i64, version: i64 },
    /// Events with rows in all tables.
    Full { first: i64, count: i64, version: i64 },
    /// The first events of the program's generator, some of them twice.
    Realistic { count: usize },
    /// An event with a field of this many bytes that is not stored.
    Wide { id: i64, bytes: usize },
    /// Lines that are no events.
    Garbage(&'static str),
    /// An event with a NUL in a name.
    Nul { id: i64 },
}

/// The form of the events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Lines,
    /// Arrays of this many consecutive events.
    Arrays(usize),
}

/// The text around the lines.
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) bom: bool,
    pub(crate) crlf: bool,
    pub(crate) blank_lines: bool,
    pub(crate) no_last_newline: bool,
}

/// The compression, in members or frames of this many bytes of text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pack {
    Plain,
    Gzip(usize),
    Zstd(usize),
}

/// The source from which a load reads a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    File,
    Fifo,
    Stdin,
}

/// A line of a dump, and whether it can be in an array.
struct Line {
    text: Vec<u8>,
    is_event: bool,
}

const GARBAGE: [&str; 9] = [
    "no event",
    "<html><head><title>502 Bad Gateway</title></head></html>",
    "17",
    "null",
    "\"a text\"",
    "{\"EventId\":5}",
    "{\"EventId\":\"5\",\"TimeStamp\":\"2024-08-18T20:45:46Z\"}",
    "{\"EventId\":6,\"TimeStamp\":",
    "[{\"EventId\":7},8]",
];

impl Dump {
    /// A random dump. Its ids begin at one of `ids`, which other dumps share. Versions above 0 make events of one id
    /// differ.
    pub(super) fn random(random: &mut Rng, ids: i64, has_versions: bool, is_large: bool) -> Self {
        let parts = random.usize(0..5);
        let part = |_| Part::random(random, ids, has_versions, is_large);
        let parts = (0..parts).map(part).collect();
        let pack = match random.u8(0..6) {
            0 => Pack::Gzip(random.usize(1..200_000)),
            1 => Pack::Zstd(random.usize(1..200_000)),
            2 => Pack::Gzip(usize::MAX),
            _ => Pack::Plain,
        };
        // Members of a few bytes each would be mostly headers.
        let pack = match pack {
            Pack::Gzip(bytes) => Pack::Gzip(bytes.max(2_000)),
            Pack::Zstd(bytes) => Pack::Zstd(bytes.max(2_000)),
            Pack::Plain => Pack::Plain,
        };
        Self {
            parts,
            shuffle: random.bool().then(|| random.u64(..)),
            form: if random.u8(0..3) == 0 { Form::Arrays(random.usize(1..60)) } else { Form::Lines },
            frame: Frame {
                bom: random.u8(0..6) == 0,
                crlf: random.u8(0..6) == 0,
                blank_lines: random.u8(0..6) == 0,
                no_last_newline: random.u8(0..4) == 0,
            },
            pack,
            is_broken: !matches!(pack, Pack::Plain) && random.u8(0..8) == 0,
            via: Via::File,
        }
    }

    /// The events and the garbage, one per line, for the oracle.
    pub(crate) fn plain(&self) -> Vec<u8> {
        self.lines().into_iter().flat_map(|line| [line.text, b"\n".to_vec()].concat()).collect()
    }

    /// The contents of the file.
    pub(crate) fn bytes(&self, is_sound: bool) -> Vec<u8> {
        let text = self.text();
        let (mut bytes, rest) = match self.pack {
            Pack::Plain => (text, Vec::new()),
            Pack::Gzip(size) => (gzip_members(&text, size), gzip(b"lost")[..10].to_vec()),
            Pack::Zstd(size) => (zstd_frames(&text, size), zstd_frames(b"lost", 9)[..3].to_vec()),
        };
        if self.is_broken && !is_sound {
            bytes.extend(rest);
        }
        bytes
    }

    fn text(&self) -> Vec<u8> {
        let end: &[u8] = if self.frame.crlf { b"\r\n" } else { b"\n" };
        let mut text = if self.frame.bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        let lines = self.lines();
        let per_line = match self.form {
            Form::Lines => 1,
            Form::Arrays(events) => events,
        };
        for (number, run) in lines.chunk_by(|a, b| a.is_event && b.is_event).enumerate() {
            for page in run.chunks(per_line) {
                let values: Vec<&[u8]> = page.iter().map(|line| &line.text[..]).collect();
                match self.form {
                    Form::Arrays(_) if page[0].is_event => {
                        text.extend([&b"["[..], &values.join(&b','), b"]"].concat());
                    }
                    _ => text.extend(values.join(end)),
                }
                text.extend(end);
            }
            if self.frame.blank_lines && number % 3 == 0 {
                text.extend([b" \t", end].concat());
            }
        }
        if self.frame.no_last_newline && text.ends_with(end) {
            text.truncate(text.len() - end.len());
        }
        text
    }

    fn lines(&self) -> Vec<Line> {
        let mut all: Vec<Line> = self.parts.iter().flat_map(Part::lines).collect();
        if let Some(seed) = self.shuffle {
            Rng::with_seed(seed).shuffle(&mut all);
        }
        all
    }
}

impl Part {
    fn random(random: &mut Rng, ids: i64, has_versions: bool, is_large: bool) -> Self {
        let (few, many) = if is_large { (60, [1, 60, 500, 1500]) } else { (20, [1, 7, 30, 120]) };
        let first = random.i64(1..=ids);
        let version = if has_versions { random.i64(0..4) } else { 0 };
        match random.u8(0..14) {
            0..=4 => Self::Small { first, count: many[random.usize(0..4)], version },
            5..=7 => Self::Full { first, count: random.i64(1..few), version },
            8 | 9 => Self::Realistic { count: random.usize(1..50) },
            10 => Self::Wide {
                id: first + 1_000_000,
                bytes: [10_000, 200_000, 2_000_000][random.usize(0..if is_large { 3 } else { 2 })],
            },
            11 => Self::Nul { id: first + 2_000_000 },
            _ => Self::Garbage(GARBAGE[random.usize(0..GARBAGE.len())]),
        }
    }

    fn lines(&self) -> Vec<Line> {
        let event = |text: String| Line { text: text.into_bytes(), is_event: true };
        match *self {
            Self::Small { first, count, version } => {
                (first..first + count).map(|id| event(versioned(small_event(id), version))).collect()
            }
            // Small and full events have different ids. Otherwise they would be versions of one event.
            Self::Full { first, count, version } => (first..first + count)
                .map(|id| event(versioned(samples::lean_event(3_000_000 + id), version)))
                .collect(),
            // Always from the same dump, because the generator's events depend on all of its options.
            Self::Realistic { count } => {
                static DUMP: LazyLock<Vec<u8>> = LazyLock::new(|| generated(50, 7, 20.0));
                let lines = lines(&DUMP).into_iter().take(count);
                lines.map(|line| Line { text: line.to_vec(), is_event: true }).collect()
            }
            Self::Wide { id, bytes } => {
                let mut wide = small_event(id);
                wide["wide"] = json!("x".repeat(bytes));
                // An id may repeat with another width, because the field is not stored.
                vec![event(versioned(wide, 0))]
            }
            Self::Nul { id } => {
                let mut odd = small_event(id);
                odd["Killer"]["Name"] = json!("N\0ame");
                odd["BattleId"] = json!(id);
                vec![event(odd.to_string())]
            }
            Self::Garbage(text) => {
                (0..3).map(|_| Line { text: text.as_bytes().to_vec(), is_event: false }).collect()
            }
        }
    }
}

/// The text of an event in one of its versions.
fn versioned(mut event: Value, version: i64) -> String {
    event["BattleId"] = event["EventId"].clone();
    if version > 0 {
        event["TotalVictimKillFame"] = json!(1_000_000 + version);
        event["Killer"]["Name"] = json!(format!("The killer of version {version}"));
        event["Victim"]["Inventory"] = json!([{"Type": "T4_BAG", "Count": version, "Quality": 1}]);
    }
    event.to_string()
}
