//! Owns dumps made for a purpose: packed, cut, in arrays, with versions of an event, generated.

use std::io::Write as _;

use aegis_kills::{GenerateOptions, generate};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::samples;

/// The lines of a dump, without their ends.
pub(crate) fn lines(dump: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = dump.split(|&byte| byte == b'\n').collect();
    lines.pop_if(|last| last.is_empty());
    lines
}

/// These lines, each with its end.
pub(crate) fn join<L: AsRef<[u8]>>(lines: &[L]) -> Vec<u8> {
    let mut dump = Vec::new();
    for line in lines {
        dump.extend_from_slice(line.as_ref());
        dump.push(b'\n');
    }
    dump
}

/// So many events in an array on each line, as the API gives them.
pub(crate) fn in_arrays(dump: &[u8], events: usize) -> Vec<u8> {
    let page = |page: &[&[u8]]| [&b"["[..], &page.join(&b','), b"]"].concat();
    join(&lines(dump).chunks(events).map(page).collect::<Vec<_>>())
}

/// As one member.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// As members of so many bytes of text, which end anywhere in a line.
pub(crate) fn gzip_members(text: &[u8], bytes: usize) -> Vec<u8> {
    text.chunks(bytes).flat_map(gzip).collect()
}

/// As frames of so many bytes of text, which end anywhere in a line.
pub(crate) fn zstd_frames(text: &[u8], bytes: usize) -> Vec<u8> {
    text.chunks(bytes).flat_map(|part| zstd::encode_all(part, 1).expect("memory")).collect()
}

/// A dump of the program's own.
pub(crate) fn generated(events: u64, seed: u64, overlap_percent: f64) -> Vec<u8> {
    let mut dump = Vec::new();
    let options = GenerateOptions { events, seed, overlap_percent };
    generate(&options, &mut dump).expect("memory");
    dump
}

/// An event with no more than what is needed, so that many fit into a small segment.
pub(crate) fn small_event(id: i64) -> Value {
    json!({
        "EventId": id,
        "TimeStamp": "2024-08-18T20:45:46.725Z",
        "TotalVictimKillFame": 1000,
        "Killer": {"Id": "killer-id", "Name": "The killer"},
        "Victim": {"Id": "victim-id", "Name": "The victim"},
    })
}

/// An event told apart from other versions of the same id in each table.
pub(crate) fn version(id: i64, version: i64) -> String {
    let mut event = if version % 3 == 0 { samples::event(id) } else { small_event(id) };
    event["TotalVictimKillFame"] = json!(version);
    event["Killer"]["Name"] = json!(format!("The killer of version {version}"));
    event["Victim"]["Inventory"] = json!([{"Type": "T4_BAG", "Count": version, "Quality": 1}]);
    event["GroupMembers"] = json!([{"Id": format!("member-{version}"), "Name": "A member"}]);
    event.to_string()
}
