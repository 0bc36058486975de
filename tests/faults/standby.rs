//! Standbys and crashes: events that a load reports as stored survive what they must survive.

use std::fs::{self, File};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Program, Running, Workplace, assert_tables};
use crate::support::progress::{in_small_steps, meanwhile, segments, steps};

/// Makes a server wait for a standby of this name.
fn await_standby(cluster: &Cluster, name: &str) {
    let mut admin = cluster.admin();
    admin
        .batch_execute(&format!("alter system set synchronous_standby_names = '{name}'"))
        .expect("a setting");
    admin.batch_execute("select pg_reload_conf()").expect("a reload");
    let mut is_set = || {
        let row = admin.query_one("select current_setting('synchronous_standby_names')", &[]).expect("a row");
        row.get::<_, String>(0) == name
    };
    eventually(Duration::from_secs(10), "the setting is there", &mut is_set);
}

fn load(work: &Workplace, database: &Database<'_>) -> Program {
    work.load(database, &["dump.ndjson"])
        .env("DATABASE_STALL_TIMEOUT", "1s")
        .env("DATABASE_AWAY_TIMEOUT", "4s")
        .env("DATABASE_RETRY_BASE", "20")
}

fn wait_for_commit(running: &mut Running, cluster: &Cluster) {
    let mut admin = cluster.admin();
    eventually(Duration::from_secs(30), "a COMMIT waits for the standby", || {
        assert!(!running.has_ended(), "it waits");
        !admin
            .query("select from pg_stat_activity where wait_event = 'SyncRep'", &[])
            .expect("rows")
            .is_empty()
    });
}

#[test]
fn a_commit_that_waits_for_a_standby_is_an_outage() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("gone");
    let work = Workplace::new();
    let dump = generated(30, 3, 0.0);
    work.write("dump.ndjson", &dump);
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    await_standby(&cluster, "gone");
    for _ in 0..2 {
        let ended =
            load(&work, &database).run().expect(4).says(&["synchronous standby (wait event SyncRep)"]);
        assert!(!ended.stderr.contains("cancelling the statement"), "{}", ended.stderr);
    }
    await_standby(&cluster, "");
    load(&work, &database).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn locks_are_not_kept_while_no_standby_is_connected() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("locks");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(30, 3, 0.0));
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    await_standby(&cluster, "FIRST 1 (gone, lost)");
    // The tables are empty, so the load drops their indexes.
    load(&work, &database).expect(4);
    let mut reader = database.client();
    reader.batch_execute("set lock_timeout = '5s'").expect("a setting");
    for table in ["kill_event", "kill_player", "kill_loot"] {
        reader
            .query(&format!("select from {table}"), &[])
            .unwrap_or_else(|error| panic!("{table}: {error:?}"));
    }
    let health = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(6);
    assert!(health.stdout.contains("commits wait for a synchronous standby"), "{health:?}");
    await_standby(&cluster, "");
    work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(0);
}

#[test]
fn a_returning_standby_ends_the_wait() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("back");
    let work = Workplace::new();
    let dump = generated(30, 3, 0.0);
    work.write("dump.ndjson", &dump);
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    await_standby(&cluster, "gone");
    let mut running = load(&work, &database).env("DATABASE_AWAY_TIMEOUT", "1min").start();
    wait_for_commit(&mut running, &cluster);
    await_standby(&cluster, "");
    let ended = running.finish().expect(0);
    ended.summary().check(&[("events", 30), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn a_cancelled_wait_for_a_standby_is_no_success() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("cancelled");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(30, 3, 0.0));
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    await_standby(&cluster, "gone");
    let mut running = load(&work, &database).start();
    let mut admin = cluster.admin();
    while !running.has_ended() {
        let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
        admin.batch_execute(cancel).expect("a cancel");
        std::thread::sleep(Duration::from_millis(100));
    }
    running.finish().expect(4).says(&["PostgreSQL warning: ", "has already committed locally"]);
    await_standby(&cluster, "");
}

