//! Tests of the report of `verify`.

use super::*;
use crate::layout::compare::DifferenceKind;

const LOAD: &str = "aegis-kills load --server asia";

fn difference() -> Difference {
    Difference { table: "kill_loot", row: "slot 4".to_owned(), kind: DifferenceKind::Missing }
}

#[test]
fn a_report_ends_with_the_next_command() {
    let mut report = VerifyReport { events: 1_251, ..VerifyReport::default() };
    for line in 1..=150 {
        let id = 9_000 + i64::try_from(line).expect("small");
        report.add((0, usize::try_from(line).expect("small")), "it's a.ndjson", line, Finding::Missing(id));
    }
    report.add((1, 0), "<stdin>", 7, Finding::Unloadable("Killer.Name: it is missing".to_owned()));
    report.finish();
    let words = report.to_text(true, LOAD);
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(lines[0], "Missing: 151 of 1,251 events are not in the database.");
    assert_eq!(lines[1].trim(), "1,100 present");
    assert_eq!(lines[4], "it's a.ndjson:1  event 9001 is missing");
    assert_eq!(lines[3 + 101], "… and 51 more; -v lists all");
    let forced = r"aegis-kills load --server asia --force 'it'\''s a.ndjson'";
    assert!(lines.iter().any(|line| line.trim() == forced), "{words}");
    assert_eq!(lines.last().map(|line| line.trim()), Some("… | aegis-kills load --server asia --dry-run -"));
    assert!(report.to_text(false, LOAD).starts_with("Failed: some input could not be read"));
}

#[test]
fn nothing_wrong() {
    let words = |events| VerifyReport { events, ..VerifyReport::default() }.to_text(true, LOAD);
    assert_eq!(words(2), "All 2 events are in the database, with the same content.\n");
    assert_eq!(words(1), "The event is in the database, with the same content.\n");
    assert_eq!(words(0), "No events to compare.\n");
    let by_id = VerifyReport { events: 2, ids_only: true, ..VerifyReport::default() };
    assert_eq!(
        by_id.to_text(true, LOAD),
        "All 2 events are in the database; the content was not compared.\n"
    );
}

#[test]
fn an_interrupted_comparison_says_what_was_compared() {
    let again = Some("aegis-kills verify --server asia a.ndjson".to_owned());
    let mut report = VerifyReport { events: 8_182, again, ..VerifyReport::default() };
    assert_eq!(
        report.to_text(true, LOAD),
        "Interrupted: compared 8,182 events; no difference so far.\n\
         To run it again:\n  aegis-kills verify --server asia a.ndjson\n"
    );
    let json = r#"{"status":"interrupted","events":8182,"present":8182,"missing":0,"missing_ids":[],"different":0,"different_ids":[]}"#;
    assert_eq!(report.to_json(true).expect("JSON"), json);
    report.add((0, 0), "a.ndjson", 7, Finding::Missing(9_007));
    report.finish();
    let text = report.to_text(true, LOAD);
    assert!(
        text.starts_with("Interrupted: compared 8,182 events; so far 1 missing and 0 different.\n"),
        "{text}"
    );
    assert!(text.contains("a.ndjson:7  event 9007 is missing\nTo load the missing events:\n"), "{text}");
    assert!(text.ends_with("To run it again:\n  aegis-kills verify --server asia a.ndjson\n"), "{text}");
}

#[test]
fn differences_are_repaired_by_an_update() {
    let mut report = VerifyReport { events: 3, ..VerifyReport::default() };
    report.add_same(1);
    report.add((0, 1), "a.ndjson", 2, Finding::Different(2, difference()));
    report.add((0, 2), "b.ndjson", 1, Finding::Missing(3));
    report.finish();
    let words = report.to_text(true, LOAD);
    assert!(
        words.starts_with(
            "Missing and different: 1 of 3 events is not in the database; 1 stored with other content.\n"
        ),
        "{words}"
    );
    assert!(
        words.contains("a.ndjson:2  event 2 is different: kill_loot slot 4: row is missing\n"),
        "{words}"
    );
    assert!(
        words.ends_with("  aegis-kills load --server asia --on-conflict update a.ndjson b.ndjson\n"),
        "{words}"
    );
}

#[test]
fn one_of_several_versions_is_stored() {
    for stored_first in [true, false] {
        let mut report = VerifyReport { events: 3, ..VerifyReport::default() };
        if stored_first {
            report.add_same(5);
        }
        report.add((0, 1), "a", 2, Finding::Different(5, difference()));
        report.add((4, 1), "a", 3, Finding::Different(5, difference()));
        assert_eq!(report.different(), 2);
        if !stored_first {
            report.add_same(5);
        }
        report.finish();
        assert_eq!(
            report.to_json(true).expect("JSON"),
            r#"{"events":3,"present":3,"missing":0,"missing_ids":[],"different":0,"different_ids":[]}"#
        );
    }
}

#[test]
fn memory_is_bounded() {
    let mut report = VerifyReport { events: 20_000, ..VerifyReport::default() };
    for id in (0..20_000_i64).rev() {
        let position = (id.cast_unsigned(), 0);
        report.add(position, "a", id.cast_unsigned(), Finding::Different(id, difference()));
    }
    report.finish();
    assert_eq!((report.different(), report.differences.len()), (20_000, DIFFERENCES_MAX));
    let json: serde_json::Value = serde_json::from_str(&report.to_json(true).expect("JSON")).expect("JSON");
    assert_eq!(json["different_ids"].as_array().map(Vec::len), Some(NAMED_MAX));
    assert_eq!(json["different_ids"][0], 0, "in the order of the input");
}
