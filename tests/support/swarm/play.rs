//! Runs a case: creates the tables and the dumps, starts the loads of each round, disturbs them, and checks the results.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode as FileMode;
use nix::unistd::mkfifo;

use super::check::{Outcome, REJECTED, Truth, check_ledger};
use super::dump::{Dump, Via};
use super::{Case, End, Mode, Owned, Run, feed};
use crate::support::cluster::{Cluster, Database};
use crate::support::find_program;
use crate::support::oracle::Nul;
use crate::support::program::{Ended, Program, Workplace};

/// A running case.
struct Play<'a> {
    case: &'a Case,
    truth: Truth<'a>,
    database: Database<'a>,
    work: Workplace,
}

/// Runs a case. Panics at the first failed check. `note` gets each step.
pub(crate) fn play(case: &Case, note: &mut dyn FnMut(String)) {
    let database = Cluster::shared().database("swarm");
    let play = Play { case, truth: Truth::new(case), database, work: Workplace::new() };
    for (number, dump) in case.dumps.iter().enumerate() {
        match dump.via {
            Via::File => play.work.write(&name(number), dump.bytes(false)),
            Via::Fifo => {
                mkfifo(&play.work.path().join(name(number)), FileMode::S_IRUSR | FileMode::S_IWUSR)
                    .expect("a FIFO");
            }
            Via::Stdin => {}
        }
    }
    play.own();
    let (mut stored, mut has_rejects) = (Some(0), false);
    for (number, round) in case.rounds.iter().enumerate() {
        let is_last = number + 1 == case.rounds.len();
        if is_last {
            play.repair();
        }
        let outcomes = play.round(round, !is_last);
        for (run, outcome) in round.iter().zip(&outcomes) {
            let Ended { code, stdout, stderr, .. } = &outcome.ended;
            note(format!("round {number}: {run:?}\n  ended with {code}\n  {stdout}\n  {stderr}"));
        }
        for outcome in &outcomes {
            outcome.check(case, &play.truth);
            let inserted = (!outcome.is_mute()).then(|| outcome.ended.summary().count("inserted"));
            stored = stored.zip(inserted).map(|(stored, inserted)| stored + inserted);
        }
        play.check(&outcomes, stored);
        has_rejects = outcomes
            .iter()
            .any(|outcome| outcome.ended.code != 0 || outcome.ended.summary().count("rejected") > 0);
    }
    // Rejected events are missing.
    if case.verify && !has_rejects {
        play.verify(note);
    }
}

fn name(number: usize) -> String {
    format!("dump-{number:02}")
}

