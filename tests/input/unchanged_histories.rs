//! Random histories of files: after each load everything in them is stored, whatever changed before and with any options,
//! and unchanged files are skipped.
//!
//! `SEED` is the seed of the history.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use crate::support::cluster::Cluster;
use crate::support::dumps::small_event;
use crate::support::program::Workplace;
use crate::support::{eventually, log_case};

const FILES: usize = 24;
const ROUNDS: usize = 7;
/// The limit below which a changed file is read again by the next load, with a margin.
const SETTLED: Duration = Duration::from_millis(2100);
/// The option sets of the loads.
const OPTIONS: [&[&str]; 3] =
    [&["--events-at", "a"], &["--events-at", "b"], &["--events-at", "a", "--nul", "strip"]];
/// The place in a line that each option set reads.
const PLACES: [i64; 3] = [0, 1, 0];

/// A change of a file between two loads.
#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    Append,
    Truncate,
    /// Other events of the same size, with the old modification time.
    Overwrite,
    /// The same by renaming another file.
    Replace,
    Touch,
    Mode,
    Rename,
}

const CHANGES: [Change; 12] = [
    Change::None,
    Change::None,
    Change::None,
    Change::None,
    Change::None,
    Change::Append,
    Change::Truncate,
    Change::Overwrite,
    Change::Replace,
    Change::Touch,
    Change::Mode,
    Change::Rename,
];

/// A file and its state at the last load.
struct Tracked {
    path: PathBuf,
    /// The id of each line.
    ids: Vec<i64>,
    changed: SystemTime,
    /// For each option set that loaded the file since its last change: whether the file was settled at the last of these loads.
    loaded: [Option<bool>; OPTIONS.len()],
}

struct History {
    random: Rng,
    work: Workplace,
    files: Vec<Tracked>,
    next_id: i64,
}

/// The id of the event in a line that these options find.
fn id_in(id: i64, options: usize) -> i64 {
    id + 1_000_000 * PLACES[options]
}

/// Lines have the same size for each id.
fn line(id: i64) -> String {
    format!("{}\n", serde_json::json!({"a": small_event(id), "b": small_event(id_in(id, 1))}))
}

impl History {
    fn new(seed: u64) -> Self {
        let work = Workplace::new();
        let mut history = Self { random: Rng::with_seed(seed), work, files: Vec::new(), next_id: 100_000 };
        for number in 0..FILES {
            let path = history.work.path().join(format!("{number}.ndjson"));
            history.files.push(Tracked {
                path,
                ids: Vec::new(),
                changed: SystemTime::now(),
                loaded: [None; OPTIONS.len()],
            });
            let ids = history.fresh(3);
            history.write(number, ids);
        }
        history
    }

    fn fresh(&mut self, count: i64) -> Vec<i64> {
        self.next_id += count;
        (self.next_id - count..self.next_id).collect()
    }

    fn write(&mut self, number: usize, ids: Vec<i64>) {
        let file = &mut self.files[number];
        let text: String = ids.iter().copied().map(line).collect();
        fs::write(&file.path, text).expect("a file");
        file.ids = ids;
    }

    fn change(&mut self, number: usize, change: Change) {
        let count = i64::try_from(self.files[number].ids.len()).expect("few");
        let time =
            || fs::metadata(&self.files[number].path).and_then(|found| found.modified()).expect("a time");
        match change {
            Change::None => return,
            Change::Append => {
                let ids = [self.files[number].ids.clone(), self.fresh(1)].concat();
                self.write(number, ids);
            }
            Change::Truncate => {
                let mut ids = self.files[number].ids.clone();
                ids.pop();
                self.write(number, ids);
            }
            Change::Overwrite => {
                let before = time();
                let ids = self.fresh(count);
                self.write(number, ids);
                set_time(&self.files[number].path, before);
            }
            Change::Replace => {
                let before = time();
                let (path, other) = (self.files[number].path.clone(), self.work.path().join("other"));
                let ids = self.fresh(count);
                self.files[number].path.clone_from(&other);
                self.write(number, ids);
                set_time(&other, before);
                fs::rename(&other, &path).expect("a rename");
                self.files[number].path = path;
            }
            Change::Touch => set_time(&self.files[number].path, SystemTime::UNIX_EPOCH),
            Change::Mode => {
                let mode = if self.random.bool() { 0o644 } else { 0o664 };
                fs::set_permissions(&self.files[number].path, fs::Permissions::from_mode(mode))
                    .expect("a mode");
            }
            Change::Rename => {
                // A file of this name may have been loaded before.
                let other = self.random.usize(0..FILES);
                let paths = [number, other].map(|number| self.files[number].path.clone());
                let aside = self.work.path().join("aside");
                fs::rename(&paths[0], &aside).expect("a rename");
                if other != number {
                    fs::rename(&paths[1], &paths[0]).expect("a rename");
                    self.files[other].path.clone_from(&paths[0]);
                    self.noted(other);
                }
                fs::rename(&aside, &paths[1]).expect("a rename");
                self.files[number].path.clone_from(&paths[1]);
            }
        }
        self.noted(number);
    }

    fn noted(&mut self, number: usize) {
        self.files[number].changed = SystemTime::now();
        self.files[number].loaded = [None; OPTIONS.len()];
    }

    fn settle(&self) {
        let last = self.files.iter().map(|file| file.changed).max().expect("files");
        eventually(Duration::from_secs(30), "the files are settled", || is_settled(last, SystemTime::now()));
    }
}

fn is_settled(changed: SystemTime, at: SystemTime) -> bool {
    at.duration_since(changed).is_ok_and(|age| age >= SETTLED)
}

fn set_time(path: &PathBuf, time: SystemTime) {
    File::options().append(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
}

#[test]
fn no_history_of_files_causes_a_wrong_skip() {
    let seed = env::var("SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a seed"));
    log_case(format!("SEED={seed}"));
    let database = Cluster::shared().database("histories");
    let mut history = History::new(seed);
    let (mut expected, mut skipped) = (BTreeSet::new(), 0);
    let mut options = 0;
    for round in 0..ROUNDS {
        for number in 0..FILES {
            let change = CHANGES[history.random.usize(0..CHANGES.len())];
            if round > 0 {
                log_case((round, number, change));
                history.change(number, change);
            }
        }
        // Sometimes a load with other options, or the same again, comes between.
        if round % 3 == 2 {
            options = history.random.usize(0..OPTIONS.len());
        }
        if round % 2 == 0 {
            history.settle();
        }
        let begun = SystemTime::now();
        let names: Vec<&str> = history.files.iter().map(|file| file.path.to_str().expect("UTF-8")).collect();
        let summary = history.work.load(&database, OPTIONS[options]).args(&names).expect(0).summary();
        let known = |file: &&Tracked| file.loaded[options].is_some();
        let most = history.files.iter().filter(known).count();
        let sure = |file: &&Tracked| file.loaded[options] == Some(true);
        let least = history.files.iter().filter(sure).count();
        let found = usize::try_from(summary.count("files_skipped")).expect("few");
        assert!(
            (least..=most).contains(&found),
            "round {round}: {found} skipped, expected {least} to {most}"
        );
        skipped += found;
        for file in &mut history.files {
            expected.extend(file.ids.iter().map(|id| id_in(*id, options)));
            file.loaded[options] = Some(is_settled(file.changed, begun));
        }
        let rows = database.client().query("select event_id from kill_event", &[]).expect("events");
        let stored: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert!(stored == expected, "round {round}: {:?}", expected.symmetric_difference(&stored));
    }
    assert!(skipped > 0, "something was skipped");
}
