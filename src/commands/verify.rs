//! `verify`: compares the events of dumps with the database.

use crate::cli::VerifyArgs;
use crate::commands::common::next_steps::{SchemaHints, load_of_verified, piped_verify};
use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::output::{write_output, write_text};
use crate::commands::common::sources;
use crate::commands::common::sources::FoundSources;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::citus::{HalfCommitted, finish_commits};
use crate::database::schema::ensure as schema;
use crate::database::schema::locate::{self, Located};
use crate::database::store::StoreError;
use crate::database::write::compare::{Comparer, StoredEvent};
use crate::database::write::exists::present_ids;
use crate::error::CommandError;
use crate::error_chain::in_full;
use crate::exit::ExitStatus;
use crate::input::convert::PipedCommand;
use crate::input::reader::Reader;
use crate::layout::rows::DuplicatePolicy;
use crate::layout::table::Distribution;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::shutdown::Shutdown;
use crate::pipeline::verify::VerifyRun;
use crate::report::snapshot::{LiveRun, RunTask};
use crate::report::terminal::progress::Progress;
use crate::report::terminal::screen::Screen;
use crate::report::verify::{Finding, VerifyReport};
use crate::settings::VerifySettings;
use crate::settings::environment::Environment;
use crate::settings::event::EventSettings;
use anyhow::Context as _;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use uuid::Uuid;

/// Runs the command.
pub(crate) fn run(
    args: &VerifyArgs,
    env: Environment<'_>,
    quiet: bool,
    screen: &Screen,
) -> Result<ExitStatus, CommandError> {
    let (mut reader, mut found) = (None, FoundSources::default());
    let find = |settings: &VerifySettings| {
        found = FoundSources::find(&settings.sources, &[]);
        found.sources.clone()
    };
    let settings = VerifySettings::new(args, env)?
        .with_sources(find)
        .named(|settings| sources::first_server(&settings.sources, &settings.event, &mut reader))?;
    found.check()?;
    let database = OpenDatabase::open(&settings.database, Uuid::new_v4())?;
    let hints = SchemaHints::new(&args.database, args.event.layout.as_deref(), env);
    let (report, sources_whole) =
        compare(&settings, reader, piped_verify(args, env), &hints, &database.manager, screen)?;
    let sources_whole = sources_whole && found.errors.is_empty();
    database.close()?;
    let is_different = report.missing() + report.different() > 0;
    if args.json {
        let json = report.to_json().context("cannot format the result as JSON")?;
        write_output(&format!("{json}\n"))?;
    } else if !quiet || is_different {
        write_text(&report.to_text(sources_whole, &load_of_verified(args, env)))?;
    }
    Ok(match (sources_whole, is_different) {
        (false, _) => ExitStatus::Failed,
        (true, false) => ExitStatus::Complete,
        (true, true) => ExitStatus::Missing,
    })
}

/// Returns the findings, and whether all sources were read to the end.
fn compare(
    settings: &VerifySettings,
    reader: Option<Reader>,
    piped: PipedCommand,
    hints: &SchemaHints,
    manager: &DatabaseManager,
    screen: &Screen,
) -> Result<(VerifyReport, bool), CommandError> {
    let EventSettings { server, layout, nul, ref reading } = settings.event;
    let schema = settings.database.schema();
    let ledger = settings.database.ledger_schema.as_deref();
    let hinted = |error: StoreError| error.map_message(|text| hints.fill(text));
    let Located { schemas, tables } = locate::find(manager, layout, schema, ledger).map_err(hinted)?;
    let distribution = schema::distribution(manager, layout, &schemas).map_err(hinted)?;
    let compared = if settings.ids_only { 1 } else { layout.tables().len() };
    let monitor = Arc::<Monitor>::default();
    let comparison = Comparison {
        monitor: Arc::clone(&monitor),
        settings,
        manager,
        distribution,
        comparer: Comparer::new(layout, schema, server, distribution),
        missing_table: tables.missing(&layout.tables()[..compared], layout, schema),
        report: Mutex::default(),
    };
    let live = LiveRun {
        begun: Instant::now(),
        monitor: Arc::clone(&monitor),
        shutdown: Arc::<Shutdown>::default(),
        manager: Some(manager.clone()),
        bytes_total: sources::bytes_total(&settings.sources),
        task: RunTask::Verify,
    };
    let progress = Progress::start(live, screen.clone(), None).context("cannot start a thread")?;
    let run = VerifyRun {
        workers: settings.workers,
        segment: settings.segment,
        preparer: Preparer {
            layout,
            server,
            nul,
            repeats: DuplicatePolicy::KeepFirst,
            reading: reading.clone(),
        },
        piped,
        stop: crate::sync::channel::never(),
    };
    let errors = run.run(settings.sources.clone(), reader, &monitor, |prepared| comparison.add(prepared))?;
    drop(progress);
    for error in &errors {
        log::error!("{}", in_full(error));
    }
    let mut report = comparison.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.ids_only = settings.ids_only;
    report.finish();
    Ok((report, errors.is_empty()))
}

