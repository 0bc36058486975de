//! Parses JSON into an [`Event`]: which fields are kept, their types, and which are required.

use crate::event::fault::{Fault, FaultKind};
use crate::event::field::Field;
use crate::event::json::{Cursor, Parsed};
use crate::event::keys::ObjectKind;
use crate::event::kill_event::{EQUIPMENT_SLOTS, Event, Item, MAIN_HAND, Player};
use crate::event::server::Server;
use crate::event::time::time_stamp;

/// Maximum number of players in one list of an event. It bounds the memory of one event; the largest fights of the game
/// have some hundreds.
const PLAYERS_MAX: usize = 1000;

/// Parses the event at the cursor into `event` and overwrites its old content.
///
/// Required are `EventId`, `TimeStamp`, `TotalVictimKillFame`, `Id` and `Name` of `Killer` and `Victim`, and `Id` of
/// every other player. The last of several equal keys counts.
pub(crate) fn event<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) -> Parsed<()> {
    let mut required = Required::default();
    clear(event);
    if cursor.peek() != Some(b'{') {
        return Err(cursor.other_type("an event object"));
    }
    let mut object = cursor.object(ObjectKind::Event)?;
    while let Some(field) = cursor.field(&mut object)? {
        top_field(cursor, field, event, &mut required).map_err(|fault| fault.within(field.name()))?;
    }
    let missing = |name: &str| Fault::from(FaultKind::Missing).within(name);
    event.event_id = required.event_id.ok_or_else(|| missing("EventId"))?;
    event.occurred_at_us = required.occurred_at_us.ok_or_else(|| missing("TimeStamp"))?;
    event.fame = required.fame.ok_or_else(|| missing("TotalVictimKillFame"))?;
    check_named(&event.killer, required.killer).map_err(|fault| fault.within("Killer"))?;
    check_named(&event.victim, required.victim).map_err(|fault| fault.within("Victim"))
}

#[derive(Default)]
struct Required {
    event_id: Option<i64>,
    occurred_at_us: Option<i64>,
    fame: Option<i64>,
    killer: bool,
    victim: bool,
}

fn clear(event: &mut Event<'_>) {
    event.battle_id = None;
    event.participant_count = None;
    event.group_size = None;
    event.kill_area = None;
    event.category = None;
    event.kind = None;
    event.location = None;
    event.version = None;
    event.gvg_match = None;
    event.server = None;
    event.participants.clear();
    event.group_members.clear();
    event.loot.clear();
}

fn top_field<'a>(
    cursor: &mut Cursor<'a>,
    field: Field,
    event: &mut Event<'a>,
    required: &mut Required,
) -> Parsed<()> {
    match field {
        Field::EventId => required.event_id = cursor.integer()?,
        Field::TimeStamp => required.occurred_at_us = time_stamp(cursor)?,
        Field::TotalVictimKillFame => required.fame = cursor.integer()?,
        Field::Killer => required.killer = whole_player(cursor, ObjectKind::Killer, &mut event.killer, None)?,
        Field::Victim => {
            required.victim =
                whole_player(cursor, ObjectKind::Victim, &mut event.victim, Some(&mut event.loot))?;
        }
        Field::Participants => players(cursor, ObjectKind::Participant, &mut event.participants)?,
        Field::GroupMembers => players(cursor, ObjectKind::GroupMember, &mut event.group_members)?,
        Field::BattleId => event.battle_id = cursor.integer()?,
        Field::NumberOfParticipants => event.participant_count = narrow(cursor)?,
        Field::GroupMemberCount => event.group_size = narrow(cursor)?,
        Field::KillArea => event.kill_area = cursor.text()?,
        Field::Category => event.category = cursor.text()?,
        Field::Type => event.kind = cursor.text()?,
        Field::Location => event.location = cursor.text()?,
        Field::Version => event.version = narrow(cursor)?,
        Field::GvGMatch => event.gvg_match = cursor.json()?,
        Field::Server | Field::Region | Field::SourceRegion => {
            event.server = one_server(event.server, named_server(cursor)?)?;
        }
        _ => cursor.skip()?,
    }
    Ok(())
}

