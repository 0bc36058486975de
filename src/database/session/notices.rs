//! Notices and warnings that the server sends beside results.

use crate::error_chain::{SERVER_TEXT_BYTES_MAX, server_message, truncated};
use postgres::Config;
use postgres::error::{DbError, Severity, SqlState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of different warnings shown. A trigger may send one per row.
const WARNINGS_MAX: usize = 20;

/// The function of PostgreSQL in which a COMMIT waits for a standby. Its messages may be translated, its name is not.
const STANDBY_WAIT: &str = "SyncRepWaitForLSN";

/// The warnings shown so far. Each is shown once for all sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn show(&self, warning: &DbError) {
        let detail = warning.detail().map(|detail| truncated(detail, SERVER_TEXT_BYTES_MAX));
        let detail = detail.map(|detail| format!("; DETAIL: {detail}")).unwrap_or_default();
        let text = format!("{}{detail}", server_message(warning));
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = shown.len() < WARNINGS_MAX && !shown.contains(&text);
        if is_new {
            shown.push(text.clone());
        }
        drop(shown);
        let level = if is_new { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "PostgreSQL warning: {text}");
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Notices {
    warnings: Warnings,
    standby_wait_cancelled: Arc<AtomicBool>,
}

impl Notices {
    pub(crate) fn new(warnings: &Warnings) -> Self {
        Self { warnings: warnings.clone(), standby_wait_cancelled: Arc::default() }
    }

    /// Adds the callback for these notices to the configuration of a connection.
    pub(crate) fn attach_to(&self, mut config: Config) -> Config {
        let notices = self.clone();
        config.notice_callback(move |notice| notices.note(&notice));
        config
    }

    fn note(&self, notice: &DbError) {
        if notice.routine() == Some(STANDBY_WAIT) {
            self.standby_wait_cancelled.store(true, Ordering::Release);
        }
        match notice.parsed_severity() {
            // The end of the connection follows, which is reported.
            Some(Severity::Warning) if notice.code().code().starts_with("57P") => {
                log::debug!("{}", in_debug(notice));
            }
            // An ANALYZE that skips a locked table, which another load probably analyzes.
            Some(Severity::Warning) if *notice.code() == SqlState::LOCK_NOT_AVAILABLE => {
                log::info!("{}", server_message(notice));
            }
            // The ROLLBACK after a failed set-up of a session, which may have begun no transaction.
            Some(Severity::Warning) if *notice.code() == SqlState::NO_ACTIVE_SQL_TRANSACTION => {
                log::debug!("{}", in_debug(notice));
            }
            Some(Severity::Warning) => self.warnings.show(notice),
            // Such as "relation exists, skipping".
            _ => log::debug!("{}", in_debug(notice)),
        }
    }

    /// Whether a COMMIT since the last call ended its wait for a standby early.
    pub(crate) fn take_standby_wait_cancelled(&self) -> bool {
        self.standby_wait_cancelled.swap(false, Ordering::AcqRel)
    }
}

fn in_debug(notice: &DbError) -> String {
    truncated(&notice.to_string(), SERVER_TEXT_BYTES_MAX).into_owned()
}
