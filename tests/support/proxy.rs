//! A TCP proxy between the program and PostgreSQL that injects faults at chosen points of the protocol.
//!
//! - It parses the protocol to know the next step of a connection, and changes nothing in it.
//! - Cancel requests pass unchanged, except in a black hole.
//! - When the proxy is dropped, it cuts all connections and joins all threads.

mod line;
mod protocol;

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::line::Line;
use self::protocol::Point;
use super::cluster::Database;
use super::eventually;

/// The sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A point in the life of a connection. A fault holds the message that has arrived, and does not forward it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The client is connected, the server not yet.
    Connect,
    /// The server's first answer to the startup message has arrived.
    Login,
    /// A statement that begins a transaction has arrived.
    Begin,
    /// The first rows of a COPY have passed, its end has not.
    MidCopy,
    /// The server's answer to the end of a COPY has arrived.
    AfterCopyDone,
    /// COMMIT has arrived from the client and takes no effect.
    CommitSent,
    /// The server's answer to COMMIT has arrived: it has taken effect, and the client does not know.
    CommitAnswer,
    /// CREATE INDEX has arrived from the client, and the server does not begin it.
    IndexSent,
    /// The server's answer to CREATE INDEX has arrived: the index is built, but not committed.
    IndexAnswer,
    /// This many bytes from a side have passed since the fault was planned, on all connections, possibly within a
    /// message.
    Bytes(Side, u64),
}

/// The effect on the connection that reaches the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Closes both sockets.
    Cut,
    /// Closes both sockets with a reset, as a restarted machine does.
    Reset,
    /// Forwards nothing in either direction until [`Proxy::heal`]. The sockets stay open.
    Stall,
    /// Forwards nothing for a time.
    Delay(Duration),
}

/// The sessions and their round trips so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Sessions that clients have begun. Cancel requests do not count.
    pub(crate) sessions: u64,
    /// Answers of the server: how often it has sent something after a client has. An answer in several messages is one.
    pub(crate) turns: u64,
}

/// A planned fault, which happens once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    at: Phase,
    what: What,
    nth: u64,
    after_copy: bool,
}

/// A proxy on a free port of 127.0.0.1.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// The shared state of a proxy's threads.
struct Shared {
    upstream: u16,
    state: Mutex<State>,
    /// Notified when held bytes may pass, or never will.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    planned: Vec<Planned>,
    hits: usize,
    is_black_hole: bool,
    is_closed: bool,
    /// Bytes that have passed, from clients and from the server.
    passed: [u64; 2],
    traffic: Traffic,
    lines: BTreeMap<u64, Link>,
    next_line: u64,
}

struct Planned {
    fault: Fault,
    /// How often the point was reached.
    reached: u64,
    /// Bytes that had passed from clients and from the server when the fault was planned.
    since: [u64; 2],
}

/// The control of a connection from outside its threads.
#[derive(Default)]
struct Link {
    sockets: Vec<Arc<TcpStream>>,
    hold: Hold,
    is_cut: bool,
}

/// Whether a connection is held.
#[derive(Default)]
enum Hold {
    #[default]
    Open,
    Until(Instant),
    Shut,
}

impl Fault {
    /// A fault at the first time that any connection reaches a point.
    pub(crate) fn new(at: Phase, what: What) -> Self {
        Self { at, what, nth: 1, after_copy: false }
    }

    /// The fault at the `nth` time that the point is reached, from 1.
    pub(crate) fn nth(self, nth: u64) -> Self {
        Self { nth, ..self }
    }

    /// Counts only points in a transaction that has sent rows by COPY.
    pub(crate) fn after_copy(self) -> Self {
        Self { after_copy: true, ..self }
    }

    fn is_at(&self, point: Point) -> bool {
        self.at == point.phase && (point.has_copied || !self.after_copy)
    }
}

impl Proxy {
    /// A proxy to the server on `port` of 127.0.0.1.
    pub(crate) fn to(port: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let shared = Arc::new(Shared {
            upstream: u16::try_from(port).expect("a port"),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        Self {
            port: listener.local_addr().expect("its number").port(),
            acceptor: Some(thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.accept(&listener)
            })),
            shared,
        }
    }

