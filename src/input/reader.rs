//! The reader thread: opens the sources one after the other, decompresses them, and sends the text in pieces.
//!
//! Invariant: pieces come from a pool and return to it when dropped. Their number bounds the amount read ahead.
//!
//! Invariant: the last message is [`Message::Done`]. A channel that ends without it means that the thread died, not that
//! all input was read.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::input::buffers::{Buffer, BufferPool};
use crate::input::convert::PipedCommand;
use crate::input::decode::decoder::Decoder;
use crate::input::decode::format::{Format, Head, sniff};
use crate::input::decode::raw::{CurrentSource, RawInput, ReadCounters};
use crate::input::decode::step::{Break, DecodeStatus};
use crate::input::error::InputError;
use crate::input::source::Source;
use crate::panics::inject;
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::thread;

/// Starts the thread `reader`, which reads these sources in this order. It is detached, because a pipe may block it forever.
/// It ends when all sources are read or the [`Reader`] is dropped.
///
/// Fails if the thread cannot be started.
pub fn spawn_reader(sources: Vec<Source>) -> io::Result<Reader> {
    spawn_with(sources, ReaderShape::default(), Source::open)
}

/// The receiving end of the reader thread.
#[derive(Debug)]
pub struct Reader {
    pub messages: Receiver<Message>,
    pub pieces: BufferPool,
    /// Disconnects when this end is dropped, which wakes a thread that waits for a piece.
    _open: Sender<()>,
    counters: Arc<ReadCounters>,
    /// Messages received by [`Reader::look_ahead`]. They precede all further messages.
    pub ahead: VecDeque<Message>,
}

impl Reader {
    /// Calls `look` with ever longer beginnings of each source until it returns a result, at most 1.75 MiB in all. The
    /// flag is true for the whole source, and for the last call. The text is read as usual afterwards.
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

    pub(crate) fn counters(&self) -> Arc<ReadCounters> {
        Arc::clone(&self.counters)
    }
}

/// A message of the reader: for each source `Opened`, pieces and `Closed`; at the end `Done`.
#[derive(Debug)]
pub enum Message {
    Opened(Arc<str>),
    /// A buffer, and the number of bytes used at its start.
    Piece(Buffer, usize),
    /// Holds the error if the source broke or could not be opened.
    Closed(Option<InputError>),
    Done,
}

/// The sizes of the reader's buffers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReaderShape {
    /// Bytes of text per piece. A piece fits into a core's L2 cache, so cutting it does not wait for memory.
    pub piece_bytes: usize,
    pub pieces: usize,
    /// Size of the buffer for compressed input, in bytes.
    pub raw_bytes: usize,
}

impl Default for ReaderShape {
    fn default() -> Self {
        Self { piece_bytes: 256 << 10, pieces: 8, raw_bytes: 256 << 10 }
    }
}

/// Like [`spawn_reader`], with a custom function to open a source.
pub(crate) fn spawn_with<O>(sources: Vec<Source>, shape: ReaderShape, open: O) -> io::Result<Reader>
where
    O: FnMut(&Source) -> Result<Box<dyn Read>, InputError> + Send + 'static,
{
    // The channel has room for every piece, so only a lack of pieces blocks the reader.
    let (message_sender, messages) = bounded(shape.pieces + 1);
    let pieces = BufferPool::with_len(shape.pieces, shape.piece_bytes);
    let (open_sender, closed) = bounded(0);
    let counters = Arc::new(ReadCounters::default());
    let mut channels = ReaderChannels {
        messages: message_sender,
        pieces: pieces.clone(),
        closed,
        counters: Arc::clone(&counters),
        raw_bytes: shape.raw_bytes,
    };
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        if channels.read_all(&sources, open).is_err() {
            log::debug!("reader thread stopped early: its receiver was dropped");
        }
    })?;
    Ok(Reader { messages, pieces, _open: open_sender, counters, ahead: VecDeque::new() })
}

/// The [`Reader`] was dropped.
struct ReceiverDropped;

/// The reader thread's ends of the channels.
struct ReaderChannels {
    messages: Sender<Message>,
    pieces: BufferPool,
    closed: Receiver<()>,
    counters: Arc<ReadCounters>,
    raw_bytes: usize,
}

impl ReaderChannels {
    fn read_all<O>(&mut self, sources: &[Source], mut open: O) -> Result<(), ReceiverDropped>
    where
        O: FnMut(&Source) -> Result<Box<dyn Read>, InputError>,
    {
        for (index, source) in sources.iter().enumerate() {
            inject("reader");
            let (number, count) = (index + 1, sources.len());
            self.counters.set_current(CurrentSource { number, count, file_name: source.file_name() });
            log::debug!("reading {source}, input {number} of {count}");
            let (begun, stored, text) =
                (Instant::now(), self.counters.bytes_read(), self.counters.bytes_uncompressed());
            self.send(Message::Opened(source.to_string().into()))?;
            let failure = match open(source) {
                Ok(reader) => self.read_one(source, reader)?,
                Err(error) => Some(error),
            };
            self.log_end(source, begun, stored, text);
            self.send(Message::Closed(failure))?;
        }
        self.send(Message::Done)
    }

    /// Logs the amount that was read of a source, and its rate. The time includes waits for the threads that parse and write.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn log_end(&self, source: &Source, begun: Instant, stored_before: u64, text_before: u64) {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let stored = megabytes(self.counters.bytes_read() - stored_before);
        let text = megabytes(self.counters.bytes_uncompressed() - text_before);
        let seconds = begun.elapsed().as_secs_f64();
        let rate = text / seconds.max(f64::MIN_POSITIVE);
        log::debug!("read {source}: {stored:.1} MB, {text:.1} MB of text, in {seconds:.1} s, {rate:.1} MB/s");
    }

    /// Sends the text of one source. Returns the error that ended the source early, if any.
    fn read_one(
        &self,
        source: &Source,
        reader: Box<dyn Read>,
    ) -> Result<Option<InputError>, ReceiverDropped> {
        let mut raw = RawInput::new(reader, Arc::clone(&self.counters), self.raw_bytes);
        let compression = match first_bytes(&mut raw) {
            Format::Plain => None,
            Format::Compressed(compression) => Some(compression),
            Format::Foreign(format) => {
                return Ok(Some(InputError::Foreign {
                    input: source.clone(),
                    format,
                    piped: PipedCommand::default(),
                }));
            }
        };
        let mut decoder = Decoder::new(compression);
        let mut text_offset = 0;
        loop {
            let mut piece = self.pieces.take(&self.closed).ok_or(ReceiverDropped)?;
            let chunk = decoder.fill(&mut raw, &mut piece);
            text_offset += chunk.bytes as u64;
            if chunk.bytes > 0 {
                self.send_piece(piece, chunk.bytes)?;
            }
            match chunk.status {
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

    fn send_piece(&self, piece: Buffer, len: usize) -> Result<(), ReceiverDropped> {
        self.counters.bytes_uncompressed.fetch_add(len as u64, Ordering::Relaxed);
        self.send(Message::Piece(piece, len))
    }

    fn send(&self, message: Message) -> Result<(), ReceiverDropped> {
        self.messages.send(message).map_err(|_| ReceiverDropped)
    }
}

/// Reads until the format is known. A read error is kept and returned after the bytes that preceded it.
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
