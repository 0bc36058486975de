//! The segments of each file, for the ledger of completely loaded files.

use crate::database::store::SegmentHash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The maximum number of segments kept per run. Files with later segments are not recorded.
const SEGMENTS_MAX: usize = 100_000;

/// The segments of each source.
#[derive(Debug, Default)]
pub(crate) struct FileSegments(Mutex<KeptFiles>);

#[derive(Debug, Default)]
struct KeptFiles {
    count: usize,
    /// None for a source with segments that were not kept.
    sources: HashMap<Arc<str>, Option<Vec<SegmentHash>>>,
}

impl FileSegments {
    /// Records a segment of a source.
    pub(crate) fn note(&self, source: &Arc<str>, hash: SegmentHash) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = kept.count >= SEGMENTS_MAX;
        kept.count += 1;
        let segments = kept.sources.entry(Arc::clone(source)).or_insert_with(|| Some(Vec::new()));
        match segments {
            Some(_) if is_full => *segments = None,
            Some(segments) => segments.push(hash),
            None => {}
        }
    }

    /// Returns the segments of a source in arbitrary order, or none if they are unknown.
    pub(crate) fn of(&self, source: &str) -> Option<Vec<SegmentHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sources.get(source).cloned().flatten()
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
        assert_eq!((files.of("large"), files.of("other")), (None, None));
    }
}
