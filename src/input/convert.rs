//! Builds commands that convert unsupported formats to JSON and pipe the result into the same command.

use crate::input::decode::format::{Compression, CsvColumn, Foreign, PgRows, SqlitePlace};
use crate::input::source::Source;
use crate::shell::shell_quoted;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// Builds the command that reads the converted text from standard input, with all options of the run.
#[derive(Clone)]
pub struct PipedCommand {
    command: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// The advice for a damaged input.
    damaged: Arc<dyn Fn(&Source) -> String + Send + Sync>,
}

impl PipedCommand {
    /// Creates it from a function of the input's name.
    pub fn new(command: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let damaged = "everything before that was read, but some of it may be wrong; get an intact copy and run the \
                       same command again";
        Self { command: Arc::new(command), damaged: Arc::new(move |_: &Source| damaged.to_owned()) }
    }

    /// Replaces the advice for a damaged input.
    #[must_use]
    pub(crate) fn with_damage_advice(
        self,
        advice: impl Fn(&Source) -> String + Send + Sync + 'static,
    ) -> Self {
        Self { damaged: Arc::new(advice), ..self }
    }

    pub(crate) fn of(&self, input: &Source) -> String {
        (self.command)(&input.to_string())
    }

    /// The command for files that keep their own names.
    fn of_named(&self) -> String {
        (self.command)("")
    }

    /// Returns what to do about an input whose text may be wrong.
    pub(crate) fn damage_advice(&self, input: &Source) -> String {
        (self.damaged)(input)
    }
}

impl Default for PipedCommand {
    fn default() -> Self {
        Self::new(|_| "aegis-kills load".to_owned())
    }
}

impl fmt::Debug for PipedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipedCommand({:?})", self.of_named())
    }
}

/// How a conversion program receives the data.
enum Converter {
    /// With the file as its last argument, or through a pipe with another command.
    Filter(String),
    /// Only from a file, whose name is passed to the function.
    File(fn(&str, &Foreign) -> String),
    /// Only through its standard input.
    Pipe(String),
    /// From a file into a directory, whose names are passed to the function. The files in it can have any supported
    /// compression, and `--battle from-name` needs their names.
    Archive(fn(&str, &str) -> String),
}

/// Builds a Python script that prints one column of the CSV, or each row as an object if the column is unknown.
fn csv_script(delimiter: char, column: Option<&CsvColumn>) -> String {
    let delimiter = match delimiter {
        ',' => String::new(),
        '\t' => r#", delimiter="\t""#.to_owned(),
        other => format!(", delimiter=\"{other}\""),
    };
    let (row, reader) = match column {
        Some(CsvColumn::Named(name)) => {
            (format!("row[{}]", serde_json::Value::from(name.as_str())), "DictReader")
        }
        // A slice, because an empty line has no cells.
        Some(CsvColumn::Numbered(number)) => (format!("*row[{number}:{}]", number + 1), "reader"),
        None => ("json.dumps(row)".to_owned(), "DictReader"),
    };
    // A byte order mark is not a part of the first name.
    format!(
        "import csv, json, sys; sys.stdin.reconfigure(encoding=\"utf-8-sig\"); csv.field_size_limit(2**31 - 1); \
         [print({row}) for row in csv.{reader}(sys.stdin{delimiter})]"
    )
}

/// Extracts the JSON from COPY rows. A doubled backslash becomes one, and line breaks and tabs of pretty-printed JSON
/// become spaces.
const COPY_TO_JSON: &str = r"tr '\t' '\n' | grep '^[[{]' | sed 's/\\\\/\x01/g; s/\\[nrt]/ /g; s/\x01/\\/g'";

/// Extracts the JSON from INSERT statements, where single quotes are doubled: after that, each string is on a line of its
/// own.
const INSERTS_TO_JSON: &str = r#"sed "s/''/\x01/g" | tr "\n'" " \n" | grep '^[[{]' | tr '\001' "'""#;

/// Removes the cells around the JSON: before it, and after its end. JSON has no vertical bar outside of quotes.
const PSQL_ROWS_TO_JSON: &str = r#"sed -E 's/^([^|[{"]*\|)+([[{])/\2/; s/([]}])(\|[^]}"]*)+$/\1/'"#;

