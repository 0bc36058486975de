//! `verify`: is every event of the dumps in the database?

use super::database::OpenDatabase;
use super::sources;
use super::write_output;
use crate::causes::in_full;
use crate::cli::VerifyArgs;
use crate::database::{DatabaseManager, present_ids};
use crate::error::{CommandError, Ending};
use crate::input::{Segmenter, spawn_reader};
use crate::layout::Repeats;
use crate::pipeline::{Prepared, Preparer, Segments};
use crate::settings::{Environment, EventSettings, VerifySettings};
use anyhow::Context as _;
use crossbeam_channel::{bounded, never};
use serde::Serialize;
use std::fmt::Write as _;
use uuid::Uuid;

/// How many missing ids the JSON lists.
const MISSING_IDS_MAX: usize = 100;

/// The result, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
struct Found {
    events: u64,
    present: u64,
    missing: u64,
    missing_ids: Vec<i64>,
}

/// Runs the command.
pub fn run(args: &VerifyArgs, env: Environment<'_>, quiet: bool) -> Result<Ending, CommandError> {
    let settings = VerifySettings::new(args, env)?;
    sources::check(&settings.sources)?;
    let database = OpenDatabase::open(&settings.database, Uuid::new_v4())?;
    let mut found = Found::default();
    let sources_whole = compare(&settings, &database.manager, &mut found, args.json)?;
    database.close()?;
    if args.json {
        let json = serde_json::to_string(&found).context("the result can't be written as JSON")?;
        write_output(&format!("{json}\n"))?;
    } else if !quiet || found.missing > 0 {
        write_output(&format!("{}\n", in_words(&found)))?;
    }
    Ok(match (sources_whole, found.missing) {
        (false, _) => Ending::Failed,
        (true, 0) => Ending::Complete,
        (true, _) => Ending::Missing,
    })
}

/// Whether all sources could be read to their end.
fn compare(
    settings: &VerifySettings,
    manager: &DatabaseManager,
    found: &mut Found,
    silent: bool,
) -> Result<bool, CommandError> {
    let reader = spawn_reader(settings.sources.clone()).context("the reader thread can't be started")?;
    // One buffer, which goes back and forth between the segmenter and this function.
    let (give_back, buffers) = bounded(1);
    give_back.send(Vec::new()).context("a channel that is held open here was closed")?;
    let segmenter = Segmenter::new(reader, settings.segment, buffers, never());
    let EventSettings { server, layout, nul } = settings.event;
    let preparer = Preparer { layout, server, nul, repeats: Repeats::FirstCounts };
    let mut whole = true;
    for read in Segments::new(segmenter, give_back.clone()) {
        match read {
            Ok(segment) => {
                let hash = Preparer::hash(&segment);
                let batch = preparer.prepare(segment, hash);
                compare_segment(settings, manager, &batch, found, silent)?;
                give_back.send(batch.segment.bytes).context("a channel that is held open here was closed")?;
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
    prepared: &Prepared,
    found: &mut Found,
    silent: bool,
) -> Result<(), CommandError> {
    let ids: Vec<i64> = prepared.ids().map(|(id, _)| id).collect();
    let event = &settings.event;
    let stored = present_ids(manager, event.layout, settings.database.schema(), event.server, ids)?;
    let mut missing = String::new();
    let source = &prepared.segment.source;
    found.events += prepared.batch.counts.events;
    for (id, line) in prepared.ids() {
        if stored.contains(&id) {
            found.present += 1;
            continue;
        }
        found.missing += 1;
        let _ = writeln!(missing, "missing: event {id}, {source} line {line}");
        if found.missing_ids.len() < MISSING_IDS_MAX {
            found.missing_ids.push(id);
        }
    }
    for reject in &prepared.rejects {
        found.missing += 1;
        let field = reject.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
        let _ = writeln!(
            missing,
            "missing: {source} line {}, which can't be loaded: {field}{}",
            reject.line, reject.reason
        );
    }
    if !silent {
        write_output(&missing)?;
    }
    Ok(())
}

fn in_words(found: &Found) -> String {
    match found.missing {
        0 => format!("All {} events are in the database.", found.events),
        missing => format!("{missing} of {} events are missing.", found.events),
    }
}
