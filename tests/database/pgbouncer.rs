//! `load` behind a PgBouncer in transaction mode, which gives each transaction any of its backends.

use std::thread;
use std::time::Duration;

use postgres::{Client, NoTls};

use crate::load::deferred_indexes::{INDEXES, indexes};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::pgbouncer::{BACKENDS, PgBouncer};
use crate::support::program::{Program, Workplace, assert_loaded, assert_tables};

fn load(work: &Workplace, url: &str, args: &[&str]) -> Program {
    let program = work.program(&["load", "--json"]).args(args).env("DATABASE_URL", url);
    program.segment_bytes(64 << 10).workers(4)
}

/// Queries each backend of the pooler.
fn each_backend(url: &str, sql: &str) -> Vec<Vec<String>> {
    let connect = |_| Client::connect(url, NoTls).expect("the pooler");
    let mut clients: Vec<Client> = (0..BACKENDS).map(connect).collect();
    for client in &mut clients {
        client.batch_execute("begin").expect("a backend of its own");
    }
    let ask = |client: &mut Client| {
        let answers = client.simple_query(sql).expect("an answer");
        let texts = answers.iter().filter_map(|answer| match answer {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        let texts = texts.collect();
        client.batch_execute("commit").expect("an end");
        texts
    };
    clients.iter_mut().map(ask).collect()
}

/// Prepares statements with the names that the client library uses, and leaves them in the backends.
fn leave_names(url: &str) {
    let names: Vec<String> = (0..200).map(|number| format!("prepare s{number} as select 1")).collect();
    each_backend(url, &names.join(";"));
}

fn check(database: &Database<'_>, url: &str) {
    let other = each_backend(url, "show enable_seqscan; show jit; show idle_in_transaction_session_timeout");
    assert_eq!(other, vec![["on", "on", "0"]; 2], "nobody else has our settings");
    // PgBouncer 1.21 and later keeps prepared statements under names of its own, which do not collide.
    let left = each_backend(url, "select name from pg_prepared_statements where name !~ '^PGBOUNCER_'");
    assert!(left.iter().flatten().all(String::is_empty), "{left:?}");
    let claims = "select count(*) from pg_locks where locktype = 'advisory'
                  and database = (select oid from pg_database where datname = current_database())";
    let count: i64 = database.client().query_one(claims, &[]).expect("a row").get(0);
    assert_eq!(count, 0, "a lock would stay with a backend that others use");
    let sessions = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    // A backend whose client left in the middle of a transaction is replaced, and ends a little later.
    eventually(Duration::from_secs(10), "only the pooler's backends are left", || {
        let count: i64 = database.client().query_one(sessions, &[]).expect("a row").get(0);
        count <= i64::from(BACKENDS)
    });
}

#[test]
fn a_load_works_behind_a_pooler() {
    let cluster = Cluster::shared();
    let Some(pooler) = PgBouncer::before(cluster) else { return };
    let database = cluster.database("pooled");
    let (work, url) = (Workplace::new(), pooler.url(&database));
    leave_names(&url);
    let dump = generated(300, 3, 0.05);
    let run = load(&work, &url, &[]).stdin(dump.clone()).run();
    assert!([0, 3].contains(&run.code), "{}", run.stderr);
    assert_loaded(&database, &dump, &run);
    assert_eq!(indexes(&database), INDEXES);
    check(&database, &url);
    leave_names(&url);
    let verified = work.program(&["verify"]).env("DATABASE_URL", &url).stdin(dump.clone()).run();
    // Rejects are missing.
    assert_eq!(verified.code, if run.code == 3 { 6 } else { 0 }, "{}", verified.stdout);
    let run = load(&work, &url, &["--on-conflict", "update", "-q"]).stdin(dump.clone()).run();
    assert!([0, 3].contains(&run.code), "{}", run.stderr);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    check(&database, &url);
}

#[test]
fn two_loads_share_one_pooler() {
    let cluster = Cluster::shared();
    let Some(pooler) = PgBouncer::before(cluster) else { return };
    let database = cluster.database("pooled");
    let (work, url) = (Workplace::new(), pooler.url(&database));
    let dump = generated(300, 4, 0.0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| load(&work, &url, &[]).stdin(dump.clone()).expect(0));
        }
    });
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    assert_eq!(indexes(&database), INDEXES);
    check(&database, &url);
    let run: String = database
        .client()
        .query_one("select string_agg(status, ' ') from kill_load_run", &[])
        .expect("a row")
        .get(0);
    assert_eq!(run, "complete complete");
}
