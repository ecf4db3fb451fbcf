//! Names as links to the ids of their owners.
//!
//! Everybody may make a link where none is: symlink(2) lets only one win.
//! Links are removed, and instances renamed, only by who holds the lock of
//! the directory, so that what it has read of a link stays true meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use cove_model::instance::InstanceId;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The directory of the links.
#[derive(Debug, Clone)]
pub(crate) struct Links(pub(crate) PathBuf);

/// The right to remove links. It ends with its process at the latest.
#[derive(Debug)]
pub(crate) struct Guard {
    links: Links,
    _lock: File,
}

impl Links {
    /// Makes the link in one step; `false`: there is one of this name.
    pub(crate) fn make(&self, name: &str, id: &InstanceId) -> Result<bool> {
        let path = self.0.join(name);
        match symlink(id.as_str(), &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(Error::Name { path, source }),
        }
    }

    /// Whom a name links to: `None` when there is no such link, `Some(None)`
    /// when it leads to nobody. Only a link that was seen may be removed: in the
    /// place of none, somebody may make one at any moment.
    pub(crate) fn owner(&self, name: &str) -> Result<Option<Option<InstanceId>>> {
        let path = self.0.join(name);
        match fs::read_link(&path) {
            Ok(target) => Ok(Some(target.to_str().and_then(|text| text.parse().ok()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Name { path, source }),
        }
    }

    /// All links, whether or not they are somebody's.
    pub(crate) fn all(&self) -> Result<Vec<String>> {
        let fail = |source| Error::Directory {
            path: self.0.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(fail)? {
            names.extend(entry.map_err(fail)?.file_name().into_string());
        }
        Ok(names)
    }

    /// Waits until nobody else removes links.
    pub(crate) fn lock(&self) -> Result<Guard> {
        self.locked(FlockOperation::LockExclusive)
            .map_err(|source| Error::Lock {
                path: self.0.clone(),
                source: source.into(),
            })
    }

    /// As [`Self::lock`]; `None` where one would have to wait.
    pub(crate) fn try_lock(&self) -> Result<Option<Guard>> {
        match self.locked(FlockOperation::NonBlockingLockExclusive) {
            Ok(guard) => Ok(Some(guard)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(source) => Err(Error::Lock {
                path: self.0.clone(),
                source: source.into(),
            }),
        }
    }

    fn locked(&self, operation: FlockOperation) -> Result<Guard, Errno> {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&self.0, flags, Mode::empty())?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, operation))?;
        Ok(Guard {
            links: self.clone(),
            _lock: lock.into(),
        })
    }

    /// Makes the links survive a power cut.
    pub(crate) fn sync(&self) -> Result<()> {
        File::open(&self.0)
            .and_then(|file| file.sync_all())
            .map_err(|source| Error::Directory {
                path: self.0.clone(),
                source,
            })
    }
}

impl Guard {
    /// Removes a link, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.links.0.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Name {
                path,
                source: error,
            }),
            _ => Ok(()),
        }
    }
}
