//! The input of the benchmarks: generated events, and real events if available.

use std::fs;
use std::path::Path;

use aegis_kills::{GenerateOptions, generate};

/// Dumps by name. Each line ends with a line feed.
pub(crate) fn dumps() -> Vec<(&'static str, String)> {
    let mut generated = Vec::new();
    let options = GenerateOptions { events: 1_000, ..GenerateOptions::default() };
    generate(&options, &mut generated).expect("writing to memory");
    let mut dumps = vec![("generated", String::from_utf8(generated).expect("generated text is UTF-8"))];
    if let Some(real) = real() {
        dumps.push(("real", real));
    }
    dumps
}

/// All real events, from `KILLS_BENCH_DATA` or from a directory next to the project.
fn real() -> Option<String> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let directory = std::env::var_os("KILLS_BENCH_DATA").map_or(beside, Into::into);
    let mut files: Vec<_> =
        fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    let texts = files.iter().map(|path| fs::read_to_string(path).expect("a dump can be read"));
    let dump: String = texts.collect();
    (!dump.is_empty()).then_some(dump)
}
