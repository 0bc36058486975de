//! The tests' proxy: its faults happen at the planned points, and it changes nothing else.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

use crate::support::cluster::{Cluster, Database};
use crate::support::proxy::{Fault, Phase, Proxy, Side, Traffic, What};

/// Long enough for anything on this machine to pass.
const SHORT_WAIT: Duration = Duration::from_millis(300);
const WAIT_MAX: Duration = Duration::from_mins(1);

/// The step at which a client sees a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    Begin,
    Copy,
    Commit,
}

/// The points of a transaction with a COPY, and the step that fails if the connection is cut there.
const POINTS: [(Phase, Step); 7] = [
    (Phase::Connect, Step::Connect),
    (Phase::Login, Step::Connect),
    (Phase::Begin, Step::Begin),
    (Phase::MidCopy, Step::Copy),
    (Phase::AfterCopyDone, Step::Copy),
    (Phase::CommitSent, Step::Commit),
    (Phase::CommitAnswer, Step::Commit),
];

/// A database with an empty table.
fn database() -> Database<'static> {
    let database = Cluster::shared().database("proxy");
    database.client().batch_execute("create table t (n int)").expect("a table");
    database
}

/// Copies one row in one transaction. An error names the step.
fn add_row(url: &str) -> Result<(), Step> {
    let mut client = Client::connect(url, NoTls).map_err(|_| Step::Connect)?;
    let mut transaction = client.transaction().map_err(|_| Step::Begin)?;
    let mut copy = transaction.copy_in("copy t from stdin").map_err(|_| Step::Copy)?;
    copy.write_all(b"1\n").map_err(|_| Step::Copy)?;
    copy.finish().map_err(|_| Step::Copy)?;
    transaction.commit().map_err(|_| Step::Commit)
}

fn rows(database: &Database<'_>) -> i64 {
    database.client().query_one("select count(*) from t", &[]).expect("an answer").get(0)
}

/// Runs a function on a thread, and returns a receiver of its result.
fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver
}

#[test]
fn megabytes_pass_unchanged_in_both_directions() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let mut client = Client::connect(&proxy.url(&database), NoTls).expect("a connection");
    let mut text = String::new();
    for number in 0..600_000 {
        writeln!(text, "{number}").expect("memory");
    }
    let mut copy = client.copy_in("copy t from stdin").expect("a copy");
    for part in text.as_bytes().chunks(100_000) {
        copy.write_all(part).expect("to be sent");
    }
    assert_eq!(copy.finish().expect("rows"), 600_000);
    let mut back = String::new();
    client.copy_out("copy t to stdout").expect("a copy").read_to_string(&mut back).expect("the rows");
    assert!(back == text, "{} bytes of {} came back", back.len(), text.len());
    let len = text.len() as u64;
    assert!(proxy.passed(Side::Client) > len && proxy.passed(Side::Server) > len);
    assert_eq!(proxy.hits(), 0);
}

#[test]
fn a_cancel_request_passes() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let mut client = Client::connect(&proxy.url(&database), NoTls).expect("a connection");
    proxy.plan(Fault::new(Phase::Connect, What::Cut));
    let token = client.cancel_token();
    let asleep = on_thread(move || client.batch_execute("select pg_sleep(60)").expect_err("it is cancelled"));
    let error = loop {
        // The cancel request may arrive before the statement.
        token.cancel_query(NoTls).expect("to be sent");
        if let Ok(error) = asleep.recv_timeout(Duration::from_millis(20)) {
            break error;
        }
    };
    assert_eq!(error.code(), Some(&postgres::error::SqlState::QUERY_CANCELED));
    assert_eq!(proxy.hits(), 0, "a connection that cancels is none that is cut");
}

#[test]
fn a_cut_happens_at_its_point() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let url = proxy.url(&database);
    let mut stored = 0;
    for what in [What::Cut, What::Reset] {
        for (hits, (phase, step)) in (proxy.hits() + 1..).zip(POINTS) {
            proxy.plan(Fault::new(phase, what));
            assert_eq!(add_row(&url), Err(step), "{phase:?} {what:?}");
            proxy.wait_until_hit();
            assert_eq!(proxy.hits(), hits);
            // A cut answer leaves the row committed.
            stored += i64::from(phase == Phase::CommitAnswer);
            assert_eq!(rows(&database), stored, "{phase:?} {what:?}");
            assert_eq!(add_row(&url), Ok(()), "{phase:?} {what:?} happens once");
            stored += 1;
            assert_eq!(rows(&database), stored);
        }
    }
}

