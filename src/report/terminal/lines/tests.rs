//! Tests of the progress lines.

use crate::database::failure::outage_kind::OutageKind;
use crate::pipeline::account::counts::Counts;
use crate::report::terminal::lines::*;

/// In the middle of a large compressed dump.
fn figures() -> RunSnapshot {
    RunSnapshot {
        elapsed: Duration::from_secs(80),
        counts: Counts {
            events: 2_000_000,
            inserted: 1_234_567,
            duplicate: 1_204,
            already_loaded: 500_000,
            rejected: 3,
            ..Counts::default()
        },
        bytes_read: 12_800_000_000,
        bytes_total: Some(41_200_000_000),
        bytes_uncompressed: 100_000_000_000,
        queue_depth: 4,
        retries: 2,
        source: Some(CurrentSource { number: 2, count: 14, file_name: Some("kills-2.ndjson.gz".to_owned()) }),
        database: Some(DatabaseState::Present),
        ..RunSnapshot::default()
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
    for (width, advance, source, account) in [
        (
            200,
            "[============>                           ]   31%  12.8 of 41.2 GB  152,310 events/s  213.0 MB/s of text  \
             1 min 20 s elapsed  2 min 10 s left",
            "file 2 of 14  kills-2.ndjson.gz  http://127.0.0.1:8080/",
            "inserted 1,234,567  duplicate 1,204  already loaded 500,000  rejected 3  retries 2",
        ),
        (
            80,
            " 31%  12.8 of 41.2 GB  152,310 events/s  1 min 20 s elapsed  2 min 10 s left",
            "file 2 of 14  kills-2.ndjson.gz  http://127.0.0.1:8080/",
            "inserted 1,234,567  duplicate 1,204  rejected 3  retries 2",
        ),
        (
            60,
            " 31%  152,310 events/s  1 min 20 s elapsed  2 min 10 s left",
            "file 2 of 14  kills-2.ndjson.gz  http://127.0.0.1:8080/",
            "inserted 1,234,567  duplicate 1,204  rejected 3  retries 2",
        ),
        (
            40,
            "[===>       ]   31%  1 min 20 s elapsed",
            "file 2 of 14  kills-2.ndjson.gz",
            "inserted 1,234,567  rejected 3",
        ),
        (24, "[====>          ]   31%", "file 2 of 14", "inserted 1,234,567"),
        (10, " 31%", "file 2 of", "inserted "),
        (1, "", "", ""),
    ] {
        let lines = lines(&figures(), &pace(), Some("http://127.0.0.1:8080/"), width);
        assert_eq!((lines.advance.as_str(), lines.account.as_str()), (advance, account), "{width}");
        assert_eq!(lines.source.as_deref(), Some(source), "{width}");
        assert_eq!(lines.state, None);
    }
    for width in 0..200 {
        for figures in
            [figures(), piped(), RunSnapshot { stopping: Some(Stopping::RejectLimit), ..figures() }]
        {
            let lines = lines(&figures, &pace(), None, width);
            let state = lines.state.map(|state| state.text).unwrap_or_default();
            for line in [lines.advance, lines.source.unwrap_or_default(), lines.account, state] {
                assert!(line.is_ascii() && line.len() <= width.saturating_sub(1), "{width}: {line}");
            }
        }
    }
}

#[test]
fn unknown_sizes_are_not_shown() {
    let Lines { advance, .. } = lines(&piped(), &Pace { left: None, ..pace() }, None, 200);
    assert_eq!(advance, "12.8 GB  152,310 events/s  213.0 MB/s of text  1 min 20 s elapsed");
    let plain = RunSnapshot { bytes_uncompressed: 12_800_000_000, ..piped() };
    let Lines { advance, .. } = lines(&plain, &Pace { left: None, ..pace() }, None, 200);
    assert_eq!(advance, "12.8 GB  152,310 events/s  213.0 MB/s  1 min 20 s elapsed");
    let empty = RunSnapshot { bytes_total: Some(0), bytes_read: 0, bytes_uncompressed: 0, ..figures() };
    assert_eq!(
        lines(&empty, &Pace::default(), None, 200).advance,
        "0 bytes  0 events/s  0 bytes/s  1 min 20 s elapsed"
    );
    let grown = RunSnapshot { bytes_read: 50_000_000_000, bytes_uncompressed: 50_000_000_000, ..figures() };
    let grown = lines(&grown, &Pace::default(), None, 80).advance;
    assert_eq!(grown, "[===========]  100%  41.2 of 41.2 GB  0 events/s  0 bytes/s  1 min 20 s elapsed");
    let nearly = RunSnapshot { bytes_read: 41_199_999_999, ..figures() };
    assert!(lines(&nearly, &pace(), None, 40).advance.contains(" 99%"));
}

#[test]
fn a_dry_run_has_no_database() {
    let counts = Counts { events: 1000, rejected: 2, ..Counts::default() };
    let dry = RunSnapshot { counts, database: None, retries: 0, ..figures() };
    assert_eq!(lines(&dry, &pace(), None, 200).account, "events 1,000  rejected 2");
}

fn away(seconds: u64, next_try: Option<u64>) -> DatabaseState {
    DatabaseState::Away(outage(OutageKind::Unreachable, seconds, next_try))
}

fn locked() -> DatabaseState {
    DatabaseState::Stalled(Duration::from_secs(8))
}

#[test]
fn the_state_is_described() {
    let full = DatabaseState::Away(outage(OutageKind::OutOfDiskSpace, 12, Some(3200)));
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
            RunSnapshot { database: Some(away(12, Some(3200))), ..base() },
            pace(),
            "database unreachable for 12 s, attempt 5, retrying in 4 s",
            true,
        ),
        (
            RunSnapshot { database: Some(full), ..base() },
            pace(),
            "database out of disk space for 12 s, attempt 5, retrying in 4 s",
            true,
        ),
        (
            RunSnapshot { database: Some(away(125, None)), ..base() },
            pace(),
            "database unreachable for 2 min 5 s, attempt 5, retrying now",
            true,
        ),
        (RunSnapshot { database: Some(away(0, None)), ..base() }, pace(), "", false),
        (
            RunSnapshot { database: building, ..base() },
            pace(),
            "building index kill_event_newest for 1 min 5 s",
            false,
        ),
        (base(), stalled, "no progress for 25 s: waiting for the database", true),
        (
            RunSnapshot { database: Some(locked()), ..base() },
            stalled,
            "no answer from the database for 8 s",
            true,
        ),
        (
            RunSnapshot { database: Some(locked()), queue_depth: 0, task: RunTask::Verify, ..base() },
            stalled,
            "no answer from the database for 8 s",
            true,
        ),
        (
            RunSnapshot { awaits_reject_file: true, ..base() },
            stalled,
            "no progress for 25 s: waiting for the reject file",
            true,
        ),
        (RunSnapshot { queue_depth: 0, ..base() }, stalled, "no progress for 25 s: waiting for input", false),
        // The stored events are looked up, and the end of the run is recorded.
        (
            RunSnapshot { queue_depth: 0, is_settled: true, ..base() },
            stalled,
            "no progress for 25 s: waiting for the database",
            true,
        ),
        (RunSnapshot { queue_depth: 0, is_settled: true, ..base() }, skipping, "", false),
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
    ] {
        let expected = (!text.is_empty()).then(|| RunActivity { text: text.to_owned(), is_trouble });
        assert_eq!(lines(&figures, &pace, None, 80).state, expected);
    }
}

