//! Detects the format of an input from its first bytes, never from its name, so that standard input works like a file.

use std::fmt;

/// A supported compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip with one or several members (RFC 1952).
    Gzip,
    /// Zstandard with one or several frames (RFC 8878).
    Zstd,
}

impl Compression {
    /// The shell command that decompresses standard input, or a file that follows it.
    pub(crate) fn decompressor(self) -> &'static str {
        match self {
            Self::Gzip => "gzip -dc",
            Self::Zstd => "zstd -dc",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// A format that is only recognized, in order to suggest a conversion command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    Xz,
    Bzip2,
    Zip,
    /// lz4, as frames or in the legacy format.
    Lz4,
    SevenZip,
    Tar,
    /// Compressed data within compressed data.
    Nested(Compression),
    /// Text in UTF-16, with a byte order mark.
    Utf16,
    /// Text in UTF-16, little endian, without a byte order mark.
    Utf16Le,
    /// Text in UTF-16, big endian, without a byte order mark.
    Utf16Be,
    /// Text in UTF-32, with a byte order mark.
    Utf32,
    /// Only NUL bytes, as after a file system crash.
    Nul,
    /// BSON documents, as from `mongodump`.
    Bson,
    /// An archive of `pg_dump` in the format `custom`, `directory` or `tar`.
    PgDump(PgRows),
    PgScript(PgRows),
    /// Rows of `COPY … TO STDOUT`, or other rows with tabs between their cells.
    CopyRows,
    /// A table that `psql` has aligned. Holds the number of cells before the JSON.
    PsqlTable(usize),
    /// Rows with vertical bars between their cells, as of `psql -A`.
    PsqlRows,
    /// Rows or INSERT statements with JSON in single quotes, as of `sqlite3 -quote`.
    QuotedRows,
    /// Rows with names or borders around the JSON, as of `psql -x` or `sqlite3 -box`.
    SurroundedRows,
    /// A script of `sqlite3 .dump`, with the table and column of the JSON if they can be guessed.
    SqliteScript(Option<SqlitePlace>),
    /// An `SQLite` database, with the table and column of the JSON if they can be guessed.
    Sqlite(Option<SqlitePlace>),
    Parquet,
    Csv {
        delimiter: char,
        /// The column that holds JSON, if any.
        column: Option<CsvColumn>,
    },
    /// One JSON string per line, which contains JSON.
    JsonStrings,
    /// JSON with events in a string that exceeds the limit of a value. Holds a filter of `jq` for its contents.
    LongString(String),
}

/// A column of CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CsvColumn {
    /// Its name in the header.
    Named(String),
    /// Its number, counted from 0, in CSV without a header.
    Numbered(usize),
}

/// The form of the rows in a dump of `pg_dump`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PgRows {
    /// Lines after a `COPY` statement.
    Copy,
    Inserts,
}

/// A column of an `SQLite` database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlitePlace {
    pub(crate) table: String,
    pub(crate) column: String,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xz => "compressed with xz",
            Self::Bzip2 => "compressed with bzip2",
            Self::Zip => "a zip archive",
            Self::Lz4 => "compressed with lz4",
            Self::SevenZip => "a 7z archive",
            Self::Tar => "a tar archive",
            Self::Nested(_) => "compressed twice",
            Self::Utf16 | Self::Utf16Le | Self::Utf16Be => "UTF-16 text",
            Self::Utf32 => "UTF-32 text",
            Self::Nul => "filled with NUL bytes, as after a file system crash",
            Self::Bson => "BSON",
            Self::PgDump(_) => "a PostgreSQL archive (pg_dump)",
            Self::PgScript(_) => "a PostgreSQL script (pg_dump)",
            Self::CopyRows => "text with escapes and tabs, as of COPY",
            Self::PsqlTable(_) => "a table printed by psql",
            Self::PsqlRows => "text with | between columns, as of psql -A",
            Self::QuotedRows => "rows with quoted strings, as of sqlite3 -quote",
            Self::SurroundedRows => "rows with text around JSON, as of psql -x or sqlite3 -box",
            Self::SqliteScript(_) => "an SQLite script (.dump)",
            Self::Sqlite(_) => "an SQLite database",
            Self::Parquet => "Parquet",
            Self::Csv { .. } => "CSV",
            Self::JsonStrings => "JSON in strings",
            Self::LongString(_) => "JSON with events in a string of more than 16 MiB",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    Plain,
    Compressed(Compression),
    Foreign(Foreign),
}

