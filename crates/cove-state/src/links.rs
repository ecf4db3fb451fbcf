//! Claims as links to the ids of their owners, one directory for each sort of value.
//!
//! Everybody may make a link where none is: symlink(2) lets only one win, and
//! leaves no content that a power cut could tear. A link is its owner's while
//! the caller's `holds` says so; any other one was left by a crash. Links are
//! removed only by who holds the lock of the directory, so that what it has
//! read of a link stays true meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::directory;
use crate::error::{Error, Result};

/// The directory of the links.
#[derive(Debug, Clone)]
pub(crate) struct Links(PathBuf);

/// The right to remove links. It ends with its process at the latest.
#[derive(Debug)]
pub(crate) struct Guard {
    links: Links,
    _lock: File,
}

impl Links {
    /// Opens a directory of links, making it if needed.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        directory::make(&path)?;
        Ok(Self(path))
    }

    /// Makes the link of a value, also in the place of one that is nobody's.
    /// `Some`: it is that owner's.
    pub(crate) fn claim<I: AsRef<str> + FromStr>(
        &self,
        value: &str,
        id: &I,
        holds: impl Fn(&I) -> Result<bool>,
    ) -> Result<Option<I>> {
        if self.make(value, id)? {
            return Ok(None);
        }
        self.lock()?.take_over(value, id, holds)
    }

    /// Makes the link in one step; `false`: there is one of this value.
    fn make<I: AsRef<str>>(&self, value: &str, id: &I) -> Result<bool> {
        let path = self.0.join(value);
        match symlink(id.as_ref(), &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(Error::Link { path, source }),
        }
    }

    /// Whom a value links to: `None` when there is no such link, `Some(None)`
    /// when it leads to nobody. Only a link that was seen may be removed: in the
    /// place of none, somebody may make one at any moment.
    pub(crate) fn owner<I: FromStr>(&self, value: &str) -> Result<Option<Option<I>>> {
        let path = self.0.join(value);
        match fs::read_link(&path) {
            Ok(target) => Ok(Some(target.to_str().and_then(|text| text.parse().ok()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Link { path, source }),
        }
    }

    /// All values with a link, whether or not it is somebody's.
    pub(crate) fn all(&self) -> Result<Vec<String>> {
        directory::names(&self.0)
    }

    /// All links by whom they lead to.
    pub(crate) fn by_owner<I: FromStr + Ord>(
        &self,
        values: Vec<String>,
    ) -> Result<BTreeMap<Option<I>, Vec<String>>> {
        let mut of: BTreeMap<Option<I>, Vec<String>> = BTreeMap::new();
        for value in values {
            let owner = self.owner(&value)?.flatten();
            of.entry(owner).or_default().push(value);
        }
        Ok(of)
    }

    /// Waits until nobody else removes links.
    pub(crate) fn lock(&self) -> Result<Guard> {
        let lock = directory::lock(&self.0, FlockOperation::LockExclusive);
        lock.map(|lock| self.guard(lock))
            .map_err(self.cannot_lock())
    }

    /// As [`Self::lock`]; `None` where one would have to wait.
    pub(crate) fn try_lock(&self) -> Result<Option<Guard>> {
        match directory::lock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            other => other
                .map(|lock| Some(self.guard(lock)))
                .map_err(self.cannot_lock()),
        }
    }

    fn guard(&self, lock: File) -> Guard {
        Guard {
            links: self.clone(),
            _lock: lock,
        }
    }

    fn cannot_lock(&self) -> impl Fn(Errno) -> Error {
        |errno| Error::Lock {
            path: self.0.clone(),
            source: errno.into(),
        }
    }

    /// Makes the links survive a power cut.
    pub(crate) fn sync(&self) -> Result<()> {
        directory::sync(&self.0)
    }
}

impl Guard {
    /// As [`Links::claim`], by who holds the lock already.
    pub(crate) fn take_over<I: AsRef<str> + FromStr>(
        &self,
        value: &str,
        id: &I,
        holds: impl Fn(&I) -> Result<bool>,
    ) -> Result<Option<I>> {
        loop {
            match self.links.owner(value)? {
                Some(Some(owner)) if holds(&owner)? => return Ok(Some(owner)),
                Some(_) => self.remove(value)?,
                None => {}
            }
            if self.links.make(value, id)? {
                return Ok(None);
            }
        }
    }

    /// Removes a link unless it is somebody's.
    pub(crate) fn release<I: FromStr>(
        &self,
        value: &str,
        holds: impl Fn(&I) -> Result<bool>,
    ) -> Result<()> {
        match self.links.owner(value)? {
            Some(Some(owner)) if holds(&owner)? => Ok(()),
            Some(_) => self.remove(value),
            None => Ok(()),
        }
    }

    fn remove(&self, value: &str) -> Result<()> {
        let path = self.links.0.join(value);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Link {
                path,
                source: error,
            }),
            _ => Ok(()),
        }
    }
}
