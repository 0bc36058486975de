//! Notices and warnings that the server sends beside results.

use postgres::Config;
use postgres::error::{DbError, Severity, SqlState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of different warnings shown. A trigger may send one per row.
const WARNINGS_MAX: usize = 20;

/// Longer warnings are truncated.
const WARNING_BYTES_MAX: usize = 4 << 10;

/// The function of PostgreSQL in which a COMMIT waits for a standby. Its messages may be translated, its name is not.
const STANDBY_WAIT: &str = "SyncRepWaitForLSN";

/// The warnings shown so far. Each is shown once for all sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn show(&self, warning: &DbError) {
        let mut text = warning.detail().map_or_else(
            || warning.message().to_owned(),
            |detail| format!("{}; DETAIL: {detail}", warning.message()),
        );
        text.truncate(text.floor_char_boundary(WARNING_BYTES_MAX));
        text.shrink_to_fit();
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

/// The notices of one connection.
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
            Some(Severity::Warning) if notice.code().code().starts_with("57P") => log::debug!("{notice}"),
            // An ANALYZE that skips a locked table, which another load probably analyzes.
            Some(Severity::Warning) if *notice.code() == SqlState::LOCK_NOT_AVAILABLE => {
                log::info!("{}", notice.message());
            }
            Some(Severity::Warning) => self.warnings.show(notice),
            // Such as "relation exists, skipping".
            _ => log::debug!("{notice}"),
        }
    }

    /// Whether a COMMIT since the last call ended its wait for a standby early.
    pub(crate) fn take_standby_wait_cancelled(&self) -> bool {
        self.standby_wait_cancelled.swap(false, Ordering::AcqRel)
    }
}
