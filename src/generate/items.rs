//! The items in the dump. Their JSON is rendered once, except for counts and qualities.

use crate::generate::chance::{Wheel, permille, skewed};
use crate::generate::text;
use fastrand::Rng;

/// Tier, enchantment and frequency among worn items.
const LEVELS: [(u8, u8, u32); 23] = [
    (4, 3, 823),
    (4, 2, 570),
    (4, 1, 509),
    (4, 0, 484),
    (5, 2, 266),
    (6, 1, 216),
    (5, 1, 189),
    (5, 3, 186),
    (6, 2, 126),
    (3, 0, 108),
    (6, 0, 99),
    (6, 3, 79),
    (5, 0, 78),
    (8, 0, 77),
    (7, 1, 62),
    (7, 0, 61),
    (8, 3, 33),
    (2, 0, 26),
    (7, 3, 19),
    (7, 2, 8),
    (8, 1, 4),
    (5, 4, 4),
    (8, 2, 3),
];
const LEVEL_COUNT: u32 = 23;

/// The most common names come first, because draws are skewed.
const TWO_HANDED: &str = "DUALSWORD DUALAXE_KEEPER SCYTHE_HELL DUALSICKLE_UNDEAD CLEAVER_HELL INFERNOSTAFF_MORGANA \
    NATURESTAFF_HELL FIRE_RINGPAIR_AVALON DOUBLEBLADEDSTAFF HOLYSTAFF LONGBOW CLAYMORE CLAWPAIR MACE \
    QUARTERSTAFF_AVALON SHAPESHIFTER_SET2 SHAPESHIFTER_AVALON DEMONICSTAFF SHAPESHIFTER_HELL INFERNOSTAFF \
    SHAPESHIFTER_SET3 HALBERD DUALCROSSBOW_HELL CLAYMORE_AVALON WILDSTAFF SHAPESHIFTER_SET1 SHAPESHIFTER_MORGANA \
    GLAIVE_CRYSTAL ARCANESTAFF_CRYSTAL SHAPESHIFTER_KEEPER KNUCKLES_KEEPER FIRESTAFF DOUBLEBLADEDSTAFF_CRYSTAL \
    AXE_AVALON NATURESTAFF KNUCKLES_HELL KNUCKLES_AVALON DAGGERPAIR LONGBOW_UNDEAD CURSEDSTAFF KNUCKLES_SET2 \
    BOW_KEEPER RAM_KEEPER QUARTERSTAFF BOW HARPOON_HELL HAMMER WARBOW ICEGAUNTLETS_HELL ICECRYSTAL_UNDEAD \
    HAMMER_AVALON HALBERD_MORGANA FROSTSTAFF BOW_AVALON CROSSBOW AXE SPEAR SKULLORB_HELL DIVINESTAFF TOOL_FISHINGROD";
const ONE_HANDED: &str = "HOLYSTAFF_AVALON FIRESTAFF RAPIER_MORGANA CURSEDSTAFF AXE HOLYSTAFF SPEAR_KEEPER SPEAR DAGGER \
    MACE FIRESTAFF_KEEPER FROSTSTAFF CURSEDSTAFF_UNDEAD MACE_HELL SPEAR_LANCE_AVALON NATURESTAFF_KEEPER NATURESTAFF \
    HAMMER ARCANESTAFF ROCKMACE_KEEPER NATURESTAFF_AVALON CURSEDSTAFF_AVALON FROSTSTAFF_AVALON SWORD_CRYSTAL \
    ARCANESTAFF_UNDEAD SCIMITAR_MORGANA SWORD 1HCROSSBOW";
const OFF_HANDS: &str = "TORCH HORN_KEEPER BOOK DEMONSKULL_HELL JESTERCANE_HELL SHIELD SPIKEDSHIELD_MORGANA TOTEM_KEEPER \
    LAMP_UNDEAD ORB_MORGANA TOWERSHIELD_UNDEAD SHIELD_AVALON CENSER_AVALON";
