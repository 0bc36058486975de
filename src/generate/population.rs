//! The players with their guilds and alliances. Each player's part of the JSON is rendered once.
//!
//! Players of a guild are adjacent, allied guilds are adjacent, and players without a guild come last. A group is
//! therefore a range of neighbours: mostly one guild and some allies. Low indices are popular.

use crate::generate::chance::{Wheel, one_of, permille, skewed, uuid_bytes};
use crate::generate::{names, text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::ops::Range;

/// Number of guilds, and of players without a guild, in a population.
const GUILDS: u32 = 300;
const GUILDLESS: u32 = 1400;

const AVATARS: [(&str, u32); 20] = [
    ("AVATAR_01", 12),
    ("AVATAR_HARVESTER_01", 11),
    ("AVATAR_11", 10),
    ("AVATAR_05", 8),
    ("AVATAR_AJ_ECONOMY_01", 7),
    ("AVATAR_AJ_PVP_01", 7),
    ("GVGSEASON_23_GOLD", 6),
    ("AVATAR_MORGANA_01", 5),
    ("AVATAR_ANNIVERSARY_2024", 5),
    ("AVATAR_AJ_EXPLORATION_01", 4),
    ("AVATAR_WOLF_01", 4),
    ("AVATAR_07", 4),
    ("AVATAR_AJ_PVE_01", 4),
    ("AVATAR_09", 4),
    ("AVATAR_FOUNDER_EUROPE_GOLD_LIGHT", 7),
    ("AVATAR_FAMERANK_04", 3),
    ("AVATAR_FAMERANK_02", 3),
    ("AVATAR_BEAR_01", 2),
    ("GVGSEASON_20_SILVER", 2),
    ("AVATAR_MIST", 2),
];
const AVATAR_RINGS: [(&str, u32); 14] = [
    ("RING1", 26),
    ("AVATARRING_ADC_JUL2019", 10),
    ("AVATARRING_ADC_MAY2019", 7),
    ("AVATARRING_ADC_JUN2019", 6),
    ("AVATARRING_ADC_AUG2019", 6),
    ("AVATARRING_AJ_EXPLORATION_01", 6),
    ("AVATARRING_ANNIVERSARY_2024", 5),
    ("AVATARRING_FOUNDER_EUROPE_GOLD_DARK", 8),
    ("AVATARRING_FOUNDER_EUROPE_CRYSTAL_LIGHT", 7),
    ("AVATARRING_ADC_TOKENLOCKED_FIRE", 4),
    ("AVATARRING_AJ_ECONOMY_01", 4),
    ("AVATARRING_ARENA_GOLD1", 4),
    ("RING_GVGSEASONREWARD_1ST", 4),
    ("RING_GVGSEASONREWARD_CRYSTAL", 3),
];

/// An index into a population's players.
pub(crate) type PlayerIndex = u32;

/// One player.
pub(crate) struct GeneratedPlayer {
    /// The game's id. The JSON contains it in URL-safe base64.
    pub(crate) id: [u8; 16],
    /// The name as the game shows it.
    pub(crate) name: String,
    /// `"Name":…` to `"DeathFame":`, with characters outside ASCII in UTF-8.
    plain: Vec<u8>,
    /// The same with `\uXXXX` instead of characters outside ASCII. Empty if there are none.
    escaped: Vec<u8>,
}

impl GeneratedPlayer {
    /// `"Name":…` to `"DeathFame":`. A JSON parser reads both spellings as the same text.
    pub(crate) fn identity(&self, spelling: Spelling) -> &[u8] {
        match spelling {
            Spelling::Escaped if !self.escaped.is_empty() => &self.escaped,
            Spelling::Escaped | Spelling::Plain => &self.plain,
        }
    }
}

/// The spelling of characters outside ASCII in an event.
#[derive(Clone, Copy)]
pub(crate) enum Spelling {
    /// As UTF-8.
    Plain,
    /// As `\uXXXX`.
    Escaped,
}

/// All players of a dump.
pub(crate) struct Population {
    players: Vec<GeneratedPlayer>,
    guilds: Vec<Range<PlayerIndex>>,
    /// The index of the first player without a guild.
    guildless_start: PlayerIndex,
    size: u32,
}

impl Population {
    /// Makes the players. This is the only expensive step and takes a few milliseconds.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut builder = Builder::new();
        let mut guilds = Vec::new();
        let mut alliance = Alliance::none();
        let mut guilds_until_next_alliance = 0;
        let mut next = 0;
        for rank in 0..GUILDS {
            if guilds_until_next_alliance == 0 {
                guilds_until_next_alliance = rng.u32(1..=4);
                alliance = if permille(rng, 450) { builder.alliance(rng) } else { Alliance::none() };
            }
            guilds_until_next_alliance -= 1;
            let guild = builder.guild(rng);
            let members = 6 + 720 / (8 + rank);
            for _ in 0..members {
                builder.player(rng, &guild, &alliance);
            }
            guilds.push(next..next + members);
            next += members;
        }
        let outside = Guild { name: String::new(), id: String::new() };
        for _ in 0..GUILDLESS {
            builder.player(rng, &outside, &Alliance::none());
        }
        Self { players: builder.players, guilds, guildless_start: next, size: next + GUILDLESS }
    }

    pub(crate) fn player(&self, index: PlayerIndex) -> &GeneratedPlayer {
        &self.players[index as usize]
    }

    /// Draws a player, with a preference for popular guilds and members. `guildless_permille` of 1,000 have no guild.
    pub(crate) fn pick(&self, rng: &mut Rng, guildless_permille: u32) -> PlayerIndex {
        if permille(rng, guildless_permille) {
            return self.guildless_start + skewed(rng, GUILDLESS);
        }
        let guild = &self.guilds[skewed(rng, GUILDS) as usize];
        guild.start + skewed(rng, guild.end - guild.start)
    }

    /// The player `steps` places after another. Guild members and players without a guild wrap around separately.
    pub(crate) fn neighbour(&self, player: PlayerIndex, steps: u32) -> PlayerIndex {
        if player < self.guildless_start {
            (player + steps) % self.guildless_start
        } else {
            self.guildless_start
                + (player - self.guildless_start + steps) % (self.size - self.guildless_start)
        }
    }
}

