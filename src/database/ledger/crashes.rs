//! The rows of crashed runs, which other runs complete. Together, the counts of all runs are those of the tables.
//!
//! A crashed run has no session left. A live one can lose its sessions for a moment, too. Then it is marked as crashed, and
//! overwrites the mark at its end. If it crashes before that, the segments that it has stored since the mark are added.

/// The condition that the run of a row has a session.
pub(super) const HAS_SESSION: &str =
    "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE '%' || id)";

/// The error of a crashed run. It may also have been stopped while the database could not be written.
const CRASHED: &str = "ended without recording its end: the process or the host went down, or the database could not be written";

/// The pattern of this error and of those of earlier versions.
const ANY_CRASHED: &str = "ended without recording its end: %";

/// The counts of a segment in its row and in that of its run.
const COUNTS: [&str; 6] = ["lines", "events", "inserted", "updated", "duplicate", "rejected"];

/// Selects unfinished runs without a session, except the parameter's run.
pub(super) fn unfinished_runs(schema: &str) -> String {
    format!(
        "SELECT id FROM {schema}.kill_load_run WHERE status = 'running' AND id <> $1 AND NOT {HAS_SESSION}"
    )
}

/// Selects the same runs, and crashed ones that have stored segments since their mark. The mark is at most a day old,
/// because no index finds the segments of a run.
pub(super) fn crashed_runs(schema: &str) -> String {
    format!(
        "{} UNION ALL
         SELECT id FROM {schema}.kill_load_run
         WHERE error LIKE '{ANY_CRASHED}' AND finished > now() - interval '1 day' AND id <> $1 AND NOT {HAS_SESSION}
           AND (SELECT max(loaded_at) FROM {schema}.kill_load_segment WHERE run = id) > finished",
        unfinished_runs(schema)
    )
}

/// Completes the row of a crashed run: adds the counts of its segments since an earlier mark. Of two runs that do this at
/// the same time, the second finds another mark than it has read.
pub(super) fn mark_crashed_runs(schema: &str) -> String {
    let sums = COUNTS.map(|count| format!("coalesce(sum(segment.{count}), 0) AS {count}")).join(", ");
    let added = COUNTS.map(|count| format!("{count} = run.{count} + found.{count}")).join(", ");
    format!(
        "UPDATE {schema}.kill_load_run AS run
         SET status = 'failed', error = '{CRASHED}', finished = greatest(run.started, run.finished, found.last),
             segments = run.segments + found.segments, {added}
         FROM (SELECT marked.finished, max(segment.loaded_at) AS last, count(segment.hash) AS segments, {sums}
               FROM {schema}.kill_load_run AS marked LEFT JOIN {schema}.kill_load_segment AS segment
                 ON segment.run = marked.id AND segment.loaded_at > coalesce(marked.finished, '-infinity')
               WHERE marked.id = $1 GROUP BY marked.finished) AS found
         WHERE run.id = $1 AND run.finished IS NOT DISTINCT FROM found.finished
           AND (run.status = 'running' OR run.error LIKE '{ANY_CRASHED}')"
    )
}

/// Adds the counts of a segment's row to the row of its run, because another run is about to overwrite it. Does nothing if
/// the run has recorded its end, or was marked with this segment. The parameters are the segment's key.
pub(super) fn keep_counts(schema: &str) -> String {
    let added = COUNTS.map(|count| format!("{count} = run.{count} + segment.{count}")).join(", ");
    format!(
        "UPDATE {schema}.kill_load_run AS run SET segments = run.segments + 1, {added}
         FROM {schema}.kill_load_segment AS segment
         WHERE segment.hash = $1 AND segment.server = $2 AND segment.layout = $3 AND run.id = segment.run
           AND (run.status = 'running' OR run.error LIKE '{ANY_CRASHED}' AND run.finished < segment.loaded_at)"
    )
}
