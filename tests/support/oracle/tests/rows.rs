//! Rows that were computed by hand, column by column.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{EVENT_COLUMNS, LOOT_COLUMNS, PLAYER_COLUMNS, expect_one, text};
use crate::support::oracle::{Cell, Nul, Row, Tables, assert_same, expect};
use crate::support::samples;

/// A row with the given columns, and NULL in the others of `columns`.
fn row<const N: usize>(columns: &[&'static str], cells: [(&'static str, Cell); N]) -> Row {
    let mut row: Row = columns.iter().map(|column| (*column, Cell::Null)).collect();
    for (column, cell) in cells {
        assert!(row.insert(column, cell).is_some(), "no column {column}");
    }
    row
}

/// The event of [`samples::event`] after a change.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut event = samples::event(7);
    change(&mut event);
    event
}

#[test]
fn a_reduced_event_has_its_rows() {
    let dump = concat!(
        r#"{"EventId":1265122450,"TimeStamp":"2025-08-25T21:52:09.204Z","TotalVictimKillFame":25296,"#,
        r#""Killer":{"Id":"K","Name":"Zetkko","GuildName":"R E H A B","AllianceName":"","#,
        r#""AverageItemPower":1069.71667,"Equipment":{"#,
        r#""MainHand":{"Name":"X","Type":"T4_2H_CROSSBOWLARGE@1","Quality":1},"Mount":null}},"#,
        r#""Victim":{"Id":"V","Name":"TranceNight","AverageItemPower":0}}"#,
    );
    let found = expect(dump.as_bytes(), Nul::Reject);
    let expected = Tables {
        aegis: BTreeMap::new(),
        kill_event: BTreeMap::from([(
            1_265_122_450,
            row(
                EVENT_COLUMNS,
                [
                    ("occurred_at", Cell::Time(1_756_158_729_204_000)),
                    ("fame", Cell::Int(25_296)),
                    ("killer_id", text("K")),
                    ("victim_id", text("V")),
                ],
            ),
        )]),
        kill_player: BTreeMap::from([
            (
                (1_265_122_450, "K".to_owned()),
                row(
                    PLAYER_COLUMNS,
                    [
                        ("role", text("killer")),
                        ("in_group", Cell::Bool(false)),
                        ("name", text("Zetkko")),
                        ("guild_name", text("R E H A B")),
                        ("item_power", Cell::Float(1069.71667)),
                        ("main_hand", text("T4_2H_CROSSBOWLARGE@1")),
                        ("main_hand_quality", Cell::Int(1)),
                    ],
                ),
            ),
            (
                (1_265_122_450, "V".to_owned()),
                row(
                    PLAYER_COLUMNS,
                    [
                        ("role", text("victim")),
                        ("in_group", Cell::Bool(false)),
                        ("name", text("TranceNight")),
                        ("item_power", Cell::Float(0.0)),
                    ],
                ),
            ),
        ]),
        kill_loot: BTreeMap::new(),
    };
    assert_same(&expected, &found.tables);
    assert_eq!((found.lines, found.events, found.duplicates), (1, 1, 0));
    assert!(found.rejected.is_empty() && found.tolerated.is_empty());
}

/// The columns of a player's full equipment in [`samples::event`].
fn equipped(row: &mut Row, soul: &str) {
    for (column, item) in [
        ("main_hand", "T8_2H_BOW@3"),
        ("off_hand", "T5_OFF_TORCH"),
        ("head", "T6_HEAD_LEATHER_MORGANA"),
        ("armor", "T6_ARMOR_LEATHER_HELL"),
        ("shoes", "T6_SHOES_PLATE_SET1"),
        ("bag", "T6_BAG_INSIGHT@2"),
        ("cape", "T4_CAPEITEM_FW_CAERLEON"),
        ("mount", "UNIQUE_MOUNT_DIVINE_OWL_ADC"),
        ("potion", "T7_POTION_REVIVE"),
        ("food", "T7_MEAL_PIE"),
    ] {
        row.insert(column, text(item));
    }
    for column in PLAYER_COLUMNS.iter().filter(|column| column.ends_with("_quality")) {
        row.insert(column, Cell::Int(2));
    }
    row.insert("potion_count", Cell::Int(6));
    row.insert("food_count", Cell::Int(3));
    row.insert("main_hand_soul", soul_of(soul));
}

