//! Checks every byte of the store against the digests that name it, and
//! drops what is damaged where it can come back.

mod expected;
mod layer;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cove_model::Digest;
use cove_model::error::sentence;

use crate::blob::BLOB_LIMIT;
use crate::error::{Error, Result};
use crate::image::ImageRecord;
use crate::layer::digests_in;
use crate::store::Store;

/// Something in the store that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is damaged.
    pub object: Object,
    /// What was found, one sentence each.
    pub findings: Vec<String>,
    /// The images that use it.
    pub images: Vec<Digest>,
    /// What became of it.
    pub fate: Fate,
}

/// What a check did about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: no repair was asked for.
    Left,
    /// It is not there, or not any more: the next pull of its image brings it.
    Pullable,
    /// It is removed, and nothing needs it.
    Removed,
    /// It is written anew from what it repeated.
    Remade,
    /// It stays, because a container or a running operation uses it.
    InUse,
    /// It stays, because no registry is known to have it.
    OnlyHere,
}

/// A part of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A manifest or configuration.
    Blob(Digest),
    /// A layer, by diff id.
    Layer(Digest),
    /// The record of an image.
    Image(Digest),
    /// The record of a name, by the digest of the name.
    Name(Digest),
}

/// What is damaged, and how.
type Found = BTreeMap<Object, Vec<String>>;

impl Store {
    /// Verifies every blob, every layer by rebuilding its archive and
    /// comparing files with headers, and the records; also tells what images
    /// miss. Like every use of a layer it makes those whole that another boot
    /// left torn.
    ///
    /// With `repair`, what is damaged is made anew where something repeats it,
    /// and dropped where a pull can bring it back. The layers that
    /// `layers_of_containers` gives, which is called while new leases wait, are
    /// never dropped.
    ///
    /// # Errors
    /// When the store cannot be listed. Damage is no error.
    pub fn fsck(
        &self,
        repair: bool,
        layers_of_containers: impl Fn() -> io::Result<BTreeSet<Digest>>,
    ) -> Result<Vec<Problem>> {
        let mut damaged = Found::new();
        let users = users(&self.check_images(&mut damaged)?);
        self.check_names(&mut damaged)?;
        for blob in digests_in(&self.path("blobs/sha256"))? {
            match self.blob(&blob, BLOB_LIMIT) {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => drop(damaged.insert(Object::Blob(blob), vec![sentence(&error)])),
            }
        }
        for layer in self.layers()? {
            let findings = self.check_layer(&layer);
            // One collected meanwhile is not damaged.
            if !findings.is_empty() && self.has_layer(&layer) {
                damaged.insert(Object::Layer(layer), findings);
            }
        }
        for object in users.keys().filter(|object| !self.has_object(object)) {
            damaged
                .entry(*object)
                .or_insert_with(|| vec!["it is missing".to_owned()]);
        }
        // What an image needs whose record cannot be read, nobody knows.
        let unread = damaged
            .keys()
            .any(|object| matches!(object, Object::Image(_)));
        let mut problems = Vec::with_capacity(damaged.len());
        for (object, findings) in damaged {
            let images = users.get(&object).map_or(&[][..], Vec::as_slice);
            let unclaimed = unread && matches!(object, Object::Blob(_) | Object::Layer(_));
            let fate = if repair && images.is_empty() && unclaimed {
                Fate::OnlyHere
            } else if repair {
                self.repair(object, images, &layers_of_containers)?
            } else {
                Fate::Left
            };
            problems.push(Problem {
                object,
                findings,
                images: images.iter().map(|image| image.id).collect(),
                fate,
            });
        }
        Ok(problems)
    }

    fn has_object(&self, object: &Object) -> bool {
        match object {
            Object::Blob(blob) => self.has_blob(blob),
            Object::Layer(layer) => self.has_layer(layer),
            Object::Image(image) => self.has_image(image),
            Object::Name(name) => self.named_image(name).is_ok(),
        }
    }

    /// Makes a layer anew where it has a redo log, or drops it; `fate` is what
    /// becomes of it then.
    fn repair_layer(
        &self,
        layer: Digest,
        fate: Fate,
        layers_of_containers: impl FnOnce() -> io::Result<BTreeSet<Digest>>,
    ) -> Result<Fate> {
        if !self.has_layer(&layer) {
            return Ok(fate);
        }
        let anew = match self.unsettled(&layer) {
            Ok(Some((_, log))) => self.unpack_log(&log, &layer).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let (anew, fate) = match anew {
            Ok(Some(anew)) => (Some(anew), Fate::Remade),
            // A disk that is full, say, is no reason to drop what a log has.
            Err(error @ Error::Io { .. }) => return Err(error),
            // Nobody can bring it back from a log that is damaged as well.
            Ok(None) | Err(_) => (None, fate),
        };
        let done = self.drop_layer(&layer, anew, layers_of_containers)?;
        Ok(if done { fate } else { Fate::InUse })
    }

    fn repair(
        &self,
        object: Object,
        images: &[User],
        layers_of_containers: impl FnOnce() -> io::Result<BTreeSet<Digest>>,
    ) -> Result<Fate> {
        let fate = match images {
            [] => Fate::Removed,
            images if images.iter().any(|image| image.pullable) => Fate::Pullable,
            _ => return Ok(Fate::OnlyHere),
        };
        match object {
            Object::Layer(layer) => return self.repair_layer(layer, fate, layers_of_containers),
            Object::Blob(blob) => crate::staging::remove(&self.blob_path(&blob))?,
            // A pull writes the record of an image anew.
            Object::Image(_) if fate == Fate::Pullable => {}
            Object::Image(image) => {
                let remade = self.remake_image(&image)?;
                return Ok(if remade { Fate::Remade } else { Fate::OnlyHere });
            }
            Object::Name(name) => {
                let _guard = self.lock_images()?;
                // A pull or a tag may have written it anew since it was looked at.
                if self.names_an_image(&name) {
                    return Ok(Fate::Remade);
                }
                self.remove_name_record(&name)?;
            }
        }
        Ok(fate)
    }
}

/// An image that uses something.
struct User {
    id: Digest,
    /// Whether a registry is known to have it.
    pullable: bool,
}

fn users(records: &[ImageRecord]) -> BTreeMap<Object, Vec<User>> {
    let mut users: BTreeMap<Object, Vec<User>> = BTreeMap::new();
    for record in records {
        let blobs = [record.id, record.manifest].map(Object::Blob);
        let layers = record
            .layers
            .iter()
            .map(|layer| Object::Layer(layer.diff_id));
        let own = [Object::Image(record.id)];
        for object in blobs.into_iter().chain(layers).chain(own) {
            let images = users.entry(object).or_default();
            if images.last().is_none_or(|user| user.id != record.id) {
                images.push(User {
                    id: record.id,
                    pullable: !record.repo_digests.is_empty(),
                });
            }
        }
    }
    users
}
