//! A temporary directory for private servers, which is removed however the test ends.
//!
//! A shell reads from a pipe that this process holds open. When the pipe closes, by a drop, a panic or the death of the
//! process, the shell ends the servers of the directory and removes it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::process::{Process, Supervised as _};

/// Input: the directory. It is no argument, because the shell looks for processes with the directory in their arguments:
/// servers, and programs that are creating or starting one. SIGQUIT is PostgreSQL's immediate shutdown.
const JANITOR: &str = r#"
read -r directory
while read -r line; do :; done
signal=QUIT tries=0 sockets=
while [ $tries -lt 400 ]; do
    tries=$((tries + 1))
    [ $tries -eq 200 ] && signal=KILL
    sockets="$sockets
$(find "$directory" -name postmaster.pid -exec sed -n 5p {} \; 2>/dev/null)"
    busy=$(ps -A -o pid= -o args= | while read -r pid args; do
        case $args in *"$directory"*) echo "$pid" ;; esac
    done)
    if [ -n "$busy" ]; then
        kill -$signal $busy 2>/dev/null
    else
        rm -rf "$directory" 2>/dev/null
        [ -e "$directory" ] || break
    fi
    sleep 0.05
done
printf '%s\n' "$sockets" | while read -r socket; do
    case $socket in */aegis-kills-*) rm -rf "$socket" ;; esac
done
"#;

/// Longer than the shell's attempts.
const JANITOR_MAX: Duration = Duration::from_mins(2);

/// A temporary directory that other users may enter.
pub(crate) struct Scratch {
    path: PathBuf,
    janitor: Process,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("kills-test-").tempdir().expect("a temporary directory");
        let mut janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR])
            .current_dir("/")
            .stdin(Stdio::piped())
            .supervised()
            .expect("a shell");
        janitor.set_deadline(None);
        // Run by root, the servers run as another user, who needs access.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let path = fs::canonicalize(directory.keep()).expect("its path");
        let input = janitor.stdin.as_mut().expect("its input");
        writeln!(input, "{}", path.display()).expect("the shell lives");
        Self { path, janitor }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        self.janitor.end_within(JANITOR_MAX);
    }
}
