//! One connection of the proxy: a thread per direction, which end together.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::{Point, Session};
use super::{Hold, Phase, Shared, Side, State, What};

/// How long a write may block before it checks whether the connection was cut.
const WRITE_WAIT: Duration = Duration::from_millis(50);
const READ_BYTES: usize = 64 << 10;

/// A client's connection and its connection to the server.
pub(super) struct Line<'a> {
    shared: &'a Shared,
    id: u64,
    session: Mutex<Session>,
}

impl Line<'_> {
    /// Serves a client until both sides have closed, or the connection is cut.
    pub(super) fn run(shared: &Shared, client: TcpStream) {
        let id = {
            let mut state = shared.lock();
            state.next_line += 1;
            state.next_line
        };
        let line = Line { shared, id, session: Mutex::new(Session::new()) };
        // The drop cleans up however it ends.
        let _ = line.serve(client);
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let client = self.enter(client)?;
        let mut begin = Vec::new();
        while self.session().message_len(Side::Client, &begin).is_none() {
            if read(&client, &mut begin)? == 0 {
                return Ok(());
            }
        }
        if Session::wants_session(&begin) {
            self.shared.lock().traffic.sessions += 1;
            self.shared.start_fault(self.id, Point { phase: Phase::Connect, has_copied: false });
        }
        self.gate()?;
        let server = TcpStream::connect(("127.0.0.1", self.shared.upstream)).inspect_err(|_| {
            // As if the server's machine were down.
            self.apply(What::Reset);
        })?;
        let server = self.enter(server)?;
        thread::scope(|scope| {
            scope.spawn(|| self.pump(Side::Server, &server, &client, Vec::new()));
            self.pump(Side::Client, &client, &server, begin);
        });
        Ok(())
    }

    /// Registers a socket, so that it can be cut.
    fn enter(&self, socket: TcpStream) -> io::Result<Arc<TcpStream>> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_WAIT))?;
        let socket = Arc::new(socket);
        let mut state = self.shared.lock();
        let link = state.lines.entry(self.id).or_default();
        link.sockets.push(Arc::clone(&socket));
        let is_cut = link.is_cut;
        if is_cut || state.is_closed {
            state.lines.entry(self.id).or_default().cut(What::Cut);
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(socket)
    }

    /// Forwards one side's bytes, from those already read to the end.
    fn pump(&self, side: Side, from: &TcpStream, to: &TcpStream, begin: Vec<u8>) {
        let ended = self.pass_all(side, from, to, begin);
        // While the connection is held, not even its end is forwarded.
        let is_open = self.gate().is_ok();
        if ended.is_ok() && is_open {
            // The other direction may still have bytes. An error means that it has ended too.
            let _ = to.shutdown(std::net::Shutdown::Write);
        } else if is_open {
            self.apply(What::Reset);
        }
    }

    fn pass_all(&self, side: Side, from: &TcpStream, to: &TcpStream, mut buffer: Vec<u8>) -> io::Result<()> {
        loop {
            let mut passed = 0;
            loop {
                let rest = &buffer[passed..];
                let Some(len) = self.session().message_len(side, rest) else { break };
                self.pass(side, &rest[..len], to)?;
                passed += len;
            }
            buffer.drain(..passed);
            if read(from, &mut buffer)? == 0 {
                // A truncated message.
                return self.send(side, &buffer, to);
            }
        }
    }

    fn pass(&self, side: Side, message: &[u8], to: &TcpStream) -> io::Result<()> {
        let (point, is_turn) = {
            let mut session = self.session();
            (session.arrives(side, message), session.turns_to(side))
        };
        if is_turn {
            self.shared.lock().traffic.turns += 1;
        }
        self.start_fault(point);
        self.send(side, message, to)?;
        let point = self.session().has_passed(side, message);
        self.start_fault(point);
        Ok(())
    }

    fn send(&self, side: Side, mut bytes: &[u8], to: &TcpStream) -> io::Result<()> {
        while !bytes.is_empty() {
            self.gate()?;
            let (len, fault) = self.shared.bytes_before_fault(side, bytes.len());
            let (part, rest) = bytes.split_at(len);
            self.write(part, to)?;
            bytes = rest;
            if let Some(what) = fault {
                self.apply(what);
            }
        }
        Ok(())
    }

    fn write(&self, mut bytes: &[u8], mut to: &TcpStream) -> io::Result<()> {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.is_cut(&self.shared.lock()) {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits while the connection is held. An error means that it is cut.
    fn gate(&self) -> io::Result<()> {
        let changed = &self.shared.changed;
        let mut state = self.shared.lock();
        loop {
            if self.is_cut(&state) {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            let is_black_hole = state.is_black_hole;
            let link = state.lines.get_mut(&self.id).expect("the line is there until its drop");
            let left = match link.hold {
                _ if is_black_hole => None,
                Hold::Open => return Ok(()),
                Hold::Shut => None,
                Hold::Until(end) => Some(end.saturating_duration_since(Instant::now())),
            };
            state = match left {
                Some(Duration::ZERO) => {
                    link.hold = Hold::Open;
                    state
                }
                Some(left) => changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn is_cut(&self, state: &State) -> bool {
        state.is_closed || state.lines.get(&self.id).is_some_and(|link| link.is_cut)
    }

    fn start_fault(&self, point: Option<Point>) {
        if let Some(point) = point {
            self.shared.start_fault(self.id, point);
        }
    }

    fn apply(&self, what: What) {
        self.shared.lock().lines.entry(self.id).or_default().apply(what);
        self.shared.changed.notify_all();
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.shared.lock().lines.remove(&self.id);
    }
}

/// Appends the received bytes to `buffer`, and returns their number, 0 at the end.
fn read(mut from: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let held = buffer.len();
    buffer.resize(held + READ_BYTES, 0);
    let read = from.read(&mut buffer[held..]);
    buffer.truncate(held + read.as_ref().copied().unwrap_or(0));
    read
}
