//! docs/scaling.md is correct: each command that this machine can run is run, several loads of the same dumps end well,
//! and the shares of the indexed Job cover every dump exactly once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::documents::readme::page::{Line, blocks};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines, zstd_frames};
use crate::support::oracle::{Nul, assert_same, expect, read_tables};
use crate::support::program::{Program, Workplace};
use crate::support::{find_program, log_case, not_tried};

const EVENTS: u32 = 600;
const DUMPS: u32 = 6;
const EVENTS_EACH: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file of the project")
}

/// Writes the dumps into `dumps` of a workplace, and returns their text.
fn write_dumps(work: &Workplace) -> Vec<u8> {
    let dump = generated(EVENTS.into(), 77, 0.0);
    fs::create_dir_all(work.path().join("dumps")).expect("a directory");
    for (number, part) in lines(&dump).chunks(EVENTS_EACH).enumerate() {
        work.write(&format!("dumps/day {number}.ndjson.zst"), zstd_frames(&join(part), 1 << 20));
    }
    dump
}

/// A shell with the program on its PATH and the database in its environment.
fn shell(work: &Workplace, database: &Database<'_>, script: &str) -> Program {
    let program = Path::new(env!("CARGO_BIN_EXE_aegis-kills")).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let home = work.path().to_str().expect("UTF-8");
    log_case(script);
    work.other_program("/bin/sh", &["-c", script])
        .env("PATH", &format!("{}:{path}", program.display()))
        .env("HOME", home)
        .env("DATABASE_URL", &database.url())
        .env("KILLS_SEGMENT_BYTES", "65536")
}

#[track_caller]
fn assert_all_loaded(database: &Database<'_>, dump: &[u8]) {
    assert_same(&expect(dump, Nul::Reject).tables, &read_tables(&mut database.client(), "public", "europe"));
}

/// The commands of a section's blocks of this kind.
fn commands<'p>(page: &'p str, heading: &str, kind: &str) -> Vec<Line<'p>> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the section");
    let section = section.split("\n## ").next().expect("it begins");
    let blocks = blocks(section).into_iter().filter(|block| block.kind == kind);
    blocks.flat_map(|block| block.lines).map(Line::new).collect()
}

#[test]
fn the_commands_of_the_scaling_page_work() {
    for program in ["parallel", "jq"] {
        if find_program(&[program], &[]).is_none() {
            not_tried("the commands of docs/scaling.md", &format!("there is no {program}"));
            return;
        }
    }
    let (work, database) = (Workplace::new(), Cluster::shared().database("scaling"));
    let dump = write_dumps(&work);
    let outputs = run_section("Many loaders", &work, &database, 4);
    let sums: Value = serde_json::from_str(&outputs[3]).expect("the sums");
    assert_eq!((&sums["events"], &sums["inserted"]), (&EVENTS.into(), &EVENTS.into()), "{sums}");
    assert_all_loaded(&database, &dump);
}

/// Other lines of a pod are warnings, and a line of another container.
#[test]
fn the_reports_of_the_pods_are_found_in_their_logs() {
    if find_program(&["jq"], &[]).is_none() {
        return not_tried("the command for the logs of pods", "jq is not installed");
    }
    let (work, database) = (Workplace::new(), Cluster::shared().database("logs"));
    let page = read("docs/scaling.md");
    let lines = commands(&page, "Many loaders", "text");
    let logs = lines.iter().find(|line| line.calls("jq")).expect("a command");
    let reports = ["{\"run\":\"a\",\"events\":2}\n", "{\"run\":\"b\",\"events\":3}\n"];
    let others = "[2026-01-31T12:00:00Z WARN ] database unreachable\n{\"level\":\"info\"}\n7\n";
    work.write("logs", reports.join(others));
    shell(&work, &database, &format!("kubectl() {{ cat logs; }}; {}", logs.command)).expect(0);
    let found = fs::read_to_string(work.path().join("reports.json")).expect("the reports");
    assert_eq!(found, reports.concat());
}

/// Runs the commands of a section, and returns their outputs.
fn run_section(heading: &str, work: &Workplace, database: &Database<'_>, count: usize) -> Vec<String> {
    let page = read("docs/scaling.md");
    let run = |line: &Line<'_>| {
        // This machine stands for the hosts of the page.
        let command = line.command.replace("loader-a,loader-b", ":");
        shell(work, database, &command).expect(line.code).stdout
    };
    let outputs: Vec<String> = commands(&page, heading, "sh").iter().map(run).collect();
    assert_eq!(outputs.len(), count, "{outputs:?}");
    outputs
}

