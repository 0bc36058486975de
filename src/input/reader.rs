//! The thread that reads: opens the sources one after the other, decompresses, and sends the text in pieces.
//!
//! Invariant: pieces circulate in a pool, so their number bounds what is read ahead. A piece goes back when it is dropped.
//!
//! Invariant: the last message is [`Message::Done`]; a channel that ends without it means that the thread died, not that
//! all was read.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::input::buffers::{Buffer, BufferPool};
use crate::input::convert::PipedCommand;
use crate::input::decode::decoder::{Break, DecodeStatus, Decoder};
use crate::input::decode::format::{Format, Head, sniff};
use crate::input::decode::raw::{RawInput, ReadCounters};
use crate::input::error::InputError;
use crate::input::source::Source;
use crate::panics::inject;

/// Starts the thread `reader` on these sources, in this order. It is detached, because a pipe may block it for ever; it ends
/// when all is read or the [`Reader`] is dropped, whichever it sees first.
///
/// An error says that no thread could be started.
pub fn spawn_reader(sources: Vec<Source>) -> io::Result<Reader> {
    spawn_with(sources, ReaderShape::default(), Source::open)
}

/// The receiving end of the thread that reads.
#[derive(Debug)]
pub struct Reader {
    pub messages: Receiver<Message>,
    pub pieces: BufferPool,
    /// Closed with this end, which the thread sees while it waits for a piece.
    _open: Sender<()>,
    counters: Arc<ReadCounters>,
    /// What was looked at before its turn; it comes before all further messages.
    pub ahead: VecDeque<Message>,
}

impl Reader {
    /// Shows `look` the text of each source from its beginning, until it finds something in it. It is shown longer and longer
    /// beginnings, at most 1.75 MiB in all, and is told whether that is the whole source or all that it gets to see. The
    /// text is read as usual afterwards.
    pub fn look_ahead<T>(&mut self, mut look: impl FnMut(&[u8], bool) -> Option<T>) -> Option<T> {
        let pieces_max = ReaderShape::default().pieces - 1;
        let (mut text, mut pieces) = (Vec::new(), 0);
        loop {
            let message = self.messages.recv().ok()?;
            let mut is_whole = false;
            match &message {
                Message::Opened(_) => text.clear(),
                Message::Piece(bytes, len) => {
                    text.extend_from_slice(&bytes[..*len]);
                    pieces += 1;
                }
                Message::Closed(_) | Message::Done => is_whole = true,
            }
            let is_last = matches!(message, Message::Done) || pieces == pieces_max;
            self.ahead.push_back(message);
            let found = look(&text, is_whole || is_last);
            if found.is_some() || is_last {
                return found;
            }
        }
    }

    /// How far it has read, for whoever reports it.
    pub(crate) fn counters(&self) -> Arc<ReadCounters> {
        Arc::clone(&self.counters)
    }
}

/// What the reader sends: for each source `Opened`, pieces, `Closed`; at the end `Done`.
#[derive(Debug)]
pub enum Message {
    Opened(Arc<str>),
    /// The first so many bytes of the buffer.
    Piece(Buffer, usize),
    /// With the error, if it broke or could not be opened.
    Closed(Option<InputError>),
    Done,
}

/// The sizes of the reader's buffers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReaderShape {
    /// Bytes of text in a piece. A piece fits a core's second-level cache, so that cutting it does not wait for memory.
    pub piece_bytes: usize,
    pub pieces: usize,
    /// Bytes of compressed input in hand.
    pub raw_bytes: usize,
}

impl Default for ReaderShape {
    fn default() -> Self {
        Self { piece_bytes: 256 << 10, pieces: 8, raw_bytes: 256 << 10 }
    }
}

