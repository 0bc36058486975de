//! Legendary souls, the objects that awakened weapons carry. A pool is rendered once, except for the gained fame.
//! Numbers exceed 2^39.

use crate::generate::chance::{one_of, permille, uuid_bytes};
use crate::generate::population::Population;
use crate::generate::text;
use fastrand::Rng;
use uuid::Uuid;

/// Number of awakened weapons in a dump.
const POOL: u32 = 192;

/// The largest number in a real soul is 571,997,723,623.
const FAME_MAX: u64 = 571_000_000_000;

/// Name, minimum and maximum of a trait, in billionths.
const TRAITS: [(&str, u64, u64); 8] = [
    ("TRAIT_ABILITY_DAMAGE", 1_650_000, 165_000_000),
    ("TRAIT_DEFENSE_BONUS", 1_400_000, 140_000_000),
    ("TRAIT_HITPOINTS_MAX", 2_600_000_000, 260_000_000_000),
    ("TRAIT_ITEM_POWER", 1_199_999_900, 120_000_000_000),
    ("TRAIT_HEALING_DEALT", 1_500_000, 150_000_000),
    ("TRAIT_CAST_SPEED_INCREASE", 2_500_000, 250_000_000),
    ("TRAIT_ENERGY_COST_REDUCTION", 2_399_999, 240_000_000),
    ("TRAIT_COOLDOWN_REDUCTION", 1_363_636, 136_363_630),
];
const WEAPONS: [&str; 10] = [
    "T6_2H_SHAPESHIFTER_SET2@4",
    "T6_MAIN_SWORD_CRYSTAL@4",
    "T4_2H_FIRESTAFF@4",
    "T4_MAIN_HOLYSTAFF_AVALON@4",
    "T5_2H_CLEAVER_HELL@4",
    "T4_2H_KNUCKLES_SET2@4",
    "T8_2H_BOW@4",
    "T5_2H_DUALSWORD@4",
    "T8_MAIN_DAGGER@4",
    "T6_2H_NATURESTAFF_HELL@4",
];

/// The pool of weapons with souls.
pub(crate) struct Souls {
    /// Items from the first brace to `"PvPFameGained":`, with their initial fame.
    weapons: Vec<(Vec<u8>, u64)>,
}

impl Souls {
    /// Renders the pool for players of this population.
    pub(crate) fn new(rng: &mut Rng, population: &Population) -> Self {
        Self { weapons: (0..POOL).map(|_| weapon(rng, population)).collect() }
    }

    /// Appends a random weapon of the pool.
    pub(crate) fn push_weapon(&self, buffer: &mut Vec<u8>, rng: &mut Rng) {
        let (item, fame) = one_of(rng, &self.weapons);
        buffer.extend_from_slice(item);
        text::push_u64(buffer, fame + u64::from(rng.u32(..1_000_000)));
        buffer.extend_from_slice(b"}}");
    }
}

fn weapon(rng: &mut Rng, population: &Population) -> (Vec<u8>, u64) {
    let owner = population.player(population.pick(rng, 100));
    let crafter = if permille(rng, 300) { owner } else { population.player(population.pick(rng, 100)) };
    let attunement = magnitude(rng, 7, 10);
    let spent = if permille(rng, 60) { 0 } else { magnitude(rng, 8, 11) };
    let quality = if permille(rng, 900) { 4 } else { rng.u32(1..=5) };
    let head = format!(
        concat!(
            r#"{{"Type":"{}","Count":1,"Quality":{},"ActiveSpells":[],"PassiveSpells":[],"LegendarySoul":{{"id":"{}","#,
            r#""subtype":1,"era":1,"name":null,"lastEquipped":"2026-01-04T{:02}:{:02}:{:02}.{:07}00Z","attunedPlayer":"{}","#,
            r#""attunedPlayerName":"{}","attunement":{},"attunementSpentSinceReset":{},"attunementSpent":{},"#,
            r#""quality":{},"craftedBy":"{}","traits":["#,
        ),
        one_of(rng, &WEAPONS),
        quality,
        Uuid::from_bytes(uuid_bytes(rng)),
        rng.u32(..24),
        rng.u32(..60),
        rng.u32(..60),
        rng.u32(1..10_000_000),
        Uuid::from_bytes(owner.id),
        owner.name,
        attunement,
        spent,
        spent,
        quality,
        crafter.name,
    );
    let mut item = head.into_bytes();
    push_traits(&mut item, rng);
    item.extend_from_slice(b"],\"PvPFameGained\":");
    (item, magnitude(rng, 8, 12).min(FAME_MAX))
}

/// Appends usually three different traits, sometimes one or none.
fn push_traits(item: &mut Vec<u8>, rng: &mut Rng) {
    let count = match rng.u32(..50) {
        0..3 => 0,
        3..10 => 1,
        _ => 3,
    };
    let first = rng.u32(..8);
    for position in 0..count {
        if position > 0 {
            item.push(b',');
        }
        // In a table of 8, three steps of 3 give three different entries.
        let (name, least, greatest) = TRAITS[((first + 3 * position) % 8) as usize];
        let millionths = rng.u64(1000..1_000_000);
        item.extend_from_slice(br#"{"roll":0."#);
        text::push_padded(item, millionths, 6);
        let more_digits = rng.u32(9..=11) as usize;
        text::push_padded(item, rng.u64(..), more_digits);
        item.push(b'0' + rng.u8(1..=9));
        item.extend_from_slice(br#","pendingRolls":[],"pendingTraits":[],"value":"#);
        text::push_billionths(item, least + (greatest - least) / 1_000_000 * millionths);
        item.extend_from_slice(br#","trait":""#);
        item.extend_from_slice(name.as_bytes());
        item.extend_from_slice(br#"","minvalue":"#);
        text::push_billionths(item, least);
        item.extend_from_slice(br#","maxvalue":"#);
        text::push_billionths(item, greatest);
        item.push(b'}');
    }
}

/// Draws a number of `digits_min` to `digits_max` digits. All lengths are equally likely.
fn magnitude(rng: &mut Rng, digits_min: u32, digits_max: u32) -> u64 {
    let least = 10_u64.pow(rng.u32(digits_min..=digits_max) - 1);
    rng.u64(least..least * 10)
}