struct Guild {
    name: String,
    id: String,
}

struct Alliance {
    tag: String,
    id: String,
}

impl Alliance {
    fn none() -> Self {
        Self { tag: String::new(), id: String::new() }
    }
}

/// Makes players with unique names, guilds and alliances.
struct Builder {
    players: Vec<GeneratedPlayer>,
    taken: BTreeSet<String>,
    avatars: Wheel<&'static str>,
    rings: Wheel<&'static str>,
}

impl Builder {
    fn new() -> Self {
        Self {
            players: Vec::new(),
            taken: BTreeSet::new(),
            avatars: Wheel::new(AVATARS),
            rings: Wheel::new(AVATAR_RINGS),
        }
    }

    fn guild(&mut self, rng: &mut Rng) -> Guild {
        let name = self.fresh(rng, names::guild);
        Guild { name, id: encode(uuid_bytes(rng)) }
    }

    fn alliance(&mut self, rng: &mut Rng) -> Alliance {
        let tag = self.fresh(rng, names::tag);
        Alliance { tag, id: encode(uuid_bytes(rng)) }
    }

    fn player(&mut self, rng: &mut Rng, guild: &Guild, alliance: &Alliance) {
        let name = self.fresh(rng, names::player);
        let id = uuid_bytes(rng);
        let mut plain = String::new();
        let parts = [
            ("Name", name.as_str()),
            ("Id", &encode(id)),
            ("GuildName", &guild.name),
            ("GuildId", &guild.id),
            ("AllianceName", &alliance.tag),
            ("AllianceId", &alliance.id),
            ("AllianceTag", ""),
            ("Avatar", self.avatars.pick(rng)),
            ("AvatarRing", self.rings.pick(rng)),
        ];
        for (key, value) in parts {
            plain.extend(["\"", key, "\":\"", value, "\","]);
        }
        plain.push_str("\"DeathFame\":");
        let mut escaped = Vec::new();
        if !plain.is_ascii() {
            text::push_escaped(&mut escaped, &plain);
        }
        self.players.push(GeneratedPlayer { id, name, plain: plain.into_bytes(), escaped });
    }

    /// Makes a name that is not in use, with digits appended if necessary.
    fn fresh(&mut self, rng: &mut Rng, make: impl Fn(&mut Rng) -> String) -> String {
        let mut name = make(rng);
        while !self.taken.insert(name.clone()) {
            name = make(rng);
            name.push(char::from(*one_of(rng, b"0123456789")));
        }
        name
    }
}

fn encode(id: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(id)
}
