//! The connections that a load opens, and its round trips.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines};
use crate::support::oracle::Layout;
use crate::support::program::{Ended, Workplace};
use crate::support::proxy::{Proxy, Traffic};

/// Segments of about three generated events.
const SEGMENT_BYTES: usize = 48 << 10;

/// Loads into existing tables with rows. Returns the traffic of the load.
fn traffic(work: &Workplace, database: &Database<'_>, dump: &[u8]) -> (Ended, Traffic) {
    let proxy = Proxy::to(Cluster::shared().port());
    let program = work.load(database, &[]).env("DATABASE_URL", &proxy.url(database)).workers(1);
    let run = program.segment_bytes(SEGMENT_BYTES).stdin(dump).expect(0);
    (run, proxy.traffic())
}

#[test]
fn a_small_load_needs_few_connections_and_round_trips() {
    for layout in Layout::ALL.map(Layout::name) {
        let database = Cluster::shared().database("trips");
        let work = Workplace::new();
        let args = ["--layout", layout];
        let dump = generated(700, 1, 0.0);
        let (before, after) = dump.split_at(join(&lines(&dump)[..650]).len());
        work.load(&database, &args).stdin(before).expect(0);
        let proxy = Proxy::to(Cluster::shared().port());
        let program = work.load(&database, &args).env("DATABASE_URL", &proxy.url(&database));
        program.stdin(after).expect(0).summary().check(&[("inserted", 50), ("segments", 1)]);
        let Traffic { sessions, turns } = proxy.traffic();
        assert!(sessions <= 3 && turns <= 30, "{layout}: {sessions} sessions, {turns} turns");
    }
}

#[test]
fn a_segment_needs_few_round_trips() {
    let database = Cluster::shared().database("trips");
    let work = Workplace::new();
    // Few in comparison with the stored ones, so that neither load analyzes the tables.
    let dump = generated(3_190, 1, 0.0);
    let events = lines(&dump);
    work.load(&database, &[]).stdin(join(&events[..3_000])).expect(0);
    let (few, few_traffic) = traffic(&work, &database, &join(&events[3_000..3_030]));
    let (many, many_traffic) = traffic(&work, &database, &join(&events[3_030..]));
    let segments = many.summary().count("segments") - few.summary().count("segments");
    let turns = many_traffic.turns - few_traffic.turns;
    assert!(segments >= 20, "{segments}");
    // Its claim, the start of its transaction with all look-ups, two per COPY into three tables, and its COMMIT. A health
    // check on the way, or an answer that comes in two parts, makes some more.
    assert!(turns <= 9 * segments + 10, "{turns} round trips for {segments} segments");
}
