//! Owns a TCP proxy that stands between the program and PostgreSQL, and puts faults at chosen points of their talk.
//!
//! - It reads the protocol as it goes by, so that it knows what a connection is about to do; it changes nothing in it.
//! - A wish to cancel a statement passes as it is, but for a black hole.
//! - When the proxy is dropped, all its connections are cut and all its threads have ended.

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

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A point in the life of a connection. What is said to have come is held by a fault, and not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The client is connected, the server not yet.
    Connect,
    /// The server's first answer to the client's name has come.
    Login,
    /// A statement that begins a transaction has come.
    Begin,
    /// The first rows of a COPY have passed, its end has not.
    MidCopy,
    /// The server's answer to the end of a COPY has come.
    AfterCopyDone,
    /// COMMIT has come from the client: it takes no effect.
    CommitSent,
    /// The server's answer to COMMIT has come: it has taken effect, and the client does not know.
    CommitAnswer,
    /// CREATE INDEX has come from the client: the server does not begin it.
    IndexSent,
    /// The server's answer to CREATE INDEX has come: the index is built, and not committed.
    IndexAnswer,
    /// So many bytes have passed from a side since the fault was planned, on all connections, be it amid a message.
    Bytes(Side, u64),
}

/// What goes wrong with the connection that has reached the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Both sockets are closed.
    Cut,
    /// Both sockets are closed with a reset, as by a machine that has lost its memory of them.
    Reset,
    /// Nothing passes any more, in either direction, until [`Proxy::heal`]. The sockets stay open.
    Stall,
    /// Nothing passes for a time.
    Delay(Duration),
}

/// A fault to be; it happens once.
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

/// What all threads of a proxy share.
struct Shared {
    upstream: u16,
    state: Mutex<State>,
    /// Told whenever something may pass that was held, or never will.
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
    lines: BTreeMap<u64, Link>,
    next_line: u64,
}

struct Planned {
    fault: Fault,
    /// How often the point was reached.
    reached: u64,
    /// Bytes that had passed from clients and from the server when this was planned.
    since: [u64; 2],
}

/// What can be done to a connection from outside its threads.
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
    /// A fault that happens the first time that a point is reached by any connection.
    pub(crate) fn new(at: Phase, what: What) -> Self {
        Self { at, what, nth: 1, after_copy: false }
    }

    /// The same, the `nth` time that the point is reached, from 1.
    pub(crate) fn nth(self, nth: u64) -> Self {
        Self { nth, ..self }
    }

    /// The same, with only those points counted that are in a transaction that has sent rows by COPY.
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

    /// The URL of a database, by way of the proxy.
    pub(crate) fn url(&self, database: &Database<'_>) -> String {
        format!("postgresql://aegis@127.0.0.1:{}/{}", self.port, database.name())
    }

    /// Has a fault happen.
    pub(crate) fn plan(&self, fault: Fault) {
        let mut state = self.shared.lock();
        let since = state.passed;
        state.planned.push(Planned { fault, reached: 0, since });
    }

    /// How many faults have happened.
    pub(crate) fn hits(&self) -> usize {
        self.shared.lock().hits
    }

    /// Waits until all faults that were planned have happened.
    #[track_caller]
    pub(crate) fn wait_until_hit(&self) {
        eventually(Duration::from_mins(1), "all planned faults happen", || {
            self.shared.lock().planned.is_empty()
        });
    }

    /// How many bytes have passed from a side, on all connections.
    pub(crate) fn passed(&self, side: Side) -> u64 {
        self.shared.lock().passed[side as usize]
    }

    /// From now on nothing passes, and nobody is told. New connections are accepted, and hear nothing.
    pub(crate) fn black_hole(&self) {
        self.shared.lock().is_black_hole = true;
    }

    /// Lets pass all that is held: by a black hole, a stall, a delay.
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
        // The thread that accepts looks up from its wait.
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

    /// A line has reached a point: what is planned for it happens.
    fn strike(&self, line: u64, point: Point) {
        let mut state = self.lock();
        let State { planned, hits, lines, .. } = &mut *state;
        planned.retain_mut(|plan| {
            if plan.fault.is_at(point) {
                plan.reached += 1;
            }
            let is_hit = plan.reached == plan.fault.nth;
            if is_hit {
                *hits += 1;
                lines.entry(line).or_default().suffer(plan.fault.what);
            }
            !is_hit
        });
        self.changed.notify_all();
    }

    /// Bytes are about to pass; returns how many of them may, up to the next fault, and what that is.
    fn allot(&self, side: Side, len: usize) -> (usize, Option<What>) {
        let mut state = self.lock();
        let passed = state.passed[side as usize];
        // How far off each planned fault is, the nearest first.
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
    fn suffer(&mut self, what: What) {
        match what {
            What::Cut | What::Reset => self.cut(what),
            What::Stall => self.hold = Hold::Shut,
            What::Delay(time) => self.hold = Hold::Until(Instant::now() + time),
        }
    }

    /// Ends the connection. Errors say that a side has ended it before.
    fn cut(&mut self, how: What) {
        self.is_cut = true;
        for socket in &self.sockets {
            if how == What::Reset {
                // The reset is sent when the socket is closed; this wakes who reads, and sends nothing.
                let _ = socket2::SockRef::from(&**socket).set_linger(Some(Duration::ZERO));
                let _ = socket.shutdown(Shutdown::Read);
            } else {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}