/// Extracts the JSON from each line, up to its last closing bracket.
const SURROUNDED_TO_JSON: &str = r#"sed -nE 's/^[^[{]*([[{][[{ ]*".*[]}]).*$/\1/p'"#;

/// Removes the head of an aligned table, the number of its rows, the `columns` before the JSON, and what follows the JSON: the
/// mark of a line break and other cells.
fn psql_table_to_json(columns: usize) -> String {
    format!(
        r#"sed -E '0,/^-[-+]*$/d; /^\([0-9]+ rows?\)$/d; s/^([^|]*\|){{{columns}}} *//; s/ *\+?( *\|[^]}}"]*)*$//'"#
    )
}

/// The statement that prints the column of an `SQLite` database.
fn select_of(place: &SqlitePlace) -> String {
    let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("SELECT {} FROM {}", name(&place.column), name(&place.table))
}

fn rows_to_json(rows: PgRows) -> &'static str {
    match rows {
        PgRows::Copy => COPY_TO_JSON,
        PgRows::Inserts => INSERTS_TO_JSON,
    }
}

fn converter(format: &Foreign) -> Converter {
    let filter = |command: &str| Converter::Filter(command.to_owned());
    match format {
        Foreign::Xz => filter("xz -dc"),
        Foreign::Bzip2 => filter("bzip2 -dc"),
        Foreign::Lz4 => filter("lz4 -dc"),
        Foreign::Zip => Converter::Archive(|file, to| format!("unzip -q {file} -d {to}")),
        Foreign::Tar => Converter::Archive(|file, to| format!("tar -xf {file} -C {to}")),
        Foreign::SevenZip => Converter::Archive(|file, to| format!("7z x -o{to} {file} > /dev/null")),
        Foreign::Utf16 => filter("iconv -f UTF-16 -t UTF-8"),
        Foreign::Utf16Le => filter("iconv -f UTF-16LE -t UTF-8"),
        Foreign::Utf16Be => filter("iconv -f UTF-16BE -t UTF-8"),
        Foreign::Utf32 => filter("iconv -f UTF-32 -t UTF-8"),
        Foreign::Nested(compression) => filter(compression.decompressor()),
        Foreign::Nul => Converter::Pipe(r"tr -d '\0'".to_owned()),
        Foreign::Bson => filter("bsondump --quiet"),
        Foreign::PgDump(_) => filter("pg_restore --data-only -f -"),
        Foreign::PgScript(rows) => Converter::Pipe(rows_to_json(*rows).to_owned()),
        Foreign::CopyRows => Converter::Pipe(COPY_TO_JSON.to_owned()),
        Foreign::PsqlTable(columns) => Converter::Pipe(psql_table_to_json(*columns)),
        Foreign::PsqlRows => Converter::Pipe(PSQL_ROWS_TO_JSON.to_owned()),
        Foreign::SurroundedRows => Converter::Pipe(SURROUNDED_TO_JSON.to_owned()),
        Foreign::QuotedRows | Foreign::SqliteScript(None) => Converter::Pipe(INSERTS_TO_JSON.to_owned()),
        Foreign::SqliteScript(Some(place)) => {
            // SQLite runs the script in memory, then the appended statement.
            let append = shell_quoted(&format!("$ a {};", select_of(place)));
            Converter::Pipe(format!("sed {append} | sqlite3 :memory:"))
        }
        Foreign::JsonStrings => filter("jq -r ."),
        Foreign::LongString(contents) => filter(&format!("jq -r {}", shell_quoted(contents))),
        Foreign::Csv { delimiter, column } => {
            let script = csv_script(*delimiter, column.as_ref());
            Converter::Pipe(format!("python3 -c {}", shell_quoted(&script)))
        }
        Foreign::Sqlite(place) => match place {
            Some(_) => Converter::File(|file, format| {
                let Foreign::Sqlite(Some(place)) = format else { return String::new() };
                format!("sqlite3 {file} {}", shell_quoted(&select_of(place)))
            }),
            None => {
                Converter::File(|file, _| format!("sqlite3 {file} '.dump --newlines' | {INSERTS_TO_JSON}"))
            }
        },
        Foreign::Parquet => Converter::File(|file, _| {
            // The shell's quotes are removed before DuckDB's quotes are parsed.
            let name = file.trim_matches('\'').replace('\'', "''");
            let sql = format!("COPY (FROM '{name}') TO '/dev/stdout' (FORMAT json)");
            format!("duckdb -c {}", shell_quoted(&sql))
        }),
    }
}

