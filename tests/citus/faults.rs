//! Faults of Citus servers during a load. The tables must be those of an undisturbed load.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::citus::Citus;
use crate::support::dumps::generated;
use crate::support::eventually;
use crate::support::oracle::{Nul, assert_same, expect};
use crate::support::program::{Program, Workplace};
use crate::support::progress::meanwhile;

/// Longer than a load needs for its next segments on a slow machine.
const STEP_MAX: Duration = Duration::from_mins(1);

fn in_small_steps(citus: &Citus, work: &Workplace) -> Program {
    citus
        .load(work, &["dump.ndjson"])
        .segment_bytes(32 << 10)
        .env("DATABASE_RETRY_BASE", "50")
        .env("DATABASE_RETRY_ATTEMPTS", "20")
        .env("DATABASE_CONNECTION_TIMEOUT", "5s")
        .env("DATABASE_AWAY_TIMEOUT", "2min")
}

/// Waits until the load has stored this many more segments.
fn steps(citus: &Citus, more: i64, ended: &dyn Fn() -> bool) {
    let begin = citus.segments();
    eventually(STEP_MAX, "the load gets on", || ended() || citus.segments() >= begin + more);
    assert!(!ended(), "there is more to load");
}

/// Disturbs a load, then runs it again to completion.
fn survive(citus: &Citus, seed: u64, disturb: impl FnOnce(&dyn Fn() -> bool)) {
    let work = Workplace::new();
    let dump = generated(600, seed, 5.0);
    work.write("dump.ndjson", &dump);
    citus.distribute(&work, "archive");
    let run = meanwhile(in_small_steps(citus, &work), disturb).expect(0);
    run.summary().check(&[("rejected", 0), ("unfinished", 0)]);
    // Citus resolves an interrupted commit of a node later. `verify` makes it do so.
    citus.program(&work, &["verify", "dump.ndjson"]).expect(0);
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
    in_small_steps(citus, &work).expect(0).summary().check(&[("inserted", 0), ("unfinished", 0)]);
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
}

#[test]
fn a_load_survives_repeated_worker_crashes() {
    let Some(citus) = Citus::get("a worker that crashes") else { return };
    let Some((_, workers)) = citus.nodes() else { return };
    survive(&citus, 21, |ended| {
        for worker in workers.iter().cycle().take(3) {
            steps(&citus, 10, ended);
            worker.stop_immediate();
            worker.start(&citus);
        }
    });
}

#[test]
fn a_load_survives_repeated_coordinator_crashes() {
    let Some(citus) = Citus::get("a coordinator that crashes") else { return };
    let Some((coordinator, _)) = citus.nodes() else { return };
    survive(&citus, 22, |ended| {
        for _ in 0..3 {
            steps(&citus, 10, ended);
            coordinator.stop_immediate();
            coordinator.start(&citus);
        }
    });
}

#[test]
fn a_load_survives_an_unreachable_worker() {
    let Some(citus) = Citus::get("an unreachable worker") else { return };
    let Some((_, workers)) = citus.nodes() else { return };
    let work = Workplace::new();
    survive(&citus, 23, |ended| {
        steps(&citus, 10, ended);
        workers[0].stop_immediate();
        let health = citus.program(&work, &["health"]).run();
        assert_eq!(health.code, 6, "{}", health.stdout);
        health.says_in_output(&format!("cannot reach {}", workers[0].name));
        let json = citus.program(&work, &["health", "--json"]).expect(6).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["nodes"][0]["name"], *workers[0].name, "{json}");
        assert_eq!(json["nodes"][0]["available"], false, "{json}");
        assert_eq!(json["nodes"][1]["available"], true, "{json}");
        workers[0].start(&citus);
    });
    let health = citus.program(&work, &["health"]).expect(0);
    health.says_in_output(&workers[1].name);
}

#[test]
fn a_load_survives_a_silent_worker() {
    let Some(citus) = Citus::get("a worker that says nothing") else { return };
    let Some((_, workers)) = citus.nodes() else { return };
    let work = Workplace::new();
    citus.distribute(&work, "archive");
    let health = workers[0].frozen(|| citus.program(&work, &["health", "--json"]).run());
    assert_eq!(health.code, 6, "{health:?}");
    let json: serde_json::Value = serde_json::from_str(&health.stdout).expect("JSON");
    assert_eq!((&json["healthy"], &json["nodes"][0]["available"]), (&false.into(), &false.into()), "{json}");
    assert_eq!(json["nodes"][1]["available"], true, "{json}");
}

