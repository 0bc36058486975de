//! The queries that the documentation gives: each is served by an index.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postgres::{Client, SimpleQueryMessage};
use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::generated;
use crate::support::program::Workplace;

/// The statements of the documentation, without comments and what finds values to put in, with these values put in.
fn queries(values: &[(&str, String)]) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/queries.sql");
    let text = fs::read_to_string(path).expect("the documented queries");
    let (_, text) = text.rsplit_once("\\endif\n").expect("what finds values for those that were not named");
    let sql: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let put_in = |sql: &str| {
        values.iter().fold(sql.to_owned(), |sql, (name, value)| {
            sql.replace(&format!(":'{name}'"), &format!("'{value}'")).replace(&format!(":{name}"), value)
        })
    };
    sql.join("\n").split(';').map(str::trim).filter(|sql| !sql.is_empty()).map(put_in).collect()
}

/// The plan of a query.
fn plan(client: &mut Client, query: &str) -> Value {
    // Asked for simply, all values come as text.
    let messages = client.simple_query(&format!("explain (format json) {query}")).expect("a plan");
    let text = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plans: Value = serde_json::from_str(text.expect("a row")).expect("JSON");
    plans[0]["Plan"].clone()
}

/// The kinds of a plan's nodes, and the indexes that they use.
fn nodes(plan: &Value, kinds: &mut BTreeSet<String>, indexes: &mut BTreeSet<String>) {
    let text = |name: &str| plan[name].as_str().map(str::to_owned);
    kinds.extend(text("Node Type"));
    indexes.extend(text("Index Name"));
    for child in plan["Plans"].as_array().into_iter().flatten() {
        nodes(child, kinds, indexes);
    }
}

fn one(client: &mut Client, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[test]
fn each_documented_query_is_served_by_an_index() {
    let database = Cluster::shared().database("queries");
    let work = Workplace::new();
    work.load(&database, &[]).stdin(generated(12_000, 31, 0.0)).expect(0);
    let mut client = database.client();
    client.batch_execute("analyze").expect("statistics");
    // Those who have the most rows, for whom an index helps the least.
    let most = |column, from| {
        format!(
            "select {column}::text from {from} and {column} is not null group by 1 order by count(*) desc, 1 limit 1"
        )
    };
    let recent_killers = "kill_player join kill_event using (server, event_id) where role = 'killer'
        and occurred_at >= (select max(occurred_at) - interval '1 minute' from kill_event)";
    let values = [
        ("server", "americas".to_owned()),
        ("player", one(&mut client, &most("killer_id", "kill_event where true"))),
        ("guild", one(&mut client, &most("guild_id", recent_killers))),
        ("battle", one(&mut client, &most("battle_id", "kill_event where true"))),
        ("since", one(&mut client, "select (max(occurred_at) - interval '1 minute')::text from kill_event")),
    ];
    let queries = queries(&values);
    let indexes_of: [&[&str]; 7] = [
        &["kill_event_newest"],
        &["kill_event_killer", "kill_event_victim"],
        &["kill_player_guild_kills"],
        &["kill_event_battle"],
        &["kill_event_newest"],
        &["kill_event_newest", "kill_player_pkey"],
        &["kill_event_newest", "kill_loot_pkey"],
    ];
    assert_eq!(queries.len(), indexes_of.len());
    for (query, wanted) in queries.iter().zip(indexes_of) {
        let rows = client.query(query, &[]).unwrap_or_else(|error| panic!("{query}: {error:?}"));
        assert!(!rows.is_empty(), "{query}");
        let plan = plan(&mut client, query);
        let (mut kinds, mut indexes) = (BTreeSet::new(), BTreeSet::new());
        nodes(&plan, &mut kinds, &mut indexes);
        assert!(!kinds.contains("Seq Scan"), "{query}\n{plan:#}");
        assert!(wanted.iter().all(|index| indexes.contains(*index)), "{query}\n{plan:#}");
    }
}
