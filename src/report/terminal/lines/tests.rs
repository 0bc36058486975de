//! Tests of the progress lines.

use crate::pipeline::account::counts::Counts;
use crate::report::terminal::lines::*;

const COUNTS: Counts = Counts {
    lines: 0,
    events: 2_000_000,
    inserted: 1_234_567,
    updated: 0,
    duplicate: 1_204,
    already_loaded: 500_000,
    rejected: 3,
    rejected_before: 0,
    segments: 0,
    segments_skipped: 0,
    files_skipped: 0,
};

/// In the middle of a large compressed dump.
fn figures() -> RunSnapshot {
    RunSnapshot {
        elapsed: Duration::from_secs(80),
        counts: COUNTS,
        bytes_read: 12_800_000_000,
        bytes_total: Some(41_200_000_000),
        bytes_uncompressed: 100_000_000_000,
        queue_depth: 4,
        segments_claimed_elsewhere: 0,
        retries: 2,
        database: Some(DatabaseState::Present),
        stopping: None,
    }
}

fn pace() -> Pace {
    Pace {
        bytes_read_per_second: 0.0,
        events_per_second: 152_310.4,
        bytes_per_second: 213_000_000.0,
        left: Some(Duration::from_secs(130)),
        is_skipping: false,
        stalled: None,
    }
}

fn piped() -> RunSnapshot {
    RunSnapshot { bytes_total: None, ..figures() }
}

#[test]
fn lines_fit_the_terminal() {
    for (width, advance, account) in [
        (
            200,
            "[============>                           ]   31%  12.8 of 41.2 GB  152,310 events/s  213.0 MB/s  \
             2 min 10 s left",
            "inserted 1,234,567  duplicate 1,204  already loaded 500,000  rejected 3  retries 2",
        ),
        (
            80,
            " 31%  12.8 of 41.2 GB  152,310 events/s  213.0 MB/s  2 min 10 s left",
            "inserted 1,234,567  duplicate 1,204  rejected 3  retries 2",
        ),
        (
            60,
            " 31%  12.8 of 41.2 GB  152,310 events/s  2 min 10 s left",
            "inserted 1,234,567  duplicate 1,204  rejected 3  retries 2",
        ),
        (40, " 31%  152,310 events/s  2 min 10 s left", "inserted 1,234,567  rejected 3"),
        (24, " 31%  152,310 events/s", "inserted 1,234,567"),
        (10, " 31%", "inserted "),
        (1, "", ""),
    ] {
        let lines = lines(&figures(), &pace(), width);
        assert_eq!((lines.advance.as_str(), lines.account.as_str()), (advance, account), "{width}");
        assert_eq!(lines.state, None);
    }
    for width in 0..200 {
        for figures in
            [figures(), piped(), RunSnapshot { stopping: Some(Stopping::RejectLimit), ..figures() }]
        {
            let lines = lines(&figures, &pace(), width);
            let state = lines.state.map(|state| state.text).unwrap_or_default();
            for line in [lines.advance, lines.account, state] {
                assert!(line.is_ascii() && line.len() <= width.saturating_sub(1), "{width}: {line}");
            }
        }
    }
}

#[test]
fn unknown_sizes_are_not_shown() {
    let Lines { advance, .. } = lines(&piped(), &Pace { left: None, ..pace() }, 200);
    assert_eq!(advance, "12.8 GB  152,310 events/s  213.0 MB/s");
    let empty = RunSnapshot { bytes_total: Some(0), bytes_read: 0, ..figures() };
    assert_eq!(lines(&empty, &Pace::default(), 200).advance, "0 bytes  0 events/s  0 bytes/s");
    let grown = RunSnapshot { bytes_read: 50_000_000_000, ..figures() };
    let grown = lines(&grown, &Pace::default(), 80).advance;
    assert_eq!(grown, "[===============================]  100%  41.2 of 41.2 GB  0 events/s  0 bytes/s");
    let nearly = RunSnapshot { bytes_read: 41_199_999_999, ..figures() };
    assert!(lines(&nearly, &pace(), 40).advance.starts_with(" 99%"));
}

#[test]
fn a_dry_run_has_no_database() {
    let counts = Counts { events: 1000, rejected: 2, ..Counts::default() };
    let dry = RunSnapshot { counts, database: None, retries: 0, ..figures() };
    assert_eq!(lines(&dry, &pace(), 200).account, "events 1,000  rejected 2");
}

