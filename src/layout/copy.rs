//! The binary format of `COPY` (<https://www.postgresql.org/docs/current/sql-copy.html>): a header, rows and a trailer.
//! A row has a field count, and each field a byte count, in network byte order.

use crate::layout::table::Column;

/// The start of a stream: the signature, no flags, no extension.
pub(crate) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The end of a stream.
pub(crate) const COPY_TRAILER: &[u8] = &[0xff, 0xff];

/// The PostgreSQL epoch, 2000-01-01 UTC, in microseconds since 1970.
pub(crate) const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A row that is being written. The fields must come in the order of the table's columns.
pub(crate) struct Row<'o> {
    out: &'o mut Vec<u8>,
    #[cfg(debug_assertions)]
    fields_left: usize,
}

impl<'o> Row<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>, columns: &[Column]) -> Self {
        let count = i16::try_from(columns.len()).expect("a table has at most 1,600 columns");
        out.extend_from_slice(&count.to_be_bytes());
        Self {
            out,
            #[cfg(debug_assertions)]
            fields_left: columns.len(),
        }
    }

    #[inline]
    fn field(&mut self, bytes: &[u8]) {
        self.count_field();
        self.out.extend_from_slice(&length(bytes.len()));
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn null(&mut self) {
        self.count_field();
        self.out.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    #[inline]
    fn count_field(&mut self) {
        #[cfg(debug_assertions)]
        {
            self.fields_left -= 1;
        }
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.field(value.as_bytes());
    }

    pub(crate) fn int8(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    pub(crate) fn int2(&mut self, value: i16) {
        self.field(&value.to_be_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.field(&[u8::from(value)]);
    }

    pub(crate) fn timestamptz(&mut self, microseconds_since_1970: i64) {
        self.int8(microseconds_since_1970 - POSTGRES_EPOCH_US);
    }

    pub(crate) fn float8(&mut self, value: f64) {
        self.field(&value.to_be_bytes());
    }

    pub(crate) fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    /// Writes a value with `write`, or NULL.
    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }

    /// Writes a `jsonb`: the version byte 1 and the JSON text.
    pub(crate) fn jsonb(&mut self, value: &str) {
        self.count_field();
        self.out.extend_from_slice(&length(value.len() + 1));
        self.out.push(1);
        self.out.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn end(self) {
        #[cfg(debug_assertions)]
        assert_eq!(self.fields_left, 0, "a row needs a field for each column");
    }
}

fn length(bytes: usize) -> [u8; 4] {
    let length = i32::try_from(bytes).expect("a value is part of a line, which is far shorter than 2 GiB");
    length.to_be_bytes()
}
