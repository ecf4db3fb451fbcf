//! Paths inside the container, resolved and made beneath its root.
//!
//! Every lookup is one `openat2` with `RESOLVE_IN_ROOT`: links, `..` and renames that race with it
//! cannot lead out, and what comes back is a descriptor that is never turned into a path again.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

use super::fail::{During, Step, refuse};
use crate::error::InitFault;

/// What a mount needs to find at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Directory,
    /// A directory; one that is missing is made as open as a new tmpfs, which takes over its mode:
    /// now, and when a next start finds it.
    Scratch,
    File,
}

/// How links on the way are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Followed inside the root.
    Inside,
    /// Refused.
    Refuse,
}

/// Opens a path beneath `root`; the descriptor only names the object.
pub(crate) fn locate(
    root: impl AsFd,
    path: &Path,
    links: Links,
    extra: OFlags,
) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    open(
        root.as_fd(),
        path,
        OFlags::PATH | OFlags::CLOEXEC | extra,
        Mode::empty(),
        resolve,
    )
}

/// `openat2`, again while renames elsewhere disturb it.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    // The kernel answers EAGAIN when a rename or mount ran beside a lookup that goes upwards.
    for _ in 0..1024 {
        match openat2(root, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the destination of a mount, making what is missing of it.
pub(crate) fn target(root: BorrowedFd<'_>, dest: &Path, need: Need, links: Links) -> Step<OwnedFd> {
    let found = match locate(root, dest, links, OFlags::empty()) {
        Ok(found) => found,
        Err(Errno::NOENT) => make(root, dest, need, links)?,
        Err(Errno::LOOP) if links == Links::Refuse => {
            return refuse(
                InitFault::Hostile,
                format!(
                    "mount destination {} leads over a symbolic link",
                    dest.display()
                ),
            );
        }
        Err(error) => return Err(error).during(|| open_text(dest)),
    };
    let is_dir = is_directory(&found).during(|| open_text(dest))?;
    if is_dir == (need == Need::File) {
        let word = if is_dir {
            "a directory"
        } else {
            "not a directory"
        };
        return refuse(
            InitFault::Setup,
            format!(
                "mount destination {} is {word}, unlike its source",
                dest.display()
            ),
        );
    }
    Ok(found)
}

fn open_text(dest: &Path) -> String {
    format!("open {} in the container", dest.display())
}

pub(crate) fn is_directory(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(kind(&fstat(fd)?) == FileType::Directory)
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Opens the directory above `path`, making it, and answers with the last name.
pub(crate) fn parent<'p>(
    root: BorrowedFd<'_>,
    path: &'p Path,
    links: Links,
) -> Step<(OwnedFd, &'p OsStr)> {
    let Some(name) = path.file_name() else {
        return refuse(
            InitFault::Setup,
            format!("{} has no last component", path.display()),
        );
    };
    let above = path.parent().unwrap_or(Path::new("/"));
    Ok((target(root, above, Need::Directory, links)?, name))
}

/// Makes a directory that is missing, with those above it. What else may be there is told by whoever
/// uses it.
pub(crate) fn directory(root: BorrowedFd<'_>, path: &Path) -> Step {
    match locate(root, path, Links::Inside, OFlags::empty()) {
        Err(Errno::NOENT) => make(root, path, Need::Directory, Links::Inside).map(drop),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Walks down from the root, making directories; a dangling link is followed to where it points,
/// still inside the root, as every other runtime does.
fn make(root: BorrowedFd<'_>, dest: &Path, need: Need, links: Links) -> Step<OwnedFd> {
    let mut rest: Vec<OsString> = components(dest);
    let mut done = PathBuf::from("/");
    let mut here = locate(root, Path::new("/"), links, OFlags::DIRECTORY)
        .during(|| open_text(Path::new("/")))?;
    let mut followed = 0;
    while let Some(name) = rest.pop() {
        let whole = done.join(&name);
        let text = || open_text(&whole);
        if name == ".." {
            done.pop();
            here = locate(root, &done, links, OFlags::DIRECTORY).during(text)?;
            continue;
        }
        let last = rest.is_empty();
        let path = done.join(&name);
        match locate(root, &path, links, OFlags::empty()) {
            Ok(found) => {
                here = found;
                done = path;
                continue;
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error).during(text),
        }
        let made = if last && need == Need::File {
            let kind = FileType::RegularFile;
            rustix::fs::mknodat(&here, &name, kind, Mode::from_raw_mode(0o644), 0)
        } else {
            let mode = match need {
                Need::Scratch if last => 0o1777,
                Need::Scratch | Need::Directory | Need::File => 0o755,
            };
            rustix::fs::mkdirat(&here, &name, Mode::from_raw_mode(mode))
        };
        match made {
            Ok(()) => {
                here = locate(root, &path, links, OFlags::empty()).during(text)?;
                done = path;
            }
            Err(Errno::EXIST) => {
                followed += 1;
                let link = rustix::fs::readlinkat(&here, &name, Vec::new());
                // No link: somebody else made it meanwhile, so look again.
                let again = match link {
                    Ok(link) => OsString::from_vec(link.into_bytes()),
                    Err(_) => name.clone(),
                };
                if followed > 40 {
                    return Err(Errno::LOOP).during(text);
                }
                if again.as_bytes().starts_with(b"/") {
                    done = PathBuf::from("/");
                    here = locate(root, &done, links, OFlags::DIRECTORY).during(text)?;
                }
                rest.extend(components(Path::new(&again)));
            }
            Err(error) => {
                return Err(error).during(|| format!("make {} in the container", path.display()));
            }
        }
    }
    Ok(here)
}

/// The components in reverse, ready to be popped.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, dir.path(), flags, Mode::empty()).unwrap();
        (dir, fd)
    }

    #[test]
    fn links_stay_inside_and_are_completed_inside() {
        let (dir, fd) = root();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        symlink("../../../../up", dir.path().join("climb")).unwrap();
        for dest in ["/out/made/here", "/climb/x", "/a/../b/c"] {
            target(fd.as_fd(), Path::new(dest), Need::Directory, Links::Inside).unwrap();
        }
        target(fd.as_fd(), Path::new("/f/g"), Need::File, Links::Inside).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = dir.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(inside.join("made/here").is_dir());
        assert!(dir.path().join("up/x").is_dir());
        assert!(dir.path().join("b/c").is_dir());
        assert!(dir.path().join("f/g").is_file());
    }

    #[test]
    fn refused() {
        let (dir, fd) = root();
        symlink("tmp", dir.path().join("proc")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        let fails = |dest: &str, need, links| {
            target(fd.as_fd(), Path::new(dest), need, links)
                .unwrap_err()
                .fault
        };
        assert_eq!(
            fails("/proc", Need::Directory, Links::Refuse),
            InitFault::Hostile
        );
        assert_eq!(
            fails("/loop/x", Need::Directory, Links::Inside),
            InitFault::Setup
        );
        assert_eq!(
            fails("/file", Need::Directory, Links::Inside),
            InitFault::Setup
        );
        assert_eq!(fails("/tmp", Need::File, Links::Inside), InitFault::Setup);
        assert_eq!(
            fails("/file/x", Need::File, Links::Inside),
            InitFault::Setup
        );
    }
}