/// [`spawn_reader`] with another way to open a source.
pub(crate) fn spawn_with<O>(sources: Vec<Source>, shape: ReaderShape, open: O) -> io::Result<Reader>
where
    O: FnMut(&Source) -> Result<Box<dyn Read>, InputError> + Send + 'static,
{
    // Room for every piece: what holds the reader back is that they run out.
    let (message_sender, messages) = bounded(shape.pieces + 1);
    let pieces = BufferPool::with_len(shape.pieces, shape.piece_bytes);
    let (open_end, closed) = bounded(0);
    let counters = Arc::new(ReadCounters::default());
    let mut link = ReaderChannels {
        messages: message_sender,
        pieces: pieces.clone(),
        closed,
        counters: Arc::clone(&counters),
        raw_bytes: shape.raw_bytes,
    };
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        if link.read_all(&sources, open).is_err() {
            log::debug!("the reader ends early: nobody takes what it reads");
        }
    })?;
    Ok(Reader { messages, pieces, _open: open_end, counters, ahead: VecDeque::new() })
}

/// Nobody takes what is read any more.
struct Gone;

/// The reader's side of its channels.
struct ReaderChannels {
    messages: Sender<Message>,
    pieces: BufferPool,
    closed: Receiver<()>,
    counters: Arc<ReadCounters>,
    raw_bytes: usize,
}

impl ReaderChannels {
    fn read_all<O>(&mut self, sources: &[Source], mut open: O) -> Result<(), Gone>
    where
        O: FnMut(&Source) -> Result<Box<dyn Read>, InputError>,
    {
        for source in sources {
            inject("reader");
            self.send(Message::Opened(source.to_string().into()))?;
            let failure = match open(source) {
                Ok(reader) => self.read_one(source, reader)?,
                Err(error) => Some(error),
            };
            self.send(Message::Closed(failure))?;
        }
        self.send(Message::Done)
    }

    /// Sends one source's text; what it returns is the error that ended it early.
    fn read_one(&self, source: &Source, reader: Box<dyn Read>) -> Result<Option<InputError>, Gone> {
        let mut raw = RawInput::new(reader, Arc::clone(&self.counters), self.raw_bytes);
        let packing = match first_bytes(&mut raw) {
            Format::Plain => None,
            Format::Packed(packing) => Some(packing),
            Format::Foreign(format) => {
                return Ok(Some(InputError::Foreign {
                    input: source.clone(),
                    format,
                    piped: PipedCommand::default(),
                }));
            }
        };
        let mut decoder = Decoder::new(packing);
        let mut text_offset = 0;
        loop {
            let mut piece = self.pieces.take(&self.closed).ok_or(Gone)?;
            let filled = decoder.fill(&mut raw, &mut piece);
            text_offset += filled.bytes as u64;
            if filled.bytes > 0 {
                self.send_piece(piece, filled.bytes)?;
            }
            match filled.then {
                DecodeStatus::More => {}
                DecodeStatus::End => return Ok(None),
                DecodeStatus::Broken(Break { breakage, raw_offset, cause }) => {
                    return Ok(Some(InputError::Broken {
                        input: source.clone(),
                        breakage,
                        text_offset,
                        raw_offset,
                        piped: PipedCommand::default(),
                        cause,
                    }));
                }
            }
        }
    }

    fn send_piece(&self, piece: Buffer, len: usize) -> Result<(), Gone> {
        self.counters.bytes_uncompressed.fetch_add(len as u64, Ordering::Relaxed);
        self.send(Message::Piece(piece, len))
    }

    fn send(&self, message: Message) -> Result<(), Gone> {
        self.messages.send(message).map_err(|_| Gone)
    }
}

/// Reads until the format is clear. An error of reading is met again behind what came before it.
pub(crate) fn first_bytes(raw: &mut RawInput) -> Format {
    let mut head = Head::Open;
    loop {
        if let Some(format) = sniff(raw.buffered(), head) {
            return format;
        }
        match raw.refill() {
            Ok(true) => {}
            Ok(false) => head = Head::Whole,
            Err(cause) => {
                raw.defer(cause);
                head = Head::Whole;
            }
        }
    }
}
