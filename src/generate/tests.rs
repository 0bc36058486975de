//! Properties of the dump: sizes and shares close to the measured ones, and reproducible bytes.

use crate::generate::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::OnceLock;

const EVENTS: u64 = 2_000;

fn dump(events: u64, seed: u64, overlap_percent: f64) -> (Vec<u8>, GeneratedDump) {
    let mut out = Vec::new();
    let summary = generate(&GenerateOptions { events, seed, overlap_percent }, &mut out).unwrap();
    (out, summary)
}

fn lines(dump: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', dump).map(move |end| &dump[std::mem::replace(&mut start, end + 1)..end])
}

/// The lines of one dump with their parsed values, generated once for all tests.
fn sample() -> &'static [(String, Value)] {
    static SAMPLE: OnceLock<Vec<(String, Value)>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let (bytes, _) = dump(EVENTS, 1, 0.0);
        lines(&bytes)
            .map(|line| (String::from_utf8(line.to_vec()).unwrap(), serde_json::from_slice(line).unwrap()))
            .collect()
    })
}

fn list<'a>(event: &'a Value, key: &str) -> &'a [Value] {
    event[key].as_array().unwrap()
}

fn id(player: &Value) -> &str {
    player["Id"].as_str().unwrap()
}

fn ids<'a>(event: &'a Value, key: &str) -> BTreeSet<&'a str> {
    list(event, key).iter().map(id).collect()
}

/// The records of all players in an event.
fn records(event: &Value) -> impl Iterator<Item = &Value> {
    let listed = list(event, "Participants").iter().chain(list(event, "GroupMembers"));
    [&event["Killer"], &event["Victim"]].into_iter().chain(listed)
}

fn loot(event: &Value) -> impl Iterator<Item = &Value> {
    list(&event["Victim"], "Inventory").iter().filter(|slot| !slot.is_null())
}

fn is_of_2020(event: &Value) -> bool {
    event["Victim"]["LifetimeStatistics"]["PvE"].get("Mists").is_none()
}

/// The mean of a number per event.
#[expect(clippy::cast_precision_loss, reason = "counts of a small sample")]
fn mean(of: impl Fn(&str, &Value) -> usize) -> f64 {
    sample().iter().map(|(line, event)| of(line, event)).sum::<usize>() as f64 / sample().len() as f64
}

/// The percentage of events that meet a condition.
fn percent(of: impl Fn(&Value) -> bool) -> f64 {
    100.0 * mean(|_, event| usize::from(of(event)))
}

/// A number per event, sorted.
fn sorted(of: impl Fn(&str, &Value) -> usize) -> Vec<usize> {
    let mut numbers: Vec<_> = sample().iter().map(|(line, event)| of(line, event)).collect();
    numbers.sort_unstable();
    numbers
}

#[track_caller]
fn check<T: PartialOrd + Copy + std::fmt::Debug>(measured: T, expected: RangeInclusive<T>) {
    assert!(expected.contains(&measured), "{measured:?} is not in {expected:?}");
}

#[test]
fn sizes_are_as_measured() {
    let bytes = sorted(|line, _| line.len() + 1);
    check(mean(|line, _| line.len() + 1), 13_200.0..=14_800.0);
    check(bytes[bytes.len() / 2], 11_500..=13_200);
    check(bytes[0], 5_001..=6_500);
    check(bytes[bytes.len() * 99 / 100], 30_000..=36_000);
    let statistics = mean(|_, event| {
        let each = if is_of_2020(event) { 510 } else { 552 };
        each * records(event).count()
    });
    check(statistics / mean(|line, _| line.len() + 1), 0.30..=0.34);
}

#[test]
fn numbers_of_players_are_as_measured() {
    for (_, event) in sample() {
        check(list(event, "Participants").len(), 0..=4);
        check(list(event, "GroupMembers").len(), 1..=40);
        assert_eq!(event["numberOfParticipants"], list(event, "Participants").len());
        assert_eq!(event["groupMemberCount"], list(event, "GroupMembers").len());
    }
    check(mean(|_, event| records(event).map(id).collect::<BTreeSet<_>>().len()), 4.6..=5.2);
    check(percent(|event| list(event, "Participants").is_empty()), 0.5..=3.0);
    check(percent(|event| list(event, "GroupMembers").len() == 1), 32.0..=42.0);
    check(percent(|event| list(event, "GroupMembers").len() > 18), 0.05..=1.0);
}

#[test]
fn lists_relate_to_each_other_as_measured() {
    for (_, event) in sample() {
        let (killer, victim) = (id(&event["Killer"]), id(&event["Victim"]));
        let (participants, group) = (ids(event, "Participants"), ids(event, "GroupMembers"));
        assert!(group.contains(killer) && killer != victim);
        assert!(!group.contains(victim) && !participants.contains(victim));
        assert_eq!(participants.len(), list(event, "Participants").len());
        assert_eq!(group.len(), list(event, "GroupMembers").len());
    }
    check(percent(|event| !ids(event, "Participants").contains(id(&event["Killer"]))), 10.5..=15.5);
    check(percent(|event| !ids(event, "Participants").is_subset(&ids(event, "GroupMembers"))), 11.0..=19.0);
}

