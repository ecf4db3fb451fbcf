//! Settling: what is durable by its redo log becomes so by itself, or, after a
//! power cut, is made anew.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;

use cove_model::Digest;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::error::{At, Error, Result, Step};
use crate::layer::open_directory;
use crate::redo::{self, Kept};
use crate::store::Store;
use crate::unpack::Unpack;

impl Store {
    /// Waits until every layer is on the disk, and then removes the redo logs.
    /// Whoever is killed in it leaves them to the next.
    ///
    /// # Errors
    /// The first; the others are settled all the same. When the disk does not
    /// take a layer, its log stays, and it is made anew after the next boot.
    pub fn settle(&self) -> Result<()> {
        let Some(boot) = self.boot()? else {
            return Ok(());
        };
        let mut first = Ok(());
        let mut unsettled = Vec::new();
        for diff_id in self.layers()? {
            match self.unsettled(&diff_id) {
                Ok(None) => {}
                Ok(Some((_, log))) if log.header.boot != boot => {
                    first = first.and(self.make_whole(&diff_id));
                }
                Ok(Some((_, log))) if log.header.refused => {}
                Ok(Some((directory, log))) => unsettled.push((diff_id, directory, log)),
                Err(error) => first = first.and(Err(error)),
            }
        }
        let synced = self.sync_and_forget(unsettled);
        first.and(synced)
    }

    fn sync_and_forget(&self, unsettled: Vec<(Digest, OwnedFd, Kept)>) -> Result<()> {
        let Some((diff_id, directory, _)) = unsettled.first() else {
            return Ok(());
        };
        let synced = rustix::fs::syncfs(directory).at(Step::Sync, self.layer_path(diff_id));
        for (diff_id, directory, log) in unsettled {
            let path = self.layer_path(&diff_id);
            match synced {
                // By descriptor: the name may be another layer's by now.
                Ok(()) => forget(&directory, &path)?,
                Err(_) => log
                    .refuse(&directory)
                    .at(Step::Write, path.join(redo::NAME))?,
            }
        }
        synced
    }

    /// Makes sure that the layer `diff_id`, if it is there, is whole.
    pub(crate) fn make_whole(&self, diff_id: &Digest) -> Result<()> {
        if self.torn(diff_id)?.is_none() {
            return Ok(());
        }
        let _others_wait = self.claim(diff_id)?;
        let Some((directory, log)) = self.torn(diff_id)? else {
            return Ok(());
        };
        let path = self.layer_path(diff_id);
        // After an orderly end of the boot everything is there. Nor is it then
        // replaced beneath a container, should somebody have emptied the
        // runtime directory of a boot that goes on.
        if !self.is_whole(diff_id) {
            let mut what = Unpack::new(log.header.compression);
            what.diff_id = Some(*diff_id);
            let layer = self.unpack(log.blob(), &what)?;
            return self.replace(layer);
        }
        rustix::fs::syncfs(&directory).at(Step::Sync, &path)?;
        match forget(&directory, &path) {
            // It is whole, and found so again.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::ReadOnlyFilesystem => {
                Ok(())
            }
            other => other,
        }
    }

    /// Whether the disk refused to take the layer `diff_id` in this boot.
    pub(crate) fn is_refused(&self, diff_id: &Digest) -> bool {
        let log = self.unsettled(diff_id);
        log.is_ok_and(|log| log.is_some_and(|(_, log)| log.header.refused))
    }

    /// The layer's directory and log, if it may not be whole.
    fn torn(&self, diff_id: &Digest) -> Result<Option<(OwnedFd, Kept)>> {
        let Some((directory, log)) = self.unsettled(diff_id)? else {
            return Ok(None);
        };
        let boot = self.boot()?;
        let torn = boot.is_some_and(|boot| boot != log.header.boot);
        Ok(torn.then_some((directory, log)))
    }

    /// The layer's directory and log, if it has one.
    fn unsettled(&self, diff_id: &Digest) -> Result<Option<(OwnedFd, Kept)>> {
        let path = self.layer_path(diff_id);
        // One look is all that a settled layer costs.
        if !path.join(redo::NAME).exists() {
            return Ok(None);
        }
        match open_directory(&path) {
            // Collected meanwhile.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(directory) => {
                let log = Kept::open(&directory, &path)?;
                Ok(log.map(|log| (directory, log)))
            }
        }
    }
}

fn forget(directory: &OwnedFd, path: &Path) -> Result<()> {
    match rustix::fs::unlinkat(directory, redo::NAME, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other.at(Step::Remove, path.join(redo::NAME)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::digest_of;
    use crate::lease::Lease;
    use cove_model::image::Compression;

    /// An empty archive, compressed.
    fn blob() -> Vec<u8> {
        zstd::encode_all([0; 1024].as_slice(), 1).unwrap()
    }

    #[test]
    fn what_the_disk_refused_is_kept_until_the_next_boot() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let store = Store::open(root, root).unwrap();
        let mut what = Unpack::new(Compression::Zstd);
        what.compressed = Some((digest_of(&blob()), blob().len() as u64));
        let staged = store.unpack(blob().as_slice(), &what).unwrap();
        let lease = Lease::new(&store).unwrap();
        let id = store.publish(&lease, vec![staged]).unwrap()[0].diff_id;
        let (directory, log) = store.unsettled(&id).unwrap().unwrap();
        log.refuse(&directory).unwrap();
        // Another sync would tell nothing.
        store.settle().unwrap();
        assert!(store.is_refused(&id));
        let problems = store.fsck(false, || Ok(Default::default())).unwrap();
        assert!(problems[0].findings[0].contains("did not take"));
        std::fs::remove_file(root.join("boot")).unwrap();
        store.layer(&id).unwrap();
        assert!(!store.is_refused(&id));
    }
}
