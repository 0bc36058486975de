//! The players with their guilds and alliances. Each player's part of the JSON is rendered once.
//!
//! Players of a guild are adjacent, allied guilds are adjacent, and players without a guild come last. A group is
//! therefore a range of neighbours: mostly one guild and some allies. Low indices are popular.
//!
//! Names are invented and have the lengths of the game: players have 3 to 16 characters, guilds up to about 28,
//! alliance tags 2 to 5.

use crate::generate::chance::{WordTable, one_of, one_of_skewed, permille, skewed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::ops::Range;
use uuid::{Builder, Uuid};

/// Number of guilds, and of players without a guild.
const GUILDS: u32 = 300;
const GUILDLESS: u32 = 1400;

static STARTS: WordTable = WordTable::of(
    "Bra Cor Dru Ela Fen Gar Hol Ixa Jor Kav Lum Mor Nex Oru Pyr Qua Rav Sol Tor Ulf Vex Wyn Xan Yor Zed Ash Bo Cy \
    Da Ek Fy Gi Ha Ka Le Mi No Ra Su Ty",
);
static MIDDLES: WordTable =
    WordTable::of("ba di go li mo na pe ri sha to va zu lo mi ke ro an el in or us ta no le");
static ENDS: WordTable =
    WordTable::of("n r s x th k m l dor wyn mar rik gas los tar ven o a i ny zz rk ft sh");
static ACCENTED: WordTable =
    WordTable::of("Ñand Él Çel Łow Öst João Zoë Niño Mül René Åke Sør Draž Kılı Чёр Вол");
static IDEOGRAPHS: WordTable =
    WordTable::of("龙 影 剑 风 雪 月 夜 星 炎 狼 白 黑 天 魔 神 王 さくら の カゲ 바람 검 별 𠮷 霜");
static GUILD_FIRST: WordTable = WordTable::of(
    "Ashen Iron Crimson Silent Golden Broken Northern Hollow Emerald Wandering Burning Last Frost Shadow Royal Lost \
    Wild Grim Salty Drunken Sleepy Eternal Black White Rusty Storm Sunken Thorn Mist Blood Stone Night Dawn Old \
    Quiet Swift",
);
static GUILD_SECOND: WordTable = WordTable::of(
    "Ravens Order Wolves Company Banner Harvest Legion Lanterns Oath Kin Gate Pact Foxes Hounds Anvil Tide Crown \
    Watch Circle Nomads Smugglers Monks Gankers Farmers Carebears Bandits Hand Sons Daughters Exiles Roads Keep \
    Embers Saints Goats Pilgrims",
);
/// With `_` instead of spaces.
static GUILD_FOREIGN: WordTable = WordTable::of(
    "Ordem_do_Dragão La_Légion_d'Été Große_Wächter Białe_Wilki Ночной_Дозор 龙之传说 月影騎士団 북풍의_검",
);
const TAG_LETTERS: &[u8; 32] = b"ABCDEFGHIKLMNOPRSTUVWXYZ01234579";

static AVATARS: WordTable = WordTable::of(
    "AVATAR_01*12 AVATAR_HARVESTER_01*11 AVATAR_11*10 AVATAR_05*8 AVATAR_AJ_ECONOMY_01*7 AVATAR_AJ_PVP_01*7 \
    GVGSEASON_23_GOLD*6 AVATAR_MORGANA_01*5 AVATAR_ANNIVERSARY_2024*5 AVATAR_AJ_EXPLORATION_01*4 \
    AVATAR_WOLF_01*4 AVATAR_07*4 AVATAR_AJ_PVE_01*4 AVATAR_09*4 AVATAR_FOUNDER_EUROPE_GOLD_LIGHT*7 \
    AVATAR_FAMERANK_04*3 AVATAR_FAMERANK_02*3 AVATAR_BEAR_01*2 GVGSEASON_20_SILVER*2 AVATAR_MIST*2",
);
static RINGS: WordTable = WordTable::of(
    "RING1*26 AVATARRING_ADC_JUL2019*10 AVATARRING_ADC_MAY2019*7 AVATARRING_ADC_JUN2019*6 \
    AVATARRING_ADC_AUG2019*6 AVATARRING_AJ_EXPLORATION_01*6 AVATARRING_ANNIVERSARY_2024*5 \
    AVATARRING_FOUNDER_EUROPE_GOLD_DARK*8 AVATARRING_FOUNDER_EUROPE_CRYSTAL_LIGHT*7 \
    AVATARRING_ADC_TOKENLOCKED_FIRE*4 AVATARRING_AJ_ECONOMY_01*4 AVATARRING_ARENA_GOLD1*4 \
    RING_GVGSEASONREWARD_1ST*4 RING_GVGSEASONREWARD_CRYSTAL*3",
);

/// An index into a population's players.
pub(crate) type PlayerIndex = u32;

pub(crate) struct GeneratedPlayer {
    /// The game's id. The JSON contains it in URL-safe base64.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// `"Name":…` to `"DeathFame":`.
    pub(crate) identity: String,
}

/// All players of a dump.
pub(crate) struct Population {
    players: Vec<GeneratedPlayer>,
    guilds: Vec<Range<PlayerIndex>>,
    /// The index of the first player without a guild.
    guildless_start: PlayerIndex,
}

impl Population {
    /// Makes the players. This is the only expensive step and takes a few milliseconds.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut taken = BTreeSet::new();
        let (mut players, mut guilds) = (Vec::new(), Vec::new());
        let mut alliance = Association::default();
        let (mut guilds_until_next_alliance, mut next) = (0, 0);
        for rank in 0..GUILDS {
            if guilds_until_next_alliance == 0 {
                guilds_until_next_alliance = rng.u32(1..=4);
                let is_allied = permille(rng, 450);
                alliance = if is_allied { association(rng, &mut taken, tag) } else { Association::default() };
            }
            guilds_until_next_alliance -= 1;
            let guild = association(rng, &mut taken, guild_name);
            let members = 6 + 720 / (8 + rank);
            players.extend((0..members).map(|_| player(rng, &mut taken, &guild, &alliance)));
            guilds.push(next..next + members);
            next += members;
        }
        let none = Association::default();
        players.extend((0..GUILDLESS).map(|_| player(rng, &mut taken, &none, &none)));
        Self { players, guilds, guildless_start: next }
    }

    pub(crate) fn player(&self, index: PlayerIndex) -> &GeneratedPlayer {
        &self.players[index as usize]
    }

    /// Draws a player, with a preference for popular guilds and members. `guildless_permille` of 1,000 have no guild.
    pub(crate) fn pick(&self, rng: &mut Rng, guildless_permille: u32) -> PlayerIndex {
        if permille(rng, guildless_permille) {
            return self.guildless_start + skewed(rng, GUILDLESS);
        }
        let guild = one_of_skewed(rng, &self.guilds);
        guild.start + skewed(rng, guild.end - guild.start)
    }

    /// The player `steps` places after another. Guild members and players without a guild wrap around separately.
    pub(crate) fn neighbour(&self, player: PlayerIndex, steps: u32) -> PlayerIndex {
        let start = self.guildless_start;
        if player < start { (player + steps) % start } else { start + (player - start + steps) % GUILDLESS }
    }
}

