//! The progress of a load, seen from the database, and loads for fault tests.

use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use postgres::{Client, NoTls};

use super::cluster::Database;
use super::eventually;
use super::program::{Ended, Program, Workplace};

/// Longer than a load needs for its next segment on a slow machine.
const STEP_MAX: Duration = Duration::from_mins(1);

/// A load of `dump.ndjson` in many segments, with short delays between retries.
pub(crate) fn in_small_steps(work: &Workplace, database: &Database<'_>) -> Program {
    work.load(database, &["dump.ndjson"])
        .segment_bytes(32 << 10)
        .env("DATABASE_RETRY_BASE", "20")
        .env("DATABASE_CONNECTION_TIMEOUT", "2s")
        .env("DATABASE_AWAY_TIMEOUT", "1min")
}

/// The number of segments in the ledger, or zero without a server or a table.
pub(crate) fn segments(database: &Database<'_>) -> i64 {
    let count = |mut client: Client| client.query_one("select count(*) from kill_load_segment", &[]);
    let row = Client::connect(&database.url(), NoTls).and_then(count);
    row.map_or(0, |row| row.get(0))
}

/// Runs a load while `disturb` works, which can ask whether the load has ended.
pub(crate) fn meanwhile(program: Program, disturb: impl FnOnce(&dyn Fn() -> bool)) -> Ended {
    thread::scope(|scope| {
        let run: ScopedJoinHandle<'_, Ended> = scope.spawn(|| program.run());
        disturb(&|| run.is_finished());
        run.join().expect("no panic")
    })
}

/// Waits until a load has stored this many more segments, or has ended.
#[track_caller]
pub(crate) fn steps(database: &Database<'_>, more: i64, ended: &dyn Fn() -> bool) {
    let begin = segments(database);
    eventually(STEP_MAX, "the load gets on", || ended() || segments(database) >= begin + more);
}
