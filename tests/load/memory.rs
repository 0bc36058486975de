//! The peak memory of loads.
//!
//! The dumps come through a pipe that stays open until everything is stored, so that the process still exists when its
//! peak is read. A lock blocks the writers until everything that can be in flight is.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{self, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use aegis_kills::{GenerateOptions, generate};
use postgres::Client;
use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;

/// The default on a machine with four cores.
const PARSE_THREADS: u64 = 4;
const PEAK_MAX_KIB: u64 = 256 << 10;
const SEGMENT_BYTES: u64 = 8 << 20;
/// A buffer for each parse thread and writer and for the reader, and some more segments.
const SEGMENTS: u64 = PARSE_THREADS + 3 + 1 + 3;
/// For dumps of many lines, which take long: every size is this much smaller, except for the program's own memory.
const SCALE: u64 = 8;
const PROGRAM_KIB: u64 = 18 << 10;
const LINE_MAX_BYTES: usize = 16 << 20;
const WAIT_MAX: Duration = Duration::from_mins(3);

/// Loads the output of `feed` in segments `scale` times smaller than the default. Returns the peak in KiB and the
/// summary. `feed` returns the number of events written.
fn load(
    name: &str,
    scale: u64,
    feed: impl FnOnce(&mut ChildStdin) -> io::Result<u64> + Send,
) -> (u64, Value) {
    load_with(name, &[], scale, feed)
}

/// The same with more options.
pub(super) fn load_with(
    name: &str,
    options: &[&str],
    scale: u64,
    feed: impl FnOnce(&mut ChildStdin) -> io::Result<u64> + Send,
) -> (u64, Value) {
    let database = Cluster::shared().database(name);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut loader = Command::new(env!("CARGO_BIN_EXE_aegis-kills"))
        .args(["load", "--json", "--max-rejects", "100%", "--rejects"])
        .arg(directory.path().join("rejects.ndjson"))
        .args(options)
        .env_clear()
        .env("DATABASE_URL", database.url())
        .env("ALBION_SERVER", "americas")
        .env("KILLS_PARSE_THREADS", PARSE_THREADS.to_string())
        .env("KILLS_SEGMENT_BYTES", (SEGMENT_BYTES / scale).to_string())
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .supervised()
        .expect("the program");
    // The waits below have their own limits.
    loader.set_deadline(Some(4 * WAIT_MAX));
    let mut input = loader.stdin.take().expect("its input");
    let mut client = database.client();
    let peak = thread::scope(|scope| {
        eventually(WAIT_MAX, "the load begins", || {
            client
                .query_one("select count(*) from kill_load_run", &[])
                .is_ok_and(|row| row.get::<_, i64>(0) == 1)
        });
        let mut locker = database.client();
        let mut lock = locker.transaction().expect("a transaction");
        lock.batch_execute("lock table kill_load_segment in share mode").expect("the lock");
        let feeder = scope.spawn(move || feed(&mut input).map(|events| (events, input)));
        let mut idle = Idle::default();
        eventually(WAIT_MAX, "all that can be in flight is", || idle.has_lasted(loader.id(), &mut client));
        lock.commit().expect("the lock's end");
        let (events, input) = feeder.join().expect("no panic").expect("the program reads");
        eventually(WAIT_MAX, "all is stored", || stored(&mut client) == events);
        let peak = peak_kib(loader.id());
        drop(input);
        peak
    });
    let mut summary = String::new();
    loader.stdout.take().expect("its output").read_to_string(&mut summary).expect("text");
    loader.wait();
    (peak, serde_json::from_str(&summary).expect("a summary"))
}

/// Detects that a process only waits for the lock.
#[derive(Default)]
struct Idle {
    ticks: u64,
    looks: u32,
}

impl Idle {
    fn has_lasted(&mut self, pid: u32, client: &mut Client) -> bool {
        let waiting = "select count(*) from pg_locks where not granted and database = \
                       (select oid from pg_database where datname = current_database())";
        let is_waiting = client.query_one(waiting, &[]).expect("an answer").get::<_, i64>(0) > 0;
        let ticks = ticks(pid);
        self.looks = if is_waiting && ticks == self.ticks { self.looks + 1 } else { 0 };
        self.ticks = ticks;
        self.looks == 25
    }
}

/// The processor time of a process.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the program lives");
    let after_name = stat.rsplit(") ").next().expect("a name");
    after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the program lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn stored(client: &mut Client) -> u64 {
    let sum = "select coalesce(sum(events), 0)::bigint from kill_load_segment";
    let events: i64 = client.query_one(sum, &[]).expect("an answer").get(0);
    u64::try_from(events).expect("a count")
}

