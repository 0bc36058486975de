//! Dumps for tests: compressed, cut, in arrays, with versions of an event, generated.

use std::io::Write as _;

use aegis_kills::{GenerateOptions, generate};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::samples;

/// The lines of a dump, without line ends.
pub(crate) fn lines(dump: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = dump.split(|&byte| byte == b'\n').collect();
    lines.pop_if(|last| last.is_empty());
    lines
}

/// Joins lines, each with a line end.
pub(crate) fn join<L: AsRef<[u8]>>(lines: &[L]) -> Vec<u8> {
    let mut dump = Vec::new();
    for line in lines {
        dump.extend_from_slice(line.as_ref());
        dump.push(b'\n');
    }
    dump
}

/// Arrays of this many events, one per line, like the API's pages.
pub(crate) fn in_arrays(dump: &[u8], events: usize) -> Vec<u8> {
    let page = |page: &[&[u8]]| [&b"["[..], &page.join(&b','), b"]"].concat();
    join(&lines(dump).chunks(events).map(page).collect::<Vec<_>>())
}

/// Compresses into one member.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// Members of this many bytes of text, which end anywhere in a line.
pub(crate) fn gzip_members(text: &[u8], bytes: usize) -> Vec<u8> {
    text.chunks(bytes).flat_map(gzip).collect()
}

/// Frames of this many bytes of text, which end anywhere in a line.
pub(crate) fn zstd_frames(text: &[u8], bytes: usize) -> Vec<u8> {
    text.chunks(bytes).flat_map(|part| zstd::encode_all(part, 1).expect("memory")).collect()
}

/// A dump of the program's generator.
pub(crate) fn generated(events: u64, seed: u64, overlap_percent: f64) -> Vec<u8> {
    let mut dump = Vec::new();
    let options = GenerateOptions { events, seed, overlap_percent };
    generate(&options, &mut dump).expect("memory");
    dump
}

/// An event with only the required fields, so that many fit into a small segment.
pub(crate) fn small_event(id: i64) -> Value {
    json!({
        "EventId": id,
        "TimeStamp": "2024-08-18T20:45:46.725Z",
        "TotalVictimKillFame": 1000,
        "Killer": {"Id": "killer-id", "Name": "The killer"},
        "Victim": {"Id": "victim-id", "Name": "The victim"},
    })
}

/// An event that differs from other versions of its id in each table.
pub(crate) fn version(id: i64, version: i64) -> String {
    let mut event = if version % 3 == 0 { samples::event(id) } else { small_event(id) };
    event["TotalVictimKillFame"] = json!(version);
    event["Killer"]["Name"] = json!(format!("The killer of version {version}"));
    event["Victim"]["Inventory"] = json!([{"Type": "T4_BAG", "Count": version, "Quality": 1}]);
    event["GroupMembers"] = json!([{"Id": format!("member-{version}"), "Name": "A member"}]);
    event.to_string()
}
