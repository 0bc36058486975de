//! The manager and its pool: each setting takes effect, as the server's list of sessions shows.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use aegis_kills::{DatabaseManager, OutageSettings, PoolSettings, from_url};
use postgres::Client;

use crate::support::backends::ReadOnly;
use crate::support::cluster::{Cluster, Database};
use crate::support::eventually;
use crate::support::program::Workplace;

const NAME: &str = "pool-test";

fn manager(database: &Database<'_>, pool: PoolSettings, trouble: OutageSettings) -> DatabaseManager {
    let target = from_url(&database.url(), &|_| None).expect("a URL");
    DatabaseManager::connect(&target, NAME, pool, trouble).expect("a pool")
}

/// The number of the pool's sessions in this database. Other tests run at the same time.
fn sessions(database: &Database<'_>) -> i64 {
    let sql = "select count(*) from pg_stat_activity
               where datname = current_database() and application_name = $1";
    database.client().query_one(sql, &[&NAME]).expect("sessions").get(0)
}

/// The idle backends of the pool.
fn idle(database: &Database<'_>) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity
               where datname = current_database() and application_name = $1 and state = 'idle' order by pid";
    let rows = database.client().query(sql, &[&NAME]).expect("sessions");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn the_minimum_of_connections_is_opened_at_once_and_stays() {
    let database = Cluster::shared().database("minimum");
    let idle_timeout = Duration::from_millis(200);
    let pool = PoolSettings { min: 3, max: 6, idle_timeout, ..PoolSettings::default() };
    let trouble = OutageSettings { health_interval: Duration::from_millis(100), ..OutageSettings::default() };
    let manager = manager(&database, pool, trouble);
    eventually(Duration::from_secs(30), "the minimum is opened", || {
        manager.pool_state().idle == 3 && idle(&database).len() == 3
    });
    // A running health check has a session of its own.
    let mut at_first = Vec::new();
    eventually(Duration::from_secs(30), "the pool's sessions alone", || {
        at_first = idle(&database);
        at_first.len() == 3
    });
    // After several health checks the watchdog has looked for idle connections many times.
    let checks = || manager.health_status().map(|status| status.last_check);
    for _ in 0..15 {
        let before = checks();
        eventually(Duration::from_secs(30), "a health check", || checks() != before);
    }
    eventually(Duration::from_secs(30), "the same sessions, not new ones", || idle(&database) == at_first);
    drop(manager.get().expect("a connection"));
    eventually(Duration::from_secs(30), "back at the minimum", || sessions(&database) == 3);
}

#[test]
fn idle_connections_above_the_minimum_are_closed() {
    let database = Cluster::shared().database("pool");
    let pool = PoolSettings {
        min: 2,
        max: 5,
        connection_timeout: Duration::from_millis(700),
        idle_timeout: Duration::from_millis(400),
    };
    let manager = manager(&database, pool, OutageSettings::default());
    let mut held: Vec<_> = (0..5).map(|_| manager.get().expect("a connection")).collect();
    eventually(Duration::from_secs(30), "five, once the check at the start is over", || {
        sessions(&database) == 5
    });
    let Err(error) = manager.get() else { panic!("there are five") };
    for words in ["total 5", "active 5", "idle 0", "others waiting 0", "within 0.7 s"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(held[0].query_one("select 7", &[]).expect("a row").get::<_, i32>(0), 7);
    held.clear();
    eventually(Duration::from_secs(30), "those above the minimum are closed", || sessions(&database) == 2);
    assert_eq!(manager.pool_state().total, 2);
    let seven: i32 = manager
        .with_retry("asking", |client| Ok(client.query_one("select 7", &[])?.get(0)))
        .expect("an answer");
    assert_eq!(seven, 7);
    assert!(manager.health_check().is_healthy());
    assert!(manager.health_status().is_some_and(|status| status.server.is_some()));
    drop(manager);
    eventually(Duration::from_secs(30), "all are closed", || sessions(&database) == 0);
}

#[test]
fn a_full_pool_names_its_users_and_the_last_failure() {
    let database = Cluster::shared().database("waiting");
    let pool = PoolSettings {
        min: 1,
        max: 2,
        connection_timeout: Duration::from_millis(600),
        ..PoolSettings::default()
    };
    let manager = manager(&database, pool, OutageSettings::default());
    let mut first = manager.get().expect("a connection");
    let second = manager.get().expect("another");
    eventually(Duration::from_secs(30), "two, once the check at the start is over", || {
        sessions(&database) == 2
    });
    let begun = Instant::now();
    let error = thread::scope(|scope| {
        let other = scope.spawn(|| manager.get().map(drop));
        eventually(Duration::from_secs(10), "one waits", || manager.pool_state().waiting == 1);
        let error = manager.get().map(drop).expect_err("both are in use");
        other.join().expect("no panic").expect_err("both are in use");
        error.to_string()
    });
    assert!(begun.elapsed() >= Duration::from_millis(600) && begun.elapsed() < Duration::from_secs(10));
    assert!(error.starts_with("no database connection available within 0.6 s"), "{error}");
    assert!(error.contains("total 2, active 2, idle 0, others waiting "), "{error}");
    assert!(!error.contains("failure"), "nothing has failed: {error}");
    // From now on the lost session is the last failure.
    let pid: i32 = first.query_one("select pg_backend_pid()", &[]).expect("a row").get(0);
    database.client().execute("select pg_terminate_backend($1)", &[&pid]).expect("an end");
    first.batch_execute("select 1").expect_err("it is gone");
    drop((first, second));
    let lost = manager.with_retry("losing a session once", {
        let lost = std::sync::atomic::AtomicBool::new(false);
        move |client: &mut Client| {
            if lost.swap(true, std::sync::atomic::Ordering::Relaxed) {
                return Ok(());
            }
            client.batch_execute("select pg_terminate_backend(pg_backend_pid())")
        }
    });
    lost.expect("the call is retried");
    let _both = (manager.get().expect("a connection"), manager.get().expect("another"));
    let error = manager.get().map(drop).expect_err("both are in use");
    assert!(error.to_string().contains("the last failure was "), "{error}");
    assert!(std::error::Error::source(&error).is_some(), "with its cause");
}

#[test]
fn a_retrying_call_stops_waiting_for_a_full_pool() {
    let database = Cluster::shared().database("retry");
    let short = Duration::from_millis(300);
    let pool = PoolSettings { min: 1, max: 1, connection_timeout: short, ..PoolSettings::default() };
    let trouble = OutageSettings { away_timeout: 2 * short, ..OutageSettings::default() };
    let manager = manager(&database, pool, trouble);
    let held = manager.get().expect("a connection");
    let error = manager.with_retry("counting", |client| client.batch_execute("select 1"));
    let error = error.expect_err("it is in use").to_string();
    assert!(error.contains("counting failed"), "{error}");
    // A wait for a connection continues while other calls succeed.
    let (sender, begun) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(()).expect("a reader");
            manager
                .with_retry("waiting", |client| client.batch_execute("select 1"))
                .expect("it is free in time");
        });
        begun.recv().expect("a thread");
        eventually(Duration::from_secs(10), "it waits", || manager.pool_state().waiting == 1);
        drop(held);
    });
}

