//! Builds commands that convert unsupported formats to JSON and pipe the result into the same command.

use crate::input::decode::format::{Compression, Foreign};
use crate::input::source::Source;
use crate::shell::shell_quoted;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

/// Builds the command that reads the converted text from standard input, with all options of the run.
#[derive(Clone)]
pub struct PipedCommand(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl PipedCommand {
    /// Creates it from a function of the input's name.
    pub fn new(command: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(command))
    }

    pub(crate) fn of(&self, input: &Source) -> String {
        (self.0)(&input.to_string())
    }
}

impl Default for PipedCommand {
    fn default() -> Self {
        Self::new(|_| "aegis-kills load".to_owned())
    }
}

impl fmt::Debug for PipedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipedCommand({:?})", (self.0)(""))
    }
}

/// How a conversion program receives the data.
enum Converter {
    /// With the file as its last argument, or through a pipe with another command.
    Filter { file: String, pipe: String },
    /// Only from a file, whose name is passed to the function.
    File(fn(&str, &Foreign) -> String),
    /// Only through its standard input.
    Pipe(String),
}

/// Builds a Python script that prints one column of the CSV, or each row as an object if the column is unknown.
fn csv_script(delimiter: char, column: Option<&str>) -> String {
    let delimiter = match delimiter {
        ',' => String::new(),
        '\t' => r#", delimiter="\t""#.to_owned(),
        other => format!(", delimiter=\"{other}\""),
    };
    let row = match column {
        Some(column) => format!("row[{}]", serde_json::Value::from(column)),
        None => "json.dumps(row)".to_owned(),
    };
    format!(
        "import csv, json, sys; csv.field_size_limit(2**31 - 1); [print({row}) for row in csv.DictReader(sys.stdin{delimiter})]"
    )
}

/// Extracts the JSON from COPY rows, where backslashes are doubled.
const COPY_TO_JSON: &str = r"tr '\t' '\n' | grep '^[[{]' | sed 's/\\\\/\\/g'";

fn converter(format: &Foreign) -> Converter {
    let filter = |command: &str| Converter::Filter { file: command.to_owned(), pipe: command.to_owned() };
    match format {
        Foreign::Xz => filter("xz -dc"),
        Foreign::Bzip2 => filter("bzip2 -dc"),
        Foreign::Lz4 => filter("lz4 -dc"),
        Foreign::Zip => Converter::Filter { file: "unzip -p".to_owned(), pipe: "funzip".to_owned() },
        Foreign::Tar => Converter::Filter { file: "tar -xOf".to_owned(), pipe: "tar -xOf -".to_owned() },
        Foreign::SevenZip => Converter::File(|file, _| format!("7z x -so {file}")),
        Foreign::Utf16 => filter("iconv -f UTF-16 -t UTF-8"),
        Foreign::Utf16Le => filter("iconv -f UTF-16LE -t UTF-8"),
        Foreign::Utf16Be => filter("iconv -f UTF-16BE -t UTF-8"),
        Foreign::Utf32 => filter("iconv -f UTF-32 -t UTF-8"),
        Foreign::Nested(compression) => filter(compression.decompressor()),
        Foreign::Nul => Converter::Pipe(r"tr -d '\0'".to_owned()),
        Foreign::Bson => filter("bsondump --quiet"),
        Foreign::PgDump => Converter::Filter {
            file: "pg_restore --data-only -f -".to_owned(),
            pipe: "pg_restore --data-only -f -".to_owned(),
        },
        Foreign::PgScript => Converter::Pipe(COPY_TO_JSON.to_owned()),
        Foreign::Csv { delimiter, column } => {
            let script = csv_script(*delimiter, column.as_deref());
            Converter::Pipe(format!("python3 -c {}", shell_quoted(&script)))
        }
        Foreign::Sqlite(place) => match place {
            Some(_) => Converter::File(|file, format| {
                let Foreign::Sqlite(Some(place)) = format else { return String::new() };
                let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
                let sql = format!("SELECT {} FROM {}", name(&place.column), name(&place.table));
                format!("sqlite3 {file} {}", shell_quoted(&sql))
            }),
            None => Converter::File(|file, _| format!("sqlite3 {file} .dump | {SQL_TO_JSON}")),
        },
        Foreign::Parquet => Converter::File(|file, _| {
            // The shell's quotes are removed before DuckDB's quotes are parsed.
            let name = file.trim_matches('\'').replace('\'', "''");
            let sql = format!("COPY (FROM '{name}') TO '/dev/stdout' (FORMAT json)");
            format!("duckdb -c {}", shell_quoted(&sql))
        }),
    }
}

