//! The tests' control of server sessions: each effect happens and is undone.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, NoTls};

use crate::support::backends::{Frozen, ReadOnly, backends, occupy, terminate};
use crate::support::cluster::{Cluster, Database};
use crate::support::eventually;

/// A session with the program's application name.
fn session(database: &Database<'_>) -> Client {
    let url = format!("{}&application_name=aegis-kills%20test", database.url());
    Client::connect(&url, NoTls).expect("a session")
}

#[test]
fn only_sessions_of_the_program_are_ended() {
    let database = Cluster::shared().database("terminate");
    let mut others = database.client();
    let mut sessions: Vec<Client> = (0..3).map(|_| session(&database)).collect();
    assert_eq!(backends(&database).len(), 3);
    let mut random = fastrand::Rng::with_seed(1);
    assert_eq!(terminate(&mut database.client(), 2, &mut random), 2);
    eventually(Duration::from_secs(10), "two sessions have gone", || backends(&database).len() == 1);
    let alive = sessions.iter_mut().filter_map(|session| session.batch_execute("select 1").ok()).count();
    assert_eq!(alive, 1);
    others.batch_execute("select 1").expect("it is no session of the program's");
    assert_eq!(terminate(&mut database.client(), 2, &mut random), 1);
    assert_eq!(terminate(&mut Cluster::shared().database("empty").client(), 2, &mut random), 0);
}

#[test]
fn a_frozen_session_is_silent_until_it_resumes() {
    let database = Cluster::shared().database("frozen");
    let mut client = session(&database);
    let frozen = Frozen::new(backends(&database)[0]);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(client.batch_execute("select 1").is_ok()));
    assert!(receiver.recv_timeout(Duration::from_millis(300)).is_err());
    drop(frozen);
    assert!(receiver.recv_timeout(Duration::from_mins(1)).expect("an answer"));
}

#[test]
fn a_server_can_be_made_full_and_read_only() {
    let cluster = Cluster::private(&[("max_connections", "8")]);
    let database = cluster.database("full");
    let mut client = database.client();
    let mut sessions = Vec::new();
    // The session that created the database may still be ending.
    eventually(Duration::from_secs(10), "all room is taken", || {
        sessions.extend(occupy(&cluster));
        sessions.len() == 7
    });
    let error = Client::connect(&database.url(), NoTls).err().expect("there is no room");
    assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    sessions.clear();
    eventually(Duration::from_secs(10), "there is room", || Client::connect(&database.url(), NoTls).is_ok());

    let create = "create table t ()";
    let read_only = ReadOnly::new(&cluster);
    let mut refusal = None;
    eventually(Duration::from_secs(10), "an open session has heard of it", || {
        refusal = client.batch_execute(&format!("{create}; drop table t")).err();
        refusal.is_some()
    });
    let code = refusal.and_then(|error| error.code().cloned());
    assert_eq!(code, Some(SqlState::READ_ONLY_SQL_TRANSACTION));
    drop(read_only);
    database.client().batch_execute(create).expect("it can be written again");
}