const HEADS: &str = "LEATHER_SET2 LEATHER_SET1 LEATHER_MORGANA CLOTH_HELL CLOTH_SET1 LEATHER_SET3 CLOTH_SET2 CLOTH_ROYAL \
    PLATE_SET2 PLATE_SET3 CLOTH_SET3 LEATHER_UNDEAD CLOTH_KEEPER CLOTH_AVALON PLATE_SET1 PLATE_AVALON CLOTH_MORGANA \
    PLATE_HELL CLOTH_FEY LEATHER_FEY PLATE_UNDEAD PLATE_ROYAL LEATHER_HELL PLATE_KEEPER GATHERER_FIBER GATHERER_ORE";
const ARMORS: &str = "CLOTH_SET2 LEATHER_SET1 LEATHER_SET3 LEATHER_HELL CLOTH_AVALON LEATHER_MORGANA CLOTH_SET1 CLOTH_SET3 \
    CLOTH_FEY PLATE_KEEPER LEATHER_FEY PLATE_SET1 LEATHER_SET2 PLATE_SET3 LEATHER_AVALON CLOTH_MORGANA PLATE_UNDEAD \
    PLATE_FEY CLOTH_HELL CLOTH_KEEPER PLATE_SET2 GATHERER_WOOD GATHERER_HIDE PLATE_ROYAL";
const SHOES: &str = "PLATE_SET1 LEATHER_MORGANA CLOTH_SET1 CLOTH_ROYAL LEATHER_SET1 LEATHER_SET2 CLOTH_SET2 PLATE_SET2 \
    CLOTH_AVALON PLATE_SET3 LEATHER_SET3 CLOTH_SET3 PLATE_AVALON CLOTH_MORGANA LEATHER_HELL PLATE_ROYAL LEATHER_FEY \
    PLATE_KEEPER PLATE_HELL PLATE_FEY GATHERER_ORE PLATE_UNDEAD LEATHER_AVALON GATHERER_WOOD CLOTH_HELL";
const BAGS: &str = "BAG BAG_INSIGHT";
const CAPES: &str = "CAPE CAPEITEM_FW_LYMHURST CAPEITEM_AVALON CAPEITEM_FW_THETFORD CAPEITEM_FW_MARTLOCK \
    CAPEITEM_FW_CAERLEON CAPEITEM_UNDEAD CAPEITEM_DEMON CAPEITEM_FW_FORTSTERLING CAPEITEM_FW_BRIDGEWATCH \
    CAPEITEM_MORGANA CAPEITEM_FW_BRECILIEN CAPEITEM_KEEPER BACKPACK_GATHERER_WOOD";

