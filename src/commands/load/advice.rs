//! The commands that the result of a load advises.
//!
//! Invariant: they agree with the hints of the errors and with the reasons of the rejects.

use crate::cli::{EventArgs, LoadArgs};
use crate::commands::common::next_steps as next;
use crate::event::server::Server;
use crate::pipeline::rejects::kinds::RejectKinds;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::source_segments::SourceError;
use crate::report::summary::NextCommands;
use crate::settings::environment::Environment;

/// The maximum number of inputs whose commands are in the summary. The log has those of all.
const INPUTS_MAX: usize = 3;

/// Adds what the result of the run advises to the commands of a load.
pub(crate) fn advise(
    commands: &mut NextCommands,
    report: &RunReport,
    rejects: &RejectKinds,
    args: &LoadArgs,
    env: Environment<'_>,
) {
    let events_at = rejects.kinds.iter().find_map(|kind| kind.events_at.as_deref());
    commands.advised = events_at.map(|path| next::advised(args, env, path));
    if let Some(server) = other_server(rejects, args, env) {
        let event = EventArgs { server: Some(server.name().to_owned()), ..args.event.clone() };
        let args = LoadArgs { event, ..args.clone() };
        let NextCommands { again, load_rejects, .. } = next::commands(&args, env);
        (commands.of_named_server, commands.load_rejects) = (Some(again), load_rejects);
        if let (Some(advised), Some(path)) = (&mut commands.advised, events_at) {
            advised.load_rejects = next::advised(&args, env, path).load_rejects;
        }
    }
    if let Some(reload) = &report.reload {
        commands.again.clone_from(reload);
    }
    let damaged = report.damaged();
    if !damaged.is_empty() && !args.dry_run {
        commands.delete_damaged = Some(next::delete_of(args, env, &damaged));
    }
    // The same command loads the rest of the input if something else has ended the run.
    let mut is_futile = report.halted.is_none() && !report.source_errors.is_empty();
    for error in &report.source_errors {
        let Some(step) = other_way(error, commands) else {
            is_futile = false;
            continue;
        };
        if commands.other_ways.len() < INPUTS_MAX && !commands.other_ways.contains(&step) {
            commands.other_ways.push(step);
        }
    }
    commands.is_futile = is_futile;
}

/// The game server that the first reject names, if each names one and this is not that of the load, which would only reject it
/// again.
fn other_server(rejects: &RejectKinds, args: &LoadArgs, env: Environment<'_>) -> Option<Server> {
    let given = args.event.server.clone().or_else(|| env.get("ALBION_SERVER"))?;
    let given: Server = given.parse().ok()?;
    rejects.named_server().filter(|named| *named != given)
}

/// The command that reads an input in another way, after its purpose. None if the same command can succeed later.
fn other_way(error: &SourceError, commands: &NextCommands) -> Option<(&'static str, String)> {
    match error {
        SourceError::Input(error) => error.other_way(),
        SourceError::NoEvents { .. } => {
            let NextCommands { advised, of_named_server, unlimited, verify, .. } = commands;
            let (from_file, from_pipe, command) = match (advised, of_named_server) {
                (Some(advised), _) => (
                    "to read the events inside the values",
                    "to read the events inside the values, with the same input",
                    &advised.again,
                ),
                (None, Some(of_named_server)) => (
                    "to load it under the game server that it names",
                    "to load it under the game server that it names, with the same input",
                    of_named_server,
                ),
                (None, None) => ("to load it anyway", "to load it anyway, with the same input", unlimited),
            };
            Some((if verify.is_some() { from_file } else { from_pipe }, command.clone()))
        }
        SourceError::Changed { .. } => None,
    }
}
