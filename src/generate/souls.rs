//! Legendary souls, the objects that awakened weapons carry. A pool is rendered once, except for the gained fame.
//! Numbers exceed 2^39.

use crate::generate::chance::{WordTable, index, permille};
use crate::generate::players::{Population, uuid};
use fastrand::Rng;

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
static WEAPONS: WordTable = WordTable::of(
    "T6_2H_SHAPESHIFTER_SET2@4 T6_MAIN_SWORD_CRYSTAL@4 T4_2H_FIRESTAFF@4 T4_MAIN_HOLYSTAFF_AVALON@4 \
    T5_2H_CLEAVER_HELL@4 T4_2H_KNUCKLES_SET2@4 T8_2H_BOW@4 T5_2H_DUALSWORD@4 T8_MAIN_DAGGER@4 T6_2H_NATURESTAFF_HELL@4",
);

/// Renders a weapon of one of the players from the first brace to `"PvPFameGained":`, and draws its initial fame.
pub(crate) fn weapon(rng: &mut Rng, population: &Population) -> (String, u64) {
    let owner = population.player(population.pick(rng, 100));
    let crafter = if permille(rng, 300) { owner } else { population.player(population.pick(rng, 100)) };
    let attunement = magnitude(rng, 7, 10);
    let spent = if permille(rng, 60) { 0 } else { magnitude(rng, 8, 11) };
    let quality = if permille(rng, 900) { 4 } else { rng.u32(1..=5) };
    let (kind, id) = (WEAPONS.pick(rng), uuid(rng));
    let [hour, minute, second, ticks] = [0..24, 0..60, 0..60, 1..10_000_000].map(|range| rng.u32(range));
    let (player, name, crafter, traits) = (owner.id, &owner.name, &crafter.name, traits(rng).join(","));
    // With apostrophes, which none of the names contains, for quotation marks.
    let item = format!(
        "{{'Type':'{kind}','Count':1,'Quality':{quality},'ActiveSpells':[],'PassiveSpells':[],'LegendarySoul':{{\
        'id':'{id}','subtype':1,'era':1,'name':null,'lastEquipped':'2026-01-04T{hour:02}:{minute:02}:{second:02}.{ticks:07}00Z',\
        'attunedPlayer':'{player}','attunedPlayerName':'{name}','attunement':{attunement},\
        'attunementSpentSinceReset':{spent},'attunementSpent':{spent},'quality':{quality},'craftedBy':'{crafter}',\
        'traits':[{traits}],'PvPFameGained':"
    );
    (item.replace('\'', "\""), magnitude(rng, 8, 12).min(FAME_MAX))
}

/// Makes usually three different traits, sometimes one or none.
fn traits(rng: &mut Rng) -> Vec<String> {
    let count = match rng.u32(..50) {
        0..3 => 0,
        3..10 => 1,
        _ => 3,
    };
    let first = index(rng, TRAITS.len());
    let one = |position: usize| {
        // In a table of 8, three steps of 3 give three different entries.
        let (name, least, greatest) = TRAITS[(first + 3 * position) % TRAITS.len()];
        let millionths = rng.u64(1000..1_000_000);
        let width = rng.u32(9..=11);
        let (more, digit) = (rng.u64(..) % 10_u64.pow(width), rng.u8(1..=9));
        let value = least + (greatest - least) / 1_000_000 * millionths;
        let [value, least, greatest] = [value, least, greatest].map(billionths);
        let width = width as usize;
        format!(
            "{{'roll':0.{millionths:06}{more:0width$}{digit},'pendingRolls':[],'pendingTraits':[],'value':{value},\
            'trait':'{name}','minvalue':{least},'maxvalue':{greatest}}}"
        )
    };
    (0..count).map(one).collect()
}

/// Writes a number of billionths as a decimal number with at least one decimal and no other trailing zeros.
fn billionths(number: u64) -> String {
    let text = format!("{}.{:09}", number / 1_000_000_000, number % 1_000_000_000);
    let length = text.trim_end_matches('0').len().max(text.len() - 8);
    text[..length].to_owned()
}

/// Draws a number of `digits_min` to `digits_max` digits. All lengths are equally likely.
fn magnitude(rng: &mut Rng, digits_min: u32, digits_max: u32) -> u64 {
    let least = 10_u64.pow(rng.u32(digits_min..=digits_max) - 1);
    rng.u64(least..least * 10)
}