#[test]
fn fame_and_power_are_in_the_records_of_the_game() {
    for (_, event) in sample() {
        let total = event["TotalVictimKillFame"].as_u64().unwrap();
        assert_eq!(event["Victim"]["DeathFame"], total);
        for member in list(event, "GroupMembers") {
            assert_eq!(member["KillFame"], total / list(event, "GroupMembers").len() as u64);
            assert_eq!(member["AverageItemPower"].as_f64(), Some(0.0));
            let worn = member["Equipment"].as_object().unwrap();
            assert!(worn.iter().all(|(slot, item)| slot == "MainHand" || item.is_null()));
        }
        assert!(list(event, "Participants").iter().all(|player| player["KillFame"] == 0));
    }
    check(percent(|event| event["TotalVictimKillFame"] == 0), 0.5..=3.0);
    check(
        percent(|event| event["Victim"]["Equipment"].as_object().unwrap().values().all(Value::is_null)),
        1.5..=5.0,
    );
}

#[test]
fn loot_is_as_measured() {
    for (_, event) in sample() {
        assert_eq!(list(&event["Victim"], "Inventory").len(), 48);
        let others = list(event, "Participants").iter().chain(list(event, "GroupMembers"));
        assert!(others.chain([&event["Killer"]]).all(|player| list(player, "Inventory").is_empty()));
    }
    let filled = sorted(|_, event| loot(event).count());
    check(filled[filled.len() / 2], 3..=5);
    check(mean(|_, event| loot(event).count()), 7.4..=8.8);
    let counts = sorted(|_, event| {
        loot(event).map(|item| item["Count"].as_u64().unwrap()).max().unwrap_or(0).try_into().unwrap()
    });
    check(*counts.last().unwrap(), 400..=525);
}

#[test]
fn items_have_the_forms_of_real_ones() {
    let mut kinds = BTreeSet::new();
    let mut souls = [0, 0];
    for (_, event) in sample() {
        let worn = records(event).flat_map(|player| player["Equipment"].as_object().unwrap().values());
        for (place, item) in worn.map(|item| (0, item)).chain(loot(event).map(|item| (1, item))) {
            if item.is_null() {
                continue;
            }
            check(item["Quality"].as_u64().unwrap(), 0..=5);
            kinds.insert(item["Type"].as_str().unwrap());
            if item["LegendarySoul"].is_object() {
                souls[place] += 1;
                check(item["LegendarySoul"]["PvPFameGained"].as_u64().unwrap(), 1..=572_000_000_000);
            }
        }
    }
    check(souls[0], 200..=1_000);
    check(souls[1], 10..=120);
    check(kinds.iter().map(|kind| kind.len()).max().unwrap(), 52..=52);
    for prefix in ["UNIQUE_", "TREASURE_", "QUESTITEM_", "T8_2H_BOW@3"] {
        assert!(kinds.iter().any(|kind| kind.starts_with(prefix)), "{prefix}");
    }
}

#[test]
fn ids_times_and_battles_are_in_order() {
    let mut firsts = BTreeSet::new();
    let mut last = (1_300_000_000, jiff::Timestamp::MIN);
    for (_, event) in sample() {
        let event_id = event["EventId"].as_u64().unwrap();
        let time: jiff::Timestamp = event["TimeStamp"].as_str().unwrap().parse().unwrap();
        assert!(event_id > last.0 && event_id < last.0 + 10 && time >= last.1);
        last = (event_id, time);
        let battle = event["BattleId"].as_u64().unwrap();
        if battle == event_id {
            firsts.insert(event_id);
        }
        assert!(firsts.contains(&battle), "battle {battle} began with no event");
    }
    check(percent(|event| event["BattleId"] == event["EventId"]), 55.0..=68.0);
}