/// The state shared by the threads.
struct Comparison<'r> {
    monitor: Arc<Monitor>,
    settings: &'r VerifySettings,
    manager: &'r DatabaseManager,
    distribution: Distribution,
    comparer: Comparer,
    /// The message about a table that is missing, if one is. A table that another role creates later is not read.
    missing_table: Option<String>,
    report: Mutex<VerifyReport>,
}

impl Comparison<'_> {
    /// Compares the events of a segment.
    fn add(&self, prepared: &Prepared) -> Result<(), CommandError> {
        let mut stored = self.stored(prepared)?;
        let mut half_committed = false;
        if self.distribution == Distribution::Citus
            && stored.values().any(|found| *found == StoredEvent::Missing)
        {
            let commits = finish_commits(self.manager)?;
            if commits != HalfCommitted::None {
                stored = self.stored(prepared)?;
            }
            half_committed = commits == HalfCommitted::Some;
        }
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.half_committed |= half_committed;
        report.events += prepared.batch.counts.events;
        let (segment, source) = (prepared.segment.number, &*prepared.segment.source);
        let (mut place, mut missing, mut different) = (0, 0, 0);
        let mut add = |line, finding: Finding| {
            match &finding {
                Finding::Missing(_) | Finding::Unloadable(_) => missing += 1,
                Finding::Different(..) => different += 1,
            }
            report.add((segment, place), source, line, finding);
            place += 1;
        };
        let mut same = Vec::new();
        for (id, line) in prepared.ids() {
            match stored.get(&id) {
                Some(StoredEvent::Same) => same.push(id),
                Some(StoredEvent::Different(difference)) => {
                    add(line, Finding::Different(id, difference.clone()));
                }
                Some(StoredEvent::Missing) | None => add(line, Finding::Missing(id)),
            }
        }
        let Ok(()) = prepared.each_reject::<Infallible>(|reject| {
            add(reject.line, Finding::Unloadable(reject.cause.to_string()));
            Ok(())
        });
        for id in same {
            report.add_same(id);
        }
        self.monitor.findings.add(missing, different, 0);
        Ok(())
    }

    fn stored(&self, prepared: &Prepared) -> Result<HashMap<i64, StoredEvent>, StoreError> {
        if prepared.batch.order.is_empty() {
            return Ok(HashMap::new());
        }
        let schema = self.settings.database.schema();
        if let Some(message) = &self.missing_table {
            return Err(StoreError::refused(message.clone()));
        }
        if !self.settings.ids_only {
            return Ok(self.comparer.compare(self.manager, &prepared.batch)?.into_iter().collect());
        }
        let EventSettings { server, layout, .. } = self.settings.event;
        let ids = prepared.batch.rows.ids(&prepared.batch.order);
        let present = present_ids(self.manager, layout, schema, server, self.distribution, ids)?;
        Ok(present.into_iter().map(|id| (id, StoredEvent::Same)).collect())
    }
}