#[test]
fn a_stopped_wait_for_a_standby_is_not_called_available() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("stopped");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(30, 3, 0.0));
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    await_standby(&cluster, "gone");
    let log = work.path().join("log");
    let stderr = File::create(&log).expect("a log");
    let program = load(&work, &database).env("DATABASE_AWAY_TIMEOUT", "1min").stderr(stderr.into());
    let mut running = program.env("KILLS_DRAIN_TIMEOUT", "100").start();
    let logged = || fs::read_to_string(&log).expect("the log");
    eventually(Duration::from_secs(30), "the log names the wait", || {
        assert!(!running.has_ended(), "it waits");
        logged().contains("database waiting for a synchronous standby: ")
    });
    running.signal(Signal::SIGTERM);
    running.finish().expect(143);
    // The stop request cancels the wait, and the standby is still missing.
    assert!(logged().contains("no longer waiting for a synchronous standby after "), "{}", logged());
    assert!(!logged().contains("available again"), "{}", logged());
    await_standby(&cluster, "");
}

#[test]
fn an_index_build_does_not_wait_for_a_standby() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("index");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(30, 3, 0.0));
    work.load(&database, &["dump.ndjson"]).expect(0);
    let mut holder = database.client();
    holder.batch_execute("drop index kill_event_newest").expect("a drop");
    holder.batch_execute("begin; lock table kill_event in row exclusive mode").expect("a lock");
    let program = load(&work, &database).env("DATABASE_RETRY_ATTEMPTS", "100");
    let ended = meanwhile(program, |ended| {
        let building =
            "select from pg_stat_activity where wait_event_type = 'Lock' and query like 'CREATE INDEX%'";
        let mut admin = cluster.admin();
        eventually(Duration::from_mins(1), "the index waits for the table", || {
            ended() || !admin.query(building, &[]).expect("rows").is_empty()
        });
        await_standby(&cluster, "gone");
        holder.batch_execute("commit").expect("an end");
    });
    ended.expect(0);
    let built = "select from pg_index where indexrelid = 'kill_event_newest'::regclass and indisvalid";
    assert_eq!(database.client().query(built, &[]).expect("an index").len(), 1);
    await_standby(&cluster, "");
}

/// The URL of a database on two servers.
fn url_of_both(primary: &Cluster, standby: &Cluster, database: &Database<'_>) -> String {
    let directories =
        [primary, standby].map(|cluster| cluster.directory().display().to_string().replace('/', "%2F"));
    format!(
        "postgresql:///{}?host={},{}&port={},{}&user=aegis",
        database.name(),
        directories[0],
        directories[1],
        primary.port(),
        standby.port()
    )
}

#[test]
fn a_failover_that_lost_segments_is_reported() {
    let primary = Cluster::private(&[]);
    let database = primary.database("failover");
    let work = Workplace::new();
    let dump = generated(800, 3, 0.0);
    work.write("dump.ndjson", &dump);
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let standby = Cluster::standby_of(&primary);
    let url = url_of_both(&primary, &standby, &database);
    let program = in_small_steps(&work, &database).env("DATABASE_URL", &url);
    let ended = meanwhile(program, |ended| {
        steps(&database, 20, ended);
        standby.stop();
        steps(&database, 20, ended);
        assert!(!ended(), "there is more to load");
        primary.stop_immediate();
        standby.start();
        standby.promote();
    });
    let ended = ended.expect(4);
    assert!(ended.stdout.contains("are missing in the database now"), "{}", ended.stdout);
    let summary = ended.summary();
    assert!(summary.count("unfinished") > 0, "{summary:?}");
    let again = in_small_steps(&work, &database).env("DATABASE_URL", &url).expect(0);
    again.summary().check(&[("inserted", summary.count("unfinished")), ("unfinished", 0)]);
    let mut client =
        postgres::Client::connect(&standby.url(database.name()), postgres::NoTls).expect("a client");
    let count: i64 = client.query_one("select count(*) from kill_event", &[]).expect("a count").get(0);
    assert_eq!(u64::try_from(count), Ok(expect(&dump, Nul::Reject).loaded()));
    // The server is gone, so the drop finds no database.
    assert_eq!(segments(&database), 0);
}

