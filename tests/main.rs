//! All tests that need a real PostgreSQL or the whole program, in one binary, so that they share one server.

// Here a panic is how a test fails.
#![allow(clippy::disallowed_methods)]

mod support;

/// Inputs in all forms: what is in them ends in the tables, and each value that cannot be stored is reported.
mod input {
    mod broken_input;
    mod differential;
    mod directories;
    mod envelopes;
    mod formats;
    mod forms;
    mod json_layouts;
    mod many_sources;
    mod unchanged_files;
    mod unchanged_histories;
}

/// Loads: duplicates, updates, rejects, concurrent loads, deferred indexes, memory.
mod load {
    pub(crate) mod database_rejects;
    pub(crate) mod deferred_indexes;
    mod deferred_indexes_concurrent;
    pub(crate) mod duplicates;
    mod embedded_server;
    mod identifiers;
    mod key_lookups;
    mod ledger_schema;
    mod many_loaders;
    mod memory;
    mod memory_large;
    mod reject_file;
    mod rejects;
    mod rejects_once;
    mod statement_errors;
    mod update;
    mod update_keeps;
}

/// Faults of the server, the network, the disk and the program itself, and stop requests: every event is accounted for.
mod faults {
    mod disk;
    mod first_process;
    mod ledger;
    mod limits;
    mod loader;
    mod network;
    mod panics;
    mod server;
    mod signals;
    mod standby;
    mod stop_requests;
}

/// Random loads and random sequences of steps, each compared with an oracle.
mod random {
    mod model;
    mod swarm;
}

/// Tables, roles, servers and poolers: schema, upgrade, `verify`, `delete`, the pool.
mod database {
    mod access;
    pub(crate) mod aegis;
    mod aegis_table;
    mod bad_server;
    mod delete;
    mod engines;
    mod partitioned;
    mod pgbouncer;
    mod pool;
    mod queries;
    mod role;
    mod schema;
    mod sessions;
    mod unreliable_tables;
    mod upgrade;
    mod verify;
    mod verify_content;
}

/// What is shown: terminal, summary, `health`, metrics, status page.
mod report {
    pub(crate) mod health;
    mod health_advice;
    mod metrics;
    mod metrics_file;
    mod pages_guarded;
    mod progress;
    mod status_page;
    mod summary;
    mod terminal_text;
    mod watch_terminal;
}

/// Help, settings and typical mistakes.
mod usage {
    mod bad_start;
    mod env_file;
    mod manual;
    mod mistakes;
}

/// Attacks: TLS, secrets, other users of the machine and of the database, the private PostgreSQL.
mod security {
    mod embedded;
    mod embedded_planted;
    mod planted;
    pub(crate) mod secrets;
    mod secrets_run;
    mod tls;
    mod tls_attacks;
    mod tls_like_psql;
}

/// Tables on Citus; skipped without `CITUS_URL`.
mod citus {
    mod faults;
    mod tables;
}

/// README, docs and deployment files are true, and the code follows its own rules.
mod documents {
    mod deploy;
    mod facts;
    mod notices;
    pub(crate) mod readme;
    mod scaling;
    mod sources_page;
    mod structure;
}

/// The tests' own tools do what the other tests rely on.
mod harness {
    mod backends;
    mod cluster;
    mod proxy;
}
