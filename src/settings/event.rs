//! The settings of commands that read events: `load`, `verify` and `delete`.

use crate::cli::EventArgs;
use crate::database::options::OnConflict;
use crate::event::forms::envelope::EventsAt;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::layout::Layout;
use crate::layout::rows::DuplicatePolicy;
use crate::pipeline::prepare::preparer::{Battle, Preparer, Reading};
use crate::settings::environment::{Environment, NO_VARIABLE, SettingError};
use std::str::FromStr;
use std::sync::Arc;

/// The game server, the tables, and how events are read.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// The game server; arbitrary if each event must name it and the dumps have not been looked at yet.
    pub server: Server,
    pub layout: Layout,
    pub nul: NulPolicy,
    /// Facts about events that are not in their text.
    pub reading: Reading,
}

impl EventSettings {
    /// Reads options and variables. If they name no server, each event must name it.
    pub(crate) fn new(args: &EventArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        let server = env.read(("--server", args.server.as_deref()), "ALBION_SERVER", Server::from_str)?;
        let nul = env.read(("--nul", args.nul.as_deref()), "KILLS_NUL", NulPolicy::from_str)?;
        let events_at = env.read(("--events-at", args.events_at.as_deref()), "KILLS_EVENTS_AT", |path| {
            // A key can look like another connection string, so that messages show the path concealed.
            if path.contains("://") {
                return Err("expected keys joined by dots, not a connection string".to_owned());
            }
            EventsAt::from_str(path)
        })?;
        let battle = env.read(("--battle", args.battle.as_deref()), NO_VARIABLE, battle)?;
        Ok(Self {
            server: server.unwrap_or(Server::Americas),
            layout: layout(args.layout.as_deref(), env)?,
            nul: nul.unwrap_or_default(),
            reading: Reading {
                events_at: events_at.map(Arc::new),
                battle: battle.unwrap_or_default(),
                must_name_server: server.is_none(),
                tables: None,
            },
        })
    }

    /// Prepares segments for `verify` and `delete`. Of repeated events the first one counts.
    pub(crate) fn preparer(&self) -> Preparer {
        Preparer {
            layout: self.layout,
            server: self.server,
            nul: self.nul,
            repeats: DuplicatePolicy::KeepFirst,
            reading: self.reading.clone(),
        }
    }
}

pub(crate) fn battle(value: &str) -> Result<Battle, String> {
    match value {
        "from-name" => Ok(Battle::FromName),
        id => match id.parse() {
            Ok(id) if id > 0 => Ok(Battle::Id(id)),
            _ => Err("expected a battle id such as 1337, or from-name".to_owned()),
        },
    }
}

pub(crate) fn on_conflict(mode: &str) -> Result<OnConflict, String> {
    match mode {
        "skip" => Ok(OnConflict::Skip),
        "update" => Ok(OnConflict::Update),
        _ => Err("possible values: skip, update".to_owned()),
    }
}

pub(crate) fn layout(option: Option<&str>, env: Environment<'_>) -> Result<Layout, SettingError> {
    Ok(env.read(("--layout", option), "KILLS_LAYOUT", Layout::from_str)?.unwrap_or(Layout::Archive))
}
