//! The directory of a private PostgreSQL: its contents, ownership and locks.
//!
//! ```text
//! DIR/aegis-kills.lock    held while the server is created, started or stopped; marks DIR as ours
//! DIR/aegis-kills.lease   shared lock held by each user of the server
//! DIR/kept                exists while the server is to outlive its users
//! DIR/data                the cluster; DIR/data.new during its creation
//! DIR/run                 the socket, unless its path would be too long
//! DIR/log                 output of the server and its programs
//! ```
//!
//! - DIR is an absolute path without links, so that all users of one directory agree on its name.
//! - A directory that is not empty and has no lock of ours is never written to.
//! - Root works in the directory as the server's account, so that a link of that account can't reach anything that the
//!   account can't. Files are checked through their descriptors before they are written.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use uuid::Uuid;

use crate::embedded::account::{Account, name_of};
use crate::embedded::error::{At, EmbeddedError};
use crate::embedded::process::POLL_INTERVAL;
use crate::error_chain::system_text;

const START_LOCK: &str = "aegis-kills.lock";
const LEASE: &str = "aegis-kills.lease";
const KEPT: &str = "kept";

/// Time limit for another process to create, start or stop the server.
const LOCK_LIMIT: Duration = Duration::from_mins(16);

/// A directory with a private PostgreSQL, or for one.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    dir: PathBuf,
    account: Account,
    /// The directories that were created for it, the outermost first.
    made: Vec<PathBuf>,
}

/// The exclusive lock to create, start or stop the server.
#[derive(Debug)]
pub(crate) struct StartLock(File);

/// A lease of the server.
#[derive(Debug)]
pub(crate) struct Lease(File);

impl Directory {
    /// Opens the directory at `dir` and creates it if necessary.
    pub(crate) fn make(dir: &Path) -> Result<Self, EmbeddedError> {
        let dir = checked(dir)?;
        let account = account(&dir)?;
        let mut made = Vec::new();
        if !dir.exists() {
            made =
                dir.ancestors().take_while(|directory| !directory.exists()).map(Path::to_path_buf).collect();
            made.reverse();
            if let Some(parent) = dir.parent() {
                fs::create_dir_all(parent).at("create the directory", parent)?;
            }
            make_at_once(&dir, &account)?;
        }
        let directory = Self { dir: fs::canonicalize(&dir).at("resolve", &dir)?, account, made };
        let checked = directory.check_ours().and_then(|()| directory.account.check_entry(&directory.dir));
        match checked.and_then(|()| directory.check_owner()) {
            Ok(()) => Ok(directory),
            Err(error) => {
                directory.remove_created();
                Err(error)
            }
        }
    }

    /// Removes what [`make`](Self::make) has created, unless it contains more than the locks.
    pub(crate) fn remove_created(&self) {
        if self.made.is_empty() {
            return;
        }
        let acting = self.account.act();
        let locks = [self.dir.join(START_LOCK), self.dir.join(LEASE)];
        let is_lock = |entry: fs::DirEntry| locks.contains(&entry.path());
        // If the account can't read the directory, it has created nothing in it.
        if fs::read_dir(&self.dir).is_ok_and(|entries| !entries.flatten().all(is_lock)) {
            return;
        }
        for path in locks.iter().filter(|path| path.exists()) {
            let _ = fs::remove_file(path);
        }
        drop(acting);
        // remove_dir keeps directories that are not empty.
        for directory in self.made.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }

    /// Whether a cluster exists, or seems to.
    pub(crate) fn has_data(dir: &Path) -> bool {
        dir.join("data").exists()
    }

    /// Returns the directory at `dir` if it exists and is ours. Nothing is created.
    pub(crate) fn existing(dir: &Path) -> Result<Option<Self>, EmbeddedError> {
        let dir = checked(dir)?;
        if !dir.try_exists().at("inspect", &dir)? {
            return Ok(None);
        }
        let dir = fs::canonicalize(&dir).at("resolve", &dir)?;
        let account = account(&dir)?;
        let directory = Self { dir, account, made: Vec::new() };
        directory.check_ours()?;
        Ok(directory.dir.join(START_LOCK).exists().then_some(directory))
    }

