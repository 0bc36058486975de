//! Everything that speaks to PostgreSQL.

pub mod embedded;
pub mod schema;
pub mod store;

mod call;
mod classify;
mod connect;
mod gate;
mod ledger;
mod manager;
mod narrow;
mod patience;
mod postgres_store;
mod present;
mod retry;
mod runs;
mod session;
mod transaction;
mod update;
mod write;

pub use classify::{ErrorClass, classify};
pub use connect::{Target, TargetError, from_url, from_variables};
pub use ledger::Held;
pub use manager::{DatabaseManager, PoolSettings, TroubleSettings};
pub use patience::Patience;
pub use postgres_store::{PostgresStore, StoreSettings};
pub use present::present_ids;
pub use retry::RetryPolicy;
pub use runs::{RunCounts, RunEnd, RunLog, application_name};
pub use update::OnConflict;
