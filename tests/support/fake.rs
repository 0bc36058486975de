//! What listens where a PostgreSQL should, and is none, or one that lets nobody in.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The first message of a client that wants TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What each client is told.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// These bytes at once, whatever was asked.
    Raw(Vec<u8>),
    /// No TLS, and to the start of the session these bytes.
    Plain(Vec<u8>),
}

/// Listens on a free port, and gives each client the same answer. It ends when it is dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number");
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                // A client that has heard enough goes away, which is its right.
                let _ = tell(stream, &answer);
            }
        });
        Self { address, ended, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // The thread waits for a connection, so it is given one.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tell(mut stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut part = [0; 1024];
    let count = stream.read(&mut part)?;
    let bytes = match answer {
        Answer::Raw(bytes) => bytes,
        Answer::Plain(bytes) => {
            if part[..count] == SSL_REQUEST {
                stream.write_all(b"N")?;
                let _ = stream.read(&mut part)?;
            }
            bytes
        }
    };
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut part)? > 0 {}
    Ok(())
}

/// A message of PostgreSQL's protocol.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// A wish for a way to log in, by its number.
pub(crate) fn login(method: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&method.to_be_bytes()[..], rest].concat())
}

/// A refusal.
pub(crate) fn refusal(code: &str, words: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{words}\0\0").as_bytes())
}