#[test]
fn a_stall_holds_one_connection_until_healed() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let url = proxy.url(&database);
    let mut stored = 0;
    for (phase, _) in POINTS {
        proxy.plan(Fault::new(phase, What::Stall));
        let stalled = on_thread({
            let url = url.clone();
            move || add_row(&url)
        });
        proxy.wait_until_hit();
        assert_eq!(add_row(&url), Ok(()), "another connection is free");
        assert!(stalled.recv_timeout(SHORT_WAIT).is_err(), "{phase:?} holds");
        stored += 1 + i64::from(phase == Phase::CommitAnswer);
        assert_eq!(rows(&database), stored, "{phase:?}");
        proxy.heal();
        assert_eq!(stalled.recv_timeout(WAIT_MAX).expect("an end"), Ok(()), "{phase:?}");
        stored += i64::from(phase != Phase::CommitAnswer);
        assert_eq!(rows(&database), stored, "{phase:?}");
    }
}

#[test]
fn a_delay_ends_by_itself() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    for (phase, _) in POINTS {
        proxy.plan(Fault::new(phase, What::Delay(SHORT_WAIT)));
        let begun = Instant::now();
        assert_eq!(add_row(&proxy.url(&database)), Ok(()), "{phase:?}");
        // A wait for the server's answer is delayed as well.
        assert!(begun.elapsed() >= SHORT_WAIT, "{phase:?}");
    }
    assert_eq!((rows(&database), proxy.hits()), (7, 7));
}

#[test]
fn a_black_hole_holds_everything_until_healed() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let url = proxy.url(&database);
    let mut client = Client::connect(&url, NoTls).expect("a connection");
    proxy.black_hole();
    let old = on_thread(move || client.batch_execute("insert into t values (1)").is_ok());
    let new = on_thread(move || add_row(&url));
    assert!(old.recv_timeout(SHORT_WAIT).is_err() && new.recv_timeout(SHORT_WAIT).is_err());
    assert_eq!(rows(&database), 0);
    proxy.heal();
    assert!(old.recv_timeout(WAIT_MAX).expect("an end"));
    assert_eq!(new.recv_timeout(WAIT_MAX).expect("an end"), Ok(()));
    assert_eq!(rows(&database), 2);
}

#[test]
fn sessions_and_round_trips_are_counted() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    for rows in 1..=2 {
        assert_eq!(add_row(&proxy.url(&database)), Ok(()));
        let Traffic { sessions, turns } = proxy.traffic();
        assert_eq!(sessions, rows);
        // The login, BEGIN, the statement's preparation, its start, its end, COMMIT. The client drops the statement without
        // waiting, so that answer can come by itself.
        assert!((6 * rows..=7 * rows).contains(&turns), "{turns} for {rows}");
    }
}

#[test]
fn points_are_counted_over_all_connections() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let url = proxy.url(&database);
    proxy.plan(Fault::new(Phase::CommitSent, What::Cut).after_copy().nth(2));
    let mut without_copy = Client::connect(&url, NoTls).expect("a connection");
    for _ in 0..3 {
        let transaction = without_copy.transaction().expect("a transaction");
        transaction.commit().expect("a commit that does not count");
    }
    assert_eq!((add_row(&url), proxy.hits()), (Ok(()), 0));
    assert_eq!((add_row(&url), proxy.hits()), (Err(Step::Commit), 1));
    proxy.plan(Fault::new(Phase::CommitSent, What::Cut).nth(2));
    without_copy.transaction().and_then(postgres::Transaction::commit).expect("the first");
    assert_eq!((add_row(&url), proxy.hits()), (Err(Step::Commit), 2));
}

#[test]
fn a_cut_within_a_message_passes_exactly_the_earlier_bytes() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let url = proxy.url(&database);
    assert_eq!(add_row(&url), Ok(()));
    let mut random = fastrand::Rng::with_seed(11);
    for side in [Side::Client, Side::Server] {
        // Except for the Terminate message, which may not have passed.
        let whole = Proxy::to(Cluster::shared().port());
        assert_eq!(add_row(&whole.url(&database)), Ok(()));
        let all = whole.passed(side) - 8;
        for _ in 0..20 {
            let bytes = random.u64(1..all);
            let single = Proxy::to(Cluster::shared().port());
            single.plan(Fault::new(Phase::Bytes(side, bytes), What::Cut));
            let added = add_row(&single.url(&database));
            single.wait_until_hit();
            assert!(added.is_err() || side == Side::Server, "{side:?} {bytes}");
            assert_eq!(single.passed(side), bytes, "{side:?}");
        }
    }
}

#[test]
fn a_drop_ends_held_connections() {
    let database = database();
    let proxy = Proxy::to(Cluster::shared().port());
    let url = proxy.url(&database);
    proxy.plan(Fault::new(Phase::MidCopy, What::Stall));
    let stalled = on_thread({
        let url = url.clone();
        move || add_row(&url)
    });
    proxy.wait_until_hit();
    drop(proxy);
    assert_eq!(stalled.recv_timeout(WAIT_MAX).expect("an end"), Err(Step::Copy));
    assert_eq!(add_row(&url), Err(Step::Connect));
    assert_eq!(rows(&database), 0);
}