#[test]
fn a_stop_is_described() {
    let stalled = Pace { stalled: Some(Duration::from_secs(25)), ..pace() };
    let stopping = |stopping, database| RunSnapshot { stopping: Some(stopping), database, ..figures() };
    for (figures, pace, text, is_trouble) in [
        (stopping(Stopping::Signal, None), pace(), "stopping, 4 segments to write", true),
        (
            stopping(Stopping::RejectLimit, None),
            pace(),
            "too many rejects: stopping, 4 segments to write",
            true,
        ),
        (
            stopping(Stopping::Signal, Some(away(12, None))),
            pace(),
            "stopping, 4 segments to write; database unreachable for 12 s, retrying now",
            true,
        ),
        (stopping(Stopping::Failure, Some(away(12, None))), pace(), "failed: stopping", true),
        (
            stopping(Stopping::Signal, Some(locked())),
            stalled,
            "stopping, 4 segments to write; no answer from the database for 8 s",
            true,
        ),
    ] {
        let expected = (!text.is_empty()).then(|| RunActivity { text: text.to_owned(), is_trouble });
        assert_eq!(lines(&figures, &pace, None, 80).state, expected);
    }
}

#[test]
fn a_narrow_terminal_gets_a_shorter_text() {
    for (width, text) in [
        (60, "database unreachable for 12 s, attempt 5, retrying in 4 s"),
        (50, "database unreachable for 12 s, retrying in 4 s"),
        (40, "database down 12 s, retry in 4 s"),
    ] {
        let database = DatabaseState::Away(outage(OutageKind::Unreachable, 12, Some(4000)));
        let narrow =
            lines(&RunSnapshot { database: Some(database), ..figures() }, &pace(), None, width).state;
        assert_eq!(narrow.expect("a state").text, text);
    }
}

