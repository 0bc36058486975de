//! Settings of the program's sessions, whatever the role or the database sets.

use crate::support::cluster::Cluster;
use crate::support::dumps::generated;
use crate::support::program::Workplace;

/// Notes the settings of the session that writes a run's row.
const WITNESS: &str = "create table witness (name text, setting text);
    create function note() returns trigger language plpgsql as $$ begin
        insert into public.witness select name, setting from pg_settings;
        insert into public.witness select 'activity', application_name from pg_stat_activity where pid = pg_backend_pid();
        return new;
    end $$;
    create trigger note before insert on kill_load_run for each row execute function note()";

#[test]
fn sessions_have_time_outs_and_names() {
    let database = Cluster::shared().database("sessions");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut client = database.client();
    client.batch_execute(WITNESS).expect("a trigger");
    // Settings of later versions would end long transactions, or connections that are kept idle.
    let later = "select name || ' = 3600000' from pg_settings where name in ('transaction_timeout', 'idle_session_timeout')";
    let later: Vec<String> = client.query(later, &[]).expect("names").iter().map(|row| row.get(0)).collect();
    for setting in
        ["statement_timeout = '2s'", "lock_timeout = '1s'", "idle_in_transaction_session_timeout = 0"]
            .into_iter()
            .chain(later.iter().map(String::as_str))
    {
        let sql = format!("alter database {} set {setting}", database.name());
        client.batch_execute(&sql).expect("a setting");
    }
    let url = format!("{}?application_name=nightly", database.tcp_url());
    let run = work.program(&["load", "--json"]).env("DATABASE_URL", &url).expect(0);
    let run = run.summary().0["run"].as_str().expect("a run").to_owned();
    let mut setting = |name: &str| -> Option<String> {
        let row = client.query_opt("select setting from public.witness where name = $1", &[&name]);
        row.expect("a row").map(|row| row.get(0))
    };
    for (name, value) in [
        ("statement_timeout", "3600000"),
        ("lock_timeout", "1800000"),
        ("idle_in_transaction_session_timeout", "60000"),
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
        ("standard_conforming_strings", "on"),
        ("synchronous_commit", "on"),
        ("TimeZone", "UTC"),
        ("application_name", &format!("nightly {run}")),
        ("activity", &format!("nightly {run}")),
    ] {
        assert_eq!(setting(name).as_deref(), Some(value), "{name}");
    }
    for name in ["transaction_timeout", "idle_session_timeout"] {
        assert!(setting(name).is_none_or(|value| value == "0"), "{name}");
    }
    // A server before 14, or on some systems, does not have this setting.
    let version: i32 = setting("server_version_num").expect("a version").parse().expect("a number");
    if version >= 140_000 && cfg!(target_os = "linux") {
        assert_eq!(setting("client_connection_check_interval").as_deref(), Some("10000"));
    }
}

#[test]
fn a_session_keeps_its_statements() {
    let database = Cluster::shared().database("statements");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut client = database.client();
    let note = "create table witness (pid int, segment int generated always as identity, statements bigint);
        create function note() returns trigger language plpgsql as $$ begin
            insert into public.witness (pid, statements) select pg_backend_pid(), count(*) from pg_prepared_statements;
            return new;
        end $$;
        create trigger note before update on kill_load_segment for each row execute function note()";
    client.batch_execute(note).expect("a trigger");
    let dump = generated(300, 7, 0.0);
    work.load(&database, &[]).segment_bytes(64 << 10).workers(1).stdin(&*dump).expect(0);
    // Per session: its segments, and its number of statements in the first one and in each later one. In the first, the
    // three COPYs follow.
    let rows = client
        .query(
            "select count(*), (array_agg(statements order by segment))[1], min(statements) filter (where place > 1),
                    max(statements) filter (where place > 1)
             from (select *, row_number() over (partition by pid order by segment) as place from witness) as placed
             group by pid having count(*) > 1",
            &[],
        )
        .expect("rows");
    let segments: i64 = rows.iter().map(|row| row.get::<_, i64>(0)).sum();
    assert!(segments > 40, "{rows:?}");
    for row in rows {
        let (first, least, most): (i64, i64, i64) = (row.get(1), row.get(2), row.get(3));
        // A session can also have looked for triggers that remove rows, once per run.
        let later = most - first;
        assert!(first >= 2 && least == most && (3..=4).contains(&later), "{first} {least} {most}");
    }
}

#[test]
fn synchronous_commit_off_is_overridden() {
    let database = Cluster::shared().database("commits");
    let work = Workplace::new();
    let set = format!("alter database {} set synchronous_commit = off", database.name());
    database.client().batch_execute(&set).expect("a setting");
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    // A trigger records the settings of the load's transactions.
    let trigger = "create table seen (value text);
        create function see() returns trigger language plpgsql as
          $$ begin insert into seen values (current_setting('synchronous_commit')); return null; end $$;
        create trigger see after insert on kill_event for each statement execute function see()";
    database.client().batch_execute(trigger).expect("a trigger");
    work.load(&database, &[]).stdin(generated(5, 88, 0.0)).expect(0);
    let seen = database.client().query("select distinct value from seen", &[]).expect("values");
    assert_eq!(seen.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["on"]);
}

/// All values of libpq, against a primary.
#[test]
fn target_session_attrs_select_the_server() {
    let database = Cluster::shared().database("attributes");
    let work = Workplace::new();
    for (value, met) in [
        ("any", true),
        ("read-write", true),
        ("read-only", false),
        ("primary", true),
        ("standby", false),
        ("prefer-standby", true),
    ] {
        let load = || work.program(&["load"]).env("DATABASE_CONNECTION_TIMEOUT", "300");
        let url = format!("{}&target_session_attrs={value}", database.url());
        let by_url = load().env("DATABASE_URL", &url).run();
        let by_variable =
            load().env("DATABASE_URL", &database.url()).env("PGTARGETSESSIONATTRS", value).run();
        for run in [by_url, by_variable] {
            if met {
                run.expect(0);
            } else {
                let fault = format!("target_session_attrs={value} is not met: the se");
                run.expect(4).says(&["cannot connect to the database: ", &fault, "\nhint: add the host"]);
            }
        }
    }
}

/// Line ends that secrets and `.env` files bring along.
#[test]
fn names_in_a_url_and_in_variables_lose_trailing_white_space() {
    let database = Cluster::shared().database("spaces");
    let work = Workplace::new();
    let url = format!(" {}&schema=public\r\n", database.url());
    work.program(&["load"]).env("DATABASE_URL", &url).expect(0);
    let program = work.program(&["load"]).env("DATABASE_URL", &format!("{}\n", database.url()));
    program.env("DATABASE_SCHEMA", " kills\r\n").expect(0);
    let sql = "select string_agg(nspname, '|' order by nspname) from pg_namespace where nspname !~ '^pg_|information'";
    let schemas: String = database.client().query_one(sql, &[]).expect("a row").get(0);
    assert_eq!(schemas, "kills|public");
    let count =
        "select count(*) from pg_tables where tablename = 'kill_event' and schemaname in ('kills', 'public')";
    assert_eq!(database.client().query_one(count, &[]).expect("a row").get::<_, i64>(0), 2);
}
