//! Tables partitioned by `docs/partitions.sql`: the same rows, a clear error for an event without a partition, and the
//! oldest partition can be dropped.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::load::deferred_indexes::{INDEXES, begin, indexes, lines, wait_for_events};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{self, generated, join, version};
use crate::support::oracle::{Nul, expect, merge};
use crate::support::process::Supervised as _;
use crate::support::program::{Workplace, assert_loaded, assert_tables};
use crate::support::samples;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/partitions.sql");

/// Runs the file unchanged. Returns whether it succeeded, and its output.
fn run_file(database: &Database<'_>, variables: &[&str]) -> (bool, String) {
    let variables = variables.iter().map(|variable| format!("--set={variable}"));
    let mut psql = Command::new("psql");
    let psql =
        psql.args(["-X", "-q", &database.url(), "-f", FILE]).args(variables).output_in_time().expect("psql");
    assert!(psql.stdout.is_empty(), "{psql:?}");
    (psql.status.success(), String::from_utf8_lossy(&psql.stderr).into_owned())
}

#[track_caller]
fn partition(database: &Database<'_>, variables: &[&str]) {
    let (is_done, said) = run_file(database, variables);
    assert!(is_done, "{said}");
}

/// Creates the tables, partitions them, and recreates their indexes.
fn make(work: &Workplace, database: &Database<'_>, variables: &[&str]) {
    let apply = || work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    apply();
    partition(database, variables);
    apply();
}

/// The partitions of a table, oldest first.
fn partitions(database: &Database<'_>, table: &str) -> Vec<String> {
    let sql = "select relname::text from pg_inherits join pg_class on oid = inhrelid
               where inhparent = $1::text::regclass order by relname <> $1::text || '_first', relname";
    database.client().query(sql, &[&table]).expect("rows").iter().map(|row| row.get(0)).collect()
}

/// The secondary indexes of the partitioned tables. Each has a valid part in each partition.
fn whole_indexes(database: &Database<'_>) -> Vec<String> {
    indexes(database).into_iter().filter(|name| INDEXES.contains(&name.as_str())).collect()
}

/// Loads the dump in each way, and compares the tables with the oracle.
fn check(dump: &[u8], variables: &[&str], used_min: i64) {
    let (work, database) = (Workplace::new(), Cluster::shared().database("partitioned"));
    make(&work, &database, variables);
    let load = |args: &[&str]| work.load(&database, args).segment_bytes(128 << 10).stdin(dump);
    let first = load(&[]).expect(0);
    let expected = assert_loaded(&database, dump, &first);
    assert_eq!(whole_indexes(&database), INDEXES);
    let used = "select count(distinct tableoid) from kill_player";
    let used: i64 = database.client().query_one(used, &[]).expect("a row").get(0);
    assert!(used >= used_min, "{used} partitions hold something");

    let segments = first.summary().count("segments");
    load(&[]).expect(0).summary().check(&[("segments_skipped", segments), ("inserted", 0)]);
    load(&["--force"]).expect(0).summary().check(&[("duplicate", expected.events), ("inserted", 0)]);
    load(&["--on-conflict", "update"]).expect(0).summary().check(&[("inserted", 0)]);
    let on_database = |args: &[&str]| work.program(args).args(&["--database-url", &database.url()]);
    on_database(&["verify"]).stdin(dump).expect(0);
    let health = on_database(&["health", "--json"]).expect(0);
    assert!(!health.stdout.contains("index"), "{}", health.stdout);
    assert_eq!(
        partitions(&database, "kill_player"),
        partitions(&database, "kill_event")
            .iter()
            .map(|name| name.replace("event", "player"))
            .collect::<Vec<_>>()
    );
}

#[test]
fn real_events_are_stored_in_partitions() {
    check(&samples::sample_events(), &["from=0", "ids=100000000", "ahead=130"], 2);
}

#[test]
fn generated_events_are_stored_in_partitions() {
    check(&generated(500, 3, 5.0), &["from=1300000000", "ids=500", "ahead=6"], 5);
}