/// Name and id of a guild or an alliance, empty for players without one.
type Association = [String; 2];
type Taken = BTreeSet<String>;

fn association(rng: &mut Rng, taken: &mut Taken, make: impl Fn(&mut Rng) -> String) -> Association {
    [fresh(rng, taken, make), URL_SAFE_NO_PAD.encode(uuid(rng))]
}

fn player(rng: &mut Rng, taken: &mut Taken, guild: &Association, alliance: &Association) -> GeneratedPlayer {
    let name = fresh(rng, taken, player_name);
    let id = uuid(rng);
    let mut identity = String::new();
    for (key, value) in [
        ("Name", name.as_str()),
        ("Id", &URL_SAFE_NO_PAD.encode(id)),
        ("GuildName", &guild[0]),
        ("GuildId", &guild[1]),
        ("AllianceName", &alliance[0]),
        ("AllianceId", &alliance[1]),
        ("AllianceTag", ""),
        ("Avatar", AVATARS.pick(rng)),
        ("AvatarRing", RINGS.pick(rng)),
    ] {
        identity.extend(["\"", key, "\":\"", value, "\","]);
    }
    identity.push_str("\"DeathFame\":");
    GeneratedPlayer { id, name, identity }
}

/// Draws a version 4 UUID, like the ids of the game.
pub(crate) fn uuid(rng: &mut Rng) -> Uuid {
    Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid()
}

/// Makes a name that is not in use, with digits appended if necessary.
fn fresh(rng: &mut Rng, taken: &mut Taken, make: impl Fn(&mut Rng) -> String) -> String {
    let mut name = make(rng);
    while !taken.insert(name.clone()) {
        name = make(rng);
        name.push(char::from(*one_of(rng, b"0123456789")));
    }
    name
}

/// Makes a player's name. About 3 in 100 contain characters outside ASCII.
fn player_name(rng: &mut Rng) -> String {
    if permille(rng, 30) {
        if permille(rng, 400) {
            return [*ACCENTED.pick(rng), ENDS.pick(rng)].concat();
        }
        let parts = rng.u32(2..=4);
        return (0..parts).map(|_| *IDEOGRAPHS.pick(rng)).collect();
    }
    let mut name = String::from(*STARTS.pick(rng));
    for share in [450, 150] {
        if permille(rng, share) {
            name.push_str(MIDDLES.pick(rng));
        }
    }
    name.push_str(ENDS.pick(rng));
    if permille(rng, 120) {
        name.extend([*STARTS.pick(rng), ENDS.pick(rng)]);
    }
    if permille(rng, 200) {
        name.push_str(&rng.u32(1..2010).to_string());
    }
    match rng.u32(..10) {
        0 => name.to_lowercase(),
        1 => format!("x{name}x"),
        _ => name,
    }
}

/// Makes a guild's name: mostly two words, a few outside ASCII.
fn guild_name(rng: &mut Rng) -> String {
    if permille(rng, 30) {
        return GUILD_FOREIGN.pick(rng).replace('_', " ");
    }
    let (first, second) = (GUILD_FIRST.pick(rng), GUILD_SECOND.pick(rng));
    match rng.u32(..10) {
        0 => format!("The {first} {second}"),
        1 => format!("{first} {second} Academy"),
        2 | 3 => String::from(*second),
        4 => format!("{first}_{second}"),
        _ => format!("{first} {second}"),
    }
}

/// Makes an alliance's tag of 2 to 5 capital letters and digits.
fn tag(rng: &mut Rng) -> String {
    let letters = rng.u32(2..=5);
    (0..letters).map(|_| char::from(*one_of(rng, TAG_LETTERS))).collect()
}
