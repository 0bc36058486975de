//! Layout `aegis`: an existing table is used if it fits, and never changed.

use serde_json::{Value, json};

use crate::database::aegis::{assert_stored, expected, fitting_events, load};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, small_event};
use crate::support::program::{Reject, Workplace};

/// The table as a Prisma migration creates it.
const MADE_BY_PRISMA: &str = r#"
-- CreateTable
CREATE TABLE "KillEvent" (
    "EventId" BIGINT NOT NULL,
    "TimeStamp" TIMESTAMP(3) NOT NULL,
    "TotalVictimKillFame" INTEGER NOT NULL,
    "battleAlbionId" BIGINT,
    "killerId" VARCHAR(64) NOT NULL,
    "killerName" VARCHAR(48) NOT NULL,
    "killerGuild" VARCHAR(64),
    "killerAlliance" VARCHAR(16),
    "killerAvgIP" DOUBLE PRECISION NOT NULL,
    "victimId" VARCHAR(64) NOT NULL,
    "victimName" VARCHAR(48) NOT NULL,
    "victimGuild" VARCHAR(64),
    "victimAlliance" VARCHAR(16),
    "victimAvgIP" DOUBLE PRECISION NOT NULL,
    "killerEquipment" JSONB,
    "victimEquipment" JSONB,
    "ingestedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "KillEvent_pkey" PRIMARY KEY ("EventId")
);

-- CreateIndex
CREATE INDEX "KillEvent_TimeStamp_idx" ON "KillEvent"("TimeStamp");

-- CreateIndex
CREATE INDEX "KillEvent_battleAlbionId_idx" ON "KillEvent"("battleAlbionId");

-- CreateIndex
CREATE INDEX "KillEvent_killerAlliance_idx" ON "KillEvent"("killerAlliance");

-- CreateIndex
CREATE INDEX "KillEvent_victimAlliance_idx" ON "KillEvent"("victimAlliance");

-- CreateIndex
CREATE INDEX "KillEvent_killerId_idx" ON "KillEvent"("killerId");

-- CreateIndex
CREATE INDEX "KillEvent_victimId_idx" ON "KillEvent"("victimId");
"#;

/// Columns, constraints and indexes exactly, with their object ids.
fn catalog(database: &Database<'_>, table: &str) -> Vec<String> {
    let sql =
        "select concat_ws(' ', attnum, attname, format_type(atttypid, atttypmod), attnotnull, attcollation,
                 pg_get_expr(adbin, adrelid))
               from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
               where attrelid = $1::text::regclass and attnum > 0
               union all select concat_ws(' ', conname, pg_get_constraintdef(oid))
               from pg_constraint where conrelid = $1::text::regclass
               union all select pg_get_indexdef(indexrelid) from pg_index where indrelid = $1::text::regclass
               order by 1";
    let rows = database.client().query(sql, &[&table]).expect("a catalog");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_table_of_prisma_is_used_unchanged() {
    let work = Workplace::new();
    let dump = fitting_events();
    let ours = Cluster::shared().database("aegis_ours");
    load(&work, &ours, &[]).stdin(dump.clone()).expect(0);
    for more in [
        "",
        // A later migration may add these, or an earlier one may lack them.
        r#"alter table "KillEvent" add "note" text, add "seen" integer not null default 0"#,
        r#"drop index "KillEvent_victimId_idx", "KillEvent_TimeStamp_idx""#,
        r#"alter table "KillEvent" alter "killerName" type text, alter "killerGuild" type varchar(100)"#,
    ] {
        let database = Cluster::shared().database("aegis_prisma");
        database.client().batch_execute(&format!("{MADE_BY_PRISMA};{more}")).expect("a table");
        let before = catalog(&database, r#""KillEvent""#);
        if more.is_empty() {
            assert_eq!(before, catalog(&ours, r#""KillEvent""#), "our table is Prisma's");
        }
        load(&work, &database, &[]).stdin(dump.clone()).expect(0);
        let printed = work.program(&["schema", "print", "--layout", "aegis"]).expect(0).stdout;
        database.client().batch_execute(&printed).expect("it can be run again");
        let apply = work.program(&["schema", "apply"]).env("KILLS_LAYOUT", "aegis");
        apply.env("DATABASE_URL", &database.url()).expect(0);
        assert_eq!(catalog(&database, r#""KillEvent""#), before, "{more}");
        assert_stored(&database, &expected(&dump).tables);
    }
}

#[test]
fn incompatible_tables_are_rejected() {
    let work = Workplace::new();
    for (sql, words) in [
        (
            r#"alter table "KillEvent" alter "TotalVictimKillFame" type bigint"#,
            &["KillEvent.TotalVictimKillFame", "int4"][..],
        ),
        (
            r#"alter table "KillEvent" alter "TimeStamp" type timestamptz"#,
            &["KillEvent.TimeStamp", "timestamp"],
        ),
        (
            r#"alter table "KillEvent" alter "killerGuild" set not null"#,
            &["KillEvent.killerGuild", "NOT NULL"],
        ),
        (r#"alter table "KillEvent" drop constraint "KillEvent_pkey""#, &["KillEvent", "(EventId)"]),
        (r#"alter table "KillEvent" add "server" text not null"#, &["KillEvent", "server"]),
    ] {
        let database = Cluster::shared().database("aegis_misfit");
        database.client().batch_execute(&format!("{MADE_BY_PRISMA};{sql}")).expect("a table");
        let before = catalog(&database, r#""KillEvent""#);
        let program = work.program(&["load", "--layout", "aegis"]).env("DATABASE_URL", &database.url());
        program.stdin(fitting_events()).expect(7).says(words);
        assert_eq!(catalog(&database, r#""KillEvent""#), before);
    }
}

#[test]
fn an_event_that_a_narrower_column_rejects_is_found_by_bisection() {
    let database = Cluster::shared().database("aegis_narrow");
    let narrower = MADE_BY_PRISMA.replace("\"victimName\" VARCHAR(48)", "\"victimName\" VARCHAR(9)");
    database.client().batch_execute(&narrower).expect("a table");
    let mut events: Vec<Value> = (1..=60).map(small_event).collect();
    for event in events.iter_mut().filter(|event| event["EventId"].as_i64().is_some_and(|id| id % 13 != 0)) {
        event["Victim"]["Name"] = json!("Retnark");
    }
    let dump = join(&events.iter().map(Value::to_string).collect::<Vec<_>>());
    let work = Workplace::new();
    let run = load(&work, &database, &[]).stdin(dump.clone()).expect(3);
    let mut stored = expected(&dump).tables;
    stored.aegis.retain(|id, _| id % 13 != 0);
    assert_stored(&database, &stored);
    let rejects = run.rejects();
    assert_eq!(rejects.iter().map(Reject::line).collect::<Vec<_>>(), [13, 26, 39, 52]);
    assert!(rejects.iter().all(|reject| reject.text("sqlstate") == Some("22001")));
}
