//! What killed programs and power cuts left half-way.

use std::fs::File;
use std::io;

use cove_model::Resource;
use rustix::fs::{FlockOperation, flock};

use crate::collection::Collection;
use crate::directory;
use crate::error::{Error, Result};

impl<R: Resource> Collection<R> {
    /// Removes what ended half-way: directories of creations and names that
    /// are nobody's. Where there is nothing to remove this costs two directory
    /// listings and one stat(2) for each directory.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn sweep(&self) -> Result<()> {
        for id in self.ids()? {
            if self.is_abandoned(&id) {
                self.sweep_creation(&id)?;
            }
        }
        let names = self.names.all()?;
        let ids = self.ids()?;
        // Each has one name, so equal numbers mean that none is stale.
        if names.len() == ids.len() {
            return Ok(());
        }
        let suspects = self.suspects(names, &ids)?;
        if suspects.is_empty() {
            return Ok(());
        }
        // Somebody at work on names now is a reason to leave it to the next command.
        let Some(guard) = self.names.try_lock()? else {
            return Ok(());
        };
        suspects
            .iter()
            .try_for_each(|name| self.release_name(&guard, name))
    }

    /// The names that link to nothing, or to one that others link to, too.
    fn suspects(&self, names: Vec<String>, ids: &[R::Id]) -> Result<Vec<String>> {
        let mut of = self.names.by_owner(names)?;
        for id in ids {
            let owner = Some(id.clone());
            if of.get(&owner).is_some_and(|names| names.len() == 1) {
                of.remove(&owner);
            }
        }
        Ok(of.into_values().flatten().collect())
    }

    /// Removes a creation that ended half-way, unless somebody is at work on it.
    fn sweep_creation(&self, id: &R::Id) -> Result<()> {
        let path = self.creating_path(id);
        let fail = |source| Error::Lock {
            path: path.clone(),
            source,
        };
        // With the lock in our hands, a creator that comes to it late sees that it was swept.
        let file = match File::options().create(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fail(error)),
        };
        let ours = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if ours && directory::is_named(&path, &file).map_err(fail)? && !self.has_record(id) {
            self.discard(id);
        }
        Ok(())
    }
}
