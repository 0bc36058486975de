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

    /// The names of the files in a directory, hidden ones too.
    fn files(&self, directory: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.work.path().join(directory)).expect("a directory");
        entries.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8")).collect()
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
            // One request fails, the connection of another one is cut, and pages overlap.
            work.write("page", in_arrays(&dump(1..9), 8));
            place.script(
                "curl",
                "case $* in *offset=51) exit 22;; esac
                 while [ \"$1\" != -o ]; do shift; done
                 case $3 in *offset=102) head -c 99 page >\"$2\"; exit 18;; esac
                 cp page \"$2\"",
            );
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
    let mut printed = String::new();
    for command in commands {
        log_case(command);
        printed = place.shell(command).expect(0).stdout;
    }
    assert_eq!(place.stored(), expected.collect(), "{heading}");
    let mut client = place.database.client();
    match heading {
        "PostgreSQL" | "SQLite" => {
            let sql = "select count(*) from kill_player where role = 'killer' and name = $1";
            let names: i64 = client.query_one(sql, &[&NAME]).expect("a count").get(0);
            assert_eq!(names, 2, "{commands:?}");
        }
        "The game's API" => {
            let pages = place.files("pages");
            assert!(pages.iter().all(|name| !name.contains(".part")), "{pages:?}");
        }
        "Files per battle" => {
            let sql = "select count(*) from kill_event where battle_id in (1337, 1338)";
            let battles: i64 = client.query_one(sql, &[]).expect("a count").get(0);
            assert_eq!(battles, 4);
        }
        "Murder boards" => assert_eq!(printed.trim(), "2", "the events of the file"),
        _ => {}
    }
}

/// The database of Albion Aegis as Prisma's migrations create it, and the backfill's answers.
struct Backfill {
    place: Place,
    load: String,
    others: Vec<String>,
}

impl Backfill {
    /// None if a program is missing.
    fn new(programs: &[&str]) -> Option<Self> {
        if let Some(missing) = programs.iter().find(|name| find_program(&[**name], &[]).is_none()) {
            not_tried("the backfill of docs/aegis.md", &format!("{missing} is missing"));
            return None;
        }
        let place = Place::new();
        place
            .database
            .client()
            .batch_execute(
                "create table \"Battle\" (\"albionId\" bigint primary key, \"startedAt\" timestamp(3) not null,
                   \"killsFetchedAt\" timestamp(3));
                 insert into \"Battle\" values (1337, now(), null), (1338, now(), null), (1339, now(), now()),
                   (1340, now(), null), (1341, now(), null)",
            )
            .expect("battles");
        // Without an answer the request fails. A cut answer is a partial file.
        place.script(
            "curl",
            "while [ \"$1\" != -o ]; do shift; done
             cp cut-\"${3##*=}\" \"$2\" 2>/dev/null && exit 18
             cp answer-\"${3##*=}\" \"$2\" 2>/dev/null || exit 22",
        );
        let (load, others) = commands(AEGIS)
            .into_iter()
            .filter(|(heading, _)| heading == "Backfill")
            .map(|(_, command)| command)
            .partition::<Vec<_>, _>(|command| command.starts_with("aegis-kills load"));
        let [load]: [String; 1] = load.try_into().expect("one load");
        Some(Self { place, load, others })
    }

    fn answer(&self, battle: i64, kills: i64) {
        let answer = in_arrays(&dump(battle * 10..battle * 10 + kills), 3);
        self.place.work.write(&format!("answer-{battle}"), answer);
    }

    fn shell(&self, command: &str, code: i32) {
        log_case(command);
        self.place.shell(command).expect(code);
    }

    /// Fetches the battles, loads them, and marks them.
    fn run(&self) {
        let [fetch, mark] = &self.others[..] else { panic!("other commands: {:?}", self.others) };
        for command in [fetch, &self.load, mark] {
            self.shell(command, 0);
        }
    }

    fn unmarked(&self) -> Vec<i64> {
        let sql = "select \"albionId\" from \"Battle\" where \"killsFetchedAt\" is null order by 1";
        let rows = self.place.database.client().query(sql, &[]).expect("battles");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The battles of the stored kills, with their numbers.
    fn kills(&self) -> Vec<(i64, i64)> {
        let sql = "select \"battleAlbionId\", count(*) from \"KillEvent\" group by 1 order by 1";
        let rows = self.place.database.client().query(sql, &[]).expect("kills");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

#[test]
fn the_backfill_of_albion_aegis_works() {
    let Some(backfill) = Backfill::new(&["psql"]) else { return };
    backfill.answer(1337, 3);
    backfill.answer(1338, 3);
    backfill.place.work.write("cut-1341", &in_arrays(&dump(13_410..13_413), 3)[..100]);
    backfill.run();
    assert_eq!(backfill.kills(), [(1337, 3), (1338, 3)]);
    assert_eq!(backfill.unmarked(), [1340, 1341], "their requests failed");
    let files = ["1337.json", "1338.json"].map(str::to_owned);
    assert_eq!(backfill.place.files("battles"), BTreeSet::from(files));

    fs::remove_file(backfill.place.work.path().join("cut-1341")).expect("a file");
    backfill.answer(1340, 2);
    backfill.answer(1341, 3);
    backfill.run();
    assert_eq!(backfill.kills(), [(1337, 3), (1338, 3), (1340, 2), (1341, 3)]);
    assert!(backfill.unmarked().is_empty());
}

#[test]
fn a_battle_with_a_rejected_kill_is_not_marked() {
    let Some(backfill) = Backfill::new(&["psql", "jq"]) else { return };
    for battle in [1337, 1340, 1341] {
        backfill.answer(battle, 3);
    }
    // A name that is too long for its column.
    let mut event = small_event(13_380);
    event["Victim"]["Name"] = "x".repeat(60).into();
    backfill.place.work.write("answer-1338", json!([event]).to_string());
    let [fetch, mark] = &backfill.others[..] else { panic!("other commands: {:?}", backfill.others) };
    backfill.shell(fetch, 0);
    // The load reports the rejects each time.
    backfill.shell(&backfill.load, 3);
    backfill.shell(&backfill.load, 3);
    let heading = "Rejected kills in a backfill";
    let remove = commands(AEGIS).into_iter().find(|(of, _)| of == heading).expect("a command").1;
    backfill.shell(&remove, 0);
    backfill.shell("rm rejects-*.ndjson", 0);
    backfill.shell(&backfill.load, 0);
    backfill.shell(mark, 0);
    assert_eq!(backfill.kills(), [(1337, 3), (1340, 3), (1341, 3)]);
    assert_eq!(backfill.unmarked(), [1338]);
    backfill.answer(1338, 3);
    backfill.run();
    assert!(backfill.unmarked().is_empty());
}
