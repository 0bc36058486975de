//! `load --on-conflict update`: columns and rows of users stay, and a prevented update is noticed. The same holds for each load
//! that stores the missing row of an event whose child rows are left.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::join;
use crate::support::program::{Reject, Workplace};

const UPDATE: [&str; 2] = ["--on-conflict", "update"];

fn event(id: i64, fame: i64, guild: &str, victim: &str) -> String {
    format!(
        r#"{{"EventId":{id},"TimeStamp":"2026-01-01T00:00:00Z","TotalVictimKillFame":{fame},"Killer":{{"Id":"k{id}","Name":"K","GuildName":"{guild}"}},"Victim":{{"Id":"{victim}","Name":"V","Inventory":[{{"Type":"T4_BAG","Count":1,"Quality":1}}]}}}}"#
    )
}

fn before() -> Vec<u8> {
    join(&[event(1, 10, "Old", "v1"), event(2, 20, "Old", "v2"), event(3, 30, "Old", "v3")])
}

/// Event 1 differs in its fame and a player, event 3 in its fame. Event 2 is equal.
fn after() -> Vec<u8> {
    join(&[event(1, 11, "New", "v1"), event(2, 20, "Old", "v2"), event(3, 31, "Old", "v3")])
}

fn loaded<'a>(work: &Workplace, layout: &str) -> Database<'a> {
    let database = Cluster::shared().database("keeps");
    work.load(&database, &["--layout", layout]).stdin(before()).expect(0);
    database
}

fn texts(database: &Database<'_>, sql: &str) -> Vec<String> {
    database.client().query(sql, &[]).expect("rows").iter().map(|row| row.get(0)).collect()
}

const NOTES: &str =
    "select concat_ws(' ', (select count(note) from kill_event), (select count(note) from kill_player),
      (select count(note) from kill_loot))";

#[test]
fn columns_and_rows_of_users_survive_an_update() {
    let work = Workplace::new();
    for cascade in ["on delete cascade", ""] {
        let database = loaded(&work, "archive");
        let sql = format!(
            "alter table kill_event add note text default 'x'; alter table kill_player add note text;
             alter table kill_loot add note text;
             update kill_event set note = 'mine'; update kill_player set note = 'mine'; update kill_loot set note = 'mine';
             alter table kill_event alter note drop default;
             create table bounty (server albion_server, event_id bigint, player_id text collate \"C\",
               foreign key (server, event_id, player_id) references kill_player {cascade});
             insert into bounty select server, event_id, player_id from kill_player"
        );
        database.client().batch_execute(&sql).expect("columns");
        let run = work.load(&database, &UPDATE).stdin(after()).expect(0);
        run.summary().check(&[("updated", 2), ("duplicate", 1), ("rejected", 0)]);
        assert_eq!(texts(&database, NOTES), ["3 6 3"], "{cascade}");
        assert_eq!(texts(&database, "select count(*)::text from bounty"), ["6"], "{cascade}");
        assert_eq!(
            texts(&database, "select concat_ws(' ', event_id, fame) from kill_event order by event_id"),
            ["1 11", "2 20", "3 31"]
        );
        let guilds = "select guild_name from kill_player where role = 'killer' order by event_id";
        assert_eq!(texts(&database, guilds), ["New", "Old", "Old"]);
    }
}

#[test]
fn an_update_removes_old_players_and_adds_new_ones() {
    let work = Workplace::new();
    let database = loaded(&work, "archive");
    let sql = "alter table kill_player add note text; update kill_player set note = player_id";
    database.client().batch_execute(sql).expect("a column");
    let news = join(&[event(1, 10, "Old", "v9"), event(2, 20, "Old", "v2")]);
    let run = work.load(&database, &UPDATE).stdin(news).expect(0);
    run.summary().check(&[("updated", 1), ("duplicate", 1)]);
    let players = "select concat_ws(' ', player_id, note) from kill_player order by player_id";
    assert_eq!(texts(&database, players), ["k1 k1", "k2 k2", "k3 k3", "v2 v2", "v3 v3", "v9"]);
}

