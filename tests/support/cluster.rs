//! PostgreSQL for the tests: one shared cluster, and private ones to stop, kill and start.
//!
//! - A cluster is in a temporary directory. It listens on a Unix socket there and on a free port of 127.0.0.1.
//! - A supervisor, a shell, performs every operation on the cluster, one at a time, as commanded through a pipe. When the
//!   pipe closes, by a drop, a panic or the death of this process, it stops the server and removes the directory.
//! - Each test has its own databases, which are dropped with it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use aegis_kills::{Account, Programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};

use super::free_port;
use super::process::{Process, Supervised as _};

/// Arguments: the programs' directory, the cluster's directory, its settings. Each input line is a command, each output
/// line its result. An unread answer must not end the shell, which has to clean up. The server's output goes to a file,
/// so that it holds no pipe of the tests.
const SUPERVISOR: &str = r#"
trap : PIPE
bin=$1; directory=$2; data=$2/data
pg_ctl() { "$bin/pg_ctl" "$@" -D "$data" -w -t 60 >>"$directory/pg_ctl.log" 2>&1 </dev/null; }
make() {
    mkdir -m 700 "$directory" &&
    "$bin/initdb" -D "$data" -U aegis -A trust -E UTF8 --locale=C -N >"$directory/initdb.log" 2>&1 </dev/null &&
    printf '%s\n' "$1" >>"$data/postgresql.conf"
}
copy() {
    mkdir -m 700 "$directory" &&
    cp -pR "$2" "$data" >"$directory/initdb.log" 2>&1 </dev/null &&
    printf '%s\n' "$1" >>"$data/postgresql.conf" &&
    : >"$data/standby.signal"
}
while read -r command argument; do
    case $command in
        make) make "$3" ;;
        copy) copy "$3" "$argument" ;;
        promote) pg_ctl promote ;;
        start) pg_ctl start -l "$directory/server.log" -o "-p $argument" ;;
        stop) pg_ctl stop -m "$argument" ;;
    esac
    echo "$?" 2>/dev/null
done
if [ -e "$data/postmaster.pid" ]; then pg_ctl stop -m immediate; fi
rm -rf "$directory"
"#;

/// Attempts to find a port that is still free when the server binds it.
const PORT_ATTEMPTS: u32 = 10;
/// Longer than any operation of the supervisor and its server.
const STEP_MAX: Duration = Duration::from_mins(2);
/// A loss by these settings needs a crash of the machine, which also ends the test.
const SHARED_SETTINGS: [(&str, &str); 4] =
    [("fsync", "off"), ("full_page_writes", "off"), ("max_wal_size", "4GB"), ("max_connections", "200")];

/// A PostgreSQL cluster in a temporary directory.
pub(crate) struct Cluster {
    directory: PathBuf,
    port: AtomicU32,
    databases: AtomicU64,
    supervisor: Mutex<Supervisor>,
}

struct Supervisor {
    process: Process,
    /// The supervisor's input. Closing it ends the cluster. None after that.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A test's own database.
pub(crate) struct Database<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Cluster {
    /// The cluster that all tests of this process share. The first call creates it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::new(&SHARED_SETTINGS, None))
    }

    /// A private cluster with additional settings. Its commits are as durable as PostgreSQL's defaults.
    pub(crate) fn private(settings: &[(&str, &str)]) -> Self {
        Self::new(settings, None)
    }

