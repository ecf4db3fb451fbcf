//! One resource that nobody else changes meanwhile: changed, renamed and removed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cove_model::Resource;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::collection::{Collection, check_name, not_found, refuse_taken};
use crate::directory;
use crate::error::{Error, Result};
use crate::record::{self, Document};

/// The right to change one record, and what goes with it, as long as this is
/// kept. Who has it may wait for the names; who has those waits for no record.
#[derive(Debug)]
pub struct Locked<'a, R: Resource> {
    collection: &'a Collection<R>,
    id: R::Id,
    directory: File,
}

impl<R: Resource> Collection<R> {
    /// Waits until nobody else changes, renames or removes this one.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone, or when the file system refuses.
    pub fn lock(&self, id: &R::Id) -> Result<Locked<'_, R>> {
        let path = self.directory(id);
        let fail = |source| Error::Lock {
            path: path.clone(),
            source,
        };
        match directory::lock(&path, FlockOperation::LockExclusive) {
            Ok(directory) if directory::is_named(&path, &directory).map_err(fail)? => Ok(Locked {
                collection: self,
                id: id.clone(),
                directory,
            }),
            // It was removed, perhaps while we waited.
            Ok(_) | Err(Errno::NOENT) => Err(not_found::<R>(id.as_ref())),
            Err(errno) => Err(fail(errno.into())),
        }
    }

    /// Gives one another name: it gets the link of the new name, then the
    /// record, then loses the old link.
    ///
    /// # Errors
    /// [`Error::NameInUse`] when it is taken, or when the file system refuses.
    pub fn rename(&self, id: &R::Id, name: &str) -> Result<()> {
        check_name::<R>(name)?;
        let locked = self.lock(id)?;
        let mut document = locked.document()?;
        let guard = self.names.lock()?;
        let taken = guard.take_over(name, id, |owner| self.carries(owner, name))?;
        refuse_taken::<R>(name, taken)?;
        let old = document.record.name().to_owned();
        document.record.set_name(name.to_owned());
        let synced = if document.record.is_transient() {
            Ok(())
        } else {
            self.names.sync()
        };
        let written = synced.and_then(|()| document.write(&locked.path()));
        // A write that failed may have happened: of both names the other one goes.
        let released = [name, &old].map(|name| self.release_name(&guard, name));
        written.and(released.into_iter().collect())
    }

    /// Forgets one in one step; its directory is moved to `trash`, whose
    /// content the caller deletes.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, or when the file system refuses.
    pub fn remove(&self, id: &R::Id, trash: &Path) -> Result<()> {
        let locked = self.lock(id)?;
        let guard = self.names.lock()?;
        let name = record::name(&locked.path());
        let directory = self.directory(id);
        fs::rename(&directory, trash).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => not_found::<R>(id.as_ref()),
            _ => Error::Directory {
                path: directory,
                source,
            },
        })?;
        match name {
            Ok(Some(name)) => self.release_name(&guard, &name),
            // It does not say which name it had.
            Ok(None) | Err(_) => {
                let mut links = self.names.by_owner(self.names.all()?)?;
                let left = links.remove(&Some(id.clone())).unwrap_or_default();
                left.iter()
                    .try_for_each(|name| self.release_name(&guard, name))
            }
        }
    }
}

impl<R: Resource> Locked<'_, R> {
    /// The record as it is, and stays while this is kept.
    ///
    /// # Errors
    /// When it is gone or cannot be read.
    pub fn get(&self) -> Result<R> {
        self.collection.get(&self.id)
    }

    /// Changes the record; its name stays, and so do fields that this program
    /// does not know.
    ///
    /// # Errors
    /// When it is gone, cannot be read, or the file system refuses.
    pub fn change(&self, change: impl FnOnce(&mut R)) -> Result<()> {
        let mut document = self.document()?;
        let name = document.record.name().to_owned();
        change(&mut document.record);
        document.record.set_name(name);
        document.write(&self.path())
    }

    fn document(&self) -> Result<Document<R>> {
        let document = Document::read(&self.path())?;
        document.ok_or_else(|| not_found::<R>(self.id.as_ref()))
    }

    fn path(&self) -> PathBuf {
        self.collection.record_path(&self.id)
    }
}

impl<R: Resource> Drop for Locked<'_, R> {
    fn drop(&mut self) {
        // Closing is not enough: a process that was born meanwhile has the descriptor, too.
        // To unlock what is open cannot fail.
        flock(&self.directory, FlockOperation::Unlock).unwrap_or(());
    }
}
