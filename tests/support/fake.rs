//! Listeners in place of a PostgreSQL: something else, or a server that rejects every login.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The first message of a client that requests TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The answer to each client.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// These bytes at once, whatever the request.
    Raw(Vec<u8>),
    /// No TLS, and these bytes in answer to the startup message.
    Plain(Vec<u8>),
    /// No TLS, a session for everyone, and this text in answer to each query.
    Session(&'static str),
}

/// Listens on a free port and gives each client the same answer, until it is dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    /// The messages of sessions.
    queries: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number");
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let queries = Arc::<Mutex<Vec<String>>>::default();
        let asked = Arc::clone(&queries);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                // A client may close the connection early.
                let _ = respond(stream, &answer, &asked);
            }
        });
        Self { address, queries, ended, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All messages of clients in sessions: the type and the text of each.
    pub(crate) fn queries(&self) -> Vec<String> {
        self.queries.lock().expect("no panic").clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn respond(mut stream: TcpStream, answer: &Answer, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut part = [0; 1024];
    let count = stream.read(&mut part)?;
    if !matches!(answer, Answer::Raw(_)) && part[..count] == SSL_REQUEST {
        stream.write_all(b"N")?;
        let _ = stream.read(&mut part)?;
    }
    let bytes = match answer {
        Answer::Raw(bytes) | Answer::Plain(bytes) => bytes,
        Answer::Session(text) => return serve(stream, text, asked),
    };
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut part)? > 0 {}
    Ok(())
}

/// Accepts a client's login, and answers each query with one row of one column, until it disconnects.
fn serve(mut stream: TcpStream, text: &str, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.write_all(&[login(0, b""), message(b'Z', b"I")].concat())?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes"));
        let mut body = vec![0; usize::try_from(length).expect("a length") - 4];
        stream.read_exact(&mut body)?;
        if head[0] == b'X' {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&body);
        let query = format!("{} {}", char::from(head[0]), words.trim_end_matches('\0'));
        asked.lock().expect("no panic").push(query);
        stream.write_all(&row(text))?;
    }
}

/// The answer to a query: a row of one column.
fn row(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short text").to_be_bytes();
    // One unnamed column, of no table, of type text.
    let column = b"\0\x01\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    let value = [&[0, 1][..], &length, text.as_bytes()].concat();
    let parts = [(b'T', &column[..]), (b'D', &value), (b'C', b"SELECT 1\0"), (b'Z', b"I")];
    parts.map(|(kind, body)| message(kind, body)).concat()
}

/// A message of PostgreSQL's protocol.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// An authentication request, by its number.
pub(crate) fn login(method: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&method.to_be_bytes()[..], rest].concat())
}

/// An error response.
pub(crate) fn refusal(code: &str, words: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{words}\0\0").as_bytes())
}