/// The kinds of load that store an event again: the command that `verify` suggests, an update, and a load of the same event in
/// another dump.
#[test]
fn child_rows_without_their_event_are_completed_and_keep_what_users_added() {
    let work = Workplace::new();
    work.write("dump", before());
    work.write("other", [before(), join(&[event(4, 40, "Old", "v4")])].concat());
    for (args, inserted, cascade) in [
        (&["--force", "dump"][..], 2, ""),
        (&["--force", "dump"], 2, "on delete cascade"),
        (&["--on-conflict", "update", "dump"], 2, ""),
        (&["--on-conflict", "update", "dump"], 2, "on delete cascade"),
        (&["other"], 3, ""),
        (&["--on-conflict", "update", "other"], 3, "on delete cascade"),
    ] {
        let database = loaded(&work, "archive");
        // Event 1 has a changed player, and lost its loot. Event 2 has one player more.
        let sql = format!(
            "alter table kill_event add note text; alter table kill_player add note text; alter table kill_loot add note text;
             update kill_event set note = 'mine'; update kill_player set note = 'mine'; update kill_loot set note = 'mine';
             create table bounty (server albion_server, event_id bigint, player_id text collate \"C\",
               foreign key (server, event_id, player_id) references kill_player {cascade});
             insert into bounty select server, event_id, player_id from kill_player;
             delete from kill_event where event_id < 3; delete from kill_loot where event_id = 1;
             update kill_player set guild_name = 'Other' where player_id = 'k1';
             insert into kill_player (server, event_id, player_id, role, in_group)
               values ('americas', 2, 'nobody', 'group', true)"
        );
        database.client().batch_execute(&sql).expect("changes");
        let run = work.load(&database, args).expect(0);
        run.summary().check(&[("inserted", inserted), ("duplicate", 1), ("updated", 0), ("rejected", 0)]);
        assert_eq!(texts(&database, NOTES), ["1 6 2"], "{args:?} {cascade}");
        assert_eq!(texts(&database, "select count(*)::text from bounty"), ["6"], "{args:?} {cascade}");
        work.program(&["verify", args[args.len() - 1]]).env("DATABASE_URL", &database.url()).expect(0);
    }
}

/// No child row of the dump is stored, so nothing collides.
#[test]
fn child_rows_that_are_not_in_the_dump_are_removed_with_the_load_of_their_event() {
    let work = Workplace::new();
    work.write("dump", before());
    for args in [&["--force", "dump"][..], &["--on-conflict", "update", "dump"]] {
        let database = loaded(&work, "archive");
        let sql = "delete from kill_event where event_id = 2; delete from kill_player where event_id = 2;
             delete from kill_loot where event_id = 2;
             insert into kill_player (server, event_id, player_id, role, in_group)
               values ('americas', 2, 'nobody', 'group', true)";
        database.client().batch_execute(sql).expect("changes");
        work.load(&database, args).expect(0).summary().check(&[("inserted", 1), ("duplicate", 2)]);
        work.program(&["verify", "dump"]).env("DATABASE_URL", &database.url()).expect(0);
    }
}

/// The row of a player that is not in the dump is referenced, so it cannot be deleted.
#[test]
fn an_event_whose_left_row_cannot_be_deleted_is_rejected() {
    let work = Workplace::new();
    let database = loaded(&work, "archive");
    let sql = "create table bounty (server albion_server, event_id bigint, player_id text collate \"C\",
               foreign key (server, event_id, player_id) references kill_player);
             insert into kill_player (server, event_id, player_id, role, in_group)
               values ('americas', 2, 'nobody', 'group', true);
             insert into bounty select server, event_id, player_id from kill_player;
             delete from kill_event where event_id < 3";
    database.client().batch_execute(sql).expect("a reference");
    let run = work.load(&database, &["--force"]).stdin(before()).expect(3);
    run.summary().check(&[("inserted", 1), ("duplicate", 1), ("rejected", 1)]);
    let rejects = run.rejects();
    assert_eq!((rejects[0].line(), rejects[0].text("sqlstate")), (2, Some("23503")));
    let ids = "select event_id::text from kill_event order by event_id";
    assert_eq!(texts(&database, ids), ["1", "3"]);
    assert_eq!(texts(&database, "select count(*)::text from bounty"), ["7"]);
}

/// The search writes events several times, in parts.
#[test]
fn a_search_for_refused_events_keeps_child_rows_without_their_event() {
    let work = Workplace::new();
    let database = loaded(&work, "archive");
    let sql = "alter table kill_player add note text; update kill_player set note = 'mine';
             delete from kill_event where event_id < 3; delete from kill_loot where event_id = 1;
             alter table kill_event add constraint refused check (event_id <> 2) not valid";
    database.client().batch_execute(sql).expect("changes");
    let run = work.load(&database, &["--force"]).stdin(before()).expect(3);
    run.summary().check(&[("inserted", 1), ("duplicate", 1), ("rejected", 1)]);
    assert_eq!(run.rejects()[0].line(), 2);
    assert_eq!(texts(&database, "select count(note)::text from kill_player"), ["6"]);
    assert_eq!(texts(&database, "select event_id::text from kill_loot order by 1"), ["1", "2", "3"]);
}