    /// The path without links.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The directory in which a cluster is created. It is renamed to `data` when it is complete.
    pub(crate) fn data_new(&self) -> PathBuf {
        self.dir.join("data.new")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Waits for the lock to create, start or stop the server.
    pub(crate) fn lock_start(&self) -> Result<StartLock, EmbeddedError> {
        let path = self.dir.join(START_LOCK);
        let file = self.open_own(&path)?;
        lock(&path, || file.try_lock())?;
        Ok(StartLock(file))
    }

    /// Acquires a lease. It requires the start lock, so that no [`Directory::has_users`] runs at the same time.
    pub(crate) fn take_lease(&self, _start: &StartLock) -> Result<Lease, EmbeddedError> {
        let path = self.dir.join(LEASE);
        let file = self.open_own(&path)?;
        lock(&path, || file.try_lock_shared())?;
        Ok(Lease(file))
    }

    /// Whether any process holds a lease. The system releases the lock of a killed process.
    pub(crate) fn has_users(&self, _start: &StartLock) -> Result<bool, EmbeddedError> {
        let path = self.dir.join(LEASE);
        match self.open_own(&path)?.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }

    /// Whether the server is to outlive its users.
    pub(crate) fn kept(&self) -> bool {
        self.dir.join(KEPT).exists()
    }

    /// Records that the server is to outlive its users.
    pub(crate) fn keep(&self, _start: &StartLock) -> Result<(), EmbeddedError> {
        self.open_own(&self.dir.join(KEPT)).map(drop)
    }

    /// Removes the record that the server is to outlive its users.
    pub(crate) fn clear_kept(&self, _start: &StartLock) -> Result<(), EmbeddedError> {
        remove_file(&self.dir.join(KEPT))
    }

    /// The path of the log `name`, in a directory that exists.
    fn log_file(&self, name: &str) -> Result<PathBuf, EmbeddedError> {
        let log = self.log();
        make_private_directory(&log, &self.account)?;
        Ok(log.join(name))
    }

    /// Opens the log `name` empty, and creates it if necessary.
    pub(crate) fn open_log(&self, name: &str) -> Result<(File, PathBuf), EmbeddedError> {
        let path = self.log_file(name)?;
        let file = self.open_own(&path)?;
        // Truncate the file only after the check.
        file.set_len(0).at("truncate", &path)?;
        Ok((file, path))
    }

    /// Checks an existing log `name`, which one of the server's programs will open.
    pub(crate) fn check_log(&self, name: &str) -> Result<(), EmbeddedError> {
        let path = self.log_file(name)?;
        match if_exists(own_options().read(true).open(&path)).at("open", &path)? {
            Some(file) => self.account.own_file(&file, &path),
            None => Ok(()),
        }
    }

    /// Opens a file of this program, and creates it if necessary.
    fn open_own(&self, path: &Path) -> Result<File, EmbeddedError> {
        let mut options = own_options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).at("open", path)?;
        self.account.own_file(&file, path)?;
        Ok(file)
    }

    /// Rejects a directory that is not empty and has no lock of ours.
    fn check_ours(&self) -> Result<(), EmbeddedError> {
        if !self.dir.is_dir() {
            return Err(EmbeddedError::NoDirectory { dir: self.dir.clone() });
        }
        let mut empty = true;
        for entry in fs::read_dir(&self.dir).at("read the directory", &self.dir)? {
            let name = entry.at("read the directory", &self.dir)?.file_name();
            if name == START_LOCK {
                return Ok(());
            }
            // A new file system contains this directory and counts as empty.
            empty &= name == "lost+found";
        }
        if empty { Ok(()) } else { Err(EmbeddedError::Foreign { dir: self.dir.clone() }) }
    }

