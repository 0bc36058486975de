//! Guesses from the first bytes of a source's text whether it is a dump.

mod printed;
mod sqlite;
mod table;

use crate::input::content::printed::is_copied;
use crate::input::content::sqlite::sqlite_place;
use crate::input::content::table::{pg_rows, table};
use crate::input::decode::format::{Foreign, Format, Head, sniff};

/// The probable content of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// JSON, or no evidence of anything else.
    Json,
    /// A format that other programs can read.
    Foreign(Foreign),
    /// The first line is not JSON. Every line is still read, because some may be events.
    NoJson,
}

/// The number of bytes examined. Two lines as long as the longest row precede the rows of a table that `psql` has aligned.
const HEAD_BYTES: usize = 256 << 10;

impl Content {
    /// Examines the first bytes, such as the first segment.
    pub(crate) fn of(first_bytes: &[u8]) -> Self {
        let head = &first_bytes[..first_bytes.len().min(HEAD_BYTES)];
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        if let Some(format) = binary(head) {
            Self::Foreign(format)
        } else if text.first().is_none_or(|first| b"{[\x1e".contains(first)) {
            if is_copied(text) { Self::Foreign(Foreign::CopyRows) } else { Self::Json }
        } else if let Some(format) = table(&String::from_utf8_lossy(text)) {
            Self::Foreign(format)
        } else {
            Self::NoJson
        }
    }
}

/// Detects formats with magic numbers, or with bytes that JSON never contains.
fn binary(bytes: &[u8]) -> Option<Foreign> {
    const MAGICS: [(&[u8], Foreign); 2] =
        [(b"7z\xbc\xaf\x27\x1c", Foreign::SevenZip), (b"PAR1", Foreign::Parquet)];
    match sniff(bytes, Head::Whole) {
        Some(Format::Foreign(format)) => return Some(format),
        Some(Format::Compressed(compression)) => return Some(Foreign::Nested(compression)),
        Some(Format::Plain) | None => {}
    }
    if bytes.starts_with(b"SQLite format 3\0") {
        return Some(Foreign::Sqlite(sqlite_place(&String::from_utf8_lossy(bytes))));
    }
    if let Some((_, format)) = MAGICS.into_iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(format);
    }
    if is_pg_dump(bytes) {
        Some(Foreign::PgDump(pg_rows(&String::from_utf8_lossy(bytes))))
    } else if is_tar(bytes) {
        Some(Foreign::Tar)
    } else if is_utf16(bytes, 0) {
        Some(Foreign::Utf16Le)
    } else if is_utf16(bytes, 1) {
        Some(Foreign::Utf16Be)
    } else if bytes.len() >= NUL_MIN && bytes.iter().take(NUL_MAX).all(|byte| *byte == 0) {
        Some(Foreign::Nul)
    } else {
        is_bson(bytes).then_some(Foreign::Bson)
    }
}

/// Fewer NUL bytes than this are treated as a broken line.
const NUL_MIN: usize = 16;
/// After this number of NUL bytes, the file is filled with them, whatever follows.
const NUL_MAX: usize = 64 << 10;

