//! Writes an event as a line of JSON, with the fields in the order of the game's API.

use crate::generate::cast::Cast;
use crate::generate::chance::{WordTable, permille, skewed};
use crate::generate::draft::{Draft, EventForm, put};
use crate::generate::items::{ATTACKER, VICTIM};
use crate::generate::players::{PlayerIndex, Population};
use crate::generate::souls;
use fastrand::Rng;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::ops::Range;

/// The time before the first event, 2026-01-05T00:00:00Z, in ticks of the game's clock: tenths of a microsecond.
const START_TICKS: u64 = 17_675_712_000_000_000;
/// Number of decimals of a second in a tick.
const TICK_DECIMALS: u32 = 7;
/// Maximum time between events. The mean is 864 ms, or about 100,000 events per day.
const GAP_TICKS_MAX: u64 = 17_280_000;
/// All event ids are above this one.
const EVENT_ID_BASE: u64 = 1_300_000_000;
/// Maximum gap between adjacent ids. The mean of real ones is about 5.
const EVENT_ID_GAP_MAX: u64 = 9;

/// Number of weapons with souls in a dump.
const SOULS: u32 = 192;

/// Number of decimals of a second.
static FRACTIONS: WordTable<[u32; 1]> = WordTable::of_numbers("9*90 6*5 7*2 3*2 0*1");

/// Minimum total fame and its limit, and the number of events in that range per 1,000: the measured quantiles.
static FAMES: WordTable<[u64; 2]> = WordTable::of_numbers(
    "0-1*14 30-1440*36 1440-9528*200 9528-27330*250 27330-88053*250 88053-207516*150 207516-1500000*88 \
    1500000-7000000*12",
);

/// Writes one event after another.
pub(crate) struct EventWriter {
    pub(crate) draft: Draft,
    population: Population,
    cast: Cast,
    event_id: u64,
    /// Time of the event since 1970.
    ticks: u64,
    /// The range of each group member's main hand in the text, once written.
    hands: Vec<Option<Range<usize>>>,
}

