//! Text that is nearly JSON, and events with altered bytes.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{check, config, valid_lines};
use crate::support::samples;

/// A change to the bytes of a line.
#[derive(Clone, Debug)]
enum Change {
    Delete(Index, usize),
    Insert(Index, &'static str),
    /// Replaces one byte.
    Replace(Index, u8),
    /// Inserts a copy of a piece elsewhere.
    Duplicate(Index, usize, Index),
    Swap(Index, Index, usize),
    Truncate(Index),
}

/// Tokens of JSON and similar ones.
const TOKENS: [&str; 60] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\t",
    "\r",
    "\n",
    "\u{c}",
    "\u{a0}",
    "0",
    "1",
    "-",
    "+",
    ".",
    "e",
    "E",
    "00",
    "-0",
    "1e3",
    "1e400",
    "0.1",
    "null",
    "true",
    "false",
    "nul",
    "NaN",
    "\"\"",
    "\"a\"",
    "\"\\",
    "\\\"",
    "\\\\",
    "\\u0000",
    "\\u0041",
    "\\u00",
    "\\ud83d",
    "\\ude00",
    "\\/",
    "\\n",
    "\\x",
    "\0",
    "\u{1f}",
    "\u{7f}",
    "é",
    "😀",
    "\u{feff}",
    "\"a\":",
    "{}",
    "[]",
    "\"EventId\":1",
    "\"Id\"",
    "\"TimeStamp\"",
    "\"Killer\":{",
    "\"Victim\":{",
    "},",
    "/**/",
];

/// Contents of a string.
const LETTERS: [&str; 24] = [
    "\\", "\\\\", "\"", "u", "\\u", "\\ud8", "3d", "\\udc00", "0000", "00e9", "D83D", "n", "b", "/", "a",
    "aaaaaaaa", "é", "€", "😀", "\u{1f}", "\t", "\u{7f}", "\u{80}", " ",
];

static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut lines = valid_lines(10);
    // Small events of another source.
    let killer =
        r#"{"Id":"k","Name":"K","Equipment":{"MainHand":{"Type":"T4_BOW","Quality":2},"Mount":null}}"#;
    let victim = killer.replace("\"k\"", "\"v\"");
    lines.extend((1..=40).map(|id| {
        format!(
            r#"{{"EventId":{id},"TimeStamp":"2025-08-25T21:50:19.445Z","TotalVictimKillFame":0,"Killer":{killer},"Victim":{victim}}}"#
        )
    }));
    lines.extend((1..=10).map(|id| samples::event(id).to_string()));
    lines
});

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), 1..8_usize).prop_map(|(at, length)| Change::Delete(at, length)),
        (any::<Index>(), select(&TOKENS[..])).prop_map(|(at, token)| Change::Insert(at, token)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<Index>(), 1..200_usize, any::<Index>())
            .prop_map(|(from, length, to)| Change::Duplicate(from, length, to)),
        (any::<Index>(), any::<Index>(), 1..50_usize)
            .prop_map(|(one, other, length)| Change::Swap(one, other, length)),
        any::<Index>().prop_map(Change::Truncate),
    ]
}

impl Change {
    fn make(&self, line: &mut Vec<u8>) {
        let count = line.len() + 1;
        let range = |line: &[u8], at: &Index, length: usize| {
            let start = at.index(count);
            start..(start + length).min(line.len())
        };
        match self {
            Change::Delete(at, length) => drop(line.drain(range(line, at, *length))),
            Change::Insert(at, token) => {
                let at = at.index(count);
                drop(line.splice(at..at, token.bytes()));
            }
            Change::Replace(at, byte) => {
                if let Some(old) = line.get_mut(at.index(count)) {
                    *old = *byte;
                }
            }
            Change::Duplicate(from, length, to) => {
                let piece = line[range(line, from, *length)].to_vec();
                let to = to.index(count);
                drop(line.splice(to..to, piece));
            }
            Change::Swap(one, other, length) => {
                let (one, other) = (one.index(count), other.index(count));
                for step in 0..*length {
                    if (one.max(other) + step) < line.len() {
                        line.swap(one + step, other + step);
                    }
                }
            }
            Change::Truncate(at) => line.truncate(at.index(count)),
        }
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn altered_events_agree_with_the_oracle(line in any::<Index>(), changes in vec(change(), 1..4), nul in 0..3_usize) {
        let mut bytes = line.get(&LINES).clone().into_bytes();
        for change in &changes {
            change.make(&mut bytes);
        }
        // Text that is not UTF-8 is rejected before parsing.
        check(&String::from_utf8_lossy(&bytes), nul);
    }
}

proptest! {
    #![proptest_config(config(1_500))]

    #[test]
    fn random_tokens_agree_with_the_oracle(tokens in vec(select(&TOKENS[..]), 0..12)) {
        check(&tokens.concat(), 0);
    }

    #[test]
    fn stored_and_skipped_strings_agree_with_the_oracle(letters in vec(select(&LETTERS[..]), 0..10), nul in 0..3_usize) {
        let string = letters.concat();
        for line in [
            format!("\"{string}\""),
            format!("[{{\"x\":\"{string}\"}}, 1]"),
            format!("{{\"{string}\":[]}}"),
            format!(
                r#"{{"EventId":1,"TimeStamp":"2025-08-25T21:50:19Z","TotalVictimKillFame":0,"Killer":{{"Id":"k","Name":"{string}"}},
                "GvGMatch":{{"{string}":"{string}"}},"Victim":{{"Id":"v","Name":"v","Avatar":"{string}"}}}}"#
            )
            .replace('\n', ""),
        ] {
            check(&line, nul);
        }
    }

    #[test]
    fn stored_and_skipped_numbers_agree_with_the_oracle(number in "-?[0-9]{0,3}[.]?[0-9]{0,22}([eE][+-]?[0-9]{0,2})?") {
        for line in [
            number.clone(),
            format!("[{number}]"),
            format!(
                r#"{{"EventId":1,"TimeStamp":"2025-08-25T21:50:19Z","TotalVictimKillFame":{number},
                "Killer":{{"Id":"k","Name":"k"}},"Victim":{{"Id":"v","Name":"v"}}}}"#
            )
            .replace('\n', ""),
            format!(
                r#"{{"EventId":1,"TimeStamp":"2025-08-25T21:50:19Z","TotalVictimKillFame":1,"GvGMatch":[{number}],
                "Killer":{{"Id":"k","Name":"k","AverageItemPower":{number}}},"Victim":{{"Id":"v","Name":"v","x":{number}}}}}"#
            )
            .replace('\n', ""),
        ] {
            check(&line, 0);
        }
    }
}
