//! Staging places under `root/tmp`: each is locked by its owner for as long as
//! it is in use, so that what a killed process leaves can be told and swept.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{At, Result, Step};

/// A directory under `root/tmp` that belongs to this value: removed on drop,
/// unless it was renamed elsewhere by [`Staging::persist`].
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    // The lock; opened before anything is written inside, so that syncfs on
    // it reports every write-back error since.
    fd: OwnedFd,
    kept: bool,
}

impl Staging {
    /// Makes and locks a new directory.
    pub(crate) fn new(tmp: &Path) -> Result<Self> {
        loop {
            let path = tmp.join(random_name("d"));
            rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)).at(Step::Create, &path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Some(fd) = lock_new(&path, flags)? {
                return Ok(Self {
                    path,
                    fd,
                    kept: false,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Renames the directory to `to`, which must not exist; gives it back
    /// unchanged when it does.
    pub(crate) fn persist(mut self, to: &Path) -> Result<Option<Self>> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(CWD, &self.path, CWD, to, flags) {
            Ok(()) => {
                self.kept = true;
                Ok(None)
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(Some(self)),
            Err(errno) => Err(errno).at(Step::Rename, to),
        }
    }

    /// Gives the directory the name `to`, and itself the one that had it.
    pub(crate) fn exchange(&self, to: &Path) -> Result<()> {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(CWD, &self.path, CWD, to, flags).at(Step::Rename, to)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.kept {
            // A leftover is swept by the next process; nothing to tell here.
            let _swept_later = cove_sys::fs::remove_tree(&self.path);
        }
    }
}

/// A file under `root/tmp`, locked and removed as [`Staging`] is.
#[derive(Debug)]
pub(crate) struct StagedFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl StagedFile {
    pub(crate) fn new(tmp: &Path) -> Result<Self> {
        loop {
            let path = tmp.join(random_name("f"));
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
                .at(Step::Create, &path)?;
            if try_lock(&fd, &path)? && still_there(&fd, &path)? {
                return Ok(Self {
                    path,
                    file: File::from(fd),
                    kept: false,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its final name, replacing what has it.
    pub(crate) fn persist(mut self, to: &Path, durable: bool) -> Result<()> {
        if durable {
            self.file.sync_all().at(Step::Sync, &self.path)?;
        }
        std::fs::rename(&self.path, to).at(Step::Rename, to)?;
        self.kept = true;
        if durable {
            cove_sys::fs::sync_parent(to).at(Step::Sync, to)?;
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.kept {
            let _swept_later = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes every entry of `tmp` that no living process owns; returns how many.
/// One that cannot be removed does not keep the others; its error is told.
pub(crate) fn sweep(tmp: &Path) -> Result<usize> {
    let mut swept = Ok(0);
    for entry in std::fs::read_dir(tmp).at(Step::List, tmp)? {
        let path = entry.at(Step::List, tmp)?.path();
        match (sweep_entry(&path), &mut swept) {
            (Ok(removed), Ok(count)) => *count += usize::from(removed),
            (Err(error), Ok(_)) => swept = Err(error),
            (_, Err(_)) => {}
        }
    }
    swept
}

/// False when the entry is somebody's, or gone.
fn sweep_entry(path: &Path) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno).at(Step::Open, path),
    };
    if !try_lock(&fd, path)? || !still_there(&fd, path)? {
        return Ok(false);
    }
    // The lock is ours now, so a creator that has not locked yet finds it
    // taken and makes another entry.
    remove(path)?;
    Ok(true)
}

/// Removes the file or the tree at `path`; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    cove_sys::fs::remove_tree(path).at(Step::Remove, path)
}

/// A name no other process picks: 128 random bits.
pub(crate) fn random_name(prefix: &str) -> String {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            // Every kernel that can mount what we need has getrandom; names
            // made unique by process and time keep even this case correct.
            Err(_) => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                let pid = rustix::process::getpid();
                return format!(
                    "{prefix}-{}-{}-{}",
                    pid.as_raw_nonzero(),
                    now.tv_sec,
                    now.tv_nsec
                );
            }
        }
    }
    format!("{prefix}-{:032x}", u128::from_ne_bytes(bytes))
}

/// Takes the lock of `fd` without waiting; false when another has it.
pub(crate) fn try_lock(fd: impl AsFd, path: &Path) -> Result<bool> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).at(Step::Lock, path),
    }
}

/// Takes the lock of `fd`, waiting for whoever has it.
pub(crate) fn lock(fd: impl AsFd, exclusive: bool, path: &Path) -> Result<()> {
    let operation = if exclusive {
        FlockOperation::LockExclusive
    } else {
        FlockOperation::LockShared
    };
    loop {
        match rustix::fs::flock(&fd, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at(Step::Lock, path),
        }
    }
}

/// Whether `path` still names the file that `fd` is open on.
pub(crate) fn still_there(fd: impl AsFd, path: &Path) -> Result<bool> {
    let ours = rustix::fs::fstat(fd).at(Step::Stat, path)?;
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok(named.st_ino == ours.st_ino && named.st_dev == ours.st_dev),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).at(Step::Stat, path),
    }
}

fn lock_new(path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // Swept between its making and this call.
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).at(Step::Open, path),
    };
    Ok((try_lock(&fd, path)? && still_there(&fd, path)?).then_some(fd))
}

/// A lock on a name that several processes may want to make at once, such as
/// a layer; waits for the other to finish.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _fd: OwnedFd,
}

impl Claim {
    pub(crate) fn wait(tmp: &Path, name: &str) -> Result<Self> {
        let path = tmp.join(format!("claim-{name}"));
        loop {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd =
                rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).at(Step::Open, &path)?;
            lock(&fd, true, &path)?;
            // The one before removed its file before it let the lock go.
            if still_there(&fd, &path)? {
                return Ok(Self { path, _fd: fd });
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _swept_later = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_swept_does_not_keep_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let tmp = directory.path();
        for name in ["a", "b", "c", "d"] {
            std::fs::write(tmp.join(name), "").unwrap();
            // Nobody can open a link here.
            std::os::unix::fs::symlink(name, tmp.join(format!("{name}-link"))).unwrap();
        }
        assert!(matches!(
            sweep(tmp),
            Err(crate::Error::Io {
                step: Step::Open,
                ..
            })
        ));
        for name in ["a", "b", "c", "d"] {
            assert!(!tmp.join(name).exists(), "{name} is still there");
            std::fs::remove_file(tmp.join(format!("{name}-link"))).unwrap();
        }
        assert_eq!(sweep(tmp).unwrap(), 0);
    }
}
