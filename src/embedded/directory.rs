//! The directory of a private PostgreSQL: what is in it, who may use it, and its locks.
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
//! - DIR is an absolute path without links, so that all users of one directory agree on its name.
//! - A directory that holds anything, and not our lock, is never written to.
//! - Root works in here as the server's account, so that no link of that account's leads further than the account could go.
//!   What is opened to be written is checked by its descriptor.

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

const START_LOCK: &str = "aegis-kills.lock";

/// How long somebody else may take to make, start or stop the server.
const LOCK_LIMIT: Duration = Duration::from_mins(16);

/// A directory that holds, or is to hold, a private PostgreSQL.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    dir: PathBuf,
    account: Account,
    /// What was made for it, the outermost first.
    made: Vec<PathBuf>,
}

/// The right to make, start or stop the server; one process or thread has it at a time.
#[derive(Debug)]
pub(crate) struct StartLock(File);

/// A share in the server.
#[derive(Debug)]
pub(crate) struct Lease(File);

/// Whether anybody has a share in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    None,
    Some,
}

impl Directory {
    /// The directory at `dir`, made if it is missing.
    pub(crate) fn make(dir: &Path) -> Result<Self, EmbeddedError> {
        let dir = checked(dir)?;
        let account = account(&dir)?;
        let mut made = Vec::new();
        if !dir.exists() {
            made =
                dir.ancestors().take_while(|directory| !directory.exists()).map(Path::to_path_buf).collect();
            made.reverse();
            if let Some(parent) = dir.parent() {
                fs::create_dir_all(parent).at("make the directory", parent)?;
            }
            make_at_once(&dir, &account)?;
        }
        let directory = Self { dir: fs::canonicalize(&dir).at("find", &dir)?, account, made };
        let checked = directory.check_ours().and_then(|()| directory.account.check_entry(&directory.dir));
        match checked.and_then(|()| directory.check_owner()) {
            Ok(()) => Ok(directory),
            Err(error) => {
                directory.take_away();
                Err(error)
            }
        }
    }

    /// Removes what [`make`](Self::make) has made, as far as it holds nothing but the locks.
    pub(crate) fn take_away(&self) {
        if self.made.is_empty() {
            return;
        }
        let acting = self.account.act();
        let locks = [self.start_lock_path(), self.lease_path()];
        let is_lock = |entry: fs::DirEntry| locks.contains(&entry.path());
        // Where the account can't get to, it has made nothing.
        if fs::read_dir(&self.dir).is_ok_and(|entries| !entries.flatten().all(is_lock)) {
            return;
        }
        for path in locks.iter().filter(|path| path.exists()) {
            let _ = fs::remove_file(path);
        }
        drop(acting);
        // What has got something else in it stays.
        for directory in self.made.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }

    /// Whether there is, or seems to be, a cluster.
    pub(crate) fn has_data(dir: &Path) -> bool {
        dir.join("data").exists()
    }

    /// The directory at `dir` if there is one and it is ours; nothing is made.
    pub(crate) fn existing(dir: &Path) -> Result<Option<Self>, EmbeddedError> {
        let dir = checked(dir)?;
        if !dir.try_exists().at("look at", &dir)? {
            return Ok(None);
        }
        let dir = fs::canonicalize(&dir).at("find", &dir)?;
        let account = account(&dir)?;
        let directory = Self { dir, account, made: Vec::new() };
        directory.check_ours()?;
        Ok(directory.start_lock_path().exists().then_some(directory))
    }

