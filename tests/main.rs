//! All tests that need a real PostgreSQL or the whole program, in one binary, so that they share one server.

// Here a panic is how a test fails.
#![allow(clippy::disallowed_methods)]

mod support;

mod cases {
    mod access;
    mod aegis;
    mod aegis_table;
    mod backends;
    mod bad_server;
    mod bad_start;
    mod broken_input;
    mod citus;
    mod citus_faults;
    mod cluster;
    mod deploy;
    mod differential;
    mod distrust;
    mod documents;
    mod embedded;
    mod embedded_planted;
    mod engines;
    mod env_file;
    mod faults_disk;
    mod faults_loader;
    mod faults_network;
    mod faults_server;
    mod first_process;
    mod health;
    mod health_advice;
    mod identifiers;
    mod ledger_faults;
    mod load_duplicates;
    mod load_embedded;
    mod load_envelopes;
    mod load_forms;
    mod load_layouts;
    mod load_refused;
    mod load_rejects;
    mod load_signals;
    mod load_update;
    mod look_ups;
    mod manual;
    mod many_loaders;
    mod many_sources;
    mod memory;
    mod metrics;
    mod mistakes;
    mod not_the_row;
    mod notices;
    mod pages_guarded;
    mod partitioned;
    mod pgbouncer;
    mod planted;
    mod pool;
    mod progress;
    mod proxy;
    mod put_off;
    mod put_off_beside;
    mod queries;
    mod readme;
    mod reject_file;
    mod role;
    mod scaling;
    mod schema;
    mod secrets;
    mod secrets_run;
    mod sessions;
    mod standby;
    mod status_page;
    mod summary;
    mod terminal_text;
    mod tls;
    mod tls_attacks;
    mod tls_like_psql;
    mod unchanged_files;
    mod update_keeps;
    mod verify;
    mod watch_terminal;
}
