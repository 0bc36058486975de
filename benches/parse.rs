//! Benchmarks the parser, and other parsers that fill structs with the same fields.

mod support {
    pub(crate) mod dumps;
    pub(crate) mod plain;
}

use std::hint::black_box;
use std::time::Duration;

use aegis_kills::internals::{Event, LineReader, NulPolicy};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use support::plain;

fn parse(criterion: &mut Criterion) {
    for (name, dump) in support::dumps::dumps() {
        let mut group = criterion.benchmark_group(format!("parse/{name}"));
        group.throughput(Throughput::Bytes(dump.len() as u64));
        group.bench_function("ours", |bencher| {
            bencher.iter(|| {
                let (mut reader, mut event) = (LineReader::new(NulPolicy::Reject), Event::default());
                for line in dump.lines() {
                    let read = reader.read(line, &mut event, |found| {
                        black_box(found.event.expect("valid"));
                    });
                    read.expect("JSON");
                }
            });
        });
        group.bench_function("serde_json, structs", |bencher| {
            bencher.iter(|| {
                for line in dump.lines() {
                    black_box(serde_json::from_str::<plain::Event<'_>>(line).expect("valid"));
                }
            });
        });
        group.bench_function("sonic-rs, structs", |bencher| {
            bencher.iter(|| {
                for line in dump.lines() {
                    black_box(sonic_rs::from_str::<plain::Event<'_>>(line).expect("valid"));
                }
            });
        });
        group.bench_function("serde_json, Value", |bencher| {
            bencher.iter(|| {
                for line in dump.lines() {
                    black_box(serde_json::from_str::<serde_json::Value>(line).expect("valid"));
                }
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = parse
}
criterion_main!(benches);