#[test]
fn a_killed_load_on_citus_can_be_repeated() {
    let Some(citus) = Citus::get("a loader that is killed") else { return };
    let work = Workplace::new();
    let dump = generated(600, 24, 5.0);
    work.write("dump.ndjson", &dump);
    citus.distribute(&work, "archive");
    let load = in_small_steps(&citus, &work).start();
    steps(&citus, 10, &|| false);
    load.signal_until_ended(Signal::SIGKILL);
    in_small_steps(&citus, &work).expect(0);
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
    let ends = "select string_agg(status, ' ' order by started) from kill_load_run";
    assert_eq!(citus.client().query_one(ends, &[]).expect("a row").get::<_, &str>(0), "failed complete");
}

#[test]
fn verify_completes_an_interrupted_citus_commit() {
    let Some(citus) = Citus::get("an interrupted commit") else { return };
    let work = Workplace::new();
    let dump = generated(20, 25, 0.0);
    work.write("dump.ndjson", &dump);
    citus.distribute(&work, "archive");
    citus.load(&work, &["dump.ndjson"]).expect(0);
    let mut client = citus.client();
    // Simulates a node that died during a commit: the event is deleted, and inserted again in a prepared transaction that
    // the coordinator's record marks as committed.
    let row = client
        .query_one(
            "select event_id, shard.shard_name, node.nodename, node.nodeport
             from (select min(event_id) as event_id from kill_event) event
             join citus_shards shard on shard.shardid = get_shard_id_for_distribution_column('kill_event', event_id)
             join pg_dist_node node on (node.nodename, node.nodeport) = (shard.nodename, shard.nodeport)",
            &[],
        )
        .expect("an event");
    let (id, shard): (i64, String) = (row.get(0), row.get::<_, String>(1));
    let (host, port): (String, i32) = (row.get(2), row.get(3));
    let mut config: postgres::Config = citus.url().parse().expect("a URL");
    let user = config.get_user().expect("a user").to_owned();
    let name = config.get_dbname().expect("a database").to_owned();
    config = postgres::Config::new();
    config.host(&host).port(u16::try_from(port).expect("a port"));
    config.user(&user).dbname(&name);
    let mut worker = config.connect(postgres::NoTls).expect("the worker");
    let gid = format!("citus_0_1_{id}_1");
    let (schema, shard) = shard.split_once('.').unwrap_or((citus.schema(), &shard));
    worker.batch_execute(&format!("set search_path = {schema}")).expect("the schema");
    let read = format!("select to_jsonb(event)::text from {shard} event where event_id = {id}");
    let kept: String = worker.query_one(&read, &[]).expect("a row").get(0);
    worker
        .batch_execute(&format!(
            "set citus.enable_manual_changes_to_shards = on;
             delete from {shard} where event_id = {id}"
        ))
        .expect("the shard");
    assert_eq!(citus.tables().kill_event.len(), 19);
    worker
        .batch_execute(&format!(
            "begin; insert into {shard} select * from jsonb_populate_record(null::{shard}, '{}')",
            kept.replace('\'', "''")
        ))
        .expect("the event");
    worker.batch_execute(&format!("prepare transaction '{gid}'")).expect("a prepared transaction");
    let group = format!(
        "insert into pg_dist_transaction (groupid, gid)
         select groupid, '{gid}' from pg_dist_node where nodename = '{host}' and nodeport = {port}"
    );
    // Without that record Citus would roll the transaction back. An ordinary role may not start the recovery.
    let role = format!("reader_{}", citus.schema());
    client.batch_execute(&format!("create role {role} login")).expect("a role");
    let grant = format!(
        "{group}; grant usage on schema {0} to {role}; grant select on all tables in schema {0} to {role}",
        citus.schema()
    );
    client.batch_execute(&grant).expect("a record");
    let url = citus.url().replacen(&format!("//{user}"), &format!("//{role}"), 1);
    let run = citus.program(&work, &["verify", "dump.ndjson"]).env("DATABASE_URL", &url).run();
    client.batch_execute(&format!("drop owned by {role}; drop role {role}")).expect("no role");
    // Citus may have recovered the transaction already.
    if run.code != 0 {
        run.expect(6).says_in_output("may still appear").says_in_output("19 present");
    }
    citus.program(&work, &["verify", "dump.ndjson"]).expect(0);
    assert_same(&expect(&dump, Nul::Reject).tables, &citus.tables());
}
