//! Loads Albion Online kill dumps into PostgreSQL and accounts for every event.
//!
//! ```text
//! files, stdin ─ input ─► segments ─ rayon ─► batches ─ bounded channel ─► writer threads ─► PostgreSQL
//! ```
//!
//! A *segment* is a sequence of whole values up to a size. A *batch* is a segment, parsed and encoded as binary `COPY`. A
//! *writer* stores a batch and its ledger row in one transaction.
//!
//! `docs/architecture.md` has the map of the modules, the invariants, and the rules of imports.
//!
//! # As a library
//!
//! The program is a thin layer over this crate. To use its pool, retries and health checks in your own service, see
//! [`DatabaseManager`] and `docs/connections.md`. One call generates a dump for tests:
//!
//! ```
//! use aegis_kills::{GenerateOptions, generate};
//!
//! let mut dump = Vec::new();
//! generate(&GenerateOptions { events: 3, seed: 1, overlap_percent: 0.0 }, &mut dump)?;
//! assert_eq!(dump.iter().filter(|&&byte| byte == b'\n').count(), 3);
//! # Ok::<(), std::io::Error>(())
//! ```

mod cli;
mod commands;
mod conceal;
mod database;
mod embedded;
mod error;
mod error_chain;
mod event;
mod exit;
mod file_system;
mod generate;
mod input;
mod layout;
mod numbers;
mod panics;
mod pipeline;
mod program;
mod report;
mod settings;
mod shell;
mod sync;
mod visible;

pub use database::connect::error::TargetError;
pub use database::connect::{Target, from_url};
pub use database::health::HealthProbe;
pub use database::pool::connections::{Connection, PoolSettings};
pub use database::pool::liveness::{HealthStatus, ServerHealth};
pub use database::pool::manager::DatabaseManager;
pub use database::pool::outage_settings::OutageSettings;
pub use database::pool::retry::RetryPolicy;
pub use database::session::deadline::Deadline;
pub use database::store::StoreError;
pub use embedded::account::Account;
pub use embedded::programs::Programs;
pub use generate::{GenerateOptions, generate};
pub use program::main;

/// Items for the project's own tests, benchmarks and fuzz targets. They can change at any time.
#[doc(hidden)]
pub mod internals {
    pub use crate::cli::{Cli, LoadArgs};
    pub use crate::database::connect::parameters::variables as libpq_variables;
    pub use crate::embedded::error::EmbeddedError;
    pub use crate::embedded::server::ServerPhase;
    pub use crate::embedded::{Closed, Embedded, Lifetime, Status, Stopped, status, stop};
    pub use crate::event::fault::Fault;
    pub use crate::event::kill_event::Event;
    pub use crate::event::line::LineReader;
    pub use crate::event::server::Server;
    pub use crate::event::text::NulPolicy;
    pub use crate::input::buffers::BufferPool;
    pub use crate::input::error::InputError;
    pub use crate::input::framing::framer::Span;
    pub use crate::input::framing::path::{EventPath, Surroundings};
    pub use crate::input::reader::spawn_reader;
    pub use crate::input::segment::{LINE_MAX_BYTES, Segment, SegmentLimits};
    pub use crate::input::segmenter::{Next, Segmenter};
    pub use crate::input::source::Source;
    pub use crate::layout::Layout;
    pub use crate::layout::encoder::Encoder;
    pub use crate::layout::rows::{DuplicatePolicy, Rows};
    pub use crate::layout::table::{ColumnType, Table};
    pub use crate::pipeline::prepare::preparer::{Preparer, Reading};
    pub use crate::settings::LoadSettings;
    pub use crate::settings::environment::Environment;
}

/// The version, with the commit if the program was built in a checkout: `0.2.0 (0123456789ab)`.
pub const VERSION: &str = env!("AEGIS_KILLS_VERSION");

/// The examples of the page on connections, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/connections.md")]
pub struct ConnectionsPage;
