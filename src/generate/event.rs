//! Writes an event as a line of JSON, with the fields in the order of the game's API.

use crate::generate::cast::{Cast, Seat};
use crate::generate::chance::{Wheel, permille, skewed};
use crate::generate::clock::Clock;
use crate::generate::gearing::{NOTHING_ELSE, Outfitter};
use crate::generate::items::Era;
use crate::generate::population::{PlayerIndex, Population, Spelling};
use crate::generate::souls::Souls;
use crate::generate::text;
use fastrand::Rng;
use std::ops::Range;

/// The end of every player record: zeros, as the API sends them with events.
const STATISTICS: &str = concat!(
    r#","LifetimeStatistics":{"PvE":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0,"Hellgate":0,"CorruptedDungeon":0,"#,
    r#""Mists":0},"Gathering":{"Fiber":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"Hide":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0},"Ore":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"Rock":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0},"Wood":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"All":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0}},"Crafting":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"CrystalLeague":0,"#,
    r#""FishingFame":0,"FarmingFame":0,"Timestamp":null}"#,
);
const STATISTICS_2020: &str = concat!(
    r#","LifetimeStatistics":{"PvE":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0,"Hellgate":0,"CorruptedDungeon":0},"#,
    r#""Gathering":{"Fiber":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"Hide":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0},"Ore":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"Rock":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0},"Wood":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"All":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0}},"Crafting":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"CrystalLeague":0,"#,
    r#""Timestamp":null}"#,
);

/// Minimum and maximum total fame, and the number of events in that range per 1,000: the measured quantiles.
const FAMES: [((u64, u64), u32); 8] = [
    ((0, 1), 14),
    ((30, 1_440), 36),
    ((1_440, 9_528), 200),
    ((9_528, 27_330), 250),
    ((27_330, 88_053), 250),
    ((88_053, 207_516), 150),
    ((207_516, 1_500_000), 88),
    ((1_500_000, 7_000_000), 12),
];

/// The notation of fields that are floats in the game. Captured dumps differ.
#[derive(Clone, Copy)]
enum Numbers {
    /// `0.00` for ratios and `0.0` for other floats, as in the API.
    Padded,
    /// `0.0` for all floats.
    Short,
    /// `0` for whole numbers, as intermediate tools write them.
    Whole,
}

impl Numbers {
    fn zero(self) -> &'static [u8] {
        match self {
            Self::Padded | Self::Short => b"0.0",
            Self::Whole => b"0",
        }
    }

    /// The text after the digits of a whole ratio.
    fn ratio_tail(self) -> &'static [u8] {
        match self {
            Self::Padded => b".00",
            Self::Short => b".0",
            Self::Whole => b"",
        }
    }
}

/// Properties shared by all players of one event.
#[derive(Clone, Copy)]
struct Style {
    era: Era,
    numbers: Numbers,
    spelling: Spelling,
}

/// Writes one event after another.
pub(crate) struct EventWriter {
    rng: Rng,
    population: Population,
    outfitter: Outfitter,
    clock: Clock,
    cast: Cast,
    numbers: Wheel<Numbers>,
    fames: Wheel<(u64, u64)>,
    /// The range of each group member's main hand in the buffer, once written.
    hands: Vec<Option<Range<usize>>>,
}