#[test]
fn the_documented_queries_for_bytes_per_event_work() {
    // The WAL is counted for a whole cluster, so other tests must not write to this one.
    let cluster = Cluster::private(&[]);
    let (work, database) = (Workplace::new(), cluster.database("costs"));
    write_dumps(&work);
    let page = read("docs/scaling.md");
    let outputs = run_section("One machine first", &work, &database, 4);
    for (output, name) in [(&outputs[2], "wal"), (&outputs[3], "stored")] {
        let lines: Vec<&str> = output.lines().map(str::trim).collect();
        let bytes: f64 = lines[2].parse().unwrap_or_else(|error| panic!("{error}: {output}"));
        assert!(lines[0] == name && (500.0..20_000.0).contains(&bytes), "{output}");
    }
    let waits =
        blocks(&page).into_iter().find(|block| block.lines.iter().any(|line| line.contains("wait_event")));
    let waits = waits.expect("a query").lines.join("\n");
    database.client().batch_execute(&waits).expect("it can be asked");
}

#[test]
fn the_documented_partitioning_works() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("page"));
    let dump = write_dumps(&work);
    std::os::unix::fs::symlink(root().join("docs"), work.path().join("docs")).expect("a link");
    run_section("Partitions by time", &work, &database, 3);
    shell(&work, &database, "aegis-kills load -q --server europe dumps/*").expect(0);
    assert_all_loaded(&database, &dump);
    let sql = "select count(*) from pg_inherits where inhparent = 'kill_event'::regclass";
    let count: i64 = database.client().query_one(sql, &[]).expect("a row").get(0);
    assert_eq!(count, 4);
}

#[test]
fn one_cron_line_works_on_several_hosts() {
    let database = Cluster::shared().database("hosts");
    let page = read("docs/scaling.md");
    let lines = commands(&page, "Many loaders", "crontab");
    let [entry] = &lines[..] else { panic!("{lines:?}") };
    let command = entry.command.splitn(7, ' ').last().expect("a command").trim();
    let hosts = [Workplace::new(), Workplace::new(), Workplace::new()];
    let mut dump = Vec::new();
    for host in &hosts {
        dump = write_dumps(host);
        fs::create_dir_all(host.path().join(".cargo/bin")).expect("a directory");
        let program = host.path().join(".cargo/bin/aegis-kills");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_aegis-kills"), program).expect("a link");
    }
    thread::scope(|scope| {
        for host in &hosts {
            let command = command.replace("/srv/kills", host.path().to_str().expect("UTF-8"));
            let program = shell(host, &database, &command);
            scope.spawn(|| {
                let ended = program.expect(0);
                assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""), "no mail is sent");
            });
        }
    });
    assert_all_loaded(&database, &dump);
    let sql = "select sum(inserted)::bigint, count(*), count(*) filter (where status = 'complete') from kill_load_run";
    let row = database.client().query_one(sql, &[]).expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (EVENTS.into(), 3, 3));
}

#[test]
fn the_shares_of_the_indexed_job_cover_each_dump_once() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("shares"));
    let dump = write_dumps(&work);
    let job: Value = serde_saphyr::from_str(&read("deploy/job-indexed.yaml")).expect("YAML");
    let spec = &job["spec"];
    let command = spec["template"]["spec"]["containers"][0]["command"].as_array().expect("a command");
    let [shell_path, dash_c, script] = &command[..] else { panic!("{command:?}") };
    assert_eq!((shell_path, dash_c), (&"/bin/sh".into(), &"-c".into()));
    let script = script.as_str().expect("a text").replace("/dumps/", "dumps/");
    let completions = spec["completions"].as_u64().expect("a number");
    assert!(completions > DUMPS.into(), "there are pods for which no dump is left");
    let (mut inserted, mut reports) = (0, String::new());
    for index in 0..completions {
        let pod = shell(&work, &database, &script)
            .env("SHARES", &completions.to_string())
            .env("ALBION_SERVER", "europe")
            .env("JOB_COMPLETION_INDEX", &index.to_string());
        let ended = pod.stdin("not read").expect(0);
        reports.push_str(&ended.stdout);
        if index < DUMPS.into() {
            inserted += ended.summary().count("inserted");
        } else {
            assert_eq!(ended.stdout, "");
        }
    }
    assert_eq!(inserted, u64::from(EVENTS));
    assert_all_loaded(&database, &dump);
    let sources = "select unnest(sources) from kill_load_run";
    let sources = database.client().query(sources, &[]).expect("rows");
    let sources: Vec<String> = sources.iter().map(|row| row.get(0)).collect();
    let distinct: BTreeSet<&String> = sources.iter().collect();
    assert_eq!((sources.len(), distinct.len() as u64), (distinct.len(), DUMPS.into()), "{sources:?}");
}