#[track_caller]
pub(super) fn check(name: &str, scale: u64, (peak, summary): (u64, Value), expected: [(&str, u64); 3]) {
    for (count, expected) in expected {
        assert_eq!(summary[count].as_u64(), Some(expected), "{name}: {count} in {summary}");
    }
    let peak_max = PROGRAM_KIB + (PEAK_MAX_KIB - PROGRAM_KIB) / scale;
    assert!(peak < peak_max, "{name}: {peak} KiB, and at most {peak_max} are allowed: {summary}");
}

/// Joins lines with one event each into arrays of nearly the maximum size.
struct Pages<'w> {
    out: &'w mut ChildStdin,
    page: Vec<u8>,
    event: Vec<u8>,
}

impl Pages<'_> {
    fn end_page(&mut self) -> io::Result<()> {
        if !self.page.is_empty() {
            self.page.extend_from_slice(b"]\n");
            self.out.write_all(&self.page)?;
            self.page.clear();
        }
        Ok(())
    }
}

impl Write for Pages<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.event.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                if self.page.len() + self.event.len() + 2 > LINE_MAX_BYTES {
                    self.end_page()?;
                }
                self.page.push(if self.page.is_empty() { b'[' } else { b',' });
                self.page.extend_from_slice(&self.event[..self.event.len() - 1]);
                self.event.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes numbered lines until they have `bytes`.
fn write_lines(out: &mut ChildStdin, bytes: u64, mut line: impl FnMut(u64, &mut Vec<u8>)) -> io::Result<u64> {
    let (mut lines, mut written, mut buffer) = (0, 0, Vec::new());
    while written < bytes {
        buffer.clear();
        while buffer.len() < 1 << 20 {
            lines += 1;
            line(lines, &mut buffer);
        }
        out.write_all(&buffer)?;
        written += buffer.len() as u64;
    }
    Ok(lines)
}

/// An event of about 250 bytes with this id, in AlbionBB's reduced format.
fn small_event(id: &str, number: u64) -> String {
    let player = |name: &str| {
        format!(
            r#"{{"Id":"{name}-{number:016}","Name":"{name}","GuildName":"","Equipment":{{"MainHand":null}}}}"#
        )
    };
    format!(
        "{{\"EventId\":{id},\"TimeStamp\":\"2025-08-25T21:50:19.445Z\",\"TotalVictimKillFame\":0,\"Killer\":{},\"Victim\":{}}}\n",
        player("k"),
        player("v")
    )
}

#[test]
fn memory_is_bounded_for_realistic_events() {
    // Events of 14,000 bytes each.
    let options = GenerateOptions { events: SEGMENTS * SEGMENT_BYTES / 14_000, ..GenerateOptions::default() };
    let events = options.events;
    let loaded = load("memory game", 1, move |input| generate(&options, input).map(|()| events));
    check("game", 1, loaded, [("events", events), ("inserted", events), ("rejected", 0)]);
}

#[test]
fn memory_is_bounded_for_the_smallest_events() {
    let mut events = 0;
    let counted = &mut events;
    let loaded = load("memory small", SCALE, move |input| {
        *counted = write_lines(input, SEGMENTS * SEGMENT_BYTES / SCALE, |number, out| {
            out.extend_from_slice(small_event(&number.to_string(), number).as_bytes());
        })?;
        Ok(*counted)
    });
    check("small", SCALE, loaded, [("events", events), ("inserted", events), ("rejected", 0)]);
}

#[test]
fn memory_is_bounded_for_rejects_only() {
    let mut events = 0;
    let counted = &mut events;
    let loaded = load("memory rejects", SCALE, move |input| {
        *counted = write_lines(input, SEGMENTS * SEGMENT_BYTES / SCALE, |number, out| {
            out.extend_from_slice(small_event("null", number).as_bytes());
        })?;
        Ok(*counted)
    });
    check("rejects", SCALE, loaded, [("events", events), ("inserted", 0), ("rejected", events)]);
}

#[test]
fn memory_is_bounded_for_the_longest_lines() {
    // An array of this many events is nearly as long as a line may be, and fills a segment.
    let options = GenerateOptions { events: SEGMENTS * 1_180, ..GenerateOptions::default() };
    let events = options.events;
    let loaded = load("memory lines", 1, move |input| {
        input.write_all(&vec![b'x'; 20_000_000])?;
        input.write_all(b"\n")?;
        let mut pages = Pages { out: input, page: Vec::new(), event: Vec::new() };
        generate(&options, &mut pages)?;
        pages.end_page()?;
        Ok(events + 1)
    });
    check("lines", 1, loaded, [("events", events + 1), ("inserted", events), ("rejected", 1)]);
}

