//! What people and scripts are told of a run, and of the database.

mod health;
mod http;
mod metrics;
mod status;
mod summary;
mod watch;

pub use health::HealthReport;
pub use http::{HttpServer, Pages, Response};
pub use metrics::Metrics;
pub use status::{RunFacts, RunOutcome, StatusPage, bytes_total, sources_in_words};
pub use summary::{Status, Summary};
pub use watch::{TerminalSize, Watch};
