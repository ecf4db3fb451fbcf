//! How a resource comes into being: its id and name are taken, and its record is what makes it.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use cove_model::Resource;
use rustix::fs::{FlockOperation, flock};

use crate::collection::Collection;
use crate::directory;
use crate::error::{Error, Result};
use crate::{names, record};

/// A resource whose creation is under way: its id and name are taken, its
/// directory exists, its record does not. Dropping it gives all of that back.
#[derive(Debug)]
pub struct Reservation<'a, R: Resource> {
    collection: &'a Collection<R>,
    id: R::Id,
    name: String,
    committed: bool,
    /// Locked; tells other processes that somebody is at work here.
    _creating: File,
}

impl<R: Resource> Collection<R> {
    /// Takes an id and a name. Without a name, free ones are tried at random.
    ///
    /// # Errors
    /// [`Error::NameInUse`] when another one has the name, or when the file
    /// system refuses.
    pub fn reserve(&self, id: R::Id, name: Option<&str>) -> Result<Reservation<'_, R>> {
        let lock = self.begin(&id)?;
        let mut reservation = Reservation {
            collection: self,
            id,
            name: String::new(),
            committed: false,
            _creating: lock,
        };
        reservation.name = match name {
            Some(name) => self
                .claim_name(name, &reservation.id)
                .map(|()| name.to_owned())?,
            None => self.claim_any_name(&reservation.id)?,
        };
        Ok(reservation)
    }

    /// Makes the directory of one and takes the lock in it. A sweep may find
    /// it before it is locked; then it is made once more.
    fn begin(&self, id: &R::Id) -> Result<File> {
        let directory = self.directory(id);
        let path = self.creating_path(id);
        let fail = |source| Error::Lock {
            path: path.clone(),
            source,
        };
        loop {
            fs::create_dir(&directory).map_err(|source| Error::Directory {
                path: directory.clone(),
                source,
            })?;
            let file = match File::create(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.discard(id);
                    return Err(fail(error));
                }
            };
            // Who has it is sweeping, and lets it go when all is gone.
            rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
                .map_err(|errno| fail(errno.into()))?;
            if directory::is_named(&path, &file).map_err(fail)? {
                return Ok(file);
            }
        }
    }

    fn claim_any_name(&self, id: &R::Id) -> Result<String> {
        let seed = id.as_ref();
        for attempt in 0..64 {
            let name = names::generate(seed, attempt);
            match self.claim_name(&name, id) {
                Ok(()) => return Ok(name),
                Err(Error::NameInUse { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        // Sixty-four collisions in a row: the id itself is free by nature.
        let name: String = seed.chars().take(12).collect();
        self.claim_name(&name, id)?;
        Ok(name)
    }
}

impl<R: Resource> Reservation<'_, R> {
    /// The id.
    #[must_use]
    pub const fn id(&self) -> &R::Id {
        &self.id
    }

    /// The name it got.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that belongs to it.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.collection.directory(&self.id)
    }

    /// Makes it exist: from here on every command sees it.
    ///
    /// # Errors
    /// When the record cannot be written; nothing is left then.
    pub fn commit(mut self, record: &R) -> Result<()> {
        let collection = self.collection;
        record::create(&collection.record_path(&self.id), record)?;
        self.committed = true;
        drop(fs::remove_file(collection.creating_path(&self.id)));
        if record.is_transient() {
            return Ok(());
        }
        collection.names.sync()?;
        directory::sync(&collection.directory)
    }
}

impl<R: Resource> Drop for Reservation<'_, R> {
    fn drop(&mut self) {
        if !self.committed {
            // Without the directory the name is nobody's.
            self.collection.discard(&self.id);
            if !self.name.is_empty()
                && let Ok(guard) = self.collection.names.lock()
            {
                drop(self.collection.release_name(&guard, &self.name));
            }
        }
    }
}