/// Parses the name of a game server. Unknown names and values that are not strings yield `None`.
pub(crate) fn named_server(cursor: &mut Cursor<'_>) -> Parsed<Option<Server>> {
    if cursor.peek() == Some(b'"') {
        Ok(cursor.whole_string()?.parse().ok())
    } else {
        cursor.skip().map(|()| None)
    }
}

/// Merges two optional server names, which must agree.
pub(crate) fn one_server(first: Option<Server>, second: Option<Server>) -> Parsed<Option<Server>> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => Err(FaultKind::TwoServers(first, second).into()),
        (first, second) => Ok(first.or(second)),
    }
}

/// Parses the killer or the victim. Returns false if the value is null.
fn whole_player<'a>(
    cursor: &mut Cursor<'a>,
    kind: ObjectKind,
    into: &mut Player<'a>,
    mut loot: Option<&mut Vec<(i16, Item<'a>)>>,
) -> Parsed<bool> {
    if let Some(loot) = &mut loot {
        loot.clear();
    }
    if cursor.null()? {
        return Ok(false);
    }
    *into = Player::default();
    player(cursor, kind, into, loot)?;
    Ok(true)
}

fn check_named(player: &Player<'_>, present: bool) -> Parsed<()> {
    if !present {
        return Err(FaultKind::Missing.into());
    }
    if player.name.is_none() {
        return Err(Fault::from(FaultKind::MissingOrEmpty).within("Name"));
    }
    Ok(())
}

fn players<'a>(cursor: &mut Cursor<'a>, kind: ObjectKind, into: &mut Vec<Player<'a>>) -> Parsed<()> {
    into.clear();
    optional_array(cursor, |cursor, index| {
        if index == PLAYERS_MAX {
            return Err(FaultKind::TooManyPlayers(PLAYERS_MAX).into());
        }
        into.push(Player::default());
        // The list is not empty: a player was pushed above.
        into.last_mut().map_or(Ok(()), |into| player(cursor, kind, into, None))
    })
}

fn optional_array<'a>(
    cursor: &mut Cursor<'a>,
    mut element: impl FnMut(&mut Cursor<'a>, usize) -> Parsed<()>,
) -> Parsed<()> {
    match cursor.peek() {
        Some(b'[') => {
            cursor.array(|cursor, index| element(cursor, index).map_err(|fault| fault.within_element(index)))
        }
        _ if cursor.null()? => Ok(()),
        _ => Err(cursor.other_type("an array")),
    }
}

/// Parses a player, which must have an id. The inventory goes into `loot`, or is skipped without it.
fn player<'a>(
    cursor: &mut Cursor<'a>,
    kind: ObjectKind,
    into: &mut Player<'a>,
    mut loot: Option<&mut Vec<(i16, Item<'a>)>>,
) -> Parsed<()> {
    if cursor.peek() != Some(b'{') {
        return Err(cursor.other_type("a player object"));
    }
    let mut id = None;
    let mut object = cursor.object(kind)?;
    while let Some(field) = cursor.field(&mut object)? {
        let read = match (field, &mut loot) {
            (Field::Id, _) => cursor.text().map(|text| id = text),
            (Field::Inventory, Some(loot)) => inventory(cursor, loot),
            _ => player_field(cursor, field, into),
        };
        read.map_err(|fault| fault.within(field.name()))?;
    }
    into.id = id.ok_or_else(|| Fault::from(FaultKind::MissingOrEmpty).within("Id"))?;
    Ok(())
}

fn player_field<'a>(cursor: &mut Cursor<'a>, field: Field, player: &mut Player<'a>) -> Parsed<()> {
    match field {
        Field::LifetimeStatistics => cursor.skip_repeated()?,
        Field::Equipment => equipment(cursor, player)?,
        Field::Name => player.name = cursor.text()?,
        Field::GuildId => player.guild_id = cursor.text()?,
        Field::GuildName => player.guild_name = cursor.text()?,
        Field::AllianceId => player.alliance_id = cursor.text()?,
        Field::AllianceName => player.alliance_name = cursor.text()?,
        Field::AverageItemPower => player.item_power = cursor.float()?,
        Field::KillFame => player.kill_fame = cursor.integer()?,
        Field::DeathFame => player.death_fame = cursor.integer()?,
        Field::DamageDone => player.damage_done = cursor.float()?,
        Field::SupportHealingDone => player.healing_done = cursor.float()?,
        _ => cursor.skip()?,
    }
    Ok(())
}

