//! The folder of a private PostgreSQL: what is in it, who may use it, and its locks.
//!
//! ```text
//! DIR/aegis-kills.lock    held while the server is made, started or stopped; says that DIR is ours
//! DIR/aegis-kills.lease   held shared by each user of the server
//! DIR/kept                there while the server is to outlive its users
//! DIR/data                the cluster; DIR/data.new while it is made
//! DIR/run                 the socket, unless its path would be too long
//! DIR/log                 what the server and its programs wrote
//! ```
//!
//! - DIR is an absolute path without links, so that all users of one folder agree on its name.
//! - A folder that holds anything, and not our lock, is never written to.
//! - What root makes here it gives to the server's account, and no link of that account's making is followed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::libc::O_NOFOLLOW;
use uuid::Uuid;

use super::account::{Account, name_of};
use super::error::{At, EmbeddedError};

const START_LOCK: &str = "aegis-kills.lock";

/// A folder that holds, or is to hold, a private PostgreSQL.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    dir: PathBuf,
    account: Account,
}

/// The right to make, start or stop the server; one process or thread has it at a time.
#[derive(Debug)]
pub(super) struct StartLock(File);

/// A share in the server.
#[derive(Debug)]
pub(super) struct Lease(File);

/// Whether anybody has a share in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Users {
    None,
    Some,
}

impl Folder {
    /// The folder at `dir`, made if it is missing.
    pub(super) fn make(dir: &Path) -> Result<Self, EmbeddedError> {
        let dir = checked(dir)?;
        let account = Account::for_paths(&[&dir.join("data"), &dir])?;
        if !dir.exists() {
            if let Some(parent) = dir.parent() {
                fs::create_dir_all(parent).at("make the folder", parent)?;
            }
            make_at_once(&dir, &account)?;
        }
        let folder = Self { dir: fs::canonicalize(&dir).at("find", &dir)?, account };
        folder.check_ours()?;
        folder.account.check_entry(&folder.dir)?;
        folder.check_owner()?;
        Ok(folder)
    }

    /// The folder at `dir` if there is one and it is ours; nothing is made.
    pub(super) fn existing(dir: &Path) -> Result<Option<Self>, EmbeddedError> {
        let dir = checked(dir)?;
        if !dir.try_exists().at("look at", &dir)? {
            return Ok(None);
        }
        let dir = fs::canonicalize(&dir).at("find", &dir)?;
        let account = Account::for_paths(&[&dir.join("data"), &dir])?;
        let folder = Self { dir, account };
        folder.check_ours()?;
        Ok(folder.start_lock_path().exists().then_some(folder))
    }

    /// The folder itself, without links.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who the server runs as.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where a cluster is made, to become `data` when it is whole.
    pub(super) fn data_new(&self) -> PathBuf {
        self.dir.join("data.new")
    }

    pub(super) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Waits for the right to make, start or stop the server.
    pub(super) fn lock_start(&self) -> Result<StartLock, EmbeddedError> {
        let path = self.start_lock_path();
        let file = self.open_lock(&path)?;
        file.lock().at("lock", &path)?;
        Ok(StartLock(file))
    }

    /// Takes a share in the server. Who asks holds the start lock, so that no [`Folder::users`] is under way.
    pub(super) fn take_lease(&self, _start: &StartLock) -> Result<Lease, EmbeddedError> {
        let path = self.lease_path();
        let file = self.open_lock(&path)?;
        file.lock_shared().at("lock", &path)?;
        Ok(Lease(file))
    }

