//! `load`: errors of the database that no row causes reject no event. An error of a row rejects only its event.

use postgres::{Client, NoTls};

use crate::support::cluster::Cluster;
use crate::support::dumps::{join, small_event, version};
use crate::support::program::Workplace;

/// Three small events.
fn dump() -> Vec<u8> {
    join(&(1..=3).map(|id| small_event(id).to_string()).collect::<Vec<_>>())
}

/// Tables with the first versions of three events.
fn loaded<'a>(work: &Workplace, hint: &str) -> crate::support::cluster::Database<'a> {
    let database = Cluster::shared().database(hint);
    let stored: Vec<String> = (1..=3).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&stored)).expect(0);
    database
}

#[test]
fn forbidden_ddl_rejects_no_event() {
    let work = Workplace::new();
    let database = loaded(&work, "ddl_guard");
    let guard = "create function guard() returns event_trigger language plpgsql as
          $$ begin raise exception 'no DDL here (%)', tg_tag; end $$;
        create event trigger guard on ddl_command_start execute function guard()";
    database.client().batch_execute(guard).expect("a guard");
    let news: Vec<String> = (1..=3).map(|id| version(id, 2)).collect();
    let run = work
        .load(&database, &["--on-conflict", "update"])
        .env("DATABASE_RETRY_BASE", "1ms")
        .stdin(join(&news))
        .expect(4);
    run.summary().check(&[("rejected", 0), ("unfinished", 3)]);
    assert!(run.summary().error().contains("no DDL here"));
}

#[test]
fn a_failing_ledger_trigger_rejects_no_event() {
    let work = Workplace::new();
    let database = Cluster::shared().database("ledger_guard");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    let guard = "create function guard() returns trigger language plpgsql as
          $$ begin raise exception 'not in the ledger'; end $$;
        create trigger guard before insert on kill_load_segment for each row execute function guard()";
    database.client().batch_execute(guard).expect("a guard");
    let run = work.load(&database, &[]).env("DATABASE_RETRY_BASE", "1ms").stdin(dump()).expect(4);
    run.summary().check(&[("rejected", 0), ("unfinished", 3)]);
}

/// An error raised by a user's function belongs to its row, whatever the SQLSTATE.
#[test]
fn a_trigger_rejects_its_event_with_any_sqlstate() {
    let work = Workplace::new();
    let of_rows = ["KK001", "P0002", "P0003", "P0004", "02000", "22000"];
    let of_outages = ["08006", "25006", "53100", "53300", "57P01", "58030"];
    // A retry could help, so the event is rejected after the last one.
    let transient = ["40001", "40P01", "55P03", "57014", "XX000"];
    for state in of_rows.into_iter().chain(of_outages).chain(transient) {
        let database = Cluster::shared().database("states");
        work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
        let sql = format!(
            "create function refuse() returns trigger language plpgsql as
               $$ begin raise exception 'not with us' using errcode = '{state}'; end $$;
             create trigger refuse before insert on kill_player for each row when (new.event_id = 2)
               execute function refuse()"
        );
        database.client().batch_execute(&sql).expect("a trigger");
        let run = work.load(&database, &[]).env("DATABASE_RETRY_BASE", "1ms").stdin(dump()).expect(3);
        run.summary().check(&[("inserted", 2), ("rejected", 1), ("connection_errors", 0)]);
        assert_eq!(run.rejects()[0].text("sqlstate"), Some(state));
        assert_eq!(run.rejects()[0].line(), 2);
        let retries = if transient.contains(&state) { 4 } else { 0 };
        run.summary().check(&[("retries", retries)]);
    }
}

/// Without an accepted event, the error can be meant for the whole load: "closed for maintenance".
#[test]
fn a_trigger_that_raises_an_outage_for_all_events_rejects_none() {
    let work = Workplace::new();
    for state in ["25006", "57P01", "53100", "40001"] {
        let database = Cluster::shared().database("maintenance");
        work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
        let sql = format!(
            "create function refuse() returns trigger language plpgsql as
               $$ begin raise exception 'closed' using errcode = '{state}'; end $$;
             create trigger refuse before insert on kill_event for each row execute function refuse()"
        );
        database.client().batch_execute(&sql).expect("a trigger");
        let load = || {
            let load = work.load(&database, &[]).env("DATABASE_RETRY_BASE", "1ms");
            load.env("DATABASE_AWAY_TIMEOUT", "1s")
        };
        let run = load().stdin(dump()).expect(4);
        run.summary().check(&[("inserted", 0), ("rejected", 0), ("unfinished", 3)]);
        assert!(run.summary().error().contains(&format!("closed (SQLSTATE {state})")), "{}", run.stdout);
        // RAISE for the only event of a segment is about that event.
        let run = load().stdin(small_event(2).to_string()).expect(3);
        run.summary().check(&[("rejected", 1), ("unfinished", 0)]);
    }
}

