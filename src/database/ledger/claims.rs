//! Claims decide which of several loads of the same dumps parses and writes a segment.
//!
//! Invariant: a claim only saves work. The ledger's key decides which rows are stored and counted. A load without
//! claims, or one that loses them, continues without them.
//!
//! A claim is an advisory lock in a dedicated session outside the pool, so a load that crashes releases its claims at
//! once. Behind a pooler there are no claims: the lock would stay with a backend that other clients use.

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

/// Limit for opening the session and for each of its answers. After that, the load continues without claims.
const TIME_MAX: Duration = Duration::from_secs(5);

/// The most segments per query.
pub(crate) const QUESTION_MAX: usize = 500;

/// Delay before a lost or failed session is reopened.
const REOPEN_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Claims {
    caller: Caller,
    scope: Arc<LedgerScope>,
    /// Locked while a query runs, and therefore separate from `held_locks`.
    lock_session: Mutex<LockSession>,
    held_locks: Mutex<HeldLocks>,
}

/// The session that holds the claims.
#[derive(Default)]
struct LockSession {
    session: Option<Session>,
    /// The first session, which is opened in parallel with the input.
    opening: Option<Opening>,
    /// The end of the last attempt to open a session.
    last_attempt: Option<Instant>,
    /// Whether this database, or the route to it, does not support claims.
    is_impossible: bool,
}

/// The claims that the session holds. The server counts them: a segment claimed twice must be released twice.
#[derive(Debug, Default)]
struct HeldLocks {
    held: HashMap<i64, u32>,
    /// The claims that the next query releases.
    released: Vec<i64>,
}

/// The answer to a query for segments.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Their rows in the ledger.
    pub(crate) entries: Entries,
    /// The segments that this load has claimed; `None` if claims were unavailable.
    pub(crate) claimed: Option<HashSet<SegmentHash>>,
}

impl Claims {
    pub(crate) fn new(caller: Caller, scope: Arc<LedgerScope>) -> Self {
        Self { caller, scope, lock_session: Mutex::default(), held_locks: Mutex::default() }
    }

    /// Starts to open the session, so that the first query need not wait for it.
    pub(crate) fn begin(&self) {
        lock(&self.lock_session).opening = self.caller.opener.begin().ok();
    }

    /// Claims up to `most` of the segments and looks them up in the ledger, in one round trip. Returns `None` while
    /// claims are unavailable.
    ///
    /// The lookup follows the claim, so it sees whether the previous owner of the claim stored the segment.
    pub(crate) fn ask(&self, hashes: &[SegmentHash], most: usize, deadline: &Deadline) -> Option<Answer> {
        let mut lock_session = lock(&self.lock_session);
        self.open(&mut lock_session, deadline);
        let session = lock_session.session.as_mut()?;
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
                self.lose(&mut lock_session, &error);
                None
            }
        }
    }

    /// Releases the claim on a segment with the next query, if there is one.
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

    /// Opens the session if there is none and the last attempt is not too recent.
    fn open(&self, lock_session: &mut LockSession, deadline: &Deadline) {
        let is_due =
            lock_session.last_attempt.is_none_or(|last_attempt| last_attempt.elapsed() >= REOPEN_INTERVAL);
        if lock_session.session.is_some() || lock_session.is_impossible || !is_due {
            return;
        }
        let deadline = deadline.at_most_for(TIME_MAX);
        let opener = &self.caller.opener;
        let session = match lock_session.opening.take() {
            Some(opening) => opener.wait_for(&opening, &deadline),
            None => opener.open(&deadline),
        };
        // Measured from the end: an attempt may take as long as the interval.
        lock_session.last_attempt = Some(Instant::now());
        match session {
            Ok(session) if session.pid.is_some() => lock_session.session = Some(session),
            Ok(_) => lock_session.is_impossible = true,
            Err(error) => log::debug!("segment claims unavailable: {}", in_full(&error)),
        }
    }

    /// Drops the lost session and all of its claims. A database that does not support claims gets no further attempt.
    fn lose(&self, lock_session: &mut LockSession, error: &DatabaseError) {
        log::debug!("segment claims unavailable: {}", in_full(error));
        lock_session.session = None;
        lock_session.is_impossible = error.sqlstate().is_some() && error.class() == ErrorClass::Fatal;
        *lock(&self.held_locks) = HeldLocks::default();
    }

    /// The query as one text. Each of its statements sees everything that was committed before that statement began.
    fn question(&self, hashes: &[SegmentHash], keys: &[i64], most: usize) -> String {
        let released = std::mem::take(&mut lock(&self.held_locks).released);
        let mut statements = Vec::new();
        if !released.is_empty() {
            let keys = rows_of(&released);
            statements.push(format!("SELECT count(pg_advisory_unlock(key)) AS released FROM {keys}"));
        }
        if most > 0 {
            // The statement names no table, so that this server takes the lock and not a node of Citus.
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

/// The positions of the claimed segments, from 0, as bits.
///
/// It is not a vector: the parsing thread would reuse and grow the memory of the answering thread, which is a new one per
/// answer. A load then takes a third more memory.
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
    // The contents are consistent after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for LockSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockSession").field("last_attempt", &self.last_attempt).finish_non_exhaustive()
    }
}
