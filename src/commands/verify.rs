//! `verify`: is every event of the dumps in the database?

use super::database::OpenDatabase;
use super::next::load_of_verified;
use super::sources;
use super::{write_output, write_text};
use crate::causes::in_full;
use crate::cli::VerifyArgs;
use crate::database::{DatabaseManager, HalfCommitted, finish_commits, present_ids, schema};
use crate::error::{CommandError, Ending};
use crate::input::{BufferPool, Reader, Segmenter, spawn_reader};
use crate::layout::{Distribution, Repeats};
use crate::pipeline::{Prepared, Preparer, Segments};
use crate::report::{Missing, VerifyReport};
use crate::settings::{Environment, EventSettings, VerifySettings};
use anyhow::Context as _;
use crossbeam_channel::never;
use std::convert::Infallible;
use uuid::Uuid;

/// Runs the command.
pub fn run(args: &VerifyArgs, env: Environment<'_>, quiet: bool) -> Result<Ending, CommandError> {
    let mut reader = None;
    let settings = VerifySettings::new(args, env)?
        .named(|settings| sources::first_server(&settings.sources, &settings.event, &mut reader))?;
    sources::check(&settings.sources)?;
    let database = OpenDatabase::open(&settings.database, Uuid::new_v4())?;
    let mut report = VerifyReport::default();
    let sources_whole = compare(&settings, reader, &database.manager, &mut report)?;
    database.close()?;
    if args.json {
        let json = report.to_json().context("the result can't be written as JSON")?;
        write_output(&format!("{json}\n"))?;
    } else if !quiet || report.missing() > 0 {
        write_text(&report.in_words(sources_whole, &load_of_verified(args, env)))?;
    }
    Ok(match (sources_whole, report.missing()) {
        (false, _) => Ending::Failed,
        (true, 0) => Ending::Complete,
        (true, _) => Ending::Missing,
    })
}

/// Whether all sources could be read to their end.
fn compare(
    settings: &VerifySettings,
    reader: Option<Reader>,
    manager: &DatabaseManager,
    report: &mut VerifyReport,
) -> Result<bool, CommandError> {
    let reader = match reader {
        Some(reader) => reader,
        None => spawn_reader(settings.sources.clone()).context("the reader thread can't be started")?,
    };
    // One buffer, which goes back and forth between the segmenter and this function.
    let buffers = BufferPool::new(1, settings.segment.segment_bytes * 2);
    let segmenter = Segmenter::new(reader, settings.segment, buffers, never());
    let EventSettings { server, layout, nul, ref reading } = settings.event;
    let preparer = Preparer { layout, server, nul, repeats: Repeats::FirstCounts, reading: reading.clone() };
    let distribution = schema::distribution(manager, layout, settings.database.schema())?;
    let mut whole = true;
    for read in Segments::new(segmenter) {
        match read {
            Ok(segment) => {
                let hash = preparer.hash(&segment);
                let batch = preparer.prepare(segment, hash);
                compare_segment(settings, manager, distribution, &batch, report)?;
            }
            Err(error) => {
                log::error!("{}", in_full(&error));
                whole = false;
            }
        }
    }
    Ok(whole)
}

fn compare_segment(
    settings: &VerifySettings,
    manager: &DatabaseManager,
    distribution: Distribution,
    prepared: &Prepared,
    report: &mut VerifyReport,
) -> Result<(), CommandError> {
    let EventSettings { server, layout, .. } = settings.event;
    let ids: Vec<i64> = prepared.ids().map(|(id, _)| id).collect();
    let look = || present_ids(manager, layout, settings.database.schema(), server, distribution, ids.clone());
    let mut stored = look()?;
    if distribution == Distribution::Citus && ids.iter().any(|id| !stored.contains(id)) {
        let half_committed = finish_commits(manager)?;
        if half_committed != HalfCommitted::None {
            stored = look()?;
        }
        report.half_committed |= half_committed == HalfCommitted::Some;
    }
    let source = &*prepared.segment.source;
    report.events += prepared.batch.counts.events;
    for (id, line) in prepared.ids() {
        if stored.contains(&id) {
            report.present += 1;
        } else {
            report.add(source, line, Missing::Event(id));
        }
    }
    let Ok(()) = prepared.each_reject::<Infallible>(|reject| {
        let field = reject.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
        report.add(source, reject.line, Missing::Unloadable(format!("{field}{}", reject.reason)));
        Ok(())
    });
    Ok(())
}
