//! Benchmarks reading segments by input format, and preparing a batch: hash, parse and encode a segment, as a worker
//! thread does.

mod support {
    pub(crate) mod dumps;
}

use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use aegis_kills::internals::{
    BufferPool, LINE_MAX_BYTES, Next, Segment, SegmentLimits, Segmenter, Source, spawn_reader,
};
use aegis_kills::internals::{DuplicatePolicy, Layout};
use aegis_kills::internals::{NulPolicy, Server};
use aegis_kills::internals::{Preparer, Reading};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::never;
use flate2::Compression;
use flate2::write::GzEncoder;

const LIMITS: SegmentLimits = SegmentLimits {
    segment_bytes: 8 << 20,
    lines_max: 16 << 10,
    line_max_bytes: LINE_MAX_BYTES,
    flush_interval: Duration::from_secs(1),
};

fn segments(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, dump) = support::dumps::dumps().swap_remove(0);
    let mut group = criterion.benchmark_group("segment");
    for (name, bytes) in [
        ("plain", dump.clone().into_bytes()),
        ("gzip", gzip(&dump)),
        ("zstd", zstd(&dump)),
        ("array on one line", format!("[{}]", dump.trim_end().replace('\n', ",")).into_bytes()),
        ("pretty-printed", pretty(&dump)),
    ] {
        let path = directory.path().join(name);
        let is_compressed = ["gzip", "zstd"].contains(&name);
        let text_bytes = if is_compressed { dump.len() } else { bytes.len() };
        group.throughput(Throughput::Bytes(text_bytes as u64));
        std::fs::write(&path, bytes).expect("a file");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(read(path.clone(), |_| ()))));
    }
    group.finish();

    let mut whole = Vec::new();
    read(directory.path().join("plain"), |segment| whole.push(segment.bytes.to_vec()));
    let segment = |bytes: &Vec<u8>| Segment {
        number: 0,
        source: "dump".into(),
        first_line: 1,
        byte_offset: 0,
        lines: 0,
        bytes: bytes.clone().into(),
        spans: None,
        oversized: None,
    };
    let mut group = criterion.benchmark_group("prepare");
    group.throughput(Throughput::Bytes(whole[0].len() as u64));
    let first = segment(&whole[0]);
    for layout in Layout::ALL {
        let preparer = Preparer {
            layout,
            server: Server::Europe,
            nul: NulPolicy::Reject,
            repeats: DuplicatePolicy::KeepFirst,
            reading: Reading::default(),
        };
        if layout == Layout::Archive {
            group.bench_function("hash", |bencher| bencher.iter(|| black_box(preparer.hash(&first))));
        }
        group.bench_function(format!("parse and encode, {layout}"), |bencher| {
            let hash = preparer.hash(&first);
            bencher.iter_batched(
                || segment(&whole[0]),
                |segment| black_box(preparer.prepare(segment, hash)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn pretty(dump: &str) -> Vec<u8> {
    let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    dump.lines().flat_map(|line| serde_json::to_vec_pretty(&value(line)).expect("JSON")).collect()
}

/// Reads a file segment by segment into one buffer.
fn read(path: PathBuf, mut each: impl FnMut(&Segment)) -> usize {
    let reader = spawn_reader(vec![Source::File(path)]).expect("a thread");
    let buffers = BufferPool::new(1, LIMITS.usual_bytes_max());
    let mut segmenter = Segmenter::new(reader, LIMITS, buffers, never());
    let mut bytes = 0;
    loop {
        match segmenter.next() {
            Next::Segment(segment) => {
                bytes += segment.bytes.len();
                each(&segment);
            }
            Next::End => return bytes,
            other => panic!("a valid dump: {other:?}"),
        }
    }
}

fn gzip(dump: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(dump.as_bytes()).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn zstd(dump: &str) -> Vec<u8> {
    zstd::encode_all(dump.as_bytes(), 3).expect("writing to memory")
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = segments
}
criterion_main!(benches);
