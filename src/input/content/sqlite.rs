//! Guesses which column of an `SQLite` database holds the events, from its `CREATE TABLE` statements.

use crate::input::decode::format::SqlitePlace;

/// Substrings of the names of columns that hold events.
const COLUMNS: [&str; 6] = ["json", "raw", "payload", "data", "body", "doc"];

/// The first words of constraints, which are listed like columns.
const CONSTRAINTS: [&str; 5] = ["constraint", "primary", "unique", "check", "foreign"];

/// Finds the first table with a column that probably holds the events. The `CREATE TABLE` statements are on the first
/// page, and rows follow them.
pub(crate) fn sqlite_place(text: &str) -> Option<SqlitePlace> {
    let tables: Vec<(String, Vec<String>)> =
        text.split("CREATE TABLE ").skip(1).filter_map(table_and_columns).collect();
    let place =
        |table: &str, column: &str| SqlitePlace { table: table.to_owned(), column: column.to_owned() };
    let named = tables.iter().find_map(|(table, columns)| {
        let is_meant = |column: &&String, name: &str| column.to_ascii_lowercase().contains(name);
        let column = COLUMNS.iter().find_map(|name| columns.iter().find(|column| is_meant(column, name)));
        let column = column.or_else(|| columns.iter().find(|column| column.eq_ignore_ascii_case("event")));
        Some(place(table, column?))
    });
    named.or_else(|| match &tables[..] {
        [(table, columns)] if columns.len() == 1 => Some(place(table, &columns[0])),
        _ => None,
    })
}

/// A part of an SQL statement.
#[derive(Debug, PartialEq, Eq)]
enum SqlToken {
    /// The text in quotes.
    Quoted(String),
    Word(String),
    /// Any other character.
    Mark(char),
}

/// Returns the names of a table and its columns from the text after `CREATE TABLE`. None if the statement is incomplete.
fn table_and_columns(statement: &str) -> Option<(String, Vec<String>)> {
    let mut rest = statement;
    let (SqlToken::Quoted(table) | SqlToken::Word(table)) = next_token(&mut rest)? else { return None };
    if next_token(&mut rest)? != SqlToken::Mark('(') {
        return None;
    }
    let (mut depth, mut begins, mut columns) = (1, true, Vec::new());
    loop {
        let token = next_token(&mut rest)?;
        let is_comma = depth == 1 && token == SqlToken::Mark(',');
        match token {
            SqlToken::Mark('(') => depth += 1,
            SqlToken::Mark(')') if depth == 1 => return Some((table, columns)),
            SqlToken::Mark(')') => depth -= 1,
            SqlToken::Quoted(name) if begins => columns.push(name),
            SqlToken::Word(name) if begins && !is_constraint(&name) => columns.push(name),
            _ => {}
        }
        begins = is_comma;
    }
}

fn is_constraint(word: &str) -> bool {
    CONSTRAINTS.iter().any(|first| word.eq_ignore_ascii_case(first))
}

/// Takes the next token. None at the end of the text, or if a quote is not closed.
fn next_token(rest: &mut &str) -> Option<SqlToken> {
    let text = *rest;
    let text = without_blanks(text);
    let first = text.chars().next()?;
    let after = &text[first.len_utf8()..];
    let close = match first {
        '"' | '`' | '\'' => Some(first),
        '[' => Some(']'),
        _ => None,
    };
    if let Some(close) = close {
        let (name, after) = quoted(after, close)?;
        *rest = after;
        return Some(SqlToken::Quoted(name));
    }
    let is_of_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
    if !is_of_word(first) {
        *rest = after;
        return Some(SqlToken::Mark(first));
    }
    let (word, after) = text.split_at(text.find(|letter: char| !is_of_word(letter)).unwrap_or(text.len()));
    *rest = after;
    Some(SqlToken::Word(word.to_owned()))
}

/// Returns the text up to the closing quote, and the text after that quote.
fn quoted(text: &str, close: char) -> Option<(String, &str)> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once(close)?;
        name.push_str(part);
        // A doubled quote stands for itself, except in brackets.
        match after.strip_prefix(close) {
            Some(following) if close != ']' => {
                name.push(close);
                rest = following;
            }
            _ => return Some((name, after)),
        }
    }
}

/// Skips white space and comments.
fn without_blanks(text: &str) -> &str {
    let mut text = text.trim_start();
    loop {
        let end = match text.get(..2) {
            Some("--") => "\n",
            Some("/*") => "*/",
            _ => return text,
        };
        text = text.split_once(end).map_or("", |(_, after)| after).trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let found = sqlite_place(text);
        let found = found.as_ref().map(|place| (place.table.as_str(), place.column.as_str()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn the_column_of_the_events_is_found() {
        check("CREATE TABLE kills (id INTEGER, raw_json TEXT)", Some(("kills", "raw_json")));
        check(
            "CREATE TABLE meta (key TEXT)..CREATE TABLE \"the kills\"(\n id int,\n  `payload` text)",
            Some(("the kills", "payload")),
        );
        check("CREATE TABLE t (a, event)", Some(("t", "event")));
        check("CREATE TABLE t (a, b)", None);
        check("CREATE TABLE t (a)..CREATE TABLE u (b)", None);
        check("CREATE TABLE k(stuff text)", Some(("k", "stuff")));
    }

    #[test]
    fn names_end_with_their_quotes_and_columns_with_their_statement() {
        check("CREATE TABLE k(id int, \"raw json\" text)", Some(("k", "raw json")));
        check("CREATE TABLE [my k]([raw json] text, b)", Some(("my k", "raw json")));
        check("CREATE TABLE 'k(1)'('a,b' text, \"a \"\"json\"\"\" text)", Some(("k(1)", "a \"json\"")));
        for (column, rows) in
            [("doc", "{\"Name\":\"raw\",\"x\":1}"), ("event", "1,json,raw"), ("body", "raw")]
        {
            check(&format!("CREATE TABLE k({column} text)\u{fffd}{rows}, raw, json)"), Some(("k", column)));
        }
        check(
            "CREATE TABLE k(a numeric(10, 2) default (1), -- raw, json\n b text /* , data */, check (b <> 'raw,'), event)",
            Some(("k", "event")),
        );
        check("CREATE TABLE k(id int, x int, CONSTRAINT json UNIQUE (id), primary key (id, raw))", None);
        check("CREATE TABLE k(id int, raw_json", None);
        check("CREATE TABLE k(id int, \"raw_json)", None);
    }
}
