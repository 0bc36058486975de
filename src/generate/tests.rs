//! Properties of the dump: sizes and shares close to the measured ones, and reproducible bytes.

use crate::generate::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::LazyLock;

fn dump(events: u64, seed: u64, overlap_percent: f64) -> String {
    let mut out = Vec::new();
    generate(&GenerateOptions { events, seed, overlap_percent }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The lines of one dump with their parsed values, generated once for all tests.
static SAMPLE: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let parsed = |line: &str| (line.to_owned(), serde_json::from_str(line).unwrap());
    dump(2_000, 1, 0.0).lines().map(parsed).collect()
});

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

fn worn(player: &Value) -> impl Iterator<Item = (&String, &Value)> {
    player["Equipment"].as_object().unwrap().iter().filter(|(_, item)| !item.is_null())
}

fn loot(event: &Value) -> impl Iterator<Item = &Value> {
    list(&event["Victim"], "Inventory").iter().filter(|slot| !slot.is_null())
}

fn is_of_2020(event: &Value) -> bool {
    event["Victim"]["LifetimeStatistics"]["PvE"].get("Mists").is_none()
}

#[track_caller]
fn check<T: PartialOrd + Copy + std::fmt::Debug>(measured: T, expected: RangeInclusive<T>) {
    assert!(expected.contains(&measured), "{measured:?} is not in {expected:?}");
}

/// Checks the mean of a number per event.
#[expect(clippy::cast_precision_loss, reason = "counts of a small sample")]
#[track_caller]
fn check_mean(expected: RangeInclusive<f64>, of: impl Fn(&str, &Value) -> usize) {
    check(SAMPLE.iter().map(|(line, event)| of(line, event)).sum::<usize>() as f64 / 2_000.0, expected);
}

/// Checks the share of events that meet a condition.
#[track_caller]
fn check_percent(expected: RangeInclusive<f64>, of: impl Fn(&str, &Value) -> bool) {
    check_mean(expected, |line, event| 100 * usize::from(of(line, event)));
}

#[test]
fn sizes_and_numbers_are_as_measured() {
    check_mean(13_200.0..=14_800.0, |line, _| line.len() + 1);
    let mut bytes: Vec<_> = SAMPLE.iter().map(|(line, _)| line.len() + 1).collect();
    bytes.sort_unstable();
    for (rank, expected) in [(0, 5_001..=6_500), (1_000, 11_500..=13_200), (1_980, 30_000..=36_000)] {
        check(bytes[rank], expected);
    }
    check_mean(4.6..=5.2, |_, event| records(event).map(id).collect::<BTreeSet<_>>().len());
    check_mean(7.4..=8.8, |_, event| loot(event).count());
    let has_soul = |item: &Value| item["LegendarySoul"].is_object();
    check_mean(0.1..=0.5, |_, event| {
        records(event).flat_map(worn).filter(|(_, item)| has_soul(item)).count()
    });
    check_mean(0.005..=0.06, |_, event| loot(event).filter(|item| has_soul(item)).count());
}

#[test]
fn shares_of_events_are_as_measured() {
    check_percent(0.5..=3.0, |_, event| list(event, "Participants").is_empty());
    check_percent(32.0..=42.0, |_, event| list(event, "GroupMembers").len() == 1);
    check_percent(0.05..=1.0, |_, event| list(event, "GroupMembers").len() > 18);
    check_percent(10.5..=15.5, |_, event| !ids(event, "Participants").contains(id(&event["Killer"])));
    check_percent(11.0..=19.0, |_, event| !ids(event, "Participants").is_subset(&ids(event, "GroupMembers")));
    check_percent(0.5..=3.0, |_, event| event["TotalVictimKillFame"] == 0);
    check_percent(1.5..=5.0, |_, event| worn(&event["Victim"]).next().is_none());
    check_percent(15.0..=25.0, |_, event| loot(event).next().is_none());
    check_percent(55.0..=68.0, |_, event| event["BattleId"] == event["EventId"]);
    check_percent(30.0..=42.0, |line, _| line.starts_with("{\"numberOfParticipants\""));
    check_percent(5.0..=40.0, |line, _| !line.is_ascii());
    check_percent(0.5..=6.0, |line, _| line.contains("\\u"));
    check_percent(1.5..=5.0, |_, event| is_of_2020(event));
    check_percent(0.5..=2.5, |_, event| event.get("lootValue").is_some());
    check_percent(12.0..=30.0, |_, event| event["Killer"]["GuildName"] == "");
    check_percent(2.0..=9.0, |_, event| event["Killer"]["FameRatio"].is_u64());
    check_percent(97.5..=99.8, |_, event| event["TimeStamp"].as_str().unwrap().contains('.'));
    check_percent(85.0..=95.0, |_, event| event["TimeStamp"].as_str().unwrap().len() == 30);
}

#[test]
fn the_parts_of_an_event_agree() {
    for (_, event) in &*SAMPLE {
        let (participants, group) = (list(event, "Participants"), list(event, "GroupMembers"));
        assert_eq!(event["numberOfParticipants"], participants.len());
        assert_eq!(event["groupMemberCount"], group.len());
        check(participants.len(), 0..=4);
        check(group.len(), 1..=40);
        let (participant_ids, group_ids) = (ids(event, "Participants"), ids(event, "GroupMembers"));
        assert_eq!((participant_ids.len(), group_ids.len()), (participants.len(), group.len()));
        let victim = id(&event["Victim"]);
        assert!(group_ids.contains(id(&event["Killer"])));
        assert!(!group_ids.contains(victim) && !participant_ids.contains(victim));

        let fame = event["TotalVictimKillFame"].as_u64().unwrap();
        assert_eq!(event["Victim"]["DeathFame"], fame);
        assert!(group.iter().all(|member| member["KillFame"] == fame / group.len() as u64));
        assert!(group.iter().all(|member| worn(member).all(|(slot, _)| slot == "MainHand")));
        assert!(participants.iter().all(|player| player["KillFame"] == 0));
        assert_eq!(list(&event["Victim"], "Inventory").len(), 48);
        let slots: usize = records(event).map(|player| list(player, "Inventory").len()).sum();
        assert_eq!(slots, 48, "only victims have an inventory");
        assert_eq!(event.get("Category").is_none(), is_of_2020(event));
    }
}

