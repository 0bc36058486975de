//! Claims: of several loads that are given the same dumps, which one parses and writes a segment.
//!
//! Invariant: a claim saves work, and nothing rests on it. What is stored, and counted, the ledger's key decides. So
//! whoever can have no claims loads without them, and whoever loses them goes on.
//!
//! A claim is an advisory lock of a session of its own, outside of the pool: a load that dies gives back its claims at once,
//! as its session ends. Behind a pooler there are none, as the lock would stay with a backend that others use.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::ledger::entries::{Entries, LedgerScope};
use crate::database::pool::supervised::{Caller, PoolCall};
use crate::database::session::deadline::Deadline;
use crate::database::session::opener::{Opening, Session};
use crate::database::store::SegmentHash;
use crate::error_chain::in_full;
use postgres::SimpleQueryMessage;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long is waited for the session, and for each of its answers: loading goes on without claims after that.
const TIME_MAX: Duration = Duration::from_secs(5);

/// So many segments are asked for at once.
pub(crate) const QUESTION_MAX: usize = 500;

/// How long until a session that was lost, or could not be had, is opened again.
const AGAIN: Duration = Duration::from_secs(5);

/// The claims of one load.
#[derive(Debug)]
pub(crate) struct Claims {
    caller: Caller,
    scope: Arc<LedgerScope>,
    /// Locked for as long as an answer takes, and so apart from the book.
    link: Mutex<LockSession>,
    held_locks: Mutex<HeldLocks>,
}

/// The session that claims are made on.
#[derive(Default)]
struct LockSession {
    session: Option<Session>,
    /// The first one, which is opened while the input is.
    opening: Option<Opening>,
    /// When one was last opened, or that was tried.
    tried: Option<Instant>,
    /// Whether claims can't be had in this database, or on this way to it.
    is_impossible: bool,
}

/// The claims that the session holds. The server counts them: what is claimed twice must be released twice.
#[derive(Debug, Default)]
struct HeldLocks {
    held: HashMap<i64, u32>,
    /// What the next question gives back.
    released: Vec<i64>,
}

/// What is known of segments that were asked for.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What the ledger holds of them.
    pub(crate) entries: Entries,
    /// Those of them that are ours by now; none where no claims could be made.
    pub(crate) claimed: Option<HashSet<SegmentHash>>,
}

impl Claims {
    pub(crate) fn new(caller: Caller, scope: Arc<LedgerScope>) -> Self {
        Self { caller, scope, link: Mutex::default(), held_locks: Mutex::default() }
    }

    /// Begins to open the session, so that who asks first need not wait for it.
    pub(crate) fn begin(&self) {
        lock(&self.link).opening = self.caller.opener.begin().ok();
    }

    /// Claims up to `most` of the segments, and looks for them in the ledger, in one round trip. None: no claims can be had
    /// at this moment.
    ///
    /// The ledger is looked at after the claim was made: who had it before has stored the segment by then, or did not.
    pub(crate) fn ask(&self, hashes: &[SegmentHash], most: usize, deadline: &Deadline) -> Option<Answer> {
        let mut link = lock(&self.link);
        self.open(&mut link, deadline);
        let session = link.session.as_mut()?;
        let keys: Vec<i64> = hashes.iter().map(|hash| self.scope.claim_key(hash)).collect();
        let sql = self.question(hashes, &keys, most);
        let asked = hashes.to_vec();
        let operation: PoolCall<(Entries, QuestionBits)> = Arc::new(move |client, _| {
            let messages = client.simple_query(&sql)?;
            Ok((Entries::read(&messages, &asked), QuestionBits::claimed(&messages)))
        });
        match self.caller.call(session, &operation, &deadline.at_most_for(TIME_MAX)) {
            Ok((entries, places)) => {
                let mut held_locks = lock(&self.held_locks);
                let claimed = (0..hashes.len()).filter(|&place| places.has(place)).map(|place| {
                    *held_locks.held.entry(keys[place]).or_default() += 1;
                    hashes[place]
                });
                Some(Answer { entries, claimed: Some(claimed.collect()) })
            }
            Err(error) => {
                self.lose(&mut link, &error);
                None
            }
        }
    }

