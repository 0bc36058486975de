//! One connection: opened within a time, used by one call at a time, closed where closing can block nobody.

use super::classify::DatabaseError;
use super::patience::{Patience, Waited};
use crossbeam_channel::bounded;
use postgres::{CancelToken, Client, Config, NoTls};
use r2d2::ManageConnection as _;
use r2d2_postgres::PostgresConnectionManager;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// For how long a connection is used, less up to a quarter, so that those that were opened together are not
/// renewed together. Long enough to cost nothing, short enough to follow a change of a name's address.
const LIFETIME: Duration = Duration::from_mins(30);

/// What each session is set to; one round trip.
///
/// - The server notices within a minute when the loader is gone or the network swallows all, and gives back the locks.
/// - These sessions find rows by their keys alone. Of a table that was never analyzed the planner would think that
///   a few hundred ids are most of its rows, and read it whole for each segment.
/// - Nothing that they do is worth compiling, which takes longer than the statement itself.
const SESSION_SETTINGS: &str = "SET idle_in_transaction_session_timeout = '1min'; SET tcp_keepalives_idle = 30; \
     SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET TimeZone = 'UTC'; SET enable_seqscan = off; \
     SET jit = off; SELECT pg_backend_pid()";

/// A server before 14, or on a system that can't tell, has no such setting.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = '10s'";

/// Opens connections.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    manager: Arc<PostgresConnectionManager<NoTls>>,
    /// From the name's look-up to the first answer of the session.
    time_max: Duration,
}

impl Opener {
    pub(super) fn new(mut config: Config, time_max: Duration) -> Self {
        // The server's notices ("relation exists, skipping") are of no use to who runs a load.
        config.notice_callback(|notice| log::debug!("{notice}"));
        Self { manager: Arc::new(PostgresConnectionManager::new(config, NoTls)), time_max }
    }

    /// How long opening may take.
    pub(super) fn time_max(&self) -> Duration {
        self.time_max
    }

    /// Opens a connection, and gives up after the settings' time or when `patience` is over.
    ///
    /// The client library's own limit ends with the socket; a server that accepts and says nothing would hold
    /// its caller for ever. So a thread of its own does it, and is left behind when it takes too long.
    pub(super) fn open(&self, patience: &Patience) -> Result<Session, DatabaseError> {
        let (sender, opened) = bounded(1);
        let manager = Arc::clone(&self.manager);
        let connect = move || drop(sender.send(connect(&manager)));
        spawn("connect", connect)?;
        match patience.wait(&opened, self.time_max) {
            Waited::Got(session) => session,
            Waited::GivenUp => Err(DatabaseError::GivenUp),
            Waited::TimeOver => Err(DatabaseError::NoAnswer(self.time_max)),
            Waited::Ended => Err(DatabaseError::Thread("connecting panicked".to_owned())),
        }
    }
}

fn connect(manager: &PostgresConnectionManager<NoTls>) -> Result<Session, DatabaseError> {
    let mut client = ApartClient(Some(manager.connect().map_err(DatabaseError::Connect)?));
    let inner = client.get();
    let answers = inner.simple_query(SESSION_SETTINGS).map_err(DatabaseError::Connect)?;
    let pid = answers.iter().find_map(|answer| match answer {
        postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    if let Err(error) = inner.batch_execute(CHECK_CLIENT) {
        log::debug!("the server can't watch for lost clients: {error}");
    }
    let cancel = inner.cancel_token();
    let lifetime = LIFETIME.mul_f64(1.0 - fastrand::f64() / 4.0);
    let now = Instant::now();
    Ok(Session { client: Some(client), pid, cancel, expires: now + lifetime, used: now })
}

/// A connection of the pool.
pub(super) struct Session {
    /// None while a call has it, and for good when a call kept it.
    client: Option<ApartClient>,
    /// The process of the server, where it says so.
    pub(super) pid: Option<i32>,
    pub(super) cancel: CancelToken,
    expires: Instant,
    /// When it last did as it was asked.
    used: Instant,
}

/// A connection that was idle for longer is asked whether it is still there, before it is relied on.
const IDLE_TRUSTED: Duration = Duration::from_secs(5);

/// How long that answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

impl Session {
    /// Hands out the client; until it is put back the session counts as broken.
    pub(super) fn take(&mut self) -> Option<ApartClient> {
        self.client.take()
    }

    pub(super) fn put_back(&mut self, client: ApartClient) {
        self.client = Some(client);
        self.used = Instant::now();
    }

    /// How long it has not been used.
    pub(super) fn idle(&self) -> Duration {
        self.used.elapsed()
    }

    /// Whether it can be relied on. `away` is when the database was last found away: what was used before then may
    /// be cut, though the client does not know yet.
    pub(super) fn is_fit(&mut self, away: Option<Instant>) -> bool {
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
            Err(error) => log::debug!("an idle connection is gone: {error}"),
        }
        self.client.is_some()
    }

    /// Whether it is not to be used again.
    pub(super) fn is_broken(&self) -> bool {
        Instant::now() >= self.expires || self.client.as_ref().is_none_or(ApartClient::is_closed)
    }
}

/// A client that is closed on a thread of its own: closing one whose server is frozen can block for ever.
pub(super) struct ApartClient(Option<Client>);

impl ApartClient {
    pub(super) fn get(&mut self) -> &mut Client {
        self.0.as_mut().expect("it is taken by drop alone")
    }

    pub(super) fn get_ref(&self) -> &Client {
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
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), DatabaseError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| DatabaseError::Thread(error.to_string()))
}
