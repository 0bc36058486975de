//! Permissions of users other than the owner, according to a file's mode.

use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// Whether any user except the owner has one of the permissions in `mask`, such as `0o222` for writing. The owner's private
/// group, which most systems create for each user, does not count.
pub(crate) fn others_may(file: &Metadata, mask: u32) -> bool {
    let open = file.mode() & mask;
    open & 0o007 != 0 || open & 0o070 != 0 && !is_private_group(file.uid(), file.gid())
}

/// Whether another user owns the file and is not root. Only root can read another user's private file, so this matters for
/// root alone.
pub(crate) fn is_of_another(file: &Metadata) -> bool {
    ![0, geteuid().as_raw()].contains(&file.uid())
}

fn is_private_group(uid: u32, gid: u32) -> bool {
    // A group-writable file of root was made so on purpose.
    if uid == 0 {
        return false;
    }
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    user.zip(group).is_some_and(|(user, group)| {
        user.gid.as_raw() == gid
            && user.name == group.name
            && group.mem.iter().all(|member| *member == user.name)
    })
}
