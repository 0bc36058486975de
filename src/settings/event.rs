//! The settings of commands that read events: `load`, `verify` and `delete`.

use crate::cli::EventArgs;
use crate::conceal::may_hold_secret;
use crate::database::options::OnConflict;
use crate::event::forms::envelope::EventsAt;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::input::source::Source;
use crate::layout::Layout;
use crate::pipeline::prepare::preparer::{Battle, Reading};
use crate::settings::environment::{Environment, SettingError};
use std::str::FromStr;
use std::sync::Arc;

/// The game server, the tables, and how events are read.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// The game server.
    pub server: Server,
    /// The tables.
    pub layout: Layout,
    /// The treatment of NUL characters.
    pub nul: NulPolicy,
    /// Facts about events that are not in their text.
    pub reading: Reading,
}

/// Settings that may lack the game server, because the events can name it.
#[derive(Debug)]
pub struct Unnamed<S> {
    /// The server in it is arbitrary unless `is_known`.
    pub(crate) settings: S,
    pub(crate) is_known: bool,
}

/// Settings of a command that reads events.
pub trait ReadsEvents {
    /// The settings of the events.
    fn event(&mut self) -> &mut EventSettings;
    /// Replaces the dumps.
    fn set_sources(&mut self, sources: Vec<Source>);
}

impl<S: ReadsEvents> Unnamed<S> {
    /// Replaces the sources by the result of `find`.
    #[must_use]
    pub fn with_sources(mut self, find: impl FnOnce(&S) -> Vec<Source>) -> Self {
        let sources = find(&self.settings);
        self.settings.set_sources(sources);
        self
    }

    /// Returns the settings with the configured server, or else with the server that `look` finds in the events. In the second
    /// case every event must name it.
    ///
    /// # Errors
    ///
    /// `look` fails or finds no server.
    pub fn named<E: From<SettingError>>(
        mut self,
        look: impl FnOnce(&S) -> Result<Option<Server>, E>,
    ) -> Result<S, E> {
        if !self.is_known {
            let server = look(&self.settings)?.ok_or(SettingError::ServerRequired)?;
            let event = self.settings.event();
            event.server = server;
            event.reading.must_name_server = true;
        }
        Ok(self.settings)
    }
}

impl EventSettings {
    /// Returns the settings, and whether the server is set.
    pub(crate) fn new(args: &EventArgs, env: Environment<'_>) -> Result<(Self, bool), SettingError> {
        let server = env.read(("--server", args.server.as_deref()), "ALBION_SERVER", Server::from_str)?;
        let nul = env.read(("--nul", args.nul.as_deref()), "KILLS_NUL", NulPolicy::from_str)?;
        let events_at = env.read(("--events-at", args.events_at.as_deref()), "KILLS_EVENTS_AT", |path| {
            // The reasons of rejects repeat the path.
            if may_hold_secret(path) {
                return Err("expected keys joined by dots, not a connection string".to_owned());
            }
            EventsAt::from_str(path)
        })?;
        let battle = args.battle.as_deref().map(|value| {
            battle(value).map_err(|wanted| SettingError::Value {
                place: "--battle",
                value: value.to_owned(),
                wanted,
            })
        });
        let events = Self {
            server: server.unwrap_or(Server::Americas),
            layout: layout(args.layout.as_deref(), env)?,
            nul: nul.unwrap_or_default(),
            reading: Reading {
                events_at: events_at.map(Arc::new),
                battle: battle.transpose()?.unwrap_or_default(),
                must_name_server: false,
                tables: None,
            },
        };
        Ok((events, server.is_some()))
    }
}

pub(crate) fn battle(value: &str) -> Result<Battle, String> {
    match value.trim() {
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
