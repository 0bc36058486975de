//! A load without a database: parses, counts and rejects.

use crate::commands::common::observe::Observer;
use crate::commands::common::outcome::run_outcome;
use crate::error::CommandError;
use crate::pipeline;
use std::net::TcpListener;

use crate::commands::load::parts::{Done, LoadParts, StoreFigures};

pub(crate) fn read_only(parts: &LoadParts<'_>, listener: Option<TcpListener>) -> Result<Done, CommandError> {
    let settings = parts.settings;
    let shutdown = parts.shutdown;
    let live = parts.live(None);
    let observer = Observer::start(settings, &live, listener, parts.id, None, None)?;
    if settings.metrics_file.is_some() {
        log::warn!("metrics file not written: it describes real loads, and this is a dry run");
    }
    let _progress = parts.show(live)?;
    let sources = settings.sources.clone();
    let (reader, run) = (parts.reader.take(), settings.pipeline(parts.piped.clone()));
    parts.requests.begin();
    let mut report = pipeline::run::run(sources, reader, &run, None, parts.rejects, shutdown, parts.monitor);
    report.source_errors.splice(0..0, parts.unread.take());
    let final_status = observer.serve_final_status(&run_outcome(&report));
    Ok(Done { report, store: StoreFigures::default(), metrics: Ok(()), final_status })
}
