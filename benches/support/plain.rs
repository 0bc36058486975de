//! Plain structs with the same fields, for parsers with derive macros.

#![expect(non_snake_case, reason = "the names are those of the payload")]
#![expect(dead_code, reason = "only filling the fields is measured")]

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A wrapper, because serde never borrows a `Cow` inside an `Option`.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
pub(crate) struct Event<'a> {
    pub(crate) EventId: i64,
    #[serde(borrow)]
    pub(crate) TimeStamp: Text<'a>,
    pub(crate) TotalVictimKillFame: i64,
    pub(crate) BattleId: Option<i64>,
    pub(crate) numberOfParticipants: Option<i32>,
    pub(crate) groupMemberCount: Option<i32>,
    #[serde(borrow)]
    pub(crate) KillArea: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) Category: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) Type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) Location: Option<Text<'a>>,
    pub(crate) Version: Option<i32>,
    pub(crate) GvGMatch: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(crate) Killer: Player<'a>,
    #[serde(borrow)]
    pub(crate) Victim: Player<'a>,
    #[serde(borrow)]
    pub(crate) Participants: Option<Vec<Player<'a>>>,
    #[serde(borrow)]
    pub(crate) GroupMembers: Option<Vec<Player<'a>>>,
}

#[derive(Deserialize)]
pub(crate) struct Player<'a> {
    #[serde(borrow)]
    pub(crate) Id: Text<'a>,
    #[serde(borrow)]
    pub(crate) Name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) GuildId: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) GuildName: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) AllianceId: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) AllianceName: Option<Text<'a>>,
    pub(crate) AverageItemPower: Option<f64>,
    pub(crate) KillFame: Option<i64>,
    pub(crate) DeathFame: Option<i64>,
    pub(crate) DamageDone: Option<f64>,
    pub(crate) SupportHealingDone: Option<f64>,
    #[serde(borrow)]
    pub(crate) Equipment: Option<Equipment<'a>>,
    #[serde(borrow)]
    pub(crate) Inventory: Option<Vec<Option<Item<'a>>>>,
}

#[derive(Deserialize)]
pub(crate) struct Equipment<'a> {
    #[serde(borrow)]
    pub(crate) MainHand: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) OffHand: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Head: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Armor: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Shoes: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Bag: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Cape: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Mount: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Potion: Option<Item<'a>>,
    #[serde(borrow)]
    pub(crate) Food: Option<Item<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct Item<'a> {
    #[serde(borrow)]
    pub(crate) Type: Option<Text<'a>>,
    pub(crate) Quality: Option<i16>,
    pub(crate) Count: Option<i32>,
    pub(crate) LegendarySoul: Option<IgnoredAny>,
}