#[test]
fn items_have_the_forms_of_real_ones() {
    let mut kinds = BTreeSet::new();
    for (_, event) in &*SAMPLE {
        for item in records(event).flat_map(worn).map(|(_, item)| item).chain(loot(event)) {
            check(item["Quality"].as_u64().unwrap(), 0..=5);
            check(item["Count"].as_u64().unwrap(), 1..=525);
            assert_eq!(item.get("LegendarySoul").is_none(), is_of_2020(event));
            if item["LegendarySoul"].is_object() {
                check(item["LegendarySoul"]["PvPFameGained"].as_u64().unwrap(), 1..=572_000_000_000);
            }
            kinds.insert(item["Type"].as_str().unwrap());
        }
    }
    assert_eq!(kinds.iter().map(|kind| kind.len()).max(), Some(52));
    assert!(kinds.contains("T8_2H_BOW@3") && kinds.contains("UNIQUE_GVGTOKEN_GENERIC"));
}

#[test]
fn events_and_players_agree_with_earlier_ones() {
    let (mut battles, mut players, mut guilds) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let mut last = (1_300_000_000, jiff::Timestamp::MIN);
    for (_, event) in &*SAMPLE {
        let event_id = event["EventId"].as_u64().unwrap();
        let time: jiff::Timestamp = event["TimeStamp"].as_str().unwrap().parse().unwrap();
        assert!(event_id > last.0 && event_id < last.0 + 10 && time >= last.1);
        last = (event_id, time);
        battles.insert(event_id);
        assert!(battles.contains(&event["BattleId"].as_u64().unwrap()), "the id of a battle's first event");
        for player in records(event) {
            let keys = ["Name", "GuildId", "GuildName", "AllianceName", "Avatar"];
            let texts = keys.map(|key| player[key].as_str().unwrap());
            assert_eq!(id(player).len(), 22);
            assert_eq!(*players.entry(id(player)).or_insert(texts), texts);
            assert_eq!(*guilds.entry(texts[1]).or_insert(texts[2]), texts[2]);
            assert_eq!(texts[1].is_empty(), texts[2].is_empty());
        }
    }
    let seconds = last.1.duration_since("2026-01-05T00:00:00Z".parse().unwrap()).as_secs();
    check(seconds, 1_500..=1_900);
    assert_eq!(players.values().map(|texts| texts[0]).collect::<BTreeSet<_>>().len(), players.len());
    check(players.len(), 2_000..=6_000);
    check(guilds.len(), 150..=301);
}

#[test]
fn the_same_options_give_the_same_bytes() {
    assert_eq!(
        blake3::hash(dump(1_000, 1, 0.0).as_bytes()).to_hex().as_str(),
        "885a62f097e7a70a92adf473a8078a97d45fba4fdb21791c7e80ba1c73086932",
        "the dump changed: earlier measurements are no longer comparable"
    );
    assert_ne!(dump(20, 1, 0.0), dump(20, 2, 0.0));
    assert!(dump(100, 3, 0.0).starts_with(&dump(60, 3, 0.0)), "a longer dump begins with the shorter one");
}

#[test]
fn repeats_have_the_requested_share_and_are_identical() {
    for (events, overlap_percent, repeats) in
        [(600, 8.5, 51), (300, 50.0, 150), (2, 50.0, 1), (1, 50.0, 0), (999, 0.1, 0), (0, 10.0, 0)]
    {
        let dump_with_repeats = dump(events, 5, overlap_percent);
        let (mut seen, mut distinct) = (BTreeMap::new(), String::new());
        for (number, line) in dump_with_repeats.lines().enumerate() {
            if let Some(first) = seen.get(line) {
                assert!(number - first < 300, "line {number} repeats line {first}");
            } else {
                seen.insert(line, number);
                distinct.extend([line, "\n"]);
            }
        }
        assert_eq!(dump_with_repeats.lines().count() as u64, events);
        assert!(distinct == dump(events - repeats, 5, 0.0), "the events are those of a dump without overlap");
    }
}

#[test]
fn options_out_of_range_are_rejected() {
    for (events, overlap_percent) in [(1, -0.1), (1, 50.1), (1, f64::NAN), (EVENTS_MAX + 1, 0.0)] {
        let mut out = Vec::new();
        let error = generate(&GenerateOptions { events, seed: 1, overlap_percent }, &mut out).unwrap_err();
        assert_eq!((error.kind(), out.len()), (io::ErrorKind::InvalidInput, 0));
    }
}

/// Records the sizes of writes, and behaves like a pipe without a reader after 6 MB.
struct Pipe(Vec<usize>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.iter().sum::<usize>() > 6_000_000 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn writes_are_large_and_errors_are_returned() {
    for overlap_percent in [0.0, 20.0] {
        let mut pipe = Pipe(Vec::new());
        let options = GenerateOptions { events: EVENTS_MAX, overlap_percent, ..GenerateOptions::default() };
        assert_eq!(generate(&options, &mut pipe).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(pipe.0.iter().all(|bytes| (256 * 1024..2 * 1024 * 1024).contains(bytes)));
    }
}