    /// A standby of another cluster, which receives later commits. The primary restarts, because its files are copied
    /// while it is stopped: not every set of server programs has `pg_basebackup`.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        primary.stop();
        let data = primary.directory.join("data");
        let source = primary.url("postgres");
        let settings = [("primary_conninfo", source.as_str())];
        let standby = Self::made_by(&format!("copy {}", data.display()), &settings, None);
        primary.start();
        standby.start_on_a_free_port();
        standby
    }

    /// Promotes a standby to a primary.
    pub(crate) fn promote(&self) {
        assert!(self.send("promote"), "{}", self.logs());
    }

    /// A private cluster with a disk of this many MiB at the path, for a tablespace. None if this process cannot mount
    /// one. Only the server sees it, and it ends with the server.
    pub(crate) fn with_disk(path: &Path, mebibytes: u32) -> Option<Self> {
        let may_mount = Command::new("unshare").args(["--mount", "true"]).output_in_time();
        let may_mount =
            nix::unistd::geteuid().is_root() && may_mount.is_ok_and(|tried| tried.status.success());
        may_mount.then(|| Self::new(&[], Some((path, mebibytes))))
    }

    /// A new, empty database whose name begins with `hint`.
    pub(crate) fn database(&self, hint: &str) -> Database<'_> {
        let hint: String = hint.chars().filter(char::is_ascii_alphanumeric).take(30).collect();
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}_{number}", hint.to_ascii_lowercase());
        let mut admin = self.admin();
        admin.batch_execute(&format!("create database {name} template template0")).expect("a database");
        if major_version(&mut admin) < 15 {
            // Later versions have this default, which tests of privileges expect.
            let revoke = "revoke create on schema public from public";
            let mut client = Client::connect(&self.url(&name), NoTls).expect("a connection to it");
            client.batch_execute(revoke).expect("a revoked privilege");
        }
        Database { cluster: self, name }
    }

    /// Stops the server as a crash would: sessions are cut, nothing is written, the next start recovers.
    pub(crate) fn stop_immediate(&self) {
        assert!(self.send("stop immediate"), "{}", self.logs());
    }

    /// Stops the server and ends all sessions.
    pub(crate) fn stop(&self) {
        assert!(self.send("stop fast"), "{}", self.logs());
    }

    /// Starts the server on its earlier port.
    pub(crate) fn start(&self) {
        // Children of a killed server may hold its memory for a moment.
        super::eventually(std::time::Duration::from_secs(30), "the server starts", || {
            self.send(&format!("start {}", self.port()))
        });
    }

    /// Stops the server and starts it.
    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    /// Kills the postmaster with SIGKILL, and waits for its end.
    pub(crate) fn kill9(&self) {
        let pid = self.pid().expect("a running server");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("to kill the server");
        super::eventually(std::time::Duration::from_secs(10), "the server is gone", || !super::is_alive(pid));
    }

    /// The process id of the postmaster, from its file.
    pub(crate) fn pid(&self) -> Option<i32> {
        let text = fs::read_to_string(self.directory.join("data/postmaster.pid")).ok()?;
        text.lines().next()?.parse().ok()
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The TCP port on 127.0.0.1, which is also in the socket's name.
    pub(crate) fn port(&self) -> u32 {
        self.port.load(Ordering::Relaxed)
    }

    fn new(settings: &[(&str, &str)], disk: Option<(&Path, u32)>) -> Self {
        let cluster = Self::made_by("make", settings, disk);
        cluster.start_on_a_free_port();
        cluster
    }

    /// A cluster that is not started yet.
    fn made_by(make: &str, settings: &[(&str, &str)], disk: Option<(&Path, u32)>) -> Self {
        let programs = Programs::find().expect("PostgreSQL's server programs");
        let account = Account::for_paths(&[]).expect("an account to run PostgreSQL as");
        let directory = free_directory();
        // The default before PostgreSQL 14 is md5.
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\npassword_encryption = 'scram-sha-256'\n",
            directory.display()
        );
        for (name, value) in settings {
            writeln!(conf, "{name} = '{value}'").expect("memory");
        }
        let mut shell = match disk {
            None => account.command(Path::new("/bin/sh")),
            Some((path, mebibytes)) => with_disk(path, mebibytes, account.name()),
        };
        let mut process = shell
            .args(["-c", SUPERVISOR, "sh"])
            .args([programs.bin(), &directory, Path::new(&conf)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .supervised()
            .expect("a shell");
        process.set_deadline(None);
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("its output"));
        let cluster = Self {
            directory,
            port: AtomicU32::new(0),
            databases: AtomicU64::new(0),
            supervisor: Mutex::new(Supervisor { process, commands, answers }),
        };
        assert!(cluster.send(make), "{}", cluster.logs());
        cluster
    }

    fn start_on_a_free_port(&self) {
        let started = (0..PORT_ATTEMPTS).any(|_| {
            self.port.store(free_port().into(), Ordering::Relaxed);
            self.send(&format!("start {}", self.port()))
        });
        assert!(started, "{}", self.logs());
    }

    /// Sends a command to the supervisor, and returns whether it succeeded.
    fn send(&self, command: &str) -> bool {
        let mut supervisor = self.supervisor.lock().expect("no test panicked in here");
        let input = supervisor.commands.as_mut().expect("open until the drop");
        writeln!(input, "{command}").expect("the supervisor lives");
        let mut answer = String::new();
        let Supervisor { process, answers, .. } = &mut *supervisor;
        process.within(STEP_MAX, || answers.read_line(&mut answer)).expect("an answer");
        answer == "0\n"
    }

    /// A connection to the database `postgres` through the Unix socket.
    pub(crate) fn admin(&self) -> Client {
        Client::connect(&self.url("postgres"), NoTls).expect("a connection to the test's server")
    }

    /// The URL of a database through the Unix socket.
    pub(crate) fn url(&self, database: &str) -> String {
        let directory = self.directory.display().to_string().replace('/', "%2F");
        format!("postgresql:///{database}?host={directory}&port={}&user=aegis", self.port())
    }

    fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        ["initdb.log", "pg_ctl.log", "server.log"].map(read).join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(supervisor.commands.take());
        supervisor.process.end_within(STEP_MAX);
    }
}