/// The fifth attempt of an outage. `next_try` is in milliseconds.
fn outage(kind: OutageKind, seconds: u64, next_try: Option<u64>) -> OutageProgress {
    let next_try = next_try.map(Duration::from_millis);
    let left = Duration::from_mins(4);
    OutageProgress {
        kind,
        cause: String::new(),
        elapsed: Duration::from_secs(seconds),
        attempts: 5,
        next_try,
        left,
    }
}

#[test]
fn a_verification_and_a_deletion_have_their_own_counts() {
    let counts = Counts { events: 1000, ..Counts::default() };
    let base = RunSnapshot { counts, retries: 0, ..figures() };
    let verify = RunSnapshot { task: RunTask::Verify, missing: 3, different: 1, ..base.clone() };
    let account = "compared 1,000  missing 3  possibly different 1";
    assert_eq!(lines(&verify, &pace(), None, 80).account, account);
    let delete = RunSnapshot { task: RunTask::Delete, deleted: 990, ..base.clone() };
    assert_eq!(lines(&delete, &pace(), None, 80).account, "deleted 990");
    // A stop request leaves them nothing to write.
    for (figures, text) in
        [(&verify, "stopping after the current segments"), (&delete, "stopping after the current batch")]
    {
        let stopping = RunSnapshot { stopping: Some(Stopping::Signal), ..figures.clone() };
        let expected = RunActivity { text: text.to_owned(), is_trouble: true };
        assert_eq!(lines(&stopping, &pace(), None, 80).state, Some(expected));
    }
    // A deletion by time has no dumps.
    let by_time = RunSnapshot { source: None, bytes_total: None, bytes_read: 0, ..delete };
    let Lines { advance, source, .. } = lines(&by_time, &Pace { left: None, ..pace() }, None, 80);
    assert_eq!((advance.as_str(), source), ("152,310 events/s  1 min 20 s elapsed", None));
}

#[test]
fn a_log_gets_one_line() {
    assert_eq!(
        one_line(&figures(), &pace()),
        "31%, 12.8 of 41.2 GB, 152,310 events/s, 213.0 MB/s of text, 1 min 20 s elapsed, 2 min 10 s left; \
         file 2 of 14, kills-2.ndjson.gz; inserted 1,234,567, duplicate 1,204, already loaded 500,000, \
         rejected 3, retries 2"
    );
    let skipping = Pace { is_skipping: true, left: None, ..pace() };
    assert_eq!(
        one_line(&RunSnapshot { counts: Counts::default(), retries: 0, ..piped() }, &skipping),
        "12.8 GB, 152,310 events/s, 213.0 MB/s of text, 1 min 20 s elapsed; file 2 of 14, kills-2.ndjson.gz; \
         inserted 0; skipping segments already loaded"
    );
}
