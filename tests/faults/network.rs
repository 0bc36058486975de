//! `load` over a network that breaks: every event ends where it belongs, whatever was cut, held or lost.

use std::thread;
use std::time::Duration;

use crate::load::database_rejects::{CASES, check_refused};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Program, Workplace, assert_loaded, assert_tables};
use crate::support::proxy::{Fault, Phase, Proxy, Side, What};
use crate::support::tell;

/// Points of a load, each past its start, in which a database that can't be used is told at once.
const POINTS: [(Phase, u64); 7] = [
    (Phase::Connect, 2),
    (Phase::Login, 2),
    (Phase::Begin, 4),
    (Phase::MidCopy, 5),
    (Phase::AfterCopyDone, 6),
    (Phase::CommitSent, 2),
    (Phase::CommitAnswer, 3),
];

/// Less and more than the time after which a statement is cancelled.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3);

/// A load from standard input by way of a proxy, in small segments, that soon notices what is wrong.
fn load(work: &Workplace, database: &Database<'_>, proxy: &Proxy, args: &[&str]) -> Program {
    let program = work.load(database, args).segment_bytes(64 << 10);
    let settings = [
        ("DATABASE_URL", &*proxy.url(database)),
        ("DATABASE_STALL_TIMEOUT", "1s"),
        ("DATABASE_CONNECTION_TIMEOUT", "2s"),
        ("DATABASE_RETRY_BASE", "20ms"),
        ("DATABASE_AWAY_TIMEOUT", "60s"),
    ];
    settings.into_iter().fold(program, |program, (name, value)| program.env(name, value))
}

/// A fault at a point; of commits those alone count that store events.
fn fault((phase, nth): (Phase, u64), what: What) -> Fault {
    let fault = Fault::new(phase, what).nth(nth);
    if matches!(phase, Phase::CommitSent | Phase::CommitAnswer) { fault.after_copy() } else { fault }
}

fn check_points(what: What) {
    let dump = generated(150, 70, 0.0);
    let work = Workplace::new();
    for point in POINTS {
        tell((point, what));
        let database = Cluster::shared().database("network");
        let proxy = Proxy::to(Cluster::shared().port());
        proxy.plan(fault(point, what));
        let run = load(&work, &database, &proxy, &[]).stdin(dump.clone()).expect(0);
        assert_eq!(proxy.hits(), 1, "{point:?}");
        assert_loaded(&database, &dump, &run);
    }
}

#[test]
fn a_connection_is_cut_at_each_point() {
    check_points(What::Cut);
}

#[test]
fn a_connection_is_reset_at_each_point() {
    check_points(What::Reset);
}

#[test]
fn a_connection_stalls_at_each_point_and_never_goes_on() {
    check_points(What::Stall);
}

#[test]
fn a_connection_is_slow_at_each_point() {
    check_points(What::Delay(SHORT));
}

#[test]
fn a_connection_goes_on_at_each_point_when_it_was_given_up() {
    check_points(What::Delay(LONG));
}

/// Bytes that a load of `dump` passes: until its first rows have, and in all; from clients and from the server.
fn measure(dump: &[u8]) -> [(Side, u64, u64); 2] {
    let work = Workplace::new();
    work.write("dump", dump);
    let database = Cluster::shared().database("measured");
    let proxy = Proxy::to(Cluster::shared().port());
    proxy.plan(Fault::new(Phase::MidCopy, What::Stall));
    // One writer, and it waits.
    let running = load(&work, &database, &proxy, &["dump"]).workers(1).start();
    proxy.wait_until_hit();
    let begin = [Side::Client, Side::Server].map(|side| (side, proxy.passed(side)));
    proxy.heal();
    running.finish().expect(0);
    begin.map(|(side, begin)| (side, begin, proxy.passed(side)))
}

#[test]
fn connections_are_cut_anywhere() {
    let dump = generated(150, 71, 0.0);
    let sides = measure(&dump);
    let work = Workplace::new();
    for seed in 1..=10 {
        tell(("seed", seed));
        let mut random = fastrand::Rng::with_seed(seed);
        let database = Cluster::shared().database("anywhere");
        let proxy = Proxy::to(Cluster::shared().port());
        for (side, begin, all) in sides {
            for _ in 0..3 {
                let what = random.choice([What::Cut, What::Reset]).expect("one of them");
                // The run's own row comes last.
                let bytes = random.u64(begin..begin + (all - begin) * 9 / 10);
                tell((side, bytes, what));
                proxy.plan(Fault::new(Phase::Bytes(side, bytes), what));
            }
        }
        let program = load(&work, &database, &proxy, &[]).env("DATABASE_RETRY_ATTEMPTS", "10");
        let run = program.stdin(dump.clone()).expect(0);
        assert_eq!(proxy.hits(), 6);
        assert_loaded(&database, &dump, &run);
    }
}