#[test]
fn events_vary_as_captures_do() {
    let share = |of: &dyn Fn(&str) -> bool| 100.0 * mean(|line, _| usize::from(of(line)));
    check(share(&|line| line.starts_with("{\"numberOfParticipants\"")), 30.0..=42.0);
    check(share(&|line| !line.is_ascii()), 5.0..=40.0);
    check(share(&|line| line.contains("\\u")), 0.5..=6.0);
    check(percent(is_of_2020), 1.5..=5.0);
    check(percent(|event| event.get("lootValue").is_some()), 0.5..=2.5);
    check(percent(|event| event["Killer"]["GuildName"] == ""), 12.0..=30.0);
    check(percent(|event| event["Killer"]["FameRatio"].is_u64()), 2.0..=9.0);
    for (_, event) in sample().iter().filter(|(_, event)| is_of_2020(event)) {
        assert!(event.get("Category").is_none());
        let hand = &event["Killer"]["Equipment"]["MainHand"];
        assert!(hand.is_object() && hand.get("LegendarySoul").is_none());
    }
    let mut digits = BTreeMap::new();
    for (_, event) in sample() {
        let time = event["TimeStamp"].as_str().unwrap().strip_suffix('Z').unwrap();
        *digits.entry(time.split_once('.').map_or(0, |(_, fraction)| fraction.len())).or_insert(0) += 1;
    }
    assert_eq!(digits.keys().copied().collect::<Vec<_>>(), [0, 3, 6, 7, 9]);
    check(digits[&9], 1_700..=1_900);
}

#[test]
fn a_player_is_the_same_in_every_event() {
    let mut players = BTreeMap::new();
    let mut guilds = BTreeMap::new();
    for (_, event) in sample() {
        for player in records(event) {
            let texts = ["Name", "GuildId", "GuildName", "AllianceName", "Avatar"]
                .map(|key| player[key].as_str().unwrap());
            assert_eq!(id(player).len(), 22);
            assert_eq!(*players.entry(id(player)).or_insert(texts), texts);
            assert_eq!(*guilds.entry(texts[1]).or_insert(texts[2]), texts[2]);
            assert_eq!(texts[1].is_empty(), texts[2].is_empty());
        }
    }
    let names: BTreeSet<_> = players.values().map(|texts| texts[0]).collect();
    assert_eq!(names.len(), players.len());
    check(players.len(), 2_000..=6_000);
    check(guilds.len(), 150..=301);
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let (bytes, summary) = dump(1_000, 1, 0.0);
    assert_eq!(summary, GeneratedDump { lines: 1_000, events_distinct: 1_000, bytes: bytes.len() as u64 });
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "885a62f097e7a70a92adf473a8078a97d45fba4fdb21791c7e80ba1c73086932",
        "the dump changed: earlier measurements are no longer comparable"
    );
    assert_ne!(dump(20, 1, 0.0).0, dump(20, 2, 0.0).0);
}

#[test]
fn a_longer_dump_begins_with_the_shorter_one() {
    let (long, _) = dump(100, 3, 0.0);
    let (short, _) = dump(60, 3, 0.0);
    assert!(long.starts_with(&short));
}

#[test]
fn repeats_have_the_requested_share_and_are_identical() {
    let check = |events: u64, overlap_percent: f64, repeats_expected: u64| {
        let (bytes, summary) = dump(events, 5, overlap_percent);
        let (plain, _) = dump(events - repeats_expected, 5, 0.0);
        let mut seen = BTreeMap::new();
        let mut distinct = Vec::new();
        for (number, line) in lines(&bytes).enumerate() {
            if let Some(first) = seen.get(line) {
                assert!(number - first < 300, "line {number} repeats line {first}");
            } else {
                seen.insert(line, number);
                distinct.extend_from_slice(line);
                distinct.push(b'\n');
            }
        }
        assert_eq!(lines(&bytes).count() as u64, events);
        assert_eq!(summary.lines, events);
        assert_eq!(summary.events_distinct, events - repeats_expected);
        assert!(distinct == plain, "the events are those of a dump without overlap");
    };
    check(600, 8.5, 51);
    check(300, 50.0, 150);
    check(2, 50.0, 1);
    check(1, 50.0, 0);
    check(999, 0.1, 0);
}

#[test]
fn nothing_is_written_for_no_events() {
    let (bytes, summary) = dump(0, 1, 10.0);
    assert_eq!((bytes.len(), summary.lines), (0, 0));
}

#[test]
fn options_out_of_range_are_rejected() {
    let check = |events, overlap_percent| {
        let mut out = Vec::new();
        let error = generate(&GenerateOptions { events, seed: 1, overlap_percent }, &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(out.is_empty());
    };
    check(1, -0.1);
    check(1, 50.1);
    check(1, f64::NAN);
    check(EVENTS_MAX + 1, 0.0);
}

/// Accepts a number of bytes, then behaves like a pipe without a reader. It records the writes.
struct Pipe {
    left: usize,
    writes: Vec<usize>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.left -= bytes.len();
        self.writes.push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn writes_are_large_and_errors_are_returned() {
    for overlap_percent in [0.0, 20.0] {
        let mut pipe = Pipe { left: 6_000_000, writes: Vec::new() };
        let options = GenerateOptions { events: EVENTS_MAX, overlap_percent, ..GenerateOptions::default() };
        let error = generate(&options, &mut pipe).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(!pipe.writes.is_empty());
        assert!(pipe.writes.iter().all(|bytes| (256 * 1024..512 * 1024).contains(bytes)));
    }
}
