//! docs/faq.md is correct: each command of its blocks is run, and its query.

use std::fs;
use std::path::Path;

use crate::documents::readme::page::{Line, blocks};
use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, gzip};
use crate::support::log_case;
use crate::support::program::{Ended, Workplace};

#[test]
fn the_commands_of_the_faq_work() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("faq"));
    for (server, seed) in [("americas", 1), ("europe", 2), ("asia", 3)] {
        let directory = format!("dumps/{server}");
        fs::create_dir_all(work.path().join(&directory)).expect("a directory");
        work.write(&format!("{directory}/day.ndjson"), generated(20, seed, 0.0));
    }
    work.write("kills-1.ndjson.gz", gzip(&generated(20, 2, 0.0)));
    let program = Path::new(env!("CARGO_BIN_EXE_aegis-kills")).parent().expect("a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let run = |line: &Line<'_>| -> Ended {
        let command = line.command.replace("--events 10000", "--events 100");
        log_case(&command);
        let shell = work.other_program("/bin/sh", &["-c", &command]).env("PATH", &path);
        let home = work.path().to_str().expect("UTF-8");
        shell.env("HOME", home).env("DATABASE_URL", &database.url()).expect(line.code)
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faq.md");
    let page = fs::read_to_string(page).expect("the page");
    let (mut commands, mut queries) = (0, 0);
    for block in blocks(&page) {
        match block.kind {
            "sh" => {
                for line in block.commands() {
                    let ended = run(&line);
                    assert!(!ended.stdout.contains("exit code"), "{ended:?}");
                    commands += 1;
                }
            }
            "sql" => {
                database.client().batch_execute(&block.lines.join("\n")).expect("an answer");
                queries += 1;
            }
            other => panic!("line {}: a block of {other:?}", block.number),
        }
    }
    assert_eq!((commands, queries), (3, 1));
    let sql = "select server::text, count(*) from kill_event group by 1 order by 1";
    let rows = database.client().query(sql, &[]).expect("rows");
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = ["americas", "asia", "europe"].map(|server| (server.to_owned(), 20));
    assert_eq!(counts, expected);
}
