//! The page for people: one document that needs no other, and the policy that lets it do no more than it has to.

use crate::report::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page, with a policy that allows its own script and style alone, told by the hashes that they have as it is built,
/// and requests to where it came from.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_that_its_policy_forbids() {
        let page = whole();
        for (tag, text) in [("script", SCRIPT), ("style", STYLE)] {
            assert_eq!(page.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(page.contains(&format!("<{tag}>{text}</{tag}>")), "{tag}");
        }
        let lazy = ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("];
        let inline = [" style=", " onclick=", " onload=", " onerror=", "javascript:", "setAttribute('style"];
        let outside = [" src=", "@import", "url("];
        for forbidden in lazy.iter().chain(&inline).chain(&outside) {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        // The name of a namespace is no address.
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("://"), "an outside resource");
    }
}
