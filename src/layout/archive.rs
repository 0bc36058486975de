//! The layout `archive`: one row per event, one per player and event, and one per item that the victim lost.

use crate::event::kill_event::{Event, FOOD, Item, MAIN_HAND, POTION, Player};
use crate::event::server::Server;
use crate::layout::copy::Row;
use crate::layout::ddl::ROLES;
use crate::layout::rows::Rows;
use crate::layout::table::ColumnType::{
    Bool, Float8, Id, Int2, Int4, Int8, Jsonb, Role, Server as ServerName, Text, Timestamptz,
};
use crate::layout::table::{Column, Index, Table, TableOwner, needed, optional};

const EVENT: usize = 0;
const PLAYER: usize = 1;
const LOOT: usize = 2;

pub(crate) static TABLES: [Table; 3] = [
    Table {
        name: "kill_event",
        columns: &EVENT_COLUMNS,
        defaulted: &[("loaded_at", "timestamptz NOT NULL DEFAULT now()")],
        id: "event_id",
        key: &["server", "event_id"],
        indexes: &[
            // Newest kills of a server. INCLUDE (fame) also serves the top fame since a time.
            Index { name: "kill_event_newest", definition: "(server, occurred_at) INCLUDE (fame)" },
            // Kills and deaths of a player, newest first. Servers do not share player ids.
            Index { name: "kill_event_killer", definition: "(killer_id, occurred_at)" },
            Index { name: "kill_event_victim", definition: "(victim_id, occurred_at)" },
            // Kills of a battle.
            Index { name: "kill_event_battle", definition: "(battle_id)" },
        ],
        keeper: TableOwner::Us,
    },
    Table {
        name: "kill_player",
        columns: &PLAYER_COLUMNS,
        defaulted: &[],
        id: "event_id",
        key: &["server", "event_id", "player_id"],
        indexes: &[
            // Kills of a guild. Only one row per event has this role, so the index has a fifth of its full size.
            Index {
                name: "kill_player_guild_kills",
                definition: "(guild_id, event_id) WHERE role = 'killer'",
            },
            // Deaths of a guild, kills and deaths of an alliance. Players without a guild or alliance have no entry.
            Index {
                name: "kill_player_guild_deaths",
                definition: "(guild_id, event_id) WHERE role = 'victim' AND guild_id IS NOT NULL",
            },
            Index {
                name: "kill_player_alliance_kills",
                definition: "(alliance_id, event_id) WHERE role = 'killer' AND alliance_id IS NOT NULL",
            },
            Index {
                name: "kill_player_alliance_deaths",
                definition: "(alliance_id, event_id) WHERE role = 'victim' AND alliance_id IS NOT NULL",
            },
        ],
        keeper: TableOwner::Us,
    },
    Table {
        name: "kill_loot",
        columns: &LOOT_COLUMNS,
        defaulted: &[],
        id: "event_id",
        key: &["server", "event_id", "slot"],
        indexes: &[],
        keeper: TableOwner::Us,
    },
];

static EVENT_COLUMNS: [Column; 15] = [
    needed("server", ServerName),
    needed("event_id", Int8),
    needed("occurred_at", Timestamptz),
    optional("battle_id", Int8),
    needed("fame", Int8),
    needed("killer_id", Id),
    needed("victim_id", Id),
    optional("participant_count", Int4),
    optional("group_size", Int4),
    optional("kill_area", Text),
    optional("category", Text),
    optional("kind", Text),
    optional("location", Text),
    optional("version", Int4),
    optional("gvg_match", Jsonb),
];

static PLAYER_COLUMNS: [Column; 38] = [
    needed("server", ServerName),
    needed("event_id", Int8),
    needed("player_id", Id),
    needed("role", Role),
    needed("in_group", Bool),
    optional("name", Text),
    optional("guild_id", Id),
    optional("guild_name", Text),
    optional("alliance_id", Id),
    optional("alliance_name", Text),
    optional("item_power", Float8),
    optional("kill_fame", Int8),
    optional("death_fame", Int8),
    optional("damage_done", Float8),
    optional("healing_done", Float8),
    optional("main_hand", Text),
    optional("main_hand_quality", Int2),
    optional("off_hand", Text),
    optional("off_hand_quality", Int2),
    optional("head", Text),
    optional("head_quality", Int2),
    optional("armor", Text),
    optional("armor_quality", Int2),
    optional("shoes", Text),
    optional("shoes_quality", Int2),
    optional("bag", Text),
    optional("bag_quality", Int2),
    optional("cape", Text),
    optional("cape_quality", Int2),
    optional("mount", Text),
    optional("mount_quality", Int2),
    optional("potion", Text),
    optional("potion_quality", Int2),
    optional("food", Text),
    optional("food_quality", Int2),
    optional("potion_count", Int4),
    optional("food_count", Int4),
    optional("main_hand_soul", Jsonb),
];

static LOOT_COLUMNS: [Column; 7] = [
    needed("server", ServerName),
    needed("event_id", Int8),
    needed("slot", Int2),
    optional("item", Text),
    optional("quality", Int2),
    optional("count", Int4),
    optional("soul", Jsonb),
];

/// Converts events to rows. It reuses its memory from event to event.
#[derive(Debug)]
pub(crate) struct ArchiveEncoder {
    server: Server,
    records: Vec<PlayerSource>,
}

/// The list that contains a record of a player, ordered from the richest to the poorest. The order is that of the
/// roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PlayerSource {
    Killer,
    Victim,
    Participant(usize),
    GroupMember(usize),
}

