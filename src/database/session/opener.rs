//! One connection: opened within a time limit, used by one call at a time, and closed on a separate thread, because
//! closing may block.

use crate::database::connect::Target;
use crate::database::connect::tls::Connector;
use crate::database::failure::error::DatabaseError;
use crate::database::session::client::Client;
use crate::database::session::deadline::{Deadline, Waited};
use crate::database::session::hosts::Hosts;
use crate::error_chain::in_full;
use crate::panics::{contained, inject};
use crate::sync::channel::{Receiver, bounded};
use postgres::CancelToken;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The maximum age of a connection. A random part, up to a quarter, is subtracted, so that connections opened
/// together are not renewed together. Renewals cost little at this interval, and follow a changed address of the
/// host.
const LIFETIME: Duration = Duration::from_mins(30);

/// Opens connections.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    hosts: Arc<Hosts>,
    /// The limit from the name lookup to the first response of the session.
    time_max: Duration,
    /// Running threads that open a connection or run a query on a separate one.
    threads: Arc<AtomicUsize>,
}

/// Counts a running thread until it is dropped.
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that is being opened.
pub(crate) type Opening = Receiver<Result<Session, DatabaseError>>;

impl Opener {
    /// `application` is the `application_name` of the sessions. A shorter `connect_timeout` of the target lowers `time_max`. As
    /// in libpq, it counts for each host.
    pub(crate) fn new(target: &Target, application: &str, time_max: Duration) -> Self {
        let attempts = target.hosts.len() * target.attributes.rounds().len();
        let timeout = target
            .connect_timeout
            .map(|timeout| timeout.saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX)));
        let time_max = timeout.map_or(time_max, |timeout| timeout.min(time_max));
        Self { hosts: Arc::new(Hosts::new(target, application)), time_max, threads: Arc::default() }
    }

    /// The number of running threads of this opener and its clones, including abandoned ones.
    pub(crate) fn threads(&self) -> usize {
        self.threads.load(Ordering::Acquire)
    }

    /// Counts a thread until the result is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.threads.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(&self.threads))
    }

    /// The time limit for opening a connection.
    pub(crate) fn time_max(&self) -> Duration {
        self.time_max
    }

    /// Opens a connection within the time limit of the settings and `deadline`.
    ///
    /// The client library's own limit ends with the connection of the socket, so a server that does not answer would
    /// block the caller forever. Therefore a separate thread connects, and is abandoned if it takes too long.
    pub(crate) fn open(&self, deadline: &Deadline) -> Result<Session, DatabaseError> {
        self.wait_for(&self.begin()?, deadline)
    }

    /// Starts to open a connection; [`wait_for`](Self::wait_for) returns it.
    pub(crate) fn begin(&self) -> Result<Opening, DatabaseError> {
        let (sender, opening) = bounded(1);
        let hosts = Arc::clone(&self.hosts);
        let busy = self.busy();
        spawn("connect", move || {
            let _busy = busy;
            // The client library panics if it cannot open a file.
            let opened = contained(|| hosts.connect().map(|client| Session::new(client, hosts.connector())));
            let failed = |message: String| {
                // Only the text of the panic shows the cause: it contains the number of EMFILE.
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

/// An open connection, and the state of its use.
pub(crate) struct Session {
    /// None while a call uses it, and permanently if a call kept it.
    client: Option<ApartClient>,
    /// The process id of its backend, if known.
    pub(crate) pid: Option<i32>,
    cancel: CancelToken,
    connector: Connector,
    expires: Instant,
    /// The time of the last successful use.
    used: Instant,
}

/// A connection that was idle longer is tested before use.
const IDLE_TRUSTED: Duration = Duration::from_secs(5);

/// The time limit of the test.
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

    /// A function that cancels the running statement, encrypted like the session.
    pub(crate) fn canceller(&self) -> impl FnOnce() -> Result<(), postgres::Error> + Send + 'static {
        let (token, connector) = (self.cancel.clone(), self.connector.clone());
        move || token.cancel_query(connector)
    }

    /// Takes the client out. Until it is put back, the session counts as broken.
    pub(crate) fn take(&mut self) -> Option<ApartClient> {
        self.client.take()
    }

    pub(crate) fn put_back(&mut self, client: ApartClient) {
        self.client = Some(client);
        self.used = Instant::now();
    }

    /// The time of the last use.
    pub(crate) fn used(&self) -> Instant {
        self.used
    }

    /// Whether the session is usable. `outage` is when the database was last found unreachable. A connection used
    /// before then may be cut without the client noticing.
    pub(crate) fn is_fit(&mut self, outage: Option<Instant>) -> bool {
        if self.is_broken() {
            return false;
        }
        let doubtful = self.used.elapsed() > IDLE_TRUSTED || outage.is_some_and(|outage| outage >= self.used);
        if !doubtful {
            return true;
        }
        let Some(mut client) = self.client.take() else { return false };
        match client.get().is_valid(ANSWER_MAX) {
            Ok(()) => self.put_back(client),
            Err(error) => log::debug!("idle connection lost: {}", in_full(&error)),
        }
        self.client.is_some()
    }

    /// Whether the session must not be used again.
    pub(crate) fn is_broken(&self) -> bool {
        Instant::now() >= self.expires || self.client.as_ref().is_none_or(ApartClient::is_closed)
    }
}

/// A client that is closed on a separate thread, because closing can block forever if the server is frozen.
pub(crate) struct ApartClient(Option<Client>);

impl ApartClient {
    pub(crate) fn get(&mut self) -> &mut Client {
        self.0.as_mut().expect("only drop takes it")
    }

    pub(crate) fn get_ref(&self) -> &Client {
        self.0.as_ref().expect("only drop takes it")
    }

    fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(Client::is_closed)
    }
}

impl Drop for ApartClient {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            // If no thread can be started, the client is closed on this one.
            let _ = spawn("close", move || drop(client));
        }
    }
}

/// Starts a detached thread.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), DatabaseError> {
    let point = name.to_owned();
    let work = move || {
        inject(&point);
        work();
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(DatabaseError::NoThread)
}
