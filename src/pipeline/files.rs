//! The segments of each file, for the ledger of completely loaded files.

use crate::database::store::SegmentHash;
use crate::sync::{Mutex, lock};
use std::collections::HashMap;
use std::sync::Arc;

/// The maximum number of segments kept per run. Files with later segments are not recorded.
const SEGMENTS_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct FileSegments(Mutex<KeptFiles>);

#[derive(Debug, Default)]
struct KeptFiles {
    count: usize,
    sources: HashMap<Arc<str>, KeptSegments>,
}

#[derive(Debug)]
enum KeptSegments {
    /// The segments so far.
    Some(Vec<SegmentHash>),
    /// There are too many.
    Unknown,
}

impl FileSegments {
    /// Records a segment of a source.
    pub(crate) fn note(&self, source: &Arc<str>, hash: SegmentHash) {
        let mut kept = lock(&self.0);
        let is_full = kept.count >= SEGMENTS_MAX;
        kept.count += 1;
        let segments =
            kept.sources.entry(Arc::clone(source)).or_insert_with(|| KeptSegments::Some(Vec::new()));
        match segments {
            KeptSegments::Some(_) if is_full => *segments = KeptSegments::Unknown,
            KeptSegments::Some(segments) => segments.push(hash),
            KeptSegments::Unknown => {}
        }
    }

    /// Returns the segments of a source in arbitrary order, or none if they are unknown. A source without text has none.
    pub(crate) fn of(&self, source: &str) -> Option<Vec<SegmentHash>> {
        let kept = lock(&self.0);
        match kept.sources.get(source) {
            None => Some(Vec::new()),
            Some(KeptSegments::Some(segments)) => Some(segments.clone()),
            Some(KeptSegments::Unknown) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_too_many_segments_is_not_known() {
        let files = FileSegments::default();
        let (small, large): (Arc<str>, Arc<str>) = ("small".into(), "large".into());
        files.note(&small, SegmentHash([1; 32]));
        for _ in 0..SEGMENTS_MAX {
            files.note(&large, SegmentHash([2; 32]));
        }
        assert_eq!(files.of("small"), Some(vec![SegmentHash([1; 32])]));
        assert_eq!((files.of("large"), files.of("empty")), (None, Some(Vec::new())));
    }
}
