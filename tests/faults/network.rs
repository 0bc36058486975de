//! `load` over a failing network: every event has its outcome, whatever was cut, held or lost.

use std::thread;
use std::time::Duration;

use crate::load::database_rejects::{CASES, check_rejected};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::log_case;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Program, Workplace, assert_loaded, assert_tables};
use crate::support::proxy::{Fault, Phase, Proxy, Side, What};

/// Points of a load after its start. During the start an unusable database is reported at once.
const POINTS: [(Phase, u64); 7] = [
    (Phase::Connect, 2),
    (Phase::Login, 2),
    (Phase::Begin, 4),
    (Phase::MidCopy, 5),
    (Phase::AfterCopyDone, 6),
    (Phase::CommitSent, 2),
    (Phase::CommitAnswer, 3),
];

/// Delays shorter and longer than the time after which a statement is cancelled.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3);

/// A load from standard input through a proxy, with small segments and short limits.
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

/// A fault at a point. Only commits that store events count.
fn fault((phase, nth): (Phase, u64), what: What) -> Fault {
    let fault = Fault::new(phase, what).nth(nth);
    if matches!(phase, Phase::CommitSent | Phase::CommitAnswer) { fault.after_copy() } else { fault }
}

fn check_points(what: What) {
    let dump = generated(150, 70, 0.0);
    let work = Workplace::new();
    for point in POINTS {
        log_case((point, what));
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
fn a_connection_stalls_forever_at_each_point() {
    check_points(What::Stall);
}

#[test]
fn a_connection_is_slow_at_each_point() {
    check_points(What::Delay(SHORT));
}

#[test]
fn an_abandoned_connection_resumes_at_each_point() {
    check_points(What::Delay(LONG));
}

/// The bytes of a load of `dump` per side: until its first rows have passed, and in all.
fn measure(dump: &[u8]) -> [(Side, u64, u64); 2] {
    let work = Workplace::new();
    work.write("dump", dump);
    let database = Cluster::shared().database("measured");
    let proxy = Proxy::to(Cluster::shared().port());
    proxy.plan(Fault::new(Phase::MidCopy, What::Stall));
    // One writer, which waits.
    let running = load(&work, &database, &proxy, &["dump"]).workers(1).start();
    proxy.wait_until_hit();
    let begin = [Side::Client, Side::Server].map(|side| (side, proxy.passed(side)));
    proxy.heal();
    running.finish().expect(0);
    begin.map(|(side, begin)| (side, begin, proxy.passed(side)))
}

#[test]
fn connections_are_cut_at_random_bytes() {
    let dump = generated(150, 71, 0.0);
    let sides = measure(&dump);
    let work = Workplace::new();
    for seed in 1..=10 {
        log_case(("seed", seed));
        let mut random = fastrand::Rng::with_seed(seed);
        let database = Cluster::shared().database("anywhere");
        let proxy = Proxy::to(Cluster::shared().port());
        for (side, begin, all) in sides {
            for _ in 0..3 {
                let what = random.choice([What::Cut, What::Reset]).expect("one of them");
                // The run's own row comes last.
                let bytes = random.u64(begin..begin + (all - begin) * 9 / 10);
                log_case((side, bytes, what));
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
fn a_start_cut_at_a_random_byte_can_be_repeated() {
    let dump = generated(30, 72, 0.0);
    let expected = expect(&dump, Nul::Reject);
    let sides = measure(&dump);
    let work = Workplace::new();
    let mut random = fastrand::Rng::with_seed(72);
    for (side, begin, _) in [sides, sides, sides, sides].concat() {
        let bytes = random.u64(0..begin);
        log_case((side, bytes));
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

/// The program does not know whether a COMMIT took effect. It still reports each reject once.
fn check_commits_with_rejects(faults: [What; 2]) {
    let dump = generated(120, 73, 0.0);
    let work = Workplace::new();
    let case = &CASES[0];
    for what in faults {
        for phase in [Phase::CommitSent, Phase::CommitAnswer] {
            log_case((phase, what));
            let database = Cluster::shared().database("answers");
            work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
            database.client().batch_execute(case.sql).expect("a check");
            let proxy = Proxy::to(Cluster::shared().port());
            for nth in [1, 2, 5] {
                proxy.plan(fault((phase, nth), what));
            }
            let run = load(&work, &database, &proxy, &[]).stdin(dump.clone()).expect(3);
            assert_eq!(proxy.hits(), 3);
            check_rejected(case, &database, &dump, &run);
        }
    }
}

#[test]
fn rejects_are_reported_once_if_commits_are_cut() {
    check_commits_with_rejects([What::Cut, What::Reset]);
}

#[test]
fn rejects_are_reported_once_if_commits_are_held() {
    check_commits_with_rejects([What::Delay(LONG), What::Stall]);
}

#[test]
fn a_load_survives_a_black_hole_of_some_seconds() {
    let dump = generated(150, 74, 0.0);
    let work = Workplace::new();
    work.write("dump", &dump);
    for phase in [Phase::MidCopy, Phase::CommitSent, Phase::CommitAnswer] {
        log_case(phase);
        let database = Cluster::shared().database("hole");
        let proxy = Proxy::to(Cluster::shared().port());
        // Keeps the load running until the black hole begins.
        proxy.plan(fault((phase, 3), What::Stall));
        let running = load(&work, &database, &proxy, &["dump"]).workers(1).start();
        proxy.wait_until_hit();
        proxy.black_hole();
        // The duration of the fault: longer than the limits of a statement and a connection together.
        thread::sleep(Duration::from_secs(5));
        proxy.heal();
        let run = running.finish().expect(0);
        assert_loaded(&database, &dump, &run);
    }
}

#[test]
fn a_black_hole_without_an_end_ends_the_load_with_code_4() {
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

    // The held bytes arrive now, while the same command runs again.
    proxy.heal();
    let run = load(&work, &database, &proxy, &["dump"]).expect(0);
    run.summary().check(&[("events", expected.events), ("rejected", 0), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expected.tables);
}
