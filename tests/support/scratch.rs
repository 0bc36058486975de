//! A temporary folder for private servers, of which nothing is left however the test ends.
//!
//! A shell waits at a pipe that this process holds open. When that closes, by a drop, a panic or the death of the process,
//! the shell ends the servers whose data are in the folder and removes it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Arguments: the folder. SIGQUIT is PostgreSQL's immediate shutdown. The socket's folder may be outside.
const JANITOR: &str = r#"
while read -r line; do :; done
find "$1" -name postmaster.pid | while read -r file; do
    pid=$(sed -n 1p "$file"); socket=$(sed -n 5p "$file")
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while [ -e "$file" ] && kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
    [ -n "$socket" ] && rmdir "$socket" 2>/dev/null
done
rm -rf "$1"
"#;

/// A temporary folder that other users may enter.
pub(crate) struct Scratch {
    path: PathBuf,
    janitor: Child,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kills-test-").tempdir().expect("a temporary folder");
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "sh"])
            .arg(folder.path())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        // Run by root, the servers run as another user, who must get through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let path = fs::canonicalize(folder.keep()).expect("its path");
        Self { path, janitor }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // Nothing more can be done about a shell that fails, and a panic here would hide the test's own.
        let _ = self.janitor.wait();
    }
}
