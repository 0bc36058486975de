//! Each command of docs/sources.md, and the backfill of docs/aegis.md, loads what the page promises. Scripts replace
//! programs that read from other systems, and print the same output.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{in_arrays, join, small_event};
use crate::support::program::{Program, Workplace};
use crate::support::{find_program, log_case, not_tried};

const PAGE: &str = include_str!("../../docs/sources.md");
const AEGIS: &str = include_str!("../../docs/aegis.md");
/// A name with escapes in JSON.
const NAME: &str = "a\\b \"c\"\n\td";

/// The shell commands of a page, with the heading above each.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut heading, mut block) = (String::new(), None::<String>);
    for line in page.lines() {
        match (&mut block, line) {
            (None, "```sh") => block = Some(String::new()),
            (Some(text), "```") => {
                found.push((heading.clone(), std::mem::take(text)));
                block = None;
            }
            (Some(text), line) => text.extend([line, "\n"]),
            (None, line) => {
                if let Some(name) = line.strip_prefix("## ") {
                    name.clone_into(&mut heading);
                }
            }
        }
    }
    found
}

struct Place {
    work: Workplace,
    database: Database<'static>,
}

impl Place {
    fn new() -> Self {
        let work = Workplace::new();
        fs::create_dir(work.path().join("bin")).expect("a directory");
        symlink(env!("CARGO_BIN_EXE_aegis-kills"), work.path().join("bin/aegis-kills")).expect("a link");
        Self { work, database: Cluster::shared().database("sources_page") }
    }