    /// Gives back the claim on a segment, with the next question. Nothing where there is none.
    pub(crate) fn release(&self, hash: &SegmentHash) {
        let key = self.scope.claim_key(hash);
        let mut held_locks = lock(&self.held_locks);
        let Some(times) = held_locks.held.get_mut(&key) else { return };
        *times -= 1;
        if *times == 0 {
            held_locks.held.remove(&key);
        }
        held_locks.released.push(key);
    }

    /// Opens the session, where there is none and that was not tried a moment ago.
    fn open(&self, link: &mut LockSession, deadline: &Deadline) {
        let is_due = link.tried.is_none_or(|tried| tried.elapsed() >= AGAIN);
        if link.session.is_some() || link.is_impossible || !is_due {
            return;
        }
        let deadline = deadline.at_most_for(TIME_MAX);
        let opener = &self.caller.opener;
        let session = match link.opening.take() {
            Some(opening) => opener.wait_for(&opening, &deadline),
            None => opener.open(&deadline),
        };
        // From its end on: an attempt may take as long as the wait for the next one.
        link.tried = Some(Instant::now());
        match session {
            Ok(session) if session.pid.is_some() => link.session = Some(session),
            Ok(_) => link.is_impossible = true,
            Err(error) => log::debug!("segments can't be claimed for now: {}", in_full(&error)),
        }
    }

    /// Notes that the session is lost, and so all of its claims. A database that knows none is not asked again.
    fn lose(&self, link: &mut LockSession, error: &DatabaseError) {
        log::debug!("segments can't be claimed for now: {}", in_full(error));
        link.session = None;
        link.is_impossible = error.sqlstate().is_some() && error.class() == ErrorClass::Fatal;
        *lock(&self.held_locks) = HeldLocks::default();
    }

    /// One text, whose statements see each what was committed before it began.
    fn question(&self, hashes: &[SegmentHash], keys: &[i64], most: usize) -> String {
        let released = std::mem::take(&mut lock(&self.held_locks).released);
        let mut statements = Vec::new();
        if !released.is_empty() {
            let keys = rows_of(&released);
            statements.push(format!("SELECT count(pg_advisory_unlock(key)) AS released FROM {keys}"));
        }
        if most > 0 {
            // No table is named with it, so that it is the server which was asked that locks.
            let keys = rows_of(keys);
            statements.push(format!(
                "SELECT place AS claimed FROM {keys} WHERE pg_try_advisory_lock(key) LIMIT {most}"
            ));
        }
        statements.push(self.scope.question(hashes));
        statements.join("; ")
    }
}

fn rows_of(keys: &[i64]) -> String {
    let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
    format!("unnest('{{{}}}'::bigint[]) WITH ORDINALITY AS keys (key, place)", keys.join(","))
}

/// The places of the segments that were claimed, from 0, as bits.
///
/// It is no vector for a reason: the allocator would have the thread that asked, which parses, reuse and grow within the
/// memory of the one that answered, a new one for each answer, and a load would take a third more.
#[derive(Default)]
struct QuestionBits([u64; QUESTION_MAX.div_ceil(64)]);

impl QuestionBits {
    fn claimed(messages: &[SimpleQueryMessage]) -> Self {
        let place = |message: &SimpleQueryMessage| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            let place: usize = row.try_get("claimed").ok()??.parse().ok()?;
            place.checked_sub(1)
        };
        let mut places = Self::default();
        for place in messages.iter().filter_map(place) {
            if let Some(bits) = places.0.get_mut(place / 64) {
                *bits |= 1 << (place % 64);
            }
        }
        places
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in these is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for LockSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockSession").field("tried", &self.tried).finish_non_exhaustive()
    }
}
