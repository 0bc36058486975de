//! The connection pool, the availability gate, its watchdog, supervised calls and retries.
//!
//! Invariant: each call runs on a thread that can be abandoned, and ends within its limit whatever the server does.

pub(crate) mod connections;
pub(crate) mod first_connection;
pub(crate) mod gate;
pub(crate) mod liveness;
pub(crate) mod lost_writes;
pub(crate) mod manager;
pub(crate) mod outage_settings;
pub(crate) mod outages;
pub(crate) mod retry;
pub(crate) mod state;
pub(crate) mod supervised;
pub(crate) mod supply;
pub(crate) mod watchdog;
