//! What people and scripts are told of a run, and of the database.

mod figures;
mod health;
mod http;
mod lines;
mod metrics;
mod next;
mod progress;
mod screen;
mod speed;
mod summary;
mod watch;
mod words;

pub use figures::{Figures, LiveRun};
pub use health::HealthReport;
pub use http::{HttpServer, Pages, Response};
pub use metrics::Metrics;
pub use next::Next;
pub use progress::Progress;
pub use screen::{Manner, Screen};
pub use speed::{Pace, Speed};
pub use summary::{Status, Summary};
pub use watch::Watch;
