//! The activity of a backend, seen from another session.

use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient as _;
use postgres::Error;

/// The activity of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing {
    /// No such backend, or one that waits for its client.
    Nothing,
    /// Its COMMIT waits for a synchronous standby, or it waits for a lock of a transaction whose COMMIT does.
    AwaitsStandby,
    /// It waits for a lock.
    AwaitsLock {
        /// The holder of the lock, for messages.
        holder: String,
        /// The index build of the holder.
        build: Option<Build>,
    },
    /// It builds an index.
    Builds(Build),
    /// It runs a statement.
    Works,
}

/// The progress of an index build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Build {
    /// Differs from the value of an earlier look if there was progress in between.
    counters: String,
    /// Whether the current phase has no counters, such as a sort.
    is_uncounted: bool,
}

/// The number of looks in a row that may find the same counters during a sort.
const UNCOUNTED_LOOKS_MAX: u32 = 30;

/// The results of earlier looks at a build.
#[derive(Debug, Default)]
pub(crate) struct BuildLooks {
    last: Option<Build>,
    unchanged: u32,
}

impl BuildLooks {
    /// Whether the build has made progress since the last look. True at the first look.
    pub(crate) fn has_progress(&mut self, build: Build) -> bool {
        let is_unchanged = self.last.as_ref() == Some(&build);
        self.unchanged = if is_unchanged { self.unchanged + 1 } else { 0 };
        let unchanged_max = if build.is_uncounted { UNCOUNTED_LOOKS_MAX } else { 0 };
        self.last = Some(build);
        self.unchanged <= unchanged_max
    }
}

/// Reads the activity of the backend with this process id.
pub(crate) fn look(client: &mut Client, pid: i32) -> Result<Doing, Error> {
    let sql = "SELECT a.state = 'active', coalesce(a.wait_event = 'SyncRep' OR h.wait_event = 'SyncRep', false),
           h.words, b.counters, b.phase LIKE '%sorting%'
         FROM pg_stat_activity a
         LEFT JOIN LATERAL (
           SELECT h.pid, h.wait_event, format('a lock that backend %s holds (%s, %s)', h.pid,
             coalesce(nullif(h.application_name, ''), 'without a name'), coalesce(h.state, 'of another role')) AS words
           FROM pg_stat_activity h WHERE h.pid = ANY (pg_blocking_pids(a.pid))
           ORDER BY h.pid IN (SELECT pid FROM pg_stat_progress_create_index) DESC, h.wait_event = 'SyncRep' DESC
           LIMIT 1) h ON true
         LEFT JOIN LATERAL (
           SELECT p.phase, concat_ws(' ', p.relid, p.index_relid, p.phase, p.lockers_done, p.blocks_done,
             p.tuples_done, p.partitions_done) AS counters
           FROM pg_stat_progress_create_index p WHERE p.pid = coalesce(h.pid, a.pid) LIMIT 1) b ON true
         WHERE a.pid = $1";
    let Some(row) = client.query_opt(sql, &[&pid])? else { return Ok(Doing::Nothing) };
    let is_active = row.try_get::<_, Option<bool>>(0)?.unwrap_or(false);
    let awaits_standby: bool = row.try_get(1)?;
    let holder: Option<String> = row.try_get(2)?;
    let counters: Option<String> = row.try_get(3)?;
    let is_uncounted = row.try_get::<_, Option<bool>>(4)?.unwrap_or(false);
    let build = counters.map(|counters| Build { counters, is_uncounted });
    Ok(match (awaits_standby, holder, build) {
        (true, ..) => Doing::AwaitsStandby,
        (false, Some(holder), build) => Doing::AwaitsLock { holder, build },
        (false, None, Some(build)) if is_active => Doing::Builds(build),
        (false, None, _) if is_active => Doing::Works,
        (false, None, _) => Doing::Nothing,
    })
}

/// Whether a session of this program waits for a synchronous standby.
pub(crate) fn awaits_standby(client: &mut Client) -> Result<bool, Error> {
    let sql = "SELECT FROM pg_stat_activity
               WHERE wait_event = 'SyncRep' AND application_name = current_setting('application_name') LIMIT 1";
    Ok(client.query_opt(sql, &[])?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_progress_is_noticed_and_a_sort_is_given_time() {
        let build = |counters: &str, is_uncounted| Build { counters: counters.to_owned(), is_uncounted };
        let mut looks = BuildLooks::default();
        assert!(looks.has_progress(build("scan 1", false)));
        assert!(looks.has_progress(build("scan 2", false)));
        assert!(!looks.has_progress(build("scan 2", false)));
        for _ in 0..=UNCOUNTED_LOOKS_MAX {
            assert!(looks.has_progress(build("sort", true)));
        }
        assert!(!looks.has_progress(build("sort", true)));
    }
}
