//! The equipment and inventory of a player: the first part of a record, from the brace to the inventory.

use crate::generate::chance::{Wheel, permille};
use crate::generate::items::{Catalogue, Era, Gear, Level};
use crate::generate::souls::Souls;
use crate::generate::text;
use fastrand::Rng;
use std::ops::Range;

/// Number of slots in a victim's bag.
const BAG_SLOTS: u32 = 48;
const NULL: &[u8] = b"null,";
const NULLS: [u8; NULL.len() * BAG_SLOTS as usize] = {
    let mut text = [0; NULL.len() * BAG_SLOTS as usize];
    let mut at = 0;
    while at < text.len() {
        text[at] = NULL[at % NULL.len()];
        at += 1;
    }
    text
};
/// The text after the main hand, up to the inventory, of a player without other equipment.
pub(crate) const NOTHING_ELSE: &[u8] = concat!(
    r#","OffHand":null,"Head":null,"Armor":null,"Shoes":null,"Bag":null,"Cape":null,"Mount":null,"Potion":null,"#,
    r#""Food":null},"Inventory":"#,
)
.as_bytes();

/// Weapons with a soul per 1,000 main hands, and per 1,000 items in a bag.
const SOUL_HAND_PERMILLE: u32 = 35;
const SOUL_LOOT_PERMILLE: u32 = 3;
/// Victims without equipment, per 1,000.
const VICTIM_NAKED_PERMILLE: u32 = 33;

/// Minimum and maximum number of filled slots, and their measured frequency per 1,000 events.
const FILLED: [((u32, u32), u32); 10] = [
    ((0, 0), 200),
    ((1, 1), 119),
    ((2, 3), 130),
    ((4, 4), 55),
    ((5, 7), 125),
    ((8, 10), 75),
    ((11, 15), 115),
    ((16, 20), 65),
    ((21, 30), 78),
    ((31, 48), 38),
];

/// The frequency of an empty slot, per 1,000.
struct Gaps {
    one_handed: u32,
    off_hand: u32,
    clothes: u32,
    bag: u32,
    cape: u32,
    mount: u32,
    potion: u32,
    food: u32,
}

const ATTACKER: Gaps =
    Gaps { one_handed: 370, off_hand: 50, clothes: 0, bag: 105, cape: 40, mount: 0, potion: 422, food: 390 };
const VICTIM: Gaps = Gaps {
    one_handed: 450,
    off_hand: 50,
    clothes: 12,
    bag: 175,
    cape: 95,
    mount: 18,
    potion: 505,
    food: 440,
};

/// Equips players.
pub(crate) struct Outfitter {
    catalogue: Catalogue,
    souls: Souls,
    filled: Wheel<(u32, u32)>,
    decimals: Wheel<usize>,
}

impl Outfitter {
    /// Renders the catalogue of items.
    pub(crate) fn new(souls: Souls) -> Self {
        Self {
            catalogue: Catalogue::new(),
            souls,
            filled: Wheel::new(FILLED),
            decimals: Wheel::new([(1, 6), (2, 4), (3, 4), (4, 15), (5, 63), (6, 8)]),
        }
    }

    /// Appends the record of a killer or participant, up to the comma after the empty inventory. Returns the range of
    /// the main hand.
    pub(crate) fn push_attacker(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era) -> Range<usize> {
        let hand = self.push_dressed(buffer, rng, &ATTACKER, era);
        buffer.extend_from_slice(b"[],");
        hand
    }

    /// Same for a participant without equipment.
    pub(crate) fn push_naked(buffer: &mut Vec<u8>, power_zero: &[u8]) -> Range<usize> {
        let hand = push_nothing(buffer, power_zero);
        buffer.extend_from_slice(b"[],");
        hand
    }

    /// Appends the record of a victim, up to the comma after the bag.
    pub(crate) fn push_victim(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era, power_zero: &[u8]) {
        if permille(rng, VICTIM_NAKED_PERMILLE) {
            push_nothing(buffer, power_zero);
        } else {
            self.push_dressed(buffer, rng, &VICTIM, era);
        }
        self.push_bag(buffer, rng, era);
    }

    /// Appends the main hand of a group member who is in no other list. It is rarely empty.
    pub(crate) fn push_hand(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era) {
        if permille(rng, 8) {
            buffer.extend_from_slice(b"null");
            return;
        }
        let level = self.catalogue.level(rng);
        self.push_weapon(buffer, rng, ATTACKER.one_handed, level, era);
    }

