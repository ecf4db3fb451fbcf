//! Removing images as Docker does, and collecting what nothing uses.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use cove_model::{Digest, Reference};

use crate::error::{At, Error, Result, Step};
use crate::image::Image;
use crate::layer::digests_in;
use crate::lease;
use crate::staging::Staging;
use crate::store::Store;

/// How containers use an image, and one of those that do, as users know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// Not at all.
    Unused,
    /// A container that is not running was made from it.
    Stopped(String),
    /// A running container was made from it.
    Running(String),
}

/// What removing an image did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Names and repository digests that are gone, familiar form, in the
    /// order in which Docker prints them.
    pub untagged: Vec<String>,
    /// The image, when its last name went.
    pub deleted: Option<Digest>,
}

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layers by diff id.
    pub layers: Vec<Digest>,
    /// Manifests and configurations.
    pub blobs: Vec<Digest>,
    /// Bytes of the files in all of them.
    pub bytes: u64,
}

impl Store {
    /// Removes what `text` names: a tag or a repository digest only goes by
    /// itself while others remain, or by `force` from an image that runs; an
    /// id takes its tag along, by `force` also several. Layers stay until
    /// [`Store::collect`]. How containers use the image is asked while its
    /// names cannot change; everybody else waits for the answer.
    ///
    /// # Errors
    /// [`Error::NameInUse`], [`Error::InUse`] and [`Error::SeveralNames`] where
    /// Docker refuses too; otherwise those of [`Store::find_image`] and of the
    /// file system.
    pub fn remove_image(
        &self,
        text: &str,
        force: bool,
        usage: impl FnOnce(&Digest) -> io::Result<Usage>,
    ) -> Result<Removal> {
        let _guard = self.lock_images()?;
        let image = self.find_image(text)?;
        let id = image.record.id;
        let usage = &usage(&id).map_err(Error::Usage)?;
        let several = has_several_names(&image);
        if let Some(name) = named_by(text, &image) {
            return match usage {
                Usage::Stopped(container) | Usage::Running(container) if !force && !several => {
                    Err(Error::NameInUse {
                        name: text.to_owned(),
                        container: container.clone(),
                        id,
                    })
                }
                Usage::Unused | Usage::Stopped(_) | Usage::Running(_) => {
                    let left = without(&image, &name);
                    let named = !left.names.is_empty() || !left.record.repo_digests.is_empty();
                    if named || matches!(usage, Usage::Running(_)) {
                        self.untag_to(&image, &left)
                    } else {
                        self.delete(&image)
                    }
                }
            };
        }
        match usage {
            Usage::Running(container) => Err(Error::InUse {
                id,
                running: true,
                container: container.clone(),
            }),
            Usage::Unused | Usage::Stopped(_) if several && !force => {
                Err(Error::SeveralNames { id })
            }
            Usage::Stopped(container) if !force => Err(Error::InUse {
                id,
                running: false,
                container: container.clone(),
            }),
            Usage::Unused | Usage::Stopped(_) => self.delete(&image),
        }
    }

    /// Removes what an image that is gone was made from, `parent` and so on, as far as nothing
    /// else needs it: it has no name or repository digest, no other image was made from it, and
    /// no container. Returns what went.
    ///
    /// # Errors
    /// When a record cannot be read or removed.
    pub fn remove_untagged_parents(
        &self,
        parent: Option<Digest>,
        usage: impl Fn(&Digest) -> io::Result<Usage>,
    ) -> Result<Vec<Removal>> {
        let mut removals = Vec::new();
        let mut next = parent;
        while let Some(id) = next {
            let _guard = self.lock_images()?;
            let images = self.images()?;
            let Some(image) = images.iter().find(|image| image.record.id == id) else {
                break;
            };
            let named = !image.is_dangling() || !image.record.repo_digests.is_empty();
            let has_child = images.iter().any(|other| other.record.parent == Some(id));
            if named || has_child || usage(&id).map_err(Error::Usage)? != Usage::Unused {
                break;
            }
            removals.push(self.delete(image)?);
            next = image.record.parent;
        }
        Ok(removals)
    }

    /// Removes those of `fitting` that are dangling, or with `all` every one
    /// that containers do not use; returns what went. What `used` gives is
    /// asked for while no image can get a name.
    ///
    /// # Errors
    /// When a record cannot be read or removed.
    pub fn prune_images(
        &self,
        all: bool,
        fitting: &BTreeSet<Digest>,
        used: impl FnOnce() -> io::Result<BTreeSet<Digest>>,
    ) -> Result<Vec<Removal>> {
        let _guard = self.lock_images()?;
        let used = used().map_err(Error::Usage)?;
        let mut removals = Vec::new();
        for image in self.images()? {
            let id = &image.record.id;
            if (all || image.is_dangling()) && fitting.contains(id) && !used.contains(id) {
                removals.push(self.delete(&image)?);
            }
        }
        Ok(removals)
    }

