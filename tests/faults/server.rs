//! Faults of the server during a load. The tables must be those of an undisturbed load.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::backends::{Frozen, ReadOnly, backends, occupy, terminate};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Ended, Workplace, assert_tables};
use crate::support::progress::{in_small_steps, meanwhile, steps};

/// A load of `events` events that is disturbed and must succeed.
fn survive(
    database: &Database<'_>,
    events: u64,
    settings: &[(&str, &str)],
    disturb: impl FnOnce(&dyn Fn() -> bool),
) -> Ended {
    let work = Workplace::new();
    let dump = generated(events, events, 5.0);
    work.write("dump.ndjson", &dump);
    let program = settings
        .iter()
        .fold(in_small_steps(&work, database), |program, (name, value)| program.env(name, value));
    let ended = meanwhile(program, disturb).expect(0);
    let expected = expect(&dump, Nul::Reject);
    assert_tables(database, "americas", &expected.tables);
    ended.summary().check(&[("events", expected.events), ("rejected", 0), ("unfinished", 0)]);
    let row = database.client().query_one("select status from kill_load_run", &[]).expect("one run");
    assert_eq!(row.get::<_, &str>(0), "complete");
    ended
}

#[test]
fn a_load_survives_repeated_server_crashes() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("crashes");
    let ended = survive(&database, 800, &[], |ended| {
        for _ in 0..3 {
            steps(&database, 30, ended);
            assert!(!ended(), "there is more to load");
            cluster.stop_immediate();
            cluster.start();
        }
    });
    assert!(ended.summary().count("connection_errors") > 0);
    ended.says(&["; retrying for ", "database reachable again after "]);
}

#[test]
fn a_load_survives_a_restart_of_a_minute_at_the_default_settings() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("minute");
    let work = Workplace::new();
    let dump = generated(600, 71, 0.0);
    work.write("dump.ndjson", &dump);
    let program = work.load(&database, &["dump.ndjson"]).segment_bytes(32 << 10);
    let ended = meanwhile(program, |ended| {
        steps(&database, 30, ended);
        assert!(!ended(), "there is more to load");
        cluster.stop();
        // The duration of the fault, not a wait for a condition.
        thread::sleep(Duration::from_mins(1));
        cluster.start();
    })
    .expect(0)
    .says(&["; retrying for ", "database reachable again after "]);
    assert!(!ended.stderr.contains("still waiting"), "{}", ended.stderr);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn a_load_survives_repeatedly_terminated_backends() {
    let database = Cluster::shared().database("terminated");
    let mut random = fastrand::Rng::with_seed(17);
    let mut terminated = 0;
    let mut other = database.client();
    let ended = survive(&database, 800, &[], |ended| {
        while !ended() {
            steps(&database, 8, ended);
            terminated += terminate(&mut other, 2, &mut random);
        }
    });
    assert!(terminated > 5, "{terminated}");
    assert!(ended.summary().count("retries") > 0);
}

#[test]
fn a_load_survives_frozen_backends() {
    let database = Cluster::shared().database("frozen");
    let settings = [("DATABASE_STALL_TIMEOUT", "500"), ("DATABASE_RETRY_ATTEMPTS", "100")];
    let ended = survive(&database, 600, &settings, |ended| {
        steps(&database, 20, ended);
        let frozen: Vec<Frozen> = backends(&database).into_iter().map(Frozen::new).collect();
        assert!(!frozen.is_empty(), "there is more to load");
        // Other sessions may wait for its locks until it ends.
        let waiting =
            "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        let mut watcher = database.client();
        eventually(Duration::from_mins(1), "the load continues without it, or waits for it", || {
            ended() || !watcher.query(waiting, &[]).expect("sessions").is_empty()
        });
    });
    ended.says(&["no progress"]);
}

