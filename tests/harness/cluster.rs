//! The tests' own PostgreSQL.

use std::path::Path;
use std::time::Duration;

use postgres::{Client, NoTls};

use crate::support::cluster::Cluster;
use crate::support::{eventually, is_alive};

#[test]
fn databases_of_the_shared_cluster_are_separate_and_are_dropped() {
    let cluster = Cluster::shared();
    let (one, two) = (cluster.database("Same hint!"), cluster.database("Same hint!"));
    one.client().batch_execute("create table t ()").expect("a table");
    let exists = "select to_regclass('t') is not null";
    let asked = |client: &mut Client| client.query_one(exists, &[]).expect("an answer").get::<_, bool>(0);
    assert!(asked(&mut Client::connect(&one.tcp_url(), NoTls).expect("by TCP")));
    assert!(!asked(&mut two.client()));

    let url = one.url();
    let open = one.client();
    drop(one);
    assert!(Client::connect(&url, NoTls).is_err(), "the database is gone, though a session was open");
    drop(open);
}

#[test]
fn a_private_cluster_can_be_stopped_killed_and_started() {
    let cluster = Cluster::private(&[("max_connections", "17")]);
    let database = cluster.database("private");
    let mut client = database.client();
    let setting: String = client.query_one("show max_connections", &[]).expect("an answer").get(0);
    assert_eq!(setting, "17");
    client.batch_execute("create table t (n int); insert into t values (1)").expect("a row");

    for name in ["stop", "stop_immediate", "kill9"] {
        match name {
            "stop" => cluster.stop(),
            "stop_immediate" => cluster.stop_immediate(),
            _ => cluster.kill9(),
        }
        assert!(Client::connect(&database.url(), NoTls).is_err(), "down after {name}");
        cluster.start();
        let rows: i64 = database.client().query_one("select count(*) from t", &[]).expect("an answer").get(0);
        assert_eq!(rows, 1, "after {name}");
    }
    cluster.restart();
    assert!(database.client().is_valid(Duration::from_secs(10)).is_ok());
}

#[test]
fn a_standby_receives_later_commits_and_can_be_promoted() {
    let primary = Cluster::private(&[]);
    let database = primary.database("copied");
    database.client().batch_execute("create table t (n int); insert into t values (1)").expect("a row");
    let standby = Cluster::standby_of(&primary);
    database.client().batch_execute("insert into t values (2)").expect("a later row");
    let connect = || Client::connect(&standby.url(database.name()), NoTls).expect("a connection");
    let rows = || -> i64 { connect().query_one("select count(*) from t", &[]).expect("an answer").get(0) };
    eventually(Duration::from_secs(30), "the later row arrives", || rows() == 2);

    primary.stop_immediate();
    standby.promote();
    connect().batch_execute("insert into t values (3)").expect("a row on the new primary");
    assert_eq!(rows(), 3);
}

#[test]
fn a_dropped_cluster_leaves_nothing() {
    let gone = |pid: i32, directory: &Path| {
        eventually(Duration::from_secs(10), "server and directory are gone", || {
            !is_alive(pid) && !directory.exists()
        });
    };
    let cluster = Cluster::private(&[]);
    let (pid, directory) = (cluster.pid().expect("running"), cluster.directory().to_path_buf());
    assert!(is_alive(pid) && directory.exists());
    drop(cluster);
    gone(pid, &directory);

    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let cluster = Cluster::private(&[]);
        sender
            .send((cluster.pid().expect("running"), cluster.directory().to_path_buf()))
            .expect("a receiver");
        std::panic::resume_unwind(Box::new("as a failed test does"));
    });
    assert!(panicked.join().is_err());
    let (pid, directory) = receiver.recv().expect("the cluster");
    gone(pid, &directory);
}