const MOUNTS: [(&str, u32); 14] = [
    ("T2_MOUNT_MULE", 206),
    ("T3_MOUNT_HORSE", 186),
    ("T5_MOUNT_COUGAR_KEEPER@1", 149),
    ("T4_MOUNT_GIANTSTAG", 67),
    ("T6_MOUNT_DIREWOLF", 24),
    ("T5_MOUNT_ARMORED_HORSE", 21),
    ("UNIQUE_MOUNT_DIVINE_OWL_ADC", 20),
    ("T4_MOUNT_HORSE", 20),
    ("T6_MOUNT_GIANTSTAG_MOOSE", 14),
    ("T5_MOUNT_HORSE", 10),
    ("T3_MOUNT_OX", 8),
    ("UNIQUE_MOUNT_MORGANA_RAVEN_ADC", 7),
    ("T5_MOUNT_SWAMPDRAGON_FW_THETFORD", 4),
    ("T7_MOUNT_MONITORLIZARD_ADC", 2),
];
const POTIONS: [(&str, u32); 10] = [
    ("T7_POTION_STONESKIN", 154),
    ("T7_POTION_REVIVE", 65),
    ("T6_POTION_COOLDOWN", 44),
    ("T8_POTION_COOLDOWN", 41),
    ("T5_POTION_REVIVE", 25),
    ("T4_POTION_COOLDOWN", 25),
    ("T6_POTION_HEAL", 20),
    ("T8_POTION_CLEANSE", 12),
    ("T7_POTION_STONESKIN@1", 8),
    ("T6_POTION_HEAL@2", 1),
];
const FOODS: [(&str, u32); 12] = [
    ("T8_MEAL_STEW", 105),
    ("T1_MEAL_SOUP", 62),
    ("T7_MEAL_OMELETTE", 42),
    ("T7_MEAL_OMELETTE@1", 29),
    ("T5_MEAL_SOUP", 25),
    ("T5_FISH_FRESHWATER_ALL_COMMON", 17),
    ("T4_FISH_FRESHWATER_ALL_COMMON", 16),
    ("T8_MEAL_STEW@1", 13),
    ("T7_MEAL_ROAST", 11),
    ("T7_MEAL_PIE", 8),
    ("T7_MEAL_OMELETTE_AVALON@3", 4),
    ("T8_MEAL_SANDWICH_AVALON@1", 2),
];
/// Loot besides gear: tiers (0: none in the name), name, weight per tier, and how it stacks.
const LOOT: [(&[u8], &str, u32, Stack); 33] = [
    (&[4, 5, 6, 7, 8], "RUNE", 41, Stack::Many),
    (&[4, 5, 6, 7], "SOUL", 38, Stack::Many),
    (&[4, 5, 6], "RELIC", 35, Stack::Many),
    (&[4], "SKILLBOOK_STANDARD", 51, Stack::Few),
    (&[3, 4], "SKILLBOOK_NONTRADABLE", 20, Stack::Few),
    (&[1, 4], "SILVERBAG_NONTRADABLE", 18, Stack::One),
    (&[3, 4, 5], "2H_TOOL_KNIFE", 11, Stack::One),
    (&[3, 4, 5], "2H_TOOL_AXE", 10, Stack::One),
    (&[3, 4, 5], "2H_TOOL_SICKLE", 10, Stack::One),
    (&[3, 4, 5], "2H_TOOL_PICK", 9, Stack::One),
    (&[3, 4, 5, 6, 7, 8], "HIDE", 4, Stack::Many),
    (&[3, 4, 5, 6, 7, 8], "WOOD", 3, Stack::Many),
    (&[3, 4, 5, 6, 7, 8], "ORE", 2, Stack::Many),
    (&[3, 4, 5, 6, 7, 8], "FIBER", 2, Stack::Many),
    (&[4, 5, 6, 7], "HIDE_LEVEL1@1", 3, Stack::Many),
    (&[4, 5, 6, 7], "WOOD_LEVEL2@2", 3, Stack::Many),
    (&[4, 6, 8], "POTION_COOLDOWN", 14, Stack::Few),
    (&[7], "POTION_STONESKIN", 21, Stack::Few),
    (&[8], "POTION_CLEANSE", 19, Stack::Few),
    (&[7], "POTION_REVIVE", 16, Stack::Few),
    (&[6], "POTION_ENERGY", 15, Stack::Few),
    (&[3, 4, 5], "FISH_FRESHWATER_ALL_COMMON", 4, Stack::Few),
    (&[4, 5, 6], "ARTEFACT_2H_COMBATSTAFF_MORGANA", 3, Stack::One),
    (&[0], "TREASURE_CEREMONIAL_RARITY1", 19, Stack::Few),
    (&[0], "TREASURE_KNOWLEDGE_RARITY2", 20, Stack::Few),
    (&[0], "TREASURE_RITUAL_RARITY3", 18, Stack::Few),
    (&[0], "TREASURE_DECORATIVE_RARITY1", 12, Stack::Few),
    (&[0], "UNIQUE_GVGTOKEN_GENERIC", 8, Stack::Few),
    (&[0], "QUESTITEM_TOKEN_AVALON", 8, Stack::Few),
    (&[0], "QUESTITEM_EXP_TOKEN_D3_T6_EXP_HRD_KEEPER_STONEWARS", 1, Stack::One),
    (&[0], "QUESTITEM_EXP_TOKEN_D3_T6_EXP_HRD_UNDEAD_RECRUITMENT", 1, Stack::One),
    (&[0], "UNIQUE_FURNITUREITEM_ADC_ICESCULPTURE_C", 1, Stack::One),
    (&[3], "VANITY_CONSUMABLE_FIREWORKS_YELLOW_NONTRADABLE", 1, Stack::One),
];

