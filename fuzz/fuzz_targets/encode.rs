//! Encodes events that differ from a valid one in the fields that the input names. Their rows must match the oracle,
//! alone and in sequence.
//!
//! The input is text. A line is a JSON pointer, a space and the JSON to put there. An empty line starts another event.
//! The first byte selects the NUL policy.

#![no_main]

#[path = "../../tests/support"]
#[allow(dead_code, unused_imports, reason = "the tests use the other items")]
mod support {
    pub(crate) mod agreement;
    pub(crate) mod copybin;
    pub(crate) mod oracle;
    pub(crate) mod samples;
}

use std::sync::LazyLock;

use aegis_kills::internals::{DuplicatePolicy, Encoder, Layout, Rows};
use aegis_kills::internals::{Event, LineReader};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use support::agreement::{POLICIES, SERVER, check, layouts};
use support::samples;

const EVENTS_MAX: usize = 3;

/// The event that the input modifies. Ids are consecutive.
static TEMPLATE: LazyLock<Value> = LazyLock::new(|| samples::lean_event(1));

fuzz_target!(|data: &[u8]| {
    let Some((&choice, script)) = data.split_first() else { return };
    let nul = usize::from(choice) % POLICIES.len();
    let lines = events(&String::from_utf8_lossy(script));
    match &lines[..] {
        [line] => check(line, nul),
        lines => check(&format!("[{}]", lines.join(",")), nul),
    }
    for (layout, _) in layouts() {
        check_order(layout, &lines, nul);
    }
});

/// The events of a script, one line each.
fn events(script: &str) -> Vec<String> {
    let scripts = script.split("\n\n").take(EVENTS_MAX);
    (1..).zip(scripts).map(|(id, script)| event(id, script).to_string()).collect()
}

fn event(id: i64, script: &str) -> Value {
    let mut event = TEMPLATE.clone();
    event["EventId"] = id.into();
    for line in script.lines() {
        if let Some((pointer, text)) = line.split_once(' ')
            && let Ok(value) = serde_json::from_str(text)
        {
            put(&mut event, pointer, value);
        }
    }
    event
}

/// Sets the value at a pointer, and adds it if it is missing.
fn put(event: &mut Value, pointer: &str, value: Value) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    match event.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.insert(key.to_owned(), value);
        }
        Some(Value::Array(values)) => match key.parse::<usize>() {
            Ok(index) if index < values.len() => values[index] = value,
            _ => values.push(value),
        },
        _ => {}
    }
}

/// The rows of an event must not depend on earlier events, and removing an event must not change the rows of earlier ones.
fn check_order(layout: Layout, lines: &[String], nul: usize) {
    let mut together = Rows::default();
    let encoder = || Encoder::new(layout, SERVER, POLICIES[nul].0, DuplicatePolicy::KeepFirst);
    let mut kept = encoder();
    let mut space = Event::default();
    for line in lines {
        encode(line, nul, &mut kept, &mut space, &mut together);
    }
    let tables = 0..layout.tables().len();
    let mut place = 0;
    for line in lines {
        let mut alone = Rows::default();
        encode(line, nul, &mut encoder(), &mut Event::default(), &mut alone);
        if alone.events().is_empty() {
            continue;
        }
        assert_eq!(together.events()[place].id, alone.events()[0].id);
        for table in tables.clone() {
            assert_eq!(together.of(place, table), alone.of(0, table), "table {table} of event {place}");
        }
        place += 1;
    }
    assert_eq!(together.events().len(), place);
    for kept in (0..=place).rev() {
        together.truncate(kept);
        let pieces = (0..kept).flat_map(|event| tables.clone().map(move |table| (event, table)));
        let bytes: usize = pieces.map(|(event, table)| together.of(event, table).len()).sum();
        assert_eq!(together.byte_len(), bytes, "bytes of {kept} events");
    }
}

fn encode<'a>(line: &'a str, nul: usize, encoder: &mut Encoder, space: &mut Event<'a>, rows: &mut Rows) {
    let read = LineReader::new(POLICIES[nul].0).read(line, space, |found| {
        // Rejected events have no rows; the reason is not checked here.
        let _ = found.event.and_then(|event| encoder.encode(event, rows));
    });
    read.expect("the output of serde_json is JSON");
}
