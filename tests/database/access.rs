//! Roles and tables that a load cannot use: `health`, `verify` and `load` report the cause at once.

use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use serde_json::Value;

use crate::support::cluster::{Cluster, Database, major_version};
use crate::support::dumps::generated;
use crate::support::log_case;
use crate::support::pgbouncer::PgBouncer;
use crate::support::program::{Ended, Workplace};

/// Shorter than the retries of an outage.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A database with tables and events, and a role of this test.
struct Place<'c> {
    database: Database<'c>,
    work: Workplace,
    role: String,
}

impl Place<'_> {
    fn new() -> Self {
        let database = Cluster::shared().database("access");
        let work = Workplace::new();
        work.write("dump.ndjson", generated(20, 3, 0.0));
        work.load(&database, &["dump.ndjson"]).expect(0);
        let role = format!("{}_role", database.name());
        let place = Self { database, work, role };
        let sql = "create role ROLE login; grant usage on schema public to ROLE;
                   grant select, insert, update, delete on all tables in schema public to ROLE";
        place.change(sql);
        place
    }

    /// Runs statements as the owner. `ROLE` stands for the role's name.
    fn change(&self, sql: &str) {
        let sql = sql.replace("ROLE", &self.role).replace("DATABASE_NAME", self.database.name());
        self.database.client().batch_execute(&sql).expect("a change");
    }

    fn run(&self, args: &[&str]) -> Ended {
        let url = self.database.tcp_url().replace("aegis@", &format!("{}@", self.role));
        let begun = Instant::now();
        let ended = self.work.program(args).env("DATABASE_URL", &url).env("ALBION_SERVER", "americas").run();
        assert!(begun.elapsed() < AT_ONCE, "{ended:?}");
        ended
    }

    #[track_caller]
    fn is_unhealthy(&self, words: &str) {
        let report = self.run(&["health", "--json"]).expect(6);
        let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
        let error = report["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{words:?} is missing in {report}");
        let text = self.run(&["health"]).expect(6).stdout;
        assert!(text.contains(words) && !text.contains("can be written"), "{text}");
    }

    /// The rest of the hint of `health`, after the place to run it.
    #[track_caller]
    fn remedy(&self, place: &str) -> String {
        let health = self.run(&["health"]).expect(6).stdout;
        let begin = format!("hint: check with the role that loads; if it is this one, run {place}");
        let rest = health.split_once(&begin).and_then(|(_, rest)| rest.lines().next());
        rest.unwrap_or_else(|| panic!("no {begin:?} in {health}")).to_owned()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut client: Client = self.database.client();
        let sql = format!("drop owned by {0}; drop role {0}", self.role);
        // Errors are ignored, because a failed test has its own message.
        let _ = client.batch_execute(&sql);
    }
}

#[test]
fn hidden_rows_are_reported() {
    let place = Place::new();
    place.run(&["health"]).expect(0);
    place.change("alter table kill_event enable row level security");
    place.is_unhealthy("row-level security can hide rows of kill_event from the role");
    for args in [&["verify"][..], &["verify", "--ids-only"], &["load", "--force"], &["delete"]] {
        let ended = place.run(&[args, &["dump.ndjson"]].concat()).expect(7);
        assert!(
            (ended.stdout.clone() + &ended.stderr).contains("row-level security can hide rows"),
            "{ended:?}"
        );
    }
    place.change("alter table kill_event disable row level security");
    place.run(&["verify", "dump.ndjson"]).expect(0);
    place.change(
        "alter table kill_event enable row level security; alter table kill_load_file enable row level security",
    );
    place.is_unhealthy("row-level security can hide rows of kill_event, kill_load_file from the role");
    place.change(
        "alter table kill_event disable row level security; alter table kill_load_file disable row level security",
    );
    // Child rows can be hidden too.
    for table in ["kill_player", "kill_loot"] {
        place.change(&format!("alter table {table} enable row level security"));
        place.run(&["verify", "dump.ndjson"]).expect(7).says(&["row-level security can hide rows"]);
        place.change(&format!("alter table {table} disable row level security"));
    }
}

/// A forced policy holds for the owner too.
#[test]
fn the_owner_of_a_table_with_forced_policies_gets_the_statement() {
    let place = Place::new();
    place.change(
        "alter table kill_event owner to ROLE; alter table kill_event enable row level security;
         alter table kill_event force row level security",
    );
    place.is_unhealthy("NO FORCE ROW LEVEL SECURITY");
    place.run(&["verify", "dump.ndjson"]).expect(7).says(&["NO FORCE ROW LEVEL SECURITY for the table"]);
    place.run(&["load", "dump.ndjson"]).expect(7).says(&["NO FORCE ROW LEVEL SECURITY"]);
    let health = place.run(&["health"]).expect(6).stdout;
    let statement = health.split_once("after this statement: ").and_then(|(_, rest)| rest.lines().next());
    place.change(statement.unwrap_or_else(|| panic!("no statement in {health}")));
    place.run(&["health"]).expect(0);
    place.run(&["verify", "dump.ndjson"]).expect(0);
    // The role is dropped with all that it owns.
    place.change("alter table kill_event owner to current_user");
}

