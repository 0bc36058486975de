//! Lines as the oracle reads them.

use super::{Line, elements_before_fault, read_line};

/// Blank, rejected, or the number of elements with the paths of their duplicates.
fn summary(line: &[u8]) -> String {
    let elements = |elements: Vec<super::Element>| {
        let paths = elements.iter().flat_map(|element| element.duplicates.clone());
        format!("{} [{}]", elements.len(), paths.collect::<Vec<_>>().join(" "))
    };
    match read_line(line) {
        Line::Blank => "blank".to_owned(),
        Line::Rejected => "rejected".to_owned(),
        Line::Json(list) => elements(list),
        Line::Doubtful { elements: list, why } => format!("{why}: {}", elements(list)),
    }
}

#[test]
fn kinds_of_lines_are_distinguished() {
    for (line, expected) in [
        ("", "blank"),
        (" \t\r", "blank"),
        ("\u{feff}\r", "blank"),
        ("\u{feff}{}\r", "1 []"),
        ("\u{feff}\u{feff}{}", "rejected"),
        ("\u{b}", "rejected"),
        ("{} {}", "rejected"),
        ("null", "1 []"),
        ("[]", "0 []"),
        ("[[],{},3]", "3 []"),
        (r#"{"EventId":1,"EventId":2,"x":1,"x":2}"#, "1 [EventId]"),
        (r#"[{},{"Killer":{"Id":1,"Id":1,"Avatar":1,"Avatar":1}}]"#, "2 [Killer.Id]"),
        (
            r#"{"GroupMembers":[0,{"Equipment":{"Bag":{"Type":1,"Type":1}}}]}"#,
            "1 [GroupMembers[1].Equipment.Bag.Type]",
        ),
        (
            r#"{"Victim":{"Inventory":[{"LegendarySoul":{"a":1,"a":2},"Count":1,"Count":1}]}}"#,
            "1 [Victim.Inventory[0].Count]",
        ),
        (r#"{"GvGMatch":{"a":[{"b":"\u0000","b":0}]}}"#, "1 [GvGMatch]"),
        (r#"{"Killer":{"Inventory":[{"Count":1,"Count":1}]}}"#, "1 []"),
        (r#"{"a":"\ud83d\ude00"}"#, "1 []"),
        (r#"{"a":"\ud83d"}"#, "a lone surrogate: 1 []"),
        (r#"{"a":"\\\ude00\ud83d"}"#, "a lone surrogate: 1 []"),
        (r#"{"a":"\ud83d",}"#, "rejected"),
        (r#"{"a":"\ud8"}"#, "rejected"),
        (r#"[-1e999,{"a":2}]"#, "a number beyond float8: 2 []"),
        ("[1e400x]", "rejected"),
    ] {
        assert_eq!(summary(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn deep_lines_with_matching_brackets_are_doubtful() {
    let nested = |open: &str, close: &str| [open.repeat(5_000), close.repeat(5_000)].concat();
    let doubtful = "nesting deeper than a parser must bear: 1 []";
    assert_eq!(summary(nested("[", "]").as_bytes()), doubtful);
    assert_eq!(summary(format!("{{\"a\":{}}}", nested("[", "]")).as_bytes()), doubtful);
    assert_eq!(summary(nested("[", "}").as_bytes()), "rejected");
    assert_eq!(summary(nested("[", "").as_bytes()), "rejected");
}

#[test]
fn text_directly_after_an_element_is_the_next_one() {
    for (text, count) in
        [("[1,null>2]", 2), ("[{}x]", 1), ("[12x]", 1), (r#"["a"b]"#, 1), ("[nul]", 0), ("[1,,2]", 1)]
    {
        let (elements, _) = elements_before_fault(text.as_bytes()).expect("an array");
        assert_eq!(elements.len(), count, "{text}");
    }
}
