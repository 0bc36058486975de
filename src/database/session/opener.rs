//! One connection: opened within a time, used by one call at a time, closed where closing can block nobody.

use crate::database::connect::attributes::SessionAttributes;
use crate::database::connect::fault::ConnectFault;
use crate::database::connect::server_version::Unsupported;
use crate::database::connect::tls::{Connector, Tls};
use crate::database::connect::{Target, server_version as engine};
use crate::database::failure::classify::{ErrorClass, is_out_of_files};
use crate::database::failure::error::DatabaseError;
use crate::database::session::client::Client;
use crate::database::session::deadline::{Deadline, Waited};
use crate::database::session::notices::{Notices, Warnings};
use crate::error_chain::in_full;
use crate::panics::{contained, inject};
use crossbeam_channel::{Receiver, bounded};
use postgres::error::SqlState;
use postgres::{CancelToken, Config};
use r2d2::ManageConnection as _;
use r2d2_postgres::PostgresConnectionManager;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// For how long a connection is used, less up to a quarter, so that those that were opened together are not
/// renewed together. Long enough to cost nothing, short enough to follow a change of a name's address.
const LIFETIME: Duration = Duration::from_mins(30);

/// Opens connections.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    hosts: Arc<Hosts>,
    /// From the name's look-up to the first answer of the session.
    time_max: Duration,
    /// Threads that open a connection, or ask something on one apart, and have not ended.
    threads: Arc<AtomicUsize>,
}

/// Counts a thread for as long as it lives.
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Hosts {
    application: String,
    warnings: Warnings,
    all: Vec<Host>,
    any_order: bool,
    attributes: SessionAttributes,
    tls: Tls,
}

struct Host {
    /// The ways in which it is tried, in their order.
    ways: Vec<Config>,
    /// Whether it has said what it is, and may be used; it is asked once a process.
    is_known: AtomicBool,
}

/// A connection that is being opened.
pub(crate) type Opening = Receiver<Result<Session, DatabaseError>>;

impl Opener {
    /// `application` is what the sessions call themselves.
    pub(crate) fn new(target: &Target, application: &str, time_max: Duration) -> Self {
        let way = |mut config: Config| {
            config.application_name(application);
            config
        };
        let hosts = target.hosts.iter().map(|host| Host {
            ways: target.tls.ways(host).into_iter().map(way).collect(),
            is_known: AtomicBool::new(false),
        });
        let hosts = Hosts {
            application: application.to_owned(),
            warnings: Warnings::default(),
            all: hosts.collect(),
            any_order: target.any_order,
            attributes: target.attributes,
            tls: target.tls.clone(),
        };
        Self { hosts: Arc::new(hosts), time_max, threads: Arc::default() }
    }

    /// How many threads of this opener and its clones have not ended: beside those at work, those that were left behind.
    pub(crate) fn threads(&self) -> usize {
        self.threads.load(Ordering::Acquire)
    }

    /// Counts a thread, until what is returned is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.threads.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(&self.threads))
    }

    /// How long opening may take.
    pub(crate) fn time_max(&self) -> Duration {
        self.time_max
    }

    /// Opens a connection, and gives up after the settings' time or when `deadline` is over.
    ///
    /// The client library's own limit ends with the socket; a server that accepts and says nothing would hold
    /// its caller for ever. So a thread of its own does it, and is left behind when it takes too long.
    pub(crate) fn open(&self, deadline: &Deadline) -> Result<Session, DatabaseError> {
        self.wait_for(&self.begin()?, deadline)
    }

    /// Begins to open a connection, to be waited for later.
    pub(crate) fn begin(&self) -> Result<Opening, DatabaseError> {
        let (sender, opening) = bounded(1);
        let hosts = Arc::clone(&self.hosts);
        let busy = self.busy();
        spawn("connect", move || {
            let _busy = busy;
            // The client library panics where it can open no file.
            let opened = contained(|| hosts.connect());
            let failed = |message: String| {
                // Only the panic's text tells: it has the number of EMFILE.
                Err(if message.contains("code: 24,") {
                    DatabaseError::OutOfFiles(io::Error::from_raw_os_error(24))
                } else {
                    DatabaseError::Thread(message)
                })
            };
            drop(sender.send(opened.unwrap_or_else(failed)));
        })?;
        Ok(opening)
    }

    /// Waits for a connection as [`open`](Self::open) does.
    pub(crate) fn wait_for(&self, opening: &Opening, deadline: &Deadline) -> Result<Session, DatabaseError> {
        match deadline.wait(opening, self.time_max) {
            Waited::Got(session) => session,
            Waited::Aborted => Err(DatabaseError::Aborted),
            Waited::TimeOver => Err(DatabaseError::NoAnswer(self.time_max)),
            Waited::Ended => Err(DatabaseError::Thread("connecting panicked".to_owned())),
        }
    }
}

