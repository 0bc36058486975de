//! Many loads of the same dumps: one of them parses and stores each segment, and another takes over an abandoned one.

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use postgres::Client;
use serde_json::Value;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, gzip, join, lines, zstd_frames};
use crate::support::http::get;
use crate::support::oracle::{Expected, Nul, expect};
use crate::support::program::{Ended, Program, Running, Summary, Workplace, assert_tables};
use crate::support::{eventually, free_port};

const WAIT: Duration = Duration::from_mins(1);

/// Counts attempts to store a segment, also those rolled back, because a sequence does not roll back.
const COUNT_ATTEMPTS: &str = "create sequence tries;
    create function note() returns trigger language plpgsql as
      $$ begin perform nextval('public.tries'); return new; end $$;
    create trigger note before insert on kill_load_segment for each row execute function note()";

/// Dumps without common events in a directory, and a database with the tables.
struct Season<'c> {
    database: Database<'c>,
    work: Workplace,
    names: Vec<String>,
    /// The text of all dumps in order.
    text: Vec<u8>,
}

impl Season<'_> {
    fn new(text: Vec<u8>, dumps: usize, pack: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let database = Cluster::shared().database("many");
        let work = Workplace::new();
        work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
        database.client().batch_execute(COUNT_ATTEMPTS).expect("a trigger");
        let lines = lines(&text);
        let parts = lines.chunks(lines.len().div_ceil(dumps)).map(join);
        let names: Vec<String> = (0..dumps).map(|number| format!("dump-{number}")).collect();
        for (name, part) in names.iter().zip(parts) {
            work.write(name, pack(&part));
        }
        Self { database, work, names, text }
    }

    fn load(&self) -> Program {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let program = self.work.load(&self.database, &names).segment_bytes(32 << 10).workers(2);
        program.env("KILLS_PARSE_THREADS", "2").env("DATABASE_RETRY_BASE", "20")
    }

    /// Keeps segments from being stored until it is dropped.
    fn hold(&self) -> Client {
        let mut lock = self.database.client();
        lock.batch_execute("begin; lock table kill_load_segment in exclusive mode").expect("a lock");
        lock
    }

    /// The sessions that claim segments, with the number of their claims.
    fn claims(&self) -> Vec<(i32, i64)> {
        let sql = "select pid, count(*) from pg_locks where locktype = 'advisory' and granted
                   and database = (select oid from pg_database where datname = current_database()) group by 1 order by 1";
        let rows = self.database.client().query(sql, &[]).expect("locks");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    fn number(&self, sql: &str) -> u64 {
        let number: i64 = self.database.client().query_one(sql, &[]).expect("a row").get(0);
        u64::try_from(number).expect("a count")
    }

    /// The events that all runs stored, crashed runs included.
    fn stored(&self) -> u64 {
        self.number("select sum(inserted)::bigint from kill_load_segment")
    }

    fn segments(&self) -> u64 {
        self.number("select count(*) from kill_load_segment")
    }

    /// Starts a load and freezes it when it holds claims. Its sessions are then ended except the claim session, so its
    /// transactions are rolled back.
    fn frozen(&self) -> Running {
        let lock = self.hold();
        let frozen = self.load().start();
        eventually(WAIT, "it has claimed what it can", || claimed(&self.claims()) >= 4);
        frozen.signal(Signal::SIGSTOP);
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
                   and application_name like 'aegis-kills %' and pid <> $1";
        let claimant = self.claims()[0].0;
        self.database.client().query(sql, &[&claimant]).expect("to end sessions");
        drop(lock);
        eventually(WAIT, "its transactions have ended", || {
            self.number(
                "select count(*) from pg_stat_activity where datname = current_database()
                         and application_name like 'aegis-kills %'",
            ) == 1
        });
        frozen
    }

    /// Starts a load that waits at its end for segments that another load has claimed.
    fn waiting(&self) -> Running {
        let port = free_port();
        let running = self.load().args(&["--listen", &port.to_string()]).start();
        eventually(WAIT, "it waits for the other", || {
            let status: Value = serde_json::from_str(&get(port, "/status.json").1).unwrap_or_default();
            let awaits = status["state"] == "waiting" && status["segments_awaited"].as_u64() >= Some(4);
            assert!(!awaits || status["title"] == "Waiting for segments claimed by other loads");
            awaits
        });
        running
    }

    /// Asserts the tables, and that the counts of each run are complete.
    #[track_caller]
    fn check(&self, runs: &[Summary]) -> Expected {
        let expected = expect(&self.text, Nul::Reject);
        assert_tables(&self.database, "americas", &expected.tables);
        for run in runs {
            run.check(&[("lines", expected.lines), ("events", expected.events), ("unfinished", 0)]);
            run.check(&[("rejected", expected.rejected.len() as u64)]);
        }
        expected
    }
}