impl Database<'_> {
    /// Its name, which needs no quotes.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL through the Unix socket.
    pub(crate) fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    pub(crate) fn tcp_url(&self) -> String {
        format!("postgresql://aegis@127.0.0.1:{}/{}", self.cluster.port(), self.name)
    }

    /// A connection through the Unix socket.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.url(), NoTls).expect("a connection to the test's database")
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // If a test left its server stopped, the database is removed with the cluster.
        if let Ok(mut client) = Client::connect(&self.cluster.url("postgres"), NoTls) {
            let dropped = drop_database(&mut client, &self.name);
            if let Err(error) = dropped
                && !std::thread::panicking()
            {
                panic!("could not drop {}: {error}", self.name);
            }
        }
    }
}

/// The server's major version, such as 15.
pub(crate) fn major_version(client: &mut Client) -> i32 {
    let sql = "select current_setting('server_version_num')::int / 10000";
    client.query_one(sql, &[]).expect("a version").get(0)
}

/// Drops a database with its sessions.
fn drop_database(client: &mut Client, name: &str) -> Result<(), postgres::Error> {
    if major_version(client) >= 13 {
        return client.batch_execute(&format!("drop database {name} with (force)"));
    }
    // The statement waits up to 5 s for sessions that are ending.
    client.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", &[&name])?;
    client.batch_execute(&format!("drop database {name}"))
}

/// A shell of the account in a mount namespace with a disk at the path.
fn with_disk(path: &Path, mebibytes: u32, account: &str) -> Command {
    const MOUNT: &str = r#"mount -t tmpfs -o size="$1"m,mode=700,uid="$(id -u "$3")" tmpfs "$2" && account=$3 && shift 3 &&
        exec setpriv --reuid "$account" --regid "$account" --init-groups --reset-env /bin/sh "$@""#;
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "/bin/sh",
        "-c",
        MOUNT,
        "sh",
        &mebibytes.to_string(),
    ]);
    command.arg(path).arg(account).current_dir("/");
    command
}

/// A free name in the temporary directory. The supervisor creates the directory, so that it belongs to the account.
fn free_directory() -> PathBuf {
    let parent = match std::env::temp_dir() {
        // Some systems limit a socket's path to 103 bytes.
        long if long.as_os_str().len() > 60 => PathBuf::from("/tmp"),
        short => short,
    };
    parent.join(format!("kills-test-{}", uuid::Uuid::new_v4().simple()))
}
