//! Benchmarks parsing and encoding, which one thread does for each segment.

mod support {
    pub(crate) mod dumps;
}

use std::hint::black_box;
use std::time::Duration;

use aegis_kills::internals::{DuplicatePolicy, Encoder, Layout, Rows};
use aegis_kills::internals::{Event, LineReader, NulPolicy, Server};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn encode(criterion: &mut Criterion) {
    for (name, dump) in support::dumps::dumps() {
        let mut group = criterion.benchmark_group(format!("encode/{name}"));
        group.throughput(Throughput::Bytes(dump.len() as u64));
        group.bench_function("parse and encode", |bencher| {
            bencher.iter(|| {
                let (mut encoder, mut rows) = (encoder(), Rows::default());
                let (mut reader, mut event) = (LineReader::new(NulPolicy::Reject), Event::default());
                for line in dump.lines() {
                    let read = reader.read(line, &mut event, |found| {
                        encoder.encode(found.event.expect("valid"), &mut rows).expect("the event fits");
                    });
                    read.expect("JSON");
                }
                black_box(rows.byte_len())
            });
        });
        // Few enough to stay in the CPU caches, like an event that was just parsed.
        let few: String = dump.split_inclusive('\n').take(50).collect();
        let events = parsed(&few);
        group.throughput(Throughput::Bytes(few.len() as u64));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                let (mut encoder, mut rows) = (encoder(), Rows::default());
                for event in &events {
                    encoder.encode(event, &mut rows).expect("the event fits");
                }
                black_box(rows.byte_len())
            });
        });
        group.finish();
    }
}

fn encoder() -> Encoder {
    Encoder::new(Layout::Archive, Server::Europe, NulPolicy::Reject, DuplicatePolicy::KeepFirst)
}

fn parsed(dump: &str) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    let (mut reader, mut event) = (LineReader::new(NulPolicy::Reject), Event::default());
    for line in dump.lines() {
        let read = reader.read(line, &mut event, |found| {
            found.event.expect("valid");
        });
        read.expect("JSON");
        events.push(event.clone());
    }
    events
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = encode
}
criterion_main!(benches);
