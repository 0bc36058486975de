//! Raw requests to the pages of `--listen`, because responses to malformed ones are tested too.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// The status and the body of the response to a request, or 0 and an empty text without one.
pub(crate) fn request(port: u16, text: &[u8]) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return (0, String::new()) };
    let mut answer = String::new();
    // A server that has rejected a request need not read it completely.
    let _ = (stream.write_all(text), stream.read_to_string(&mut answer));
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
}

/// The status and the body of a page.
pub(crate) fn get(port: u16, path: &str) -> (u16, String) {
    request(port, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}
