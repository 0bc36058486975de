//! Loads Albion Online kill dumps into PostgreSQL, and accounts for every event.
//!
//! ```text
//! files, stdin ─ input ─► segments ─ rayon ─► batches ─ bounded channel ─► writer threads ─► PostgreSQL
//! ```
//!
//! A *segment* is whole lines or values up to a size. A *batch* is a segment parsed and encoded into the bytes of binary
//! `COPY`, once. A *writer* stores a batch and its row in the ledger in one transaction.
//!
//! # The map, in the order in which to read it
//!
//! - [`kill`]: what an event is, and how it is read from a line of JSON.
//! - [`layout`]: the tables, and an event's rows as `COPY` takes them.
//! - [`input`]: sources, decompression, segments.
//! - [`database`]: the pool, the gate and its watchdog, the transaction of a batch, the ledger, the schema, the
//!   private PostgreSQL.
//! - [`pipeline`]: the threads of a run, and the account of its events.
//! - [`report`]: the progress, the summary, the reports of `health` and `verify`, metrics, and the pages over HTTP.
//! - [`generate`]: synthetic dumps.
//! - [`cli`] and [`settings`]: what was typed, and what it comes to.
//! - [`commands`]: one file a subcommand; `man` and `completions` are made from the definitions in [`cli`].
//! - [`exit`], [`error`], [`causes`] and [`panics`]: how a command can end, how an error is reported, what a panic does;
//!   [`visible`]: text of others made safe for a terminal.
//!
//! Imports run one way: commands → report → pipeline → database → layout → kill; `input` and `generate` stand
//! by themselves.
//!
//! # As a library
//!
//! The program is a thin layer over this crate. For its pool, its retries and its health checks in a service of your own
//! see [`database::DatabaseManager`] and `docs/connections.md`. A dump to try things on is one call away:
//!
//! ```
//! use aegis_kills::generate::{GenerateOptions, generate};
//!
//! let mut dump = Vec::new();
//! generate(&GenerateOptions { events: 3, seed: 1, overlap_percent: 0.0 }, &mut dump)?;
//! assert_eq!(dump.iter().filter(|&&byte| byte == b'\n').count(), 3);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Invariants
//!
//! **Invariant: `kill` knows no SQL and no threads, `layout` no connection, `input` no JSON, `pipeline` no type of
//! PostgreSQL.** The pipeline sees the database through [`database::store::Store`] alone.
//!
//! **Invariant: every event that was read is in one count of the summary.** What is in none of the others is
//! unfinished, by subtraction.
//!
//! **Invariant: a segment's ledger row commits with its events.** There is no other record of progress.
//!
//! **Invariant: everything is bounded:** line, segment, queue, tries, memory. Buffers go round; whoever has none waits.
//!
//! **Invariant: there is no global state.** A command builds one [`database::DatabaseManager`], and so one pool a process.
//!
//! **Invariant: nothing hangs on the database.** Each call runs on a thread that can be left behind, and the
//! ledger says what came of it.
//!
//! **Invariant: there is no async runtime in this crate.** The `postgres` crate carries one inside each client.

pub mod causes;
pub mod cli;
pub mod commands;
pub mod database;
pub mod error;
pub mod exit;
pub mod generate;
pub mod input;
pub mod kill;
pub mod layout;
mod output_place;
pub mod panics;
mod permissions;
pub mod pipeline;
pub mod report;
pub mod settings;
mod shell;
pub mod visible;

/// The version, and the commit where the program was built in a checkout: `0.1.0 (0123456789ab)`.
pub const VERSION: &str = env!("AEGIS_KILLS_VERSION");

/// The examples of the page on connections, which are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/connections.md")]
pub struct ConnectionsPage;
