//! The HTML page: one self-contained document with a strict Content-Security-Policy.

use crate::report::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page. Its policy allows only its own script and style, by their hashes, and requests to its own origin.
pub(crate) fn response() -> Response {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let (script, style) = (hash(SCRIPT), hash(STYLE));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Response::new(200, "text/html; charset=utf-8", whole()).with_policy(policy.into())
}

fn whole() -> String {
    let with = |html: &str, tag: &str, text: &str| {
        html.replacen(&format!("<{tag}></{tag}>"), &format!("<{tag}>{text}</{tag}>"), 1)
    };
    with(&with(HTML, "style", STYLE), "script", SCRIPT)
}