/// A SQLSTATE of the database itself belongs to the row if other rows are stored.
#[test]
fn a_trigger_that_lacks_a_privilege_for_one_event_rejects_that_event() {
    let work = Workplace::new();
    for (statement, state) in [
        ("raise insufficient_privilege using message = 'not yours'", "42501"),
        ("raise feature_not_supported using message = 'not here'", "0A000"),
        ("raise exception 'gone' using errcode = 'F0000'", "F0000"),
        ("insert into audit values (new.event_id)", "42501"),
        ("perform 1 from no_such_table", "42P01"),
    ] {
        for (condition, dump, counts) in [
            ("new.event_id = 2", dump(), Some([("inserted", 2), ("rejected", 1)])),
            ("true", dump(), None),
            ("true", small_event(2).to_string().into_bytes(), Some([("inserted", 0), ("rejected", 1)])),
        ] {
            let timing = if statement.starts_with("raise") { "before insert" } else { "after insert" };
            let database = Cluster::shared().database("lacks");
            let role = format!("{}_role", database.name());
            work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
            let sql = format!(
                "create table audit (id bigint);
                 create function note() returns trigger language plpgsql as
                   $$ begin {statement}; return new; end $$;
                 create trigger note {timing} on kill_event for each row when ({condition})
                   execute function note();
                 create role {role} login; grant usage on schema public to {role};
                 grant select, insert, update, delete on all tables in schema public to {role};
                 revoke all on audit from {role}"
            );
            database.client().batch_execute(&sql).expect("a trigger");
            let url = database.tcp_url().replace("aegis@", &format!("{role}@"));
            let run = work.load(&database, &[]).env("DATABASE_URL", &url).stdin(dump.clone()).run();
            let drop = format!("drop owned by {role}; drop role {role}");
            database.client().batch_execute(&drop).expect("no role");
            let case = format!("{statement}, {condition}");
            // An error without RAISE of a single event is no proof.
            let counts = counts.filter(|_| condition != "true" || statement.starts_with("raise"));
            let Some(counts) = counts else {
                run.expect(7).summary().check(&[("inserted", 0), ("rejected", 0)]);
                continue;
            };
            assert_eq!(run.code, 3, "{case}: {}", run.stderr);
            run.summary().check(&counts);
            assert_eq!(run.rejects()[0].text("sqlstate"), Some(state), "{case}");
        }
    }
}

/// Rows of players and loot are counted too. An event is stored completely or not at all.
#[test]
fn an_event_whose_rows_a_trigger_drops_is_rejected() {
    let work = Workplace::new();
    for (table, condition) in
        [("kill_player", "new.event_id = 2 and new.role = 'victim'"), ("kill_loot", "new.event_id = 2")]
    {
        let database = Cluster::shared().database("dropped");
        work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
        let sql = format!(
            "create function ignore() returns trigger language plpgsql as $$ begin return null; end $$;
             create trigger ignore before insert on {table} for each row when ({condition})
               execute function ignore()"
        );
        database.client().batch_execute(&sql).expect("a trigger");
        let events: Vec<String> = (1..=3).map(|id| version(id, 1)).collect();
        let run = work.load(&database, &[]).stdin(join(&events)).expect(3);
        run.summary().check(&[("inserted", 2), ("rejected", 1)]);
        assert!(run.rejects()[0].text("reason").expect("a reason").contains("dropped"), "{table}");
        let left: i64 = database
            .client()
            .query_one(&format!("select count(*) from {table} where event_id = 2"), &[])
            .expect("a count")
            .get(0);
        assert_eq!(left, 0, "{table}");
    }
}

/// Characters that are escaped in stored JSON, in databases with other encodings.
#[test]
fn escapes_are_stored_in_other_encodings() {
    let work = Workplace::new();
    let mut escaped = small_event(1).to_string();
    escaped.truncate(escaped.len() - 1);
    escaped.push_str(r#","GvGMatch":{"Name":"Z\u00fcrich"}}"#);
    let dump = join(&[escaped, small_event(2).to_string()]);
    for encoding in ["SQL_ASCII", "LATIN1", "UTF8"] {
        let database = Cluster::shared().database("encoded");
        let name = format!("{}_{}", database.name(), encoding.to_lowercase());
        let mut admin = Cluster::shared().admin();
        admin
            .batch_execute(&format!(
                "create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
            ))
            .expect("a database");
        let url = Cluster::shared().url(&name);
        work.program(&["load", "--json", "--database-url", &url]).stdin(dump.clone()).expect(0);
        let mut client = Client::connect(&url, NoTls).expect("a connection");
        let sql = "select encode(convert_to(gvg_match ->> 'Name', current_setting('server_encoding')), 'hex')
             from kill_event where event_id = 1";
        let found: String = client.query_one(sql, &[]).expect("a row").get(0);
        let expected = if encoding == "LATIN1" { "5afc72696368" } else { "5ac3bc72696368" };
        assert_eq!(found, expected, "{encoding}");
        drop(client);
        // The statement waits for sessions that are ending.
        admin.batch_execute(&format!("drop database {name}")).expect("dropped");
    }
}

/// A statement trigger fires for any rows.
#[test]
fn a_failing_statement_trigger_rejects_no_event() {
    let work = Workplace::new();
    for (table, state, code) in
        [("kill_event", "P0001", 4), ("kill_loot", "P0001", 4), ("kill_event", "42501", 7)]
    {
        let database = Cluster::shared().database("statement");
        work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
        let sql = format!(
            "create function closed() returns trigger language plpgsql as
               $$ begin raise exception 'closed' using errcode = '{state}'; end $$;
             create trigger closed before insert on {table} for each statement execute function closed()"
        );
        database.client().batch_execute(&sql).expect("a trigger");
        let run = work.load(&database, &[]).env("DATABASE_RETRY_BASE", "1ms").stdin(dump()).expect(code);
        run.summary().check(&[("rejected", 0), ("unfinished", 3)]);
        assert!(run.summary().error().contains(&format!("closed (SQLSTATE {state})")), "{}", run.stdout);
    }
}
