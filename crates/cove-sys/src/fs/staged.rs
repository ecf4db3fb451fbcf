//! Files that are written before anybody can see them, and then take the place of another.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::stage_at;

/// A file that is to have a name of a directory once it is whole.
///
/// Until then it has none at all, and the kernel takes it away whatever ends the process.
/// Where the file system has no files without a name, it has the one of staging
/// meanwhile, which a kill leaves behind.
#[derive(Debug)]
pub struct Staged<'a> {
    dir: BorrowedFd<'a>,
    /// The name of staging.
    staged: &'a str,
    file: File,
    /// Whether there is something of that name to be removed.
    is_named: bool,
}

impl<'a> Staged<'a> {
    /// Makes a file in `dir`, for its owner only. The name `staged` is the caller's alone.
    ///
    /// # Errors
    /// What open(2) and unlink(2) say.
    pub fn new(dir: BorrowedFd<'a>, staged: &'a str) -> io::Result<Self> {
        // What else is wrong with the directory, the second way says as well.
        Self::unnamed(dir, staged).or_else(|_| Self::named(dir, staged))
    }

    fn unnamed(dir: BorrowedFd<'a>, staged: &'a str) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = openat(dir, ".", flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self {
            dir,
            staged,
            file: file.into(),
            is_named: false,
        })
    }

    fn named(dir: BorrowedFd<'a>, staged: &'a str) -> io::Result<Self> {
        Ok(Self {
            dir,
            staged,
            file: stage_at(dir, staged)?,
            is_named: true,
        })
    }

    /// The file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file `name`, in one step: readers see the old bytes or the new ones.
    /// For what need not survive a power cut.
    ///
    /// # Errors
    /// What link(2), unlink(2) and rename(2) say; what had the name has it still.
    pub fn publish(mut self, name: &OsStr) -> io::Result<()> {
        if !self.is_named {
            match self.link(name) {
                Err(Errno::EXIST) => self.link_staged()?,
                other => return Ok(other?),
            }
        }
        renameat(self.dir, self.staged, self.dir, name)?;
        self.is_named = false;
        Ok(())
    }

    /// A link takes no other's place: only what has a name already can do so. A kill
    /// leaves that name behind between this call and the next.
    fn link_staged(&mut self) -> io::Result<()> {
        let staged = OsStr::new(self.staged);
        match self.link(staged) {
            Err(Errno::EXIST) => {
                // It is what such a kill left.
                unlinkat(self.dir, self.staged, AtFlags::empty())?;
                self.link(staged)?;
            }
            other => other?,
        }
        self.is_named = true;
        Ok(())
    }

    fn link(&self, name: &OsStr) -> Result<(), Errno> {
        let own = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
        linkat(CWD, own, self.dir, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if self.is_named {
            // Whoever drops it tells another failure; this file is only litter.
            unlinkat(self.dir, self.staged, AtFlags::empty()).unwrap_or(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    type Make = for<'a> fn(BorrowedFd<'a>, &'a str) -> io::Result<Staged<'a>>;

    /// Both ways, and how many names a file has before it is published.
    const WAYS: [(Make, usize); 2] = [
        (|dir, name| Staged::unnamed(dir, name), 0),
        (|dir, name| Staged::named(dir, name), 1),
    ];

    #[test]
    fn it_takes_the_place_of_nothing_and_of_another() {
        for (make, names) in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let count = || fs::read_dir(dir.path()).unwrap().count();
            let at = File::open(dir.path()).unwrap();
            for (before, content) in [(0, "first"), (1, "second")] {
                let mut staged = make(at.as_fd(), "staged").unwrap();
                staged.file().write_all(content.as_bytes()).unwrap();
                assert_eq!(count(), before + names);
                staged.publish(OsStr::new("name")).unwrap();
                assert_eq!(count(), 1);
                let path = dir.path().join("name");
                let mode = path.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o600);
                assert_eq!(super::super::read(&path, 100).unwrap(), content.as_bytes());
            }
        }
    }

    #[test]
    fn what_a_kill_left_is_in_nobodys_way() {
        for (make, _) in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let at = File::open(dir.path()).unwrap();
            fs::write(dir.path().join("name"), "old").unwrap();
            fs::write(dir.path().join("staged"), "left").unwrap();
            let staged = make(at.as_fd(), "staged").unwrap();
            staged.publish(OsStr::new("name")).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            assert_eq!(fs::metadata(dir.path().join("name")).unwrap().len(), 0);
        }
    }

    #[test]
    fn nothing_is_left_of_one_that_is_not_published() {
        for (make, _) in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let at = File::open(dir.path()).unwrap();
            drop(make(at.as_fd(), "staged").unwrap());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
            fs::create_dir(dir.path().join("name")).unwrap();
            let staged = make(at.as_fd(), "staged").unwrap();
            staged.publish(OsStr::new("name")).unwrap_err();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }
}
