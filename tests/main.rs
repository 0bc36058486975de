//! Tests that need a real PostgreSQL or the whole program. They are one binary, so that they share one server.

// In tests, a panic is the failure.
#![allow(clippy::disallowed_methods)]

mod support;

/// Input forms: every event reaches the tables, and each value that cannot be stored is reported.
mod input {
    // Compressed inputs that break off or are damaged.
    mod broken_input;
    // The parser and the encoder against `serde_json` and the oracle, without a database.
    mod differential;
    mod directories;
    // `--events-at`, `--battle`, servers named by events.
    mod envelopes;
    // Each form of the input through each kind of source, with and without broken values.
    mod every_form;
    // Unsupported formats and the suggested conversion commands.
    mod formats;
    // Segments, threads, sources and servers of a run, empty input.
    mod forms;
    // Values on one line or many, pretty-printed, in arrays of any size.
    mod json_layouts;
    // Envelopes that exceed the limit of a value.
    mod large_envelopes;
    // Hundreds of files of every kind.
    mod many_sources;
    // Envelopes in which a closing brace is missing.
    mod missing_braces;
    // The skipping of files that were loaded completely.
    mod unchanged_files;
    // Random histories of changed and skipped files.
    mod unchanged_histories;
}

/// Loads: duplicates, updates, rejects, concurrent loads, deferred indexes, memory.
mod load {
    // Events that PostgreSQL rejects.
    pub(crate) mod database_rejects;
    pub(crate) mod deferred_indexes;
    mod deferred_indexes_concurrent;
    pub(crate) mod duplicates;
    // Triggers and rules that drop rows of many events of a segment.
    mod dropped_rows;
    mod embedded_server;
    // Unusual schema names.
    mod identifiers;
    // The cost of a segment in large tables.
    mod key_lookups;
    mod ledger_schema;
    // Concurrent loads of the same dumps: claims and peer segments.
    mod many_loaders;
    // The peak memory of loads.
    mod memory;
    // The same for hostile dumps and triggers, also of `verify`.
    mod memory_hostile;
    // The same for events of the maximum size.
    mod memory_large;
    // Permissions and place of the reject file.
    mod reject_file;
    // Values that are rejected before they reach the database.
    mod rejects;
    // Rejects of earlier runs.
    mod rejects_once;
    // Errors of the database that no row causes.
    mod statement_errors;
    // The planner's statistics after a load.
    mod statistics;
    mod update;
    // Updates beside columns, rows and triggers of users.
    mod update_keeps;
}

/// Faults of the server, the network, the disk and the program, and stop requests. Every event is accounted for.
mod faults {
    // The server's disk is full.
    pub(crate) mod disk;
    // Triggers that end the session of the load.
    mod ended_sessions;
    // The program as process 1 of a container.
    mod first_process;
    // Triggers on the ledger, and ledgers of another type.
    mod ledger;
    // Rows that another session removes during a load.
    mod removed_rows;
    // `ulimit`: threads, open files, file size.
    mod limits;
    // SIGKILL, stop requests, a full disk under the reject file.
    mod loader;
    // Connections that are cut, stalled or slow.
    mod network;
    mod panics;
    // A power failure, tried on the image of a file system.
    mod power_cut;
    // The order of syncs, as strace shows it.
    mod power_loss;
    // Crashes, restarts, locks, frozen and full servers.
    mod server;
    // Slow input and stop requests.
    mod signals;
    mod standby;
    // GNU `timeout`, `nohup`, closed terminals, repeated signals.
    mod stop_requests;
    // The same while another session locks tables.
    mod stop_requests_locked;
}

/// Random loads and random sequences of steps, each compared with an oracle.
mod random {
    // Sequences of loads, deletions and file changes against a small model.
    mod model;
    // Concurrent loads of a continuous stream under random faults.
    mod soak;
    // Random loads against the oracle.
    mod swarm;
}

