//! docs/operations.md: the line of cron that moves old dumps keeps all of them, and the statements for left rows delete no others.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::cluster::Cluster;
use crate::support::dumps::generated;
use crate::support::program::Workplace;

/// The age of the dumps, above the limit of the line.
const AGE: Duration = Duration::from_hours(95 * 24);

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    fs::read_to_string(page).expect("the page")
}

#[test]
fn the_retention_by_cron_keeps_dumps_of_the_same_name() {
    let page = page();
    let entry = page.lines().find(|line| line.contains("-mtime +88") && line.contains("aegis-kills delete"));
    let command = entry.expect("a line of cron").trim().splitn(7, ' ').last().expect("a command").trim();
    let (database, work) = (Cluster::shared().database("retention"), Workplace::new());
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    let script = command
        .replace("/srv/kills", work.path().to_str().expect("UTF-8"))
        .replace("~/.cargo/bin/aegis-kills", env!("CARGO_BIN_EXE_aegis-kills"));
    let dumps: Vec<Vec<u8>> = (1..=3).map(|seed| generated(5, seed, 0.0)).collect();
    let put = |place: &str, dump: &[u8]| {
        let path = work.path().join("dumps/europe").join(place);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, dump).expect("a dump");
        let file = File::options().write(true).open(&path).expect("the dump");
        file.set_modified(SystemTime::now() - AGE).expect("its time");
        path
    };
    let run = || {
        work.other_program("/bin/sh", &["-c", &script]).env("DATABASE_URL", &database.url()).expect(0);
    };
    // Two dumps of the same name in one run, then a third one in the next run.
    let first = [put("one/day.ndjson", &dumps[0]), put("two/day.ndjson", &dumps[1])];
    run();
    let third = put("day.ndjson", &dumps[2]);
    run();
    assert!(first.iter().chain([&third]).all(|path| !path.exists()), "moved");
    let moved = fs::read_dir(work.path().join("old/europe")).expect("the directory");
    let moved: BTreeSet<Vec<u8>> =
        moved.map(|entry| fs::read(entry.expect("a file").path()).expect("a dump")).collect();
    assert_eq!(moved, BTreeSet::from_iter(dumps), "none is lost");
}

#[test]
fn the_statements_for_rows_without_their_event_delete_no_others() {
    let page = page();
    let block = page.split("```sql").find(|block| block.contains("LOCK TABLE kill_load_segment"));
    let (statements, _) = block.and_then(|block| block.split_once("```")).expect("the statements");
    let (database, work) = (Cluster::shared().database("left_rows"), Workplace::new());
    work.load(&database, &[]).stdin(generated(60, 6, 0.0)).expect(0);
    let mut client = database.client();
    let mut rows = |condition: &str| {
        ["kill_player", "kill_loot"].map(|table| {
            let sql = format!("select count(*) from {table} where {condition}");
            client.query_one(&sql, &[]).expect("a count").get::<_, i64>(0)
        })
    };
    let (kept, left) = (rows("event_id % 3 <> 0"), rows("event_id % 3 = 0"));
    assert!(kept.iter().chain(&left).all(|count| *count > 0), "{kept:?} {left:?}");
    let sql = format!("delete from kill_event where event_id % 3 = 0; {statements}");
    database.client().batch_execute(&sql).expect("deletions");
    assert_eq!(rows("true"), kept);
    assert_eq!(rows("event_id % 3 = 0"), [0, 0]);
}
