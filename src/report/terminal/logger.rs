//! The log, which writes through the screen. A flush waits until its lines are written.

use crate::report::terminal::screen::Screen;
use env_logger::Builder;
use log::{Log, Metadata, Record};

/// The program's logger.
pub(crate) struct Logger {
    inner: env_logger::Logger,
    screen: Screen,
}

impl Logger {
    /// Installs the log of the process, which writes to `screen`. Only the first call has an effect.
    pub(crate) fn install(mut builder: Builder, screen: Screen) {
        let inner = builder.build();
        let level_max = inner.filter();
        if log::set_boxed_logger(Box::new(Self { inner, screen })).is_ok() {
            log::set_max_level(level_max);
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.inner.log(record);
    }

    fn flush(&self) {
        self.screen.flush();
    }
}
