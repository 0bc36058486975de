//! Tests of the summary's text.

use crate::report::summary::*;

fn summary(status: RunStatus) -> Summary {
    let counts =
        Counts { lines: 12_400, events: 12_345, inserted: 12_300, duplicate: 45, ..Counts::default() };
    let next = NextCommands {
        again: "aegis-kills load dump".to_owned(),
        unlimited: "aegis-kills load --max-rejects 100% dump".to_owned(),
        load: "aegis-kills load dump".to_owned(),
        load_rejects: "aegis-kills load".to_owned(),
        verify: Some("aegis-kills verify dump".to_owned()),
        health: "aegis-kills health".to_owned(),
        ..NextCommands::default()
    };
    Summary {
        status,
        files: Some(1),
        counts,
        bytes_read: 52_100_000,
        bytes_uncompressed: 52_100_000,
        elapsed: Duration::from_millis(1200),
        ..Summary::of_nothing(Uuid::nil(), Server::Europe, Layout::Archive, next)
    }
}

fn with_rejects(status: RunStatus) -> Summary {
    let kind = |field: Option<&str>, reason: &str, count| RejectKind {
        reason: reason.to_owned(),
        field: field.map(str::to_owned),
        sqlstate: None,
        events_at: None,
        truncated: false,
        count,
        source: "a.ndjson".into(),
        line: 1,
        index: None,
    };
    let mut summary = summary(status);
    summary.counts = Counts { inserted: 10_000, rejected: 2_300, ..summary.counts };
    summary.rejects_file = Some(PathBuf::from("the rejects.ndjson"));
    summary.reasons = RejectKinds {
        kinds: vec![
            kind(Some("Killer.Id"), "is missing", 2000),
            kind(None, "not JSON: unexpected end", 200),
            kind(None, "not UTF-8", 60),
            kind(None, "seldom", 10),
        ],
        others: 30,
        ..RejectKinds::default()
    };
    summary
}

#[test]
fn a_complete_load() {
    assert_eq!(
        summary(RunStatus::Complete).to_string(),
        "\
Complete: 12,345 events, all stored by this run or an earlier one.
         12,300  inserted
             45  duplicate
         ------
         12,345  events in 12,400 lines, europe
  52.1 MB in 1.2 s: 43.4 MB/s, 10,288 events/s
  to check it:
    aegis-kills verify dump"
    );
    let metrics_error = || Some("cannot write the metrics file a: it is full".to_owned());
    let text = Summary { metrics_error: metrics_error(), ..summary(RunStatus::Complete) }.to_string();
    assert!(text.contains("an earlier one. The metrics file is missing or old.\n"), "{text}");
    for (status, in_json) in [
        (RunStatus::Complete, "failed"),
        (RunStatus::Rejects, "failed"),
        (RunStatus::Interrupted, "interrupted"),
        (RunStatus::RejectLimit, "reject_limit"),
    ] {
        let summary = Summary { metrics_error: metrics_error(), ..summary(status) };
        let json: serde_json::Value = serde_json::from_str(&summary.to_json()).expect("JSON");
        assert_eq!(json["status"], in_json, "{status:?}");
        assert_eq!(json["error"].as_str(), metrics_error().as_deref(), "{status:?}");
    }
    let piped = Summary {
        next: NextCommands { verify: None, ..summary(RunStatus::Complete).next },
        ..summary(RunStatus::Complete)
    };
    assert!(piped.to_string().ends_with("events/s"));
}

#[test]
fn rejects_are_listed_by_reason() {
    assert_eq!(
        with_rejects(RunStatus::Rejects).to_string(),
        "\
Loaded all but the rejects: 2,300 of 12,345 events were rejected.
         10,000  inserted
             45  duplicate
          2,300  rejected
         ------
         12,345  events in 12,400 lines, europe
  52.1 MB in 1.2 s: 43.4 MB/s, 10,288 events/s
  rejects, each with its place and reason: the rejects.ndjson
          2,000  Killer.Id: is missing
            200  not JSON: unexpected end
             60  not UTF-8
             40  for other reasons
  to list the rejects:
    jq -r '[.source, .line, .field, .reason] | @tsv' 'the rejects.ndjson'
  to load the corrected rejects:
    aegis-kills load 'the rejects.ndjson'"
    );
    let mut elsewhere = with_rejects(RunStatus::Rejects);
    elsewhere.next.directory = Some("/srv/kills".to_owned());
    let text = elsewhere.to_string();
    assert!(text.contains("events/s\n  working directory: /srv/kills\n  rejects, each with "), "{text}");
    let mut option_like = with_rejects(RunStatus::Rejects);
    option_like.rejects_file = Some("-r.ndjson".into());
    assert!(option_like.to_string().ends_with("    aegis-kills load ./-r.ndjson"));
}

