//! Detects rows of text: CSV with or without a header, SQL scripts, and JSON in strings.

use crate::input::content::printed::printed;
use crate::input::decode::format::{CsvColumn, Foreign, PgRows};

/// The cell separators of CSV.
const DELIMITERS: [char; 3] = ['\t', ';', ','];

/// Detects rows of text, and SQL scripts that contain rows.
pub(crate) fn table(text: &str) -> Option<Foreign> {
    if text.starts_with("--\n-- PostgreSQL database ") {
        Some(Foreign::PgScript(pg_rows(text)))
    } else if is_json_strings(text) {
        Some(Foreign::JsonStrings)
    } else {
        printed(text).or_else(|| csv(text))
    }
}

/// Determines the form of the rows in a script or an archive of `pg_dump`. Each table's data has a title, which is followed
/// by the `COPY` statement, if there is one.
pub(crate) fn pg_rows(text: &str) -> PgRows {
    match text.split_once("TABLE DATA") {
        Some((_, data)) if !data.contains(" FROM stdin;") => PgRows::Inserts,
        _ => PgRows::Copy,
    }
}

/// Returns whether each line is a JSON string, and the first one contains JSON.
fn is_json_strings(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').filter(|inner| inner.starts_with(['{', '['])) else {
        return false;
    };
    let mut rest = inner;
    while let Some(after) =
        ["{", "[", " ", "\\n", "\\r", "\\t"].iter().find_map(|blank| rest.strip_prefix(blank))
    {
        rest = after;
    }
    rest.starts_with("\\\"")
        && text.lines().map(str::trim_start).all(|line| line.is_empty() || line.starts_with('"'))
}

fn csv(text: &str) -> Option<Foreign> {
    let first_row = DELIMITERS.into_iter().rev().find_map(|delimiter| match json_cell(text, delimiter) {
        Some((0, 0)) => Some((delimiter_after_first(text).unwrap_or(delimiter), 0)),
        Some((0, column)) => Some((delimiter, column)),
        _ => None,
    });
    if let Some((delimiter, column)) = first_row {
        return Some(Foreign::Csv { delimiter, column: Some(CsvColumn::Numbered(column)) });
    }
    let (header, _) = text.split_once('\n')?;
    let header = header.trim_end_matches('\r');
    let delimiter = DELIMITERS.into_iter().max_by_key(|delimiter| header.matches(*delimiter).count())?;
    let names: Vec<&str> = header.split(delimiter).map(unquoted).collect();
    if let Some((_, column)) = json_cell(text, delimiter) {
        // A first row without a name may be one without JSON.
        let title = names.get(column).filter(|name| !name.is_empty());
        let column = title.map_or(CsvColumn::Numbered(column), |name| CsvColumn::Named((*name).to_owned()));
        return Some(Foreign::Csv { delimiter, column: Some(column) });
    }
    // Prose has a space after each comma.
    let is_prose = header.contains(", ") && !header.starts_with('"');
    let is_name = |name: &&str| {
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "_ .$-".contains(letter);
        name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name.chars().all(is_of_name)
    };
    let is_table = !is_prose && names.len() > 1 && names.iter().all(is_name);
    is_table.then_some(Foreign::Csv { delimiter, column: None })
}

fn unquoted(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')).unwrap_or(cell)
}

/// Finds the first cell with JSON. Returns its row and its column, counted from 0.
fn json_cell(text: &str, delimiter: char) -> Option<(usize, usize)> {
    let (mut row, mut column, mut rest) = (0, 0, text);
    while !is_json(rest) {
        let end = cell_len(rest, delimiter)?;
        let after = rest[end..].chars().next()?;
        (row, column) = if after == '\n' { (row + 1, 0) } else { (row, column + 1) };
        rest = &rest[end + after.len_utf8()..];
    }
    Some((row, column))
}

/// Returns whether a cell begins with JSON that contains an object. The quotes of JSON are doubled.
fn is_json(cell: &str) -> bool {
    let Some(text) = cell.strip_prefix('"').filter(|text| text.starts_with(['{', '['])) else { return false };
    let inner = text.trim_start_matches(['{', '[', ' ', '\t', '\r', '\n']);
    inner.starts_with("\"\"") && text[..text.len() - inner.len()].contains('{')
}

/// Returns the length of the cell at the start of the text, in bytes. None if the text ends within its quotes.
fn cell_len(text: &str, delimiter: char) -> Option<usize> {
    let quoted = quoted_len(text)?;
    Some(text[quoted..].find([delimiter, '\n']).map_or(text.len(), |end| quoted + end))
}

/// Returns the length of the quoted text at the start, with its quotes, in bytes. 0 without quotes, none if they are open.
fn quoted_len(text: &str) -> Option<usize> {
    if !text.starts_with('"') {
        return Some(0);
    }
    let mut end = 1;
    loop {
        end += text[end..].find('"')? + 1;
        if !text[end..].starts_with('"') {
            return Some(end);
        }
        end += 1;
    }
}

/// Returns the delimiter after a quoted cell at the start of the text.
fn delimiter_after_first(text: &str) -> Option<char> {
    let next = text[quoted_len(text)?..].chars().next()?;
    DELIMITERS.contains(&next).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_csv(text: &str, delimiter: char, column: Option<CsvColumn>) {
        assert_eq!(table(text), Some(Foreign::Csv { delimiter, column }), "{text}");
    }

    #[test]
    fn csv_with_a_header_names_the_column_that_holds_json() {
        let named = |name: &str| Some(CsvColumn::Named(name.to_owned()));
        check_csv("EventId,TimeStamp\n1,2\n", ',', None);
        check_csv("\"EventId\";\"TimeStamp\"\r\n1;2\n", ';', None);
        check_csv("id\traw\n1\t\"{\"\"EventId\"\":1}\"\n", '\t', named("raw"));
        check_csv("id,raw_json\n1,\"{\"\"EventId\"\":1,\"\"x\"\":2}\"\n", ',', named("raw_json"));
        check_csv("raw_json\n\"{\"\"EventId\"\":1}\"\n", ',', named("raw_json"));
        // Pretty-printed JSON, and cells before it with delimiters, line feeds and quotes.
        check_csv("id,raw\r\n1,\"{\r\n  \"\"EventId\"\": 1\r\n}\"\r\n", ',', named("raw"));
        check_csv("a,b,raw\n\"x,y\n\",\"\"\"z\"\",\",\"[\n {\n \"\"EventId\"\": 1}]\"\n", ',', named("raw"));
        check_csv("tags,raw\n\"[\"\"a\"\"]\",\"{\"\"EventId\"\":1}\"\n", ',', named("raw"));
        check_csv("Zeit (UTC),raw\n1,\"{\"\"EventId\"\":1}\"\n", ',', named("raw"));
        for text in ["raw_json\nno JSON\n", "hello, world\nand so on\n", "EventId,TimeStamp", "", "\"\n"] {
            assert_eq!(table(text), None, "{text}");
        }
    }

    #[test]
    fn csv_without_a_header_is_detected() {
        let numbered = |number| Some(CsvColumn::Numbered(number));
        check_csv("\"{\"\"EventId\"\":1}\"\n\"{\"\"EventId\"\":2}\"\n", ',', numbered(0));
        check_csv("\"{\n  \"\"EventId\"\": 1\n}\"", ',', numbered(0));
        check_csv("\"{\"\"EventId\"\":1,\"\"x\"\":2}\";7\n", ';', numbered(0));
        check_csv("1,\"{\"\"EventId\"\":1,\"\"x\"\":2}\"\n", ',', numbered(1));
        check_csv("1;x, y;\"{\"\"EventId\"\":1,\"\"x\"\":2}\"\n", ';', numbered(2));
        check_csv("1\t\"{\n\"\"EventId\"\":1}\"\n", '\t', numbered(1));
        // The first row has no event.
        check_csv("1,\n2,\"{\"\"EventId\"\":1}\"\n", ',', numbered(1));
    }

    #[test]
    fn json_in_strings_is_detected() {
        let strings = "\"{\\\"EventId\\\":1}\"\n";
        assert_eq!(table(strings), Some(Foreign::JsonStrings));
        assert_eq!(
            table(&format!("\"[\\n {{\\n \\\"EventId\\\":1}}]\"\n\n {strings}")),
            Some(Foreign::JsonStrings)
        );
        for text in ["\"a\"\n", "\"{}\"\n", &format!("{strings}{{\"EventId\":1}}\n")] {
            assert_eq!(table(text), None, "{text}");
        }
    }

    #[test]
    fn the_rows_of_a_script_are_found_after_the_title_of_their_table() {
        let script = |rows: &str| {
            let title = "-- Data for Name: k; Type: TABLE DATA; Schema: public; Owner: -";
            format!("--\n-- PostgreSQL database dump\n--\n\nSELECT 1;\n{title}\n--\n\n{rows}")
        };
        let copy = script("COPY public.k (id, event) FROM stdin;\n1\t{}\n");
        assert_eq!(table(&copy), Some(Foreign::PgScript(PgRows::Copy)));
        let inserts = script("INSERT INTO public.k VALUES (1, '{}');\n");
        assert_eq!(table(&inserts), Some(Foreign::PgScript(PgRows::Inserts)));
        assert_eq!(table("--\n-- PostgreSQL database dump\n--\n"), Some(Foreign::PgScript(PgRows::Copy)));
    }
}