    /// Puts a script in place of a program.
    fn script(&self, name: &str, text: &str) {
        let path = self.work.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    fn shell(&self, command: &str) -> Program {
        let path = std::env::var("PATH").unwrap_or_default();
        self.work
            .other_program("bash", &["-euo", "pipefail", "-c", command])
            .env("PATH", &format!("{}:{path}", self.work.path().join("bin").display()))
            .env("ALBION_SERVER", "europe")
            .env("DATABASE_URL", &self.database.url())
            .env("SOURCE_URL", &self.database.url())
    }

    fn stored(&self) -> BTreeSet<i64> {
        let sql = "select event_id from kill_event where server = 'europe'";
        self.database.client().query(sql, &[]).expect("events").iter().map(|row| row.get(0)).collect()
    }
}

fn dump(ids: std::ops::Range<i64>) -> Vec<u8> {
    join(&ids.map(|id| small_event(id).to_string()).collect::<Vec<_>>())
}

/// An event as `mongoexport` prints it.
fn extended(id: i64) -> String {
    let mut event = small_event(id);
    let time = event["TimeStamp"].clone();
    event["_id"] = json!({"$oid": format!("{id:024x}")});
    event["EventId"] = json!({"$numberLong": id.to_string()});
    event["TimeStamp"] = json!({"$date": time});
    event["TotalVictimKillFame"] = json!({"$numberInt": "1000"});
    event.to_string()
}

/// Rows with events on one line and pretty-printed, the latter also with tabs and carriage returns, and with a name that
/// contains escapes.
fn inserts() -> String {
    let insert = |text: &str| format!("insert into events values ('{}');", text.replace('\'', "''"));
    let pretty = |id| {
        let mut event = small_event(id);
        event["Killer"]["Name"] = NAME.into();
        format!("{event:#}")
    };
    let tabs = pretty(5).replace("  ", "\t").replace('\n', "\r\n");
    (1..4).map(|id| insert(&small_event(id).to_string())).chain([insert(&pretty(4)), insert(&tabs)]).collect()
}

/// Creates the input of the commands under a heading. Returns the ids that are stored afterwards, or none if a program is
/// missing.
fn prepare(place: &Place, heading: &str) -> Option<std::ops::Range<i64>> {
    let work = &place.work;
    let has = |program: &str| {
        let found = find_program(&[program], &[]).is_some();
        if !found {
            not_tried(&format!("'{heading}' of docs/sources.md"), &format!("{program} is missing"));
        }
        found
    };
    let write = |name: &str, value: &Value| work.write(name, value.to_string());
    match heading {
        "MongoDB" => {
            work.write("export", join(&(1..6).map(extended).collect::<Vec<_>>()));
            place.script("mongoexport", "cat export");
            work.write("events.json", format!("[{}]", [6, 7].map(extended).join(",")));
            Some(1..8)
        }
        "PostgreSQL" => {
            let rows = inserts();
            let sql = format!("create table events (raw_json text); {rows}");
            place.database.client().batch_execute(&sql).expect("a table");
            place.shell("pg_dump -Fc -t events -f kills.dump \"$DATABASE_URL\"").expect(0);
            has("psql").then_some(1..6)
        }
        "SQLite" => {
            let rows = inserts();
            work.write("sql", format!("create table events (raw_json text); {rows}"));
            has("sqlite3").then(|| place.shell("sqlite3 kills.db < sql").expect(0)).map(|_| 1..6)
        }
        "RabbitMQ and Kafka" => {
            let message = |id: i64| json!({"server": "europe", "event": small_event(id)}).to_string();
            work.write("messages", join(&(1..4).map(message).collect::<Vec<_>>()));
            place.script("kcat", "cat messages");
            let queued = |id: i64| json!({"payload": small_event(id).to_string(), "payload_bytes": 1});
            write("queued", &(4..7).map(queued).collect());
            place.script("rabbitmqadmin", "cat queued");
            Some(1..7)
        }
        "Saved pages" => {
            fs::create_dir(work.path().join("pages")).expect("a directory");
            work.write("pages/1.json", in_arrays(&dump(1..4), 3));
            work.write("pages/2.json", [in_arrays(&dump(3..6), 3), in_arrays(&dump(5..7), 2)].concat());
            Some(1..7)
        }
        "The game's API" => {
            // One of two requests fails, and pages overlap.
            work.write("page", in_arrays(&dump(1..9), 8));
            place.script("curl", "case $* in *offset=51) exit 22;; esac\nwhile [ \"$1\" != -o ]; do shift; done; cp page \"$2\"");
            work.write("second-source.ndjson", dump(7..12));
            Some(1..12)
        }
        "Files per battle" => {
            for name in ["battles", "battles-with-events"] {
                fs::create_dir(work.path().join(name)).expect("a directory");
            }
            work.write("battles/1337.json", in_arrays(&dump(1..4), 3));
            write("battles-with-events/1338.json", &json!({"battle": {}, "raw_events": [small_event(4)]}));
            Some(1..5)
        }
        "Murder boards" => {
            write(
                "board.json",
                &json!({"1": {"posted": true, "data": small_event(1)}, "2": {"data": small_event(2)}}),
            );
            Some(1..3)
        }
        other => panic!("the commands of '{other}' need something to read"),
    }
}

#[test]
fn each_command_of_the_sources_page_loads_its_events() {
    let commands = commands(PAGE);
    let headings: BTreeSet<&String> = commands.iter().map(|(heading, _)| heading).collect();
    assert!(headings.len() >= 8, "{headings:?}");
    for heading in headings {
        let of_heading: Vec<&String> =
            commands.iter().filter(|(of, _)| of == heading).map(|(_, command)| command).collect();
        // Each command of this section reads the same rows.
        let at_once = if heading == "PostgreSQL" { 1 } else { of_heading.len() };
        for commands in of_heading.chunks(at_once) {
            load_section(heading, commands);
        }
    }
}

/// Runs commands under a heading on a new database, and checks the stored events.
fn load_section(heading: &str, commands: &[&String]) {
    let place = Place::new();
    let Some(expected) = prepare(&place, heading) else { return };
    for command in commands {
        log_case(command);
        place.shell(command).expect(0);
    }
    assert_eq!(place.stored(), expected.collect(), "{heading}");
    let mut client = place.database.client();
    match heading {
        "PostgreSQL" | "SQLite" => {
            let sql = "select count(*) from kill_player where role = 'killer' and name = $1";
            let names: i64 = client.query_one(sql, &[&NAME]).expect("a count").get(0);
            assert_eq!(names, 2, "{commands:?}");
        }
        "Files per battle" => {
            let sql = "select count(*) from kill_event where battle_id in (1337, 1338)";
            let battles: i64 = client.query_one(sql, &[]).expect("a count").get(0);
            assert_eq!(battles, 4);
        }
        _ => {}
    }
}

#[test]
fn the_backfill_of_albion_aegis_works() {
    if find_program(&["psql"], &[]).is_none() {
        return not_tried("the backfill of docs/aegis.md", "psql is missing");
    }
    let place = Place::new();
    let mut client = place.database.client();
    // As Prisma's migrations create it.
    client
        .batch_execute(
            "create table \"Battle\" (\"albionId\" bigint primary key, \"startedAt\" timestamp(3) not null,
               \"killsFetchedAt\" timestamp(3));
             insert into \"Battle\" values (1337, now(), null), (1338, now(), null), (1339, now(), now()), (1340, now(), null)",
        )
        .expect("battles");
    for battle in [1337, 1338] {
        place.work.write(&format!("answer-{battle}"), in_arrays(&dump(battle * 10..battle * 10 + 3), 3));
    }
    place.script(
        "curl",
        "while [ \"$1\" != -o ]; do shift; done; cp answer-\"${3##*=}\" \"$2\" 2>/dev/null || exit 22",
    );
    let backfill = || {
        for (_, command) in commands(AEGIS).iter().filter(|(heading, _)| heading == "Backfill") {
            log_case(command);
            place.shell(command).expect(0);
        }
    };
    backfill();
    let rows =
        client.query("select \"battleAlbionId\", count(*) from \"KillEvent\" group by 1 order by 1", &[]);
    let rows: Vec<(i64, i64)> = rows.expect("kills").iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [(1337, 3), (1338, 3)]);
    let mut open = || -> Vec<i64> {
        let sql = "select \"albionId\" from \"Battle\" where \"killsFetchedAt\" is null";
        client.query(sql, &[]).expect("battles").iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(open(), [1340], "its request failed");
    place.work.write("answer-1340", in_arrays(&dump(13_400..13_402), 2));
    backfill();
    assert!(open().is_empty());
}