    fn push_dressed(&self, buffer: &mut Vec<u8>, rng: &mut Rng, gaps: &Gaps, era: Era) -> Range<usize> {
        let level = self.catalogue.level(rng);
        buffer.extend_from_slice(br#"{"AverageItemPower":"#);
        text::push_u64(buffer, level.power() + u64::from(rng.u32(..360)));
        buffer.push(b'.');
        let decimals = self.decimals.pick(rng);
        text::push_padded(buffer, u64::from(rng.u32(1..1_000_000)), decimals);
        buffer.extend_from_slice(br#","Equipment":{"MainHand":"#);
        let hand_start = buffer.len();
        let gear = self.push_weapon(buffer, rng, gaps.one_handed, level, era);
        let hand = hand_start..buffer.len();
        let off_hand_permille = if matches!(gear, Gear::OneHanded) { gaps.off_hand } else { 1000 };
        for (key, gear, empty_permille) in [
            (br#","OffHand":"#.as_slice(), Gear::OffHand, off_hand_permille),
            (br#","Head":"#, Gear::Head, gaps.clothes),
            (br#","Armor":"#, Gear::Armor, gaps.clothes),
            (br#","Shoes":"#, Gear::Shoes, gaps.clothes),
            (br#","Bag":"#, Gear::Bag, gaps.bag),
            (br#","Cape":"#, Gear::Cape, gaps.cape),
        ] {
            let catalogue = &self.catalogue;
            push_slot(buffer, rng, key, empty_permille, |b, r| catalogue.push_gear(b, r, gear, level, era));
        }
        let catalogue = &self.catalogue;
        push_slot(buffer, rng, br#","Mount":"#, gaps.mount, |b, r| catalogue.push_mount(b, r, era));
        push_slot(buffer, rng, br#","Potion":"#, gaps.potion, |b, r| catalogue.push_potion(b, r, era));
        push_slot(buffer, rng, br#","Food":"#, gaps.food, |b, r| catalogue.push_food(b, r, era));
        buffer.extend_from_slice(br#"},"Inventory":"#);
        hand
    }

    /// Appends a main hand and returns its kind. A weapon with a soul is two-handed.
    fn push_weapon(
        &self,
        buffer: &mut Vec<u8>,
        rng: &mut Rng,
        one_handed: u32,
        level: Level,
        era: Era,
    ) -> Gear {
        if era == Era::Now && permille(rng, SOUL_HAND_PERMILLE) {
            self.souls.push_weapon(buffer, rng);
            return Gear::TwoHanded;
        }
        let gear = if permille(rng, one_handed) { Gear::OneHanded } else { Gear::TwoHanded };
        self.catalogue.push_gear(buffer, rng, gear, level, era);
        gear
    }

    /// Appends the 48 slots, usually filled from the first on, sometimes with gaps.
    fn push_bag(&self, buffer: &mut Vec<u8>, rng: &mut Rng, era: Era) {
        let (least, most) = self.filled.pick(rng);
        let mut items = rng.u32(least..=most);
        let mut slots = BAG_SLOTS;
        buffer.push(b'[');
        while items > 0 {
            if items < slots && permille(rng, 60) {
                let gap = 1 + rng.u32(..(slots - items).min(6));
                push_nulls(buffer, gap);
                slots -= gap;
            }
            if era == Era::Now && permille(rng, SOUL_LOOT_PERMILLE) {
                self.souls.push_weapon(buffer, rng);
            } else {
                self.catalogue.push_loot(buffer, rng, era);
            }
            buffer.push(b',');
            items -= 1;
            slots -= 1;
        }
        push_nulls(buffer, slots);
        buffer.pop();
        buffer.extend_from_slice(b"],");
    }
}

/// Appends one equipment slot, which is null in `empty_permille` of 1,000.
fn push_slot(
    buffer: &mut Vec<u8>,
    rng: &mut Rng,
    key: &[u8],
    empty_permille: u32,
    push: impl FnOnce(&mut Vec<u8>, &mut Rng),
) {
    buffer.extend_from_slice(key);
    if permille(rng, empty_permille) {
        buffer.extend_from_slice(b"null");
    } else {
        push(buffer, rng);
    }
}

fn push_nulls(buffer: &mut Vec<u8>, count: u32) {
    buffer.extend_from_slice(&NULLS[..NULL.len() * count as usize]);
}

/// Appends the record of a player without equipment, up to the inventory. Returns the range of the main hand's null.
fn push_nothing(buffer: &mut Vec<u8>, power_zero: &[u8]) -> Range<usize> {
    buffer.extend_from_slice(br#"{"AverageItemPower":"#);
    buffer.extend_from_slice(power_zero);
    buffer.extend_from_slice(br#","Equipment":{"MainHand":"#);
    let hand_start = buffer.len();
    buffer.extend_from_slice(b"null");
    let hand = hand_start..buffer.len();
    buffer.extend_from_slice(NOTHING_ELSE);
    hand
}
