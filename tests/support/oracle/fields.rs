//! Reads single fields: the values that a column accepts, and the consequence of a fault.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Nul;
use super::tables::Cell;
use super::time;

/// An index entry of PostgreSQL has at most 2,704 bytes. Whether a longer text fits depends on its compression.
const INDEXED_MAX_BYTES: usize = 1_000;

/// The range of a column.
pub(super) const SMALLINT: (i64, i64) = (i16::MIN as i64, i16::MAX as i64);
/// As [`SMALLINT`].
pub(super) const INT: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);
/// As [`SMALLINT`].
pub(super) const BIGINT: (i64, i64) = (i64::MIN, i64::MAX);

/// The consequence of a fault in a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Stored: any fault rejects.
    Kept,
    /// Overridden by a richer record: a wrong type rejects, a value out of every column's range may.
    Spare,
    /// A known name in a place that is not stored: any fault may reject.
    Ignored,
}

/// Reads fields of one event, and collects their faults.
pub(super) struct Fields {
    nul: Nul,
    /// The weight of the fields read next.
    pub(super) weight: Weight,
    faults: BTreeSet<String>,
    doubts: BTreeMap<String, &'static str>,
}

impl Fields {
    pub(super) fn new(nul: Nul) -> Self {
        Self { nul, weight: Weight::Kept, faults: BTreeSet::new(), doubts: BTreeMap::new() }
    }

    /// The faults, for which the event must be rejected, and the doubts, for which it may be.
    pub(super) fn into_findings(self) -> (BTreeSet<String>, BTreeMap<String, &'static str>) {
        (self.faults, self.doubts)
    }

    pub(super) fn text(&mut self, path: &str, value: Option<&Value>) -> Cell {
        match value {
            None | Some(Value::Null) => Cell::Null,
            Some(Value::String(text)) => match self.clean(path, text) {
                text if text.is_empty() => Cell::Null,
                text => Cell::Text(text),
            },
            Some(_) => self.wrong_type(path),
        }
    }

    /// A text in a column that may have an index.
    pub(super) fn indexed_text(&mut self, path: &str, value: Option<&Value>) -> Cell {
        let cell = self.text(path, value);
        if matches!(&cell, Cell::Text(text) if text.len() > INDEXED_MAX_BYTES) {
            self.doubt(path, "a text too long for an index");
        }
        cell
    }

    pub(super) fn integer(&mut self, path: &str, value: Option<&Value>, (least, most): (i64, i64)) -> Cell {
        if self.is_nothing(path, value) {
            return Cell::Null;
        }
        match value.and_then(Value::as_i64) {
            Some(number) if (least..=most).contains(&number) => Cell::Int(number),
            Some(_) => {
                self.does_not_fit(path, "a number too large, in a record that is not kept");
                Cell::Null
            }
            None => self.wrong_type(path),
        }
    }

    pub(super) fn float(&mut self, path: &str, value: Option<&Value>) -> Cell {
        if self.is_nothing(path, value) {
            return Cell::Null;
        }
        match value.and_then(Value::as_f64) {
            // Sums and averages over the column must not overflow, and a product must not underflow.
            Some(number) if number != 0.0 && !(1e-100..=1e12).contains(&number.abs()) => {
                self.does_not_fit(path, "a float out of range, in a record that is not kept");
                Cell::Null
            }
            Some(number) => Cell::Float(number),
            None => self.wrong_type(path),
        }
    }

    pub(super) fn time(&mut self, path: &str, value: Option<&Value>) -> Cell {
        let text = match value {
            None | Some(Value::Null) => return Cell::Null,
            Some(Value::String(text)) if self.nul == Nul::Strip && text.contains('\0') => {
                self.doubt(path, "a time stamp once a NUL is out of it");
                text.replace('\0', "")
            }
            Some(Value::String(text)) => text.clone(),
            Some(_) => return self.wrong_type(path),
        };
        let Some(instant) = time::parse(&text) else {
            return self.wrong_type(path);
        };
        if let Some(doubt) = instant.doubt {
            self.doubt(path, doubt);
        }
        Cell::Time(instant.micros)
    }

    pub(super) fn json(&mut self, path: &str, value: Option<&Value>) -> Cell {
        match value {
            None | Some(Value::Null) => Cell::Null,
            Some(value) => match self.clean_json(path, value) {
                Value::String(text) if text.is_empty() => Cell::Null,
                value => Cell::json(value),
            },
        }
    }

    fn clean_json(&mut self, path: &str, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.clean(path, text)),
            Value::Array(values) => values.iter().map(|value| self.clean_json(path, value)).collect(),
            Value::Object(fields) => {
                let mut clean = Map::new();
                for (key, value) in fields {
                    let (key, value) = (self.clean(path, key), self.clean_json(path, value));
                    if clean.insert(key, value).is_some() {
                        self.doubt(path, "keys that are equal once a NUL is out of them");
                    }
                }
                Value::Object(clean)
            }
            other => other.clone(),
        }
    }

    /// The text as it is stored.
    fn clean(&mut self, path: &str, text: &str) -> String {
        if !text.contains('\0') {
            return text.to_owned();
        }
        match self.nul {
            Nul::Reject => {
                self.does_not_fit(path, "a NUL in a record that is not kept");
                text.to_owned()
            }
            Nul::Strip => text.replace('\0', ""),
            Nul::Replace => text.replace('\0', "\u{fffd}"),
        }
    }

    pub(super) fn object<'a>(
        &mut self,
        path: &str,
        value: Option<&'a Value>,
    ) -> Option<&'a Map<String, Value>> {
        if self.is_nothing(path, value) {
            return None;
        }
        let object = value.and_then(Value::as_object);
        if object.is_none() {
            self.wrong_type(path);
        }
        object
    }

    pub(super) fn list<'a>(&mut self, path: &str, value: Option<&'a Value>) -> &'a [Value] {
        if self.is_nothing(path, value) {
            return &[];
        }
        if let Some(Value::Array(values)) = value {
            values
        } else {
            self.wrong_type(path);
            &[]
        }
    }

    /// Absent, null, or an empty string. By the specification an empty string is NULL everywhere, but it is also a wrong
    /// type where no string is expected.
    fn is_nothing(&mut self, path: &str, value: Option<&Value>) -> bool {
        let is_empty = matches!(value, Some(Value::String(text)) if text.is_empty());
        if is_empty {
            self.doubt(path, "an empty string where no string belongs");
        }
        is_empty || matches!(value, None | Some(Value::Null))
    }

    pub(super) fn need(&mut self, path: &str, cell: &Cell) {
        if *cell == Cell::Null {
            self.fault(path.to_owned());
        }
    }

    fn wrong_type(&mut self, path: &str) -> Cell {
        if self.weight == Weight::Ignored {
            self.doubt(path, "a wrong type where nothing is kept");
        } else {
            self.fault(path.to_owned());
        }
        Cell::Null
    }

    fn does_not_fit(&mut self, path: &str, doubt: &'static str) {
        if self.weight == Weight::Kept {
            self.fault(path.to_owned());
        } else {
            self.doubt(path, doubt);
        }
    }

    pub(super) fn fault(&mut self, path: String) {
        self.faults.insert(path);
    }

    fn doubt(&mut self, path: &str, why: &'static str) {
        self.doubts.entry(path.to_owned()).or_insert(why);
    }
}