#[test]
fn filled_tables_become_the_first_partition() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("attached"));
    let dump = generated(400, 5, 0.0);
    let all = dumps::lines(&dump);
    let old = join(&all[..250]);
    work.load(&database, &[]).stdin(old.clone()).expect(0);
    partition(&database, &["ids=300", "ahead=4"]);
    // The next load builds the index of the partitioned table from those of the partitions, without an option.
    let run = work.load(&database, &[]).segment_bytes(64 << 10).stdin(dump.clone()).expect(0);
    run.summary().check(&[("inserted", 150), ("duplicate", 250)]);
    assert_eq!(whole_indexes(&database), INDEXES);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    let made = partitions(&database, "kill_event").len();
    partition(&database, &["ids=300", "ahead=4"]);
    assert!(partitions(&database, "kill_event").len() > made, "there is room ahead again");
    let loot = "select count(*) from pg_constraint where contype = 'p' and conrelid::regclass::text like 'kill_loot%'";
    let keys: i64 = database.client().query_one(loot, &[]).expect("a row").get(0);
    assert_eq!(usize::try_from(keys), Ok(partitions(&database, "kill_loot").len() + 1));
}

#[test]
fn a_running_load_continues_in_new_partitions() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("meanwhile"));
    let mut load = begin(&work, &database, 1..21, 20);
    partition(&database, &["ids=30", "ahead=2"]);
    load.feed(&lines(21..61));
    wait_for_events(&database, 60);
    load.finish_after_input().expect(0).summary().check(&[("inserted", 60), ("retries", 0)]);
    assert_eq!(whole_indexes(&database), INDEXES);
    assert_tables(&database, "americas", &expect(&lines(1..61), Nul::Reject).tables);
}

#[test]
fn a_changed_event_is_updated_in_its_partition() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("rewritten"));
    make(&work, &database, &["from=0", "ids=10", "ahead=6"]);
    let stored: Vec<String> = (1..=40).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&stored)).expect(0).summary().check(&[("inserted", 40)]);
    let news: Vec<String> = (1..=50).map(|id| version(id, if id % 2 == 0 { 1 } else { 2 })).collect();
    let update = || work.load(&database, &["--on-conflict", "update"]).stdin(join(&news)).expect(0);
    update().summary().check(&[("inserted", 10), ("updated", 20), ("duplicate", 20)]);
    assert_tables(&database, "americas", &expect(&join(&news), Nul::Reject).tables);
    update().summary().check(&[("updated", 0), ("duplicate", 50)]);
}

#[test]
fn two_loads_store_the_same_events_once_in_partitions() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("two"));
    make(&work, &database, &["from=0", "ids=20", "ahead=20"]);
    // Different segments, so the ledger skips none of the other load's events.
    let dump = join(&(1..=300).map(|id| version(id, id)).collect::<Vec<_>>());
    thread::scope(|scope| {
        for bytes in [4 << 10, 7 << 10] {
            let load = work.load(&database, &[]).segment_bytes(bytes).stdin(dump.clone());
            scope.spawn(|| load.expect(0));
        }
    });
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn an_event_without_a_partition_is_rejected_until_one_exists() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("room"));
    make(&work, &database, &["from=1000", "ids=10", "ahead=2"]);
    let load = |args: &[&str], code| work.load(&database, args).stdin(lines(1000..1030)).expect(code);
    let run = load(&[], 3);
    run.summary().check(&[("inserted", 20), ("rejected", 10)]);
    for reject in run.rejects() {
        assert!(reject.line() > 20, "{reject:?}");
        assert_eq!(reject.text("sqlstate"), Some("23514"), "{reject:?}");
        let reason = reject.text("reason").expect("a reason");
        assert!(reason.contains("no partition of relation \"kill_event\" found for row"), "{reason}");
    }
    assert_tables(&database, "americas", &expect(&lines(1000..1020), Nul::Reject).tables);
    partition(&database, &["ids=10", "ahead=2"]);
    load(&["--force"], 0).summary().check(&[("inserted", 10), ("duplicate", 20)]);
    assert_tables(&database, "americas", &expect(&lines(1000..1030), Nul::Reject).tables);
}