fn claimed(claims: &[(i32, i64)]) -> i64 {
    claims.iter().map(|(_, count)| count).sum()
}

fn sum(runs: &[Summary], count: impl Fn(&Summary) -> u64) -> u64 {
    runs.iter().map(count).sum()
}

fn written(run: &Summary) -> u64 {
    run.count("segments") - run.count("segments_skipped")
}

fn summaries(runs: Vec<Running>, code: i32) -> Vec<Summary> {
    thread::scope(|scope| {
        let threads: Vec<_> = runs.into_iter().map(|run| scope.spawn(|| run.finish())).collect();
        let ended = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        ended.map(|ended: Ended| ended.expect(code).summary()).collect()
    })
}

#[test]
fn four_loads_parse_and_store_each_segment_once() {
    for pack in [<[u8]>::to_vec, gzip] {
        let season = Season::new(generated(400, 201, 0.0), 4, pack);
        let lock = season.hold();
        let runs: Vec<Running> = (0..4).map(|_| season.load().start()).collect();
        // Each load works on its own segments before the first one is stored.
        eventually(WAIT, "each has claims", || season.claims().len() == 4);
        drop(lock);
        let runs = summaries(runs, 0);
        let expected = season.check(&runs);
        assert_eq!(sum(&runs, |run| run.count("inserted")), expected.loaded());
        assert!(runs.iter().all(|run| run.count("segments") == season.segments()), "{runs:?}");
        assert!(runs.iter().all(|run| written(run) > 0), "{runs:?}");
        assert_eq!(sum(&runs, written), season.segments(), "{runs:?}");
        assert_eq!(
            season.number("select last_value from tries"),
            season.segments(),
            "nothing was done twice"
        );
    }
}

#[test]
fn segments_of_a_killed_load_are_loaded_by_another() {
    let zstd = |text: &[u8]| zstd_frames(text, 50_000);
    for pack in [<[u8]>::to_vec as fn(&[u8]) -> Vec<u8>, gzip, zstd] {
        let season = Season::new(generated(300, 202, 0.0), 3, pack);
        let lock = season.hold();
        let killed = season.load().start();
        eventually(WAIT, "it has claimed what it can", || claimed(&season.claims()) >= 4);
        let other = season.load().start();
        eventually(WAIT, "the other has gone on", || season.claims().len() == 2);
        killed.signal(Signal::SIGKILL);
        assert_eq!(killed.finish().code, 137);
        drop(lock);
        assert_eq!(season.check(&summaries(vec![other], 0)).loaded(), season.stored());
    }
}

#[test]
fn segments_of_a_frozen_load_are_loaded_by_another() {
    let season = Season::new(generated(200, 203, 0.0), 2, gzip);
    let frozen = season.frozen();
    let other = season.load().env("DATABASE_STALL_TIMEOUT", "1s").expect(0).summary();
    assert_eq!(season.check(&[other]).loaded(), season.stored());
    frozen.signal(Signal::SIGCONT);
    let runs = summaries(vec![frozen], 0);
    season.check(&runs);
    assert!(runs[0].count("already_loaded") == runs[0].count("events"), "{runs:?}");
}