#[test]
fn a_load_survives_a_frozen_server() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("whole");
    let settings = [
        ("DATABASE_STALL_TIMEOUT", "300"),
        ("DATABASE_CONNECTION_TIMEOUT", "500"),
        ("DATABASE_RETRY_ATTEMPTS", "100"),
    ];
    survive(&database, 600, &settings, |ended| {
        steps(&database, 20, ended);
        let postmaster = cluster.pid().expect("a running server");
        let frozen: Vec<Frozen> =
            std::iter::once(postmaster).chain(backends(&database)).map(Frozen::new).collect();
        // The duration of the fault, not a wait for a condition.
        thread::sleep(Duration::from_secs(4));
        drop(frozen);
    })
    .says(&["no progress"]);
}

#[test]
fn a_load_survives_a_server_without_free_connections() {
    let cluster = Cluster::private(&[("max_connections", "12"), ("superuser_reserved_connections", "0")]);
    let database = cluster.database("room");
    let mut random = fastrand::Rng::with_seed(5);
    // Opened first, so that it keeps its connection slot.
    let mut other = database.client();
    let occupants = occupy(&cluster);
    let ended = survive(&database, 500, &[], |ended| {
        // The duration of the fault, not a wait for a condition: at the start and in the middle.
        thread::sleep(Duration::from_secs(1));
        drop(occupants);
        steps(&database, 20, ended);
        for _ in 0..20 {
            terminate(&mut other, 10, &mut random);
            let occupants = occupy(&cluster);
            thread::sleep(Duration::from_millis(50));
            drop(occupants);
        }
    });
    ended.says(&["too many clients"]);
}

#[test]
fn a_load_survives_a_temporarily_read_only_server() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("readonly");
    let ended = survive(&database, 600, &[], |ended| {
        steps(&database, 20, ended);
        let read_only = ReadOnly::new(&cluster);
        // The duration of the fault, not a wait for a condition.
        thread::sleep(Duration::from_secs(2));
        drop(read_only);
    });
    ended.says(&["read-only"]);
}

#[test]
fn a_load_survives_a_temporary_table_lock() {
    let database = Cluster::shared().database("locked");
    let settings = [("DATABASE_STALL_TIMEOUT", "300"), ("DATABASE_RETRY_ATTEMPTS", "100")];
    let ended = survive(&database, 600, &settings, |ended| {
        steps(&database, 20, ended);
        let mut client = database.client();
        let mut lock = client.transaction().expect("a transaction");
        lock.batch_execute("lock table kill_player in exclusive mode").expect("a lock");
        // The duration of the fault, not a wait for a condition.
        thread::sleep(Duration::from_secs(2));
        lock.rollback().expect("the lock is given back");
    });
    ended.says(&["cancelling the statement", "a lock that backend", "attempt 1/100"]);
}

#[test]
fn a_table_that_stays_locked_is_reported() {
    let database = Cluster::shared().database("stays");
    let work = Workplace::new();
    let dump = generated(100, 73, 0.0);
    work.write("dump.ndjson", &dump);
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_loot in exclusive mode").expect("a lock");
    let program = in_small_steps(&work, &database).env("DATABASE_STALL_TIMEOUT", "300");
    let ended = program.env("DATABASE_RETRY_ATTEMPTS", "2").expect(4);
    let summary = ended.summary();
    assert_eq!((summary.status(), summary.count("inserted")), ("failed", 0));
    assert!(summary.error().contains("a lock that backend"), "{}", summary.error());
    lock.rollback().expect("the lock is given back");
    in_small_steps(&work, &database).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn a_load_survives_a_deadlock() {
    let database = Cluster::shared().database("deadlock");
    let work = Workplace::new();
    let dump = generated(40, 74, 0.0);
    work.write("dump.ndjson", &dump);
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let expected = expect(&dump, Nul::Reject);
    let ids: Vec<i64> = expected.tables.kill_event.keys().copied().collect();
    let set = format!("alter database {} set deadlock_timeout = '2s'", database.name());
    database.client().batch_execute(&set).expect("a setting");
    let mut client = database.client();
    // The load's session detects the deadlock and becomes its victim.
    client.batch_execute("set deadlock_timeout = '1h'").expect("a setting");
    let mut other = client.transaction().expect("a transaction");
    let insert = "insert into kill_event (server, event_id, occurred_at, fame, killer_id, victim_id, participant_count,
                    group_size, loaded_at) values ('americas', $1, now(), 1, 'a', 'b', 1, 1, now())";
    other.execute(insert, &[ids.last().expect("events")]).expect("an event");
    let program = in_small_steps(&work, &database).segment_bytes(8 << 20);
    let ended = meanwhile(program, |_| {
        let waiting =
            "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
                         and query ilike 'copy %'";
        let mut watcher = database.client();
        eventually(Duration::from_mins(1), "the loader waits for the other", || {
            !watcher.query(waiting, &[]).expect("sessions").is_empty()
        });
        other.execute(insert, &[&ids[0]]).expect("the loader gives way");
        other.rollback().expect("the other gives up");
    });
    let ended = ended.expect(0).says(&["deadlock detected", "attempt 1/5"]);
    assert!(ended.summary().count("retries") >= 1);
    assert_tables(&database, "americas", &expected.tables);
}