/// Tables, roles, servers and poolers: schema, upgrade, `verify`, `delete`, the pool.
mod database {
    // Roles and tables that a load cannot use.
    mod access;
    // Rows and updates in layout `aegis`.
    pub(crate) mod aegis;
    // Existing tables of layout `aegis`.
    mod aegis_table;
    // Rejected logins, and services that are not PostgreSQL.
    mod bad_server;
    mod delete;
    // Deletions that are killed, stopped or unanswered, or run beside loads.
    mod delete_interrupted;
    // Other servers that speak the protocol, and old versions.
    mod engines;
    mod partitioned;
    mod pgbouncer;
    mod pool;
    // The queries and indexes of the documentation.
    mod queries;
    // `deploy/role.sql`.
    mod role;
    // Connections and round trips of a load.
    mod round_trips;
    mod schema;
    // Settings of the sessions.
    mod sessions;
    // Tables that lack parts or could lose rows.
    mod unreliable_tables;
    // Tables of release 0.1.0.
    mod upgrade;
    mod verify;
    mod verify_content;
}

/// Output: terminal, summary, `health`, metrics, status page.
mod report {
    pub(crate) mod health;
    // Recommendations of `health`.
    mod health_advice;
    mod metrics;
    mod metrics_file;
    // Attacks on the pages of `--listen`.
    mod pages_guarded;
    mod progress;
    mod status_page;
    mod summary;
    // Control characters in names and messages.
    mod terminal_text;
    // `health --watch`.
    mod watch_terminal;
}

/// Help, settings and typical mistakes.
mod usage {
    // Unusable settings, databases and inputs.
    mod bad_start;
    mod env_file;
    // The whole texts of errors.
    mod error_texts;
    // Help, manual page, completions, version.
    mod manual;
    // Mistyped arguments and wrong files.
    mod mistakes;
}

/// Attacks: TLS, secrets, other users of the machine and of the database, the private PostgreSQL.
mod security {
    // The private PostgreSQL of `--embedded`.
    mod embedded;
    // The same in a directory of another user.
    mod embedded_planted;
    // Functions, operators and tables that another database user created.
    mod planted;
    // Views and tables under the program's names.
    mod planted_tables;
    // Passwords in every setting and for every end of a run.
    pub(crate) mod secrets;
    // Connection strings in place of other arguments and variables.
    mod secrets_misplaced;
    // The process, the sessions and the files of a run.
    mod secrets_run;
    mod tls;
    // Servers without the certificate key, unverifiable certificates.
    mod tls_attacks;
    // The same parameters for `psql` and the program.
    mod tls_like_psql;
}

/// Tables on Citus; skipped without `CITUS_URL`.
mod citus {
    mod faults;
    mod tables;
}

/// README, docs and deployment files match the program, and the code follows its own rules.
mod documents {
    // `deploy/`, `docs/deployment.md`, `.env.example`.
    mod deploy;
    // Links, paths, test names, metrics and messages in documents.
    mod facts;
    // The commands of docs/faq.md.
    mod faq_page;
    // `deploy/alerts.yaml` and `deploy/grafana-dashboard.json`.
    mod monitoring;
    // THIRD-PARTY-NOTICES.
    mod notices;
    // The retention by cron of docs/operations.md.
    mod operations_page;
    // The workflows, the scripts that they call, the archive of a release.
    mod packaging;
    // The commands of README.md.
    pub(crate) mod readme;
    // The commands of docs/scaling.md.
    mod scaling;
    // The columns of docs/schema.md.
    mod schema_page;
    // The commands of docs/sources.md and the backfill of docs/aegis.md.
    mod sources_page;
    // Import cycles, sizes, unique type names, replaced words.
    mod structure;
}

/// Tests of the test tools.
mod harness {
    // Frozen, ended and occupied sessions.
    mod backends;
    // Shared and private servers.
    mod cluster;
    // Faults of the network.
    mod proxy;
}
