//! Extended attributes: which are kept, under which names, and overlayfs's own.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Where overlayfs keeps its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    Trusted,
    User,
}

const TRUSTED: &[u8] = b"trusted.overlay.";
const USER: &[u8] = b"user.overlay.";
/// The longest value that the kernel takes.
const VALUE_LIMIT: usize = 64 << 10;

impl Namespace {
    pub(crate) const fn new(user: bool) -> Self {
        if user { Self::User } else { Self::Trusted }
    }

    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Trusted => TRUSTED,
            Self::User => USER,
        }
    }

    /// Marks a directory as hiding what lower layers have in it.
    pub(crate) fn set_opaque(self, fd: impl AsFd) -> rustix::io::Result<()> {
        let name = [self.prefix(), b"opaque"].concat();
        rustix::fs::fsetxattr(fd, name.as_slice(), b"y", XattrFlags::empty())
    }

    /// Whether a directory hides what lower layers have in it.
    pub(crate) fn is_opaque(self, fd: impl AsFd) -> rustix::io::Result<bool> {
        let name = [self.prefix(), b"opaque"].concat();
        let mut value = [0_u8; 8];
        match rustix::fs::fgetxattr(fd, name.as_slice(), &mut value[..]) {
            Ok(length) => Ok(&value[..length] == b"y"),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// The name under which an archive's attribute is stored, `None` for what
/// belongs to the host (labels of its security modules).
///
/// Overlayfs's own attributes would let an image redirect lookups: they are
/// stored escaped, which the overlay shows to the container as they were.
pub(crate) fn stored_name(name: &[u8]) -> Option<Vec<u8>> {
    for prefix in [TRUSTED, USER] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return Some([prefix, b"overlay.", rest].concat());
        }
    }
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => {
            Some(name.to_vec())
        }
        _ if name.starts_with(b"user.") || name.starts_with(b"trusted.") => Some(name.to_vec()),
        _ => None,
    }
}

/// The name under which a stored attribute is archived again.
pub(crate) fn archived_name(name: &[u8]) -> Option<Vec<u8>> {
    for prefix in [TRUSTED, USER] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return rest
                .strip_prefix(b"overlay.")
                .map(|rest| [prefix, rest].concat());
        }
    }
    stored_name(name)
}

pub(crate) fn set(fd: impl AsFd, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())
}

/// On a name in `parent` that cannot be opened, without following it.
pub(crate) fn set_named(
    parent: impl AsFd,
    child: &[u8],
    name: &[u8],
    value: &[u8],
) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(beneath(parent, child), name, value, XattrFlags::empty())
}

/// Every attribute of the name `child` in `parent`, sorted, as archived.
pub(crate) fn all_archived(parent: impl AsFd, child: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = beneath(parent, child);
    let names = match grown(|buffer| rustix::fs::llistxattr(&path, buffer)) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = Vec::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let Some(archived) = archived_name(name) else {
            continue;
        };
        match grown(|buffer| rustix::fs::lgetxattr(&path, name, buffer)) {
            Ok(value) => all.push((archived, value)),
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    all.sort();
    Ok(all)
}

/// Descriptors of our own are the one magic link that is followed on purpose.
fn beneath(parent: impl AsFd, child: &[u8]) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_fd().as_raw_fd()));
    if !child.is_empty() {
        path.push(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(child));
    } else {
        path.push(".");
    }
    path
}

fn grown(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < VALUE_LIMIT => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay_attributes_of_an_image_are_escaped_and_come_back() {
        let name = b"trusted.overlay.redirect";
        let stored = stored_name(name).unwrap();
        assert_eq!(stored, b"trusted.overlay.overlay.redirect");
        assert_eq!(archived_name(&stored).unwrap(), name);
        assert_eq!(archived_name(b"trusted.overlay.opaque"), None);
        assert_eq!(stored_name(b"security.selinux"), None);
        assert_eq!(stored_name(b"user.x").unwrap(), b"user.x");
    }
}
