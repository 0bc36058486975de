//! The equipment and the inventory of players: the first part of their records.

use crate::generate::chance::{WordTable, index, one_of_skewed, permille, skewed};
use crate::generate::draft::{Draft, put};
use std::iter::repeat_n;
use std::ops::Range;

/// Tier and enchantment, as in a type of item, and the item power of plain gear.
type Level = (&'static str, &'static str, u64);

/// The weights are those of worn gear.
static LEVELS: WordTable<Level> = WordTable::new(
    "4@3*823 4@2*570 4@1*509 4*484 5@2*266 6@1*216 5@1*189 5@3*186 6@2*126 3*108 6*99 6@3*79 5*78 8*77 \
    7@1*62 7*61 8@3*33 2*26 7@3*19 7@2*8 8@1*4 5@4*4 8@2*3",
    |text| {
        let (tier, enchantment) = text.split_at(1);
        let sum = text.split('@').map(|number| number.parse::<u64>().expect("a number")).sum::<u64>();
        vec![(tier, enchantment, 300 + 100 * sum)]
    },
);

/// The kinds of gear: the text between tier and name, and the names, the most common ones first. The weights are those
/// in bags.
static GEAR: WordTable<(&str, Vec<&str>)> = WordTable::new(
    "_2H_/DUALSWORD,DUALAXE_KEEPER,SCYTHE_HELL,DUALSICKLE_UNDEAD,CLEAVER_HELL,INFERNOSTAFF_MORGANA,\
    NATURESTAFF_HELL,FIRE_RINGPAIR_AVALON,DOUBLEBLADEDSTAFF,HOLYSTAFF,LONGBOW,CLAYMORE,CLAWPAIR,MACE,\
    QUARTERSTAFF_AVALON,SHAPESHIFTER_SET2,SHAPESHIFTER_AVALON,DEMONICSTAFF,SHAPESHIFTER_HELL,INFERNOSTAFF,\
    SHAPESHIFTER_SET3,HALBERD,DUALCROSSBOW_HELL,CLAYMORE_AVALON,WILDSTAFF,SHAPESHIFTER_SET1,\
    SHAPESHIFTER_MORGANA,GLAIVE_CRYSTAL,ARCANESTAFF_CRYSTAL,SHAPESHIFTER_KEEPER,KNUCKLES_KEEPER,FIRESTAFF,\
    DOUBLEBLADEDSTAFF_CRYSTAL,AXE_AVALON,NATURESTAFF,KNUCKLES_HELL,KNUCKLES_AVALON,DAGGERPAIR,\
    LONGBOW_UNDEAD,CURSEDSTAFF,KNUCKLES_SET2,BOW_KEEPER,RAM_KEEPER,QUARTERSTAFF,BOW,HARPOON_HELL,HAMMER,\
    WARBOW,ICEGAUNTLETS_HELL,ICECRYSTAL_UNDEAD,HAMMER_AVALON,HALBERD_MORGANA,FROSTSTAFF,BOW_AVALON,CROSSBOW,\
    AXE,SPEAR,SKULLORB_HELL,DIVINESTAFF,TOOL_FISHINGROD*14 \
    _MAIN_/HOLYSTAFF_AVALON,FIRESTAFF,RAPIER_MORGANA,CURSEDSTAFF,AXE,HOLYSTAFF,SPEAR_KEEPER,SPEAR,DAGGER,\
    MACE,FIRESTAFF_KEEPER,FROSTSTAFF,CURSEDSTAFF_UNDEAD,MACE_HELL,SPEAR_LANCE_AVALON,NATURESTAFF_KEEPER,\
    NATURESTAFF,HAMMER,ARCANESTAFF,ROCKMACE_KEEPER,NATURESTAFF_AVALON,CURSEDSTAFF_AVALON,FROSTSTAFF_AVALON,\
    SWORD_CRYSTAL,ARCANESTAFF_UNDEAD,SCIMITAR_MORGANA,SWORD,1HCROSSBOW*14 \
    _OFF_/TORCH,HORN_KEEPER,BOOK,DEMONSKULL_HELL,JESTERCANE_HELL,SHIELD,SPIKEDSHIELD_MORGANA,TOTEM_KEEPER,\
    LAMP_UNDEAD,ORB_MORGANA,TOWERSHIELD_UNDEAD,SHIELD_AVALON,CENSER_AVALON*10 \
    _HEAD_/LEATHER_SET2,LEATHER_SET1,LEATHER_MORGANA,CLOTH_HELL,CLOTH_SET1,LEATHER_SET3,CLOTH_SET2,\
    CLOTH_ROYAL,PLATE_SET2,PLATE_SET3,CLOTH_SET3,LEATHER_UNDEAD,CLOTH_KEEPER,CLOTH_AVALON,PLATE_SET1,\
    PLATE_AVALON,CLOTH_MORGANA,PLATE_HELL,CLOTH_FEY,LEATHER_FEY,PLATE_UNDEAD,PLATE_ROYAL,LEATHER_HELL,\
    PLATE_KEEPER,GATHERER_FIBER,GATHERER_ORE*14 \
    _ARMOR_/CLOTH_SET2,LEATHER_SET1,LEATHER_SET3,LEATHER_HELL,CLOTH_AVALON,LEATHER_MORGANA,CLOTH_SET1,\
    CLOTH_SET3,CLOTH_FEY,PLATE_KEEPER,LEATHER_FEY,PLATE_SET1,LEATHER_SET2,PLATE_SET3,LEATHER_AVALON,\
    CLOTH_MORGANA,PLATE_UNDEAD,PLATE_FEY,CLOTH_HELL,CLOTH_KEEPER,PLATE_SET2,GATHERER_WOOD,GATHERER_HIDE,\
    PLATE_ROYAL*14 \
    _SHOES_/PLATE_SET1,LEATHER_MORGANA,CLOTH_SET1,CLOTH_ROYAL,LEATHER_SET1,LEATHER_SET2,CLOTH_SET2,\
    PLATE_SET2,CLOTH_AVALON,PLATE_SET3,LEATHER_SET3,CLOTH_SET3,PLATE_AVALON,CLOTH_MORGANA,LEATHER_HELL,\
    PLATE_ROYAL,LEATHER_FEY,PLATE_KEEPER,PLATE_HELL,PLATE_FEY,GATHERER_ORE,PLATE_UNDEAD,LEATHER_AVALON,\
    GATHERER_WOOD,CLOTH_HELL*14 \
    _/BAG,BAG_INSIGHT*10 \
    _/CAPE,CAPEITEM_FW_LYMHURST,CAPEITEM_AVALON,CAPEITEM_FW_THETFORD,CAPEITEM_FW_MARTLOCK,\
    CAPEITEM_FW_CAERLEON,CAPEITEM_UNDEAD,CAPEITEM_DEMON,CAPEITEM_FW_FORTSTERLING,CAPEITEM_FW_BRIDGEWATCH,\
    CAPEITEM_MORGANA,CAPEITEM_FW_BRECILIEN,CAPEITEM_KEEPER,BACKPACK_GATHERER_WOOD*10",
    |text| {
        let (prefix, names) = text.split_once('/').expect("two parts");
        vec![(prefix, names.split(',').collect())]
    },
);
/// Indices of gear. The others are in the order of the slots.
const TWO_HANDED: usize = 0;
const ONE_HANDED: usize = 1;
const BAG: usize = 6;

