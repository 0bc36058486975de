//! Hostile input: lines from a careless or malicious source, each with the expected verdict.
//!
//! Invariant: no line contains a line feed, and none is blank.

mod numbers;

use serde_json::{Value, json};

/// A placeholder for raw text in a document, which a [`Value`] could not hold.
const MARK: &str = "@raw@";

/// The required result of a line with `--nul reject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One event, loaded.
    Loaded,
    /// This many events, all rejected.
    Rejected {
        /// The field that must be named, if there is only one choice.
        field: Option<&'static str>,
        events: u64,
    },
    /// One event, loaded or rejected.
    Either,
    /// No event.
    Nothing,
}

/// A name, one line without its line feed, and its verdict.
pub(crate) type Case = (&'static str, Vec<u8>, Verdict);

/// Hostile lines made from `valid_event`, which must have the parts of [`super::samples::event`]. Every line that is an
/// event, or nearly, has an id of its own, counted on from that of `valid_event`, except for lines about ids.
pub(crate) fn lines(valid_event: &str) -> Vec<Case> {
    let mut forge = Forge::new(valid_event);
    no_json(&mut forge);
    no_events(&mut forge);
    frames(&mut forge);
    texts(&mut forge);
    needed(&mut forge);
    numbers::add(&mut forge);
    types(&mut forge);
    structure(&mut forge);
    forge.cases
}

const NO_JSON: Verdict = rejected(None);

const fn rejected(field: Option<&'static str>) -> Verdict {
    Verdict::Rejected { field, events: 1 }
}

const fn at(field: &'static str) -> Verdict {
    rejected(Some(field))
}

/// Creates lines of one event.
struct Forge {
    event: Value,
    id: i64,
    cases: Vec<Case>,
}

impl Forge {
    fn new(valid_event: &str) -> Self {
        let event: Value = serde_json::from_str(valid_event).expect("the event is valid");
        let id = event["EventId"].as_i64().expect("the event has an id");
        Self { event, id, cases: Vec::new() }
    }

    fn add(&mut self, name: &'static str, line: impl Into<Vec<u8>>, verdict: Verdict) {
        self.cases.push((name, line.into(), verdict));
    }

    /// The event with a new id.
    fn next(&mut self) -> Value {
        self.id += 1;
        let mut event = self.event.clone();
        event["EventId"] = json!(self.id);
        event
    }

    /// The event with `raw` as the text of the value at a pointer, which is created if needed.
    fn with(&mut self, pointer: &str, raw: impl AsRef<[u8]>) -> Vec<u8> {
        let mut event = self.next();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = event.pointer_mut(parent).unwrap_or_else(|| panic!("the event lacks {parent}"));
        match parent {
            Value::Array(values) => values[key.parse::<usize>().expect("an index")] = json!(MARK),
            other => other[key] = json!(MARK),
        }
        let text = event.to_string();
        let (before, after) = text.split_once(&format!("\"{MARK}\"")).expect("the mark is there");
        [before.as_bytes(), raw.as_ref(), after.as_bytes()].concat()
    }

    fn add_with(&mut self, name: &'static str, pointer: &str, raw: impl AsRef<[u8]>, verdict: Verdict) {
        let line = self.with(pointer, raw);
        self.add(name, line, verdict);
    }

    fn add_without(&mut self, name: &'static str, pointer: &str, verdict: Verdict) {
        let mut event = self.next();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = event.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
        assert!(parent.remove(key).is_some(), "the event lacks {pointer}");
        self.add(name, event.to_string(), verdict);
    }

    /// The event with more text after its opening brace.
    fn add_before(&mut self, name: &'static str, text: &str, verdict: Verdict) {
        let line = self.next().to_string().replacen('{', &format!("{{{text},"), 1);
        self.add(name, line, verdict);
    }
}

fn no_json(forge: &mut Forge) {
    forge.add("an HTML error page", "<html><head><title>502 Bad Gateway</title></head></html>", NO_JSON);
    forge.add("a plain error message", "upstream request timeout", NO_JSON);
    forge.add("a form feed", "\u{c}", NO_JSON);
    forge.add("a NUL byte", "\0", NO_JSON);
    forge.add("bytes that are no text", b"\xFF\xFE\x00\x01".to_vec(), NO_JSON);
    let whole = forge.next().to_string().into_bytes();
    // Joined, they would be one event over two lines.
    for cut in (1..40).map(|part| part * whole.len() / 40).chain([1, whole.len() - 1]) {
        forge.add("a cut event", whole[..cut].to_vec(), NO_JSON);
    }
    for cut in (1..40).map(|part| part * whole.len() / 40).chain([1, whole.len() - 1]) {
        // A text that begins with a value is that value and a remainder.
        if !b"{[".contains(&whole[cut]) {
            forge.add("an event without its beginning", whole[cut..].to_vec(), NO_JSON);
        }
    }
    let one = forge.next();
    forge.add("an array without its end", format!("[{one}"), NO_JSON);
    forge.add("an array with a comma too many", format!("[{one},]"), NO_JSON);
    forge.add("single quotes", one.to_string().replace('"', "'"), NO_JSON);
    forge.add(
        "a comma after the last field",
        one.to_string().split_at(one.to_string().len() - 1).0.to_owned() + ",}",
        NO_JSON,
    );
    forge.add("keys without quotes", "{EventId:1}", NO_JSON);
    forge.add_before("a key without a value", "\"Avatar\"", NO_JSON);
    forge.add("100,000 open brackets", "[".repeat(100_000), NO_JSON);
    forge.add("100,000 open braces", "{\"a\":".repeat(100_000), NO_JSON);
}

fn no_events(forge: &mut Forge) {
    for (name, line) in [
        ("null", "null"),
        ("true", "true"),
        ("a number", "17"),
        ("a string", "\"KILL\""),
        ("an empty string", "\"\""),
        ("an array in an array", "[[]]"),
        ("an array of null", "[null]"),
    ] {
        forge.add(name, line, rejected(None));
    }
    forge.add("an empty array", "[]", Verdict::Nothing);
    forge.add("an empty array with white space", " [ \t] \r", Verdict::Nothing);
    let four = Verdict::Rejected { field: None, events: 4 };
    forge.add("an array without an event", "[null, 5, \"x\", [{}]]", four);
    forge.add("an empty object", "{}", rejected(None));
    forge.add("an error object", "{\"status\":502,\"message\":\"Bad Gateway\"}", rejected(None));
    let nested = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    forge.add("100,000 nested arrays", nested, rejected(None));
}

fn frames(forge: &mut Forge) {
    let line = forge.next();
    forge.add("a byte order mark", format!("\u{feff}{line}"), Verdict::Loaded);
    let line = forge.next();
    forge.add("white space around an event", format!(" \t{line} \t\r"), Verdict::Loaded);
    let line = forge.next();
    forge.add("an array of one event", format!("[{line}]"), Verdict::Loaded);
    let line = forge.next();
    forge.add("two byte order marks", format!("\u{feff}\u{feff}{line}"), NO_JSON);
    let line = forge.next();
    forge.add("a space of another script", format!("\u{a0}{line}"), NO_JSON);
    let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    forge.add_with("a line of 1 MB", "/Killer/Avatar", long(1_000_000), Verdict::Loaded);
    forge.add_with("a line of 20 MB", "/Killer/Avatar", long(20_000_000), NO_JSON);
}

fn texts(forge: &mut Forge) {
    const NAME: &str = "/Killer/Name";
    const AVATAR: &str = "/Killer/Avatar";
    const SOUL: &str = "/Killer/Equipment/MainHand/LegendarySoul";
    const SOUL_FIELD: &str = "Killer.Equipment.MainHand.LegendarySoul";

    forge.add_with("invalid UTF-8 in a name", NAME, b"\"\xC3\x28\"", NO_JSON);
    forge.add_with("invalid UTF-8 in an avatar", AVATAR, b"\"\xC3\x28\"", NO_JSON);
    forge.add_with("UTF-8 of a surrogate in a name", NAME, b"\"\xED\xA0\x80\"", NO_JSON);
    forge.add_with("an overlong slash in an avatar", AVATAR, b"\"\xC0\xAF\"", NO_JSON);
    forge.add_with("a raw control character in a name", NAME, b"\"a\x01b\"", NO_JSON);
    forge.add_with("a raw tab in an avatar", AVATAR, b"\"a\tb\"", NO_JSON);
    forge.add_with("a raw NUL in a name", NAME, b"\"a\0b\"", NO_JSON);
    forge.add_with("an unknown escape in an avatar", AVATAR, r#""\x41""#, NO_JSON);
    forge.add_with("a short escape in a name", NAME, r#""\u12""#, NO_JSON);

    forge.add_with("a lone surrogate in a name", NAME, r#""\ud800""#, NO_JSON);
    forge.add_with("a low surrogate first in a name", NAME, r#""\udc00\ud800""#, NO_JSON);
    forge.add_with("a lone surrogate in a soul", SOUL, r#"{"name":"\ud800"}"#, NO_JSON);
    forge.add_with("a lone surrogate in a soul's key", SOUL, r#"{"\ud800":1}"#, NO_JSON);
    forge.add_with("a lone surrogate in an avatar", AVATAR, r#""\ud800""#, Verdict::Either);
    forge.add_with("a pair of surrogates in a name", NAME, r#""\ud83d\ude00""#, Verdict::Loaded);

    forge.add_with("a NUL in a name", NAME, r#""a\u0000b""#, at("Killer.Name"));
    forge.add_with(
        "a NUL in an item",
        "/Victim/Inventory/0/Type",
        r#""\u0000""#,
        at("Victim.Inventory[0].Type"),
    );
    forge.add_with("a NUL in a helper's id", "/Participants/1/Id", r#""h\u0000""#, at("Participants[1].Id"));
    forge.add_with("a NUL in a soul", SOUL, r#"{"names":["\u0000"]}"#, at(SOUL_FIELD));
    forge.add_with("a NUL in a soul's key", SOUL, r#"{"\u0000":1}"#, at(SOUL_FIELD));
    forge.add_with("a NUL in a match", "/GvGMatch", r#""\u0000""#, at("GvGMatch"));
    forge.add_with("a NUL in an avatar", AVATAR, r#""a\u0000b""#, Verdict::Loaded);
    forge.add_with(
        "a NUL in a head's soul",
        "/Killer/Equipment/Head/LegendarySoul",
        r#""\u0000""#,
        Verdict::Loaded,
    );
    forge.add_with("no NUL but a backslash", NAME, r#""a\\u0000b""#, Verdict::Loaded);
    forge.add_with("copy's own end mark in a name", NAME, r#""\\.""#, Verdict::Loaded);
    forge.add_with("tabs and line feeds in a name", NAME, r#""a\tb\nc\r\"\\N""#, Verdict::Loaded);
}

fn needed(forge: &mut Forge) {
    for (pointer, field) in [
        ("/EventId", "EventId"),
        ("/TimeStamp", "TimeStamp"),
        ("/TotalVictimKillFame", "TotalVictimKillFame"),
        ("/Killer", "Killer"),
        ("/Killer/Id", "Killer.Id"),
        ("/Killer/Name", "Killer.Name"),
        ("/Victim", "Victim"),
        ("/Victim/Id", "Victim.Id"),
        ("/Victim/Name", "Victim.Name"),
        ("/Participants/2/Id", "Participants[2].Id"),
        ("/GroupMembers/2/Id", "GroupMembers[2].Id"),
    ] {
        forge.add_without("a needed field is missing", pointer, at(field));
        forge.add_with("a needed field is null", pointer, "null", at(field));
        forge.add_with("a needed field is empty", pointer, "\"\"", at(field));
        forge.add_with("a needed field is a boolean", pointer, "true", at(field));
        forge.add_with("a needed field is an array", pointer, "[]", at(field));
    }
    forge.add_with("the victim is a string", "/Victim", "\"Retnark\"", at("Victim"));
    for date in [
        "2024-13-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01T25:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+0200",
        "yesterday",
        " ",
        "0000-00-00T00:00:00Z",
    ] {
        forge.add_with("a date that is none", "/TimeStamp", format!("\"{date}\""), at("TimeStamp"));
    }
    forge.add_with("a date as a number", "/TimeStamp", "1724013946", at("TimeStamp"));
    forge.add_with(
        "a date with an offset",
        "/TimeStamp",
        "\"2024-02-29T23:59:59.999999999-11:30\"",
        Verdict::Loaded,
    );
    forge.add_with("a date before 1970", "/TimeStamp", "\"1969-12-31T23:59:59.9999999Z\"", Verdict::Loaded);
}

fn types(forge: &mut Forge) {
    for (pointer, raw, field) in [
        ("/KillArea", "5", "KillArea"),
        ("/Location", "{}", "Location"),
        ("/Type", "[]", "Type"),
        ("/Category", "false", "Category"),
        ("/Killer", "[1]", "Killer"),
        ("/Killer/GuildName", "5", "Killer.GuildName"),
        ("/Victim/AllianceId", "{}", "Victim.AllianceId"),
        ("/Killer/AverageItemPower", "\"high\"", "Killer.AverageItemPower"),
        ("/Participants", "{}", "Participants"),
        ("/Participants/1", "null", "Participants[1]"),
        ("/Participants/1", "7", "Participants[1]"),
        ("/Participants/0/Name", "7", "Participants[0].Name"),
        ("/Participants/0/DamageDone", "\"1\"", "Participants[0].DamageDone"),
        ("/Participants/2/SupportHealingDone", "[]", "Participants[2].SupportHealingDone"),
        ("/GroupMembers", "true", "GroupMembers"),
        ("/GroupMembers/0", "null", "GroupMembers[0]"),
        ("/GroupMembers/0", "[]", "GroupMembers[0]"),
        ("/Killer/Equipment", "[]", "Killer.Equipment"),
        ("/Killer/Equipment/Head", "\"T4_HEAD\"", "Killer.Equipment.Head"),
        ("/Victim/Equipment/Cape/Type", "4", "Victim.Equipment.Cape.Type"),
        ("/Victim/Inventory", "{}", "Victim.Inventory"),
        ("/Victim/Inventory/7", "5", "Victim.Inventory[7]"),
        ("/Victim/Inventory/7/Type", "{}", "Victim.Inventory[7].Type"),
    ] {
        forge.add_with("a wrong type", pointer, raw, at(field));
    }
    for (pointer, raw) in [
        ("/BattleId", "\"\""),
        ("/Killer/Equipment", "\"\""),
        ("/Killer/Equipment/Head/Count", "\"1\""),
        ("/Killer/DamageDone", "\"1\""),
        ("/Victim/Equipment/Bag/Count", "3000000000"),
    ] {
        forge.add_with("a wrong type where the rules are silent", pointer, raw, Verdict::Either);
    }
    for (pointer, raw) in [
        ("/Killer/Avatar", "5"),
        ("/Killer/LifetimeStatistics", "\"none\""),
        ("/Killer/Inventory", "\"full\""),
        ("/Killer/Inventory", "[1,{\"Type\":5}]"),
        ("/Participants/0/Inventory", "{\"Type\":5}"),
        ("/Killer/Equipment/Head/ActiveSpells", "7"),
        ("/Killer/Equipment/Head/LegendarySoul", "7"),
        ("/Killer/Equipment/Trousers", "7"),
        ("/unknown", "[{\"EventId\":\"x\"}]"),
        ("/killer", "5"),
        ("/GvGMatch", "[1,\"x\",null]"),
        ("/Killer/Equipment/MainHand/LegendarySoul", "\"a soul\""),
        ("/Killer/Equipment/MainHand/LegendarySoul", "false"),
        ("/Killer/Equipment/MainHand", "{}"),
        ("/Killer/Equipment", "null"),
        ("/Victim/Inventory", "null"),
        ("/Victim/Inventory/0", "{}"),
        ("/Participants", "null"),
        ("/GroupMembers", "[]"),
        ("/Participants/1/Name", "null"),
        ("/GroupMembers/2/Name", "\"\""),
    ] {
        forge.add_with("odd, but no fault", pointer, raw, Verdict::Loaded);
    }
}

fn structure(forge: &mut Forge) {
    let nested = ["[".repeat(5_000), "]".repeat(5_000)].concat();
    let ragged = ["[".repeat(5_000), "]".repeat(4_999)].concat();
    forge.add_with("5,000 nested arrays in an avatar", "/Killer/Avatar", &nested, Verdict::Either);
    forge.add_with("5,000 nested arrays in a match", "/GvGMatch", &nested, Verdict::Either);
    forge.add_with("5,000 nested arrays as a name", "/Killer/Name", &nested, rejected(None));
    forge.add_with("5,000 nested arrays less a bracket", "/Killer/Avatar", &ragged, NO_JSON);
    forge.add_before("the id twice", "\"EventId\":1", Verdict::Either);
    forge.add_before("the id twice, at first as a string", "\"EventId\":\"x\"", Verdict::Either);
    forge.add_before("the killer twice", "\"Killer\":null", Verdict::Either);
    forge.add_before("an unknown key twice", "\"x\":1,\"x\":{}", Verdict::Loaded);
    let soul = r#"{"name":"a","name":"b"}"#;
    forge.add_with("a soul's key twice", "/Killer/Equipment/MainHand/LegendarySoul", soul, Verdict::Loaded);
    let item = r#"{"Type":"T4_BAG","Type":"T5_BAG"}"#;
    forge.add_with("an item's type twice", "/Victim/Inventory/0", item, Verdict::Either);
    let line = forge.next().to_string();
    forge.add(
        "a needed key in escapes",
        line.replacen("\"EventId\"", r#""\u0045vent\u0049d""#, 1),
        Verdict::Loaded,
    );
    let line = forge.next().to_string();
    forge.add("a needed key in lower case", line.replacen("\"EventId\"", "\"eventId\"", 1), at("EventId"));
}
