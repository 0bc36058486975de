//! `health --watch` on a terminal smaller than the report, and into a pipe.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;

use crate::support::cluster::Cluster;
use crate::support::process::Supervised as _;

const WAIT: Duration = Duration::from_mins(1);

fn watch(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegis-kills"));
    command.args(["health", "--watch", "--database-url", url]).env("TERM", "xterm");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_watch_redraws_a_small_terminal_and_restores_it() {
    let database = Cluster::shared().database("watch_terminal");
    let (rows, columns) = (8, 40);
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).expect("a terminal");
    // This statement drops the `Command`, and with it this process's end of the terminal.
    let child = watch(&database.url()).stdout(terminal.slave).supervised().expect("the program");
    let (sender, parts) = mpsc::channel();
    // Not joined: programs of other tests can hold the terminal open longer than this one.
    thread::spawn(move || {
        let (mut master, mut part) = (File::from(terminal.master), [0; 4096]);
        while let Ok(count @ 1..) = master.read(&mut part) {
            if sender.send(part[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut shown = Vec::new();
    let frames = |shown: &[u8]| shown.windows(8).filter(|bytes| bytes == b"\x1b[?2026l").count();
    while frames(&shown) < 2 {
        shown.extend(parts.recv_timeout(WAIT).expect("two reports"));
    }
    child.signal(Signal::SIGINT);
    assert_eq!(child.wait().code(), Some(130));
    while !shown.ends_with(b"\x1b[?2026l\r\n") {
        shown.extend(parts.recv_timeout(WAIT).expect("an end"));
    }
    let shown = String::from_utf8(shown).expect("UTF-8");
    for (hide, restore) in [("\x1b[?25l", "\x1b[?25h"), ("\x1b[?7l", "\x1b[?7h")] {
        assert_eq!(shown.matches(hide).count(), shown.matches(restore).count(), "{shown:?}");
        assert!(shown.rfind(hide) < shown.rfind(restore), "{shown:?}");
    }
    assert_eq!(shown.matches("\x1b[2J").count(), 1, "{shown:?}");
    for frame in shown.split("\x1b[H").skip(1) {
        let frame =
            frame.split("\x1b[?7h").next().expect("a frame").replace("\x1b[K", "").replace("\x1b[J", "");
        let lines: Vec<&str> = frame.lines().collect();
        assert!(lines.len() < rows.into() && frame.ends_with('\n'), "{lines:?}");
        assert!(lines.iter().all(|line| line.trim_end().chars().count() <= columns.into()), "{lines:?}");
        assert!(
            lines[0].starts_with("Healthy") && lines[lines.len() - 1].contains("more lines"),
            "{lines:?}"
        );
    }
}

#[test]
fn a_watch_writes_one_line_per_check_into_a_pipe() {
    let database = Cluster::shared().database("watch_pipe");
    let mut child = watch(&database.url()).stdout(Stdio::piped()).supervised().expect("the program");
    let mut lines =
        BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("UTF-8"));
    let is_look = |line: &String| line.contains(" UTC  healthy, latency ");
    assert!(lines.next().is_some_and(|line| is_look(&line)));
    assert!(lines.next().is_some_and(|line| line.starts_with("Healthy: ")));
    // The report ends with an empty line.
    let after: Vec<String> = lines.by_ref().skip_while(|line| !line.is_empty()).skip(1).take(2).collect();
    assert!(after.iter().all(is_look), "{after:?}");
    assert!(!after.concat().contains('\x1b'));
    drop(lines);
    // The command ends when its output has no reader.
    child.wait();
}