/// The counts of a stopped load are those of the server that it ends with.
#[test]
fn a_failover_that_lost_segments_of_a_stopped_load_is_reported() {
    let primary = Cluster::private(&[]);
    let database = primary.database("stopped");
    let work = Workplace::new();
    let dump = generated(800, 3, 0.0);
    work.write("dump.ndjson", &dump);
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let standby = Cluster::standby_of(&primary);
    let url = url_of_both(&primary, &standby, &database);
    let load = || in_small_steps(&work, &database).env("DATABASE_URL", &url);
    let running = load().env("KILLS_DRAIN_TIMEOUT", "1min").start();
    steps(&database, 20, &|| false);
    standby.stop();
    steps(&database, 20, &|| false);
    primary.stop_immediate();
    running.signal(Signal::SIGTERM);
    standby.start();
    standby.promote();
    let ended = running.finish().expect(4);
    assert!(ended.stdout.contains("are missing in the database now"), "{}", ended.stdout);
    let summary = ended.summary();
    assert!(summary.count("unfinished") > 0, "{summary:?}");
    let mut client =
        postgres::Client::connect(&standby.url(database.name()), postgres::NoTls).expect("a client");
    let mut stored =
        || -> i64 { client.query_one("select count(*) from kill_event", &[]).expect("a count").get(0) };
    assert_eq!(u64::try_from(stored()), Ok(summary.count("inserted")));
    load().expect(0).summary().check(&[("unfinished", 0)]);
    assert_eq!(u64::try_from(stored()), Ok(expect(&dump, Nul::Reject).loaded()));
}

/// The ledger then has the rows of the first load again.
#[test]
fn a_failover_that_lost_rewritten_segments_is_reported() {
    let primary = Cluster::private(&[]);
    let database = primary.database("failover");
    let work = Workplace::new();
    let dump = generated(800, 3, 0.0);
    work.write("dump.ndjson", &dump);
    in_small_steps(&work, &database).expect(0);
    database.client().batch_execute("truncate kill_event, kill_player, kill_loot").expect("empty tables");
    let standby = Cluster::standby_of(&primary);
    let url = url_of_both(&primary, &standby, &database);
    let again = || in_small_steps(&work, &database).env("DATABASE_URL", &url).args(&["--force"]);
    let ended = meanwhile(again(), |ended| {
        let mut client = database.client();
        let mut wait_for = |count: i64| {
            eventually(Duration::from_mins(1), "the load gets on", || {
                let stored: i64 =
                    client.query_one("select count(*) from kill_event", &[]).expect("a count").get(0);
                ended() || stored >= count
            });
        };
        wait_for(100);
        standby.stop();
        wait_for(300);
        assert!(!ended(), "there is more to load");
        primary.stop_immediate();
        standby.start();
        standby.promote();
    });
    let summary = ended.expect(4).summary();
    let mut client =
        postgres::Client::connect(&standby.url(database.name()), postgres::NoTls).expect("a client");
    let mut stored =
        || -> i64 { client.query_one("select count(*) from kill_event", &[]).expect("a count").get(0) };
    let (inserted, unfinished) = (summary.count("inserted"), summary.count("unfinished"));
    assert_eq!((u64::try_from(stored()), inserted + unfinished), (Ok(inserted), 800), "{summary:?}");
    assert!(unfinished > 0);
    again().expect(0).summary().check(&[("inserted", unfinished), ("unfinished", 0)]);
    assert_eq!(stored(), 800);
}

#[test]
fn asynchronous_commit_set_during_a_load_loses_nothing_in_a_crash() {
    // The WAL writer would write asynchronous commits before the crash.
    let cluster = Cluster::private(&[("wal_writer_delay", "10s"), ("wal_writer_flush_after", "1GB")]);
    let database = cluster.database("lazy");
    let work = Workplace::new();
    let dump = generated(600, 3, 0.0);
    work.write("dump.ndjson", &dump);
    let ended = meanwhile(in_small_steps(&work, &database), |ended| {
        steps(&database, 10, ended);
        let mut admin = cluster.admin();
        admin.batch_execute("alter system set synchronous_commit = off").expect("a setting");
        admin.batch_execute("select pg_reload_conf()").expect("a reload");
        steps(&database, 10, ended);
        assert!(!ended(), "there is more to load");
        cluster.stop_immediate();
        cluster.start();
    });
    ended.expect(0).summary().check(&[("unfinished", 0)]);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}
