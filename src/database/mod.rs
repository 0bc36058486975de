//! Everything that speaks to PostgreSQL.
//!
//! A call goes this way: the *manager* waits at the *gate* until the database is there, takes a *session* from the
//! pool, and has the *caller* run it on a thread of its own. What fails is sorted by *classify*, and tried again by the
//! *retry* policy, or by the gate once its *watchdog* has seen the database again.
//!
//! The files, in the order in which to read them:
//!
//! - `connect`: where the database is. `engine`: what it is. `session`, `client`, `transaction`: one connection, and how
//!   it is spoken to.
//! - `error`, `classify`, `retry`: what went wrong, what that means, and when to try again.
//! - `pool`, `gate`, `watchdog`, `health`, `call`, `manager`: a call that nobody hangs on. `patience`, `outages`,
//!   `state`, `figures`: how long is waited, and what is told of it.
//! - `store`, `postgres_store`: what the pipeline asks for. `write`, `narrow`, `update`, `staging`, `update_citus`,
//!   `present`: the transaction of a batch. `delete`, `deletable`: the deletion of events. `ledger`, `runs`, `files`, `reports`: the record of segments, runs, files and rejects. `entries`, `claims`: which segments are done, or taken by
//!   another load.
//! - `schema`, `misfits`, `inspect`, `citus`, `indexes`, `size`: the tables, what is different where they are distributed, the indexes that are put
//!   off, and how much room it all takes.
//! - `embedded`: the private PostgreSQL.

pub mod embedded;
pub mod indexes;
pub mod schema;
pub mod store;

mod access;
mod backend;
mod call;
mod citus;
mod claims;
mod classify;
mod client;
mod compare;
mod connect;
mod deletable;
mod delete;
mod engine;
mod entries;
mod error;
mod figures;
mod files;
mod gate;
mod health;
mod inspect;
mod ledger;
mod ledger_ddl;
mod manager;
mod misfits;
mod narrow;
mod notices;
mod outages;
mod patience;
mod permanent;
mod pool;
mod postgres_store;
mod present;
mod public;
mod reports;
mod retry;
mod runs;
mod schemas;
mod session;
mod size;
mod staging;
mod state;
mod stored;
mod transaction;
mod update;
mod update_citus;
mod user_code;
mod watchdog;
mod write;

pub use citus::{HalfCommitted, Node, finish_commits};
pub use classify::{ErrorClass, classify};
pub use compare::{Comparer, StoredEvent};
pub use connect::{
    SessionAttributes, Target, TargetError, Tls, TlsError, Unmet, Variables, from_url, from_variables,
    holds_password,
};
pub use deletable::DeleteScope;
pub use delete::{DELETE_BATCH_MAX, Deleted, Deleter};
pub use figures::Figures;
pub use files::{FileCounts, FileStamp, LoadedFiles};
pub(crate) use files::{as_signed, nanoseconds, size};
pub use health::{HealthProbe, HealthStatus, Inspection, ServerHealth};
pub use ledger::Held;
pub use manager::{DatabaseManager, TroubleSettings};
pub use outages::{Outage, Outages};
pub use patience::Patience;
pub use permanent::FailureKind;
pub use pool::{Connection, PoolSettings, PoolState};
pub use postgres_store::{PostgresStore, StoreSettings};
pub use present::present_ids;
pub use public::in_public;
pub use retry::RetryPolicy;
pub use runs::{RunCounts, RunEnd, RunLog, application_name};
pub use schemas::{Schemas, identity};
pub use state::DatabaseState;
pub use stored::StoredCounts;
pub use update::OnConflict;