#[test]
fn a_server_that_stays_unreachable_ends_the_load_with_code_4() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("away");
    let work = Workplace::new();
    let dump = generated(400, 75, 0.0);
    work.write("dump.ndjson", &dump);
    let program = in_small_steps(&work, &database).env("DATABASE_AWAY_TIMEOUT", "1500");
    let ended = meanwhile(program, |ended| {
        steps(&database, 20, ended);
        cluster.stop();
    })
    .expect(4);
    let summary = ended.summary();
    assert_eq!(summary.status(), "failed");
    assert!(summary.error().contains("the database was "), "{}", summary.error());
    assert!(summary.count("unfinished") > 0 && summary.count("inserted") > 0);
    cluster.start();
    in_small_steps(&work, &database).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    // The next run marks the run without an end as crashed.
    let sql = "select count(*) from kill_load_run where status = 'failed' and finished is not null";
    assert_eq!(database.client().query_one(sql, &[]).expect("runs").get::<_, i64>(0), 1);
}

#[test]
fn a_revoked_login_ends_the_load_at_once() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("closed");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(600, 76, 0.0));
    let ended = meanwhile(in_small_steps(&work, &database), |ended| {
        steps(&database, 20, ended);
        // Blocks new sessions and ends the existing ones.
        let mut admin = cluster.admin();
        admin
            .batch_execute(&format!("alter database {} allow_connections false", database.name()))
            .expect("a setting");
        let pids = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'aegis-kills %'";
        admin.batch_execute(pids).expect("sessions that end");
    });
    let ended = ended.expect(7);
    assert!(ended.summary().error().contains("not currently accepting"), "{}", ended.stdout);
    assert!(ended.summary().0["elapsed_seconds"].as_f64().expect("a time") < 30.0);
}

#[test]
fn a_load_survives_a_killed_postmaster() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("killed");
    survive(&database, 600, &[], |ended| {
        steps(&database, 20, ended);
        for pid in backends(&database).into_iter().take(1) {
            // The server ends all sessions, recovers, and continues.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        steps(&database, 20, ended);
        cluster.kill9();
        cluster.start();
    });
}

/// The log claims that other calls succeed only if one has since the wait began.
#[test]
fn a_wait_for_a_connection_while_no_call_succeeds_is_logged_as_such() {
    let database = Cluster::shared().database("full_pool");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(100, 77, 0.0));
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_loot in exclusive mode").expect("a lock");
    let program = in_small_steps(&work, &database)
        .env("DATABASE_POOL_MIN", "1")
        .env("DATABASE_POOL_MAX", "1")
        .env("DATABASE_CONNECTION_TIMEOUT", "500");
    let ended = meanwhile(program, |ended| {
        let waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and query like 'COPY%'
                       and datname = current_database()";
        let mut watcher = database.client();
        eventually(Duration::from_mins(1), "a writer waits for the table", || {
            ended() || !watcher.query(waiting, &[]).expect("sessions").is_empty()
        });
        // The duration of the fault, not a wait for a condition: the others wait for a connection twice.
        thread::sleep(Duration::from_secs(2));
        lock.rollback().expect("the lock is given back");
    });
    ended.expect(0).says(&["still waiting, although no call has succeeded for "]);
}
