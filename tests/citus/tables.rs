//! Tables on Citus: the same rows as on one server, for every kind of load and for concurrent loads.

use std::collections::BTreeMap;
use std::thread;

use crate::support::citus::Citus;
use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, join, lines};
use crate::support::oracle::{self, Nul, assert_same, expect, expect_in};
use crate::support::program::Workplace;
use crate::support::samples::sample_events;

/// Real events, generated events, and duplicates of some.
fn dump() -> Vec<u8> {
    [sample_events(), generated(400, 11, 5.0), generated(50, 11, 0.0)].concat()
}

#[test]
fn citus_stores_the_same_rows_as_one_server() {
    let Some(citus) = Citus::get("a load of each layout") else { return };
    let (work, database) = (Workplace::new(), Cluster::shared().database("beside_citus"));
    let dump = dump();
    work.write("dump.ndjson", &dump);
    for tables in oracle::Layout::ALL {
        let layout = tables.name();
        citus.distribute(&work, layout);
        let args = ["--layout", layout, "dump.ndjson"];
        let one = work.load(&database, &args).segment_bytes(64 << 10).run();
        let many = citus.load(&work, &args).segment_bytes(64 << 10).run();
        assert_eq!((many.code, many.rejects().len()), (one.code, one.rejects().len()), "{}", many.stderr);
        let (one, many) = (one.summary(), many.summary());
        for name in ["lines", "events", "inserted", "duplicate", "rejected"] {
            assert_eq!(many.count(name), one.count(name), "{layout}: {name}");
        }
        let expected = expect_in(tables, &dump, Nul::Reject, &[].into()).tables;
        let stored = || tables.read(&mut citus.client(), citus.schema(), "americas");
        let (found, beside) = (stored(), tables.read(&mut database.client(), "public", "americas"));
        assert_same(&expected, &found);
        assert_same(&beside, &found);
        // A second load in every mode changes nothing.
        citus.load(&work, &args).segment_bytes(64 << 10).run();
        for more in [&["--force"][..], &["--on-conflict", "update"]] {
            let run = citus.load(&work, &args).args(more).segment_bytes(64 << 10).run().summary();
            run.check(&[("inserted", 0), ("updated", 0), ("unfinished", 0)]);
        }
        assert_same(&expected, &stored());
    }
}

#[test]
fn changed_events_are_updated_on_citus() {
    let Some(citus) = Citus::get("an update") else { return };
    let work = Workplace::new();
    let dump = generated(300, 12, 0.0);
    work.write("dump.ndjson", &dump);
    citus.distribute(&work, "archive");
    let load = |args: &[&str]| {
        citus.load(&work, &["dump.ndjson"]).args(args).segment_bytes(64 << 10).expect(0).summary()
    };
    load(&[]).check(&[("inserted", 300)]);
    let mut client = citus.client();
    let ids: Vec<i64> = client
        .query("select event_id from kill_event order by event_id", &[])
        .expect("rows")
        .iter()
        .map(|row| row.get(0))
        .collect();
    for sql in [
        format!("update kill_event set fame = -1 where event_id = {}", ids[3]),
        format!("delete from kill_player where event_id = {}", ids[50]),
        format!("update kill_loot set count = 77 where event_id in ({}, {})", ids[100], ids[101]),
        format!("delete from kill_event where event_id = {}", ids[200]),
    ] {
        assert!(client.execute(&sql, &[]).expect("rows") > 0, "{sql}");
    }
    let skipped = load(&["--force"]);
    skipped.check(&[("inserted", 1), ("duplicate", 299)]);
    let updated = load(&["--on-conflict", "update"]);
    assert!((2..=4).contains(&updated.count("updated")), "{updated:?}");
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
}

#[test]
fn concurrent_updates_on_citus_store_one_version() {
    let Some(citus) = Citus::get("updates beside each other") else { return };
    let work = Workplace::new();
    let dump = generated(400, 15, 0.0);
    work.write("dump.ndjson", &dump);
    citus.distribute(&work, "archive");
    citus.load(&work, &["dump.ndjson"]).expect(0);
    // Child rows remain, so COPY fails: the events are merged, and other events of the segment are rewritten.
    let mut client = citus.client();
    for sql in [
        "update kill_event set fame = -1 where event_id % 2 = 0",
        "delete from kill_event where event_id % 7 = 0",
    ] {
        assert!(client.execute(sql, &[]).expect("rows") > 0, "{sql}");
    }
    let updates = ["--on-conflict", "update", "dump.ndjson"];
    let loads: Vec<_> = thread::scope(|scope| {
        // Another segment size gives different segments.
        let load = |size| {
            let (citus, work) = (&citus, &work);
            scope.spawn(move || citus.load(work, &updates).segment_bytes(size).expect(0).summary())
        };
        let loads = [64 << 10, 96 << 10].map(load);
        loads.into_iter().map(|load| load.join().expect("no panic")).collect()
    });
    for load in loads {
        load.check(&[("retries", 0), ("unfinished", 0)]);
    }
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
}

