//! A load without a database: it reads, parses, counts and rejects.

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
        log::warn!("the metrics file is left as it is: it is of loads, and a dry run is none");
    }
    let _progress = parts.show(live)?;
    let sources = settings.sources.clone();
    let (reader, run) = (parts.reader.take(), settings.pipeline(parts.piped.clone()));
    parts.requests.begin();
    let mut report = pipeline::run::run(sources, reader, &run, None, parts.rejects, shutdown, parts.monitor);
    report.source_errors.splice(0..0, parts.unread.take());
    let farewell = observer.serve_final_status(&run_outcome(&report));
    Ok(Done { report, store: StoreFigures::default(), metrics: Ok(()), farewell })
}
