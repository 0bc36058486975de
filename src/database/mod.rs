//! Everything that speaks to PostgreSQL.

pub mod embedded;
pub mod schema;
pub mod store;

mod classify;
mod connect;
mod ledger;
mod manager;
mod narrow;
mod postgres_store;
mod present;
mod retry;
mod update;
mod write;

pub use classify::{ErrorClass, classify};
pub use connect::{Target, TargetError, from_url, from_variables};
pub use ledger::{Held, RunCounts, RunEnd, RunLog};
pub use manager::{Connection, DatabaseManager, Manager, PoolSettings};
pub use postgres_store::{PostgresStore, StoreSettings};
pub use present::present_ids;
pub use retry::RetryPolicy;
pub use update::OnConflict;