#[test]
fn rows_that_a_node_rejects_are_reported() {
    let Some(citus) = Citus::get("rejects by a node") else { return };
    let work = Workplace::new();
    let dump = generated(200, 13, 0.0);
    work.write("dump.ndjson", &dump);
    citus.distribute(&work, "archive");
    let ids: Vec<i64> = expect(&dump, Nul::Reject).tables.kill_event.keys().copied().collect();
    let rejected = [ids[7], ids[8], ids[150]];
    let mut client = citus.client();
    for (table, id) in
        [("kill_event", rejected[0]), ("kill_player", rejected[1]), ("kill_player", rejected[2])]
    {
        let check = format!("alter table {table} add constraint refuses_{id} check (event_id <> {id})");
        client.batch_execute(&check).expect("a constraint");
    }
    for args in [&["--on-conflict", "skip"], &["--on-conflict", "update"]] {
        let run = citus.load(&work, &["dump.ndjson"]).args(args).segment_bytes(64 << 10).expect(3);
        let rejects = run.rejects();
        let states: Vec<Option<&str>> = rejects.iter().map(|reject| reject.0["sqlstate"].as_str()).collect();
        assert_eq!(states, [Some("23514"); 3], "{run:?}");
        let is_accepted = |line: &&&[u8]| {
            let event: serde_json::Value = serde_json::from_slice(line).expect("an event");
            !rejected.contains(&event["EventId"].as_i64().expect("an id"))
        };
        let accepted: Vec<&[u8]> = lines(&dump).iter().filter(is_accepted).copied().collect();
        assert_same(&expect(&join(&accepted), Nul::Reject).tables, &citus.tables());
    }
}

#[test]
fn concurrent_loads_on_citus_store_each_event_once() {
    let Some(citus) = Citus::get("loaders beside each other") else { return };
    let work = Workplace::new();
    citus.distribute(&work, "archive");
    // Two loads get the same dump. The third dump shares events with it in different segments.
    let all = generated(900, 14, 5.0);
    let all = lines(&all);
    let dump = join(&all[..600]);
    let other = join(&[&all[600..], &all[100..400]].concat());
    work.write("dump.ndjson", &dump);
    work.write("other.ndjson", &other);
    let mut most = BTreeMap::new();
    let inserted: u64 = thread::scope(|scope| {
        let (citus, work) = (&citus, &work);
        let load = |files: &'static [&'static str]| {
            scope.spawn(move || citus.load(work, files).segment_bytes(512 << 10).expect(0).summary())
        };
        let loads = [
            load(&["dump.ndjson", "other.ndjson"]),
            load(&["dump.ndjson", "other.ndjson"]),
            load(&["other.ndjson", "dump.ndjson"]),
        ];
        let mut client = citus.client();
        while !loads.iter().all(thread::ScopedJoinHandle::is_finished) {
            for (session, backends) in backends(&mut client) {
                let most = most.entry(session).or_insert(0);
                *most = backends.max(*most);
            }
        }
        loads.into_iter().map(|load| load.join().expect("no panic").count("inserted")).sum()
    });
    let expected = expect(&[dump.clone(), other.clone()].concat(), Nul::Reject);
    assert_same(&expected.tables, &citus.tables());
    assert_eq!(inserted, expected.tables.kill_event.len() as u64);
    // However many shards a segment touches, each node has one backend for the transaction and one for the staging table.
    assert!(!most.is_empty() && most.values().all(|most| *most <= 2), "{most:?}");
    let twice = "select from kill_load_segment group by hash having count(*) > 1";
    assert!(citus.client().query(twice, &[]).expect("rows").is_empty());
}

