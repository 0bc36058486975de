//! A disk that is full for a time.

use std::thread;
use std::time::Duration;

use postgres::error::SqlState;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::not_tried;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};
use crate::support::progress::{in_small_steps, meanwhile, steps};

/// A cluster with a disk of this many MiB in the directory `disk`. None if this process cannot mount one.
pub(crate) fn on_disk(work: &Workplace, mebibytes: u32) -> Option<Cluster> {
    let path = work.path().join("disk");
    std::fs::create_dir(&path).expect("a directory");
    Cluster::with_disk(&path, mebibytes)
}

/// Moves a database without sessions to the disk of [`on_disk`].
pub(crate) fn use_disk(cluster: &Cluster, database: &Database<'_>, work: &Workplace) {
    let mut admin = cluster.admin();
    for sql in [
        format!("create tablespace small location '{}'", work.path().join("disk").display()),
        format!("alter database {} set tablespace small", database.name()),
    ] {
        admin.batch_execute(&sql).expect("a tablespace");
    }
}

/// Fills the disk by the table `filler`.
pub(crate) fn fill(database: &Database<'_>) {
    let mut client = database.client();
    client.batch_execute("create unlogged table filler (page text)").expect("a table");
    client.batch_execute("alter table filler alter page set storage plain").expect("a setting");
    for rows in [1000, 100, 10, 1] {
        let insert = format!("insert into filler select repeat('x', 7000) from generate_series(1, {rows})");
        let full = loop {
            if let Err(error) = client.batch_execute(&insert) {
                break error;
            }
        };
        assert_eq!(full.code(), Some(&SqlState::DISK_FULL), "{full:?}");
    }
}

#[test]
fn a_load_survives_a_temporarily_full_server_disk() {
    let work = Workplace::new();
    let Some(cluster) = on_disk(&work, 64) else {
        not_tried("a full disk of the server", "only root may mount one");
        return;
    };
    let database = cluster.database("full");
    use_disk(&cluster, &database, &work);
    let dump = generated(900, 91, 5.0);
    work.write("dump.ndjson", &dump);
    let ended = meanwhile(in_small_steps(&work, &database), |ended| {
        steps(&database, 20, ended);
        fill(&database);
        // The duration of the fault, not a wait for a condition.
        thread::sleep(Duration::from_secs(2));
        assert!(!ended(), "there is more to load");
        database.client().batch_execute("drop table filler").expect("room");
    });
    ended.expect(0).says(&["database out of disk space", "No space left on device"]);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}
