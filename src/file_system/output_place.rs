//! Protects output files: the program does not write to anything that another user could have planted.
//!
//! In a directory that others can write (`/tmp`) or own, a link, pipe or file can belong to another user, who wants to read
//! the output or to overwrite something else. A file of ours can have got a hard link there. Linux prevents a part of
//! this if `fs.protected_symlinks`, `fs.protected_fifos` and `fs.protected_regular` are set.
//!
//! Invariant: every link on the way is checked, also one that a link of ours leads to.

use crate::file_system::permissions::others_may;
use nix::libc::{ELOOP, O_NOFOLLOW};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{self, Component, Path, PathBuf};

/// The maximum number of links on the way to a file, as in Linux.
const LINKS_MAX: usize = 40;

/// The checked place of an output file, which may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputPlace {
    /// The path without links.
    pub path: PathBuf,
    /// Whether it is a descriptor of a process, such as `/proc/self/fd/2`. That is a link which only the system can follow.
    is_descriptor: bool,
}

impl OutputPlace {
    /// Follows all links of a path. Returns an error if another user could have planted one of them, or the file itself. A
    /// missing file is fine, a missing directory is not.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        // The path whose steps are not resolved yet.
        let mut pending = path::absolute(path)?;
        let mut place = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = pending.components().next() {
            let mut rest = pending.components();
            rest.next();
            let rest = rest.as_path().to_owned();
            let is_last = rest.as_os_str().is_empty();
            match step {
                Component::RootDir => place = PathBuf::from("/"),
                Component::ParentDir => {
                    place.pop();
                }
                Component::CurDir | Component::Prefix(_) => {}
                Component::Normal(name) => {
                    let next = place.join(name);
                    let found = match next.symlink_metadata() {
                        Ok(found) => found,
                        Err(error) if error.kind() == io::ErrorKind::NotFound && is_last => {
                            return Ok(Self { path: next, is_descriptor: false });
                        }
                        Err(error) => return Err(error),
                    };
                    if found.is_symlink() {
                        refuse(&next, &found)?;
                        links += 1;
                        if links > LINKS_MAX {
                            return Err(io::Error::from_raw_os_error(ELOOP));
                        }
                        if is_descriptor(&next) && is_last {
                            return Ok(Self { path: next, is_descriptor: true });
                        }
                        pending = fs::read_link(&next)?.join(rest);
                        continue;
                    }
                    if is_last {
                        refuse(&next, &found)?;
                    }
                    place = next;
                }
            }
            pending = rest;
        }
        Ok(Self { path: place, is_descriptor: false })
    }

    /// The metadata of the file. A link that appeared after the check is not followed.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        if self.is_descriptor { self.path.metadata() } else { self.path.symlink_metadata() }
    }

    /// The flags to open the file with. A link that appeared after the check is not followed.
    pub(crate) fn open_flags(&self) -> i32 {
        if self.is_descriptor { 0 } else { O_NOFOLLOW }
    }

    /// Returns an error if the opened file is not acceptable here. It may have been replaced since the check.
    pub(crate) fn check_opened(&self, file: &File) -> io::Result<()> {
        if self.is_descriptor { Ok(()) } else { refuse(&self.path, &file.metadata()?) }
    }
}

/// Whether a link is a descriptor of a process in Linux. Its text need not be a path, as in `pipe:[1234]`.
fn is_descriptor(link: &Path) -> bool {
    link.starts_with("/proc") && link.parent().is_some_and(|parent| parent.ends_with("fd"))
}

/// Checks one path component, without the way to it.
fn refuse(path: &Path, found: &Metadata) -> io::Result<()> {
    let directory = fs::metadata(directory(path))?;
    let ours = [nix::unistd::geteuid().as_raw(), 0];
    let is_foreign = !ours.contains(&directory.uid());
    if found.is_dir() || !is_foreign && !others_may(&directory, 0o222) {
        return Ok(());
    }
    let whose = if is_foreign { "of another user" } else { "that others can write" };
    let kind = found.file_type();
    let (what, may_be_the_owners) = match () {
        () if kind.is_symlink() => ("link", false),
        () if kind.is_file() => ("file", true),
        // Its creator receives everything that is written.
        () => ("pipe or device", false),
    };
    let is_trusted = ours.contains(&found.uid()) || may_be_the_owners && found.uid() == directory.uid();
    let cause = if !is_trusted {
        format!("it leads to a {what} of another user (id {}) in a directory {whose}", found.uid())
    } else if (found.is_file() || found.is_symlink()) && found.nlink() > 1 {
        // A user who can write the directory can hard-link a file of ours there.
        format!("the {what} has a second name (hard link), in a directory {whose}")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, cause))
}

pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_as_the_system_does() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/file"), "").unwrap();
        for (target, link) in [
            ("a/b", "down"),
            ("../file", "a/b/up"),
            ("down/up", "two"),
            ("a/new", "dangling"),
            ("none/new", "lost"),
            ("loop", "loop"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        symlink(at("two"), at("absolute")).unwrap();
        for (path, expected) in [
            ("a/file", "a/file"),
            ("down/up", "a/file"),
            ("two", "a/file"),
            ("absolute", "a/file"),
            ("down/../file", "a/file"),
            ("dangling", "a/new"),
            ("a/./b/new", "a/b/new"),
        ] {
            let place = OutputPlace::of(&at(path)).unwrap();
            assert_eq!(place, OutputPlace { path: at(expected), is_descriptor: false }, "{path}");
        }
        assert_eq!(OutputPlace::of(&at("lost")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(OutputPlace::of(&at("loop")).unwrap_err().raw_os_error(), Some(ELOOP));
    }

    #[test]
    fn the_number_of_links_is_bounded() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |number: usize| scratch.path().join(format!("link-{number}"));
        fs::write(at(0), "").unwrap();
        for number in 1..=LINKS_MAX + 1 {
            symlink(at(number - 1), at(number)).unwrap();
        }
        assert_eq!(OutputPlace::of(&at(LINKS_MAX + 1)).unwrap_err().raw_os_error(), Some(ELOOP));
        // The temporary directory itself may be behind links.
        assert!(OutputPlace::of(&at(LINKS_MAX - 10)).unwrap().path.ends_with("link-0"));
    }

    #[test]
    fn descriptors_are_left_to_the_system() {
        if !Path::new("/proc/self/fd/2").is_symlink() {
            return;
        }
        for path in ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"] {
            // A container may lack the links in /dev.
            if !Path::new(path).is_symlink() {
                continue;
            }
            let place = OutputPlace::of(Path::new(path)).unwrap();
            assert!(place.is_descriptor && place.open_flags() == 0, "{place:?}");
        }
    }
}