#[test]
fn loads_at_the_same_time_report_every_reject() {
    let dump = generated(200, 204, 0.0);
    let bad = |(number, line): (usize, &&[u8])| match number % 25 {
        7 => b"no event".to_vec(),
        _ => line.to_vec(),
    };
    let text = join(&lines(&dump).iter().enumerate().map(bad).collect::<Vec<_>>());
    let season = Season::new(text, 2, gzip);
    let lock = season.hold();
    let runs: Vec<Running> = (0..3).map(|_| season.load().start()).collect();
    eventually(WAIT, "each has claims", || season.claims().len() == 3);
    drop(lock);
    let ended: Vec<Ended> = thread::scope(|scope| {
        let threads: Vec<_> = runs.into_iter().map(|run| scope.spawn(|| run.finish())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let runs: Vec<Summary> = ended.iter().map(Ended::summary).collect();
    let expected = season.check(&runs);
    assert_eq!(sum(&runs, |run| run.count("inserted")), expected.loaded());
    let mut reported = HashSet::new();
    for (ended, run) in ended.iter().zip(&runs) {
        // A load that is slower than another one leaves out what that one has reported.
        let rejects = ended.rejects();
        assert_eq!(ended.code, if rejects.is_empty() { 0 } else { 3 }, "{}", ended.stderr);
        assert_eq!(rejects.len() as u64 + run.count("rejected_before"), expected.rejected.len() as u64);
        reported.extend(rejects.iter().map(|reject| format!("{}:{}", reject.0["source"], reject.line())));
    }
    assert_eq!(reported.len(), expected.rejected.len());
}

#[test]
fn a_repeated_file_and_standard_input_are_loaded_once() {
    let mut season = Season::new(generated(150, 205, 0.0), 1, <[u8]>::to_vec);
    let once = season.text.clone();
    season.names.extend(["./dump-0".to_owned(), "dump-0".to_owned()]);
    season.text = once.repeat(3);
    let lock = season.hold();
    let runs: Vec<Running> = (0..2).map(|_| season.load().start()).collect();
    let piped = season.work.load(&season.database, &[]).segment_bytes(32 << 10).stdin(once);
    let piped = thread::scope(|scope| {
        let piped = scope.spawn(|| piped.run());
        eventually(WAIT, "all are at work", || {
            let waiting = "select count(distinct application_name) from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'";
            season.claims().len() >= 2 && season.number(waiting) == 3
        });
        drop(lock);
        piped.join().expect("no panic").expect(0).summary()
    });
    let runs = summaries(runs, 0);
    season.check(&runs);
    piped.check(&[("events", 150), ("unfinished", 0)]);
    let inserted = sum(&runs, |run| run.count("inserted")) + piped.count("inserted");
    assert_eq!(inserted, 150, "{runs:?} {piped:?}");
}

#[test]
fn a_changed_dump_fails_a_waiting_load() {
    for pack in [<[u8]>::to_vec, gzip] {
        let season = Season::new(generated(200, 206, 0.0), 2, pack);
        let frozen = season.frozen();
        let waiting = season.waiting();
        season.work.write("dump-0", pack(&generated(100, 207, 0.0)));
        frozen.signal(Signal::SIGKILL);
        let ended = waiting.finish().expect(1);
        let summary = ended.summary();
        assert_eq!(summary.status(), "failed");
        assert_eq!(summary.error(), "dump-0 changed during the load; hint: run the same command again");
        summary.check(&[("unfinished", 0), ("events", summary.count("inserted"))]);
        drop(frozen);
    }
}

#[test]
fn a_dump_replaced_by_a_pipe_fails_a_waiting_load() {
    let season = Season::new(generated(200, 210, 0.0), 2, <[u8]>::to_vec);
    let frozen = season.frozen();
    let waiting = season.waiting();
    let dump = season.work.path().join("dump-0");
    fs::remove_file(&dump).expect("to remove the dump");
    mkfifo(&dump, Mode::S_IRWXU).expect("to make a pipe");
    frozen.signal(Signal::SIGKILL);
    let summary = waiting.finish().expect(1).summary();
    assert_eq!(summary.error(), "dump-0 changed during the load; hint: run the same command again");
    drop(frozen);
}

#[test]
fn stop_request_during_a_wait_for_another_load() {
    let season = Season::new(generated(200, 208, 0.0), 2, <[u8]>::to_vec);
    let frozen = season.frozen();
    let waiting = season.waiting();
    waiting.signal(Signal::SIGTERM);
    let ended = waiting.finish().expect(143).says(&["segments left to the loads that claimed them"]);
    let summary = ended.summary();
    assert_eq!(summary.status(), "interrupted");
    summary.check(&[("unfinished", 0), ("events", summary.count("inserted"))]);
    assert!((1..200).contains(&summary.count("events")), "{summary:?}");
    assert_eq!(summary.count("segments"), season.segments(), "what is left is in no count");
    frozen.signal(Signal::SIGCONT);
    season.check(&summaries(vec![frozen], 0));
}

#[test]
fn a_load_continues_without_lost_claims() {
    let season = Season::new(generated(300, 209, 0.0), 2, <[u8]>::to_vec);
    let runs: Vec<Running> = (0..2).map(|_| season.load().start()).collect();
    for _ in 0..2 {
        eventually(WAIT, "someone has claims, or all is done", || {
            season.segments() > 60 || !season.claims().is_empty()
        });
        for (claimant, _) in season.claims() {
            let sql = "select pg_terminate_backend($1)";
            season.database.client().query(sql, &[&claimant]).expect("to end a session");
        }
    }
    let runs = summaries(runs, 0);
    let expected = season.check(&runs);
    assert_eq!(sum(&runs, |run| run.count("inserted")), expected.loaded());
}
