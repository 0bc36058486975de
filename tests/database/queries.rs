//! Documented queries: an index serves each, and their answers are right for suicides, renamed guilds and own prices.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postgres::{Client, SimpleQueryMessage};
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, join, small_event};
use crate::support::program::Workplace;
use crate::support::{find_program, not_tried};

const TABLES: [&str; 3] = ["kill_event", "kill_player", "kill_loot"];

/// The indexes for queries of events since a time, without and with their players.
const WINDOW: &[&str] = &["kill_event_newest"];
const WITH_PLAYERS: &[&str] = &["kill_event_newest", "kill_player_pkey"];

/// The documented statements with these values, without comments and without the queries that find values.
fn queries(values: &[(&str, String)]) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/queries.sql");
    let text = fs::read_to_string(path).expect("the documented queries");
    let (_, text) = text.rsplit_once("\\endif\n").expect("what finds values for those that were not named");
    let sql: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("--") && !line.starts_with('\\')).collect();
    let put_in = |sql: &str| {
        values.iter().fold(sql.to_owned(), |sql, (name, value)| {
            sql.replace(&format!(":'{name}'"), &format!("'{value}'")).replace(&format!(":{name}"), value)
        })
    };
    sql.join("\n").split(';').map(str::trim).filter(|sql| !sql.is_empty()).map(put_in).collect()
}

fn plan(client: &mut Client, query: &str) -> Value {
    // The simple query protocol returns all values as text.
    let messages = client.simple_query(&format!("explain (format json) {query}")).expect("a plan");
    let text = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plans: Value = serde_json::from_str(text.expect("a row")).expect("JSON");
    plans[0]["Plan"].clone()
}

/// The node types of a plan, and the indexes that they use.
fn nodes(plan: &Value, kinds: &mut BTreeSet<String>, indexes: &mut BTreeSet<String>) {
    let text = |name: &str| plan[name].as_str().map(str::to_owned);
    kinds.extend(text("Node Type"));
    indexes.extend(text("Index Name"));
    for child in plan["Plans"].as_array().into_iter().flatten() {
        nodes(child, kinds, indexes);
    }
}

/// Whether a plan scans a whole table of the program.
fn scans_a_table(plan: &Value) -> bool {
    let of_ours = plan["Relation Name"].as_str().is_some_and(|name| name.starts_with("kill_"));
    let below = plan["Plans"].as_array().into_iter().flatten();
    plan["Node Type"] == "Seq Scan" && of_ours || below.into_iter().any(scans_a_table)
}

