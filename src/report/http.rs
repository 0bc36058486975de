//! A small HTTP server for `--listen`: a few pages to read, nothing to change.
//!
//! Invariant: no client can make it hold much or wait long: a request has at most 8 KiB and 5 s, and there are at most 16
//! at once. Who says nothing gives way to the next.
//!
//! Invariant: a page of another site that a browser shows reads nothing here, also where that site's name leads to this machine.

use crate::panics::inject;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const REQUEST_BYTES_MAX: usize = 8 << 10;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
const REQUESTS_MAX: usize = 16;
const HEADERS_MAX: usize = 64;

/// What a browser may do with an answer that is no page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// Such as 200.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// What a browser may do with it.
    policy: Cow<'static, str>,
}

impl Response {
    /// With which a browser may do nothing.
    pub(crate) fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, body, policy: Cow::Borrowed(NOTHING) }
    }

    /// The same with another Content-Security-Policy.
    #[must_use]
    pub(crate) fn with_policy(self, policy: Cow<'static, str>) -> Self {
        Self { policy, ..self }
    }

    /// Plain words.
    pub(crate) fn words(status: u16, words: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{words}\n"))
    }
}

/// What answers a GET of a path.
pub(crate) type Pages = Arc<dyn Fn(&str) -> Response + Send + Sync>;

