//! Metrics in Prometheus text format, for `/metrics` and for the node exporter's textfile collector.

use crate::database::pool::manager::DatabaseManager;
use crate::event::server::Server;
use crate::file_system::durable::sync_directory;
use crate::file_system::output_place::{OutputPlace, directory};
use crate::layout::Layout;
use crate::pipeline::account::monitor::Monitor;
use jiff::Timestamp;
use nix::libc::{ENXIO, O_NOCTTY, O_NONBLOCK};
use nix::unistd::{AccessFlags, access};
use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::collections::HashMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use uuid::Uuid;

/// The metric with the end of the last successful run.
const LAST_SUCCESS: &str = "aegis_kills_last_success_timestamp_seconds";

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    monitor: Arc<Monitor>,
    manager: Option<DatabaseManager>,
    begun: Instant,
    /// In seconds since 1970.
    last_success: Option<i64>,
    /// A label of every metric, so that the files of loads of several game servers do not collide.
    server: Server,
    /// Locked while the values are set and formatted.
    values: Mutex<RunMetrics>,
}

#[derive(Debug)]
struct RunMetrics {
    events: IntCounterVec,
    new_rejects: IntCounter,
    segments: IntCounterVec,
    lines: IntCounter,
    read_bytes: IntCounter,
    text_bytes: IntCounter,
    queue_depth: IntGauge,
    pool: IntGaugeVec,
    pool_max: IntGauge,
    healthy: IntGauge,
    seconds: Gauge,
}

impl RunMetrics {
    fn new(registry: &Registry, has_database: bool) -> Result<Self, prometheus::Error> {
        // Without a database, nobody reads its metrics.
        let unread = Registry::new();
        let of_database = if has_database { registry } else { &unread };
        let counters =
            |name, help, label| registered(registry, IntCounterVec::new(Opts::new(name, help), &[label]));
        let counter = |name, help| registered(registry, IntCounter::new(name, help));
        let pool = Opts::new("aegis_kills_pool_connections", "Connections of the pool by state.");
        let pool_max = Opts::new("aegis_kills_pool_connections_max", "Connections that the pool may open.");
        let healthy = Opts::new("aegis_kills_database_healthy", "Whether the last health check succeeded.");
        let depth = Opts::new("aegis_kills_queue_depth", "Batches that are ready or being written.");
        Ok(Self {
            events: counters("aegis_kills_events_total", "Events by outcome.", "outcome")?,
            new_rejects: counter(
                "aegis_kills_new_rejects_total",
                "Rejected events that no earlier run has reported.",
            )?,
            segments: counters(
                "aegis_kills_segments_total",
                "Segments read, one transaction each.",
                "outcome",
            )?,
            lines: counter("aegis_kills_lines_total", "Lines read.")?,
            read_bytes: counter("aegis_kills_read_bytes_total", "Bytes read, compressed or not.")?,
            text_bytes: counter("aegis_kills_uncompressed_bytes_total", "Bytes of text read.")?,
            queue_depth: registered(registry, IntGauge::with_opts(depth))?,
            pool: registered(of_database, IntGaugeVec::new(pool, &["state"]))?,
            pool_max: registered(of_database, IntGauge::with_opts(pool_max))?,
            healthy: registered(of_database, IntGauge::with_opts(healthy))?,
            seconds: registered(registry, Gauge::new("aegis_kills_run_seconds", "Elapsed time of the run."))?,
        })
    }

    fn set_run(&self, monitor: &Monitor, begun: Instant) {
        let counts = monitor.counts();
        let events = [
            ("inserted", counts.inserted),
            ("updated", counts.updated),
            ("duplicate", counts.duplicate),
            ("already_loaded", counts.already_loaded),
            ("rejected", counts.rejected),
        ];
        for (outcome, value) in events {
            set(&self.events.with_label_values(&[outcome]), value);
        }
        set(&self.new_rejects, counts.rejected_new());
        set(&self.segments.with_label_values(&["skipped"]), counts.segments_skipped);
        set(
            &self.segments.with_label_values(&["read"]),
            counts.segments.saturating_sub(counts.segments_skipped),
        );
        set(&self.lines, counts.lines);
        set(&self.read_bytes, monitor.bytes_read());
        set(&self.text_bytes, monitor.bytes_uncompressed());
        self.queue_depth.set(i64::try_from(monitor.queue_depth()).unwrap_or(i64::MAX));
        self.seconds.set(begun.elapsed().as_secs_f64());
    }

    fn set_database(&self, manager: &DatabaseManager) {
        let state = manager.pool_state();
        for (name, value) in [("total", state.total), ("active", state.active), ("idle", state.idle)] {
            self.pool.with_label_values(&[name]).set(value.into());
        }
        self.pool_max.set(manager.pool_settings().max.into());
        // Before the first check, the successful connection counts as healthy.
        self.healthy.set(manager.health_status().is_none_or(|status| status.is_healthy()).into());
    }
}

fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, prometheus::Error>,
) -> Result<M, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Sets a counter to a value counted elsewhere.
fn set(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

impl Metrics {
    /// The metrics of a run. A dry run has no `manager`. `last_success` is the end of the last successful earlier run.
    pub(crate) fn new(
        run: Uuid,
        server: Server,
        layout: Layout,
        monitor: Arc<Monitor>,
        manager: Option<DatabaseManager>,
        last_success: Option<i64>,
    ) -> Result<Self, prometheus::Error> {
        let of_all = HashMap::from([("server".to_owned(), server.name().to_owned())]);
        let registry = Registry::new_custom(None, Some(of_all))?;
        let labels = [
            ("run", run.to_string()),
            ("layout", layout.name().to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let info = labels.into_iter().fold(
            Opts::new("aegis_kills_run_info", "The run that the other metrics describe."),
            |opts, (name, value)| opts.const_label(name, value),
        );
        registered(&registry, IntGauge::with_opts(info))?.set(1);
        let values = RunMetrics::new(&registry, manager.is_some())?;
        if let Some(manager) = &manager {
            manager.figures().register(&registry)?;
        }
        let (begun, values) = (Instant::now(), Mutex::new(values));
        Ok(Self { registry, monitor, manager, begun, last_success, server, values })
    }

    pub(crate) fn text(&self) -> String {
        self.text_with(self.last_success)
    }

    fn text_with(&self, last_success: Option<i64>) -> String {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.set_run(&self.monitor, self.begun);
        if let Some(manager) = &self.manager {
            values.set_database(manager);
        }
        // Fails only for families without a name or metrics.
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default();
        let success = last_success.map(|time| {
            self.family(LAST_SUCCESS, "End of the last run with exit code 0 or 3.", &time.to_string())
        });
        text + &success.unwrap_or_default()
    }

    /// Writes the metrics of a finished run atomically, through a temporary file and a rename. After a failure, the time of
    /// the last success comes from the old file. The mode is that of the old file, or 0644, because the reader is usually
    /// another user.
    pub(crate) fn write(&self, path: &Path, succeeded: bool) -> io::Result<()> {
        let success = if succeeded {
            Some(Timestamp::now().as_second())
        } else {
            // Reading from a pipe could block.
            let place = OutputPlace::of(path);
            let is_file = place.and_then(|place| place.metadata()).is_ok_and(|old| old.is_file());
            let old = if is_file { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
            let earlier = old.lines().find_map(|line| self.success_in(line));
            earlier.max(self.last_success)
        };
        let mut text = self.text_with(success);
        let result = u8::from(succeeded).to_string();
        text += &self.family(
            "aegis_kills_last_run_success",
            "Whether the last run ended with exit code 0 or 3.",
            &result,
        );
        put(path, text.as_bytes())
    }

    fn family(&self, name: &str, help: &str, value: &str) -> String {
        let server = self.server;
        format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{server=\"{server}\"}} {value}\n")
    }

    /// The time of the last success in a line of an earlier file. Version 0.2.0 wrote it without a label.
    fn success_in(&self, line: &str) -> Option<i64> {
        let labelled = format!("{{server=\"{}\"}}", self.server);
        let value = line.strip_prefix(LAST_SUCCESS)?;
        value.strip_prefix(&labelled).unwrap_or(value).trim().parse().ok()
    }
}

/// Replaces or creates a regular file, also behind a link. A device or a pipe is written to, the pipe only if it has a
/// reader and room. Never blocks.
fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let place = OutputPlace::of(path)?;
    let found = match place.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return replace(&place.path, text, 0o644),
        Err(error) => return Err(error),
    };
    if let Some(mut own) = own_output(&found) {
        return own.write_all(text);
    }
    if found.is_file() {
        // The file of a descriptor has a path of its own.
        let file = OutputPlace::of(&place.path.canonicalize()?)?;
        return replace(&file.path, text, found.permissions().mode() & 0o777);
    }
    let mut options = File::options();
    options.write(true).custom_flags(O_NONBLOCK | O_NOCTTY | place.open_flags());
    let opened = options.open(&place.path).and_then(|special| place.check_opened(&special).map(|()| special));
    opened.and_then(|mut special| special.write_all(text)).map_err(|error| match error.raw_os_error() {
        Some(ENXIO) if found.file_type().is_fifo() => io::Error::other("the pipe has no reader"),
        _ if error.kind() == io::ErrorKind::WouldBlock => io::Error::other("the reader does not read"),
        _ => error,
    })
}

/// Returns an error if the file cannot be written at the end of a load, as far as the start shows it: a pipe can still get
/// its reader. The settings reject a directory.
pub(crate) fn check_place(path: &Path) -> io::Result<()> {
    let place = OutputPlace::of(path)?;
    let file = match place.metadata() {
        Ok(found) if !found.is_file() || own_output(&found).is_some() => return Ok(()),
        Ok(_) => place.path.canonicalize()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => place.path,
        Err(error) => return Err(error),
    };
    // The file is replaced by a new one, whatever its own mode is.
    access(directory(&file), AccessFlags::W_OK | AccessFlags::X_OK).map_err(io::Error::from)
}

/// Standard output or standard error, if the path is one of them. Replacing its file would disconnect the stream.
fn own_output(found: &Metadata) -> Option<File> {
    let is_found = |file: &File| {
        file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()) && own.is_file())
    };
    let outputs = [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
    outputs.into_iter().flatten().map(File::from).find(is_found)
}

fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    // An existing file is from a killed run, or a planted link.
    let _ = fs::remove_file(&temporary);
    let written = File::create_new(&temporary).and_then(|mut file| {
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    renamed.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_directory(directory(path))
}
