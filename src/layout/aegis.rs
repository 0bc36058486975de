//! The layout `aegis`: the table that the TypeScript Albion Aegis maintains through Prisma, one row per event.
//!
//! Invariant: names, types, defaults and indexes are those that Prisma generates for its model. Prisma therefore sees
//! no difference between its own table and one created here.
//!
//! Invariant: a value that does not fit its column is rejected here with its field, before it reaches the database.

use crate::event::document::document;
use crate::event::fault::{Fault, FaultKind};
use crate::event::kill_event::{Event, Player};
use crate::event::text::NulPolicy;
use crate::layout::copy::Row;
use crate::layout::rows::{DuplicatePolicy, Rows};
use crate::layout::table::ColumnType::{Float8, Int4, Int8, Jsonb, TimestampMs, Varchar};
use crate::layout::table::{Column, Index, Table, TableOwner, keep_on_update, needed, optional};
use std::borrow::Cow;
use std::collections::HashMap;

const KILL_EVENT: usize = 0;

/// Maximum lengths of the text columns, in characters.
const ID_MAX: usize = 64;
const NAME_MAX: usize = 48;
const GUILD_MAX: usize = 64;
const ALLIANCE_MAX: usize = 16;

pub(crate) static TABLES: [Table; 1] = [Table {
    name: "KillEvent",
    columns: &COLUMNS,
    defaulted: &[("ingestedAt", "timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP")],
    id: "EventId",
    key: &["EventId"],
    indexes: &[
        Index { name: "KillEvent_TimeStamp_idx", definition: "(\"TimeStamp\")" },
        Index { name: "KillEvent_battleAlbionId_idx", definition: "(\"battleAlbionId\")" },
        Index { name: "KillEvent_killerAlliance_idx", definition: "(\"killerAlliance\")" },
        Index { name: "KillEvent_victimAlliance_idx", definition: "(\"victimAlliance\")" },
        Index { name: "KillEvent_killerId_idx", definition: "(\"killerId\")" },
        Index { name: "KillEvent_victimId_idx", definition: "(\"victimId\")" },
    ],
    keeper: TableOwner::Others,
}];

static COLUMNS: [Column; 16] = [
    needed("EventId", Int8),
    needed("TimeStamp", TimestampMs),
    needed("TotalVictimKillFame", Int4),
    keep_on_update("battleAlbionId", Int8),
    needed("killerId", Varchar(ID_MAX)),
    needed("killerName", Varchar(NAME_MAX)),
    optional("killerGuild", Varchar(GUILD_MAX)),
    optional("killerAlliance", Varchar(ALLIANCE_MAX)),
    needed("killerAvgIP", Float8),
    needed("victimId", Varchar(ID_MAX)),
    needed("victimName", Varchar(NAME_MAX)),
    optional("victimGuild", Varchar(GUILD_MAX)),
    optional("victimAlliance", Varchar(ALLIANCE_MAX)),
    needed("victimAvgIP", Float8),
    optional("killerEquipment", Jsonb),
    optional("victimEquipment", Jsonb),
];

/// Converts events to rows.
#[derive(Debug)]
pub(crate) struct AegisEncoder {
    nul: NulPolicy,
    /// Battles of the segment's events so far, for [`DuplicatePolicy::KeepLast`]. If the last event of an id names no
    /// battle, it keeps that of an earlier one, as if each event were stored in a segment of its own.
    battles: Option<HashMap<i64, Named>>,
}

/// A battle that an event named.
#[derive(Debug, Clone, Copy)]
struct Named {
    battle: i64,
    /// The index of the event in the rows. The event may have been removed since, together with its line.
    event: usize,
}

impl AegisEncoder {
    pub(crate) fn new(nul: NulPolicy, repeats: DuplicatePolicy) -> Self {
        let battles = match repeats {
            DuplicatePolicy::KeepFirst => None,
            DuplicatePolicy::KeepLast => Some(HashMap::new()),
        };
        Self { nul, battles }
    }

    /// Appends the row of an event, or fails if a value does not fit its column.
    pub(crate) fn encode(&mut self, event: &Event<'_>, rows: &mut Rows) -> Result<(), Fault> {
        let fame = i32::try_from(event.fame).map_err(|_| {
            Fault::from(FaultKind::IntegerExceedsColumn { bits: 32 }).within("TotalVictimKillFame")
        })?;
        let killer = self.checked(&event.killer).map_err(|fault| fault.within("Killer"))?;
        let victim = self.checked(&event.victim).map_err(|fault| fault.within("Victim"))?;
        let battle = self.battle(event, rows);
        rows.note_battle(battle);
        let mut row = Row::begin(rows.table(KILL_EVENT), &COLUMNS);
        row.int8(event.event_id);
        // A `timestamp(3)` has the format of `timestamptz`.
        row.timestamptz(event.occurred_at_us.div_euclid(1000) * 1000);
        row.int4(fame);
        row.optional(battle, Row::int8);
        player_fields(&event.killer, &mut row);
        player_fields(&event.victim, &mut row);
        row.optional(killer.as_deref(), Row::jsonb);
        row.optional(victim.as_deref(), Row::jsonb);
        row.end();
        rows.end_event(event.event_id, event.occurred_at_us);
        Ok(())
    }

    /// Checks the text lengths of a player and returns the equipment.
    fn checked<'a>(&self, player: &Player<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
        fits("Id", Some(&player.id), ID_MAX)?;
        fits("Name", player.name.as_deref(), NAME_MAX)?;
        fits("GuildName", player.guild_name.as_deref(), GUILD_MAX)?;
        fits("AllianceName", player.alliance_name.as_deref(), ALLIANCE_MAX)?;
        let equipment = player.equipment_text.map(|text| document(text, player.equipment_plain, self.nul));
        equipment.transpose().map_err(|fault| fault.within("Equipment"))
    }

    /// Returns the battle of the event that is added next.
    fn battle(&mut self, event: &Event<'_>, rows: &Rows) -> Option<i64> {
        let Some(battles) = &mut self.battles else { return event.battle_id };
        let (id, before) = (event.event_id, rows.events());
        if let Some(battle) = event.battle_id {
            battles.insert(id, Named { battle, event: before.len() });
        } else if battles.get(&id).is_some_and(|named| before.get(named.event).is_none_or(|at| at.id != id)) {
            battles.remove(&id);
        }
        battles.get(&id).map(|named| named.battle)
    }
}

fn player_fields(player: &Player<'_>, row: &mut Row<'_>) {
    row.text(&player.id);
    // The parser rejects a killer or victim without a name.
    row.text(player.name.as_deref().unwrap_or_default());
    row.optional(player.guild_name.as_deref(), Row::text);
    row.optional(player.alliance_name.as_deref(), Row::text);
    row.float8(player.item_power.unwrap_or_default());
}

/// Checks the length of a text. PostgreSQL counts characters, and a text has at most as many characters as bytes.
fn fits(field: &str, text: Option<&str>, characters_max: usize) -> Result<(), Fault> {
    match text {
        Some(text) if text.len() > characters_max && text.chars().count() > characters_max => {
            Err(Fault::from(FaultKind::TextExceedsColumn(characters_max)).within(field))
        }
        _ => Ok(()),
    }
}