#[test]
fn the_database_failed() {
    let mut failed = summary(RunStatus::Failed);
    failed.counts.inserted = 5_000;
    failed.error = Some("writing a segment failed: it is gone".to_owned());
    failed.database_failed = true;
    (failed.retries, failed.connection_errors) = (4, 7);
    (failed.bytes_read, failed.elapsed) = (9_000_000, Duration::from_secs(3723));
    assert_eq!(
        failed.to_string(),
        "\
Failed: 7,300 of 12,345 events read are unfinished.
  cause: writing a segment failed: it is gone
          5,000  inserted
             45  duplicate
          7,300  unfinished
         ------
         12,345  events in 12,400 lines, europe
  52.1 MB (compressed 9.0 MB) in 1 h 2 min: 14.0 kB/s, 3 events/s
  retries: 4, connection errors: 7
  to check the database:
    aegis-kills health
  to resume after fixing the cause:
    aegis-kills load dump"
    );
}

#[test]
fn the_first_line_is_the_outcome_and_the_last_a_command() {
    let dry = |status| {
        let mut dry = summary(status);
        (dry.dry_run, dry.next.again) = (true, "aegis-kills load --dry-run dump".to_owned());
        dry
    };
    let one = |mut summary: Summary| {
        summary.counts = Counts { lines: 1, events: 1, inserted: 1, ..Counts::default() };
        summary
    };
    let unfinished = |mut summary: Summary| {
        summary.counts.inserted = 0;
        summary
    };
    let piped = |mut summary: Summary| {
        summary.next.verify = None;
        summary
    };
    let all_rejected = |status, events, dry_run| {
        let mut summary = Summary { dry_run, ..with_rejects(status) };
        summary.counts = Counts { lines: events, events, rejected: events, ..Counts::default() };
        summary.to_string().lines().next().unwrap_or_default().to_owned()
    };
    for (status, events, dry_run, first) in [
        (
            RunStatus::Rejects,
            218,
            true,
            "Dry run: all 218 events would be rejected; the database was not used.",
        ),
        (RunStatus::Rejects, 1, true, "Dry run: the event would be rejected; the database was not used."),
        (RunStatus::RejectLimit, 5000, false, "Stopped: all 5,000 events were rejected, more than allowed."),
        (RunStatus::RejectLimit, 1, false, "Stopped: the event was rejected, more than allowed."),
        (RunStatus::Rejects, 5000, false, "Nothing loaded: all 5,000 events were rejected."),
        (RunStatus::Rejects, 1, false, "Nothing loaded: the event was rejected."),
    ] {
        assert_eq!(all_rejected(status, events, dry_run), first);
    }
    for (summary, first, last_two) in [
        (
            one(summary(RunStatus::Complete)),
            "Complete: 1 event, stored by this run or an earlier one.",
            "  to check it:\n    aegis-kills verify dump",
        ),
        (
            summary(RunStatus::Interrupted),
            "Interrupted: 12,345 events read, none unfinished.",
            "  to resume:\n    aegis-kills load dump",
        ),
        (
            piped(unfinished(summary(RunStatus::Interrupted))),
            "Interrupted: 12,300 of 12,345 events read are unfinished.",
            "  to resume, with the same input:\n    aegis-kills load dump",
        ),
        (
            summary(RunStatus::Failed),
            "Failed: the load is incomplete.",
            "  to resume after fixing the cause:\n    aegis-kills load dump",
        ),
        (
            with_rejects(RunStatus::RejectLimit),
            "Stopped: 2,300 of 12,345 events were rejected, more than allowed.",
            "  to load the remaining events without a reject limit:\n    \
             aegis-kills load --max-rejects 100% dump",
        ),
        (
            dry(RunStatus::Complete),
            "Dry run: all 12,345 events can be loaded; the database was not used.",
            "  to load it:\n    aegis-kills load dump",
        ),
        (
            dry(RunStatus::Interrupted),
            "Dry run interrupted: 12,345 events read; the database was not used.",
            "  to resume:\n    aegis-kills load --dry-run dump",
        ),
    ] {
        let text = summary.to_string();
        assert!(text.starts_with(&format!("{first}\n")) && text.ends_with(last_two), "{text}");
        // The counts above the line add up to the number below it.
        let number = |line: &str| {
            line.split_whitespace().next().and_then(|word| word.replace(',', "").parse::<u64>().ok())
        };
        let (parts, sum) = text.split_once("-\n").expect("a rule");
        let parts: u64 = parts.lines().skip(1).filter_map(number).sum();
        assert_eq!(Some(parts), number(sum), "{text}");
    }
    for (status, what) in [
        (RunStatus::Rejects, "  can be loaded\n"),
        (RunStatus::Interrupted, "  not rejected so far\n"),
        (RunStatus::RejectLimit, "  not rejected so far\n"),
        (RunStatus::Failed, "  not rejected so far\n"),
    ] {
        let text = unfinished(dry(status)).to_string();
        assert!(text.contains(what), "{text}");
    }
}