/// An event with these members in its victim.
pub(super) fn event_with(id: u64, victim: &str) -> String {
    let victim = format!(r#"{{"Id":"v","Name":"v"{victim}}}"#);
    let killer = r#"{"Id":"k","Name":"k"}"#;
    format!(
        "{{\"EventId\":{id},\"TimeStamp\":\"2025-08-25T21:50:19.445Z\",\"TotalVictimKillFame\":0,\"Killer\":{killer},\"Victim\":{victim}}}\n"
    )
}

/// Reads `count` generated lines without a database. Returns the peak in KiB and the summary.
fn dry_load(count: u64, line: impl Fn(u64) -> String + Send) -> (u64, Value) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut loader = Command::new(env!("CARGO_BIN_EXE_aegis-kills"))
        .args(["load", "--json", "--dry-run", "--max-rejects", "100%", "--rejects"])
        .arg(directory.path().join("rejects.ndjson"))
        .env_clear()
        .env("ALBION_SERVER", "americas")
        .env("KILLS_PARSE_THREADS", PARSE_THREADS.to_string())
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .supervised()
        .expect("the program");
    loader.set_deadline(Some(2 * WAIT_MAX));
    let mut input = loader.stdin.take().expect("its input");
    for number in 1..=count {
        input.write_all(line(number).as_bytes()).expect("the program reads");
    }
    let (mut before, mut looks) = (0, 0);
    eventually(WAIT_MAX, "all is read", || {
        let ticks = ticks(loader.id());
        looks = if ticks == before { looks + 1 } else { 0 };
        before = ticks;
        looks == 25
    });
    let peak = peak_kib(loader.id());
    drop(input);
    let mut summary = String::new();
    loader.stdout.take().expect("its output").read_to_string(&mut summary).expect("text");
    (peak, serde_json::from_str(&summary).expect("a summary"))
}

#[test]
fn memory_is_bounded_for_arrays_without_events() {
    const ELEMENTS: u64 = 32_768;
    let line = format!("[{}0]\n", "0,".repeat(32_767));
    let (peak, summary) = dry_load(3, |_| line.clone());
    // The program would stop at many more, because the reject file would be out of proportion to the input.
    assert_eq!(summary["rejected"], 3 * ELEMENTS, "{summary}");
    // A reject takes about 200 bytes.
    assert!(peak < 48 << 10, "{peak} KiB: {summary}");
}

#[test]
fn memory_is_bounded_for_empty_rows() {
    let slots = format!(",\"Inventory\":[{}{{}}]", "{},".repeat(30_000));
    let (peak, summary) = dry_load(372, |number| event_with(number, &slots));
    assert_eq!(summary["rejected"], 0, "{summary}");
    assert!(peak < PEAK_MAX_KIB, "{peak} KiB: {summary}");
}

#[test]
fn memory_is_bounded_for_the_longest_values() {
    let long = format!(
        ",\"Avatar\":\"{}\",\"Other\":{}1{}",
        "x".repeat(15_000_000),
        "[".repeat(100),
        "]".repeat(100)
    );
    let (peak, summary) = dry_load(16, |number| event_with(number, &long));
    assert_eq!((&summary["events"], &summary["rejected"]), (&16.into(), &0.into()), "{summary}");
    assert!(peak < PEAK_MAX_KIB, "{peak} KiB: {summary}");
}

#[test]
fn memory_is_bounded_for_endless_separators() {
    const MEBIBYTE: usize = 1 << 20;
    let event = event_with(1, "");
    for (start, separator, end) in
        [("", " ", ""), ("[", "\t", "]"), ("[", ",", "]"), ("[]", "\r", ""), ("", "[]", "")]
    {
        let (peak, summary) = dry_load(80, |number| match number {
            1 => start.to_owned(),
            80 => format!("{}{end}", event.trim_end()),
            _ => separator.repeat(MEBIBYTE),
        });
        assert_eq!(
            (&summary["events"], &summary["rejected"]),
            (&1.into(), &0.into()),
            "{separator:?}: {summary}"
        );
        // Some times the maximum length of a value, and the program.
        assert!(peak < 96 << 10, "{separator:?}: {peak} KiB");
    }
}

#[test]
fn reencoded_rows_are_stored() {
    const SLOTS: i64 = 32_000;
    let slots = format!(",\"Inventory\":[{}{{}}]", "{},".repeat(31_999));
    let events = 18;
    let database = Cluster::shared().database("memory again");
    let work = Workplace::new();
    let dump: String = (1..=events).map(|number| event_with(number, &slots)).collect();
    work.load(&database, &[]).stdin(dump).expect(0).summary().check(&[("inserted", events)]);
    let counts = "select count(*), count(distinct event_id), count(distinct slot) from kill_loot";
    let row = database.client().query_one(counts, &[]).expect("counts");
    let events = i64::try_from(events).expect("few");
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)),
        (events * SLOTS, events, SLOTS)
    );
}