impl Hosts {
    /// The first host that lets us in. Who has refused us is not asked again in another place.
    fn connect(&self) -> Result<Session, DatabaseError> {
        spare_files()?;
        let mut hosts: Vec<&Host> = self.all.iter().collect();
        if self.any_order {
            fastrand::shuffle(&mut hosts);
        }
        let mut failed = DatabaseError::Aborted;
        let rounds = self.attributes.rounds();
        for (host, attributes) in rounds.iter().flat_map(|round| hosts.iter().map(move |host| (host, *round)))
        {
            failed = match self.connect_to(host, attributes) {
                Ok(session) => return Ok(session),
                Err(error) if error.class() == ErrorClass::Fatal && error.is_named() => return Err(error),
                Err(error) if error.class() == ErrorClass::Fatal && error.sqlstate().is_some() => {
                    return Err(error);
                }
                Err(error) => error,
            };
        }
        Err(failed)
    }

    fn connect_to(&self, host: &Host, attributes: SessionAttributes) -> Result<Session, DatabaseError> {
        let mut failed = DatabaseError::Aborted;
        let mut cause_before: Option<String> = None;
        for config in &host.ways {
            let explained = |error| {
                let fault = ConnectFault::new(&error, &self.tls, config);
                DatabaseError::Connect { fault, error }
            };
            let notices = Notices::new(&self.warnings);
            let manager =
                PostgresConnectionManager::new(notices.heard_by(config.clone()), self.tls.connector());
            match manager.connect() {
                Ok(mut client) => {
                    if let Some(unmet) = attributes.unmet(&mut client).map_err(explained)? {
                        return Err(DatabaseError::Unmet(ConnectFault::unmet(&unmet, config)));
                    }
                    if !host.is_known.load(Ordering::Acquire) {
                        let version =
                            engine::version(&mut client).map_err(|error| refusal(error, explained))?;
                        host.check_server_version(&version)?;
                    }
                    let client = Client::new(client, &self.application, notices);
                    let client = client.map_err(|error| refusal(error, explained))?;
                    if let Some(cause) = &cause_before {
                        self.tls.warn_of_plain(config, cause);
                    }
                    return Ok(Session::new(client, self.tls.connector()));
                }
                Err(error) => {
                    cause_before = self.tls.cause_to_try_on(&error, config);
                    failed = explained(error);
                    if cause_before.is_none() {
                        break;
                    }
                }
            }
        }
        Err(failed)
    }
}

/// Fails where the process is out of file descriptors: the client library panics then.
fn spare_files() -> Result<(), DatabaseError> {
    const NEEDED: usize = 8;
    let opened: io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open("/dev/null")).collect();
    match opened {
        Err(error) if is_out_of_files(&error) => Err(DatabaseError::OutOfFiles(error)),
        // Some systems have no such file.
        _ => Ok(()),
    }
}

/// The error of a session that could not be set up.
fn refusal(
    error: postgres::Error,
    explained: impl FnOnce(postgres::Error) -> DatabaseError,
) -> DatabaseError {
    let is_cancelled = error.code() == Some(&SqlState::QUERY_CANCELED);
    let is_statement_pooling =
        error.as_db_error().is_some_and(|error| error.message().contains("statement pooling"));
    match (is_cancelled, is_statement_pooling) {
        (true, _) => DatabaseError::TimeoutTooShort(error),
        (_, true) => DatabaseError::StatementPooling(error),
        _ => explained(error),
    }
}