fn one(client: &mut Client, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// The documented statements for the values with the most rows, for which an index helps least. Creates the table of
/// prices.
fn costliest_queries(client: &mut Client) -> Vec<String> {
    let most = |column, from| {
        format!(
            "select {column}::text from {from} and {column} is not null group by 1 order by count(*) desc, 1 limit 1"
        )
    };
    let recent_killers = "kill_player join kill_event using (server, event_id) where role = 'killer'
        and occurred_at >= (select max(occurred_at) - interval '1 minute' from kill_event)";
    let guild = one(client, &most("guild_id", recent_killers));
    let rival = format!(
        "select v.guild_id from kill_player k join kill_player v using (server, event_id)
         where k.role = 'killer' and k.guild_id = '{guild}' and v.role = 'victim' and v.guild_id <> k.guild_id limit 1"
    );
    let values = [
        ("server", "americas".to_owned()),
        ("player", one(client, &most("killer_id", "kill_event where true"))),
        ("rival", one(client, &rival)),
        ("guild", guild),
        ("alliance", one(client, &most("alliance_id", recent_killers))),
        ("battle", one(client, &most("battle_id", "kill_event where true"))),
        ("since", one(client, "select (max(occurred_at) - interval '1 minute')::text from kill_event")),
    ];
    client
        .batch_execute(
            "create temp table item_price (item text primary key, silver bigint not null);
             insert into item_price select distinct item, 100 from kill_loot where item is not null; analyze item_price",
        )
        .expect("prices");
    queries(&values)
}

#[test]
fn an_index_serves_each_documented_query() {
    let database = Cluster::shared().database("queries");
    let work = Workplace::new();
    work.load(&database, &[]).stdin(generated(12_000, 31, 0.0)).expect(0);
    let mut client = database.client();
    client.batch_execute("analyze").expect("statistics");
    let queries = costliest_queries(&mut client);
    let indexes_of: [&[&str]; 18] = [
        WITH_PLAYERS,
        &["kill_event_killer", "kill_event_victim", "kill_player_pkey"],
        &["kill_player_guild_kills"],
        &["kill_player_guild_deaths", "kill_player_guild_kills"],
        &["kill_player_alliance_kills"],
        &["kill_player_alliance_deaths", "kill_player_alliance_kills"],
        &["kill_event_battle", "kill_player_pkey"],
        WITH_PLAYERS,
        &["kill_player_guild_kills", "kill_player_pkey"],
        WITH_PLAYERS,
        WITH_PLAYERS,
        WITH_PLAYERS,
        WITH_PLAYERS,
        WINDOW,
        WITH_PLAYERS,
        &["kill_event_newest", "kill_loot_pkey"],
        &["kill_event_newest", "kill_loot_pkey", "kill_player_pkey"],
        WINDOW,
    ];
    assert_eq!(queries.len(), indexes_of.len());
    for (query, wanted) in queries.iter().zip(indexes_of) {
        let rows = client.query(query, &[]).unwrap_or_else(|error| panic!("{query}: {error:?}"));
        // That minute may have no fair fight.
        assert!(!rows.is_empty() || query.contains("abs(k.item_power"), "{query}");
        let plan = plan(&mut client, query);
        let (mut kinds, mut indexes) = (BTreeSet::new(), BTreeSet::new());
        nodes(&plan, &mut kinds, &mut indexes);
        assert!(!scans_a_table(&plan), "{query}\n{plan:#}");
        assert!(wanted.iter().all(|index| indexes.contains(*index)), "{query}\n{plan:#}");
    }
}

/// The plan's indexes and joins. The ways to read an index are one: with few rows their costs are nearly the same.
fn access_of(client: &mut Client, query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    const READS: [&str; 6] = [
        "Bitmap Heap Scan",
        "Bitmap Index Scan",
        "Index Scan",
        "Index Only Scan",
        "Sort",
        "Incremental Sort",
    ];
    let (mut kinds, mut indexes) = (BTreeSet::new(), BTreeSet::new());
    nodes(&plan(client, query), &mut kinds, &mut indexes);
    kinds.retain(|kind| !READS.contains(&kind.as_str()));
    (kinds, indexes)
}

/// The load analyzes only a small sample.
#[test]
fn queries_have_their_final_plans_right_after_a_first_load() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("first_plans"));
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    let mut client = database.client();
    for table in TABLES {
        let sql = format!("alter table {table} set (autovacuum_enabled = off)");
        client.batch_execute(&sql).expect("a table without autovacuum");
    }
    work.load(&database, &[]).stdin(generated(12_000, 31, 0.0)).expect(0);
    let queries = costliest_queries(&mut client);
    let first: Vec<_> = queries.iter().map(|query| access_of(&mut client, query)).collect();
    for table in TABLES {
        client.batch_execute(&format!("vacuum (freeze, analyze) {table}")).expect("statistics");
    }
    for (query, first) in queries.iter().zip(first) {
        assert_eq!(first, access_of(&mut client, query), "{query}");
    }
}

/// The rows that `psql -A` printed under a title.
fn rows_under<'o>(output: &'o str, title: &str) -> Vec<&'o str> {
    let under = output.split_once(&format!("{title}\n")).map(|(_, rest)| rest);
    let under = under.unwrap_or_else(|| panic!("{title:?} is missing in: {output}"));
    under.lines().skip(1).take_while(|line| !line.starts_with('(')).collect()
}

