//! The account that the server programs run as.
//!
//! - An ordinary user runs them under its own account. Root never does, because PostgreSQL refuses to run as root.
//! - A program gets a minimal environment: it sees no `PG*` variables and none of our secrets.
//! - A program runs in its own process group, so that Ctrl-C at the terminal does not reach it.
//! - Root also works in the account's directory with the privileges of the account. A link planted by the account can't
//!   reach anything that the account could not reach itself.

use std::env;
use std::fs::{self, File, Metadata};
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::{MetadataExt, fchown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[cfg(target_os = "linux")]
use nix::unistd::{Gid, setfsgid, setfsuid};
use nix::unistd::{Uid, User, getegid, geteuid};

use crate::embedded::error::{At, EmbeddedError};
use crate::embedded::process::{LINE_LIMIT, wait_at_most};

/// The variables that a server program inherits: directories of programs, libraries and temporary files, and the time
/// zone.
const KEPT_VARIABLES: [&str; 5] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ"];

/// The account that runs the server programs and owns their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
    name: String,
    /// Whether the programs run as another user than this program.
    is_other: bool,
}

/// While this value lives, this thread opens and creates files as the account. Child processes are not affected.
#[derive(Debug)]
pub struct Acting {
    #[cfg(target_os = "linux")]
    before: Option<(Uid, Gid)>,
    /// Not Send: the file-system ids belong to the thread.
    _here: PhantomData<*const ()>,
}

#[cfg(target_os = "linux")]
impl Drop for Acting {
    fn drop(&mut self) {
        if let Some((uid, gid)) = self.before {
            setfsgid(gid);
            setfsuid(uid);
        }
    }
}

impl Account {
    /// If this program is root, lets this thread access files as the account does.
    pub fn act(&self) -> Acting {
        Acting {
            #[cfg(target_os = "linux")]
            before: self.is_other.then(|| {
                let gid = setfsgid(Gid::from_raw(self.gid));
                (setfsuid(Uid::from_raw(self.uid)), gid)
            }),
            _here: PhantomData,
        }
    }

    /// Rejects an account without a name in the user database. `initdb` would fail too, with a less clear message.
    pub fn check_name(&self) -> Result<(), EmbeddedError> {
        match User::from_uid(Uid::from_raw(self.uid)) {
            Ok(None) => Err(EmbeddedError::NoEntry { uid: self.uid }),
            _ => Ok(()),
        }
    }

    /// Returns this program's own account, unless it is root. For root: the first owner of `paths` that is not root,
    /// else `postgres`, else `nobody`. Missing paths are ignored.
    pub fn for_paths(paths: &[&Path]) -> Result<Self, EmbeddedError> {
        if !geteuid().is_root() {
            let uid = geteuid().as_raw();
            return Ok(Self { uid, gid: getegid().as_raw(), name: name_of(uid), is_other: false });
        }
        let owner =
            paths.iter().filter_map(|path| fs::metadata(path).ok()).find(|metadata| metadata.uid() != 0);
        if let Some(metadata) = owner {
            return Ok(Self::owner_of(&metadata));
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten().filter(|user| !user.uid.is_root()))
            .map(Self::drop_to)
            .ok_or(EmbeddedError::NoAccount)
    }

    /// Returns a command that runs `program` as this account in `/`, with a minimal environment and its own process
    /// group.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").process_group(0);
        for name in KEPT_VARIABLES {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        // With C, messages are the same on all machines. The locale of the data is an option of initdb.
        command.env("LC_ALL", "C").env("HOME", "/");
        if self.is_other {
            // The standard library also drops root's supplementary groups.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// The account's name, or its id if it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives `path`, which root has created, to the account. Links are not followed.
    pub fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.is_other {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid)).at("change the owner of", path)
    }

    /// Gives the account an open directory that this program has just created at `path`, unless it was replaced since.
    pub fn own_new_directory(&self, directory: &File, path: &Path) -> Result<(), EmbeddedError> {
        let metadata = directory.metadata().at("inspect", path)?;
        let is_ours =
            metadata.is_dir() && metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o777 == 0o700;
        if !is_ours || fs::read_dir(path).at("read the directory", path)?.next().is_some() {
            return Err(EmbeddedError::Planted { path: path.to_path_buf() });
        }
        fchown(directory, Some(self.uid), Some(self.gid)).at("change the owner of", path)
    }

    /// Checks an open file before writing, and gives it to the account. It must belong to the account, or to root from
    /// an earlier version, and must have no second name.
    pub fn own_file(&self, file: &File, path: &Path) -> Result<(), EmbeddedError> {
        let metadata = file.metadata().at("inspect", path)?;
        let is_ours = self.owns(&metadata) || metadata.uid() == geteuid().as_raw();
        if !metadata.is_file() || !is_ours || metadata.nlink() > 1 {
            return Err(EmbeddedError::Planted { path: path.to_path_buf() });
        }
        if self.is_other && !self.owns(&metadata) {
            fchown(file, Some(self.uid), Some(self.gid)).at("change the owner of", path)?;
        }
        Ok(())
    }

    /// Whether the account owns a file with this metadata.
    pub fn owns(&self, metadata: &Metadata) -> bool {
        metadata.uid() == self.uid
    }

    /// Checks that the account can enter `dir`, an absolute path without links. The error names the blocking directory.
    pub fn check_entry(&self, dir: &Path) -> Result<(), EmbeddedError> {
        if !self.is_other {
            return Ok(());
        }
        // Test it with a process, because access lists and mounts also matter.
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", ":"]).current_dir(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let spawned = command.spawn().and_then(|mut shell| wait_at_most(&mut shell, LINE_LIMIT));
        match spawned {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(EmbeddedError::Blocked {
                blocker: self.blocker(dir).unwrap_or(dir).to_path_buf(),
                dir: dir.to_path_buf(),
                user: self.name.clone(),
            }),
            other => {
                let ended = other.and_then(|status| status.ok_or_else(|| io::ErrorKind::TimedOut.into()));
                ended.map(drop).map_err(|source| EmbeddedError::Spawn { program: "/bin/sh".into(), source })
            }
        }
    }

    /// Returns the outermost directory on the path to `dir` whose mode blocks the account.
    fn blocker<'a>(&self, dir: &'a Path) -> Option<&'a Path> {
        let mut ancestors: Vec<&Path> = dir.ancestors().collect();
        ancestors.reverse();
        ancestors.into_iter().find(|directory| {
            fs::metadata(directory).is_ok_and(|metadata| {
                let entry_bit = if metadata.uid() == self.uid {
                    0o100
                } else if metadata.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                metadata.mode() & entry_bit == 0
            })
        })
    }

    fn owner_of(metadata: &Metadata) -> Self {
        match User::from_uid(Uid::from_raw(metadata.uid())) {
            Ok(Some(user)) => Self::drop_to(user),
            // In a container, ids without a name are normal.
            _ => Self {
                uid: metadata.uid(),
                gid: metadata.gid(),
                name: metadata.uid().to_string(),
                is_other: true,
            },
        }
    }

    fn drop_to(user: User) -> Self {
        Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name, is_other: true }
    }
}

/// The name of a user, or the id if it has none.
pub(crate) fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
