//! The rules for finding and checking events.

use crate::event::fault::{Fault, FaultKind};
use crate::event::forms::envelope::EventsAt;
use crate::event::json::Parsed;
use crate::event::kill_event::Event;
use crate::event::parse;
use crate::event::server::Server;
use crate::event::text::NulPolicy;

/// The keys that name the game server, in an event or an envelope.
pub(crate) const SERVER_KEYS: [&str; 3] = ["server", "region", "source_region"];

/// The rules for finding and checking events.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadRules<'r> {
    /// The handling of NUL.
    pub nul: NulPolicy,
    /// The path to events in each value. Without it, events are at the top level.
    pub events_at: Option<&'r EventsAt>,
    /// The game server that events must not contradict.
    pub server: Option<Server>,
    /// Whether each event must name its game server.
    pub must_name_server: bool,
    /// The battle of events that name none.
    pub battle: Option<i64>,
    /// Whether each event must name its battle.
    pub must_name_battle: bool,
    /// Whether the battle is that of the source's name. A reject is of the source that its record names.
    pub has_battle_of_source: bool,
}

/// What the enclosing values say about an event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Enclosing {
    pub(crate) index: Option<usize>,
    pub(crate) server: Option<Server>,
    /// Whether it is a member of an object, so that another member may follow it.
    pub(crate) is_member: bool,
}

/// Returns the number in a file name, before its first dot, if there is exactly one.
pub(crate) fn battle_in_name(source: &str) -> Option<i64> {
    let name = source.rsplit('/').next()?;
    let stem = name.split('.').next()?;
    let mut numbers = stem.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let number = numbers.next()?;
    if numbers.next().is_some() { None } else { number.parse().ok() }
}

/// The place of a value outside of its text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ValueContext {
    /// The index in an array.
    pub(crate) index: Option<usize>,
    /// The game server that an envelope names.
    pub(crate) server: Option<Server>,
    /// The number of steps of the path that lead to the value, if it was taken out of an envelope.
    pub(crate) steps: Option<usize>,
    /// Whether it is an element of an array of that envelope.
    pub(crate) is_element: bool,
}

impl ReadRules<'_> {
    /// The rules for a value that was rejected when it was read from this source. `battle` is that of an earlier reject.
    #[must_use]
    pub(crate) fn of_rejected(self, source: &str, battle: Option<i64>) -> Self {
        if !self.has_battle_of_source {
            return self;
        }
        let battle = battle.or_else(|| battle_in_name(source));
        Self { battle, must_name_battle: battle.is_none(), ..self }
    }

    /// Applies the rules and the properties of the enclosing values.
    pub(crate) fn apply(&self, event: &mut Event<'_>, context: Enclosing) -> Parsed<()> {
        let named =
            parse::one_server(event.server, context.server).map_err(|fault| fault.within("server"))?;
        event.server = named;
        match (self.server, named) {
            (Some(expected), Some(named)) if expected != named => {
                return Err(Fault::from(FaultKind::OtherServer { named, expected }).within("server"));
            }
            (_, None) if self.must_name_server => {
                return Err(Fault::from(FaultKind::NoServer).within("server"));
            }
            _ => {}
        }
        if event.battle_id.is_none() {
            event.battle_id = self.battle;
            if self.must_name_battle {
                return Err(Fault::from(FaultKind::NoBattle).within("BattleId"));
            }
        }
        Ok(())
    }
}