    /// Rejects data that the server's account does not own. PostgreSQL would fail, too, with a less clear message.
    fn check_owner(&self) -> Result<(), EmbeddedError> {
        let data = self.data();
        match fs::metadata(&data) {
            Ok(metadata) if self.account.owns(&metadata) => Ok(()),
            // The owner of a link or of a file with a second name must not be changed.
            Ok(_) if !fs::symlink_metadata(&data).is_ok_and(|entry| entry.is_dir()) => {
                Err(EmbeddedError::Planted { path: data })
            }
            Ok(metadata) => Err(EmbeddedError::Owner {
                directory: data,
                owner: name_of(metadata.uid()),
                user: self.account.name().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("inspect", &data),
        }
    }
}

impl StartLock {
    /// The lock as standard input for a program; it reads as empty. The program then also holds the lock. If this
    /// process is killed, the lock stays with the program while it works in the directory.
    pub(crate) fn as_stdin(&self) -> Result<Stdio, io::Error> {
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

/// Repeats `attempt` to lock the file at `path` until the lock is free or the limit is reached.
fn lock(path: &Path, attempt: impl Fn() -> Result<(), TryLockError>) -> Result<(), EmbeddedError> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            // The holder starts or stops the server, both of which have time limits.
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_LIMIT => thread::sleep(POLL_INTERVAL),
            Err(TryLockError::WouldBlock) => {
                return Err(EmbeddedError::Locked { path: path.to_path_buf(), limit: LOCK_LIMIT });
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
        }
    }
}

/// Releases a lock. Closing the file is not enough, because a child process that another thread is starting can hold
/// it, too.
fn unlock(file: &File) {
    if let Err(error) = file.unlock() {
        log::warn!("could not release a lock of the private PostgreSQL: {}", system_text(&error));
    }
}

/// Options that follow no link, and do not block at a FIFO.
pub(crate) fn own_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(O_NOFOLLOW | O_NONBLOCK);
    options
}

/// Creates a directory that only `account` can enter. An existing one must be a directory that belongs to the account.
pub(crate) fn make_private_directory(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error).at("create the directory", path),
    };
    let planted = |_| EmbeddedError::Planted { path: path.to_path_buf() };
    let flags = O_NOFOLLOW | O_DIRECTORY;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(planted)?;
    let metadata = directory.metadata().at("inspect", path)?;
    match (account.owns(&metadata), made) {
        (true, _) => Ok(()),
        (false, true) => account.own_new_directory(&directory, path),
        (false, false) => Err(EmbeddedError::Planted { path: path.to_path_buf() }),
    }
}

/// Returns the account for the server of `dir`. For root, links on the path that belong to other users are rejected.
fn account(dir: &Path) -> Result<Account, EmbeddedError> {
    let account = Account::for_paths(&[&dir.join("data"), dir])?;
    for path in dir.ancestors() {
        let Ok(found) = fs::symlink_metadata(path) else { continue };
        let trusted = [0, geteuid().as_raw()];
        if found.is_symlink() && !trusted.contains(&found.uid()) && geteuid().is_root() {
            return Err(EmbeddedError::Planted { path: path.to_path_buf() });
        }
    }
    Ok(account)
}

/// Creates a private directory that is never visible with the wrong owner. Otherwise, another loader could see it in
/// between, and a crash in between would lock the account out permanently.
fn make_at_once(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let new = path.with_file_name(format!(".aegis-kills-{}", Uuid::new_v4()));
    make_private_directory(&new, account).map_err(|error| match error {
        // The user knows only the final name.
        EmbeddedError::Io { action, source, .. } => {
            EmbeddedError::Io { action, path: path.to_owned(), source }
        }
        other => other,
    })?;
    match fs::rename(&new, path) {
        // Another process created it first.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) =>
        {
            fs::remove_dir(&new).at("remove", &new)
        }
        result => result.at("create the directory", path),
    }
}

pub(crate) fn remove_file(path: &Path) -> Result<(), EmbeddedError> {
    if_exists(fs::remove_file(path)).at("remove", path).map(drop)
}

/// Nothing if the file does not exist.
pub(crate) fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Returns `dir` as an absolute path that PostgreSQL's programs accept.
fn checked(dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let dir = std::path::absolute(dir).at("resolve", dir)?;
    if dir.as_os_str().as_bytes().iter().any(u8::is_ascii_control) {
        return Err(EmbeddedError::Path { dir });
    }
    Ok(dir)
}