    /// The URL of a database through the proxy.
    pub(crate) fn url(&self, database: &Database<'_>) -> String {
        format!("postgresql://aegis@127.0.0.1:{}/{}", self.port, database.name())
    }

    pub(crate) fn plan(&self, fault: Fault) {
        let mut state = self.shared.lock();
        let since = state.passed;
        state.planned.push(Planned { fault, reached: 0, since });
    }

    /// The number of faults that have happened.
    pub(crate) fn hits(&self) -> usize {
        self.shared.lock().hits
    }

    /// Waits until all planned faults have happened.
    #[track_caller]
    pub(crate) fn wait_until_hit(&self) {
        eventually(Duration::from_mins(1), "all planned faults happen", || {
            self.shared.lock().planned.is_empty()
        });
    }

    /// The number of bytes that have passed from a side, on all connections.
    pub(crate) fn passed(&self, side: Side) -> u64 {
        self.shared.lock().passed[side as usize]
    }

    /// The sessions and round trips so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.shared.lock().traffic
    }

    /// Drops everything silently from now on. New connections are accepted and get no answer.
    pub(crate) fn black_hole(&self) {
        self.shared.lock().is_black_hole = true;
    }

    /// Forwards all bytes held by a black hole, a stall or a delay.
    pub(crate) fn heal(&self) {
        let mut state = self.shared.lock();
        state.is_black_hole = false;
        state.lines.values_mut().for_each(|link| link.hold = Hold::Open);
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.is_closed = true;
            state.lines.values_mut().for_each(|link| link.cut(What::Cut));
            self.shared.changed.notify_all();
        }
        // Wakes the accepting thread.
        let woken = TcpStream::connect(("127.0.0.1", self.port));
        let ended = self.acceptor.take().expect("not joined yet").join();
        assert!((woken.is_ok() && ended.is_ok()) || thread::panicking(), "the proxy's threads ended well");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for client in listener.incoming() {
                if self.lock().is_closed {
                    break;
                }
                let client = client.expect("a connection");
                scope.spawn(|| Line::run(self, client));
            }
        });
    }

    /// A line has reached a point: starts the planned fault.
    fn start_fault(&self, line: u64, point: Point) {
        let mut state = self.lock();
        let State { planned, hits, lines, .. } = &mut *state;
        planned.retain_mut(|plan| {
            if plan.fault.is_at(point) {
                plan.reached += 1;
            }
            let is_hit = plan.reached == plan.fault.nth;
            if is_hit {
                *hits += 1;
                lines.entry(line).or_default().apply(plan.fault.what);
            }
            !is_hit
        });
        self.changed.notify_all();
    }

    /// Called before bytes pass. Returns how many may pass before the next fault, and that fault.
    fn bytes_before_fault(&self, side: Side, len: usize) -> (usize, Option<What>) {
        let mut state = self.lock();
        let passed = state.passed[side as usize];
        // The distance of each planned fault, nearest first.
        let plans = state.planned.iter().enumerate();
        let nearest = plans
            .filter_map(|(number, plan)| match plan.fault.at {
                Phase::Bytes(of, bytes) if of == side => {
                    let end = plan.since[side as usize] + bytes * plan.fault.nth;
                    Some((end.saturating_sub(passed), number))
                }
                _ => None,
            })
            .min();
        let (len, what) = match nearest {
            Some((left, number)) if left <= len as u64 => {
                state.hits += 1;
                let what = state.planned.remove(number).fault.what;
                (usize::try_from(left).expect("within the bytes"), Some(what))
            }
            _ => (len, None),
        };
        state.passed[side as usize] += len as u64;
        (len, what)
    }
}

impl Link {
    fn apply(&mut self, what: What) {
        match what {
            What::Cut | What::Reset => self.cut(what),
            What::Stall => self.hold = Hold::Shut,
            What::Delay(time) => self.hold = Hold::Until(Instant::now() + time),
        }
    }

    /// Ends the connection. Errors mean that a side has ended it before.
    fn cut(&mut self, how: What) {
        self.is_cut = true;
        for socket in &self.sockets {
            if how == What::Reset {
                // Closing the socket sends the reset. The shutdown wakes readers and sends nothing.
                let _ = socket2::SockRef::from(&**socket).set_linger(Some(Duration::ZERO));
                let _ = socket.shutdown(Shutdown::Read);
            } else {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}