/// The server, until it is dropped.
pub(crate) struct HttpServer {
    address: SocketAddr,
    pages: Arc<Mutex<Pages>>,
    ended: Arc<AtomicBool>,
    slots: Arc<Slots>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Answers whoever comes to `listener` by an IP address, as `localhost`, or by `name`.
    pub(crate) fn start(listener: TcpListener, name: Option<String>, pages: Pages) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (pages, slots) = (Arc::new(Mutex::new(pages)), Arc::<Slots>::default());
        let (seen, current, requests) = (Arc::clone(&ended), Arc::clone(&pages), Arc::clone(&slots));
        let name: Option<Arc<str>> = name.map(Arc::from);
        let thread = thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || accept(&listener, name.as_ref(), &current, &seen, &requests))?;
        Ok(Self { address, pages, ended, slots, thread: Some(thread) })
    }

    /// Serves other pages from now on; the old ones are dropped, once no request is at them.
    pub(crate) fn replace(&self, pages: Pages) {
        *self.pages.lock().unwrap_or_else(PoisonError::into_inner) = pages;
    }

    /// Waits until all requests are answered, for at most `time_max`.
    pub(crate) fn finish_answers(&self, time_max: Duration) {
        let begun = Instant::now();
        while self.slots.busy.load(Ordering::Acquire) > 0 && begun.elapsed() < time_max {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // The thread waits for a connection, so it is given one.
        let mut own = self.address;
        if own.ip().is_unspecified() {
            own.set_ip(match own.ip() {
                IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
                IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            });
        }
        if TcpStream::connect_timeout(&own, REQUEST_TIME_MAX).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    name: Option<&Arc<str>>,
    pages: &Mutex<Pages>,
    ended: &AtomicBool,
    slots: &Arc<Slots>,
) {
    for stream in listener.incoming() {
        inject("http");
        if ended.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, say; the next may be luckier.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let slot = RequestSlot::take(slots, &stream);
        let pages = Arc::clone(&*pages.lock().unwrap_or_else(PoisonError::into_inner));
        let name = name.cloned();
        let serve = move || {
            inject("request");
            if let Some(slot) = slot
                && let Err(error) = answer(stream, name.as_deref(), &pages, &slot)
            {
                log::debug!("a request failed: {error}");
            }
        };
        if thread::Builder::new().name("request".to_owned()).spawn(serve).is_err() {
            log::debug!("no thread for a request");
        }
    }
}

/// Room for the requests that may be there at once.
#[derive(Default)]
struct Slots {
    busy: AtomicUsize,
    /// Connections that have not said what they want, the oldest first.
    silent: Mutex<VecDeque<(u64, TcpStream)>>,
    /// Of the last connection.
    number: AtomicU64,
}

impl Slots {
    fn silent(&self) -> MutexGuard<'_, VecDeque<(u64, TcpStream)>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the requests that may be answered at once.
struct RequestSlot {
    slots: Arc<Slots>,
    number: u64,
}

impl RequestSlot {
    /// None where all are being answered. Where some only say nothing, the oldest of them is cut.
    fn take(slots: &Arc<Slots>, stream: &TcpStream) -> Option<Self> {
        let full = slots.busy.fetch_add(1, Ordering::AcqRel) >= REQUESTS_MAX;
        let slot = Self { slots: Arc::clone(slots), number: slots.number.fetch_add(1, Ordering::Relaxed) };
        let mut silent = slots.silent();
        if full {
            let (_, oldest) = silent.pop_front()?;
            // Its thread then reads the end; one that has gone already needs nothing.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        silent.push_back((slot.number, stream.try_clone().ok()?));
        drop(silent);
        Some(slot)
    }

    /// The request has come.
    fn has_spoken(&self) {
        self.slots.silent().retain(|(number, _)| *number != self.number);
    }
}

impl Drop for RequestSlot {
    fn drop(&mut self) {
        self.has_spoken();
        self.slots.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

fn answer(mut stream: TcpStream, name: Option<&str>, pages: &Pages, slot: &RequestSlot) -> io::Result<()> {
    stream.set_write_timeout(Some(REQUEST_TIME_MAX))?;
    let request = read_request(&mut stream, name)?;
    slot.has_spoken();
    let (response, with_body) = match request {
        Request::Get(path) => (pages(&path), true),
        Request::Head(path) => (pages(&path), false),
        Request::Foreign => {
            let words =
                "the request is for another host; ask by an IP address, localhost, or the name in --listen";
            (Response::words(403, words), true)
        }
        Request::Other => (Response::words(405, "only GET and HEAD are answered"), true),
        Request::TooLarge => (Response::words(431, "the request is too large"), true),
        Request::Broken => (Response::words(400, "this is no HTTP"), true),
    };
    let Response { status, content_type, body, policy } = &response;
    let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {}\r\n{allow}Content-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\n\
         Connection: close\r\n\r\n",
        reason(*status),
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if with_body {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

enum Request {
    Get(String),
    Head(String),
    /// By a name that is not this machine's, as far as is known.
    Foreign,
    Other,
    TooLarge,
    Broken,
}

fn read_request(stream: &mut TcpStream, name: Option<&str>) -> io::Result<Request> {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let mut part = [0; 1024];
    loop {
        let left = REQUEST_TIME_MAX.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut part)?;
        bytes.extend_from_slice(&part[..count]);
        if let Some(request) = parse(&bytes, name) {
            return Ok(request);
        }
        if bytes.len() > REQUEST_BYTES_MAX {
            return Ok(Request::TooLarge);
        }
        if count == 0 {
            return Ok(Request::Broken);
        }
    }
}

/// None: there is more to come.
fn parse(bytes: &[u8], name: Option<&str>) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            let path = request.path.unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default().to_owned();
            // A browser always says it; a probe need not.
            let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
            if !hosts.all(|host| is_own(host.value, name)) {
                return Some(Request::Foreign);
            }
            Some(match request.method {
                Some("GET") => Request::Get(path),
                Some("HEAD") => Request::Head(path),
                _ => Request::Other,
            })
        }
        Err(httparse::Error::TooManyHeaders) => Some(Request::TooLarge),
        Err(_) => Some(Request::Broken),
    }
}

/// Whether a request's `Host` is this server's: an address, `localhost` or `name`, with any port, as forwarding changes it.
fn is_own(host: &[u8], name: Option<&str>) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let host = host.trim();
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_name = |name: &str| host.eq_ignore_ascii_case(name);
    host.parse::<Ipv4Addr>().is_ok() || is_name("localhost") || name.is_some_and(is_name)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |host: &str, expected: bool| {
            assert_eq!(is_own(host.as_bytes(), Some("kills.example.org")), expected, "{host}");
        };
        for host in
            ["127.0.0.1", "127.0.0.1:80", "10.1.2.3:8080", "[::1]:80", "[::1]", "localhost", "LocalHost:1"]
        {
            check(host, true);
        }
        check("kills.example.org:8080", true);
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[evil]", "", ":80", "x"]
        {
            check(host, false);
        }
    }
}
