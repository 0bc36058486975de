//! What people and scripts are told of a run, and of the database.

mod figures;
mod health;
mod http;
mod metrics;
mod summary;
mod watch;

pub use figures::{Figures, LiveRun};
pub use health::HealthReport;
pub use http::{HttpServer, Pages, Response};
pub use metrics::Metrics;
pub use summary::{Status, Summary};
pub use watch::Watch;