impl EventWriter {
    /// Creates a writer. The same seed produces the same events.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let population = Population::new(&mut rng);
        let souls = (0..SOULS).map(|_| souls::weapon(&mut rng, &population)).collect();
        let draft = Draft { text: String::new(), form: EventForm::draw(&mut rng.clone()), rng, souls };
        let (event_id, ticks) = (EVENT_ID_BASE, START_TICKS);
        Self { draft, population, cast: Cast::default(), event_id, ticks, hands: Vec::new() }
    }

    /// Appends the next event and its line feed.
    pub(crate) fn append(&mut self) {
        let rng = &mut self.draft.rng;
        self.event_id += rng.u64(1..=EVENT_ID_GAP_MAX);
        // The time sometimes stays the same. It has no more decimals than are written, so that written times ascend.
        if permille(rng, 960) {
            self.ticks += rng.u64(..=GAP_TICKS_MAX);
        }
        let [decimals] = *FRACTIONS.pick(rng);
        self.ticks = self.ticks.next_multiple_of(10_u64.pow(TICK_DECIMALS.saturating_sub(decimals)));
        self.cast.draw(rng, &self.population, self.event_id);
        self.draft.form = EventForm::draw(rng);
        let [low, high] = *FAMES.pick(rng);
        let fame = rng.u64(low..high);
        let share = fame / self.cast.group.len() as u64;

        self.push_head(decimals as usize);
        let killer = self.push_killer(share);
        put!(self.draft, r#","Victim":"#);
        // One in 30 victims has no equipment.
        if self.draft.permille(33) {
            self.draft.push_naked();
        } else {
            self.draft.push_dressed(&VICTIM);
        }
        self.draft.push_bag();
        self.push_person(",", self.cast.victim, [fame, 0]);
        put!(self.draft, r#"},"TotalVictimKillFame":"#, fame, r#","Location":null,"Participants":["#);
        self.push_participants(&killer);
        put!(self.draft, r#"],"GroupMembers":["#);
        self.push_group(share);
        put!(self.draft, r#"],"GvGMatch":null,"BattleId":"#, self.cast.battle_id);
        self.push_end();
    }

    /// Appends the counts, in either order, the id and the time.
    fn push_head(&mut self, decimals: usize) {
        let draft = &mut self.draft;
        let group = (r#""groupMemberCount":"#, self.cast.group.len() as u64);
        let participants = (r#""numberOfParticipants":"#, self.cast.participants.len() as u64);
        let (a, b) = if draft.permille(360) { (participants, group) } else { (group, participants) };
        put!(draft, "{", a.0, a.1, ",", b.0, b.1, r#","EventId":"#, self.event_id, r#","TimeStamp":""#);
        let time = Timestamp::from_nanosecond(i128::from(self.ticks) * 100).expect("before the year 5000");
        write!(draft.text, "{time:.decimals$}").expect("a string accepts all texts");
        put!(draft, r#"","Version":4,"Killer":"#);
    }

    /// Appends the killer and returns the range from the brace to the inventory, which the killer's participant record
    /// shares.
    fn push_killer(&mut self, share: u64) -> Range<usize> {
        let start = self.draft.text.len();
        let hand = self.draft.push_dressed(&ATTACKER);
        let range = start..self.draft.text.len();
        self.hands.clear();
        self.hands.resize(self.cast.group.len(), None);
        self.hands[0] = Some(hand);
        self.push_person("[],", self.cast.group[0], [0, share]);
        put!(self.draft, "}");
        range
    }

    fn push_participants(&mut self, killer: &Range<usize>) {
        for position in 0..self.cast.participants.len() {
            if position > 0 {
                put!(self.draft, ",");
            }
            let player = self.cast.participants[position];
            let member = self.cast.group.iter().position(|&member| member == player);
            if member == Some(0) {
                self.draft.text.extend_from_within(killer.clone());
            } else {
                // Players who have left the game meanwhile are listed without equipment.
                let draft = &mut self.draft;
                let hand =
                    if draft.permille(49) { draft.push_naked() } else { draft.push_dressed(&ATTACKER) };
                if let Some(member) = member {
                    self.hands[member] = Some(hand);
                }
            }
            self.push_person("[],", player, [0, 0]);
            put!(self.draft, r#","DamageDone":"#);
            self.push_amount(150, 4_500);
            put!(self.draft, r#","SupportHealingDone":"#);
            self.push_amount(750, 12_000);
            put!(self.draft, "}");
        }
    }

    fn push_group(&mut self, share: u64) {
        let size = self.cast.group.len();
        let first = self.draft.rng.u32(..64) as usize;
        for position in 0..size {
            if position > 0 {
                put!(self.draft, ",");
            }
            let member = (first + position) % size;
            self.draft.push_member(self.hands[member].take());
            self.push_person("[],", self.cast.group[member], [0, share]);
            put!(self.draft, "}");
        }
    }

    /// Appends the fields of a player record from the inventory to the statistics. `fames` are those of deaths and of
    /// kills.
    fn push_person(&mut self, inventory: &str, player: PlayerIndex, [death_fame, kill_fame]: [u64; 2]) {
        let draft = &mut self.draft;
        put!(draft, inventory);
        let identity = &self.population.player(player).identity;
        if draft.form.is_escaped && !identity.is_ascii() {
            for unit in identity.encode_utf16() {
                match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => draft.text.push(char::from(byte)),
                    _ => write!(draft.text, "\\u{unit:04x}").expect("a string accepts all texts"),
                }
            }
        } else {
            put!(draft, identity.as_str());
        }
        put!(draft, death_fame, r#","KillFame":"#, kill_fame, r#","FameRatio":"#);
        // The game's float is sometimes a hundredth too low.
        let is_low = kill_fame > 50_000 && draft.permille(50);
        let ratio_end = if is_low { ".99" } else { draft.form.ratio_end };
        put!(draft, kill_fame * 10 - u64::from(is_low), ratio_end, draft.form.statistics);
    }

    /// Appends damage or healing: zero in `zero_permille` of 1,000, usually whole, rarely with up to 18 decimals.
    fn push_amount(&mut self, zero_permille: u32, limit: u32) {
        let draft = &mut self.draft;
        if draft.permille(zero_permille) {
            put!(draft, "0", draft.form.float_end);
            return;
        }
        put!(draft, u64::from(skewed(&mut draft.rng, limit)));
        let width = match draft.rng.u32(..400) {
            0 => draft.rng.u32(12..=18),
            1..24 => draft.rng.u32(1..=6),
            _ => 0,
        };
        if width == 0 {
            put!(draft, draft.form.float_end);
        } else {
            let decimals = draft.rng.u64(..);
            draft.push_decimals(decimals, width);
        }
    }

    /// Appends the fields after the battle. One bot adds the value of loot to stored events.
    fn push_end(&mut self) {
        let draft = &mut self.draft;
        let category = if draft.form.is_of_2020 { "" } else { r#","Category":null"# };
        put!(draft, r#","KillArea":"OPEN_WORLD""#, category, r#","Type":"KILL""#);
        if !draft.form.is_of_2020 && draft.permille(12) {
            let [equipment, inventory] = [40_000_000, 5_000_000].map(|limit| skewed(&mut draft.rng, limit));
            put!(draft, r#","lootValue":{"equipment":"#, u64::from(equipment));
            put!(draft, r#","inventory":"#, u64::from(inventory), "}");
        }
        put!(draft, "}\n");
    }
}