static MOUNTS: WordTable = WordTable::of(
    "T2_MOUNT_MULE*206 T3_MOUNT_HORSE*186 T5_MOUNT_COUGAR_KEEPER@1*149 T4_MOUNT_GIANTSTAG*67 \
    T6_MOUNT_DIREWOLF*24 T5_MOUNT_ARMORED_HORSE*21 UNIQUE_MOUNT_DIVINE_OWL_ADC*20 T4_MOUNT_HORSE*20 \
    T6_MOUNT_GIANTSTAG_MOOSE*14 T5_MOUNT_HORSE*10 T3_MOUNT_OX*8 UNIQUE_MOUNT_MORGANA_RAVEN_ADC*7 \
    T5_MOUNT_SWAMPDRAGON_FW_THETFORD*4 T7_MOUNT_MONITORLIZARD_ADC*2",
);
static POTIONS: WordTable = WordTable::of(
    "T7_POTION_STONESKIN*154 T7_POTION_REVIVE*65 T6_POTION_COOLDOWN*44 T8_POTION_COOLDOWN*41 \
    T5_POTION_REVIVE*25 T4_POTION_COOLDOWN*25 T6_POTION_HEAL*20 T8_POTION_CLEANSE*12 \
    T7_POTION_STONESKIN@1*8 T6_POTION_HEAL@2*1",
);
static MEALS: WordTable = WordTable::of(
    "T8_MEAL_STEW*105 T1_MEAL_SOUP*62 T7_MEAL_OMELETTE*42 T7_MEAL_OMELETTE@1*29 T5_MEAL_SOUP*25 \
    T5_FISH_FRESHWATER_ALL_COMMON*17 T4_FISH_FRESHWATER_ALL_COMMON*16 T8_MEAL_STEW@1*13 T7_MEAL_ROAST*11 \
    T7_MEAL_PIE*8 T7_MEAL_OMELETTE_AVALON@3*4 T8_MEAL_SANDWICH_AVALON@1*2",
);
/// Loot besides gear: tiers (`-` if the name has none), the size of usual stacks, and the name. The weight is that of
/// each tier.
static LOOT: WordTable<(String, u32)> = WordTable::new(
    "45678/60/RUNE*41 4567/60/SOUL*38 456/60/RELIC*35 4/10/SKILLBOOK_STANDARD*51 \
    34/10/SKILLBOOK_NONTRADABLE*20 14/1/SILVERBAG_NONTRADABLE*18 345/1/2H_TOOL_KNIFE*11 \
    345/1/2H_TOOL_AXE*10 345/1/2H_TOOL_SICKLE*10 345/1/2H_TOOL_PICK*9 345678/60/HIDE*4 345678/60/WOOD*3 \
    345678/60/ORE*2 345678/60/FIBER*2 4567/60/HIDE_LEVEL1@1*3 4567/60/WOOD_LEVEL2@2*3 \
    468/10/POTION_COOLDOWN*14 7/10/POTION_STONESKIN*21 8/10/POTION_CLEANSE*19 7/10/POTION_REVIVE*16 \
    6/10/POTION_ENERGY*15 345/10/FISH_FRESHWATER_ALL_COMMON*4 456/1/ARTEFACT_2H_COMBATSTAFF_MORGANA*3 \
    -/10/TREASURE_CEREMONIAL_RARITY1*19 -/10/TREASURE_KNOWLEDGE_RARITY2*20 -/10/TREASURE_RITUAL_RARITY3*18 \
    -/10/TREASURE_DECORATIVE_RARITY1*12 -/10/UNIQUE_GVGTOKEN_GENERIC*8 -/10/QUESTITEM_TOKEN_AVALON*8 \
    -/1/QUESTITEM_EXP_TOKEN_D3_T6_EXP_HRD_KEEPER_STONEWARS*1 \
    -/1/QUESTITEM_EXP_TOKEN_D3_T6_EXP_HRD_UNDEAD_RECRUITMENT*1 \
    -/1/UNIQUE_FURNITUREITEM_ADC_ICESCULPTURE_C*1 3/1/VANITY_CONSUMABLE_FIREWORKS_YELLOW_NONTRADABLE*1",
    |text| {
        let parts: Vec<&str> = text.split('/').collect();
        let stack = parts[1].parse().expect("a number");
        let kind = |tier| if tier == '-' { String::from(parts[2]) } else { format!("T{tier}_{}", parts[2]) };
        parts[0].chars().map(|tier| (kind(tier), stack)).collect()
    },
);
/// The largest stack seen in real events.
const COUNT_MAX: u32 = 525;

