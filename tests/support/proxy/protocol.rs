//! The proxy's view of PostgreSQL's protocol, version 3: message boundaries, and the points that a session reaches.

use super::{Phase, Side};

/// The state of a session, derived from its messages.
#[derive(Debug)]
pub(super) struct Session {
    stage: Stage,
    /// The transaction has sent rows by COPY.
    has_copied: bool,
    /// Rows are being sent.
    is_copying: bool,
    /// The server has not answered the end of a COPY yet.
    copy_ended: bool,
    /// The sender of the last message.
    last: Side,
}

/// A point that a session has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) phase: Phase,
    /// In a transaction that has sent rows by COPY.
    pub(super) has_copied: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the client's first message.
    Startup,
    /// Before the server's one-byte answer about encryption.
    Encryption,
    /// Before the server's answer to the startup message.
    Login,
    /// Messages with a type and a length.
    Open,
    /// A cancel request or encrypted bytes, which are not parsed.
    Opaque,
}

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

impl Session {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Startup,
            has_copied: false,
            is_copying: false,
            copy_ended: false,
            last: Side::Server,
        }
    }

    /// Whether a client's first message starts a session. Otherwise it is a cancel request.
    pub(super) fn wants_session(first: &[u8]) -> bool {
        first.get(4..).and_then(code) != Some(CANCEL_REQUEST)
    }

    /// The length of the message at the start of `bytes`, once they suffice.
    pub(super) fn message_len(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        let len = match (self.stage, side) {
            (Stage::Opaque, _) => bytes.len(),
            (Stage::Encryption, Side::Server) => 1,
            (Stage::Startup, Side::Client) => number(bytes)?,
            _ => 1 + number(bytes.get(1..)?)?,
        };
        (len > 0 && len <= bytes.len()).then_some(len)
    }

    /// Records a message that has arrived and is not forwarded yet. Returns the point reached.
    pub(super) fn arrives(&mut self, side: Side, message: &[u8]) -> Option<Point> {
        let phase = match (self.stage, side) {
            (Stage::Opaque, _) => None,
            (Stage::Startup, Side::Client) => {
                self.startup(message);
                None
            }
            (Stage::Encryption, _) => {
                self.stage = if message == b"S" { Stage::Opaque } else { Stage::Startup };
                None
            }
            (_, Side::Client) => self.request(message),
            (_, Side::Server) => self.answer(message),
        };
        phase.map(|phase| self.point(phase))
    }

    /// Records the sender of a message. Returns whether the message begins an answer of the server.
    pub(super) fn turns_to(&mut self, side: Side) -> bool {
        std::mem::replace(&mut self.last, side) == Side::Client && side == Side::Server
    }

    /// Records a message that was forwarded. Returns the point reached.
    pub(super) fn has_passed(&mut self, side: Side, message: &[u8]) -> Option<Point> {
        let is_first_row = side == Side::Client
            && self.stage == Stage::Open
            && message[0] == b'd'
            && !std::mem::replace(&mut self.is_copying, true);
        is_first_row.then(|| self.point(Phase::MidCopy))
    }

    fn point(&self, phase: Phase) -> Point {
        Point { phase, has_copied: self.has_copied }
    }

    fn startup(&mut self, message: &[u8]) {
        self.stage = match message.get(4..).and_then(code) {
            Some(CANCEL_REQUEST) => Stage::Opaque,
            Some(SSL_REQUEST | GSS_REQUEST) => Stage::Encryption,
            _ => Stage::Login,
        };
    }

    fn request(&mut self, message: &[u8]) -> Option<Phase> {
        let body = &message[5..];
        let sql = match message[0] {
            b'Q' => body,
            // After the statement's name.
            b'P' => body.splitn(2, |&byte| byte == 0).nth(1)?,
            b'd' => {
                self.has_copied = true;
                return None;
            }
            b'c' | b'f' => {
                self.is_copying = false;
                self.copy_ended = message[0] == b'c';
                return None;
            }
            _ => return None,
        };
        if begins_with(sql, "BEGIN") || begins_with(sql, "START TRANSACTION") {
            self.has_copied = false;
            return Some(Phase::Begin);
        }
        if begins_with(sql, "CREATE INDEX") {
            return Some(Phase::IndexSent);
        }
        begins_with(sql, "COMMIT").then_some(Phase::CommitSent)
    }

    fn answer(&mut self, message: &[u8]) -> Option<Phase> {
        let is_login = self.stage == Stage::Login;
        self.stage = Stage::Open;
        match message[0] {
            b'R' if is_login => Some(Phase::Login),
            b'C' | b'E' if std::mem::take(&mut self.copy_ended) => Some(Phase::AfterCopyDone),
            b'C' if begins_with(&message[5..], "CREATE INDEX") => Some(Phase::IndexAnswer),
            b'C' if begins_with(&message[5..], "COMMIT") => Some(Phase::CommitAnswer),
            b'Z' => {
                self.copy_ended = false;
                None
            }
            _ => None,
        }
    }
}

fn begins_with(sql: &[u8], word: &str) -> bool {
    let sql = sql.trim_ascii_start();
    sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

fn code(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A message's length, which includes its own four bytes.
fn number(bytes: &[u8]) -> Option<usize> {
    code(bytes).map(|len| usize::try_from(len).expect("32 bits fit").max(4))
}