/// Whether more first bytes may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// More may come.
    Open,
    /// The input has no more.
    Whole,
}

/// Detects the format from the first bytes. Returns none if more bytes are needed. It never requires more than necessary,
/// so that a single byte from a slow pipe is enough to identify plain text.
pub(crate) fn sniff(first: &[u8], head: Head) -> Option<Format> {
    for (magic, format) in MAGICS {
        let fits = magic.iter().zip(first).all(|(&(value, mask), byte)| byte & mask == value);
        // An incomplete magic number of at least three bytes is truncated compressed data, not a line of text.
        let is_truncated = head == Head::Whole && matches!(format, Format::Compressed(_)) && first.len() >= 3;
        if fits && (is_truncated || first.len() >= magic.len()) {
            return Some(format.clone());
        }
        if fits && head == Head::Open {
            return None;
        }
    }
    Some(Format::Plain)
}

/// Detects a supported compression from the first bytes.
pub(crate) fn compression(first: &[u8]) -> Option<Compression> {
    match sniff(first, Head::Whole) {
        Some(Format::Compressed(compression)) => Some(compression),
        _ => None,
    }
}

/// The first two bytes of every gzip member.
pub(crate) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Returns whether a zstd or skippable frame may begin with these bytes. Accepts a prefix of fewer than four bytes.
pub(crate) fn may_begin_zstd(bytes: &[u8]) -> bool {
    [ZSTD_FRAME, ZSTD_SKIPPABLE]
        .iter()
        .any(|magic| magic.iter().zip(bytes).all(|(&(value, mask), byte)| byte & mask == value))
}

/// An expected byte: its value under a mask, and the mask.
type Masked = (u8, u8);

/// Magic number 0xFD2FB528, little endian (RFC 8878, 3.1.1).
const ZSTD_FRAME: &[Masked] = &[(0x28, 0xff), (0xb5, 0xff), (0x2f, 0xff), (0xfd, 0xff)];
/// Magic numbers 0x184D2A50 to 0x184D2A5F, little endian (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE: &[Masked] = &[(0x50, 0xf0), (0x2a, 0xff), (0x4d, 0xff), (0x18, 0xff)];

