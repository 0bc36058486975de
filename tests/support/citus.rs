//! The Citus of the test's user: `CITUS_URL` names its coordinator, as a superuser.
//!
//! - Each test has a schema of its own, which is dropped with it. They run one at a time, because some stop servers.
//! - A server can be stopped and started only if its data directory is on this machine. This happens as its owner.

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

use super::oracle::{Tables, read_tables};
use super::process::Supervised as _;
use super::program::{Program, Workplace};
use super::{eventually, not_tried};

/// The limit for a stopped server to recover, and for the coordinator to notice.
const RECOVERY_MAX: Duration = Duration::from_mins(1);

/// A test's own schema on Citus.
pub(crate) struct Citus {
    url: String,
    schema: String,
    _turn: MutexGuard<'static, ()>,
}

/// A server of the cluster.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its name at the coordinator.
    pub(crate) name: String,
    data: PathBuf,
    /// The program that starts it, and its other arguments.
    program: PathBuf,
    options: String,
    log: PathBuf,
}

impl Citus {
    /// Finds the Citus. If there is none, reports that the test is skipped.
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

    /// A connection with the schema on its search path.
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

    pub(crate) fn load(&self, work: &Workplace, args: &[&str]) -> Program {
        self.program(work, &["load", "--json"]).args(args)
    }

    /// Creates and distributes the tables of a layout.
    pub(crate) fn distribute(&self, work: &Workplace, layout: &str) {
        let args = ["schema", "apply", "--distributed", "citus", "--layout", layout];
        self.program(work, &args).expect(0).says_in_output("distributed by Citus");
    }

    /// The rows of layout `archive`.
    pub(crate) fn tables(&self) -> Tables {
        read_tables(&mut self.client(), &self.schema, "americas")
    }

    /// The number of segments in the ledger, or zero without a coordinator or a table.
    pub(crate) fn segments(&self) -> i64 {
        let count = |mut client: Client| client.query_one("select count(*) from kill_load_segment", &[]);
        self.try_client().and_then(count).map_or(0, |row| row.get(0))
    }

    /// The coordinator and the workers. If they are not on this machine, reports that and returns none.
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
        // The file contains the program and its quoted arguments.
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

    /// Starts it with its earlier arguments, and waits until the coordinator reaches it.
    pub(crate) fn start(&self, citus: &Citus) {
        self.pg_ctl(&["start", "-l", &self.log.display().to_string(), "-o", &self.options]);
        let all_answer = "select from run_command_on_workers('select 1') where not success";
        eventually(RECOVERY_MAX, "all nodes answer", || {
            let answers = citus.try_client().and_then(|mut client| client.query(all_answer, &[]));
            answers.is_ok_and(|failed| failed.is_empty())
        });
    }

    /// Freezes the server while `during` runs: it accepts connections and stays silent, like a hanging machine.
    pub(crate) fn frozen<T>(&self, during: impl FnOnce() -> T) -> T {
        struct Thaw(Pid);
        impl Drop for Thaw {
            fn drop(&mut self) {
                kill(self.0, Signal::SIGCONT).expect("the server resumes");
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
        // An empty environment, because the server looks for certificates in the home directory.
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        if Uid::effective().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let status = command.status_in_time().expect("pg_ctl");
        assert!(status.success(), "{} {args:?}", self.name);
    }
}
