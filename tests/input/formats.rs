//! Unsupported formats: the error identifies each, and the command in it loads the file when pasted.

mod rows;

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, gzip, lines, small_event, zstd_frames};
use crate::support::process::Supervised as _;
use crate::support::program::{Ended, Workplace};
use crate::support::{find_program, log_case, not_tried};

const EVENTS: u64 = 20;
/// Options that must stay in the command.
const OPTIONS: [&str; 5] = ["--server", "europe", "--schema", "the game", "--json"];

/// A tar archive with one file, as GNU tar creates it.
fn tar(text: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let size = format!("{:011o}", text.len());
    for (at, field) in [
        (0, "dump.ndjson"),
        (100, "0000644"),
        (108, "0000000"),
        (116, "0000000"),
        (124, size.as_str()),
        (136, "00000000000"),
        // The checksum field counts as blanks.
        (148, "        "),
        (156, "0"),
        (257, "ustar  "),
    ] {
        header[at..at + field.len()].copy_from_slice(field.as_bytes());
    }
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; text.len().next_multiple_of(512) - text.len() + 1024];
    [header, text.to_vec(), padding].concat()
}

/// The command at the end of an error.
#[track_caller]
fn suggested(run: &Ended) -> String {
    let error = run.summary().error().to_owned();
    let command = error.split_once("with: ").unwrap_or_else(|| panic!("no command in {error}")).1;
    command.to_owned()
}

fn shell(work: &Workplace, command: &str) -> Ended {
    work.other_program("bash", &["-c", command]).run()
}

fn has(program: &str) -> bool {
    let found = find_program(&[program], &[]).is_some();
    if !found {
        not_tried(&format!("a command with {program}"), "it is not installed");
    }
    found
}

/// Loads the file, runs the suggested command, and checks where the events are.
#[track_caller]
fn check(work: &Workplace, name: &str, words: &str, command: &str) {
    log_case(name);
    let database = Cluster::shared().database("formats");
    let load = || work.program(&["load", name]).args(&OPTIONS).env("DATABASE_URL", &database.url());
    let run = load().expect(1);
    run.summary().check(&[("events", 0), ("rejected", 0)]);
    assert!(
        run.summary().error().contains(&format!("{name} is {words}, which is not read directly")),
        "{run:?}"
    );
    let pasted = suggested(&run);
    assert!(pasted.starts_with(command), "{pasted}");
    assert!(pasted.contains(" load --schema 'the game' --server europe --json"), "{pasted}");
    let parts = pasted.split(" | ").flat_map(|part| part.split(" && "));
    let programs = parts.filter_map(|part| part.split_whitespace().next());
    if !programs.filter(|name| !name.contains('/')).all(has) {
        return;
    }
    let ended = work.other_program("bash", &["-c", &pasted]).env("DATABASE_URL", &database.url()).run();
    ended.expect(0).summary().check(&[("inserted", EVENTS)]);
    assert_eq!(europe(&database), i64::try_from(EVENTS).expect("few"), "{name}");
}

fn europe(database: &Database<'_>) -> i64 {
    let sql = "select count(*) from \"the game\".kill_event where server = 'europe'";
    database.client().query_one(sql, &[]).expect("a count").get(0)
}

#[test]
fn archives_load_with_the_command_in_their_error() {
    let work = Workplace::new();
    let dump = generated(EVENTS, 2, 0.0);
    work.write("dump", &dump);
    for (make, name, words, command) in [
        ("xz -c dump > 'a b.xz'", "a b.xz", "compressed with xz", "xz -dc 'a b.xz' | "),
        ("bzip2 -c dump > a.bz2", "a.bz2", "compressed with bzip2", "bzip2 -dc a.bz2 | "),
        ("lz4 -qc dump > a.lz4", "a.lz4", "compressed with lz4", "lz4 -dc a.lz4 | "),
        ("7z a -bd a.7z dump", "a.7z", "a 7z archive", "mkdir a.7z.d && 7z x -oa.7z.d a.7z "),
        ("xz -c dump | gzip > a.xz.gz", "a.xz.gz", "compressed with xz", "gzip -dc a.xz.gz | xz -dc | "),
    ] {
        if has(make.split(' ').next().expect("a program")) {
            shell(&work, make).expect(0);
            check(&work, name, words, command);
        }
    }
    let text = String::from_utf8(dump.clone()).expect("JSON");
    let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let zeros = [&vec![0; 70 << 10][..], b"\n", &dump].concat();
    for (bytes, name, words, command) in [
        (tar(&dump), "a.tar", "a tar archive", "mkdir a.tar.d && tar -xf a.tar -C a.tar.d && "),
        (gzip(&tar(&dump)), "a.tar.gz", "a tar archive", "mkdir a.tar.gz.d && tar -xf a.tar.gz -C "),
        (
            zstd_frames(&tar(&dump), 1 << 20),
            "a.tzst",
            "a tar archive",
            "mkdir a.tzst.d && tar -xf a.tzst -C ",
        ),
        (utf16(u16::to_le_bytes), "le", "UTF-16 text", "iconv -f UTF-16LE -t UTF-8 le | "),
        (utf16(u16::to_be_bytes), "be", "UTF-16 text", "iconv -f UTF-16BE -t UTF-8 be | "),
        (gzip(&gzip(&dump)), "twice.gz", "compressed twice", "gzip -dc twice.gz | "),
        (gzip(&zstd_frames(&dump, 1 << 20)), "both", "compressed twice", "gzip -dc both | "),
        (zeros, "zeros", "filled with NUL bytes, as after a file system crash", "tr -d '\\0' < zeros | "),
    ] {
        // tar runs it.
        if name != "a.tzst" || has("zstd") {
            work.write(name, bytes);
            check(&work, name, words, command);
        }
    }
}