/// Looks for the magic of POSIX and GNU archives in the header of their first member.
fn is_tar(bytes: &[u8]) -> bool {
    const MAGIC_AT: usize = 257;
    bytes.get(MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// Looks for an archive of `pg_dump`, or for one as the first member of a tar archive, as in its format `tar`.
fn is_pg_dump(bytes: &[u8]) -> bool {
    const MAGIC: &[u8] = b"PGDMP";
    const TAR_HEADER_BYTES: usize = 512;
    let member = || bytes.get(TAR_HEADER_BYTES..).is_some_and(|member| member.starts_with(MAGIC));
    bytes.starts_with(MAGIC) || is_tar(bytes) && member()
}

/// Returns whether the bytes are the start of JSON in UTF-16. `at` is the position of the nonzero byte in each pair.
fn is_utf16(bytes: &[u8], at: usize) -> bool {
    let opens = |pair: &[u8]| b"{[".contains(&pair[at]) && pair[1 - at] == 0;
    let continues = |pair: &[u8]| pair[at].is_ascii() && pair[at] != 0 && pair[1 - at] == 0;
    bytes.len() >= 4 && opens(&bytes[..2]) && continues(&bytes[2..4])
}

/// Looks for a document: a little-endian length of at most 16 MiB, then the type and the name of the first element.
fn is_bson(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let len = u32::from_le_bytes(*header);
    let Some((kind, name)) = rest.split_first() else { return false };
    let name_len = name.iter().take(128).position(|byte| *byte == 0).unwrap_or(0);
    (5..=16 << 20).contains(&len)
        && matches!(kind, 0x01..=0x13)
        && name_len > 0
        && name[..name_len].iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::decode::format::{Compression, CsvColumn, PgRows, SqlitePlace};

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, expected: &Content) {
        let bytes = bytes.as_ref();
        assert_eq!(Content::of(bytes), *expected, "{}", String::from_utf8_lossy(bytes));
    }

    #[track_caller]
    fn check_foreign(bytes: impl AsRef<[u8]>, expected: Foreign) {
        check(bytes, &Content::Foreign(expected));
    }

    #[test]
    fn other_formats_are_detected_by_their_first_bytes() {
        let utf16 = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        let tar = |magic: &str| format!("dump.ndjson{}{magic}{}", "\0".repeat(246), "\0".repeat(200));
        check_foreign(tar("ustar\0"), Foreign::Tar);
        check_foreign(tar("ustar  "), Foreign::Tar);
        check(tar("ustaf"), &Content::NoJson);
        check_foreign(
            utf16("{\"EventId\"").iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(),
            Foreign::Utf16Le,
        );
        check_foreign(
            utf16("[{\"EventId\"").iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>(),
            Foreign::Utf16Be,
        );
        check_foreign(b"\x1f\x8b\x08\0", Foreign::Nested(Compression::Gzip));
        check_foreign(b"7z\xbc\xaf\x27\x1c\0\x04", Foreign::SevenZip);
        check_foreign(b"PGDMP\x01\x0e", Foreign::PgDump(PgRows::Copy));
        check_foreign(
            b"PGDMP\x01\x0eTABLE DATA\0COPY public.k (id) FROM stdin;",
            Foreign::PgDump(PgRows::Copy),
        );
        check_foreign(b"PGDMP\x01\x0eTABLE DATA\0postgres", Foreign::PgDump(PgRows::Inserts));
        let pg_tar = format!("{:\0<512}PGDMP", tar("ustar\0"));
        check_foreign(pg_tar, Foreign::PgDump(PgRows::Copy));
        check_foreign(b"PAR1\x15\x04", Foreign::Parquet);
        check_foreign([0; 40], Foreign::Nul);
        check_foreign(b"\x16\0\0\0\x07_id\0aaaaaaaaaaaa\0", Foreign::Bson);
        check(b"\x16\0\0\0\x07\0id\0", &Content::NoJson);
        check("<!DOCTYPE html>", &Content::NoJson);
        check("hello, world\nand so on\n", &Content::NoJson);
        check("", &Content::Json);
        for json in [
            "{\0",
            "[\n  {\n",
            "{\"source\":\"dump\",\"line\":1,\"raw\":\"x\"}\n",
            "\u{feff}\r\n {\"EventId\":1}\n",
            "[{\"EventId\":1}]\n",
            "\n\n",
        ] {
            check(json, &Content::Json);
        }
    }

    #[test]
    fn tables_and_databases_are_detected_with_their_columns() {
        let column = Some(CsvColumn::Named("raw".to_owned()));
        check_foreign("id,raw\n1,\"{\"\"EventId\"\":1}\"\n", Foreign::Csv { delimiter: ',', column });
        let column = Some(CsvColumn::Numbered(0));
        check_foreign("\u{feff}\"{\"\"EventId\"\":1}\"\n", Foreign::Csv { delimiter: ',', column });
        check_foreign("\"{\\\"EventId\\\":1}\"\n", Foreign::JsonStrings);
        let (spaces, hyphens) = (" ".repeat(90_000), "-".repeat(90_000));
        let aligned = format!(" id |raw{spaces}\n----+-{hyphens}\n  1 | {{\"EventId\": 1}}\n");
        check_foreign(aligned, Foreign::PsqlTable(1));
        let place = SqlitePlace { table: "kills".to_owned(), column: "raw_json".to_owned() };
        let file = |ddl: &str| format!("SQLite format 3\0 {ddl}");
        check_foreign(file("CREATE TABLE kills (id, raw_json TEXT)"), Foreign::Sqlite(Some(place)));
        check_foreign(file("CREATE TABLE t (a, b)"), Foreign::Sqlite(None));
    }
}