impl Host {
    /// Takes note of what it says of itself. Who can't be worked with stays unknown, and is asked again.
    fn check_server_version(&self, version: &str) -> Result<(), Unsupported> {
        if let Some(caution) = engine::judge(version)? {
            log::warn!("{caution}");
        }
        self.is_known.store(true, Ordering::Release);
        Ok(())
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// An open connection, and what is known of its use.
pub(crate) struct Session {
    /// None while a call has it, and for good when a call kept it.
    client: Option<ApartClient>,
    /// The process number of its backend, where it is known.
    pub(crate) pid: Option<i32>,
    cancel: CancelToken,
    connector: Connector,
    expires: Instant,
    /// When it last did as it was asked.
    used: Instant,
}

/// A connection that was idle for longer is asked whether it is still there, before it is relied on.
const IDLE_TRUSTED: Duration = Duration::from_secs(5);

/// How long that answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);

impl Session {
    fn new(client: Client, connector: Connector) -> Self {
        let mut client = ApartClient(Some(client));
        let (pid, cancel) = (client.get().pid(), client.get().cancel_token());
        let lifetime = LIFETIME.mul_f64(1.0 - fastrand::f64() / 4.0);
        let now = Instant::now();
        let client = Some(client);
        Self { client, pid, cancel, connector, expires: now + lifetime, used: now }
    }

    /// What cancels the statement that runs, as encrypted as the session is.
    pub(crate) fn canceller(&self) -> impl FnOnce() -> Result<(), postgres::Error> + Send + 'static {
        let (token, connector) = (self.cancel.clone(), self.connector.clone());
        move || token.cancel_query(connector)
    }

    /// Hands out the client; until it is put back the session counts as broken.
    pub(crate) fn take(&mut self) -> Option<ApartClient> {
        self.client.take()
    }

    pub(crate) fn put_back(&mut self, client: ApartClient) {
        self.client = Some(client);
        self.used = Instant::now();
    }

    /// When it was last used.
    pub(crate) fn used(&self) -> Instant {
        self.used
    }

    /// Whether it can be relied on. `away` is when the database was last found away: what was used before then may
    /// be cut, though the client does not know yet.
    pub(crate) fn is_fit(&mut self, away: Option<Instant>) -> bool {
        if self.is_broken() {
            return false;
        }
        let doubtful = self.used.elapsed() > IDLE_TRUSTED || away.is_some_and(|away| away >= self.used);
        if !doubtful {
            return true;
        }
        let Some(mut client) = self.client.take() else { return false };
        match client.get().is_valid(ANSWER_MAX) {
            Ok(()) => self.put_back(client),
            Err(error) => log::debug!("an idle connection is gone: {}", in_full(&error)),
        }
        self.client.is_some()
    }

    /// Whether it is not to be used again.
    pub(crate) fn is_broken(&self) -> bool {
        Instant::now() >= self.expires || self.client.as_ref().is_none_or(ApartClient::is_closed)
    }
}

/// A client that is closed on a thread of its own: closing one whose server is frozen can block for ever.
pub(crate) struct ApartClient(Option<Client>);

impl ApartClient {
    pub(crate) fn get(&mut self) -> &mut Client {
        self.0.as_mut().expect("it is taken by drop alone")
    }

    pub(crate) fn get_ref(&self) -> &Client {
        self.0.as_ref().expect("it is taken by drop alone")
    }

    fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(Client::is_closed)
    }
}

impl Drop for ApartClient {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            // Without a thread it is closed here.
            let _ = spawn("close", move || drop(client));
        }
    }
}

/// Starts a thread that nobody waits for.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), DatabaseError> {
    let point = name.to_owned();
    let work = move || {
        inject(&point);
        work();
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| DatabaseError::Thread(error.to_string()))
}