#[test]
fn missing_privileges_are_reported() {
    for (change, words) in [
        ("revoke insert on kill_event from ROLE", "lacks INSERT on kill_event"),
        ("revoke select on kill_load_run from ROLE", "lacks SELECT on kill_load_run"),
        ("revoke delete, insert on kill_loot from ROLE", "lacks INSERT, DELETE on kill_loot"),
        ("revoke update on kill_player from ROLE", "lacks UPDATE on kill_player"),
        ("revoke usage on schema public from public, ROLE", "lacks USAGE on the schema public"),
        ("revoke temporary on database DATABASE_NAME from public", "lacks TEMPORARY on the database"),
        (
            "drop table kill_event, kill_player, kill_loot, kill_load_run, kill_load_segment;
             revoke create on schema public from public",
            "the tables are missing, and the role",
        ),
    ] {
        let place = Place::new();
        place.run(&["health"]).expect(0);
        place.change(change);
        place.is_unhealthy(words);
        if change.starts_with("drop table") {
            let command = place.remedy("in a shell as the owner, with the owner's login in DATABASE_URL: ");
            let shell = place.work.other_program("bash", &["-c", &command]);
            shell.env("DATABASE_URL", &place.database.url()).expect(0);
        }
        // The new tables need grants, too.
        place.change(&place.remedy("in psql as the owner: "));
        place.run(&["health"]).expect(0);
    }
}

#[test]
fn missing_tables_and_privileges_have_one_hint() {
    let place = Place::new();
    place.change(
        "drop table kill_loot; revoke create on schema public from public; revoke insert on kill_event from ROLE",
    );
    let remedy = place.remedy("in psql as the owner: ");
    let (statement, command) = remedy.split_once("; then in a shell as the owner, ").expect("a command");
    assert_eq!(statement, format!("GRANT INSERT ON public.kill_event TO {}", place.role));
    assert!(command.starts_with("with the owner's login in DATABASE_URL: "), "{command}");
    assert!(command.ends_with(" schema apply"), "{command}");
}

#[test]
fn tables_with_the_same_missing_privileges_are_one_fault() {
    let place = Place::new();
    place.change("revoke insert, update, delete on all tables in schema public from ROLE");
    let role = &place.role;
    place.is_unhealthy(&format!(
        "the role {role} lacks INSERT, UPDATE on kill_event, kill_load_run, kill_load_segment; the role {role} lacks \
         INSERT, UPDATE, DELETE on kill_player, kill_loot\nhint: "
    ));
}

#[test]
fn the_statements_of_the_hint_grant_what_the_role_lacks() {
    for (change, args) in [
        ("revoke all on all tables in schema public from ROLE", &["load", "--force"][..]),
        (
            "truncate kill_event, kill_player, kill_loot; revoke insert on kill_player, kill_loot from ROLE",
            &["load", "--force"],
        ),
        (
            "update kill_player set name = 'other'; revoke update on kill_player, kill_loot from ROLE",
            &["load", "--on-conflict", "update"],
        ),
        ("revoke select on kill_event, kill_player from ROLE", &["verify"]),
    ] {
        log_case(change);
        let place = Place::new();
        place.change(change);
        let args = [args, &["dump.ndjson"]].concat();
        let failed = place.run(&args).expect(7);
        let said = failed.stdout + &failed.stderr;
        let statements =
            said.split_once("run in psql as the owner: ").and_then(|(_, rest)| rest.lines().next());
        place.change(statements.unwrap_or_else(|| panic!("no statements in {said}")));
        place.run(&args).expect(0);
    }
}

#[test]
fn the_hint_about_unreliable_tables_is_the_remedy() {
    let place = Place::new();
    place.change(
        "alter table kill_event enable row level security;
         alter table kill_event set unlogged; alter table kill_loot set unlogged",
    );
    let load = || place.run(&["load", "--force", "dump.ndjson"]);
    let failed = load().expect(7);
    let said = failed.stdout + &failed.stderr;
    let (_, hint) = said.split_once("hint: ").unwrap_or_else(|| panic!("no hint in {said}"));
    for statement in hint.split([';', ':', '\n']).map(str::trim).filter(|part| part.starts_with("ALTER ")) {
        place.database.client().batch_execute(statement).expect("the remedy");
    }
    load().expect(0);
}

#[test]
fn partly_unlogged_tables_are_unhealthy() {
    let place = Place::new();
    place.change("alter table kill_event set unlogged; alter table kill_loot set unlogged");
    for table in ["kill_event", "kill_loot"] {
        place.is_unhealthy(&format!("{table} is unlogged and kill_load_segment is not"));
        place.is_unhealthy(&format!("ALTER TABLE \"public\".\"{table}\" SET LOGGED"));
    }
    // If a crash empties all of them, the next load stores the events again.
    place.change("alter table kill_load_segment set unlogged");
    place.run(&["health"]).expect(0);
}

