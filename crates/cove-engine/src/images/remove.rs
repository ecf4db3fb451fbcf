//! Removing images and what only they used.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cove_model::Digest;
use cove_model::event::{Happening, ImageChange};
use cove_model::instance::Record;
use cove_state::Listing;
use cove_storage::Usage;
pub use cove_storage::{Fate, Object, Problem};

use super::{ImageInfo, Images};
use crate::Engine;
use crate::error::{Error, Result};

/// One thing that a removal did, in the order Docker prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// A name or repository digest is gone, in its familiar form.
    Untagged(String),
    /// An image or, without a record of its own, one of its layers is gone.
    Deleted(Digest),
}

/// What a prune removed.
#[derive(Debug, Default)]
pub struct PruneReport {
    /// Each name and image.
    pub removals: Vec<Removal>,
    /// Bytes given back.
    pub reclaimed: u64,
}

impl Images<'_> {
    /// Removes a name of an image, and the image with its last name. With
    /// `parents` what it was made from goes too, as far as that has no name and
    /// nothing else needs it; layers that nothing uses any more always do.
    ///
    /// # Errors
    /// When there is no such image, or an instance uses it.
    pub fn remove(&self, name: &str, force: bool, parents: bool) -> Result<Vec<Removal>> {
        let image = self.find(name)?;
        // Orphans get supervisors now: there is time for that only while nothing is locked.
        for record in self.users_of(&image.record.id)? {
            self.engine.instances().status_in_list(&record)?;
        }
        let labels = self.labels(&image.record.id);
        let usage = |id: &Digest| self.usage_of(id).map_err(io::Error::other);
        let removal = self
            .engine
            .store
            .remove_image(name, force, usage)
            .map_err(Error::Storage)?;
        let gone = removal.deleted.is_some();
        let mut removals = vec![removal];
        if gone && parents {
            let parents = self
                .engine
                .store
                .remove_untagged_parents(image.record.parent, usage)
                .map_err(Error::Storage)?;
            removals.extend(parents);
        }
        for removal in &removals {
            let id = removal.deleted.as_ref().unwrap_or(&image.record.id);
            self.note_removal(id, &labels, removal);
        }
        if gone {
            self.engine.collect()?;
        }
        Ok(list(removals))
    }

    /// Removes images without a name, or with `all` every image that no
    /// instance uses, unless `keep` holds.
    ///
    /// # Errors
    /// When a record cannot be read or removed.
    pub fn prune(&self, all: bool, keep: impl Fn(&ImageInfo) -> bool) -> Result<PruneReport> {
        let used = || {
            let records = self.engine.state.list().and_then(Listing::all);
            let records = records.map_err(io::Error::other)?;
            Ok(records.into_iter().map(|record| record.image.id).collect())
        };
        let fitting: BTreeMap<Digest, BTreeMap<String, String>> = self
            .list()?
            .into_iter()
            .filter(|image| !keep(image))
            .map(|image| (image.id, image.config.config.labels))
            .collect();
        let removals = self
            .engine
            .store
            .prune_images(all, &fitting.keys().copied().collect(), used)
            .map_err(Error::Storage)?;
        for removal in &removals {
            if let Some(id) = &removal.deleted
                && let Some(labels) = fitting.get(id)
            {
                self.note_removal(id, labels, removal);
            }
        }
        let reclaimed = self.engine.collect()?;
        self.engine.note(Happening::ImagesPruned { reclaimed });
        Ok(PruneReport {
            removals: list(removals),
            reclaimed,
        })
    }

    /// Notes that names, and perhaps the image, are gone. What a registry
    /// called it goes with its last name there, without a word.
    fn note_removal(
        &self,
        id: &Digest,
        labels: &BTreeMap<String, String>,
        removal: &cove_storage::Removal,
    ) {
        let names = removal.untagged.iter().filter(|name| !name.contains('@'));
        for name in names {
            self.engine.note(Happening::Image {
                id: id.to_string(),
                name: Some(name.clone()),
                labels: labels.clone(),
                change: ImageChange::Untag,
            });
        }
        if removal.deleted.is_some() {
            // Its labels are gone with it, as for Docker.
            self.engine.note(Happening::Image {
                id: id.to_string(),
                name: None,
                labels: BTreeMap::new(),
                change: ImageChange::Delete,
            });
        }
    }

    /// How instances use an image. The images' lock is held, so that it is only looked at
    /// them; one that became an orphan a moment ago counts as running.
    fn usage_of(&self, image: &Digest) -> Result<Usage> {
        let mut usage = Usage::Unused;
        for record in self.users_of(image)? {
            let container = record.id.short().to_owned();
            if self.engine.instances().may_run(&record)? {
                return Ok(Usage::Running(container));
            }
            usage = Usage::Stopped(container);
        }
        Ok(usage)
    }

    /// The instances that were made from an image.
    fn users_of(&self, image: &Digest) -> Result<Vec<Record>> {
        let records = self.engine.state.list().and_then(Listing::all);
        let mut records = records.map_err(Error::State)?;
        records.retain(|record| record.image.id == *image);
        Ok(records)
    }
}

impl Engine {
    /// Removes layers and blobs that nothing uses; returns the bytes.
    ///
    /// # Errors
    /// When something cannot be read or removed.
    pub fn collect(&self) -> Result<u64> {
        self.store
            .collect(|| self.layers_in_use())
            .map(|collected| collected.bytes)
            .map_err(Error::Storage)
    }

    /// The layers of all instances.
    fn layers_in_use(&self) -> io::Result<BTreeSet<Digest>> {
        // One that cannot be read may use any of them.
        let records = self.state.list().and_then(Listing::all);
        let records = records.map_err(io::Error::other)?;
        let layers = records.into_iter().flat_map(|record| record.image.layers);
        Ok(layers.collect())
    }

    /// Verifies every blob, layer and record; with `repair` drops what is
    /// damaged where the next pull brings it again. What an instance uses is
    /// never dropped.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn fsck(&self, repair: bool) -> Result<Vec<Problem>> {
        self.store
            .fsck(repair, || self.layers_in_use())
            .map_err(Error::Storage)
    }
}

fn list(removals: impl IntoIterator<Item = cove_storage::Removal>) -> Vec<Removal> {
    let mut list = Vec::new();
    for removal in removals {
        list.extend(removal.untagged.into_iter().map(Removal::Untagged));
        list.extend(removal.deleted.map(Removal::Deleted));
    }
    list
}
