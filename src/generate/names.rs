//! Invented names of players, guilds and alliances, with the lengths of the game: players have 3 to 16 characters,
//! guilds up to about 28, alliance tags 2 to 5.

use crate::generate::chance::{one_of, permille};
use fastrand::Rng;

const STARTS: [&str; 40] = [
    "Bra", "Cor", "Dru", "Ela", "Fen", "Gar", "Hol", "Ixa", "Jor", "Kav", "Lum", "Mor", "Nex", "Oru", "Pyr",
    "Qua", "Rav", "Sol", "Tor", "Ulf", "Vex", "Wyn", "Xan", "Yor", "Zed", "Ash", "Bo", "Cy", "Da", "Ek",
    "Fy", "Gi", "Ha", "Ka", "Le", "Mi", "No", "Ra", "Su", "Ty",
];
const MIDDLES: [&str; 24] = [
    "ba", "di", "go", "li", "mo", "na", "pe", "ri", "sha", "to", "va", "zu", "lo", "mi", "ke", "ro", "an",
    "el", "in", "or", "us", "ta", "no", "le",
];
const ENDS: [&str; 24] = [
    "n", "r", "s", "x", "th", "k", "m", "l", "dor", "wyn", "mar", "rik", "gas", "los", "tar", "ven", "o",
    "a", "i", "ny", "zz", "rk", "ft", "sh",
];
const ACCENTED: [&str; 16] = [
    "Ñand",
    "Él",
    "Çel",
    "Łow",
    "Öst",
    "Jo\u{e3}o",
    "Zo\u{eb}",
    "Ni\u{f1}o",
    "M\u{fc}l",
    "Ren\u{e9}",
    "\u{c5}ke",
    "S\u{f8}r",
    "Dra\u{17e}",
    "K\u{131}l\u{131}",
    "Чёр",
    "Вол",
];
const IDEOGRAPHS: [&str; 24] = [
    "龙",
    "影",
    "剑",
    "风",
    "雪",
    "月",
    "夜",
    "星",
    "炎",
    "狼",
    "白",
    "黑",
    "天",
    "魔",
    "神",
    "王",
    "さくら",
    "の",
    "カゲ",
    "바람",
    "검",
    "별",
    "𠮷",
    "霜",
];
const GUILD_FIRST: [&str; 36] = [
    "Ashen",
    "Iron",
    "Crimson",
    "Silent",
    "Golden",
    "Broken",
    "Northern",
    "Hollow",
    "Emerald",
    "Wandering",
    "Burning",
    "Last",
    "Frost",
    "Shadow",
    "Royal",
    "Lost",
    "Wild",
    "Grim",
    "Salty",
    "Drunken",
    "Sleepy",
    "Eternal",
    "Black",
    "White",
    "Rusty",
    "Storm",
    "Sunken",
    "Thorn",
    "Mist",
    "Blood",
    "Stone",
    "Night",
    "Dawn",
    "Old",
    "Quiet",
    "Swift",
];
const GUILD_SECOND: [&str; 36] = [
    "Ravens",
    "Order",
    "Wolves",
    "Company",
    "Banner",
    "Harvest",
    "Legion",
    "Lanterns",
    "Oath",
    "Kin",
    "Gate",
    "Pact",
    "Foxes",
    "Hounds",
    "Anvil",
    "Tide",
    "Crown",
    "Watch",
    "Circle",
    "Nomads",
    "Smugglers",
    "Monks",
    "Gankers",
    "Farmers",
    "Carebears",
    "Bandits",
    "Hand",
    "Sons",
    "Daughters",
    "Exiles",
    "Roads",
    "Keep",
    "Embers",
    "Saints",
    "Goats",
    "Pilgrims",
];
const GUILD_FOREIGN: [&str; 8] = [
    "Ordem do Dragão",
    "La Légion d'Été",
    "Große Wächter",
    "Białe Wilki",
    "Ночной Дозор",
    "龙之传说",
    "月影騎士団",
    "북풍의 검",
];
const TAG_LETTERS: &[u8; 32] = b"ABCDEFGHIKLMNOPRSTUVWXYZ01234579";

/// Makes a player's name. About 3 in 100 contain characters outside ASCII.
pub(crate) fn player(rng: &mut Rng) -> String {
    if permille(rng, 30) {
        return foreign_player(rng);
    }
    let mut name = String::from(word(rng, &STARTS));
    if permille(rng, 450) {
        name.push_str(word(rng, &MIDDLES));
    }
    if permille(rng, 150) {
        name.push_str(word(rng, &MIDDLES));
    }
    name.push_str(word(rng, &ENDS));
    if permille(rng, 120) {
        name.push_str(word(rng, &STARTS));
        name.push_str(word(rng, &ENDS));
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
pub(crate) fn guild(rng: &mut Rng) -> String {
    if permille(rng, 30) {
        return String::from(word(rng, &GUILD_FOREIGN));
    }
    let (first, second) = (word(rng, &GUILD_FIRST), word(rng, &GUILD_SECOND));
    match rng.u32(..10) {
        0 => format!("The {first} {second}"),
        1 => format!("{first} {second} Academy"),
        2 | 3 => String::from(second),
        4 => format!("{first}_{second}"),
        _ => format!("{first} {second}"),
    }
}

/// Makes an alliance's tag of 2 to 5 capital letters and digits.
pub(crate) fn tag(rng: &mut Rng) -> String {
    let letters = rng.u32(2..=5);
    (0..letters).map(|_| char::from(*one_of(rng, TAG_LETTERS))).collect()
}

fn foreign_player(rng: &mut Rng) -> String {
    if permille(rng, 400) {
        return format!("{}{}", word(rng, &ACCENTED), word(rng, &ENDS));
    }
    let parts = rng.u32(2..=4);
    (0..parts).map(|_| word(rng, &IDEOGRAPHS)).collect()
}

fn word(rng: &mut Rng, words: &[&'static str]) -> &'static str {
    one_of::<&'static str>(rng, words)
}
