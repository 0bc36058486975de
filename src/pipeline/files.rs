//! The segments of each file, for the ledger of files that were loaded completely.

use crate::database::store::SegmentHash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Of a run with more segments the later ones are not kept, nor are their files.
const SEGMENTS_MAX: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct FileSegments(Mutex<KeptFiles>);

#[derive(Debug, Default)]
struct KeptFiles {
    count: usize,
    /// None of a source that has a segment which is not kept.
    sources: HashMap<Arc<str>, Option<Vec<SegmentHash>>>,
}

impl FileSegments {
    /// Notes a segment of a source.
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

    /// The segments of a source, in no order; none where they are not known.
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
