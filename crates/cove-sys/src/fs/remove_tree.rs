//! Removing a tree of any depth with few descriptors.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, open, openat2, renameat, unlinkat,
};
use rustix::io::Errno;

/// Directories that are open at once. Who filled the tree chose its depth, and
/// may have chosen more levels than a process has descriptors.
const LEVELS: usize = 32;

/// Removes a file or a whole tree, which need not be there. No link is
/// followed and no mount entered. What others remove meanwhile is gone as well.
///
/// # Errors
/// What open(2), getdents(2) and unlink(2) say; a part may be gone then. The
/// directory is not empty when others put something in meanwhile.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return gone(unlinkat(CWD, path, AtFlags::empty())),
        Err(errno) => return Err(errno.into()),
    };
    let mut removal = Removal {
        root: root.as_fd(),
        raised: 0,
    };
    loop {
        let before = removal.raised;
        removal.clear(Dir::read_from(&root)?, LEVELS)?;
        match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) if removal.raised > before => {}
            other => return gone(other),
        }
    }
}

struct Removal<'a> {
    root: BorrowedFd<'a>,
    /// Directories that were moved up to the root so far.
    raised: u64,
}

impl Removal<'_> {
    /// Removes what is in a directory, `levels` deep; what is deeper comes to
    /// lie in the root.
    fn clear(&mut self, mut directory: Dir, levels: usize) -> io::Result<()> {
        while let Some(entry) = directory.read() {
            let entry = entry?;
            let (name, at) = (entry.file_name(), directory.fd()?);
            if name == c"." || name == c".." {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                match unlinkat(at, name, AtFlags::empty()) {
                    // The listing did not say that it is a directory.
                    Err(Errno::ISDIR) => {}
                    other => {
                        gone(other)?;
                        continue;
                    }
                }
            }
            if levels == 0 {
                self.raise(at, name)?;
                continue;
            }
            let Some(child) = enter(at, name)? else {
                continue;
            };
            self.clear(Dir::new(child)?, levels - 1)?;
            match unlinkat(at, name, AtFlags::REMOVEDIR) {
                // Somebody else put something in; the root's end tells it.
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                other => gone(other)?,
            }
        }
        Ok(())
    }

    /// Moves a directory into the root, under a name that is free there.
    fn raise(&mut self, at: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        loop {
            self.raised += 1;
            match renameat(at, name, self.root, format!("raised-{}", self.raised)) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => return gone(other),
            }
        }
    }
}

fn enter(at: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(at, name, flags, Mode::empty(), resolve) {
        Ok(child) => Ok(Some(child)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// What is not there any more was removed by somebody else.
fn gone(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mkdirat, openat};
    use std::fs;

    /// Makes `depth` directories in each other, and a file in each.
    fn chain(top: &Path, depth: usize) {
        let mut at: OwnedFd = fs::File::open(top).unwrap().into();
        for _ in 0..depth {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            openat(&at, "f", flags, Mode::RUSR).unwrap();
            at = openat(&at, "d", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_goes() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        // A name that is raised may be taken.
        fs::create_dir_all(tree.join("raised-1/in")).unwrap();
        fs::write(tree.join("raised-2"), "").unwrap();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let depth = usize::try_from(limit.current.unwrap_or(0))
            .unwrap()
            .min(1 << 14);
        chain(&tree, depth + 100);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for link in [tree.join("link"), directory.path().join("link")] {
            std::os::unix::fs::symlink(&kept, &link).unwrap();
        }
        remove_tree(&tree).unwrap();
        remove_tree(&directory.path().join("link")).unwrap();
        remove_tree(&tree).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(kept.join("file").exists());
    }

    #[test]
    fn what_others_remove_at_the_same_time_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        for n in 0..2000 {
            fs::create_dir_all(tree.join(format!("{n}/d"))).unwrap();
            fs::write(tree.join(format!("{n}/f")), "").unwrap();
        }
        std::thread::scope(|scope| {
            let removals: Vec<_> = (0..4).map(|_| scope.spawn(|| remove_tree(&tree))).collect();
            for removal in removals {
                removal.join().unwrap().unwrap();
            }
        });
        assert!(!tree.exists());
    }
}
