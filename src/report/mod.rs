//! What people and scripts are told of a run, and of the database.
//!
//! Each report has two forms: words, whose first line is the outcome and whose last says what to run next, and one JSON
//! object, whose fields are promised. The figures of a run that is under way are read from its
//! [`Monitor`](crate::pipeline::Monitor), and cost the run nothing.
//!
//! Invariant: this module asks the database nothing. It is given what was found.

mod delete;
mod figures;
mod health;
mod http;
mod lines;
mod logger;
mod metrics;
mod progress;
mod screen;
mod speed;
mod status;
mod stderr;
mod summary;
mod ticker;
mod verify;
mod watch;
mod words;

pub use delete::DeleteReport;
pub use figures::{Figures, LiveRun};
pub use health::HealthReport;
pub use http::{HttpServer, Pages, Response};
pub use logger::Logger;
pub use metrics::Metrics;
pub use progress::Progress;
pub use screen::{Manner, Screen};
pub use speed::{Pace, Speed};
pub use status::{RunFacts, RunOutcome, StatusPage};
pub use summary::{NextCommands, Status, Summary};
pub use verify::{Finding, VerifyReport};
pub use watch::{TerminalSize, Watch};
pub(crate) use words::{bytes, counted, time, utc};