/// The purposes of the next commands.
fn purposes(summary: &Summary) -> Vec<&'static str> {
    summary.next_steps().into_iter().map(|(purpose, _)| purpose).collect()
}

#[test]
fn no_next_command_fails_again_or_has_nothing_to_do() {
    let mut empty = Summary { counts: Counts::default(), ..summary(RunStatus::Complete) };
    empty.next.directory = Some("/srv/kills".to_owned());
    assert!(!empty.to_string().contains("/srv/kills"), "{empty}");
    assert_eq!(purposes(&empty), [""; 0]);
    assert_eq!(purposes(&Summary { dry_run: true, ..empty }), [""; 0]);

    let foreign = NextCommands {
        other_ways: vec![("to convert and load it", "xz -dc dump | aegis-kills load".to_owned())],
        ..summary(RunStatus::Failed).next
    };
    let partly = Summary { next: foreign.clone(), ..summary(RunStatus::Failed) };
    assert_eq!(purposes(&partly), ["to convert and load it", "to resume after fixing the cause"]);
    let next = NextCommands { is_futile: true, ..foreign };
    assert_eq!(purposes(&Summary { next: next.clone(), ..partly }), ["to convert and load it"]);
    let rejects = Summary { next, ..with_rejects(RunStatus::Failed) };
    assert_eq!(
        purposes(&rejects),
        ["to convert and load it", "to list the rejects", "to load the corrected rejects"]
    );

    let all_rejected = |status, advised| {
        let mut summary = with_rejects(status);
        summary.counts = Counts { events: 9, rejected: 9, ..Counts::default() };
        summary.next.advised = advised;
        summary
    };
    let dry = |summary: Summary| Summary { dry_run: true, ..summary };
    let advised = || {
        Some(AdvisedCommands {
            again: "aegis-kills load --events-at a.b dump".to_owned(),
            load_rejects: "aegis-kills load --events-at a.b".to_owned(),
        })
    };
    let (inside, list) = ("to read the events inside the values", "to list the rejects");
    let under = "to load it under the game server that it names";
    let named = |mut summary: Summary| {
        summary.next.of_named_server = Some("aegis-kills load --server asia dump".to_owned());
        summary
    };
    let disproportionate =
        Summary { error: Some("out of proportion".to_owned()), ..with_rejects(RunStatus::RejectLimit) };
    for (summary, expected) in [
        (dry(all_rejected(RunStatus::Rejects, None)), &[list][..]),
        (dry(all_rejected(RunStatus::Rejects, advised())), &[inside]),
        (dry(with_rejects(RunStatus::Rejects)), &["to load it"]),
        (named(dry(all_rejected(RunStatus::Rejects, None))), &[under]),
        (named(dry(with_rejects(RunStatus::Rejects))), &["to load it"]),
        (named(all_rejected(RunStatus::RejectLimit, None)), &[list, under]),
        (all_rejected(RunStatus::RejectLimit, advised()), &[list, inside]),
        (disproportionate, &[list]),
        (all_rejected(RunStatus::Rejects, advised()), &[list, "to load the events inside the rejects"]),
    ] {
        assert_eq!(purposes(&summary), expected, "{summary}");
    }
    // The reject file has only the beginnings of these values.
    let correct = "to load the values that the reject file has only the beginning of, correct the input itself, then run";
    let truncated = |kinds: usize, advised: Option<AdvisedCommands>| {
        let mut summary = all_rejected(RunStatus::Rejects, advised);
        summary.reasons.others = 0;
        for kind in &mut summary.reasons.kinds[..kinds] {
            kind.truncated = true;
            kind.events_at = summary.next.advised.is_some().then(|| "a.b".to_owned());
        }
        summary
    };
    for (summary, expected, last) in [
        (truncated(4, None), &[list, correct][..], "aegis-kills load dump"),
        (truncated(1, None), &[list, "to load the corrected rejects", correct], "aegis-kills load dump"),
        (truncated(1, advised()), &[list, inside], "aegis-kills load --events-at a.b dump"),
    ] {
        assert_eq!(purposes(&summary), expected, "{summary}");
        assert!(summary.to_string().ends_with(&format!("    {last}")), "{summary}");
    }
    // The database refuses all of them.
    let mut refused = all_rejected(RunStatus::Rejects, None);
    refused.reasons.others = 0;
    refused.reasons.kinds.iter_mut().for_each(|kind| kind.sqlstate = Some("23503".to_owned()));
    assert_eq!(purposes(&refused), [list, "to load the rejects, once the database accepts them"]);
    let text = all_rejected(RunStatus::Rejects, advised()).to_string();
    assert!(text.ends_with("    aegis-kills load --events-at a.b 'the rejects.ndjson'"), "{text}");
}