impl PlayerSource {
    fn of<'e, 'a>(self, event: &'e Event<'a>) -> &'e Player<'a> {
        match self {
            PlayerSource::Killer => &event.killer,
            PlayerSource::Victim => &event.victim,
            PlayerSource::Participant(index) => &event.participants[index],
            PlayerSource::GroupMember(index) => &event.group_members[index],
        }
    }

    fn role(self) -> &'static str {
        match self {
            PlayerSource::Killer => ROLES[0],
            PlayerSource::Victim => ROLES[1],
            PlayerSource::Participant(_) => ROLES[2],
            PlayerSource::GroupMember(_) => ROLES[3],
        }
    }
}

impl ArchiveEncoder {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, records: Vec::new() }
    }

    pub(crate) fn encode(&mut self, event: &Event<'_>, rows: &mut Rows) {
        self.event_row(event, rows.table(EVENT));
        self.player_rows(event, rows.table(PLAYER));
        self.loot_rows(event, rows.table(LOOT));
        rows.end_event(event.event_id, event.occurred_at_us);
    }

    fn event_row(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let mut row = Row::begin(out, &EVENT_COLUMNS);
        row.text(self.server.name());
        row.int8(event.event_id);
        row.timestamptz(event.occurred_at_us);
        row.optional(event.battle_id, Row::int8);
        row.int8(event.fame);
        row.text(&event.killer.id);
        row.text(&event.victim.id);
        row.optional(event.participant_count, Row::int4);
        row.optional(event.group_size, Row::int4);
        row.optional(event.kill_area.as_deref(), Row::text);
        row.optional(event.category.as_deref(), Row::text);
        row.optional(event.kind.as_deref(), Row::text);
        row.optional(event.location.as_deref(), Row::text);
        row.optional(event.version, Row::int4);
        row.optional(event.gvg_match.as_deref(), Row::jsonb);
        row.end();
    }

    /// Writes one row per player in order of id, which is the order of the key and keeps index insertion cheap.
    fn player_rows(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.records.clear();
        self.records.extend([PlayerSource::Killer, PlayerSource::Victim]);
        self.records.extend((0..event.participants.len()).map(PlayerSource::Participant));
        self.records.extend((0..event.group_members.len()).map(PlayerSource::GroupMember));
        self.records.sort_unstable_by(|a, b| (&a.of(event).id, a).cmp(&(&b.of(event).id, b)));
        for records in self.records.chunk_by(|a, b| a.of(event).id == b.of(event).id) {
            player_row(self.server, event, records, out);
        }
    }

    fn loot_rows(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        for (slot, item) in &event.loot {
            let mut row = Row::begin(out, &LOOT_COLUMNS);
            row.text(self.server.name());
            row.int8(event.event_id);
            row.int2(*slot);
            row.optional(item.kind.as_deref(), Row::text);
            row.optional(item.quality, Row::int2);
            row.optional(item.count, Row::int4);
            row.optional(item.soul.as_deref(), Row::jsonb);
            row.end();
        }
    }
}

/// Writes the row of one player. `records` are all records of the player in the event, the richest first.
fn player_row(server: Server, event: &Event<'_>, records: &[PlayerSource], out: &mut Vec<u8>) {
    let richest = records[0];
    let player = richest.of(event);
    let participant = records.iter().find(|record| matches!(record, PlayerSource::Participant(_)));
    let group_member = records.iter().find(|record| matches!(record, PlayerSource::GroupMember(_)));
    // Participants always have kill fame 0. The shares are in Killer and GroupMembers.
    let kill_fame = match (richest, group_member) {
        (PlayerSource::Participant(_), Some(member)) => member.of(event).kill_fame,
        _ => player.kill_fame,
    };
    // GroupMembers always have item power 0.
    let item_power = match richest {
        PlayerSource::GroupMember(_) => player.item_power.filter(|power| *power != 0.0),
        _ => player.item_power,
    };
    let mut row = Row::begin(out, &PLAYER_COLUMNS);
    row.text(server.name());
    row.int8(event.event_id);
    row.text(&player.id);
    row.text(richest.role());
    row.bool(group_member.is_some());
    row.optional(player.name.as_deref(), Row::text);
    row.optional(player.guild_id.as_deref(), Row::text);
    row.optional(player.guild_name.as_deref(), Row::text);
    row.optional(player.alliance_id.as_deref(), Row::text);
    row.optional(player.alliance_name.as_deref(), Row::text);
    row.optional(item_power, Row::float8);
    row.optional(kill_fame, Row::int8);
    row.optional(player.death_fame, Row::int8);
    row.optional(participant.and_then(|record| record.of(event).damage_done), Row::float8);
    row.optional(participant.and_then(|record| record.of(event).healing_done), Row::float8);
    equipment_fields(player, &mut row);
    row.end();
}

fn equipment_fields(player: &Player<'_>, row: &mut Row<'_>) {
    for item in &player.equipment {
        let item = item.as_ref();
        row.optional(item.and_then(|item| item.kind.as_deref()), Row::text);
        row.optional(item.and_then(|item| item.quality), Row::int2);
    }
    let slot = |slot: usize| -> Option<&Item<'_>> { player.equipment[slot].as_ref() };
    row.optional(slot(POTION).and_then(|item| item.count), Row::int4);
    row.optional(slot(FOOD).and_then(|item| item.count), Row::int4);
    row.optional(slot(MAIN_HAND).and_then(|item| item.soul.as_deref()), Row::jsonb);
}