/// The file to save a pipe's data to, for programs that read only files.
const SAVED: &str = "saved.dump";

/// Builds the whole command. A compressed input is decompressed first.
pub(crate) fn command(format: &Foreign, input: &Source, piped: &PipedCommand) -> String {
    let file = match input {
        Source::File(path) if !input.is_stream() => {
            Some(shell_quoted(&archive_of(format, path).to_string_lossy()))
        }
        Source::File(_) | Source::Stdin => None,
    };
    let producer = match (&file, file_compression(input)) {
        // tar decompresses by itself.
        (Some(_), Some(_)) if *format == Foreign::Tar => None,
        (None, _) => Some("…".to_owned()),
        (Some(file), Some(compression)) => Some(format!("{} {file}", compression.decompressor())),
        (Some(_), None) => None,
    };
    let converted = match (converter(format), producer, file) {
        (Converter::Archive(extract), producer, file) => {
            let (save, archive, name) = match (producer, file) {
                (None, Some(file)) => (String::new(), file, input.file_name()),
                (producer, _) => {
                    (format!("{} > {SAVED} && ", producer.unwrap_or_default()), SAVED.to_owned(), None)
                }
            };
            let to = shell_quoted(&format!("{}.d", name.as_deref().unwrap_or(SAVED)));
            return format!("{save}mkdir {to} && {} && {} {to}", extract(&archive, &to), piped.of_named());
        }
        // One decompression is enough, because the load does the next one.
        (_, Some(producer), Some(_)) if matches!(format, Foreign::Nested(_)) => producer,
        (Converter::Filter(command), None, Some(file)) => format!("{command} {file}"),
        (Converter::Filter(pipe) | Converter::Pipe(pipe), Some(producer), _) => {
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
        (Converter::Filter(pipe) | Converter::Pipe(pipe), None, None) => format!("… | {pipe}"),
        (Converter::File(command), None, None) => command(SAVED, format),
    };
    let converted = match format {
        Foreign::PgDump(rows) => format!("{converted} | {}", rows_to_json(*rows)),
        _ => converted,
    };
    format!("{converted} | {}", piped.of(input))
}

/// Returns the path that names the whole archive: for the table of contents of a directory from `pg_dump`, that directory.
fn archive_of<'p>(format: &Foreign, path: &'p Path) -> &'p Path {
    if !matches!(format, Foreign::PgDump(_)) || path.file_name() != Some("toc.dat".as_ref()) {
        return path;
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
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
        let check_archive = |format: &Foreign, file: &str, of_file: &str, of_stdin: &str| {
            let piped = PipedCommand::new(|name| format!("load {name}"));
            assert_eq!(command(format, &Source::from(Path::new(file)), &piped), of_file);
            assert_eq!(command(format, &Source::Stdin, &piped), of_stdin);
        };
        check_archive(
            &Foreign::Zip,
            "d/it's.zip",
            r"mkdir 'it'\''s.zip.d' && unzip -q 'd/it'\''s.zip' -d 'it'\''s.zip.d' && load  'it'\''s.zip.d'",
            "… > saved.dump && mkdir saved.dump.d && unzip -q saved.dump -d saved.dump.d && load  saved.dump.d",
        );
        check_archive(
            &Foreign::SevenZip,
            "a.7z",
            "mkdir a.7z.d && 7z x -oa.7z.d a.7z > /dev/null && load  a.7z.d",
            "… > saved.dump && mkdir saved.dump.d && 7z x -osaved.dump.d saved.dump > /dev/null && load  saved.dump.d",
        );
        check(&Foreign::Nul, "a", r"tr -d '\0' < a", r"… | tr -d '\0'");
        check(&Foreign::Bson, "a.bson", "bsondump --quiet a.bson", "… | bsondump --quiet");
        check(
            &Foreign::Parquet,
            "a.parquet",
            r"duckdb -c 'COPY (FROM '\''a.parquet'\'') TO '\''/dev/stdout'\'' (FORMAT json)'",
            r"… > saved.dump && duckdb -c 'COPY (FROM '\''saved.dump'\'') TO '\''/dev/stdout'\'' (FORMAT json)'",
        );
        check(&Foreign::JsonStrings, "a", "jq -r . a", "… | jq -r .");
        check(&Foreign::LongString(".body".to_owned()), "a", "jq -r .body a", "… | jq -r .body");
        let filter = r#".body | "{\"body\":\(.)}""#;
        let quoted = format!("jq -r '{filter}'");
        check(&Foreign::LongString(filter.to_owned()), "a", &format!("{quoted} a"), &format!("… | {quoted}"));
        let pg_dump = |command: &str, rows| format!("{command} | {}", rows_to_json(rows));
        for (rows, file, of_file) in [
            (PgRows::Copy, "a.dump", "pg_restore --data-only -f - a.dump"),
            (PgRows::Inserts, "d/a.tar", "pg_restore --data-only -f - d/a.tar"),
            (PgRows::Copy, "d/kills/toc.dat", "pg_restore --data-only -f - d/kills"),
            (PgRows::Copy, "toc.dat", "pg_restore --data-only -f - ."),
        ] {
            let of_stdin = pg_dump("… | pg_restore --data-only -f -", rows);
            check(&Foreign::PgDump(rows), file, &pg_dump(of_file, rows), &of_stdin);
        }
        check(
            &Foreign::PgScript(PgRows::Inserts),
            "a.sql",
            r#"sed "s/''/\x01/g" < a.sql | tr "\n'" " \n" | grep '^[[{]' | tr '\001' "'""#,
            r#"… | sed "s/''/\x01/g" | tr "\n'" " \n" | grep '^[[{]' | tr '\001' "'""#,
        );
        let csv = |column| Foreign::Csv { delimiter: ';', column: Some(column) };
        let script = |row: &str, reader: &str| {
            format!(
                "python3 -c 'import csv, json, sys; sys.stdin.reconfigure(encoding=\"utf-8-sig\"); \
                 csv.field_size_limit(2**31 - 1); [print({row}) for row in csv.{reader}(sys.stdin, delimiter=\";\")]'"
            )
        };
        for (column, row, reader) in [
            (CsvColumn::Named("raw".to_owned()), "row[\"raw\"]", "DictReader"),
            (CsvColumn::Numbered(1), "*row[1:2]", "reader"),
        ] {
            let script = script(row, reader);
            check(&csv(column), "a", &format!("{script} < a"), &format!("… | {script}"));
        }
        check(
            &Foreign::PsqlTable(1),
            "a",
            r#"sed -E '0,/^-[-+]*$/d; /^\([0-9]+ rows?\)$/d; s/^([^|]*\|){1} *//; s/ *\+?( *\|[^]}"]*)*$//' < a"#,
            r#"… | sed -E '0,/^-[-+]*$/d; /^\([0-9]+ rows?\)$/d; s/^([^|]*\|){1} *//; s/ *\+?( *\|[^]}"]*)*$//'"#,
        );
        let place = SqlitePlace { table: "kills".to_owned(), column: "raw_json".to_owned() };
        check(
            &Foreign::SqliteScript(Some(place.clone())),
            "a",
            r#"sed '$ a SELECT "raw_json" FROM "kills";' < a | sqlite3 :memory:"#,
            r#"… | sed '$ a SELECT "raw_json" FROM "kills";' | sqlite3 :memory:"#,
        );
        check(
            &Foreign::Sqlite(Some(place)),
            "a.db",
            r#"sqlite3 a.db 'SELECT "raw_json" FROM "kills"'"#,
            r#"… > saved.dump && sqlite3 saved.dump 'SELECT "raw_json" FROM "kills"'"#,
        );
    }
}