    /// Removes every layer and blob that no image, no living lease and no
    /// container uses. `layers_of_containers` is called while new leases
    /// wait: a container being made must hold a lease until its record is
    /// written.
    ///
    /// # Errors
    /// When something cannot be read or removed; what is in use is never
    /// touched.
    pub fn collect(
        &self,
        layers_of_containers: impl FnOnce() -> io::Result<BTreeSet<Digest>>,
    ) -> Result<Collected> {
        let trash = Staging::new(&self.tmp())?;
        let mut collected = Collected::default();
        {
            let _guard = self.lock(true)?;
            let mut used = self.in_use(layers_of_containers)?;
            for image in self.images()? {
                used.extend(image.record.content());
            }
            for layer in self
                .layers()?
                .into_iter()
                .filter(|layer| !used.contains(layer))
            {
                // A layer without a readable record is no less unused.
                collected.bytes += self
                    .layer_as_it_is(&layer)
                    .map_or(0, |layer| layer.info().size);
                discard(
                    &self.layer_path(&layer),
                    &trash,
                    &format!("l{}", layer.hex()),
                )?;
                collected.layers.push(layer);
            }
            let blobs = digests_in(&self.path("blobs/sha256"))?;
            for blob in blobs.into_iter().filter(|blob| !used.contains(blob)) {
                let path = self.blob_path(&blob);
                collected.bytes += path.metadata().map_or(0, |metadata| metadata.len());
                discard(&path, &trash, &format!("b{}", blob.hex()))?;
                collected.blobs.push(blob);
            }
        }
        if !collected.layers.is_empty() {
            // The names must be gone for good before the files go.
            self.sync_layer_names()?;
        }
        drop(trash);
        if !collected.layers.is_empty() {
            self.forget_blobs()?;
        }
        Ok(collected)
    }

    /// Moves a damaged layer out of the way, whatever images use it, or puts
    /// `anew` in its place; false when a container or a running operation uses it.
    pub(crate) fn drop_layer(
        &self,
        diff_id: &Digest,
        anew: Option<Staging>,
        layers_of_containers: impl FnOnce() -> io::Result<BTreeSet<Digest>>,
    ) -> Result<bool> {
        let exchange = anew.is_some();
        let trash = anew.map_or_else(|| Staging::new(&self.tmp()), Ok)?;
        {
            let _guard = self.lock(true)?;
            if self.in_use(layers_of_containers)?.contains(diff_id) {
                return Ok(false);
            }
            let path = self.layer_path(diff_id);
            if exchange {
                trash.exchange(&path)?;
            } else {
                discard(&path, &trash, "layer")?;
            }
        }
        self.sync_layer_names()?;
        drop(trash);
        self.forget_blobs()?;
        Ok(true)
    }

    /// What leases protect and containers use. The caller holds the store's
    /// lock exclusively.
    fn in_use(
        &self,
        layers_of_containers: impl FnOnce() -> io::Result<BTreeSet<Digest>>,
    ) -> Result<BTreeSet<Digest>> {
        // Leases first: whoever drops one has written its record before.
        let mut used = lease::protected(self)?;
        used.extend(layers_of_containers().map_err(Error::Usage)?);
        Ok(used)
    }

    /// Takes the names from an image that `left` no longer has. The caller
    /// holds the images' lock.
    fn untag_to(&self, image: &Image, left: &Image) -> Result<Removal> {
        let mut removal = Removal::default();
        for name in image.names.iter().filter(|name| !left.names.contains(name)) {
            self.remove_name(name)?;
            removal.untagged.push(name.familiar());
        }
        let digests = &image.record.repo_digests;
        for digest in digests.difference(&left.record.repo_digests) {
            removal.untagged.push(familiar(digest));
        }
        if left.record != image.record {
            self.replace_image_record(&left.record)?;
        }
        Ok(removal)
    }

    /// The caller holds the images' lock.
    fn delete(&self, image: &Image) -> Result<Removal> {
        let mut removal = Removal::default();
        for name in &image.names {
            self.remove_name(name)?;
            removal.untagged.push(name.familiar());
        }
        removal.untagged.extend(
            image
                .record
                .repo_digests
                .iter()
                .map(|digest| familiar(digest)),
        );
        self.remove_image_record(&image.record.id)?;
        removal.deleted = Some(image.record.id);
        Ok(removal)
    }

    fn forget_blobs(&self) -> Result<()> {
        let directory = self.path("by-blob");
        for blob in digests_in(&directory)? {
            if self.layer_of_blob(&blob).is_none() {
                crate::staging::remove(&directory.join(blob.hex()))?;
            }
        }
        Ok(())
    }
}

/// The tag or repository digest by which `text` named the image; none when it
/// was its id.
fn named_by(text: &str, image: &Image) -> Option<Reference> {
    let reference = Reference::parse_docker(text).ok()?.with_default_tag();
    (reference.digest().is_some() || image.names.contains(&reference)).then_some(reference)
}

/// Whether an image has two tags, or tags and digests of two repositories.
fn has_several_names(image: &Image) -> bool {
    let digests = image.record.repo_digests.iter();
    let digests = digests.filter_map(|digest| digest.split_once('@'));
    let repositories: BTreeSet<String> = image
        .names
        .iter()
        .map(Reference::name)
        .chain(digests.map(|(name, _)| name.to_owned()))
        .collect();
    image.names.len() > 1 || repositories.len() > 1
}

/// What an image has when `name` is taken from it: a repository's last tag
/// takes its digests along.
fn without(image: &Image, name: &Reference) -> Image {
    let mut left = image.clone();
    let digests = &mut left.record.repo_digests;
    if let Some(digest) = name.digest() {
        digests.remove(&format!("{}@{digest}", name.name()));
        return left;
    }
    left.names.retain(|other| other != name);
    if left.names.iter().all(|other| other.name() != name.name()) {
        let prefix = format!("{}@", name.name());
        digests.retain(|digest| !digest.starts_with(&prefix));
    }
    left
}

fn familiar(repo_digest: &str) -> String {
    Reference::parse_docker(repo_digest)
        .map_or_else(|_| repo_digest.to_owned(), |reference| reference.familiar())
}

fn discard(path: &Path, trash: &Staging, name: &str) -> Result<()> {
    match std::fs::rename(path, trash.path().join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at(Step::Rename, path),
    }
}
