//! The records of images and of names, against each other and against the
//! documents that they repeat.

use std::collections::BTreeMap;

use cove_model::Digest;
use cove_model::error::sentence;
use cove_model::image::ImageConfig;

use super::{Found, Object};
use crate::blob::BLOB_LIMIT;
use crate::error::{Error, Result};
use crate::image::ImageRecord;
use crate::layer::digests_in;
use crate::lease::Lease;
use crate::store::Store;

impl Store {
    /// The records that can be read; what is wrong with the others, and with
    /// those that do not say what their image's configuration does.
    pub(super) fn check_images(&self, damaged: &mut Found) -> Result<Vec<ImageRecord>> {
        let mut records = Vec::new();
        for id in digests_in(&self.path("images/by-id"))? {
            let object = Object::Image(id);
            match self.known_image(&id) {
                Ok(Some(record)) if record.id == id => {
                    if !self.fits_configuration(&record) {
                        let finding = "its record and its configuration differ in the layers";
                        damaged.insert(object, vec![finding.to_owned()]);
                    }
                    records.push(record);
                }
                Ok(Some(record)) => {
                    let finding = format!("its record is that of image {}", record.id);
                    damaged.insert(object, vec![finding]);
                }
                // Removed since the listing.
                Ok(None) => {}
                Err(error) => drop(damaged.insert(object, vec![sentence(&error)])),
            }
        }
        Ok(records)
    }

    /// A configuration that cannot be read is told as a blob.
    fn fits_configuration(&self, record: &ImageRecord) -> bool {
        let Ok(bytes) = self.blob(&record.id, BLOB_LIMIT) else {
            return true;
        };
        ImageConfig::parse(&bytes).is_ok_and(|config| {
            let layers = record.layers.iter().map(|layer| &layer.diff_id);
            config.rootfs.diff_ids.iter().eq(layers)
        })
    }

    /// Whether a name can be read and stands for an image.
    pub(super) fn names_an_image(&self, name: &Digest) -> bool {
        self.named_image(name)
            .is_ok_and(|(_, image)| self.has_image(&image))
    }

    /// Replaces the record of an image that cannot be read by what its
    /// configuration says; false when that is not there, or layers are not:
    /// then the record stays, and with it whatever else is there.
    pub(super) fn remake_image(&self, id: &Digest) -> Result<bool> {
        let lease = Lease::new(self)?;
        lease.protect(&[*id])?;
        let Ok(bytes) = self.blob(id, BLOB_LIMIT) else {
            return Ok(false);
        };
        let Ok(config) = ImageConfig::parse(&bytes) else {
            return Ok(false);
        };
        let layers = config.rootfs.diff_ids;
        lease.protect(&layers)?;
        if !layers.iter().all(|layer| self.has_layer(layer)) {
            return Ok(false);
        }
        {
            let _guard = self.lock_images()?;
            self.remove_image_record(id)?;
        }
        match self.record_image(&lease, &bytes, config.created, &layers, &[], None) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Names that cannot be read, or that stand for nothing.
    pub(super) fn check_names(&self, damaged: &mut Found) -> Result<()> {
        // No image goes between the look at its name and the look for it.
        let _guard = self.lock_images()?;
        let mut images = BTreeMap::new();
        for name in digests_in(&self.path("images/names"))? {
            let finding = match self.named_image(&name) {
                Ok((reference, image)) => {
                    let there = *images
                        .entry(image)
                        .or_insert_with(|| self.has_image(&image));
                    if there {
                        continue;
                    }
                    format!("{reference} stands for image {image}, which is not there")
                }
                Err(error) => sentence(&error),
            };
            damaged.insert(Object::Name(name), vec![finding]);
        }
        Ok(())
    }
}
