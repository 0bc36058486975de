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
pub struct Event<'a> {
    /// `EventId`; unique within a game server only.
    pub event_id: i64,
    /// `TimeStamp` in microseconds since 1970-01-01 UTC, truncated.
    pub occurred_at_us: i64,
    /// `TotalVictimKillFame`.
    pub fame: i64,
    /// `BattleId`: the `EventId` of the battle's first kill.
    pub battle_id: Option<i64>,
    /// `numberOfParticipants`, as in the payload.
    pub participant_count: Option<i32>,
    /// `groupMemberCount`, as in the payload.
    pub group_size: Option<i32>,
    /// `KillArea`.
    pub kill_area: Option<Text<'a>>,
    /// `Category`.
    pub category: Option<Text<'a>>,
    /// `Type`.
    pub kind: Option<Text<'a>>,
    /// `Location`.
    pub location: Option<Text<'a>>,
    /// `Version`.
    pub version: Option<i32>,
    /// `GvGMatch`.
    pub gvg_match: Option<KeptJson<'a>>,
    /// The game server from `server`, `region` or `source_region`, in the event or in its envelope.
    pub server: Option<Server>,
    /// `Killer`, with a name.
    pub killer: Player<'a>,
    /// `Victim`, with a name.
    pub victim: Player<'a>,
    /// `Participants`.
    pub participants: Vec<Player<'a>>,
    /// `GroupMembers`.
    pub group_members: Vec<Player<'a>>,
    /// The non-null slots of `Victim.Inventory`, by index.
    pub loot: Vec<(i16, Item<'a>)>,
}

/// One record of a player in an event.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Player<'a> {
    /// `Id`; never empty once parsed.
    pub id: Text<'a>,
    pub name: Option<Text<'a>>,
    pub guild_id: Option<Text<'a>>,
    pub guild_name: Option<Text<'a>>,
    pub alliance_id: Option<Text<'a>>,
    /// `AllianceName`, which holds the tag.
    pub alliance_name: Option<Text<'a>>,
    pub item_power: Option<f64>,
    pub kill_fame: Option<i64>,
    pub death_fame: Option<i64>,
    /// `DamageDone`, in Participants only.
    pub damage_done: Option<f64>,
    /// `SupportHealingDone`, in Participants only.
    pub healing_done: Option<f64>,
    /// `Equipment`, by [`EQUIPMENT_SLOTS`].
    pub equipment: [Option<Item<'a>>; EQUIPMENT_SLOTS.len()],
    /// The text of the object `Equipment`. It may contain `\u0000`, and may be too long to be stored.
    pub equipment_text: Option<&'a str>,
    /// Whether `equipment_text` has no long numbers, exponents or deep nesting.
    pub equipment_plain: bool,
}

/// An item in a slot.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Item<'a> {
    /// `Type`, such as `T8_2H_BOW@3`.
    pub kind: Option<Text<'a>>,
    /// `Quality`; 0 to 5 in all known events.
    pub quality: Option<i16>,
    pub count: Option<i32>,
    /// `LegendarySoul`, of main hands and of the inventory only.
    pub soul: Option<KeptJson<'a>>,
}
