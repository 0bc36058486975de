//! A headless Chromium, if installed, and its rendering of a page.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::process::Supervised as _;
use super::scratch::Scratch;
use super::{find_program, not_tried};

/// The program's names.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// No network but the loopback interface, and no dialogs.
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

/// The path of a browser.
pub(crate) struct Browser(PathBuf);

impl Browser {
    /// Finds a browser. If there is none, reports that the test is skipped.
    pub(crate) fn find() -> Option<Self> {
        let found = find_program(&NAMES, &[]);
        if found.is_none() {
            not_tried("the status page", "no Chromium is installed");
        }
        found.map(Self)
    }

    /// The page's elements after this much virtual time.
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
