//! A kill event with the fields that the layouts use, borrowed from its line.

use crate::event::server::Server;
use std::borrow::Cow;

/// The stored equipment slots, named as in the payload, in the order of the columns.
pub(crate) const EQUIPMENT_SLOTS: [&str; 10] =
    ["MainHand", "OffHand", "Head", "Armor", "Shoes", "Bag", "Cape", "Mount", "Potion", "Food"];

/// Indices in [`EQUIPMENT_SLOTS`] of the slots that have columns besides type and quality.
pub(crate) const MAIN_HAND: usize = 0;
pub(crate) const POTION: usize = 8;
pub(crate) const FOOD: usize = 9;

/// A string of the payload without NUL. Optional strings are never empty.
pub(crate) type Text<'a> = Cow<'a, str>;

/// A JSON value in a form that `jsonb` accepts: without NUL and lone surrogates.
pub(crate) type KeptJson<'a> = Cow<'a, str>;

/// One kill. The vectors keep their capacity when the value is reused for the next event.
#[derive(Debug, Default, Clone, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the column is named event_id")]
pub struct Event<'a> {
    /// `EventId`; unique within a game server only.
    pub(crate) event_id: i64,
    /// `TimeStamp` in microseconds since 1970-01-01 UTC, truncated.
    pub(crate) occurred_at_us: i64,
    pub(crate) fame: i64,
    /// `BattleId`: the `EventId` of the battle's first kill.
    pub(crate) battle_id: Option<i64>,
    /// `numberOfParticipants`, as in the payload.
    pub(crate) participant_count: Option<i32>,
    /// `groupMemberCount`, as in the payload.
    pub(crate) group_size: Option<i32>,
    pub(crate) kill_area: Option<Text<'a>>,
    pub(crate) category: Option<Text<'a>>,
    pub(crate) kind: Option<Text<'a>>,
    pub(crate) location: Option<Text<'a>>,
    pub(crate) version: Option<i32>,
    pub(crate) gvg_match: Option<KeptJson<'a>>,
    /// The game server from `server`, `region` or `source_region`, in the event or in its envelope.
    pub(crate) server: Option<Server>,
    /// `Killer`, with a name.
    pub(crate) killer: Player<'a>,
    /// `Victim`, with a name.
    pub(crate) victim: Player<'a>,
    pub(crate) participants: Vec<Player<'a>>,
    pub(crate) group_members: Vec<Player<'a>>,
    /// The non-null slots of `Victim.Inventory`, by index.
    pub(crate) loot: Vec<(i16, Item<'a>)>,
}

/// One record of a player in an event.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Player<'a> {
    /// `Id`; never empty once parsed.
    pub(crate) id: Text<'a>,
    pub(crate) name: Option<Text<'a>>,
    pub(crate) guild_id: Option<Text<'a>>,
    pub(crate) guild_name: Option<Text<'a>>,
    pub(crate) alliance_id: Option<Text<'a>>,
    /// `AllianceName`, which holds the tag.
    pub(crate) alliance_name: Option<Text<'a>>,
    pub(crate) item_power: Option<f64>,
    pub(crate) kill_fame: Option<i64>,
    pub(crate) death_fame: Option<i64>,
    /// `DamageDone`, in Participants only.
    pub(crate) damage_done: Option<f64>,
    /// `SupportHealingDone`, in Participants only.
    pub(crate) healing_done: Option<f64>,
    /// `Equipment`, by [`EQUIPMENT_SLOTS`].
    pub(crate) equipment: [Option<Item<'a>>; EQUIPMENT_SLOTS.len()],
    /// The text of the object `Equipment`. It may contain `\u0000`, and may be too long to be stored.
    pub(crate) equipment_text: Option<&'a str>,
    /// Whether `equipment_text` has no long numbers, exponents or deep nesting.
    pub(crate) equipment_plain: bool,
}

/// An item in a slot.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Item<'a> {
    /// `Type`, such as `T8_2H_BOW@3`.
    pub(crate) kind: Option<Text<'a>>,
    /// `Quality`; 0 to 5 in all known events.
    pub(crate) quality: Option<i16>,
    pub(crate) count: Option<i32>,
    /// `LegendarySoul`, of main hands and of the inventory only.
    pub(crate) soul: Option<KeptJson<'a>>,
}