/// Extracts the JSON from INSERT statements, where single quotes are doubled.
const SQL_TO_JSON: &str = r#"grep -o '{".*}' | sed "s/''/'/g""#;

/// The file to save a pipe's data to, for programs that read only files.
const SAVED: &str = "saved.dump";

/// Builds the whole command. A compressed input is decompressed first.
pub(crate) fn command(format: &Foreign, input: &Source, piped: &PipedCommand) -> String {
    let file = match input {
        Source::Stdin => None,
        Source::File(_) => Some(shell_quoted(&input.to_string())),
    };
    let producer = match (&file, file_compression(input)) {
        (None, _) => Some("…".to_owned()),
        (Some(file), Some(compression)) => Some(format!("{} {file}", compression.decompressor())),
        (Some(_), None) => None,
    };
    let converted = match (converter(format), producer, file) {
        // One decompression is enough, because the load does the next one.
        (_, Some(producer), Some(_)) if matches!(format, Foreign::Nested(_)) => producer,
        (Converter::Filter { file: command, .. }, None, Some(file)) => format!("{command} {file}"),
        (Converter::Filter { pipe, .. } | Converter::Pipe(pipe), Some(producer), _) => {
            format!("{producer} | {pipe}")
        }
        (Converter::Pipe(pipe), None, Some(file)) => match pipe.split_once(" | ") {
            Some((first, rest)) => format!("{first} < {file} | {rest}"),
            None => format!("{pipe} < {file}"),
        },
        (Converter::File(command), None, Some(file)) => command(&file, format),
        (Converter::File(command), Some(producer), _) => {
            format!("{producer} > {SAVED} && {}", command(SAVED, format))
        }
        (Converter::Filter { pipe, .. } | Converter::Pipe(pipe), None, None) => format!("… | {pipe}"),
        (Converter::File(command), None, None) => command(SAVED, format),
    };
    let converted = match format {
        Foreign::PgDump => format!("{converted} | {COPY_TO_JSON}"),
        _ => converted,
    };
    format!("{converted} | {}", piped.of(input))
}

/// Detects the compression of a file. Returns none for a pipe, which cannot be read twice.
fn file_compression(input: &Source) -> Option<Compression> {
    let Source::File(path) = input else { return None };
    let mut first = [0; 4];
    let file = path.is_file().then(|| File::open(path).ok()).flatten();
    file?.read_exact(&mut first).ok()?;
    crate::input::decode::format::compression(&first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::decode::format::SqlitePlace;
    use std::path::Path;

    #[test]
    fn commands_convert_files_and_pipes() {
        fn check(format: &Foreign, file: &str, of_file: &str, of_stdin: &str) {
            let piped = PipedCommand::new(|_| "kills load --server asia".to_owned());
            let found = command(format, &Source::from(Path::new(file)), &piped);
            assert_eq!(found, format!("{of_file} | kills load --server asia"));
            let found = command(format, &Source::Stdin, &piped);
            assert_eq!(found, format!("{of_stdin} | kills load --server asia"));
        }
        check(&Foreign::Xz, "a.xz", "xz -dc a.xz", "… | xz -dc");
        check(&Foreign::Zip, "it's.zip", r"unzip -p 'it'\''s.zip'", "… | funzip");
        check(&Foreign::Tar, "a b.tar", "tar -xOf 'a b.tar'", "… | tar -xOf -");
        check(&Foreign::SevenZip, "a.7z", "7z x -so a.7z", "… > saved.dump && 7z x -so saved.dump");
        check(&Foreign::Nul, "a", r"tr -d '\0' < a", r"… | tr -d '\0'");
        check(&Foreign::Bson, "a.bson", "bsondump --quiet a.bson", "… | bsondump --quiet");
        check(
            &Foreign::Parquet,
            "a.parquet",
            r"duckdb -c 'COPY (FROM '\''a.parquet'\'') TO '\''/dev/stdout'\'' (FORMAT json)'",
            r"… > saved.dump && duckdb -c 'COPY (FROM '\''saved.dump'\'') TO '\''/dev/stdout'\'' (FORMAT json)'",
        );
        let place = SqlitePlace { table: "kills".to_owned(), column: "raw_json".to_owned() };
        check(
            &Foreign::Sqlite(Some(place)),
            "a.db",
            r#"sqlite3 a.db 'SELECT "raw_json" FROM "kills"'"#,
            r#"… > saved.dump && sqlite3 saved.dump 'SELECT "raw_json" FROM "kills"'"#,
        );
    }
}
