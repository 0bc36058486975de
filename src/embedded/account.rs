//! Who the server programs run as.
//!
//! - An ordinary user runs them as itself; root never does, as PostgreSQL refuses root.
//! - A program gets a small environment of its own: no `PG*` variable bends what it does, and no secret of ours is passed
//!   on.
//! - A program runs in a process group of its own: Ctrl-C at the terminal is not for it.
//! - Root, too, works in the account's directory with the account's rights alone: whatever links the account has put there lead to
//!   nothing that it could not reach by itself.

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

/// What a server program keeps of our environment: where to find libraries and temporary space, and the time zone.
const KEPT_VARIABLES: [&str; 5] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ"];

/// The account that the server programs run as, and that owns what they write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
    name: String,
    switch: Switch,
}

/// Whether the programs run as somebody else than this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    Stay,
    Drop,
}

/// While it lives, this thread's files are opened and made as the account. Programs that are started are not concerned.
#[derive(Debug)]
pub struct Acting {
    #[cfg(target_os = "linux")]
    before: Option<(Uid, Gid)>,
    /// It is the thread's.
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
    /// Makes this thread work with files as the account does, where this program is root.
    pub fn act(&self) -> Acting {
        Acting {
            #[cfg(target_os = "linux")]
            before: (self.switch == Switch::Drop).then(|| {
                let gid = setfsgid(Gid::from_raw(self.gid));
                (setfsuid(Uid::from_raw(self.uid)), gid)
            }),
            _here: PhantomData,
        }
    }

    /// Refuses an account that the system has no name for, as `initdb` would, less clearly.
    pub fn check_name(&self) -> Result<(), EmbeddedError> {
        match User::from_uid(Uid::from_raw(self.uid)) {
            Ok(None) => Err(EmbeddedError::NoEntry { uid: self.uid }),
            _ => Ok(()),
        }
    }

    /// This program's own account; if that is root, the first owner of `paths` that is not root, else `postgres`, else
    /// `nobody`. A path that does not exist is passed over.
    pub fn for_paths(paths: &[&Path]) -> Result<Self, EmbeddedError> {
        if !geteuid().is_root() {
            let uid = geteuid().as_raw();
            return Ok(Self { uid, gid: getegid().as_raw(), name: name_of(uid), switch: Switch::Stay });
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

    /// A command that runs `program` as this account, in `/`, with a clean environment, in a process group of its own.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").process_group(0);
        for name in KEPT_VARIABLES {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        // C keeps the programs' messages the same everywhere; the data's own locale is an option of initdb.
        command.env("LC_ALL", "C").env("HOME", "/");
        if self.switch == Switch::Drop {
            // The standard library drops root's supplementary groups with it.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// The account's name, or its number where it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the account what root has made at `path`, which is not followed if it is a link.
    pub fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        match self.switch {
            Switch::Stay => Ok(()),
            Switch::Drop => lchown(path, Some(self.uid), Some(self.gid)).at("change the owner of", path),
        }
    }

    /// Gives the account an open directory that this program has just made at `path`. Anything else may have been put there since.
    pub fn own_new_directory(&self, directory: &File, path: &Path) -> Result<(), EmbeddedError> {
        let metadata = directory.metadata().at("look at", path)?;
        let is_ours =
            metadata.is_dir() && metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o777 == 0o700;
        if !is_ours || fs::read_dir(path).at("read the directory", path)?.next().is_some() {
            return Err(EmbeddedError::Planted { path: path.to_path_buf() });
        }
        fchown(directory, Some(self.uid), Some(self.gid)).at("change the owner of", path)
    }

    /// Checks an open file that is to be written: the account's, or root's of an earlier version, and under no other name. It
    /// becomes the account's.
    pub fn own_file(&self, file: &File, path: &Path) -> Result<(), EmbeddedError> {
        let metadata = file.metadata().at("look at", path)?;
        let is_ours = self.owns(&metadata) || metadata.uid() == geteuid().as_raw();
        if !metadata.is_file() || !is_ours || metadata.nlink() > 1 {
            return Err(EmbeddedError::Planted { path: path.to_path_buf() });
        }
        if self.switch == Switch::Drop && !self.owns(&metadata) {
            fchown(file, Some(self.uid), Some(self.gid)).at("change the owner of", path)?;
        }
        Ok(())
    }

    /// Whether something with this metadata is the account's.
    pub fn owns(&self, metadata: &Metadata) -> bool {
        metadata.uid() == self.uid
    }

    /// Checks that the account can enter `dir`, an absolute path without links; names the directory in the way if not.
    pub fn check_entry(&self, dir: &Path) -> Result<(), EmbeddedError> {
        if self.switch == Switch::Stay {
            return Ok(());
        }
        // Trying beats reckoning: access lists and mounts count too.
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", ":"]).current_dir(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(EmbeddedError::Blocked {
                blocker: self.blocker(dir).unwrap_or(dir).to_path_buf(),
                dir: dir.to_path_buf(),
                user: self.name.clone(),
            }),
            other => {
                other.map(drop).map_err(|source| EmbeddedError::Spawn { program: "/bin/sh".into(), source })
            }
        }
    }

    /// The outermost directory on the way to `dir` whose mode bars the account.
    fn blocker<'a>(&self, dir: &'a Path) -> Option<&'a Path> {
        let mut way: Vec<&Path> = dir.ancestors().collect();
        way.reverse();
        way.into_iter().find(|directory| {
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
            // A number without a name is normal in a container.
            _ => Self {
                uid: metadata.uid(),
                gid: metadata.gid(),
                name: metadata.uid().to_string(),
                switch: Switch::Drop,
            },
        }
    }

    fn drop_to(user: User) -> Self {
        Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name, switch: Switch::Drop }
    }
}

/// The name of a user, or its number where it has none.
pub(crate) fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
