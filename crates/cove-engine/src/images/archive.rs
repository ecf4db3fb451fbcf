//! Images as files: save, load, import.

use std::io::{Read, Write};
use std::path::Path;

use cove_image::{Client, CredentialStore, Environment, Options};
use cove_model::event::ImageChange;
use cove_model::image::{History, ImageConfig, Platform};
use cove_model::{Digest, Reference};
pub use cove_storage::{Format as SaveFormat, Loaded};
use cove_storage::{Lease, Saved};

use super::Images;
use super::changes;
use crate::error::{Error, Result};

/// How an image is made of an archive of a root file system.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// The image's name; without it the image is dangling.
    pub name: Option<String>,
    /// What it runs on, when not what the host is.
    pub platform: Option<Platform>,
    /// A remark.
    pub message: String,
    /// Instructions of a Dockerfile that make the configuration.
    pub changes: Vec<String>,
}

impl Images<'_> {
    /// Writes images as one stream: a name that says a tag brings that tag,
    /// a bare repository all its tags, an id the image without a name.
    ///
    /// # Errors
    /// When an image is not here or damaged, or the stream takes no more.
    pub fn save(&self, names: &[String], format: SaveFormat, out: impl Write) -> Result<()> {
        let images = self.named_images(names)?;
        self.engine
            .store
            .save(&images, format, out)
            .map_err(Error::Storage)?;
        self.note_all(images.iter().map(|saved| &saved.id), ImageChange::Save);
        Ok(())
    }

    /// Writes images as an OCI layout into a directory.
    ///
    /// # Errors
    /// As [`Images::save`].
    pub fn save_layout(&self, names: &[String], directory: &Path) -> Result<()> {
        let images = self.named_images(names)?;
        self.engine
            .store
            .save_layout(&images, directory)
            .map_err(Error::Storage)?;
        self.note_all(images.iter().map(|saved| &saved.id), ImageChange::Save);
        Ok(())
    }

    fn note_all<'a>(&self, ids: impl IntoIterator<Item = &'a Digest>, change: ImageChange) {
        for id in ids {
            self.note(id, None, change);
        }
    }

    fn named_images(&self, names: &[String]) -> Result<Vec<Saved>> {
        let mut saved: Vec<Saved> = Vec::new();
        for name in names {
            if let Ok(reference) = Reference::parse_docker(name)
                && reference.tag().is_none()
                && reference.digest().is_none()
                && self.save_repository(&reference, &mut saved)?
            {
                continue;
            }
            let image = self.find(name)?;
            let id = image.record.id;
            let named: Vec<Reference> = match Reference::parse_docker(name) {
                Ok(reference) if reference.tag().is_some() => image
                    .names
                    .into_iter()
                    .filter(|tag| *tag == reference)
                    .collect(),
                Ok(reference) => image
                    .names
                    .into_iter()
                    .filter(|tag| tag.name() == reference.name())
                    .collect(),
                Err(_) => Vec::new(),
            };
            match saved.iter_mut().find(|known| known.id == id) {
                Some(known) => known.names.extend(named),
                None => saved.push(Saved { id, names: named }),
            }
        }
        Ok(saved)
    }

    /// Adds every tag of a repository; false when it has none.
    fn save_repository(&self, wanted: &Reference, saved: &mut Vec<Saved>) -> Result<bool> {
        let mut found = false;
        for image in self.list()? {
            let same = |tag: &Reference| tag.name() == wanted.name();
            let named: Vec<Reference> = image.tags.into_iter().filter(same).collect();
            if named.is_empty() {
                continue;
            }
            found = true;
            match saved.iter_mut().find(|known| known.id == image.id) {
                Some(known) => known.names.extend(named),
                None => saved.push(Saved {
                    id: image.id,
                    names: named,
                }),
            }
        }
        Ok(found)
    }

    /// Reads images from a docker-archive or OCI archive, compressed or not.
    ///
    /// # Errors
    /// When the archive is damaged, incomplete or of another form.
    pub fn load(&self, reader: impl Read + Send) -> Result<Vec<Loaded>> {
        self.engine.require_root()?;
        let loaded = self.engine.store.load(reader).map_err(Error::Storage)?;
        self.note_all(loaded.iter().map(|image| &image.id), ImageChange::Load);
        Ok(loaded)
    }

    /// Reads images from an OCI layout in a directory.
    ///
    /// # Errors
    /// As [`Images::load`].
    pub fn load_layout(&self, directory: &Path) -> Result<Vec<Loaded>> {
        self.engine.require_root()?;
        let loaded = self
            .engine
            .store
            .load_layout(directory)
            .map_err(Error::Storage)?;
        self.note_all(loaded.iter().map(|image| &image.id), ImageChange::Load);
        Ok(loaded)
    }

    /// The content of a URL of http or https, for [`Images::import`].
    ///
    /// # Errors
    /// When nobody answers, or the answer is no content.
    pub fn download(&self, url: &str) -> Result<impl Read + Send + use<>> {
        let environment = Environment::of_process();
        let credentials = CredentialStore::new(environment.clone());
        let client = Client::new(environment, credentials, Options::default());
        client.download(url).map_err(Error::Registry)
    }

    /// Makes an image of one layer from an archive of a root file system.
    ///
    /// # Errors
    /// When the archive is damaged, a change is none, or the name is none.
    pub fn import(&self, reader: impl Read + Send, request: &ImportRequest) -> Result<Digest> {
        self.engine.require_root()?;
        let name = request
            .name
            .as_deref()
            .map(Reference::parse_tag)
            .transpose()
            .map_err(Error::Reference)?;
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        if platform.os != "linux" {
            return Err(Error::Invalid(
                "operating system is not supported".to_owned(),
            ));
        }
        let now = jiff::Timestamp::now().to_string();
        let mut config = ImageConfig {
            created: Some(now.clone()),
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            ..ImageConfig::default()
        };
        changes::apply(&mut config.config, &request.changes)?;
        config.history.push(History {
            created: Some(now),
            comment: Some(request.message.clone()),
            ..History::default()
        });
        let lease = Lease::new(&self.engine.store).map_err(Error::Storage)?;
        let staged = self.engine.store.import(reader).map_err(Error::Storage)?;
        let layer = staged.info().diff_id;
        self.engine
            .store
            .publish(&lease, vec![staged])
            .map_err(Error::Storage)?;
        let record = self
            .engine
            .store
            .create_image(&lease, config, &[layer], name.as_slice(), None)
            .map_err(Error::Storage)?;
        if let Some(name) = name {
            self.note(&record.id, Some(name.familiar()), ImageChange::Tag);
        }
        self.note(&record.id, None, ImageChange::Import);
        Ok(record.id)
    }
}