#[test]
fn the_state_is_described() {
    let away = |seconds, next_try: Option<u64>| {
        let next_try = next_try.map(Duration::from_millis);
        Some(DatabaseState::Away { elapsed: Duration::from_secs(seconds), next_try })
    };
    let building = Some(DatabaseState::Building {
        index: "kill_event_newest".to_owned(),
        elapsed: Duration::from_secs(65),
    });
    let read = Some(12_800_000_000);
    let stalled = Pace { stalled: Some(Duration::from_secs(25)), ..pace() };
    let skipping = Pace { is_skipping: true, ..pace() };
    let base = figures;
    for (figures, pace, text, is_trouble) in [
        (
            RunSnapshot { database: away(12, Some(3200)), ..base() },
            pace(),
            "database unreachable for 12 s, retrying in 4 s",
            true,
        ),
        (
            RunSnapshot { database: away(125, None), ..base() },
            pace(),
            "database unreachable for 2 min 5 s, retrying now",
            true,
        ),
        (RunSnapshot { database: away(0, None), ..base() }, pace(), "", false),
        (
            RunSnapshot { database: building, ..base() },
            pace(),
            "building index kill_event_newest for 1 min 5 s",
            false,
        ),
        (base(), stalled, "no progress for 25 s: waiting for the database", true),
        (RunSnapshot { queue_depth: 0, ..base() }, stalled, "no progress for 25 s: waiting for input", false),
        (RunSnapshot { bytes_total: read, ..base() }, pace(), "input complete, 4 segments to write", false),
        (
            RunSnapshot { bytes_total: read, queue_depth: 1, ..base() },
            pace(),
            "input complete, 1 segment to write",
            false,
        ),
        (
            RunSnapshot { bytes_total: read, queue_depth: 0, segments_claimed_elsewhere: 3, ..base() },
            stalled,
            "waiting for 3 segments claimed by other loads",
            false,
        ),
        (
            RunSnapshot { bytes_total: read, segments_claimed_elsewhere: 3, ..base() },
            pace(),
            "input complete, 4 segments to write",
            false,
        ),
        (base(), skipping, "skipping segments already loaded", false),
        (
            RunSnapshot { stopping: Some(Stopping::Signal), ..base() },
            pace(),
            "stopping, 4 segments to write",
            true,
        ),
        (
            RunSnapshot { stopping: Some(Stopping::RejectLimit), ..base() },
            pace(),
            "too many rejects: stopping, 4 segments to write",
            true,
        ),
        (
            RunSnapshot { stopping: Some(Stopping::Signal), database: away(12, None), ..base() },
            pace(),
            "stopping, 4 segments to write; database unreachable for 12 s, retrying now",
            true,
        ),
        (
            RunSnapshot { stopping: Some(Stopping::Failure), database: away(12, None), ..base() },
            pace(),
            "failed: stopping",
            true,
        ),
    ] {
        let expected = (!text.is_empty()).then(|| RunActivity { text: text.to_owned(), is_trouble });
        assert_eq!(lines(&figures, &pace, 80).state, expected);
    }
}

#[test]
fn a_narrow_terminal_gets_a_shorter_text() {
    let database =
        DatabaseState::Away { elapsed: Duration::from_secs(12), next_try: Some(Duration::from_secs(4)) };
    let narrow = lines(&RunSnapshot { database: Some(database), ..figures() }, &pace(), 40).state;
    assert_eq!(narrow.expect("a state").text, "database down 12 s, retry in 4 s");
}

#[test]
fn a_log_gets_one_line() {
    assert_eq!(
        one_line(&figures(), &pace()),
        "1 min 20 s: 31%, 12.8 of 41.2 GB, 152,310 events/s, 213.0 MB/s, 2 min 10 s left; inserted 1,234,567, \
         duplicate 1,204, already loaded 500,000, rejected 3, retries 2"
    );
    let skipping = Pace { is_skipping: true, left: None, ..pace() };
    assert_eq!(
        one_line(&RunSnapshot { counts: Counts::default(), retries: 0, ..piped() }, &skipping),
        "1 min 20 s: 12.8 GB, 152,310 events/s, 213.0 MB/s; inserted 0; skipping segments already loaded"
    );
}
