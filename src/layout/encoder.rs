//! Converts events to rows of the chosen layout.

use crate::event::fault::Fault;
use crate::event::kill_event::Event;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::layout::rows::{DuplicatePolicy, Rows};
use crate::layout::{Layout, aegis, archive};

/// Encodes the events of one segment. It reuses its memory from event to event.
#[derive(Debug)]
pub struct Encoder(LayoutEncoder);

#[derive(Debug)]
enum LayoutEncoder {
    Archive(archive::ArchiveEncoder),
    Aegis(aegis::AegisEncoder),
}

impl Encoder {
    /// Creates an encoder for the events of one segment, all from one game server.
    pub fn new(layout: Layout, server: Server, nul: NulPolicy, repeats: DuplicatePolicy) -> Self {
        Self(match layout {
            Layout::Archive => LayoutEncoder::Archive(archive::ArchiveEncoder::new(server)),
            Layout::Aegis => LayoutEncoder::Aegis(aegis::AegisEncoder::new(nul, repeats)),
        })
    }

    /// Appends the rows of an event; nothing if a value does not fit its column.
    pub fn encode(&mut self, event: &Event<'_>, rows: &mut Rows) -> Result<(), Fault> {
        match &mut self.0 {
            LayoutEncoder::Archive(encoder) => {
                encoder.encode(event, rows);
                Ok(())
            }
            LayoutEncoder::Aegis(encoder) => encoder.encode(event, rows),
        }
    }
}