impl Play<'_> {
    /// Replaces broken dumps by intact ones.
    fn repair(&self) {
        for (number, dump) in self.case.dumps.iter().enumerate().filter(|(_, dump)| dump.is_broken) {
            self.work.write(&name(number), dump.bytes(true));
        }
    }

    /// Applies the owner's changes to the tables.
    fn own(&self) {
        if self.case.owned.is_empty() {
            return;
        }
        self.program("schema", &[]).args(&["apply"]).expect(0);
        let schema = format!("\"{}\"", self.case.schema.replace('"', "\"\""));
        let (table, id) = self.case.layout.tables()[0];
        let table = format!("{schema}.{table}");
        let mut client = self.database.client();
        for owned in &self.case.owned {
            let sql = match owned {
                Owned::Columns => format!(
                    "alter table {table} add column note text default 'mine', add column seen timestamptz default now()"
                ),
                Owned::Audit => format!(
                    "create table public.audit (id bigint);
                     create function public.audit() returns trigger language plpgsql as
                       $$ begin insert into public.audit values (new.{id}); return null; end $$;
                     create trigger audit after insert on {table} for each row execute function public.audit()"
                ),
                Owned::Refuses(code) => format!(
                    "create function public.refuse() returns trigger language plpgsql as
                       $$ begin
                         if new.{id} % {} = {} then raise exception 'not this one' using errcode = '{code}'; end if;
                         return new;
                       end $$;
                     create trigger refuse before insert on {table} for each row execute function public.refuse()",
                    REJECTED.0, REJECTED.1
                ),
                Owned::Statement => format!(
                    "create function public.nothing() returns trigger language plpgsql as
                       $$ begin return null; end $$;
                     create trigger nothing after insert or update on {table} execute function public.nothing()"
                ),
            };
            client.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }

    /// A command of the program on the tables.
    fn program(&self, command: &str, args: &[&str]) -> Program {
        let program = self.work.program(&[command]).args(args);
        self.with_settings(program, command)
    }

    fn with_settings(&self, program: Program, command: &str) -> Program {
        let layout = self.case.layout.name();
        let nul = match self.case.nul {
            Nul::Reject => "reject",
            Nul::Strip => "strip",
            Nul::Replace => "replace",
        };
        let mut program = program
            .env("DATABASE_URL", &self.database.url())
            .env("DATABASE_SCHEMA", self.case.schema)
            .env("KILLS_LAYOUT", layout)
            .env("DATABASE_RETRY_BASE", "20");
        if command != "schema" {
            program = program.env("ALBION_SERVER", self.case.server).env("KILLS_NUL", nul);
        }
        program
    }

    fn load(&self, run: &Run, dumps: &[String]) -> Program {
        let mut args: Vec<&str> = vec!["load", "--json"];
        match run.mode {
            Mode::Skip => {}
            Mode::Force => args.push("--force"),
            Mode::Update => args.extend(["--on-conflict", "update"]),
        }
        args.extend(dumps.iter().map(String::as_str));
        let seconds;
        let program = match run.end {
            End::TimedOut(after) if find_program(&["timeout"], &[]).is_some() => {
                seconds = format!("{:.3}", Duration::from_millis(after).as_secs_f64());
                let outer = ["--preserve-status", seconds.as_str(), env!("CARGO_BIN_EXE_aegis-kills")];
                self.work.other_program("timeout", &outer).args(&args)
            }
            _ => self.work.program(&args),
        };
        let program = self.with_settings(program, "load");
        let program = if run.tcp { program.env("DATABASE_URL", &self.database.tcp_url()) } else { program };
        program
            .workers(run.workers)
            .segment_bytes(run.segment_bytes)
            .env("KILLS_PARSE_THREADS", &run.parse_threads.to_string())
            .env("DATABASE_POOL_MIN", &run.pool.0.to_string())
            .env("DATABASE_POOL_MAX", &run.pool.1.to_string())
            .env("KILLS_FLUSH_INTERVAL", &run.flush_ms.to_string())
    }

    /// Runs the loads of a round concurrently. The first reads the pipes.
    fn round<'r>(&'r self, round: &'r [Run], may_break: bool) -> Vec<Outcome<'r>> {
        thread::scope(|scope| {
            let start = |(number, run)| scope.spawn(move || self.run(run, number == 0, may_break));
            let threads: Vec<_> = round.iter().enumerate().map(start).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        })
    }

    fn run<'r>(&'r self, run: &'r Run, reads_pipes: bool, may_break: bool) -> Outcome<'r> {
        let given: Vec<(usize, &Dump)> = self
            .case
            .dumps
            .iter()
            .enumerate()
            .filter(|(_, dump)| reads_pipes || dump.via == Via::File)
            .collect();
        let names: Vec<String> = given
            .iter()
            .map(|(number, dump)| if dump.via == Via::Stdin { "-".to_owned() } else { name(*number) })
            .collect();
        let pause = Duration::from_millis(run.pause_ms);
        let has_ended = AtomicBool::new(false);
        let mut running = self.load(run, &names).start();
        let ended = thread::scope(|scope| {
            let input = running.take_input();
            let stdin =
                given.iter().find(|(_, dump)| dump.via == Via::Stdin).map(|(_, dump)| dump.bytes(true));
            scope.spawn(move || feed::pipe(input, &stdin.unwrap_or_default(), pause));
            for (number, dump) in given.iter().filter(|(_, dump)| dump.via == Via::Fifo) {
                let (path, bytes) = (self.work.path().join(name(*number)), dump.bytes(true));
                let has_ended = &has_ended;
                scope.spawn(move || feed::fifo(&path, &bytes, pause, has_ended));
            }
            let _ends = SetOnDrop(&has_ended);
            let (signal, after) = match run.end {
                End::Itself | End::TimedOut(_) => return running.finish(),
                End::Killed(after) => (Signal::SIGKILL, after),
                End::Signaled(signal, after) => (signal, after),
            };
            let due = Instant::now() + Duration::from_millis(after);
            while Instant::now() < due && !running.has_ended() {
                thread::sleep(Duration::from_millis(2));
            }
            if !running.has_ended() {
                running.signal(signal);
            }
            running.finish()
        });
        let has_broken = may_break && given.iter().any(|(_, dump)| dump.is_broken);
        Outcome { run, ended, is_whole: given.len() == self.case.dumps.len(), has_broken }
    }

    /// Checks with `verify` that all events of the files are stored.
    fn verify(&self, note: &mut dyn FnMut(String)) {
        let is_file = |number: &usize| self.case.dumps[*number].via == Via::File;
        let names: Vec<String> = (0..self.case.dumps.len()).filter(is_file).map(name).collect();
        if names.is_empty() {
            return;
        }
        let args: Vec<&str> = names.iter().map(String::as_str).collect();
        let Ended { code, stdout, stderr, .. } = self.program("verify", &args).run();
        note(format!("verify ended with {code}\n  {stdout}\n  {stderr}"));
        assert_eq!(code, 0, "verify finds all");
    }

    fn check(&self, outcomes: &[Outcome<'_>], stored: Option<u64>) {
        // Runs that ended early may have created no table.
        if !outcomes.iter().any(Outcome::is_complete) && self.case.owned.is_empty() {
            let schema = format!("\"{}\"", self.case.ledger().replace('"', "\"\""));
            let sql = "select to_regclass($1 || '.kill_load_segment') is not null";
            let is_made = self.database.client().query_one(sql, &[&schema]).expect("an answer");
            if !is_made.get::<_, bool>(0) {
                return;
            }
        }
        let mut client = self.database.client();
        self.truth.check_tables(&mut client, outcomes, stored);
        if outcomes.iter().all(|outcome| !outcome.is_mute()) {
            check_ledger(&mut client, self.case.ledger(), outcomes);
        }
        if self.case.owned.contains(&Owned::Audit) && outcomes[0].run.mode != Mode::Update {
            let sql = "select count(*), count(distinct id) from public.audit";
            let row = client.query_one(sql, &[]).expect("the audit");
            assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "each event was inserted once");
        }
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
