//! The log: its lines go by way of the screen, and a flush waits until they are written.

use crate::report::terminal::screen::Screen;
use env_logger::Builder;
use log::{Log, Metadata, Record};

/// The program's logger.
pub(crate) struct Logger {
    inner: env_logger::Logger,
    screen: Screen,
}

impl Logger {
    /// Makes what `builder` builds the log of the process, whose lines are written to `screen`. The first call counts.
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
