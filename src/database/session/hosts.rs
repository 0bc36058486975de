//! The hosts of the database, and the first steps on a new connection: checks of the server and of a pooler.

use crate::database::connect::attributes::SessionAttributes;
use crate::database::connect::fault::ConnectFault;
use crate::database::connect::tls::{Connector, Tls};
use crate::database::connect::{Target, server_version as engine};
use crate::database::failure::classify::{ErrorClass, is_out_of_files};
use crate::database::failure::error::{DatabaseError, TRANSACTION_TIMEOUT, pools_statements};
use crate::database::session::client::Client;
use crate::database::session::client_transaction::ClientTransaction;
use crate::database::session::notices::{Notices, Warnings};
use postgres::Config;
use postgres::error::SqlState;
use r2d2::ManageConnection as _;
use r2d2_postgres::PostgresConnectionManager;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub(crate) struct Hosts {
    application: String,
    warnings: Warnings,
    all: Vec<Host>,
    any_order: bool,
    attributes: SessionAttributes,
    tls: Tls,
}

struct Host {
    /// The configurations to connect with, in order.
    ways: Vec<Config>,
    /// Whether its version and the mode of its pooler were checked, which happens once per process.
    is_known: AtomicBool,
    /// How often a pooler closed the connection at the begin of the first transaction.
    closed_transactions: AtomicU32,
}

impl Hosts {
    /// `application` is the `application_name` of the sessions.
    pub(crate) fn new(target: &Target, application: &str) -> Self {
        let way = |mut config: Config| {
            config.application_name(application);
            config
        };
        let hosts = target.hosts.iter().map(|host| Host {
            ways: target.tls.ways(host).into_iter().map(way).collect(),
            is_known: AtomicBool::new(false),
            closed_transactions: AtomicU32::new(0),
        });
        Self {
            application: application.to_owned(),
            warnings: Warnings::default(),
            all: hosts.collect(),
            any_order: target.any_order,
            attributes: target.attributes,
            tls: target.tls.clone(),
        }
    }

    pub(crate) fn connector(&self) -> Connector {
        self.tls.connector()
    }

    /// Connects to the first host that accepts the connection. A permanent refusal ends the search.
    pub(crate) fn connect(&self) -> Result<Client, DatabaseError> {
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
                Err(error) if is_permanent(&error) => return Err(error),
                Err(error) => error,
                connected => return connected,
            };
        }
        Err(failed)
    }

    /// Connects to a host with the first of its configurations that it accepts.
    fn connect_to(&self, host: &Host, attributes: SessionAttributes) -> Result<Client, DatabaseError> {
        let mut failed = DatabaseError::Aborted;
        let mut cause_before: Option<String> = None;
        for config in &host.ways {
            let notices = Notices::new(&self.warnings);
            let manager = PostgresConnectionManager::new(notices.attach_to(config.clone()), self.connector());
            let error = match manager.connect() {
                Ok(connection) => {
                    let Some(client) = self.set_up(host, config, attributes, connection, notices)? else {
                        return self.connect_to(host, attributes);
                    };
                    if let Some(cause) = &cause_before {
                        self.tls.warn_of_plain(config, cause);
                    }
                    return Ok(client);
                }
                Err(error) => error,
            };
            cause_before = self.tls.fallback_cause(&error, config);
            failed = self.explained(error, config);
            if cause_before.is_none() {
                break;
            }
        }
        Err(failed)
    }

    /// Prepares a new connection, and checks its host once per process. `None` if a pooler closed it at its first
    /// transaction, which can have a temporary cause.
    fn set_up(
        &self,
        host: &Host,
        config: &Config,
        attributes: SessionAttributes,
        mut connection: postgres::Client,
        notices: Notices,
    ) -> Result<Option<Client>, DatabaseError> {
        let setup_failed = |error| self.setup_error(error, config, host);
        if let Some(unmet) = attributes.unmet(&mut connection).map_err(setup_failed)? {
            if unmet.is_by_setting {
                return Err(DatabaseError::ReadOnlyRole(None));
            }
            return Err(DatabaseError::Unmet(ConnectFault::unmet(&unmet, config)));
        }
        let is_first = !host.is_known.load(Ordering::Acquire);
        if is_first {
            let version = engine::version(&mut connection).map_err(setup_failed)?;
            if let Some(caution) = engine::judge(&version)? {
                log::warn!("{caution}");
            }
        }
        let mut client = Client::new(connection, &self.application, notices).map_err(setup_failed)?;
        if is_first && client.pid().is_none() && !self.keeps_transactions(host, config, &mut client)? {
            return Ok(None);
        }
        host.is_known.store(true, Ordering::Release);
        Ok(Some(client))
    }

    /// Whether a pooler keeps the connection during a transaction. An error if it closes each one.
    fn keeps_transactions(
        &self,
        host: &Host,
        config: &Config,
        client: &mut Client,
    ) -> Result<bool, DatabaseError> {
        let Err(error) = client.transaction().and_then(ClientTransaction::rollback) else { return Ok(true) };
        match self.setup_error(error, config, host) {
            DatabaseError::Connect { error, .. } if host.closes_transactions(&error) => {
                Err(DatabaseError::StatementPooling(error))
            }
            DatabaseError::Connect { error, .. } if error.is_closed() => Ok(false),
            error => Err(error),
        }
    }

    /// The error of a failed session setup.
    fn setup_error(&self, error: postgres::Error, config: &Config, host: &Host) -> DatabaseError {
        // The next session may be in time if an earlier one was.
        let is_transaction_too_long = error.code().map(SqlState::code) == Some(TRANSACTION_TIMEOUT)
            && !host.is_known.load(Ordering::Acquire);
        if error.code() == Some(&SqlState::QUERY_CANCELED) || is_transaction_too_long {
            DatabaseError::TimeoutTooShort(error)
        } else if pools_statements(&error) {
            DatabaseError::StatementPooling(error)
        } else {
            self.explained(error, config)
        }
    }

    fn explained(&self, error: postgres::Error, config: &Config) -> DatabaseError {
        let fault = ConnectFault::new(&error, &self.tls, config);
        DatabaseError::Connect { fault, error }
    }
}

/// Whether no other host would accept the connection either.
fn is_permanent(error: &DatabaseError) -> bool {
    error.class() == ErrorClass::Fatal && (error.is_named() || error.sqlstate().is_some())
}

/// Fails if the process is out of file descriptors, because the client library would panic.
fn spare_files() -> Result<(), DatabaseError> {
    const NEEDED: usize = 8;
    let opened: io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open("/dev/null")).collect();
    match opened {
        Err(error) if is_out_of_files(&error) => Err(DatabaseError::OutOfFiles(error)),
        // Some systems have no such file.
        _ => Ok(()),
    }
}

impl Host {
    /// Whether the pooler closes the connection of each transaction, as PgBouncer does in statement mode. If the end of
    /// the connection arrives with the reason, the client library drops the reason.
    fn closes_transactions(&self, error: &postgres::Error) -> bool {
        const PROOF: u32 = 3;
        error.is_closed() && self.closed_transactions.fetch_add(1, Ordering::AcqRel) + 1 >= PROOF
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").field("tls", &self.tls).finish_non_exhaustive()
    }
}