#[test]
fn the_oldest_partition_can_be_dropped() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("drop"));
    make(&work, &database, &["from=1000", "ids=10", "ahead=3"]);
    work.load(&database, &[]).stdin(lines(1000..1030)).expect(0);
    database.client().batch_execute(&documented_drop().replace("1300000000", "1000")).expect("dropped");
    let rest = expect(&lines(1010..1030), Nul::Reject).tables;
    assert_tables(&database, "americas", &rest);
    // A load restores them only on request, and reports it.
    let load = |args: &[&str]| work.load(&database, args).stdin(lines(1000..1030));
    load(&[]).expect(0).summary().check(&[("already_loaded", 30)]);
    load(&["--force"]).expect(3).summary().check(&[("duplicate", 20), ("rejected", 10)]);
    let verify = work.program(&["verify", "--json", "--database-url", &database.url()]);
    let verify = verify.stdin(lines(1000..1030)).expect(6);
    assert!(verify.stdout.contains("\"missing\":10"), "{}", verify.stdout);
    let newer = work.load(&database, &[]).stdin(lines(1030..1035)).expect(3);
    newer.summary().check(&[("rejected", 5)]);
    partition(&database, &["ids=10"]);
    work.load(&database, &["--force"]).stdin(lines(1030..1035)).expect(0);
    let parts = vec![expect(&lines(1010..1030), Nul::Reject), expect(&lines(1030..1035), Nul::Reject)];
    assert_tables(&database, "americas", &merge(parts).tables);
}

/// The statements of the page that drop a month.
fn documented_drop() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md");
    let page = fs::read_to_string(page).expect("the page");
    let blocks = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|sql| sql.contains("DROP TABLE")).expect("a block that drops").to_owned()
}

#[test]
fn a_failed_partitioning_explains_and_changes_nothing() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("refused"));
    work.program(&["schema", "apply", "--schema", "one \"two", "--database-url", &database.url()]).expect(0);
    let (is_done, said) = run_file(&database, &[]);
    assert!(!is_done && said.contains("\"public.kill_event\" does not exist"), "{said}");
    let (is_done, said) = run_file(&database, &["schema=one \"two"]);
    assert!(!is_done && said.contains("set the first future id"), "{said}");
    partition(&database, &["schema=one \"two", "from=1"]);
    // No event is stored yet, so the existing partitions suffice.
    partition(&database, &["schema=one \"two"]);
    let load = ["--schema", "one \"two"];
    work.load(&database, &load).stdin(lines(1..20)).expect(0).summary().check(&[("inserted", 19)]);
}

/// Roles that can create objects in the schema do not gain the owner's privileges.
#[test]
fn partitioning_runs_no_planted_code() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("planted_partitions"));
    work.load(&database, &[]).stdin(lines(1..20)).expect(0);
    let body = "language plpgsql as $$ begin raise exception 'planted'; end $$";
    for sql in [
        "create function public.format(text, text) returns text #",
        "create function public.format(text, text, text) returns text #",
        "create function public.format(text, regclass, text) returns text #",
        "create function public.unnest(public.albion_server[]) returns setof public.albion_server #",
        "create function public.same(public.albion_server, public.albion_server) returns boolean #;
         create operator public.= (function = public.same, leftarg = public.albion_server, rightarg = public.albion_server)",
        "create function public.joined(text, bigint) returns text #;
         create operator public.|| (function = public.joined, leftarg = text, rightarg = bigint)",
    ] {
        database.client().batch_execute(&sql.replace('#', body)).expect(sql);
    }
    partition(&database, &[]);
    work.load(&database, &["--force"]).stdin(lines(1..30)).expect(0).summary().check(&[("inserted", 10)]);
}
