//! A kill event as the layouts need it, borrowed from its line.

use crate::event::server::Server;
use std::borrow::Cow;

/// The equipment slots that are kept, as the payload names them, in the order of the columns.
pub(crate) const EQUIPMENT_SLOTS: [&str; 10] =
    ["MainHand", "OffHand", "Head", "Armor", "Shoes", "Bag", "Cape", "Mount", "Potion", "Food"];

/// The places in [`EQUIPMENT_SLOTS`] of those slots of which more than type and quality is kept.
pub(crate) const MAIN_HAND: usize = 0;
pub(crate) const POTION: usize = 8;
pub(crate) const FOOD: usize = 9;

/// A text of the payload; never empty where it is optional, and free of NUL.
pub(crate) type Text<'a> = Cow<'a, str>;

/// A JSON value as it came, which `jsonb` takes: no NUL, no lone surrogate.
pub(crate) type KeptJson<'a> = Cow<'a, str>;

/// One kill. The vectors keep their space when the value is used again for the next event.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Event<'a> {
    /// `EventId`; unique within a game server only.
    pub event_id: i64,
    /// `TimeStamp` in microseconds since 1970-01-01 UTC, cut, not rounded.
    pub occurred_at_us: i64,
    /// `TotalVictimKillFame`.
    pub fame: i64,
    /// `BattleId`: the `EventId` of the battle's first kill.
    pub battle_id: Option<i64>,
    /// `numberOfParticipants`, as the payload says it.
    pub participant_count: Option<i32>,
    /// `groupMemberCount`, as the payload says it.
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
    /// The game server that `server`, `region` or `source_region` names, in the event or in what it lies in.
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
    /// `Name`.
    pub name: Option<Text<'a>>,
    /// `GuildId`.
    pub guild_id: Option<Text<'a>>,
    /// `GuildName`.
    pub guild_name: Option<Text<'a>>,
    /// `AllianceId`.
    pub alliance_id: Option<Text<'a>>,
    /// `AllianceName`, which holds the tag.
    pub alliance_name: Option<Text<'a>>,
    /// `AverageItemPower`.
    pub item_power: Option<f64>,
    /// `KillFame`.
    pub kill_fame: Option<i64>,
    /// `DeathFame`.
    pub death_fame: Option<i64>,
    /// `DamageDone`, in Participants only.
    pub damage_done: Option<f64>,
    /// `SupportHealingDone`, in Participants only.
    pub healing_done: Option<f64>,
    /// `Equipment`, by [`EQUIPMENT_SLOTS`].
    pub equipment: [Option<Item<'a>>; EQUIPMENT_SLOTS.len()],
    /// The object `Equipment` as it came. It may hold a `\u0000`, and may be too long to be stored.
    pub equipment_text: Option<&'a str>,
    /// Whether no number in `equipment_text` is long or has an exponent, and nothing in it is nested deep.
    pub equipment_plain: bool,
}

/// An item in a slot.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Item<'a> {
    /// `Type`, such as `T8_2H_BOW@3`.
    pub kind: Option<Text<'a>>,
    /// `Quality`, 0 to 5 so far.
    pub quality: Option<i16>,
    /// `Count`.
    pub count: Option<i32>,
    /// `LegendarySoul`, of main hands and of the inventory only.
    pub soul: Option<KeptJson<'a>>,
}