impl EventWriter {
    /// Creates a writer. The same seed produces the same events.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let population = Population::new(&mut rng);
        let souls = Souls::new(&mut rng, &population);
        Self {
            rng,
            population,
            outfitter: Outfitter::new(souls),
            clock: Clock::new(),
            cast: Cast::new(),
            numbers: Wheel::new([(Numbers::Padded, 83), (Numbers::Short, 12), (Numbers::Whole, 5)]),
            fames: Wheel::new(FAMES),
            hands: Vec::new(),
        }
    }

    /// Appends the next event and its line feed.
    pub(crate) fn append(&mut self, buffer: &mut Vec<u8>) {
        self.clock.advance(&mut self.rng);
        self.cast.draw(&mut self.rng, &self.population, self.clock.event_id());
        let style = self.style();
        let (low, high) = self.fames.pick(&mut self.rng);
        let fame = self.rng.u64(low..high);
        let group = self.cast.group.len() as u64;
        let share = fame / group;

        self.push_head(buffer);
        buffer.extend_from_slice(br#","Version":4,"Killer":"#);
        let killer_body = self.push_killer(buffer, style, share);
        buffer.extend_from_slice(br#","Victim":"#);
        self.push_victim(buffer, style, fame);
        buffer.extend_from_slice(br#","TotalVictimKillFame":"#);
        text::push_u64(buffer, fame);
        buffer.extend_from_slice(br#","Location":null,"Participants":["#);
        self.push_participants(buffer, style, &killer_body);
        buffer.extend_from_slice(br#"],"GroupMembers":["#);
        self.push_group(buffer, style, share);
        buffer.extend_from_slice(br#"],"GvGMatch":null,"BattleId":"#);
        text::push_u64(buffer, self.cast.battle_id);
        buffer.extend_from_slice(match style.era {
            Era::Now => br#","KillArea":"OPEN_WORLD","Category":null,"Type":"KILL""#,
            Era::Year2020 => br#","KillArea":"OPEN_WORLD","Type":"KILL""#,
        });
        if style.era == Era::Now && permille(&mut self.rng, 12) {
            self.push_loot_value(buffer);
        }
        buffer.extend_from_slice(b"}\n");
    }

    fn style(&mut self) -> Style {
        let rng = &mut self.rng;
        Style {
            era: if permille(rng, 30) { Era::Year2020 } else { Era::Now },
            numbers: self.numbers.pick(rng),
            spelling: if permille(rng, 125) { Spelling::Escaped } else { Spelling::Plain },
        }
    }

    /// Appends the counts, in either order, the id and the time.
    fn push_head(&mut self, buffer: &mut Vec<u8>) {
        let counts = [
            (br#""groupMemberCount":"#.as_slice(), self.cast.group.len() as u64),
            (br#""numberOfParticipants":"#.as_slice(), self.cast.participants.len() as u64),
        ];
        let first = usize::from(permille(&mut self.rng, 360));
        buffer.push(b'{');
        for (key, count) in [counts[first], counts[1 - first]] {
            buffer.extend_from_slice(key);
            text::push_u64(buffer, count);
            buffer.push(b',');
        }
        buffer.extend_from_slice(br#""EventId":"#);
        text::push_u64(buffer, self.clock.event_id());
        buffer.extend_from_slice(br#","TimeStamp":""#);
        self.clock.push_time(buffer);
        buffer.push(b'"');
    }

    /// Appends the killer and returns the range from the brace to the inventory, which the killer's participant record
    /// shares.
    fn push_killer(&mut self, buffer: &mut Vec<u8>, style: Style, share: u64) -> Range<usize> {
        let start = buffer.len();
        let hand = self.outfitter.push_attacker(buffer, &mut self.rng, style.era);
        let body = start..buffer.len();
        self.hands.clear();
        self.hands.resize(self.cast.group.len(), None);
        self.hands[0] = Some(hand);
        self.push_person(buffer, style, self.cast.group[0], [0, share]);
        buffer.push(b'}');
        body
    }

    fn push_victim(&mut self, buffer: &mut Vec<u8>, style: Style, fame: u64) {
        self.outfitter.push_victim(buffer, &mut self.rng, style.era, style.numbers.zero());
        self.push_person(buffer, style, self.cast.victim, [fame, 0]);
        buffer.push(b'}');
    }

    fn push_participants(&mut self, buffer: &mut Vec<u8>, style: Style, killer_body: &Range<usize>) {
        for position in 0..self.cast.participants.len() {
            if position > 0 {
                buffer.push(b',');
            }
            let player = match self.cast.participants[position] {
                Seat::Member(0) => {
                    buffer.extend_from_within(killer_body.clone());
                    self.cast.group[0]
                }
                Seat::Member(member) => {
                    self.hands[member] = Some(self.push_participant_body(buffer, style));
                    self.cast.group[member]
                }
                Seat::Outsider(player) => {
                    self.push_participant_body(buffer, style);
                    player
                }
            };
            self.push_person(buffer, style, player, [0, 0]);
            buffer.extend_from_slice(br#","DamageDone":"#);
            self.push_amount(buffer, style, 150, 4_500);
            buffer.extend_from_slice(br#","SupportHealingDone":"#);
            self.push_amount(buffer, style, 750, 12_000);
            buffer.push(b'}');
        }
    }

    /// Appends the first part of a participant's record and returns the range of the main hand.
    fn push_participant_body(&mut self, buffer: &mut Vec<u8>, style: Style) -> Range<usize> {
        // Players who have left the game meanwhile are listed without equipment.
        if permille(&mut self.rng, 49) {
            return Outfitter::push_naked(buffer, style.numbers.zero());
        }
        self.outfitter.push_attacker(buffer, &mut self.rng, style.era)
    }

    fn push_group(&mut self, buffer: &mut Vec<u8>, style: Style, share: u64) {
        let size = self.cast.group.len();
        let first = self.rng.u32(..64) as usize;
        for position in 0..size {
            if position > 0 {
                buffer.push(b',');
            }
            let member = (first + position) % size;
            buffer.extend_from_slice(br#"{"AverageItemPower":"#);
            buffer.extend_from_slice(style.numbers.zero());
            buffer.extend_from_slice(br#","Equipment":{"MainHand":"#);
            match self.hands[member].take() {
                Some(hand) => buffer.extend_from_within(hand),
                None => self.outfitter.push_hand(buffer, &mut self.rng, style.era),
            }
            buffer.extend_from_slice(NOTHING_ELSE);
            buffer.extend_from_slice(b"[],");
            self.push_person(buffer, style, self.cast.group[member], [0, share]);
            buffer.push(b'}');
        }
    }

    /// Appends the fields of a player record from the name to the statistics. `fames` are those of deaths and of kills.
    fn push_person(&mut self, buffer: &mut Vec<u8>, style: Style, player: PlayerIndex, fames: [u64; 2]) {
        let [death_fame, kill_fame] = fames;
        buffer.extend_from_slice(self.population.player(player).identity(style.spelling));
        text::push_u64(buffer, death_fame);
        buffer.extend_from_slice(br#","KillFame":"#);
        text::push_u64(buffer, kill_fame);
        buffer.extend_from_slice(br#","FameRatio":"#);
        // The game's float is sometimes a hundredth too low.
        if kill_fame > 50_000 && permille(&mut self.rng, 50) {
            text::push_u64(buffer, kill_fame * 10 - 1);
            buffer.extend_from_slice(b".99");
        } else {
            text::push_u64(buffer, kill_fame * 10);
            buffer.extend_from_slice(style.numbers.ratio_tail());
        }
        buffer.extend_from_slice(match style.era {
            Era::Now => STATISTICS.as_bytes(),
            Era::Year2020 => STATISTICS_2020.as_bytes(),
        });
    }

    /// Appends damage or healing: zero in `zero_permille` of 1,000, usually whole, rarely with up to 18 decimals.
    fn push_amount(&mut self, buffer: &mut Vec<u8>, style: Style, zero_permille: u32, limit: u32) {
        let rng = &mut self.rng;
        if permille(rng, zero_permille) {
            buffer.extend_from_slice(style.numbers.zero());
            return;
        }
        text::push_u64(buffer, u64::from(skewed(rng, limit)));
        match rng.u32(..400) {
            0 => {
                buffer.push(b'.');
                let digits = rng.u32(12..=18) as usize;
                text::push_padded(buffer, rng.u64(..), digits);
            }
            1..24 => {
                buffer.push(b'.');
                let digits = rng.u32(1..=6) as usize;
                text::push_padded(buffer, rng.u64(..), digits);
            }
            _ => buffer.extend_from_slice(match style.numbers {
                Numbers::Padded | Numbers::Short => b".0",
                Numbers::Whole => b"",
            }),
        }
    }

    /// Appends the field that one bot adds to stored events.
    fn push_loot_value(&mut self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(br#","lootValue":{"equipment":"#);
        text::push_u64(buffer, u64::from(skewed(&mut self.rng, 40_000_000)));
        buffer.extend_from_slice(br#","inventory":"#);
        text::push_u64(buffer, u64::from(skewed(&mut self.rng, 5_000_000)));
        buffer.push(b'}');
    }
}
