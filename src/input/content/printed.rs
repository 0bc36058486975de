//! Detects rows as `psql`, `COPY` and `sqlite3` print them.

use crate::input::content::sqlite::sqlite_place;
use crate::input::decode::format::Foreign;
use serde::de::IgnoredAny;

/// The shortest line that separates the head of a table from its rows.
const RULE_MIN: usize = 3;

/// The JSON of a record is sought in this number of lines.
const RECORD_LINES_MAX: usize = 50;

/// Detects scripts and rows that do not begin with JSON.
pub(crate) fn printed(text: &str) -> Option<Foreign> {
    if text.starts_with("PRAGMA foreign_keys=OFF;") {
        return Some(Foreign::SqliteScript(sqlite_place(text)));
    }
    aligned(text).or_else(|| separated(text)).or_else(|| quoted(text)).or_else(|| surrounded(text))
}

/// Returns whether the first cell is not JSON, but is after the removal of the escapes of COPY.
pub(crate) fn is_copied(first_bytes: &[u8]) -> bool {
    // Within a cell, COPY escapes tabs and line breaks.
    let cell = first_bytes.split(|byte| matches!(byte, b'\t' | b'\n')).next().unwrap_or_default();
    if cell.len() == first_bytes.len() || !cell.contains(&b'\\') {
        return false;
    }
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let Ok(cell) = str::from_utf8(cell) else { return false };
    let copied = || {
        // No cell with text contains this character.
        let halved = cell.replace("\\\\", "\u{1}");
        let joined = ["\\n", "\\r", "\\t"].iter().fold(halved, |text, escape| text.replace(escape, " "));
        joined.replace('\u{1}', "\\")
    };
    !is_json(cell) && is_json(&copied())
}

/// Detects a table whose second line separates its head from its rows.
fn aligned(text: &str) -> Option<Foreign> {
    let mut lines = text.lines().skip(1);
    let rule = lines.next()?;
    if rule.len() < RULE_MIN || !rule.starts_with('-') || rule.contains(|letter: char| !"-+".contains(letter))
    {
        return None;
    }
    lines.find_map(|row| json_cell(row, '|')).map(Foreign::PsqlTable)
}

/// Detects rows with JSON in another column than the first one. If another line begins with JSON, the first one is only a
/// broken line.
fn separated(text: &str) -> Option<Foreign> {
    let first = text.lines().next()?;
    // The names of the columns may precede rows with tabs.
    let format = [('\t', 2, Foreign::CopyRows), ('|', 1, Foreign::PsqlRows)].into_iter().find_map(
        |(separator, rows, format)| {
            let is_row = |row: &str| {
                let column = json_cell(row, separator).unwrap_or(0);
                let before: usize = row.split(separator).take(column).map(|cell| cell.len() + 1).sum();
                column > 0 && !row[..before].contains(['"', '{', '['])
            };
            let is_separated = first.contains(separator) && text.lines().take(rows).any(is_row);
            is_separated.then_some(format)
        },
    );
    format.filter(|_| !has_json_line(text))
}

/// Returns whether a line begins with JSON, so that the others are only broken lines.
fn has_json_line(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(['{', '[']))
}

/// Detects rows, or INSERT statements, with JSON in single quotes.
fn quoted(text: &str) -> Option<Foreign> {
    const INSERT: &str = "INSERT INTO ";
    let is_json = |cell: &str| cell.starts_with("'{") || cell.starts_with("'[");
    let is_insert = text.get(..INSERT.len()).is_some_and(|start| start.eq_ignore_ascii_case(INSERT));
    let is_quoted = if is_insert {
        text.contains("'{") || text.contains("'[")
    } else {
        text.lines().next().is_some_and(|row| row.split(',').any(is_json))
    };
    (is_quoted && !has_json_line(text)).then_some(Foreign::QuotedRows)
}

/// Detects rows with JSON behind a name or between borders.
fn surrounded(text: &str) -> Option<Foreign> {
    let first = text.lines().next()?;
    let is_bordered = first.starts_with("-[ RECORD ") || first.starts_with(['\u{250c}', '+', '|']);
    let is_separated = || {
        ["|", ",", ";", " = ", ": "].into_iter().any(|separator| {
            let mut rows = text.lines().take(RECORD_LINES_MAX);
            first.contains(separator) && rows.any(|row| is_cell(row, separator))
        })
    };
    let is_json = |line: &str| before_json(line).is_some_and(|before| !before.is_empty());
    let is_surrounded = if is_bordered { text.lines().any(is_json) } else { is_separated() };
    (is_surrounded && !has_json_line(text)).then_some(Foreign::SurroundedRows)
}

/// Returns whether JSON begins right after a separator of the row, such as in `name = value`.
fn is_cell(row: &str, separator: &str) -> bool {
    before_json(row)
        .and_then(|before| before.strip_suffix(separator))
        .is_some_and(|before| !before.is_empty() && !before.contains('"'))
}

/// Returns what is before the JSON in a line, if it contains JSON.
fn before_json(line: &str) -> Option<&str> {
    let at = line.find(['{', '['])?;
    // A record's number is in brackets.
    let inner = line[at..].trim_start_matches(['{', '[', ' ']);
    inner.starts_with('"').then(|| &line[..at])
}

