//! Settling: what is durable by its redo log becomes so by itself, or, when
//! the page cache was lost before, is made anew.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cove_model::Digest;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::boot::Boot;
use crate::error::{At, Error, Result, Step};
use crate::layer::open_directory;
use crate::lease::Lease;
use crate::redo::{self, Kept};
use crate::settler::Settler;
use crate::staging::{Staging, random_name, still_there};
use crate::store::Store;
use crate::unpack::Unpack;

/// Logs are only written where so many times their length is free: the trees
/// need room too, and both are there at once.
const ROOM: u64 = 10;

impl Store {
    /// Begins a pull of blobs of so many bytes together whose layers are to be
    /// settled after it; none where they have to be synced before: in a store
    /// that is not durable, where that is nothing, and on a disk that is nearly
    /// full.
    ///
    /// # Errors
    /// When the kernel does not say what is asked of it.
    pub fn settler(&self, bytes: u64) -> Result<Option<Settler>> {
        let free = rustix::fs::statvfs(self.root()).at(Step::Stat, self.root())?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        if !self.is_durable() || bytes.saturating_mul(ROOM) > free {
            return Ok(None);
        }
        Ok(Some(Settler {
            name: random_name("s"),
            boot: Boot::of(self.root())?,
            hears: open_directory(self.root())?,
        }))
    }

    /// Waits until the layers of the pull that [`Settler::name`] names are on
    /// the disk, and then removes their redo logs. `hears` is its
    /// [`Settler::hears`]. What a killed settler leaves stays until the next
    /// boot, because nobody else hears of all errors.
    ///
    /// # Errors
    /// When the disk does not take the layers: then their logs stay, too.
    pub fn settle(&self, name: &str, hears: impl AsFd) -> Result<()> {
        let mut ours = Vec::new();
        for diff_id in self.layers()? {
            // One that cannot be read is not settled.
            if let Ok(Some((directory, log))) = self.unsettled(&diff_id)
                && log.header.settler == name
            {
                ours.push((self.layer_path(&diff_id), directory));
            }
        }
        if ours.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(hears).at(Step::Sync, self.root())?;
        // By descriptor: the name may be another layer's by now.
        ours.iter()
            .try_for_each(|(path, directory)| forget(directory, path))
    }

    /// Whether all of `layers` are there; makes those whole that lost what
    /// was not on the disk.
    ///
    /// # Errors
    /// When one cannot be made anew.
    pub fn ready(&self, layers: &[Digest]) -> Result<bool> {
        for diff_id in layers {
            self.make_whole(diff_id)?;
        }
        Ok(layers.iter().all(|diff_id| self.has_layer(diff_id)))
    }

    /// Makes sure that the layer `diff_id`, if it is there, is whole.
    pub(crate) fn make_whole(&self, diff_id: &Digest) -> Result<()> {
        if self.of_another_boot(diff_id)?.is_none() {
            return Ok(());
        }
        let _others_wait = self.claim(diff_id)?;
        let lease = Lease::new(self)?;
        lease.protect(&[*diff_id])?;
        let Some((directory, log, boot)) = self.of_another_boot(diff_id)? else {
            return Ok(());
        };
        let path = self.layer_path(diff_id);
        // After an orderly end everything is there. Nor is a layer replaced
        // beneath a container when only the mount is another one.
        if !self.is_whole(diff_id) {
            let layer = self.unpack_log(&log, diff_id)?;
            if still_there(&directory, &path)? {
                layer.exchange(&path)?;
                // What was there goes when the name is another's for good.
                self.sync_layer_names()?;
            }
            return Ok(());
        }
        // Of a mount in another namespace only the page cache was looked at.
        if log.header.boot.kernel != boot.kernel {
            forget(&directory, &path)?;
        }
        Ok(())
    }

    /// Unpacks the blob of a log again; in a durable store it is on the disk then.
    pub(crate) fn unpack_log(&self, log: &Kept, diff_id: &Digest) -> Result<Staging> {
        let mut what = Unpack::new(log.header.compression);
        what.compressed = Some((log.header.compressed, log.header.size));
        what.diff_id = Some(*diff_id);
        let staging = self.unpack(log.blob(), &what)?.into_staging();
        if self.is_durable() {
            rustix::fs::syncfs(staging.fd()).at(Step::Sync, staging.path())?;
        }
        Ok(staging)
    }

    /// The layer's directory and log, and this boot, if the log is of another:
    /// then the layer may be torn.
    fn of_another_boot(&self, diff_id: &Digest) -> Result<Option<(OwnedFd, Kept, Boot)>> {
        let Some((directory, log)) = self.unsettled(diff_id)? else {
            return Ok(None);
        };
        let boot = Boot::of(self.root())?;
        Ok((log.header.boot != boot).then_some((directory, log, boot)))
    }

    /// The layer's directory and log, if it has one.
    pub(crate) fn unsettled(&self, diff_id: &Digest) -> Result<Option<(OwnedFd, Kept)>> {
        let path = self.layer_path(diff_id);
        let log = path.join(redo::NAME);
        // One look is all that a settled layer costs.
        if !log.try_exists().at(Step::Stat, &log)? {
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
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).at(Step::Remove, path.join(redo::NAME)),
    }
}