/// A referenced row cannot be deleted. The event is rejected and stays unchanged.
#[test]
fn an_event_whose_row_cannot_be_deleted_is_rejected_unchanged() {
    let work = Workplace::new();
    let database = loaded(&work, "archive");
    let sql = "create table bounty (server albion_server, event_id bigint, player_id text collate \"C\",
               foreign key (server, event_id, player_id) references kill_player);
             insert into bounty select server, event_id, player_id from kill_player where player_id = 'v1'";
    database.client().batch_execute(sql).expect("a reference");
    let news = join(&[event(1, 12, "New", "v9"), event(3, 31, "Old", "v3")]);
    let run = work.load(&database, &UPDATE).stdin(news).expect(3);
    run.summary().check(&[("updated", 1), ("rejected", 1)]);
    assert_eq!(run.rejects()[0].text("sqlstate"), Some("23503"));
    let reason = "rows of the table \"bounty\" refer to a row that is not in the dump: delete them, or give the constraint \
                  \"bounty_server_event_id_player_id_fkey\" ON DELETE CASCADE";
    assert_eq!(run.rejects()[0].text("reason"), Some(reason));
    let fames = "select fame::text from kill_event order by event_id";
    assert_eq!(texts(&database, fames), ["10", "20", "31"]);
    assert_eq!(
        texts(&database, "select player_id from kill_player where event_id = 1 order by 1"),
        ["k1", "v1"]
    );
    // The reject loads unchanged after the remedy in its reason.
    database.client().batch_execute("delete from bounty").expect("the remedy");
    let rejects = run.rejects()[0].raw();
    work.load(&database, &UPDATE).stdin(rejects).expect(0).summary().check(&[("updated", 1)]);
    assert_eq!(texts(&database, fames), ["12", "20", "31"]);
}

/// The foreign key is of a table of the program, and the row to which it refers is in none.
#[test]
fn a_reject_for_a_reference_of_the_event_itself_has_the_message_of_the_server() {
    let work = Workplace::new();
    let database = loaded(&work, "archive");
    let sql = "create table guild (name text primary key); insert into guild values ('Old');
             alter table kill_player add constraint known_guild foreign key (guild_name) references guild not valid";
    database.client().batch_execute(sql).expect("a reference");
    let run = work.load(&database, &UPDATE).stdin(after()).expect(3);
    run.summary().check(&[("updated", 1), ("duplicate", 1), ("rejected", 1)]);
    let reason = run.rejects()[0].text("reason").expect("a reason").to_owned();
    assert!(reason.contains("known_guild") && !reason.contains("CASCADE"), "{reason}");
}

const IGNORE: &str =
    "create function ignore() returns trigger language plpgsql as $$ begin return null; end $$;
     create function keep() returns trigger language plpgsql as $$ begin return old; end $$;";

/// Objects that prevent writes, and the lines of the events rejected for it.
#[test]
fn an_event_whose_update_has_no_effect_is_rejected() {
    let work = Workplace::new();
    for (sql, rejected) in [
        (
            "create trigger ignore before update on kill_event for each row execute function ignore()",
            &[1, 3][..],
        ),
        ("create rule ignore as on update to kill_event do instead nothing", &[1, 3]),
        ("create trigger ignore before update on kill_player for each row execute function ignore()", &[1]),
        ("create rule ignore as on update to kill_player do instead nothing", &[1]),
        // The server counts the rows as updated.
        ("create trigger keep before update on kill_event for each row execute function keep()", &[1, 3]),
        ("create trigger keep before update on kill_player for each row execute function keep()", &[1]),
        (
            "create function undo() returns trigger language plpgsql as
               $$ begin update kill_event set fame = old.fame where event_id = old.event_id; return null; end $$;
             create trigger undo after update on kill_event for each row when (pg_trigger_depth() = 0)
             execute function undo()",
            &[1, 3],
        ),
        (
            "create function remove() returns trigger language plpgsql as
               $$ begin delete from kill_event where event_id = new.event_id; return null; end $$;
             create trigger remove after update on kill_event for each row execute function remove()",
            &[1, 3],
        ),
        (
            "create function remove() returns trigger language plpgsql as
               $$ begin delete from kill_loot where event_id = new.event_id; return null; end $$;
             create constraint trigger remove after update on kill_event deferrable initially deferred for each row
             execute function remove()",
            &[1, 3],
        ),
        (
            "create function renumber() returns trigger language plpgsql as
               $$ begin new.event_id := new.event_id + 1000000; return new; end $$;
             create trigger renumber before update on kill_event for each row execute function renumber()",
            &[1, 3],
        ),
        (
            "create function rename() returns trigger language plpgsql as
               $$ begin new.player_id := new.player_id || 'x'; return new; end $$;
             create trigger rename before update on kill_player for each row execute function rename()",
            &[1],
        ),
        (
            "create rule remove as on update to kill_event
               do also delete from kill_loot where event_id = old.event_id",
            &[1, 3],
        ),
    ] {
        let database = loaded(&work, "archive");
        database.client().batch_execute(&format!("{IGNORE} {sql}")).expect("a trigger or rule");
        for _ in 0..2 {
            let run = work.load(&database, &UPDATE).stdin(after()).expect(3);
            let lines: Vec<u64> = run.rejects().iter().map(Reject::line).collect();
            assert_eq!(lines, rejected, "{sql}");
            assert!(run.rejects()[0].text("reason").expect("a reason").contains("trigger or rule"), "{sql}");
            // The event is unchanged.
            assert_eq!(
                texts(
                    &database,
                    "select concat_ws(' ', fame, guild_name) from kill_event e join kill_player p
                     using (server, event_id) where role = 'killer' and event_id = 1"
                ),
                ["10 Old"],
                "{sql}"
            );
        }
    }
}

