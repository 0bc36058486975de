//! The text of the dump with the form of the current event.

use crate::generate::chance::{WordTable, one_of, permille};
use fastrand::Rng;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// The end of every player record: zeros, as the API sends them with events.
const STATISTICS: &str = concat!(
    r#","LifetimeStatistics":{"PvE":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0,"Hellgate":0,"CorruptedDungeon":0,"#,
    r#""Mists":0},"Gathering":{"Fiber":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"Hide":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0},"Ore":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"Rock":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0},"Wood":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"All":{"Total":0,"Royal":0,"#,
    r#""Outlands":0,"Avalon":0}},"Crafting":{"Total":0,"Royal":0,"Outlands":0,"Avalon":0},"CrystalLeague":0,"#,
    r#""FishingFame":0,"FarmingFame":0,"Timestamp":null}"#,
);
static STATISTICS_2020: LazyLock<String> = LazyLock::new(|| {
    STATISTICS.replace(r#","Mists":0"#, "").replace(r#""FishingFame":0,"FarmingFame":0,"#, "")
});

/// Weights of notations: `0.00` for ratios and `0.0` for other floats as in the API, `0.0` for all floats, and `0` for
/// whole numbers, as intermediate tools write them.
static NOTATIONS: WordTable<[usize; 1]> = WordTable::of_numbers("0*83 1*12 2*5");

/// What the records of one event have in common. Captured dumps differ in it.
#[derive(Clone, Copy)]
pub(crate) struct EventForm {
    /// Whether the event is as the API was in 2020, when objects had fewer fields.
    pub(crate) is_of_2020: bool,
    /// The text after the quality of an item.
    pub(crate) item_end: &'static str,
    pub(crate) statistics: &'static str,
    /// The text after the digits of a whole number in a field that is a float in the game, and in ratios.
    pub(crate) float_end: &'static str,
    pub(crate) ratio_end: &'static str,
    /// Whether characters outside ASCII are `\uXXXX`. A JSON parser reads both spellings as the same text.
    pub(crate) is_escaped: bool,
}

impl EventForm {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let is_of_2020 = permille(rng, 30);
        let (item_end, statistics) = if is_of_2020 {
            (r#","ActiveSpells":[],"PassiveSpells":[]}"#, STATISTICS_2020.as_str())
        } else {
            (r#","ActiveSpells":[],"PassiveSpells":[],"LegendarySoul":null}"#, STATISTICS)
        };
        let [notation] = *NOTATIONS.pick(rng);
        let (float_end, ratio_end) = [(".0", ".00"), (".0", ".0"), ("", "")][notation];
        Self { is_of_2020, item_end, statistics, float_end, ratio_end, is_escaped: permille(rng, 125) }
    }
}

pub(crate) trait JsonPart {
    fn push_to(&self, text: &mut String);
}

impl JsonPart for &str {
    fn push_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl JsonPart for u64 {
    fn push_to(&self, text: &mut String) {
        text.push_str(itoa::Buffer::new().format(*self));
    }
}

/// Appends parts to a draft.
macro_rules! put {
    ($draft:expr, $($part:expr),+) => {
        $($crate::generate::draft::JsonPart::push_to(&$part, &mut $draft.text);)+
    };
}
pub(crate) use put;

/// The text so far, the random numbers, and the form of the current event.
pub(crate) struct Draft {
    pub(crate) text: String,
    pub(crate) rng: Rng,
    pub(crate) form: EventForm,
    /// Weapons with souls, without their fame, and the fame.
    pub(crate) souls: Vec<(String, u64)>,
}

impl Draft {
    pub(crate) fn permille(&mut self, share: u32) -> bool {
        permille(&mut self.rng, share)
    }

    /// Appends a weapon with a soul.
    pub(crate) fn push_soul(&mut self) {
        let (weapon, fame) = one_of(&mut self.rng, &self.souls);
        put!(self, weapon.as_str(), fame + u64::from(self.rng.u32(..1_000_000)), "}}");
    }

    /// Appends a point and the last `width` (at most 19) digits of a number.
    pub(crate) fn push_decimals(&mut self, number: u64, width: u32) {
        let (digits, width) = (number % 10_u64.pow(width), width as usize);
        write!(self.text, ".{digits:0width$}").expect("a string accepts all texts");
    }
}
