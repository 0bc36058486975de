//! The threads of a hanging program: their stacks if gdb is installed and permitted, else the kernel's name of each wait.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// A debugger that hangs must not hide the report.
const GDB_MAX: Duration = Duration::from_secs(30);
/// The maximum number of processes of a group in the report.
const PROCESSES_MAX: usize = 6;

/// The stacks of all processes of a group.
pub(super) fn of_group(group: Pid) -> String {
    let mut text = String::new();
    for pid in members(group).into_iter().take(PROCESSES_MAX) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let _ = writeln!(text, "process {pid} {}", name.trim_end());
        text.push_str(&by_gdb(pid).unwrap_or_else(|| waits(pid)));
    }
    text
}

/// The processes of a group, or only the leader without `/proc`.
fn members(group: Pid) -> Vec<i32> {
    let is_member = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The fields after the name, which may contain anything: state, parent, group.
        let field = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(2));
        field.and_then(|field| field.parse().ok()) == Some(group.as_raw())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found: Vec<i32> = pids.filter(is_member).collect();
    if found.is_empty() { vec![group.as_raw()] } else { found }
}

fn by_gdb(pid: i32) -> Option<String> {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex", "thread apply all bt", "-p", &pid.to_string()]);
    // Disables gdb's requests to servers for debug files.
    command.env_remove("DEBUGINFOD_URLS");
    let mut gdb = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut output = gdb.stdout.take()?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = output.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let begun = Instant::now();
    while begun.elapsed() < GDB_MAX && gdb.try_wait().is_ok_and(|status| status.is_none()) {
        thread::sleep(Duration::from_millis(20));
    }
    let _ = gdb.kill();
    let _ = gdb.wait();
    let text = reader.join().ok()?;
    let is_frame = |line: &&str| line.starts_with("Thread") || line.starts_with('#');
    let frames: Vec<&str> = text.lines().filter(is_frame).collect();
    (!frames.is_empty()).then(|| format!("{}\n", frames.join("\n")))
}

fn waits(pid: i32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lines = tasks.map(|task| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        format!("  thread {} in {}\n", read("comm").trim_end(), read("wchan"))
    });
    lines.collect()
}