fn equipment<'a>(cursor: &mut Cursor<'a>, player: &mut Player<'a>) -> Parsed<()> {
    player.equipment = Default::default();
    player.equipment_text = None;
    if cursor.null()? {
        return Ok(());
    }
    if cursor.peek() != Some(b'{') {
        return Err(cursor.other_type("an object of slots"));
    }
    let start = cursor.at();
    let ((), plain) = cursor.noting_plain(|cursor| equipment_slots(cursor, player))?;
    player.equipment_text = Some(cursor.text_since(start));
    player.equipment_plain = plain;
    Ok(())
}

fn equipment_slots<'a>(cursor: &mut Cursor<'a>, player: &mut Player<'a>) -> Parsed<()> {
    let mut object = cursor.object(ObjectKind::Equipment)?;
    while let Some(field) = cursor.field(&mut object)? {
        match equipment_slot(field) {
            Some(slot) => {
                // The souls of other slots have no column.
                let item = item(cursor, slot == MAIN_HAND);
                player.equipment[slot] = item.map_err(|fault| fault.within(field.name()))?;
            }
            None => cursor.skip()?,
        }
    }
    Ok(())
}

/// Returns the index of a slot in [`EQUIPMENT_SLOTS`].
fn equipment_slot(field: Field) -> Option<usize> {
    // The slots are the last fields, in the order of the columns.
    let slot = (field as usize).checked_sub(Field::MainHand as usize)?;
    (slot < EQUIPMENT_SLOTS.len()).then_some(slot)
}

fn inventory<'a>(cursor: &mut Cursor<'a>, loot: &mut Vec<(i16, Item<'a>)>) -> Parsed<()> {
    loot.clear();
    optional_array(cursor, |cursor, index| {
        if let Some(item) = item(cursor, true)? {
            let slot = i16::try_from(index).map_err(|_| FaultKind::TooManySlots)?;
            loot.push((slot, item));
        }
        Ok(())
    })
}

/// Parses an item. A soul without a column must not cause a reject, so it is only skipped.
fn item<'a>(cursor: &mut Cursor<'a>, keeps_soul: bool) -> Parsed<Option<Item<'a>>> {
    if cursor.null()? {
        return Ok(None);
    }
    if cursor.peek() != Some(b'{') {
        return Err(cursor.other_type("an item object"));
    }
    let mut item = Item::default();
    let mut object = cursor.object(ObjectKind::Item)?;
    while let Some(field) = cursor.field(&mut object)? {
        let read = match field {
            Field::Type => cursor.text().map(|text| item.kind = text),
            Field::Quality => narrow(cursor).map(|quality| item.quality = quality),
            Field::Count => narrow(cursor).map(|count| item.count = count),
            Field::LegendarySoul if keeps_soul => cursor.json().map(|soul| item.soul = soul),
            _ => cursor.skip(),
        };
        read.map_err(|fault| fault.within(field.name()))?;
    }
    Ok(Some(item))
}

/// Parses an integer for a column of fewer than 64 bits.
fn narrow<T: TryFrom<i64>>(cursor: &mut Cursor<'_>) -> Parsed<Option<T>> {
    let wide = cursor.integer()?;
    wide.map(T::try_from)
        .transpose()
        .map_err(|_| FaultKind::IntegerExceedsColumn { bits: size_of::<T>() * 8 }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::kill_event::{FOOD, POTION};

    #[test]
    fn slot_indices_match_their_names() {
        for (place, name) in EQUIPMENT_SLOTS.into_iter().enumerate() {
            assert_eq!(equipment_slot(Field::of(name)), Some(place), "{name}");
        }
        for (place, name) in [(MAIN_HAND, "MainHand"), (POTION, "Potion"), (FOOD, "Food")] {
            assert_eq!(EQUIPMENT_SLOTS[place], name);
        }
    }
}