fn soul_of(name: &str) -> Cell {
    let traits = json!([{"trait": "TRAIT_CDR", "roll": 0.123_456_789_012_345_67}]);
    Cell::json(json!({"id": format!("soul-of-{name}"), "subtype": 1, "era": 0, "name": null,
        "attunement": 571_997_723_623_i64, "traits": traits}))
}

#[test]
fn a_full_event_is_one_row_and_its_loot_three() {
    let found = expect_one(&samples::event(7)).tables;
    let event = row(
        EVENT_COLUMNS,
        [
            ("occurred_at", Cell::Time(1_724_013_946_725_895)),
            ("battle_id", Cell::Int(6)),
            ("fame", Cell::Int(241_000)),
            ("killer_id", text("killer-id")),
            ("victim_id", text("victim-id")),
            ("participant_count", Cell::Int(3)),
            ("group_size", Cell::Int(3)),
            ("kill_area", text("OPEN_WORLD")),
            ("category", text("solo")),
            ("kind", text("KILL")),
            ("location", text("Martlock")),
            ("version", Cell::Int(4)),
            ("gvg_match", Cell::json(json!({"MatchType": "20v20", "Points": [150, 37.5], "Guild": null}))),
        ],
    );
    assert_eq!(found.kill_event, BTreeMap::from([(7, event)]));

    let loot =
        |item: &str, count| [("item", text(item)), ("quality", Cell::Int(2)), ("count", Cell::Int(count))];
    let mut bow = row(LOOT_COLUMNS, loot("T8_2H_BOW@3", 1));
    bow.insert("soul", soul_of("inventory"));
    let expected = BTreeMap::from([
        ((7, 0), row(LOOT_COLUMNS, loot("T4_BAG", 1))),
        ((7, 7), row(LOOT_COLUMNS, loot("T6_RUNE", 525))),
        ((7, 47), bow),
    ]);
    assert_eq!(found.kill_loot, expected);
}

#[test]
fn a_full_event_has_five_players() {
    let player = |name: &str, role, in_group, item_power, kill_fame, death_fame, done: Option<(f64, f64)>| {
        let mut row = row(
            PLAYER_COLUMNS,
            [
                ("role", text(role)),
                ("in_group", Cell::Bool(in_group)),
                ("name", text(&format!("The {name}"))),
                ("guild_id", text(&format!("{name}-guild-id"))),
                ("guild_name", text(&format!("Guild of the {name}"))),
                ("alliance_id", text(&format!("{name}-alliance-id"))),
                ("alliance_name", text("ALLY")),
                ("item_power", item_power),
                ("kill_fame", Cell::Int(kill_fame)),
                ("death_fame", Cell::Int(death_fame)),
            ],
        );
        if let Some((damage, healing)) = done {
            row.insert("damage_done", Cell::Float(damage));
            row.insert("healing_done", Cell::Float(healing));
        }
        row
    };
    let power = Cell::Float(1264.71912);
    let mut killer = player("killer", "killer", true, power.clone(), 120_500, 0, Some((812.5, 0.0)));
    equipped(&mut killer, "killer");
    let mut victim = player("victim", "victim", false, power.clone(), 0, 241_000, None);
    equipped(&mut victim, "victim");
    let mut helper = player("helper", "participant", true, power.clone(), 60_250, 0, Some((0.0, 1_030.25)));
    equipped(&mut helper, "helper");
    let mut stranger = player("stranger", "participant", false, power, 0, 0, Some((97.0, 0.0)));
    equipped(&mut stranger, "stranger");
    let mut healer = player("healer", "group", true, Cell::Null, 60_250, 0, None);
    healer.insert("main_hand", text("T8_2H_BOW@3"));
    healer.insert("main_hand_quality", Cell::Int(2));
    healer.insert("main_hand_soul", soul_of("healer"));

    let names = [
        ("killer", killer),
        ("victim", victim),
        ("helper", helper),
        ("stranger", stranger),
        ("healer", healer),
    ];
    let expected: BTreeMap<_, _> =
        names.into_iter().map(|(name, row)| ((7, format!("{name}-id")), row)).collect();
    let tables = Tables { kill_player: expected, ..Tables::default() };
    let found =
        Tables { kill_player: expect_one(&samples::event(7)).tables.kill_player, ..Tables::default() };
    assert_same(&tables, &found);
}

