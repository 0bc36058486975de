//! A headless Chromium, where one is installed, and what it makes of a page.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::process::Supervised as _;
use super::scratch::Scratch;
use super::{find_program, not_tried};

/// The names that it goes by.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// It sees no network but this machine's, and asks no one for anything.
const ARGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=360,800",
];

/// The program of a browser.
pub(crate) struct Browser(PathBuf);

impl Browser {
    /// None where there is none, which is said to who runs the tests.
    pub(crate) fn find() -> Option<Self> {
        let found = find_program(&NAMES, &[]);
        if found.is_none() {
            not_tried("the status page", "no Chromium is installed");
        }
        found.map(Self)
    }

    /// The page's elements once it has run for so long by its own clock.
    pub(crate) fn dom(&self, url: &str, milliseconds: u32) -> String {
        let profile = Scratch::new();
        let output = Command::new(&self.0)
            .args(ARGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--virtual-time-budget={milliseconds}"))
            .args(["--dump-dom", url])
            .stdin(Stdio::null())
            .output_in_time()
            .expect("a browser");
        let dom = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(dom.contains("</html>"), "{}: {dom}", String::from_utf8_lossy(&output.stderr));
        dom
    }
}