/// The text after the quality of an item.
const TAIL: &[u8] = br#","ActiveSpells":[],"PassiveSpells":[],"LegendarySoul":null}"#;
const TAIL_2020: &[u8] = br#","ActiveSpells":[],"PassiveSpells":[]}"#;

/// The largest stack seen in real events.
const COUNT_MAX: u32 = 525;

/// The age of an event, because objects in the API have gained fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// The API of today.
    Now,
    /// The API of 2020: without `LegendarySoul` and `Category`, and with shorter `LifetimeStatistics`.
    Year2020,
}

impl Era {
    fn tail(self) -> &'static [u8] {
        match self {
            Self::Now => TAIL,
            Self::Year2020 => TAIL_2020,
        }
    }
}

/// Tier and enchantment: an index into `LEVELS`.
#[derive(Clone, Copy)]
pub(crate) struct Level(u32);

impl Level {
    /// The item power of plain gear at this level.
    pub(crate) fn power(self) -> u64 {
        let (tier, enchantment, _) = LEVELS[self.0 as usize];
        300 + 100 * u64::from(tier + enchantment)
    }
}

/// The kinds of gear that come in every tier and enchantment.
#[derive(Clone, Copy)]
pub(crate) enum Gear {
    /// A two-handed main hand.
    TwoHanded,
    /// A one-handed main hand.
    OneHanded,
    OffHand,
    Head,
    Armor,
    Shoes,
    Bag,
    Cape,
}

#[derive(Clone, Copy)]
enum Stack {
    One,
    Few,
    Many,
}

/// The rendered items.
pub(crate) struct Catalogue {
    /// Texts up to `"Quality":`, `LEVEL_COUNT` per name, in the order of `Gear`.
    gear: [Vec<Vec<u8>>; 8],
    levels: Wheel<Level>,
    mounts: Wheel<u32>,
    mount_texts: Vec<Vec<u8>>,
    potions: Wheel<u32>,
    potion_texts: Vec<Vec<u8>>,
    foods: Wheel<u32>,
    food_texts: Vec<Vec<u8>>,
    loot: Wheel<(u32, Stack)>,
    loot_texts: Vec<Vec<u8>>,
    loot_gear: Wheel<Gear>,
    qualities_worn: Wheel<u8>,
    qualities_plain: Wheel<u8>,
}

impl Catalogue {
    /// Renders all items.
    pub(crate) fn new() -> Self {
        let mut loot = Vec::new();
        let mut loot_texts = Vec::new();
        for (tiers, name, weight, stack) in LOOT {
            for &tier in tiers {
                let kind = if tier == 0 { String::from(name) } else { format!("T{tier}_{name}") };
                loot.push(((index(loot_texts.len()), stack), weight));
                loot_texts.push(to_count(&kind));
            }
        }
        Self {
            gear: [
                gear("2H_", TWO_HANDED),
                gear("MAIN_", ONE_HANDED),
                gear("OFF_", OFF_HANDS),
                gear("HEAD_", HEADS),
                gear("ARMOR_", ARMORS),
                gear("SHOES_", SHOES),
                gear("", BAGS),
                gear("", CAPES),
            ],
            levels: Wheel::new(LEVELS.iter().enumerate().map(|(i, level)| (Level(index(i)), level.2))),
            mounts: weights(&MOUNTS),
            mount_texts: MOUNTS.iter().map(|(kind, _)| to_quality(kind)).collect(),
            potions: weights(&POTIONS),
            potion_texts: POTIONS.iter().map(|(kind, _)| to_count(kind)).collect(),
            foods: weights(&FOODS),
            food_texts: FOODS.iter().map(|(kind, _)| to_count(kind)).collect(),
            loot: Wheel::new(loot),
            loot_texts,
            loot_gear: Wheel::new([
                (Gear::TwoHanded, 14),
                (Gear::OneHanded, 14),
                (Gear::OffHand, 10),
                (Gear::Head, 14),
                (Gear::Armor, 14),
                (Gear::Shoes, 14),
                (Gear::Bag, 10),
                (Gear::Cape, 10),
            ]),
            qualities_worn: Wheel::new([(1, 120), (2, 140), (3, 136), (4, 594), (5, 10)]),
            qualities_plain: Wheel::new([(1, 570), (2, 240), (3, 80), (4, 107), (5, 3)]),
        }
    }