#[test]
fn documented_queries_count_no_suicides_and_use_new_names_and_own_prices() {
    if find_program(&["psql"], &[]).is_none() {
        return not_tried("the answers of docs/queries.sql", "psql is missing");
    }
    let (work, database) = (Workplace::new(), Cluster::shared().database("answers"));
    let kill = |id: i64, minute: u32, name: &str, guild: &str| {
        let mut event = small_event(id);
        event["TimeStamp"] = format!("2024-08-18T20:{minute}:00Z").into();
        event["Killer"] = json!({"Id": "killer-id", "Name": name, "GuildId": "guild-id", "GuildName": guild});
        event["Victim"] =
            json!({"Id": "victim-id", "Name": "V", "GuildId": "rival-id", "GuildName": guild.to_uppercase()});
        event["Victim"]["Inventory"] = json!([{"Type": "T4_BAG", "Count": 2, "Quality": 1}]);
        event
    };
    let mut suicide = kill(3, 41, "A", "A");
    suicide["Victim"] = suicide["Killer"].clone();
    suicide["TotalVictimKillFame"] = 0.into();
    // The newest event has neither the highest id nor the last names in the alphabet.
    let events = [kill(1, 45, "New", "A new name"), kill(2, 43, "Old", "Old name"), suicide];
    work.load(&database, &[]).stdin(join(&events.map(|event| event.to_string()))).expect(0);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/queries.sql");
    let path = path.to_str().expect("UTF-8");
    let ask = || work.other_program("psql", &["-XAf", path, &database.url()]).expect(0).stdout;

    let answers = ask();
    for (title, wanted) in [
        ("Guild against guild", "2|0|2000|0"),
        ("Feuds (window)", "A new name|A NEW NAME|2|0"),
        ("Leaderboard of players (window)", "killer-id|New|A new name|2|2000"),
        ("Leaderboard of guilds (window)", "guild-id|A new name|2|2000"),
        ("Kills by hour of the day, UTC (window)", "20|2|2000"),
        ("Kills, deaths and suicides (window)", "2|3|1"),
    ] {
        assert_eq!(rows_under(&answers, title), [wanted], "{title}");
    }
    let loot = "Most valuable loot, by your prices (window)";
    assert!(rows_under(&answers, loot).is_empty(), "{answers}");
    let prices = "create table item_price (item text primary key, silver bigint not null);
                  insert into item_price values ('T4_BAG', 7)";
    database.client().batch_execute(prices).expect("prices");
    let answers = ask();
    let valued: Vec<&str> = rows_under(&answers, loot);
    assert!(valued.len() == 2 && valued.iter().all(|row| row.ends_with("|14")), "{answers}");
}

/// Each optional index, with a query that uses it.
#[test]
fn each_optional_index_serves_its_query() {
    let database = Cluster::shared().database("indexes");
    let work = Workplace::new();
    work.load(&database, &[]).stdin(generated(3_000, 32, 0.0)).expect(0);
    let mut client = database.client();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/indexes.sql");
    let text = fs::read_to_string(path).expect("the documented indexes");
    let sql: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let sql = sql.join("\n");
    let statements: Vec<&str> = sql.split(';').map(str::trim).filter(|sql| !sql.is_empty()).collect();
    assert_eq!(statements.len(), 4);
    // Separately, because none of them may run in a transaction.
    for statement in statements {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    client.batch_execute("analyze").expect("statistics");
    for (index, query) in [
        (
            "kill_player_weapon_kills",
            "select event_id from kill_player where role = 'killer' and main_hand =
             (select main_hand from kill_player where role = 'killer' and main_hand is not null limit 1) order by event_id desc limit 20",
        ),
        (
            "kill_player_assists",
            "select event_id from kill_player where role in ('participant', 'group') and player_id =
             (select player_id from kill_player where role = 'group' limit 1) order by event_id desc limit 20",
        ),
        ("kill_loot_item", "select count(*) from kill_loot where item = (select item from kill_loot where item is not null limit 1)"),
        (
            "kill_player_name",
            "select distinct player_id, name from kill_player where lower(name) like 'zz%' and role in ('killer', 'victim')",
        ),
    ] {
        let plan = plan(&mut client, query);
        let (mut kinds, mut indexes) = (BTreeSet::new(), BTreeSet::new());
        nodes(&plan, &mut kinds, &mut indexes);
        assert!(indexes.contains(index), "{query}\n{plan:#}");
    }
    // Loads maintain these indexes.
    work.load(&database, &[]).stdin(generated(3_200, 33, 0.0)).expect(0);
    let health = work.program(&["health"]).env("DATABASE_URL", &database.url()).expect(0);
    assert!(health.stdout.contains("No recommendations"), "{}", health.stdout);
}