    /// The directory itself, without links.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who the server runs as.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where a cluster is made, to become `data` when it is whole.
    pub(crate) fn data_new(&self) -> PathBuf {
        self.dir.join("data.new")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Waits for the right to make, start or stop the server.
    pub(crate) fn lock_start(&self) -> Result<StartLock, EmbeddedError> {
        let path = self.start_lock_path();
        let file = self.open_lock(&path)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(StartLock(file)),
                // Whoever has it starts or stops the server, and each of these has a limit.
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_LIMIT => thread::sleep(POLL_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(EmbeddedError::Locked { path, limit: LOCK_LIMIT });
                }
                Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
            }
        }
    }

    /// Takes a share in the server. Who asks holds the start lock, so that no [`Directory::users`] is under way.
    pub(crate) fn take_lease(&self, _start: &StartLock) -> Result<Lease, EmbeddedError> {
        let path = self.lease_path();
        let file = self.open_lock(&path)?;
        file.lock_shared().at("lock", &path)?;
        Ok(Lease(file))
    }

    /// Whether anybody has a share in the server. A user that was killed has none: the system takes its lock away.
    pub(crate) fn users(&self, _start: &StartLock) -> Result<Users, EmbeddedError> {
        let path = self.lease_path();
        match self.open_lock(&path)?.try_lock() {
            Ok(()) => Ok(Users::None),
            Err(TryLockError::WouldBlock) => Ok(Users::Some),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }

    /// Whether the server is to outlive its users.
    pub(crate) fn kept(&self) -> bool {
        self.kept_path().exists()
    }

    /// Notes that the server is to outlive its users.
    pub(crate) fn keep(&self, _start: &StartLock) -> Result<(), EmbeddedError> {
        self.open_lock(&self.kept_path()).map(drop)
    }

    /// Forgets that the server was to outlive its users.
    pub(crate) fn keep_no_more(&self, _start: &StartLock) -> Result<(), EmbeddedError> {
        remove_file(&self.kept_path())
    }

    /// Makes the directory of the logs.
    pub(crate) fn make_log(&self) -> Result<PathBuf, EmbeddedError> {
        let log = self.log();
        make_private_directory(&log, &self.account)?;
        Ok(log)
    }

    /// Empties the log `name`, made if it is missing.
    pub(crate) fn open_log(&self, name: &str) -> Result<(File, PathBuf), EmbeddedError> {
        let path = self.make_log()?.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK);
        let file = options.open(&path).at("open", &path)?;
        self.account.own_file(&file, &path)?;
        // Not before it is known what it is.
        file.set_len(0).at("empty", &path)?;
        Ok((file, path))
    }

    /// Checks the log `name`, if it is there, which one of the server's programs opens.
    pub(crate) fn check_log(&self, name: &str) -> Result<(), EmbeddedError> {
        let path = self.make_log()?.join(name);
        let mut options = OpenOptions::new();
        match options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(&path) {
            Ok(file) => self.account.own_file(&file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("open", &path),
        }
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
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(O_NOFOLLOW | O_NONBLOCK);
        let file = options.open(path).at("open", path)?;
        self.account.own_file(&file, path)?;
        Ok(file)
    }

    /// Refuses a directory that holds something, and not our lock.
    fn check_ours(&self) -> Result<(), EmbeddedError> {
        let foreign = || EmbeddedError::Foreign { dir: self.dir.clone() };
        if !self.dir.is_dir() {
            return Err(EmbeddedError::NoDirectory { dir: self.dir.clone() });
        }
        let mut empty = true;
        for entry in fs::read_dir(&self.dir).at("read the directory", &self.dir)? {
            let name = entry.at("read the directory", &self.dir)?.file_name();
            if name == START_LOCK {
                return Ok(());
            }
            // A file system that was just made has this directory, and is as good as empty.
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
                directory: data,
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
    /// leave it to the program that is still at work in the directory.
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

/// Closing the file is not enough: a process that another thread is just starting holds it too, for a moment.
fn unlock(file: &File) {
    if let Err(error) = file.unlock() {
        log::warn!("could not release a lock of the private PostgreSQL: {error}");
    }
}

/// Makes a directory that only `account` may enter, unless it is there. What is there must be a directory of the account's.
pub(crate) fn make_private_directory(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error).at("make the directory", path),
    };
    let planted = |_| EmbeddedError::Planted { path: path.to_path_buf() };
    let flags = O_NOFOLLOW | O_DIRECTORY;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(planted)?;
    let metadata = directory.metadata().at("look at", path)?;
    match (account.owns(&metadata), made) {
        (true, _) => Ok(()),
        (false, true) => account.own_new_directory(&directory, path),
        (false, false) => Err(EmbeddedError::Planted { path: path.to_path_buf() }),
    }
}

/// Who the server of `dir` runs as. A link on the way that another user has put there is not followed.
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

/// Makes a private directory that is never seen without its owner: another loader may come at the same moment, and a crash
/// between making it and giving it away would bar the account from it for good.
fn make_at_once(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let new = path.with_file_name(format!(".aegis-kills-{}", Uuid::new_v4()));
    make_private_directory(&new, account)?;
    match fs::rename(&new, path) {
        // Somebody else was faster.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) =>
        {
            fs::remove_dir(&new).at("remove", &new)
        }
        result => result.at("make the directory", path),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<(), EmbeddedError> {
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
