//! What users other than the owner may do with a file, as far as its mode says.

use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// Whether any user but the owner has one of the permissions in `mask`, such as `0o222` for writing. A group that is the
/// owner's own, as most systems make one for each user, is not other users.
pub(crate) fn others_may(file: &Metadata, mask: u32) -> bool {
    let open = file.mode() & mask;
    open & 0o007 != 0 || open & 0o070 != 0 && !is_private_group(file.uid(), file.gid())
}

/// Whether a file is another user's, who could have written it, and is not root. Who is not root can't read another user's
/// secret, so that it concerns root alone.
pub(crate) fn is_of_another(file: &Metadata) -> bool {
    ![0, geteuid().as_raw()].contains(&file.uid())
}

fn is_private_group(uid: u32, gid: u32) -> bool {
    // Root's files are group-writable only where someone has made them so.
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