#[test]
fn an_aegis_event_whose_update_has_no_effect_is_rejected() {
    let work = Workplace::new();
    for sql in [
        "create trigger ignore before update on \"KillEvent\" for each row execute function ignore()",
        "create rule ignore as on update to \"KillEvent\" do instead nothing",
        "create trigger keep before update on \"KillEvent\" for each row execute function keep()",
    ] {
        let database = loaded(&work, "aegis");
        database.client().batch_execute(&format!("{IGNORE} {sql}")).expect("a trigger or rule");
        let args = [&UPDATE[..], &["--layout", "aegis"]].concat();
        let run = work.load(&database, &args).stdin(after()).expect(3);
        run.summary().check(&[("updated", 0), ("duplicate", 1), ("rejected", 2)]);
        let fames = "select \"TotalVictimKillFame\"::text from \"KillEvent\" order by \"EventId\"";
        assert_eq!(texts(&database, fames), ["10", "20", "30"]);
    }
}

/// A player of the dump's earlier version, which a trigger stores again.
#[test]
fn an_event_whose_row_returns_after_its_deletion_is_rejected_unchanged() {
    let work = Workplace::new();
    let database = loaded(&work, "archive");
    let sql = "create function keep() returns trigger language plpgsql as
          $$ begin insert into kill_player select old.*; return null; end $$;
        create trigger keep after delete on kill_player for each row execute function keep()";
    database.client().batch_execute(sql).expect("a trigger");
    let news = join(&[event(1, 12, "New", "v9"), event(3, 31, "Old", "v3")]);
    let run = work.load(&database, &UPDATE).stdin(news).expect(3);
    run.summary().check(&[("updated", 1), ("rejected", 1)]);
    assert_eq!(run.rejects()[0].line(), 1);
    let fames = "select fame::text from kill_event order by event_id";
    assert_eq!(texts(&database, fames), ["10", "20", "31"]);
    let players = "select player_id from kill_player where event_id = 1 order by 1";
    assert_eq!(texts(&database, players), ["k1", "v1"]);
}

/// The same dump differs from the stored values at each load, and the trigger restores them. That is no reject: an INSERT
/// would store the same.
#[test]
fn values_that_a_trigger_changes_are_stored() {
    let work = Workplace::new();
    for function in ["new.guild_name := upper(new.guild_name)", "new.fame := 7"] {
        let table = if function.contains("fame") { "kill_event" } else { "kill_player" };
        let database = Cluster::shared().database("normalized");
        work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
        let sql = format!(
            "create function as_stored() returns trigger language plpgsql as $$ begin {function}; return new; end $$;
             create trigger as_stored before insert or update on {table} for each row execute function as_stored()"
        );
        database.client().batch_execute(&sql).expect("a trigger");
        work.load(&database, &[]).stdin(before()).expect(0).summary().check(&[("inserted", 3)]);
        for (dump, updated) in [(before(), 3), (after(), 3), (after(), 3)] {
            let run = work.load(&database, &UPDATE).stdin(dump).expect(0);
            run.summary().check(&[("updated", updated), ("rejected", 0), ("unfinished", 0)]);
        }
        let stored = "select concat_ws(' ', event_id, fame, guild_name) from kill_event join kill_player
            using (server, event_id) where role = 'killer' order by event_id";
        let expected = if table == "kill_event" {
            ["1 7 New", "2 7 Old", "3 7 Old"]
        } else {
            ["1 11 NEW", "2 20 OLD", "3 31 OLD"]
        };
        assert_eq!(texts(&database, stored), expected, "{function}");
    }
}