/// The number of backends of each load session on each worker.
fn backends(client: &mut postgres::Client) -> Vec<((String, String), i64)> {
    // The application name of a Citus backend contains its session's number. The last ten digits are the process id.
    let sql = "
        select worker.nodeport::text, backend->>'application_name', (backend->>'count')::bigint
        from run_command_on_workers($$
            select json_agg(backend) from (
                select application_name, count(*) from pg_stat_activity
                where application_name like 'citus_internal gpid=%' group by 1) backend
        $$) worker, json_array_elements(coalesce(nullif(worker.result, ''), '[]')::json) backend
        where right(backend->>'application_name', 10)::bigint in
            (select pid from pg_stat_activity where application_name like 'aegis-kills %')";
    let rows = client.query(sql, &[]).expect("backends");
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

#[test]
fn filled_tables_are_distributed_with_their_rows() {
    let Some(citus) = Citus::get("distributing filled tables") else { return };
    let work = Workplace::new();
    let dump = generated(200, 16, 0.0);
    let lines = lines(&dump);
    let (first, rest) = lines.split_at(100);
    work.write("first.ndjson", join(first));
    work.write("rest.ndjson", join(rest));
    citus.load(&work, &["first.ndjson"]).expect(0).summary().check(&[("inserted", 100)]);
    let health = citus.program(&work, &["health"]).expect(0);
    health.says_in_output(&format!("schema apply --schema {} --distributed citus", citus.schema()));
    citus.distribute(&work, "archive");
    // Every event is stored already.
    let again = citus.program(&work, &["schema", "apply", "--distributed", "citus"]).expect(0);
    again.says_in_output("all tables and indexes exist");
    let run = citus.load(&work, &["first.ndjson", "rest.ndjson"]).expect(0).summary();
    run.check(&[("already_loaded", 100), ("inserted", 100)]);
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
    let kept = "select pg_relation_size(format('%I.kill_player', current_schema())::regclass)";
    assert_eq!(citus.client().query_one(kept, &[]).expect("a size").get::<_, i64>(0), 0, "a copy was kept");
    // The tables that a load creates later are distributed too.
    citus.load(&work, &["--layout", "aegis", "first.ndjson"]).expect(0);
    let kinds = "select count(*) filter (where partmethod = 'h'), count(*) filter (where partmethod = 'n')
                 from pg_dist_partition join pg_class on oid = logicalrelid
                 where relnamespace = current_schema()::regnamespace";
    let row = citus.client().query_one(kinds, &[]).expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (4, 2));
}

#[test]
fn printed_citus_ddl_can_be_run() {
    let Some(citus) = Citus::get("the printed schema") else { return };
    let work = Workplace::new();
    let print = ["schema", "print", "--distributed", "citus"];
    let sql = citus.program(&work, &print).expect(0).stdout;
    for _ in 0..2 {
        citus.client().batch_execute(&sql).expect("statements");
    }
    let dump = generated(50, 17, 0.0);
    citus.load(&work, &[]).stdin(dump.clone()).expect(0);
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
    citus.program(&work, &["verify"]).stdin(dump).expect(0);
}

#[test]
fn tables_distributed_differently_are_rejected() {
    let Some(citus) = Citus::get("tables distributed otherwise") else { return };
    let work = Workplace::new();
    citus.load(&work, &[]).stdin(generated(10, 18, 0.0)).expect(0);
    let mut client = citus.client();
    client.batch_execute("select create_reference_table('kill_load_run')").expect("a table");
    let run = citus.load(&work, &[]).stdin(generated(10, 19, 0.0)).run();
    assert_eq!(run.code, 7, "{}", run.stderr);
    let error = run.summary().0["error"].as_str().expect("an error").to_owned();
    for words in ["kill_event is not distributed by event_id", "--distributed citus"] {
        assert!(error.contains(words), "{error}");
    }
    citus.distribute(&work, "archive");
    citus.load(&work, &[]).stdin(generated(10, 19, 0.0)).expect(0);
}

#[test]
fn a_server_without_citus_is_an_error() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("no_citus"));
    let apply = ["schema", "apply", "--distributed", "citus"];
    let run = work.program(&apply).env("DATABASE_URL", &database.url()).run();
    assert_eq!(run.code, 7, "{}", run.stderr);
    run.says(&["this database has no Citus", "CREATE EXTENSION citus"]);
    let run = work.program(&["schema", "print", "--distributed", "timescale"]).run();
    assert_eq!(run.code, 2, "{}", run.stderr);
    run.says(&["--distributed", "timescale", "expected citus"]);
}
