//! The results of a load: the summary and the reject file.

use std::fs;
use std::path::Path;

use aegis_kills::internals::Server;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::oracle::Layout;

/// The JSON object of `load --json`.
#[derive(Debug)]
pub(crate) struct Summary(pub(crate) Value);

/// A line of a reject file.
#[derive(Debug)]
pub(crate) struct Reject(pub(crate) Value);

/// The rejects in a file, by line and index.
pub(crate) fn read_rejects(path: &Path) -> Vec<Reject> {
    let text = fs::read_to_string(path).expect("a reject file");
    assert!(text.ends_with('\n'), "the last reject is whole");
    let parse = |line: &str| Reject(serde_json::from_str(line).expect("a reject is JSON"));
    let mut rejects: Vec<Reject> = text.lines().map(parse).collect();
    rejects.sort_by_key(|reject| (reject.line(), reject.index()));
    rejects
}

impl Summary {
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("{name} is no count in {}", self.0))
    }

    pub(crate) fn status(&self) -> &str {
        self.0["status"].as_str().expect("a status")
    }

    pub(crate) fn error(&self) -> &str {
        self.0["error"].as_str().unwrap_or_default()
    }

    /// Asserts some of the counts.
    #[track_caller]
    pub(crate) fn check(&self, counts: &[(&str, u64)]) {
        for (name, expected) in counts {
            assert_eq!(self.count(name), *expected, "{name} in {}", self.0);
        }
    }

    #[track_caller]
    pub(super) fn check_shape(&self) {
        const COUNTS: [&str; 16] = [
            "lines",
            "events",
            "inserted",
            "updated",
            "duplicate",
            "already_loaded",
            "rejected",
            "rejected_before",
            "unfinished",
            "files_skipped",
            "bytes_read",
            "bytes_uncompressed",
            "segments",
            "segments_skipped",
            "retries",
            "connection_errors",
        ];
        const OTHERS: [&str; 8] = [
            "status",
            "run",
            "server",
            "layout",
            "elapsed_seconds",
            "events_per_second",
            "rejects_file",
            "error",
        ];
        let object = self.0.as_object().expect("one JSON object");
        let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
        let mut wanted = [&COUNTS[..], &OTHERS[..]].concat();
        keys.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(keys, wanted);
        assert!(COUNTS.iter().all(|name| object[*name].is_u64()), "{}", self.0);
        assert!(["elapsed_seconds", "events_per_second"].iter().all(|name| object[*name].is_f64()));
        assert!(
            ["rejects_file", "error"].iter().all(|name| object[*name].is_string() || object[*name].is_null())
        );
        assert!(["complete", "rejects", "interrupted", "failed", "reject_limit"].contains(&self.status()));
        uuid::Uuid::parse_str(object["run"].as_str().expect("a text")).expect("a UUID");
        assert!(Server::ALL.map(Server::name).contains(&object["server"].as_str().expect("a text")));
        assert!(Layout::ALL.map(Layout::name).contains(&object["layout"].as_str().expect("a text")));
    }
}

impl Reject {
    pub(crate) fn line(&self) -> u64 {
        self.0["line"].as_u64().expect("a line")
    }

    pub(crate) fn index(&self) -> Option<u64> {
        self.0["index"].as_u64()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    /// The rejected input, unchanged.
    pub(crate) fn raw(&self) -> Vec<u8> {
        let raw = self.text("raw").expect("a text");
        match self.0.get("raw_base64") {
            Some(Value::Bool(true)) => STANDARD.decode(raw).expect("base64"),
            None => raw.as_bytes().to_vec(),
            other => panic!("raw_base64 is {other:?}"),
        }
    }
}
