//! Events to rows, in the layout that was chosen.

use crate::event::fault::Fault;
use crate::event::kill_event::Event;
use crate::event::server::Server;
use crate::event::text::NulPolicy;
use crate::layout::rows::{Repeats, Rows};
use crate::layout::{Layout, aegis, archive};

/// Turns the events of one segment into rows; it keeps its working space from event to event.
#[derive(Debug)]
pub struct Encoder(Inner);

#[derive(Debug)]
enum Inner {
    Archive(archive::Encoder),
    Aegis(aegis::Encoder),
}

impl Encoder {
    /// An encoder for the events of a segment, all of one game server.
    pub fn new(layout: Layout, server: Server, nul: NulPolicy, repeats: Repeats) -> Self {
        Self(match layout {
            Layout::Archive => Inner::Archive(archive::Encoder::new(server)),
            Layout::Aegis => Inner::Aegis(aegis::Encoder::new(nul, repeats)),
        })
    }

    /// Appends the rows of an event.
    ///
    /// # Errors
    ///
    /// A value does not fit its column; then nothing is appended.
    pub fn encode(&mut self, event: &Event<'_>, rows: &mut Rows) -> Result<(), Fault> {
        match &mut self.0 {
            Inner::Archive(encoder) => {
                encoder.encode(event, rows);
                Ok(())
            }
            Inner::Aegis(encoder) => encoder.encode(event, rows),
        }
    }
}
