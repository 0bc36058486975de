//! Casts the players of an event into its lists, with the groups, sizes and battles of real events.

use crate::generate::chance::{Wheel, permille, skewed};
use crate::generate::population::{PlayerIndex, Population};
use fastrand::Rng;
use std::ops::Range;

/// Group members, participants, participants from the group, and the measured frequency. A group of 0 stands for a size
/// from `ARMY`.
const SHAPES: [(Shape, u32); 46] = [
    (shape(3, 0, 0), 10),
    (shape(1, 1, 1), 580),
    (shape(1, 2, 1), 66),
    (shape(1, 3, 1), 10),
    (shape(1, 4, 1), 9),
    (shape(2, 1, 1), 30),
    (shape(2, 2, 2), 282),
    (shape(2, 3, 2), 20),
    (shape(2, 4, 1), 18),
    (shape(2, 4, 2), 10),
    (shape(3, 2, 2), 12),
    (shape(3, 3, 3), 92),
    (shape(3, 4, 3), 10),
    (shape(4, 1, 1), 10),
    (shape(4, 2, 2), 10),
    (shape(4, 3, 2), 10),
    (shape(4, 3, 3), 40),
    (shape(4, 4, 3), 28),
    (shape(4, 4, 4), 52),
    (shape(5, 2, 2), 10),
    (shape(5, 4, 3), 28),
    (shape(5, 4, 4), 84),
    (shape(6, 1, 1), 10),
    (shape(6, 4, 3), 10),
    (shape(6, 4, 4), 54),
    (shape(7, 0, 0), 10),
    (shape(7, 4, 4), 74),
    (shape(8, 0, 0), 10),
    (shape(8, 4, 4), 54),
    (shape(9, 4, 0), 12),
    (shape(9, 4, 2), 10),
    (shape(9, 4, 4), 24),
    (shape(10, 4, 2), 10),
    (shape(10, 4, 4), 32),
    (shape(11, 4, 4), 3),
    (shape(12, 4, 4), 3),
    (shape(13, 4, 4), 3),
    (shape(14, 4, 4), 8),
    (shape(15, 4, 4), 54),
    (shape(16, 4, 4), 3),
    (shape(17, 4, 4), 2),
    (shape(18, 4, 1), 6),
    (shape(18, 4, 4), 2),
    (shape(0, 4, 4), 3),
    (shape(0, 4, 2), 1),
    (shape(0, 4, 3), 1),
];
/// Group sizes in large battles.
const ARMY: Range<u32> = 19..41;

/// Killers of large groups who are not among their own participants, per 1,000.
const KILLER_MISSING_PERMILLE: u32 = 400;
/// Events that belong to a battle that began earlier, per 1,000.
const BATTLE_CONTINUES_PERMILLE: u32 = 383;
/// Maximum number of concurrent battles.
const BATTLES_OPEN_MAX: usize = 24;

#[derive(Clone, Copy)]
struct Shape {
    group: u32,
    participants: u32,
    from_group: u32,
}

const fn shape(group: u32, participants: u32, from_group: u32) -> Shape {
    Shape { group, participants, from_group }
}

/// A participant of an event.
#[derive(Clone, Copy)]
pub(crate) enum Seat {
    /// The group member at this position of `Cast::group`.
    Member(usize),
    /// A player outside the group.
    Outsider(PlayerIndex),
}

struct GeneratedBattle {
    id: u64,
    sides: [PlayerIndex; 2],
}

/// Draws the players of one event after another. Invariant: no player is in an event twice, except for participants who
/// are group members.
pub(crate) struct Cast {
    /// The killer first, then the other group members. Never empty after `draw`.
    pub(crate) group: Vec<PlayerIndex>,
    /// At most four.
    pub(crate) participants: Vec<Seat>,
    /// A player in neither list.
    pub(crate) victim: PlayerIndex,
    /// The id of the first event of this event's battle.
    pub(crate) battle_id: u64,
    shapes: Wheel<Shape>,
    battles: Vec<GeneratedBattle>,
    battle_oldest: usize,
}

impl Cast {
    pub(crate) fn new() -> Self {
        Self {
            group: Vec::new(),
            participants: Vec::new(),
            victim: 0,
            battle_id: 0,
            shapes: Wheel::new(SHAPES),
            battles: Vec::new(),
            battle_oldest: 0,
        }
    }

    /// Draws the players of the event with this id.
    pub(crate) fn draw(&mut self, rng: &mut Rng, population: &Population, event_id: u64) {
        let mut shape = self.shapes.pick(rng);
        if shape.group == 0 {
            shape.group = rng.u32(ARMY);
        }
        let (killer, victim) = self.opponents(rng, population, event_id, shape.group);
        self.group.clear();
        self.group.push(killer);
        let stride = rng.u32(1..=2);
        for step in 1..shape.group {
            self.group.push(population.neighbour(killer, step * stride));
        }
        self.victim = victim;
        while self.group.contains(&self.victim) {
            self.victim = population.neighbour(self.victim, 1);
        }
        self.seat(rng, population, shape);
    }

    /// Draws killer and victim, either of an ongoing battle or as the first of a new one.
    fn opponents(
        &mut self,
        rng: &mut Rng,
        population: &Population,
        event_id: u64,
        group: u32,
    ) -> (PlayerIndex, PlayerIndex) {
        if !self.battles.is_empty() && permille(rng, BATTLE_CONTINUES_PERMILLE) {
            let open = u32::try_from(self.battles.len()).expect("few battles are open");
            let battle = &self.battles[rng.u32(..open) as usize];
            let attacker = usize::from(rng.bool());
            self.battle_id = battle.id;
            let (killer, victim) = (battle.sides[attacker], battle.sides[1 - attacker]);
            return (
                population.neighbour(killer, skewed(rng, 10)),
                population.neighbour(victim, skewed(rng, 20)),
            );
        }
        // Players without a guild mostly hunt alone.
        let guildless_permille = if group <= 2 { 300 } else { 60 };
        let sides = [population.pick(rng, guildless_permille), population.pick(rng, 270)];
        let battle = GeneratedBattle { id: event_id, sides };
        if self.battles.len() < BATTLES_OPEN_MAX {
            self.battles.push(battle);
        } else {
            self.battles[self.battle_oldest] = battle;
            self.battle_oldest = (self.battle_oldest + 1) % BATTLES_OPEN_MAX;
        }
        self.battle_id = event_id;
        (sides[0], sides[1])
    }

    /// Fills the participants. The killer is at a random position or missing.
    fn seat(&mut self, rng: &mut Rng, population: &Population, shape: Shape) {
        self.participants.clear();
        let killer_can_miss = shape.group > 4 && shape.from_group < shape.group;
        let first = u32::from(killer_can_miss && permille(rng, KILLER_MISSING_PERMILLE));
        self.participants
            .extend((first..first + shape.from_group).map(|member| Seat::Member(member as usize)));
        let mut outsider = population.pick(rng, 200);
        for _ in shape.from_group..shape.participants {
            outsider = population.neighbour(outsider, 1);
            while outsider == self.victim || self.group.contains(&outsider) {
                outsider = population.neighbour(outsider, 1);
            }
            self.participants.push(Seat::Outsider(outsider));
        }
        if shape.participants > 1 {
            self.participants.rotate_left(rng.u32(..shape.participants) as usize);
        }
    }
}