#[test]
fn health_is_bad_during_an_outage() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("away");
    let manager = manager(&database, PoolSettings::default(), OutageSettings::default());
    let healthy = || manager.health_status().is_some_and(|status| status.is_healthy());
    eventually(Duration::from_secs(30), "the first check", healthy);
    cluster.stop();
    thread::scope(|scope| {
        let call = scope.spawn(|| manager.with_retry("asking", |client| client.batch_execute("select 1")));
        eventually(Duration::from_secs(30), "it is seen", || !healthy());
        assert!(
            manager.health_status().is_some_and(|status| status.error.is_some() && status.server.is_none())
        );
        cluster.start();
        call.join().expect("no panic").expect("it is waited for");
        eventually(Duration::from_secs(30), "it is healthy again", healthy);
    });
}

#[test]
fn an_unhealthy_database_is_checked_every_few_seconds() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("unhealthy");
    let read_only = ReadOnly::new(&cluster);
    // The next regular check would be 5 minutes later.
    let manager = manager(&database, PoolSettings::default(), OutageSettings::default());
    let status = || manager.health_status();
    eventually(Duration::from_secs(30), "a check at the start", || status().is_some());
    assert!(status().is_some_and(|status| status.server.is_some_and(|server| server.read_only)));
    drop(read_only);
    eventually(Duration::from_secs(30), "a check soon after", || {
        status().is_some_and(|status| status.is_healthy())
    });
}

#[test]
fn the_log_has_the_documented_messages() {
    let cluster = Cluster::private(&[]);
    let (database, empty) = (cluster.database("words"), cluster.database("no_tables"));
    let work = Workplace::new();
    let load = || work.load(&database, &[]);
    load().args(&["-v"]).expect(0).says(&[
        "Database connected successfully",
        "Database connection pool initialized successfully",
        "Pool configuration: min=2, max=10",
    ]);
    assert_eq!(load().expect(0).stderr, "", "unasked nothing is said of what is well");
    let _read_only = ReadOnly::new(&cluster);
    // Also where the load would create the tables.
    for database in [&database, &empty] {
        let program = work.load(database, &[]).stdin("no event\n").env("DATABASE_AWAY_TIMEOUT", "1s");
        let ended = program.expect(4).says(&["database read-only: "]);
        assert!(
            ended.stdout.contains("was read-only for ")
                && ended.stdout.contains("hint: connect to the primary"),
            "{ended:?}"
        );
        // One cause, once in the log.
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
