//! Casts the players of an event into its lists, with the groups, sizes and battles of real events.

use crate::generate::chance::{WordTable, one_of, permille, skewed};
use crate::generate::players::{PlayerIndex, Population};
use fastrand::Rng;

/// Group members, participants, participants from the group, and the measured frequency. A group of 0 stands for
/// one of the sizes from 19 to 40.
static SHAPES: WordTable<[u32; 3]> = WordTable::of_numbers(
    "3-0-0*10 1-1-1*580 1-2-1*66 1-3-1*10 1-4-1*9 2-1-1*30 2-2-2*282 2-3-2*20 2-4-1*18 2-4-2*10 3-2-2*12 3-3-3*92 \
    3-4-3*10 4-1-1*10 4-2-2*10 4-3-2*10 4-3-3*40 4-4-3*28 4-4-4*52 5-2-2*10 5-4-3*28 5-4-4*84 6-1-1*10 6-4-3*10 \
    6-4-4*54 7-0-0*10 7-4-4*74 8-0-0*10 8-4-4*54 9-4-0*12 9-4-2*10 9-4-4*24 10-4-2*10 10-4-4*32 11-4-4*3 12-4-4*3 \
    13-4-4*3 14-4-4*8 15-4-4*54 16-4-4*3 17-4-4*2 18-4-1*6 18-4-4*2 0-4-4*3 0-4-2*1 0-4-3*1",
);
/// Maximum number of concurrent battles.
const BATTLES_OPEN_MAX: usize = 24;

/// Draws the players of one event after another. Invariant: no player is in an event twice, except for participants who
/// are group members.
#[derive(Default)]
pub(crate) struct Cast {
    /// The killer first, then the other group members. Never empty after `draw`.
    pub(crate) group: Vec<PlayerIndex>,
    /// At most four.
    pub(crate) participants: Vec<PlayerIndex>,
    /// A player in neither list.
    pub(crate) victim: PlayerIndex,
    /// The id of the first event of this event's battle.
    pub(crate) battle_id: u64,
    /// The ids and sides of recent battles, and the number of all battles so far.
    battles: Vec<(u64, [PlayerIndex; 2])>,
    battles_begun: usize,
}

impl Cast {
    /// Draws the players of the event with this id.
    pub(crate) fn draw(&mut self, rng: &mut Rng, population: &Population, event_id: u64) {
        let [mut size, participants, from_group] = *SHAPES.pick(rng);
        if size == 0 {
            size = rng.u32(19..41);
        }
        self.battle_id = event_id;
        let [killer, victim] = self.opponents(rng, population, size);
        let stride = rng.u32(1..=2);
        self.group.clear();
        self.group.extend((0..size).map(|step| population.neighbour(killer, step * stride)));
        self.victim = victim;
        while self.group.contains(&self.victim) {
            self.victim = population.neighbour(self.victim, 1);
        }
        // The killer is at a random position of the participants or, in some large groups, missing.
        let first = usize::from(size > 4 && from_group < size && permille(rng, 400));
        self.participants.clear();
        self.participants.extend(self.group.iter().skip(first).take(from_group as usize));
        let outsider = population.pick(rng, 200);
        let outsiders = (1..)
            .map(|steps| population.neighbour(outsider, steps))
            .filter(|player| *player != self.victim && !self.group.contains(player));
        self.participants.extend(outsiders.take((participants - from_group) as usize));
        if participants > 1 {
            self.participants.rotate_left(rng.u32(..participants) as usize);
        }
    }

    /// Draws killer and victim, either of a battle that began earlier or as the first of a new one.
    fn opponents(&mut self, rng: &mut Rng, population: &Population, group: u32) -> [PlayerIndex; 2] {
        if !self.battles.is_empty() && permille(rng, 383) {
            let sides;
            (self.battle_id, sides) = *one_of(rng, &self.battles);
            let attacker = usize::from(rng.bool());
            return [(attacker, 10), (1 - attacker, 20)]
                .map(|(side, limit)| population.neighbour(sides[side], skewed(rng, limit)));
        }
        // Players without a guild mostly hunt alone.
        let guildless_permille = if group <= 2 { 300 } else { 60 };
        let sides = [population.pick(rng, guildless_permille), population.pick(rng, 270)];
        match self.battles.get_mut(self.battles_begun % BATTLES_OPEN_MAX) {
            Some(oldest) => *oldest = (self.battle_id, sides),
            None => self.battles.push((self.battle_id, sides)),
        }
        self.battles_begun += 1;
        sides
    }
}
