//! Compares the parser and the encoder with `serde_json` and the oracle, without a database: what is JSON, which events
//! are accepted, and their rows.

mod bytes;
mod trees;

use aegis_kills::{GenerateOptions, generate};
use proptest::prelude::ProptestConfig;

use crate::support::agreement::{POLICIES, check};
use crate::support::{hostile, samples};

const LINE_MAX_BYTES: usize = 16 << 20;

/// `PROPTEST_CASES` (default 256) scales the number of cases.
fn config(cases: u32) -> ProptestConfig {
    let scale = ProptestConfig::default();
    ProptestConfig { cases: cases * scale.cases / 256, failure_persistence: None, ..scale }
}

/// Valid lines: real events if available, and generated ones.
fn valid_lines(generated: u64) -> Vec<String> {
    let mut dump = samples::sample_events();
    generate(&GenerateOptions { events: generated, ..GenerateOptions::default() }, &mut dump)
        .expect("memory takes all");
    let text = String::from_utf8(dump).expect("samples are UTF-8");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn valid_events_have_the_rows_of_the_oracle() {
    for line in valid_lines(100) {
        check(&line, 0);
    }
}

/// In a stored text, and in one that no column keeps.
#[test]
fn a_lone_surrogate_before_malformed_json() {
    let event = samples::event(1).to_string();
    for key in ["\"Name\":\"", "\"unknown\":\""] {
        let surrogate = event.replacen("\"EventId\":1", &format!("\"EventId\":2,{key}\\ud800\""), 1);
        let killer = event.replacen("\"Killer\":{", &format!("\"Killer\":{{{key}\\ud800\","), 1);
        for odd in [surrogate, killer] {
            for line in
                [format!("[{odd},{event},nll,0]"), format!("[{event},{odd} x"), format!("[{odd},nll]")]
            {
                for nul in 0..POLICIES.len() {
                    check(&line, nul);
                }
            }
        }
    }
}

#[test]
fn hostile_lines_are_accepted_or_rejected_by_the_rules() {
    let lines = hostile::lines(&samples::event(1).to_string());
    // Lines that are too long or not UTF-8 are rejected before parsing.
    let parsed = lines.iter().filter(|(_, line, _)| line.len() <= LINE_MAX_BYTES);
    for line in parsed.filter_map(|(_, line, _)| str::from_utf8(line).ok()) {
        for nul in 0..POLICIES.len() {
            check(line, nul);
        }
    }
}