#[test]
fn odd_players_merge_by_the_rules() {
    let player = |change: fn(&mut Value), name: &str, column: &str| {
        let expected = expect_one(&changed(change));
        assert!(expected.rejected.is_empty(), "{:?}", expected.rejected);
        expected.tables.kill_player[&(7, format!("{name}-id"))][column].clone()
    };
    // A suicide: one row, the killer's.
    let suicide: fn(&mut Value) = |event| event["Victim"]["Id"] = json!("killer-id");
    assert_eq!(player(suicide, "killer", "role"), text("killer"));
    assert_eq!(player(suicide, "killer", "death_fame"), Cell::Int(0));
    assert_eq!(expect_one(&changed(suicide)).tables.kill_player.len(), 4);
    assert_eq!(expect_one(&changed(suicide)).tables.kill_event[&7]["victim_id"], text("killer-id"));

    // The first of two records in one list wins.
    let twice: fn(&mut Value) = |event| event["Participants"][2]["Id"] = json!("helper-id");
    assert_eq!(player(twice, "helper", "name"), text("The helper"));
    assert_eq!(player(twice, "helper", "healing_done"), Cell::Float(1_030.25));

    // A victim in the killer's group keeps the victim's fame.
    let turncoat: fn(&mut Value) = |event| event["GroupMembers"][2]["Id"] = json!("victim-id");
    assert_eq!(player(turncoat, "victim", "kill_fame"), Cell::Int(0));
    assert_eq!(player(turncoat, "victim", "in_group"), Cell::Bool(true));
    assert_eq!(player(turncoat, "victim", "item_power"), Cell::Float(1264.71912));

    // A poorer record does not fill in values that the richest one lacks.
    let poor: fn(&mut Value) = |event| event["Killer"]["GuildName"] = json!("");
    assert_eq!(player(poor, "killer", "guild_name"), Cell::Null);
    let bare: fn(&mut Value) = |event| event["Participants"][1]["Equipment"]["MainHand"] = Value::Null;
    assert_eq!(player(bare, "helper", "main_hand"), Cell::Null);
}

#[test]
fn nuls_are_rejected_stripped_or_replaced() {
    let event = changed(|event| {
        event["Killer"]["GuildName"] = json!("\0");
        event["Victim"]["Name"] = json!("a\0b");
        event["GroupMembers"][1]["Id"] = json!("help\0er-id");
        event["Victim"]["Inventory"][0]["LegendarySoul"] = json!({"\0": ["\0"]});
        event["Killer"]["Avatar"] = json!("\0");
    });
    let dump = event.to_string();
    let rejected = expect(dump.as_bytes(), Nul::Reject).rejected;
    let fields =
        ["GroupMembers[1].Id", "Killer.GuildName", "Victim.Inventory[0].LegendarySoul", "Victim.Name"];
    assert_eq!(rejected[0].fields, fields.map(str::to_owned).into());

    let stripped = expect(dump.as_bytes(), Nul::Strip).tables;
    assert_eq!(stripped.kill_player[&(7, "killer-id".to_owned())]["guild_name"], Cell::Null);
    assert_eq!(stripped.kill_player[&(7, "victim-id".to_owned())]["name"], text("ab"));
    assert_eq!(stripped.kill_player[&(7, "helper-id".to_owned())]["in_group"], Cell::Bool(true));
    assert_eq!(stripped.kill_loot[&(7, 0)]["soul"], Cell::json(json!({"": [""]})));

    let replaced = expect(dump.as_bytes(), Nul::Replace).tables;
    assert_eq!(replaced.kill_player[&(7, "killer-id".to_owned())]["guild_name"], text("\u{fffd}"));
    assert_eq!(replaced.kill_player[&(7, "victim-id".to_owned())]["name"], text("a\u{fffd}b"));
    assert_eq!(replaced.kill_player[&(7, "helper-id".to_owned())]["in_group"], Cell::Bool(false));
    assert_eq!(replaced.kill_player[&(7, "help\u{fffd}er-id".to_owned())]["role"], text("group"));
    assert_eq!(replaced.kill_loot[&(7, 0)]["soul"], Cell::json(json!({"\u{fffd}": ["\u{fffd}"]})));

    // Only a NUL: then a required name is missing.
    let event = changed(|event| event["Killer"]["Name"] = json!("\0"));
    let rejected = expect(event.to_string().as_bytes(), Nul::Strip).rejected;
    assert_eq!(rejected[0].field(), Some("Killer.Name"));

    // The killer's record is stored. It is not specified whether the same name elsewhere is checked.
    let event = changed(|event| event["GroupMembers"][0]["Name"] = json!("\0"));
    let expected = expect_one(&event);
    assert_eq!((expected.loaded(), expected.tolerated.len()), (1, 1));
}
