//! Tests of the report of `verify`.

use super::*;
use crate::layout::compare::DifferenceKind;

const LOAD: &str = "aegis-kills load --server asia";

fn difference() -> Difference {
    Difference { table: "kill_loot", row: "slot 4".to_owned(), kind: DifferenceKind::Missing }
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
    assert_eq!(report.to_json(true), json);
    report.add((0, 0), "a.ndjson", 7, Finding::Missing(9_007));
    report.finish();
    let text = report.to_text(true, LOAD);
    assert!(
        text.starts_with("Interrupted: compared 8,182 events; so far 1 missing and 0 different.\n"),
        "{text}"
    );
    assert!(text.contains("a.ndjson:7  event 9007 is missing\nTo load the missing events:\n"), "{text}");
    assert!(text.ends_with("To run it again:\n  aegis-kills verify --server asia a.ndjson\n"), "{text}");
    report.directory = Some("/srv/kills".to_owned());
    let text = report.to_text(true, LOAD);
    assert!(text.contains(" different.\nWorking directory: /srv/kills\n"), "{text}");
}

#[test]
fn the_working_directory_is_named_only_before_a_command() {
    let directory = Some("/srv/kills".to_owned());
    let report = VerifyReport { events: 2, directory, ..VerifyReport::default() };
    assert_eq!(report.to_text(true, LOAD), "All 2 events are in the database, with the same content.\n");
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
fn nothing_is_loaded_from_a_damaged_source() {
    let report = |damaged: &[&str]| {
        let mut report = VerifyReport { events: 2, ..VerifyReport::default() };
        report.add((0, 0), "a.gz", 1, Finding::Different(1, difference()));
        report.add((1, 0), "b.gz", 1, Finding::Missing(2));
        for source in damaged {
            report.distrust(source);
        }
        report.finish();
        report.to_text(false, LOAD)
    };
    for (damaged, end) in [
        (
            &["b.gz"][..],
            "To repair the different events:\n  aegis-kills load --server asia --on-conflict update a.gz\n",
        ),
        (&["a.gz"], "To load the missing events:\n  aegis-kills load --server asia --force b.gz\n"),
        (&["a.gz", "b.gz"], "b.gz:1  event 2 is missing\n"),
    ] {
        let text = report(damaged);
        assert!(text.starts_with("Failed: ") && text.ends_with(end), "{text}");
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
    let json: serde_json::Value = serde_json::from_str(&report.to_json(true)).expect("JSON");
    assert_eq!(json["different_ids"].as_array().map(Vec::len), Some(NAMED_MAX));
    assert_eq!(json["different_ids"][0], 0, "in the order of the input");
}