#[test]
fn a_start_that_is_cut_anywhere_can_be_done_again() {
    let dump = generated(30, 72, 0.0);
    let expected = expect(&dump, Nul::Reject);
    let sides = measure(&dump);
    let work = Workplace::new();
    let mut random = fastrand::Rng::with_seed(72);
    for (side, begin, _) in [sides, sides, sides, sides].concat() {
        let bytes = random.u64(0..begin);
        tell((side, bytes));
        let database = Cluster::shared().database("start");
        let proxy = Proxy::to(Cluster::shared().port());
        proxy.plan(Fault::new(Phase::Bytes(side, bytes), What::Cut));
        let run = load(&work, &database, &proxy, &[]).stdin(dump.clone()).run();
        assert_eq!(proxy.hits(), 1);
        if run.code != 0 {
            let run = run.expect(4);
            assert_eq!(run.summary().status(), "failed");
            load(&work, &database, &proxy, &[]).stdin(dump.clone()).expect(0);
        }
        assert_tables(&database, "americas", &expected.tables);
    }
}

/// Whether a COMMIT took effect is unknown to the program, and each reject is named once all the same.
fn check_commits_with_rejects(faults: [What; 2]) {
    let dump = generated(120, 73, 0.0);
    let work = Workplace::new();
    let case = &CASES[0];
    for what in faults {
        for phase in [Phase::CommitSent, Phase::CommitAnswer] {
            tell((phase, what));
            let database = Cluster::shared().database("answers");
            work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
            database.client().batch_execute(case.sql).expect("a check");
            let proxy = Proxy::to(Cluster::shared().port());
            for nth in [1, 2, 5] {
                proxy.plan(fault((phase, nth), what));
            }
            let run = load(&work, &database, &proxy, &[]).stdin(dump.clone()).expect(3);
            assert_eq!(proxy.hits(), 3);
            check_refused(case, &database, &dump, &run);
        }
    }
}

#[test]
fn commits_with_rejects_are_cut() {
    check_commits_with_rejects([What::Cut, What::Reset]);
}

#[test]
fn commits_with_rejects_are_held() {
    check_commits_with_rejects([What::Delay(LONG), What::Stall]);
}

#[test]
fn a_black_hole_for_some_seconds() {
    let dump = generated(150, 74, 0.0);
    let work = Workplace::new();
    work.write("dump", &dump);
    for phase in [Phase::MidCopy, Phase::CommitSent, Phase::CommitAnswer] {
        tell(phase);
        let database = Cluster::shared().database("hole");
        let proxy = Proxy::to(Cluster::shared().port());
        // So that the load is still there when the hole opens.
        proxy.plan(fault((phase, 3), What::Stall));
        let running = load(&work, &database, &proxy, &["dump"]).workers(1).start();
        proxy.wait_until_hit();
        proxy.black_hole();
        // This is the fault: longer than a statement and then a connection may take.
        thread::sleep(Duration::from_secs(5));
        proxy.heal();
        let run = running.finish().expect(0);
        assert_loaded(&database, &dump, &run);
    }
}

#[test]
fn a_black_hole_that_does_not_end() {
    let dump = generated(150, 75, 0.0);
    let expected = expect(&dump, Nul::Reject);
    let work = Workplace::new();
    work.write("dump", &dump);
    let database = Cluster::shared().database("abyss");
    let proxy = Proxy::to(Cluster::shared().port());
    proxy.plan(fault((Phase::CommitSent, 3), What::Stall));
    let program = load(&work, &database, &proxy, &["dump"]).env("DATABASE_AWAY_TIMEOUT", "2s");
    let running = program.workers(1).start();
    proxy.wait_until_hit();
    proxy.black_hole();
    let run = running.finish().expect(4);
    let summary = run.summary();
    assert_eq!((summary.status(), summary.count("rejected")), ("failed", 0));
    assert!(summary.count("inserted") > 0 && summary.count("unfinished") > 0, "{summary:?}");

    // What was on its way comes through now, while the same command runs again.
    proxy.heal();
    let run = load(&work, &database, &proxy, &["dump"]).expect(0);
    run.summary().check(&[("events", expected.events), ("rejected", 0), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expected.tables);
}
