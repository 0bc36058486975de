//! A small read-only HTTP server for `--listen`.
//!
//! Invariant: no client can use much memory or time. A request has at most 8 KiB and 5 s, and at most 16 requests run at
//! once. A new connection replaces the oldest one that has sent no request.
//!
//! Invariant: a page of another site in a browser cannot read these pages, even if the site's name resolves to this machine.

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

/// The Content-Security-Policy of responses that are not pages.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    policy: Cow<'static, str>,
}

impl Response {
    /// A response with a policy that allows nothing.
    pub(crate) fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, body, policy: Cow::Borrowed(NOTHING) }
    }

    #[must_use]
    pub(crate) fn with_policy(self, policy: Cow<'static, str>) -> Self {
        Self { policy, ..self }
    }

    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }
}

/// Returns the response to a GET of a path.
pub(crate) type Pages = Arc<dyn Fn(&str) -> Response + Send + Sync>;

/// The server. Dropping it stops it.
pub(crate) struct HttpServer {
    address: SocketAddr,
    pages: Arc<Mutex<Pages>>,
    ended: Arc<AtomicBool>,
    slots: Arc<Slots>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Serves requests to `listener` whose host is an IP address, `localhost` or `name`.
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

    /// Replaces the pages. The old ones are dropped when their last request is answered.
    pub(crate) fn replace(&self, pages: Pages) {
        *self.pages.lock().unwrap_or_else(PoisonError::into_inner) = pages;
    }

    /// Waits at most `time_max` until all requests are answered.
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
        // A connection wakes the thread from `accept`.
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
            // The hook has already logged a panic.
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
            // For example out of file descriptors: retry after a pause.
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
                log::debug!("HTTP request failed: {error}");
            }
        };
        if thread::Builder::new().name("request".to_owned()).spawn(serve).is_err() {
            log::debug!("cannot start a thread for an HTTP request");
        }
    }
}

/// The slots for concurrent requests.
#[derive(Default)]
struct Slots {
    busy: AtomicUsize,
    /// Connections that have not sent a request, oldest first, each with the flag of its slot.
    silent: Mutex<VecDeque<(u64, TcpStream, Arc<AtomicBool>)>>,
    /// The number of the last connection.
    number: AtomicU64,
}

impl Slots {
    fn silent(&self) -> MutexGuard<'_, VecDeque<(u64, TcpStream, Arc<AtomicBool>)>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One slot, in use by a connection.
struct RequestSlot {
    slots: Arc<Slots>,
    number: u64,
    /// Whether the slot was given to another connection. The thread of this one may end much later on a busy machine.
    is_evicted: Arc<AtomicBool>,
}

impl RequestSlot {
    /// Takes a slot. If all are in use, closes the oldest connection without a request; none if there is no such connection.
    fn take(slots: &Arc<Slots>, stream: &TcpStream) -> Option<Self> {
        let full = slots.busy.fetch_add(1, Ordering::AcqRel) >= REQUESTS_MAX;
        let slot = Self {
            slots: Arc::clone(slots),
            number: slots.number.fetch_add(1, Ordering::Relaxed),
            is_evicted: Arc::default(),
        };
        let mut silent = slots.silent();
        if full {
            let (_, oldest, is_evicted) = silent.pop_front()?;
            is_evicted.store(true, Ordering::Release);
            slots.busy.fetch_sub(1, Ordering::AcqRel);
            // Its thread then reads the end of the stream. An error means that the connection is already closed.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        silent.push_back((slot.number, stream.try_clone().ok()?, Arc::clone(&slot.is_evicted)));
        drop(silent);
        Some(slot)
    }

    fn mark_received(&self) {
        self.slots.silent().retain(|(number, ..)| *number != self.number);
    }
}

impl Drop for RequestSlot {
    fn drop(&mut self) {
        // The lock in it orders this after an eviction.
        self.mark_received();
        if !self.is_evicted.load(Ordering::Acquire) {
            self.slots.busy.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn answer(mut stream: TcpStream, name: Option<&str>, pages: &Pages, slot: &RequestSlot) -> io::Result<()> {
    stream.set_write_timeout(Some(REQUEST_TIME_MAX))?;
    let request = read_request(&mut stream, name)?;
    slot.mark_received();
    let (response, with_body) = match request {
        Request::Get(path) => (pages(&path), true),
        Request::Head(path) => (pages(&path), false),
        Request::Foreign => {
            let text = "unknown host: use an IP address, localhost, or the name in --listen";
            (Response::text(403, text), true)
        }
        Request::Other => (Response::text(405, "only GET and HEAD are allowed"), true),
        Request::TooLarge => (Response::text(431, "the request is too large"), true),
        Request::Broken => (Response::text(400, "not an HTTP request"), true),
        Request::Hostless => (Response::text(400, "HTTP/1.1 requires a Host header"), true),
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
    /// The `Host` header is not a known name of this machine.
    Foreign,
    Other,
    TooLarge,
    Broken,
    /// A request of HTTP/1.1 without a `Host` header.
    Hostless,
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

/// Parses a request; none if it is incomplete.
fn parse(bytes: &[u8], name: Option<&str>) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            let path = request.path.unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default().to_owned();
            let is_host = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("host");
            let hosts: Vec<_> = request.headers.iter().filter(is_host).collect();
            if !hosts.iter().all(|host| is_own(host.value, name)) {
                return Some(Request::Foreign);
            }
            // Probes with HTTP/1.0 need not send the header.
            if hosts.is_empty() && request.version != Some(0) {
                return Some(Request::Hostless);
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

/// Whether a `Host` header names this server: an address, `localhost` or `name`, with or without a port. It can be any port,
/// because forwarding changes it.
fn is_own(host: &[u8], name: Option<&str>) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let host = host.trim();
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split_once(']').is_some_and(|(address, rest)| {
            address.parse::<Ipv6Addr>().is_ok()
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
        });
    }
    let host = match host.split_once(':') {
        Some((host, port)) if is_port(port) => host,
        Some(_) => return false,
        None => host,
    };
    let is_name = |name: &str| host.eq_ignore_ascii_case(name);
    host.parse::<Ipv4Addr>().is_ok() || is_name("localhost") || name.is_some_and(is_name)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|letter| letter.is_ascii_digit())
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