static QUALITIES_WORN: WordTable = WordTable::of("1*120 2*140 3*136 4*594 5*10");
static QUALITIES_PLAIN: WordTable = WordTable::of("1*570 2*240 3*80 4*107 5*3");

/// The slots after the main hand. The first six contain gear, in the order of its kinds from 2 on.
const SLOTS: [&str; 9] = ["OffHand", "Head", "Armor", "Shoes", "Bag", "Cape", "Mount", "Potion", "Food"];
/// The text after the main hand, up to the inventory, of a player without other equipment.
const NOTHING_ELSE: &str = concat!(
    r#","OffHand":null,"Head":null,"Armor":null,"Shoes":null,"Bag":null,"Cape":null,"Mount":null,"Potion":null,"#,
    r#""Food":null},"Inventory":"#,
);

/// One-handed weapons, then empty slots in the order of `SLOTS`, per 1,000.
type Shares = [u32; 10];
pub(crate) const ATTACKER: Shares = [370, 50, 0, 0, 0, 105, 40, 0, 422, 390];
pub(crate) const VICTIM: Shares = [450, 50, 12, 12, 12, 175, 95, 18, 505, 440];

/// Minimum and maximum number of filled slots, and their measured frequency per 1,000 events.
static FILLED: WordTable<[u32; 2]> = WordTable::of_numbers(
    "0-0*200 1-1*119 2-3*130 4-4*55 5-7*125 8-10*75 11-15*115 16-20*65 21-30*78 31-48*38",
);
/// Number of decimals of an item power.
static DECIMALS: WordTable<[u32; 1]> = WordTable::of_numbers("1*6 2*4 3*4 4*15 5*63 6*8");