/// Returns the number of the first cell that begins with JSON.
fn json_cell(row: &str, separator: char) -> Option<usize> {
    row.split(separator).position(|cell| {
        let cell = cell.trim_start();
        // A line break within the JSON is `\n` in rows of COPY, and a `+` at the end of the line in a table.
        let inner = cell.trim_start_matches(['{', '[', ' ', '+']);
        cell.starts_with(['{', '[']) && (inner.is_empty() || inner.starts_with(['"', '\\']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::decode::format::SqlitePlace;

    #[test]
    fn rows_of_other_programs_are_detected() {
        let place = SqlitePlace { table: "kills".to_owned(), column: "raw".to_owned() };
        for (text, expected) in [
            (
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE kills (id, raw);\n",
                Foreign::SqliteScript(Some(place)),
            ),
            ("raw   \n------\n {\"EventId\": 1}\n(1 row)\n", Foreign::PsqlTable(0)),
            ("id | raw \n----+-----\n  1 | {\"EventId\": 1}\n", Foreign::PsqlTable(1)),
            ("id | raw \n----+-----\n  1 | {     +| 2\n    |  \"EventId\": 1,  +| \n", Foreign::PsqlTable(1)),
            ("1|{\"EventId\": 1}|x\n", Foreign::PsqlRows),
            ("1|2|[{\"EventId\": 1}]\n", Foreign::PsqlRows),
            ("1|{\n  \"EventId\": 1\n}\n", Foreign::PsqlRows),
            ("1\t{\"EventId\": 1}\n", Foreign::CopyRows),
            ("1\t\\N\t{\\n  \"EventId\": 1}\n", Foreign::CopyRows),
            ("id\traw\n1\t{\"EventId\": 1}\n", Foreign::CopyRows),
            ("-[ RECORD 1 ]---\nid  | 1\nraw | {\"EventId\": 1}\n", Foreign::SurroundedRows),
            ("id|raw\n1|{\"EventId\": 1}\n(1 row)\n", Foreign::SurroundedRows),
            ("id|1\nraw|{\"EventId\": 1}\n\n", Foreign::SurroundedRows),
            ("1,{\"EventId\": 1},x\n", Foreign::SurroundedRows),
            ("1,2,{\"EventId\": 1}\n", Foreign::SurroundedRows),
            ("id,raw\n1,{\"EventId\": 1}\n", Foreign::SurroundedRows),
            ("1;{\"EventId\": 1};x\n", Foreign::SurroundedRows),
            ("id;raw\n1;{\"EventId\": 1}\n", Foreign::SurroundedRows),
            ("   id = 1\n  raw = {\"EventId\":1}\n", Foreign::SurroundedRows),
            ("event: kill\ndata: {\"EventId\":1}\n\n", Foreign::SurroundedRows),
            ("12:00:01 INFO kill: [{\"EventId\":1}]\n", Foreign::SurroundedRows),
            ("┌────┬───┐\n│ id │ raw │\n├────┼───┤\n│ 1  │ {\"EventId\":1} │\n", Foreign::SurroundedRows),
            ("+----+---+\n| id | raw |\n+----+---+\n| 1  | {\"EventId\":1} |\n", Foreign::SurroundedRows),
            ("1,'{\"Name\":\"it''s\"}','it''s'\n", Foreign::QuotedRows),
            ("INSERT INTO k VALUES(1,'{\"EventId\":1}');\n", Foreign::QuotedRows),
        ] {
            assert_eq!(printed(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "id | raw\n",
            "id | raw\n----+----\n",
            "1|2|3\n",
            "a, b\nc, d {\"EventId\": 1}\n",
            "a,b\n1,{2}\n",
            "a = 1\n{\"EventId\": 1}\n",
            "HTTP/1.1 200 OK\nAge: 1\n\n[{\"EventId\": 1}]\n",
            "  \"Killer\": {\"Id\": \"a\"},\n",
            "INSERT INTO k VALUES(1);\n",
            "now [INFO] | {1}\n",
            "garbage|{\"EventId\": 1}\n{\"EventId\":2}\n",
            "1\t\"{\"\"EventId\"\":1}\"\n",
            "\"Inventory\": [\n\t\t{\n\t\t\t\"Count\": 1\n",
        ] {
            assert_eq!(printed(text), None, "{text}");
        }
    }

    #[test]
    fn escapes_of_copy_are_detected() {
        for (text, expected) in [
            (r#"{"Name":"a \\"b\\""}"#, true),
            (r#"{\n  "Name":\t"a"\n}"#, true),
            (r#"{"Name":"a \"b\""}"#, false),
            (r#"{"Name":"a \\ b"}"#, false),
            (r#"{"Name":"a"}"#, false),
        ] {
            assert_eq!(is_copied(format!("{text}\n").as_bytes()), expected, "{text}");
            assert_eq!(is_copied(format!("{text}\t1\n").as_bytes()), expected, "{text}");
            // The end of the cell is unknown.
            assert!(!is_copied(text.as_bytes()), "{text}");
        }
    }
}