#[test]
fn a_read_only_role_is_no_outage() {
    let place = Place::new();
    place.change("alter role ROLE set default_transaction_read_only = on");
    let load = place.run(&["load", "--json", "--force", "dump.ndjson"]);
    assert_eq!(load.code, 7, "{load:?}");
    assert!(load.stdout.contains("default_transaction_read_only is on, so"), "{load:?}");
    place.run(&["verify", "dump.ndjson"]).expect(0);
    let refused = place.run(&["load", "--force", "dump.ndjson"]).expect(7);
    let (_, statement) = refused.stderr.split_once("or run: ").expect("a statement");
    let statement = statement.lines().next().expect("a line");
    let url = place.database.tcp_url().replace("aegis@", &format!("{}@", place.role));
    let mut client = Client::connect(&url, NoTls).expect("a session that is read-only by default");
    client.batch_execute(statement).expect("what is suggested can be run");
    place.run(&["load", "--force", "dump.ndjson"]).expect(0);
}

/// Without `DATABASE_AWAY_TIMEOUT`, because a retry would not help.
#[test]
fn a_read_only_login_is_no_outage() {
    let place = Place::new();
    let empty = Cluster::shared().database("read_only_login");
    let hint = "\nhint: remove it from PGOPTIONS and from the options of the URL";
    for (url, case) in [(place.database.tcp_url(), "tables"), (empty.tcp_url(), "no tables")] {
        let url_with_option = format!("{url}?options=-c%20default_transaction_read_only%3Don");
        for (url, options) in [(&url, "-c default_transaction_read_only=on"), (&url_with_option, "")] {
            let begun = Instant::now();
            let load = place.work.program(&["load", "--force", "dump.ndjson"]).env("DATABASE_URL", url);
            let load = load.env("PGOPTIONS", options).expect(7);
            assert!(
                load.stderr.contains(&format!(
                    "default_transaction_read_only is on, so nothing can be written{hint}"
                ))
            );
            assert!(begun.elapsed() < AT_ONCE, "{case}: {load:?}");
        }
    }
    // The requirement cannot be met by a retry either.
    let url = format!("{}?target_session_attrs=read-write", place.database.tcp_url());
    let load = place.work.program(&["load", "--force", "dump.ndjson"]).env("DATABASE_URL", &url);
    let load = load.env("PGOPTIONS", "-c default_transaction_read_only=on").env("ALBION_SERVER", "americas");
    load.expect(7).says(&["default_transaction_read_only is on, so"]);
    let health = place.work.program(&["health"]).env("DATABASE_URL", &place.database.tcp_url());
    let health = health.env("PGOPTIONS", "-c default_transaction_read_only=on").expect(6);
    assert!(health.stdout.contains("default_transaction_read_only is on"), "{health:?}");
}

#[test]
fn time_outs_of_a_role_are_overridden() {
    let place = Place::new();
    place.change("alter role ROLE set lock_timeout = '1ms'; alter role ROLE set statement_timeout = '1ms'");
    let load = place.run(&["load", "--json", "--force", "dump.ndjson"]);
    // On a slow machine the statement fails with this time-out.
    assert!(load.code == 0 || load.stdout.contains("statement_timeout of the role"), "{load:?}");
    assert!(!load.stderr.contains("no transaction in progress"), "{load:?}");
}

/// It ends the session, as an outage does. `run` has a limit that is shorter than the retries.
#[test]
fn a_short_transaction_timeout_is_no_outage() {
    let place = Place::new();
    if major_version(&mut place.database.client()) < 17 {
        return;
    }
    place.change("alter role ROLE set transaction_timeout = '1ms'");
    let load = place.run(&["load", "--force", "dump.ndjson"]);
    // On a fast machine the session is set up in time, and its settings replace this one.
    assert!(load.code == 0 || load.stderr.contains("the transaction_timeout of the role"), "{load:?}");
}

/// The client library loses the pooler's message if the end of the connection arrives with it, which is a matter of
/// chance: so there are several loads.
#[test]
fn a_pooler_in_statement_mode_is_an_error() {
    let Some(pooler) = PgBouncer::in_mode("statement", Cluster::shared()) else { return };
    let place = Place::new();
    let url = pooler.url(&place.database);
    for _ in 0..4 {
        let begun = Instant::now();
        let load = place.work.load(&place.database, &["dump.ndjson"]).env("DATABASE_URL", &url).expect(7);
        assert!(
            load.stdout.contains("statement mode") && begun.elapsed() < Duration::from_secs(20),
            "{load:?}"
        );
        let health = place.work.program(&["health"]).env("DATABASE_URL", &url).expect(6);
        assert!(health.stdout.contains("statement mode"), "{health:?}");
    }
}