    /// Whether anybody has a share in the server. A user that was killed has none: the system takes its lock away.
    pub(super) fn users(&self, _start: &StartLock) -> Result<Users, EmbeddedError> {
        let path = self.lease_path();
        match self.open_lock(&path)?.try_lock() {
            Ok(()) => Ok(Users::None),
            Err(TryLockError::WouldBlock) => Ok(Users::Some),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }

    /// Whether the server is to outlive its users.
    pub(super) fn kept(&self) -> bool {
        self.kept_path().exists()
    }

    /// Notes that the server is to outlive its users.
    pub(super) fn keep(&self, _start: &StartLock) -> Result<(), EmbeddedError> {
        self.open_lock(&self.kept_path()).map(drop)
    }

    /// Forgets that the server was to outlive its users.
    pub(super) fn keep_no_more(&self, _start: &StartLock) -> Result<(), EmbeddedError> {
        remove_file(&self.kept_path())
    }

    /// Makes the folder of the logs.
    pub(super) fn make_log(&self) -> Result<PathBuf, EmbeddedError> {
        let log = self.log();
        make_private_folder(&log, &self.account)?;
        Ok(log)
    }

    /// Empties the log `name`, made if it is missing.
    pub(super) fn open_log(&self, name: &str) -> Result<(File, PathBuf), EmbeddedError> {
        let path = self.make_log()?.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(O_NOFOLLOW);
        let file = options.open(&path).at("open", &path)?;
        self.account.own_file(&file, &path)?;
        Ok((file, path))
    }

    fn start_lock_path(&self) -> PathBuf {
        self.dir.join(START_LOCK)
    }

    fn lease_path(&self) -> PathBuf {
        self.dir.join("aegis-kills.lease")
    }

    fn kept_path(&self) -> PathBuf {
        self.dir.join("kept")
    }

    fn open_lock(&self, path: &Path) -> Result<File, EmbeddedError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW);
        let file = options.open(path).at("open", path)?;
        self.account.own_file(&file, path)?;
        Ok(file)
    }

    /// Refuses a folder that holds something, and not our lock.
    fn check_ours(&self) -> Result<(), EmbeddedError> {
        let foreign = || EmbeddedError::Foreign { dir: self.dir.clone() };
        if !self.dir.is_dir() {
            return Err(EmbeddedError::NoFolder { dir: self.dir.clone() });
        }
        let mut empty = true;
        for entry in fs::read_dir(&self.dir).at("read the folder", &self.dir)? {
            let name = entry.at("read the folder", &self.dir)?.file_name();
            if name == START_LOCK {
                return Ok(());
            }
            // A file system that was just made has this folder, and is as good as empty.
            empty &= name == "lost+found";
        }
        if empty { Ok(()) } else { Err(foreign()) }
    }

    /// Refuses data that the server's account does not own: PostgreSQL would, less clearly.
    fn check_owner(&self) -> Result<(), EmbeddedError> {
        let data = self.data();
        match fs::metadata(&data) {
            Ok(metadata) if self.account.owns(&metadata) => Ok(()),
            Ok(metadata) => Err(EmbeddedError::Owner {
                folder: data,
                owner: name_of(metadata.uid()),
                user: self.account.name().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("look at", &data),
        }
    }
}

impl StartLock {
    /// The lock as a program's standard input, which reads as empty. The program holds the lock with us: killed, we
    /// leave it to the program that is still at work in the folder.
    pub(super) fn as_stdin(&self) -> Result<Stdio, io::Error> {
        Ok(Stdio::from(self.0.try_clone()?))
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        unlock(&self.0);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        unlock(&self.0);
    }
}

/// Closing the file is not enough: a process that another thread is just starting holds it too, for a moment.
fn unlock(file: &File) {
    if let Err(error) = file.unlock() {
        log::warn!("could not release a lock of the private PostgreSQL: {error}");
    }
}

/// Makes a folder that only `account` may enter, unless it is there.
pub(super) fn make_private_folder(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.own(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).at("make the folder", path),
    }
}

/// Makes a private folder that is never seen without its owner: another loader may come at the same moment, and a crash
/// between making it and giving it away would bar the account from it for good.
fn make_at_once(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let new = path.with_file_name(format!(".aegis-kills-{}", Uuid::new_v4()));
    make_private_folder(&new, account)?;
    match fs::rename(&new, path) {
        // Somebody else was faster.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) =>
        {
            fs::remove_dir(&new).at("remove", &new)
        }
        result => result.at("make the folder", path),
    }
}

/// Removes a file, if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

/// `dir` as an absolute path that PostgreSQL's programs can take.
fn checked(dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let dir = std::path::absolute(dir).at("find", dir)?;
    if dir.as_os_str().as_bytes().iter().any(u8::is_ascii_control) {
        return Err(EmbeddedError::Path { dir });
    }
    Ok(dir)
}