/// Ordered so that a longer magic number precedes its own prefix.
const MAGICS: &[(&[Masked], Format)] = &[
    (&[(GZIP[0], 0xff), (GZIP[1], 0xff)], Format::Compressed(Compression::Gzip)),
    (ZSTD_FRAME, Format::Compressed(Compression::Zstd)),
    (ZSTD_SKIPPABLE, Format::Compressed(Compression::Zstd)),
    (
        &[(0xfd, 0xff), (b'7', 0xff), (b'z', 0xff), (b'X', 0xff), (b'Z', 0xff), (0, 0xff)],
        Format::Foreign(Foreign::Xz),
    ),
    // "BZh", a level digit, and the start of a block or of the end marker, because a line of text may begin with the
    // letters.
    (
        &[(b'B', 0xff), (b'Z', 0xff), (b'h', 0xff), (0x30, 0xf0), (0x31, 0xff), (0x41, 0xff)],
        Format::Foreign(Foreign::Bzip2),
    ),
    (
        &[(b'B', 0xff), (b'Z', 0xff), (b'h', 0xff), (0x30, 0xf0), (0x17, 0xff), (0x72, 0xff)],
        Format::Foreign(Foreign::Bzip2),
    ),
    (&[(b'P', 0xff), (b'K', 0xff), (3, 0xff), (4, 0xff)], Format::Foreign(Foreign::Zip)),
    (&[(b'P', 0xff), (b'K', 0xff), (5, 0xff), (6, 0xff)], Format::Foreign(Foreign::Zip)),
    (&[(0x04, 0xff), (0x22, 0xff), (0x4d, 0xff), (0x18, 0xff)], Format::Foreign(Foreign::Lz4)),
    (&[(0x02, 0xff), (0x21, 0xff), (0x4c, 0xff), (0x18, 0xff)], Format::Foreign(Foreign::Lz4)),
    (&[(0xff, 0xff), (0xfe, 0xff), (0, 0xff), (0, 0xff)], Format::Foreign(Foreign::Utf32)),
    (&[(0, 0xff), (0, 0xff), (0xfe, 0xff), (0xff, 0xff)], Format::Foreign(Foreign::Utf32)),
    (&[(0xff, 0xff), (0xfe, 0xff)], Format::Foreign(Foreign::Utf16)),
    (&[(0xfe, 0xff), (0xff, 0xff)], Format::Foreign(Foreign::Utf16)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_detected_by_their_first_bytes() {
        #[expect(clippy::needless_pass_by_value, reason = "calls are more readable")]
        fn check(first: &[u8], while_open: Option<Format>, when_whole: Format) {
            assert_eq!(sniff(first, Head::Open), while_open, "{first:x?}, more may come");
            assert_eq!(sniff(first, Head::Whole), Some(when_whole), "{first:x?}, no more");
        }
        fn sure(first: &[u8], format: Format) {
            check(first, Some(format.clone()), format);
        }
        let gzip = Format::Compressed(Compression::Gzip);
        let zstd = Format::Compressed(Compression::Zstd);
        check(b"", None, Format::Plain);
        sure(b"{", Format::Plain);
        sure(b"\xef", Format::Plain);
        check(b"\x1f", None, Format::Plain);
        sure(b"\x1f\x8b", gzip);
        sure(b"\x1f{", Format::Plain);
        check(b"\x28\xb5\x2f", None, zstd.clone());
        check(b"\x28\xb5", None, Format::Plain);
        sure(b"\x28\xb5\x2f\xfd", zstd.clone());
        sure(b"(x", Format::Plain);
        sure(b"\x50\x2a\x4d\x18", zstd.clone());
        sure(b"\x5f\x2a\x4d\x18", zstd);
        sure(b"\x60\x2a\x4d\x18", Format::Plain);
        check(b"\xfd7zXZ", None, Format::Plain);
        sure(b"\xfd7zXZ\0", Format::Foreign(Foreign::Xz));
        check(b"BZh", None, Format::Plain);
        sure(b"BZh91AY&SY", Format::Foreign(Foreign::Bzip2));
        sure(b"BZh1\x17\x72", Format::Foreign(Foreign::Bzip2));
        sure(b"BZhello", Format::Plain);
        sure(b"PK\x03\x04", Format::Foreign(Foreign::Zip));
        sure(b"PK\x05\x06", Format::Foreign(Foreign::Zip));
        sure(b"\x04\x22\x4d\x18", Format::Foreign(Foreign::Lz4));
        sure(b"\x02\x21\x4c\x18", Format::Foreign(Foreign::Lz4));
        check(b"\xff\xfe", None, Format::Foreign(Foreign::Utf16));
        sure(b"\xff\xfe{\0", Format::Foreign(Foreign::Utf16));
        sure(b"\xff\xfe\0\0", Format::Foreign(Foreign::Utf32));
        sure(b"\0\0\xfe\xff", Format::Foreign(Foreign::Utf32));
        sure(b"\xfe\xff", Format::Foreign(Foreign::Utf16));
    }
}