#[test]
fn plain_and_compressed_files_of_an_archive_keep_their_names() {
    let work = Workplace::new();
    fs::create_dir(work.path().join("battles")).expect("a directory");
    let page = |id: i64| format!("[{}]", small_event(id));
    work.write("battles/1337.json", page(1));
    work.write("battles/1338.json.gz", gzip(page(2).as_bytes()));
    for (make, extract, name) in [
        ("tar -cf 2024.tar battles", "tar", "2024.tar"),
        ("tar -czf 2024.tgz battles", "tar", "2024.tgz"),
        ("zip -qr 2024.zip battles", "unzip", "2024.zip"),
        ("7z a -bd 2024.7z battles", "7z", "2024.7z"),
    ] {
        if !has(make.split(' ').next().expect("a program")) || !has(extract) {
            continue;
        }
        log_case(name);
        let database = Cluster::shared().database("archive");
        shell(&work, make).expect(0);
        let pasted = suggested(&work.load(&database, &["--battle", "from-name", name]).expect(1));
        work.other_program("bash", &["-c", &pasted]).env("DATABASE_URL", &database.url()).expect(0);
        let sql = "select event_id, battle_id from kill_event order by 1";
        let rows = database.client().query(sql, &[]).expect("events");
        let found: Vec<(i64, Option<i64>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(found, [(1, Some(1337)), (2, Some(1338))], "{name}: {pasted}");
    }
}

#[test]
fn tables_of_other_programs_load_with_the_command_in_their_error() {
    let work = Workplace::new();
    let dump = generated(EVENTS, 2, 0.0);
    let quoted = |line: &&[u8]| String::from_utf8_lossy(line).replace('"', "\"\"");
    let rows =
        lines(&dump).iter().map(|line| format!("7;\"{}\";x\n", quoted(line))).collect::<Vec<_>>().concat();
    work.write("a.csv", format!("id;raw_json;\"what else\"\n{rows}"));
    let python = "python3 -c 'import csv, json, sys;";
    check(&work, "a.csv", "CSV", python);
    let statements = lines(&dump)
        .iter()
        .map(|line| {
            format!(
                "INSERT INTO kills VALUES (1, '{}');\n",
                String::from_utf8_lossy(line).replace('\'', "''")
            )
        })
        .collect::<Vec<_>>()
        .concat();
    work.write(
        "a.sql",
        format!("BEGIN; CREATE TABLE kills (id INTEGER, raw_json TEXT);\n{statements}COMMIT;\n"),
    );
    if has("sqlite3") {
        shell(&work, "sqlite3 a.db < a.sql").expect(0);
        check(&work, "a.db", "an SQLite database", r#"sqlite3 a.db 'SELECT "raw_json" FROM "kills"' | "#);
    }
    // Column names can be arbitrary.
    work.write("b.sql", format!("BEGIN; CREATE TABLE kills (x INTEGER, y TEXT);\n{statements}COMMIT;\n"));
    if has("sqlite3") {
        shell(&work, "sqlite3 b.db < b.sql").expect(0);
        check(&work, "b.db", "an SQLite database", "sqlite3 b.db '.dump --newlines' | ");
    }
    let database = Cluster::shared().database("dumped");
    database.client().batch_execute("create table kills (id int, event jsonb)").expect("a table");
    for line in lines(&dump) {
        let json = String::from_utf8_lossy(line);
        database.client().execute("insert into kills values (1, $1::text::jsonb)", &[&json]).expect("a row");
    }
    for (form, name, words, command) in [
        ("c", "a.dump", "a PostgreSQL archive (pg_dump)", "pg_restore --data-only -f - a.dump | "),
        ("p", "a.pgsql", "a PostgreSQL script (pg_dump)", "tr '\\t' '\\n' < a.pgsql | "),
    ] {
        let mut dumped = Command::new("pg_dump");
        dumped.args(["-F", form, "-f", name, &database.url()]);
        let dumped = dumped.current_dir(work.path()).output_in_time();
        if dumped.is_ok_and(|dumped| dumped.status.success()) {
            check(&work, name, words, command);
        } else {
            not_tried("the command for archives of pg_dump", "pg_dump can't read the server");
        }
    }
}

/// The events, pretty-printed.
fn pretty(dump: &[u8]) -> Vec<String> {
    let pretty = |line: &&[u8]| {
        let value: Value = serde_json::from_slice(line).expect("JSON");
        serde_json::to_string_pretty(&value).expect("JSON")
    };
    lines(dump).iter().map(pretty).collect()
}

#[test]
fn every_form_of_a_postgresql_dump_loads_with_the_command_in_its_error() {
    let work = Workplace::new();
    let database = Cluster::shared().database("dumped_text");
    database.client().batch_execute("create table kills (id int, event text)").expect("a table");
    for event in pretty(&generated(EVENTS, 2, 0.0)) {
        database.client().execute("insert into kills values (1, $1)", &[&event]).expect("a row");
    }
    let (archive, script) = ("a PostgreSQL archive (pg_dump)", "a PostgreSQL script (pg_dump)");
    for (options, output, name, words, command) in [
        (&["-Fc"][..], "c", "c", archive, "pg_restore --data-only -f - c | tr '\\t' '\\n' | "),
        (&["-Fc", "--inserts"], "ci", "ci", archive, "pg_restore --data-only -f - ci | sed "),
        (&["-Ft"], "t.tar", "t.tar", archive, "pg_restore --data-only -f - t.tar | tr "),
        (&["-Fd"], "d", "d/toc.dat", archive, "pg_restore --data-only -f - d | tr "),
        (&["-Fp"], "p", "p", script, "tr '\\t' '\\n' < p | "),
        (&["-Fp", "--inserts"], "pi", "pi", script, "sed \"s/''/\\x01/g\" < pi | tr "),
        (&["-Fp", "--column-inserts"], "pc", "pc", script, "sed \"s/''/\\x01/g\" < pc | tr "),
    ] {
        let mut dumped = Command::new("pg_dump");
        dumped.args(options).args(["-f", output, &database.url()]);
        let dumped = dumped.current_dir(work.path()).output_in_time();
        if dumped.is_ok_and(|dumped| dumped.status.success()) {
            check(&work, name, words, command);
        } else {
            not_tried("the command for a dump of pg_dump", "pg_dump can't read the server");
        }
    }
}

#[test]
fn rare_formats_are_named() {
    let work = Workplace::new();
    // A frame that names a dictionary.
    let dictionary = b"\x28\xb5\x2f\xfd\x21\x07\x03\x19\0\0{}\n";
    for (bytes, words, command) in [
        (
            &b"PAR1\x15\x04\x15"[..],
            "Parquet",
            r"duckdb -c 'COPY (FROM '\''a'\'') TO '\''/dev/stdout'\'' (FORMAT json)' | ",
        ),
        (b"\x20\0\0\0\x07_id\0aaaaaaaaaaaa\x10EventId\0\x01\0\0\0\0", "BSON", "bsondump --quiet a | "),
        (dictionary, "needs its dictionary", "zstd -dc -D DICTIONARY a | "),
        (b"PK\x03\x04aaaa", "a zip archive", "mkdir a.d && unzip -q a -d a.d && "),
    ] {
        work.write("a", bytes);
        let run = work.program(&["load", "--dry-run", "--battle", "7", "a"]).args(&OPTIONS).expect(1);
        assert!(run.summary().error().contains(words), "{run:?}");
        let pasted = run.summary().error().to_owned();
        assert!(pasted.contains(command) && pasted.contains(" --battle 7 --dry-run --json"), "{pasted}");
    }
}

#[test]
fn suggested_commands_keep_the_options_without_the_password() {
    let work = Workplace::new();
    let database = Cluster::shared().database("hints");
    work.write("battle-1337.json.xz", b"\xfd7zXZ\0\0\x04");
    let run = |args: &[&str]| {
        work.program(args).arg("battle-1337.json.xz").env("DATABASE_URL", &database.url()).expect(1).stderr
    };
    let said = run(&["load", "--battle", "from-name", "--layout", "aegis", "--events-at", "a.b"]);
    assert!(said.contains(" load --server americas --events-at a.b --battle 1337 --layout aegis"), "{said}");
    work.program(&["schema", "apply", "--schema", "game"]).env("DATABASE_URL", &database.url()).expect(0);
    let said = run(&["verify", "--schema", "game", "--ids-only"]);
    assert!(said.contains(" verify --schema game --server americas --ids-only"), "{said}");
    let url = database.tcp_url().replace("aegis@", "aegis:the-secret@");
    let said = run(&["load", "--database-url", &url]);
    assert!(said.contains("xz -dc") && !said.contains("the-secret"), "{said}");
    database.client().batch_execute("drop index game.kill_event_newest").expect("a drop");
    let health = work.program(&["health", "--schema", "game"]).env("DATABASE_URL", &database.url()).run();
    health.says_in_output("aegis-kills schema apply --schema game");
    database.client().batch_execute("drop table game.kill_loot").expect("a drop");
    // Following the hint stores the events in the requested schema.
    work.write("one", format!("{}\n", small_event(1)));
    work.program(&["verify", "--schema", "game", "one"]).env("DATABASE_URL", &database.url()).run();
}
