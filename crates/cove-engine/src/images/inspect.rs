//! Looking at images.

use std::path::PathBuf;

use cove_model::event::ImageChange;
use cove_model::image::{ImageConfig, Platform};
use cove_model::{Digest, Reference};
use cove_storage::{BLOB_LIMIT, Image};

use super::{ImageInfo, Images};
use crate::error::{Error, Result, sentence};

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image, at its last step; earlier steps are not images here.
    pub id: Option<Digest>,
    /// When, in RFC 3339; empty when it does not say.
    pub created: String,
    /// The command.
    pub created_by: String,
    /// Bytes it added.
    pub size: u64,
    /// A remark.
    pub comment: String,
    /// The names of the image, at its last step.
    pub tags: Vec<Reference>,
}

impl Images<'_> {
    /// All images, the newest first; also one whose configuration is damaged,
    /// as its record says.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn list(&self) -> Result<Vec<ImageInfo>> {
        let images = self.engine.store.images().map_err(Error::Storage)?;
        let info = |image: Image| match self.config_of(&image.record.id) {
            Ok(config) => info(image, config, None),
            Err(error) => info(image, ImageConfig::default(), Some(sentence(&error))),
        };
        Ok(images.into_iter().map(info).collect())
    }

    /// The image that a name, an id or the beginning of one stands for.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], when several ids begin so, or when its
    /// configuration is damaged.
    pub fn get(&self, text: &str) -> Result<ImageInfo> {
        let image = self.find(text)?;
        let config = self.config_of(&image.record.id)?;
        Ok(info(image, config, None))
    }

    /// [`Images::get`] without what its configuration says.
    pub(super) fn find(&self, text: &str) -> Result<Image> {
        match self.engine.store.find_image(text) {
            Ok(image) => Ok(image),
            Err(cove_storage::Error::NotFound { kind: "image", .. }) => {
                let name = Reference::parse_docker(text).map_or_else(
                    |_| text.to_owned(),
                    |name| name.with_default_tag().familiar(),
                );
                Err(Error::NoSuchImage { name })
            }
            Err(error) => Err(Error::Storage(error)),
        }
    }

    /// What the configuration of the image `id` says.
    pub(crate) fn config_of(&self, id: &Digest) -> Result<ImageConfig> {
        let bytes = self
            .engine
            .store
            .blob(id, BLOB_LIMIT)
            .map_err(Error::Storage)?;
        ImageConfig::parse(&bytes).map_err(|source| Error::Document {
            what: format!("the configuration of image {id}"),
            source,
        })
    }

    /// How an image came to be, the last step first.
    ///
    /// # Errors
    /// As [`Images::get`].
    pub fn history(&self, text: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.get(text)?;
        let mut layers = image.layers.iter();
        let mut entries = Vec::with_capacity(image.config.history.len());
        for step in &image.config.history {
            let layer = if step.empty_layer {
                None
            } else {
                layers.next()
            };
            let size = match layer {
                Some(layer) => self.size_of([layer])?,
                None => 0,
            };
            entries.push(HistoryEntry {
                id: None,
                created: step.created.clone().unwrap_or_default(),
                created_by: step.created_by.clone().unwrap_or_default(),
                size,
                comment: step.comment.clone().unwrap_or_default(),
                tags: Vec::new(),
            });
        }
        // An image without history still has layers.
        for layer in layers {
            entries.push(HistoryEntry {
                id: None,
                created: image.created.clone(),
                created_by: String::new(),
                size: self.size_of([layer])?,
                comment: String::new(),
                tags: Vec::new(),
            });
        }
        if let Some(last) = entries.last_mut() {
            last.id = Some(image.id);
            last.tags = image.tags;
        }
        entries.reverse();
        Ok(entries)
    }

    /// Where the files of a layer are, or would be.
    #[must_use]
    pub fn layer_files(&self, layer: &Digest) -> PathBuf {
        self.engine.store.layer_files(layer)
    }

    /// Lets another name stand for an image.
    ///
    /// # Errors
    /// When there is no such image, or the name is none.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let image = self.find(source)?;
        let name = Reference::parse_tag(target).map_err(Error::Reference)?;
        self.engine
            .store
            .tag(&image.record.id, &name)
            .map_err(Error::Storage)?;
        self.note(&image.record.id, Some(name.familiar()), ImageChange::Tag);
        Ok(())
    }

    /// Bytes of the files in these layers.
    pub(crate) fn size_of<'a>(&self, layers: impl IntoIterator<Item = &'a Digest>) -> Result<u64> {
        let mut size = 0;
        for layer in layers {
            size += self
                .engine
                .store
                .layer(layer)
                .map_err(Error::Storage)?
                .info()
                .size;
        }
        Ok(size)
    }
}

fn info(image: Image, config: ImageConfig, damage: Option<String>) -> ImageInfo {
    let record = image.record;
    ImageInfo {
        id: record.id,
        tags: image.names,
        repo_digests: record
            .repo_digests
            .iter()
            .filter_map(|text| Reference::parse_docker(text).ok())
            .collect(),
        created: record.created.unwrap_or_default(),
        size: record.size,
        layers: record.layers.iter().map(|layer| layer.diff_id).collect(),
        manifest: record.manifest,
        parent: record.parent,
        config,
        damage,
    }
}

impl ImageInfo {
    /// Whether the image runs on a platform: whether a pull would take it.
    #[must_use]
    pub fn is_for(&self, wanted: &Platform) -> bool {
        self.config.platform().runs_on(wanted)
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let id = Digest::from_bytes([1; 32]);
        Self {
            id,
            tags: Vec::new(),
            repo_digests: Vec::new(),
            created: String::new(),
            size: 0,
            config: ImageConfig::default(),
            damage: None,
            layers: Vec::new(),
            manifest: id,
            parent: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_a_pull_would_take_is_not_pulled_again() {
        let mut image = ImageInfo::for_tests();
        image.config.architecture = "arm".to_owned();
        for (variant, wanted, fits) in [
            (Some("v6"), "linux/arm/v7", true),
            (Some("v7"), "linux/arm/v6", false),
            (None, "linux/arm/v7", true),
            (Some("v7"), "linux/arm", true),
            (Some("v7"), "linux/arm64", false),
        ] {
            image.config.variant = variant.map(str::to_owned);
            let wanted = Platform::parse(wanted).unwrap();
            assert_eq!(image.is_for(&wanted), fits, "{variant:?} on {wanted:?}");
        }
    }
}
