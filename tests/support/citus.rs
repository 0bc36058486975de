//! A Citus that whoever runs the tests has: `CITUS_URL` names its coordinator, as a superuser.
//!
//! - Each test has a schema of its own, which goes when it is dropped. They run one after the other, as some stop servers.
//! - A server is stopped and started where its data directory is on this machine, as the user who owns it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use postgres::{Client, NoTls};

use super::oracle::{Tables, read_aegis, read_tables};
use super::process::Supervised as _;
use super::program::{Program, Workplace};
use super::{eventually, not_tried};

/// A server that was stopped has recovered, and the coordinator noticed, within this time.
const RECOVERY_MAX: Duration = Duration::from_mins(1);

/// A schema of a test's own on a Citus.
pub(crate) struct Citus {
    url: String,
    schema: String,
    _turn: MutexGuard<'static, ()>,
}

/// A server of it.
#[derive(Debug)]
pub(crate) struct Node {
    /// As the coordinator names it.
    pub(crate) name: String,
    data: PathBuf,
    /// What starts it, and what else it was started with.
    program: PathBuf,
    options: String,
    log: PathBuf,
}

impl Citus {
    /// None where there is no Citus, which is said to who runs the tests.
    pub(crate) fn get(hint: &str) -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var("CITUS_URL") else {
            not_tried(&format!("{hint} on Citus"), "CITUS_URL names no coordinator");
            return None;
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let schema = format!("aegis_kills_test_{}_{number}", std::process::id());
        Some(Self { url, schema, _turn: turn })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// A connection that has the schema for its own.
    pub(crate) fn client(&self) -> Client {
        self.try_client().expect("a connection to the coordinator")
    }

    fn try_client(&self) -> Result<Client, postgres::Error> {
        let mut client = Client::connect(&self.url, NoTls)?;
        client.batch_execute(&format!("set search_path = {}", self.schema))?;
        Ok(client)
    }

    /// A command of the program on this schema.
    pub(crate) fn program(&self, work: &Workplace, args: &[&str]) -> Program {
        work.program(args).args(&["--schema", &self.schema]).env("DATABASE_URL", &self.url)
    }

    /// `load --json`.
    pub(crate) fn load(&self, work: &Workplace, args: &[&str]) -> Program {
        self.program(work, &["load", "--json"]).args(args)
    }

    /// Makes the tables of a layout, and distributes them.
    pub(crate) fn distribute(&self, work: &Workplace, layout: &str) {
        let args = ["schema", "apply", "--distributed", "citus", "--layout", layout];
        self.program(work, &args).expect(0).says_in_output("distributed by Citus");
    }

    /// The rows of layout `archive`.
    pub(crate) fn tables(&self) -> Tables {
        read_tables(&mut self.client(), &self.schema, "americas")
    }

    /// The rows of layout `aegis`.
    pub(crate) fn aegis_tables(&self) -> Tables {
        read_aegis(&mut self.client(), &self.schema)
    }

    /// How many segments the ledger holds; none while there is no coordinator or no table.
    pub(crate) fn segments(&self) -> i64 {
        let count = |mut client: Client| client.query_one("select count(*) from kill_load_segment", &[]);
        self.try_client().and_then(count).map_or(0, |row| row.get(0))
    }

    /// The coordinator and the workers. None where they are not on this machine, which is said.
    pub(crate) fn nodes(&self) -> Option<(Node, Vec<Node>)> {
        let mut client = self.client();
        let data: String = client.query_one("show data_directory", &[]).expect("a superuser").get(0);
        let workers = client
            .query(
                "select format('%s:%s', nodename, nodeport), result
                 from run_command_on_workers('show data_directory') order by 1",
                &[],
            )
            .expect("workers");
        let workers = workers.iter().map(|row| Node::in_directory(row.get(0), row.get(1)));
        let nodes = Node::in_directory("coordinator".to_owned(), data).zip(workers.collect());
        if nodes.is_none() {
            not_tried("stopping a node of Citus", "its data are not on this machine, or another user's");
        }
        nodes
    }
}

impl Drop for Citus {
    fn drop(&mut self) {
        let drop = format!("drop schema if exists {} cascade", self.schema);
        let dropped = self.try_client().and_then(|mut client| client.batch_execute(&drop));
        if let Err(error) = dropped
            && !std::thread::panicking()
        {
            panic!("could not drop {}: {error:?}", self.schema);
        }
    }
}

impl Node {
    fn in_directory(name: String, data: String) -> Option<Self> {
        let data = PathBuf::from(data);
        let owner = fs::metadata(&data).ok()?.uid();
        let own = Uid::effective();
        if !own.is_root() && own.as_raw() != owner {
            return None;
        }
        // The file has the program, and each of its arguments in quotes.
        let line = fs::read_to_string(data.join("postmaster.opts")).ok()?;
        let (program, options) = line.trim_end().split_once(' ')?;
        let program = Path::new(program).with_file_name("pg_ctl");
        let pid = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = pid.lines().next()?;
        let log = fs::read_link(format!("/proc/{pid}/fd/2")).ok().filter(|log| log.is_file());
        let log = log.unwrap_or_else(|| PathBuf::from("/dev/null"));
        Some(Self { name, program, options: options.to_owned(), log, data })
    }

    /// Stops it as a crash would: sessions are cut, nothing is written, the next start recovers.
    pub(crate) fn stop_immediate(&self) {
        self.pg_ctl(&["stop", "-m", "immediate"]);
    }

    /// Starts it as it was, and waits until the coordinator reaches it.
    pub(crate) fn start(&self, citus: &Citus) {
        self.pg_ctl(&["start", "-l", &self.log.display().to_string(), "-o", &self.options]);
        let all_answer = "select from run_command_on_workers('select 1') where not success";
        eventually(RECOVERY_MAX, "all nodes answer", || {
            let answers = citus.try_client().and_then(|mut client| client.query(all_answer, &[]));
            answers.is_ok_and(|failed| failed.is_empty())
        });
    }

    /// While `during` runs it takes connections and says nothing, as a machine does that hangs.
    pub(crate) fn frozen<T>(&self, during: impl FnOnce() -> T) -> T {
        struct Thaw(Pid);
        impl Drop for Thaw {
            fn drop(&mut self) {
                kill(self.0, Signal::SIGCONT).expect("the server goes on");
            }
        }
        let pid = fs::read_to_string(self.data.join("postmaster.pid")).expect("it runs");
        let pid = pid.lines().next().and_then(|pid| pid.parse().ok()).expect("a process number");
        kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("the server stands");
        let _thaw = Thaw(Pid::from_raw(pid));
        during()
    }

    fn pg_ctl(&self, args: &[&str]) {
        let owner = fs::metadata(&self.data).expect("its data");
        let mut command = Command::new(&self.program);
        command.args(args).arg("-D").arg(&self.data).args(["-w", "-t", "60"]).current_dir("/");
        // Nothing of whoever runs the tests: the server looks for certificates at home.
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        if Uid::effective().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let status = command.status_in_time().expect("pg_ctl");
        assert!(status.success(), "{} {args:?}", self.name);
    }
}