impl Draft {
    /// Appends the record of a player without equipment, up to the inventory. Returns the range of the main hand.
    pub(crate) fn push_naked(&mut self) -> Range<usize> {
        put!(self, r#"{"AverageItemPower":"#, "0", self.form.float_end, r#","Equipment":{"MainHand":null"#);
        let hand = self.text.len() - "null".len()..self.text.len();
        put!(self, NOTHING_ELSE);
        hand
    }

    /// Same for a player with equipment.
    pub(crate) fn push_dressed(&mut self, shares: &Shares) -> Range<usize> {
        let level = *LEVELS.pick(&mut self.rng);
        put!(self, r#"{"AverageItemPower":"#, level.2 + u64::from(self.rng.u32(..360)));
        let ([width], decimals) = (DECIMALS.pick(&mut self.rng), self.rng.u32(1..1_000_000));
        self.push_decimals(decimals.into(), *width);
        put!(self, r#","Equipment":{"MainHand":"#);
        let hand_start = self.text.len();
        let is_two_handed = self.push_weapon(shares[0], level);
        let hand = hand_start..self.text.len();
        for (slot, (key, empty)) in SLOTS.iter().zip(&shares[1..]).enumerate() {
            put!(self, ",\"", *key, "\":");
            if self.permille(if slot == 0 && is_two_handed { 1000 } else { *empty }) {
                put!(self, "null");
                continue;
            }
            match slot {
                6 => {
                    let rng = &mut self.rng;
                    let (kind, quality) = (MOUNTS.pick(rng), QUALITIES_PLAIN.pick(rng));
                    self.push_item(kind, 1, quality);
                }
                7 => self.push_consumables(&POTIONS),
                8 => self.push_consumables(&MEALS),
                gear => self.push_gear(gear + 2, level),
            }
        }
        put!(self, r#"},"Inventory":"#);
        hand
    }

    /// Same for a group member. Its only item is the main hand, which is rarely empty unless it is in the text already.
    pub(crate) fn push_member(&mut self, hand: Option<Range<usize>>) {
        put!(self, r#"{"AverageItemPower":"#, "0", self.form.float_end, r#","Equipment":{"MainHand":"#);
        if let Some(hand) = hand {
            self.text.extend_from_within(hand);
        } else if self.permille(8) {
            put!(self, "null");
        } else {
            let level = *LEVELS.pick(&mut self.rng);
            self.push_weapon(ATTACKER[0], level);
        }
        put!(self, NOTHING_ELSE);
    }

    /// Appends a main hand and returns whether it is two-handed. All weapons with a soul are.
    fn push_weapon(&mut self, one_handed: u32, level: Level) -> bool {
        if !self.form.is_of_2020 && self.permille(35) {
            self.push_soul();
            return true;
        }
        let gear = if self.permille(one_handed) { ONE_HANDED } else { TWO_HANDED };
        self.push_gear(gear, level);
        gear == TWO_HANDED
    }

    /// Appends the inventory of a victim: 48 slots, usually filled from the first on, sometimes with gaps.
    pub(crate) fn push_bag(&mut self) {
        let [least, most] = *FILLED.pick(&mut self.rng);
        let mut filled = self.rng.u32(least..=most) as usize;
        let mut slots = 48;
        put!(self, "[");
        while filled > 0 {
            if filled < slots && self.permille(60) {
                let gap = 1 + index(&mut self.rng, (slots - filled).min(6));
                self.text.extend(repeat_n("null,", gap));
                slots -= gap;
            }
            if !self.form.is_of_2020 && self.permille(3) {
                self.push_soul();
            } else {
                self.push_loot();
            }
            put!(self, ",");
            filled -= 1;
            slots -= 1;
        }
        self.text.extend(repeat_n("null,", slots));
        self.text.pop();
        put!(self, "]");
    }

    /// Appends worn gear, usually of its owner's level.
    fn push_gear(&mut self, gear: usize, owner: Level) {
        let level = if self.permille(700) { owner } else { *LEVELS.pick(&mut self.rng) };
        let quality = if gear == BAG { &QUALITIES_PLAIN } else { &QUALITIES_WORN }.pick(&mut self.rng);
        self.push_gear_of(&GEAR.values()[gear], level, quality);
    }

    /// Appends up to ten potions or meals.
    fn push_consumables(&mut self, kinds: &'static WordTable) {
        let (kind, count) = (kinds.pick(&mut self.rng), 1 + skewed(&mut self.rng, 10));
        self.push_item(kind, count, "0");
    }

    /// Appends the contents of one bag slot: gear or a stack.
    fn push_loot(&mut self) {
        let rng = &mut self.rng;
        if permille(rng, 280) {
            let (gear, level, quality) = (GEAR.pick(rng), *LEVELS.pick(rng), QUALITIES_PLAIN.pick(rng));
            return self.push_gear_of(gear, level, quality);
        }
        let (kind, stack) = LOOT.pick(rng);
        let count = match stack {
            1 => 1,
            60 if permille(rng, 12) => 1 + rng.u32(..COUNT_MAX),
            _ => 1 + skewed(rng, *stack),
        };
        self.push_item(kind, count, "0");
    }

    fn push_gear_of(
        &mut self,
        (prefix, names): &(&str, Vec<&str>),
        (tier, enchantment, _): Level,
        quality: &str,
    ) {
        let name = *one_of_skewed(&mut self.rng, names);
        put!(self, r#"{"Type":"T"#, tier, *prefix, name, enchantment);
        put!(self, r#"","Count":1,"Quality":"#, quality, self.form.item_end);
    }

    fn push_item(&mut self, kind: &str, count: u32, quality: &str) {
        put!(self, r#"{"Type":""#, kind, r#"","Count":"#, u64::from(count));
        put!(self, r#","Quality":"#, quality, self.form.item_end);
    }
}