    /// Draws a tier and enchantment.
    pub(crate) fn level(&self, rng: &mut Rng) -> Level {
        self.levels.pick(rng)
    }

    /// Appends worn gear, usually of its owner's level.
    pub(crate) fn push_gear(&self, buffer: &mut Vec<u8>, rng: &mut Rng, gear: Gear, owner: Level, era: Era) {
        let level = if permille(rng, 700) { owner } else { self.level(rng) };
        let quality = match gear {
            Gear::Bag => self.qualities_plain.pick(rng),
            _ => self.qualities_worn.pick(rng),
        };
        self.push_gear_of(buffer, rng, gear, level, quality, era);
    }

    /// Appends a mount.
    pub(crate) fn push_mount(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era) {
        buffer.extend_from_slice(&self.mount_texts[self.mounts.pick(rng) as usize]);
        buffer.push(b'0' + self.qualities_plain.pick(rng));
        buffer.extend_from_slice(era.tail());
    }

    /// Appends up to ten potions.
    pub(crate) fn push_potion(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era) {
        buffer.extend_from_slice(&self.potion_texts[self.potions.pick(rng) as usize]);
        push_stack(buffer, 1 + skewed(rng, 10), era);
    }

    /// Appends up to ten meals.
    pub(crate) fn push_food(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era) {
        buffer.extend_from_slice(&self.food_texts[self.foods.pick(rng) as usize]);
        push_stack(buffer, 1 + skewed(rng, 10), era);
    }

    /// Appends the contents of one bag slot: gear or a stack.
    pub(crate) fn push_loot(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era) {
        if permille(rng, 280) {
            let (gear, level) = (self.loot_gear.pick(rng), self.level(rng));
            let quality = self.qualities_plain.pick(rng);
            self.push_gear_of(buffer, rng, gear, level, quality, era);
            return;
        }
        let (kind, stack) = self.loot.pick(rng);
        buffer.extend_from_slice(&self.loot_texts[kind as usize]);
        let count = match stack {
            Stack::One => 1,
            Stack::Few => 1 + skewed(rng, 10),
            Stack::Many if permille(rng, 12) => 1 + rng.u32(..COUNT_MAX),
            Stack::Many => 1 + skewed(rng, 60),
        };
        push_stack(buffer, count, era);
    }

    fn push_gear_of(
        &self,
        buffer: &mut Vec<u8>,
        rng: &mut Rng,
        gear: Gear,
        level: Level,
        quality: u8,
        era: Era,
    ) {
        let texts = &self.gear[gear as usize];
        let name = skewed(rng, index(texts.len()) / LEVEL_COUNT);
        buffer.extend_from_slice(&texts[(name * LEVEL_COUNT + level.0) as usize]);
        buffer.push(b'0' + quality);
        buffer.extend_from_slice(era.tail());
    }
}

/// Appends the count and the rest of the item. Stackable items have no quality.
fn push_stack(buffer: &mut Vec<u8>, count: u32, era: Era) {
    text::push_u64(buffer, u64::from(count));
    buffer.extend_from_slice(b",\"Quality\":0");
    buffer.extend_from_slice(era.tail());
}

fn gear(prefix: &str, names: &str) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for name in names.split_ascii_whitespace() {
        for (tier, enchantment, _) in LEVELS {
            texts.push(to_quality(&match enchantment {
                0 => format!("T{tier}_{prefix}{name}"),
                _ => format!("T{tier}_{prefix}{name}@{enchantment}"),
            }));
        }
    }
    texts
}

fn to_quality(kind: &str) -> Vec<u8> {
    format!(r#"{{"Type":"{kind}","Count":1,"Quality":"#).into_bytes()
}

fn to_count(kind: &str) -> Vec<u8> {
    format!(r#"{{"Type":"{kind}","Count":"#).into_bytes()
}

/// Makes a wheel of the positions in a table.
fn weights(table: &[(&str, u32)]) -> Wheel<u32> {
    Wheel::new(table.iter().enumerate().map(|(i, (_, weight))| (index(i), *weight)))
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("tables of the generator are short")
}
