//! Image records and the names that point to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use cove_model::{Digest, Reference};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::blob::{check_digest, digest_of};
use crate::error::{At, Error, Result, Step};
use crate::layer::digests_in;
use crate::staging::{self, StagedFile};
use crate::store::Store;

/// The longest record that is accepted.
const RECORD_LIMIT: u64 = 4 << 20;

/// An image: what its manifest and configuration say, in the form that
/// listing, running and sharing need. Both documents are blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of the configuration; Docker's image id.
    pub id: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Media type of the manifest.
    pub manifest_media_type: String,
    /// Where it was pulled from or pushed to: `registry/repository@digest`,
    /// fully qualified. The digest may be that of an index.
    #[serde(default)]
    pub repo_digests: BTreeSet<String>,
    /// The layers, base first.
    pub layers: Vec<ImageLayer>,
    /// Bytes of all regular files in all layers.
    pub size: u64,
    /// RFC 3339 time of creation, as the configuration says.
    #[serde(default)]
    pub created: Option<String>,
    /// The image that it was made from here.
    #[serde(default)]
    pub parent: Option<Digest>,
}

impl ImageRecord {
    /// The blobs and layers that the image is made of.
    pub(crate) fn content(&self) -> Vec<Digest> {
        let layers = self.layers.iter().map(|layer| layer.diff_id);
        [self.id, self.manifest].into_iter().chain(layers).collect()
    }
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// Digest of the uncompressed archive; the layer's name in the store.
    pub diff_id: Digest,
    /// Digest of the blob that the manifest names.
    pub compressed: Digest,
    /// Length of that blob in bytes.
    pub size: u64,
    /// Media type of that blob.
    pub media_type: String,
}

/// An image with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The record.
    pub record: ImageRecord,
    /// References with a tag, in alphabetical order; none when dangling.
    pub names: Vec<Reference>,
}

impl Image {
    /// Whether it has neither tag nor repository digest, as Docker counts.
    #[must_use]
    pub fn is_dangling(&self) -> bool {
        self.names.is_empty()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct NameRecord {
    reference: String,
    image: Digest,
}

impl Store {
    /// Records an image whose blobs and layers are in the store, protected by
    /// the caller's lease, and lets `names` point to it. Repository digests
    /// of an earlier record of the same id are kept. Durable on return.
    ///
    /// # Errors
    /// When a blob or layer is missing or a record cannot be written; without
    /// the names, the image is there but dangling.
    pub fn put_image(&self, record: &ImageRecord, names: &[Reference]) -> Result<()> {
        self.require_content(record)?;
        // Another process may have brought one of them just now.
        self.sync_layer_names()?;
        let _guard = self.lock_images()?;
        let path = self.image_path(&record.id);
        let mut record = record.clone();
        if let Some(known) = read_record::<ImageRecord>(&path)? {
            record.repo_digests.extend(known.repo_digests);
            record.parent = record.parent.or(known.parent);
        }
        self.write_record(&path, &record)?;
        names
            .iter()
            .try_for_each(|name| self.write_name(name, &record.id))
    }

    /// Looks whether everything is there that a record, whose content is
    /// protected by a lease, refers to.
    pub(crate) fn require_content(&self, record: &ImageRecord) -> Result<()> {
        for blob in [&record.id, &record.manifest] {
            if !self.has_blob(blob) {
                return Err(Error::NotFound {
                    kind: "blob",
                    name: blob.to_string(),
                });
            }
        }
        for layer in &record.layers {
            if !self.has_layer(&layer.diff_id) {
                return Err(Error::NotFound {
                    kind: "layer",
                    name: layer.diff_id.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Lets `name` point to the image `id`, whatever it pointed to before.
    ///
    /// # Errors
    /// When there is no such image or the record cannot be written.
    pub fn tag(&self, id: &Digest, name: &Reference) -> Result<()> {
        let _guard = self.lock_images()?;
        self.image_record(id)?;
        self.write_name(name, id)
    }

    /// Removes a name; true when it was there. The image stays.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn untag(&self, name: &Reference) -> Result<bool> {
        let _guard = self.lock_images()?;
        self.remove_name(name)
    }

    /// The record of the image `id`.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the record cannot be read.
    pub fn image_record(&self, id: &Digest) -> Result<ImageRecord> {
        self.known_image(id)?.ok_or_else(|| Error::NotFound {
            kind: "image",
            name: id.to_string(),
        })
    }

    pub(crate) fn known_image(&self, id: &Digest) -> Result<Option<ImageRecord>> {
        read_record(&self.image_path(id))
    }

    /// Whether the image `id` has a record, readable or not.
    pub(crate) fn has_image(&self, id: &Digest) -> bool {
        self.image_path(id).is_file()
    }

    /// The reference and the image of a record of `images/names`.
    pub(crate) fn named_image(&self, hash: &Digest) -> Result<(String, Digest)> {
        let path = self.name_record_path(hash);
        let record = read_record::<NameRecord>(&path)?.ok_or_else(|| Error::NotFound {
            kind: "name",
            name: hash.to_string(),
        })?;
        check_digest(
            "the recorded name",
            hash,
            &digest_of(record.reference.as_bytes()),
        )?;
        Ok((record.reference, record.image))
    }

    /// Every image with its names, newest first.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut names = self.names_by_image()?;
        let mut images = Vec::new();
        for id in digests_in(&self.path("images/by-id"))? {
            // One removed since the listing is simply not there.
            if let Some(record) = read_record::<ImageRecord>(&self.image_path(&id))? {
                images.push(Image {
                    record,
                    names: names.remove(&id).unwrap_or_default(),
                });
            }
        }
        images.sort_by(|a, b| {
            (&b.record.created, &b.record.id).cmp(&(&a.record.created, &a.record.id))
        });
        Ok(images)
    }

    /// Finds an image by what a user typed, in Docker's order: a whole id, a
    /// reference (`latest` where it has no tag), a reference by digest, the
    /// start of an id with or without `sha256:`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], or when a record cannot be
    /// read.
    pub fn find_image(&self, text: &str) -> Result<Image> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if let Ok(id) = Digest::from_hex(hex) {
            return self.with_names(self.image_record(&id)?);
        }
        if let Ok(reference) = Reference::parse_docker(text)
            && let Some(id) = self.find_reference(&reference.with_default_tag())?
        {
            return self.with_names(self.image_record(&id)?);
        }
        if !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let ids = digests_in(&self.path("images/by-id"))?;
            let fitting: Vec<_> = ids.iter().filter(|id| id.hex().starts_with(hex)).collect();
            match fitting.as_slice() {
                [] => {}
                [id] => return self.with_names(self.image_record(id)?),
                several => {
                    let count = several.len();
                    return Err(Error::Ambiguous {
                        prefix: text.to_owned(),
                        count,
                    });
                }
            }
        }
        Err(Error::NotFound {
            kind: "image",
            name: text.to_owned(),
        })
    }

    /// The image that a complete reference points to: by its tag's record, or
    /// by a repository digest.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn find_reference(&self, reference: &Reference) -> Result<Option<Digest>> {
        if let Some(digest) = reference.digest() {
            let wanted = format!("{}@{digest}", reference.name());
            let images = digests_in(&self.path("images/by-id"))?;
            for id in images {
                let record = read_record::<ImageRecord>(&self.image_path(&id))?;
                if record.is_some_and(|record| record.repo_digests.contains(&wanted)) {
                    return Ok(Some(id));
                }
            }
            return Ok(None);
        }
        let record = read_record::<NameRecord>(&self.name_path(reference))?;
        Ok(record
            .filter(|r| r.reference == reference.to_string())
            .map(|r| r.image))
    }

    pub(crate) fn with_names(&self, record: ImageRecord) -> Result<Image> {
        let names = self
            .names_by_image()?
            .remove(&record.id)
            .unwrap_or_default();
        Ok(Image { record, names })
    }

    /// Keeps other changes of image records out; held for a few small writes.
    pub(crate) fn lock_images(&self) -> Result<rustix::fd::OwnedFd> {
        let path = self.path("images/lock");
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).at(Step::Open, &path)?;
        staging::lock(&fd, true, &path)?;
        Ok(fd)
    }

    /// The caller holds the images' lock.
    pub(crate) fn remove_name(&self, name: &Reference) -> Result<bool> {
        self.remove_record(&self.name_path(&name.clone().with_default_tag()))
    }

    /// The caller holds the images' lock and has removed its names.
    pub(crate) fn remove_image_record(&self, id: &Digest) -> Result<bool> {
        self.remove_record(&self.image_path(id))
    }

    /// The caller holds the images' lock.
    pub(crate) fn replace_image_record(&self, record: &ImageRecord) -> Result<()> {
        self.write_record(&self.image_path(&record.id), record)
    }

    /// The caller holds the images' lock.
    pub(crate) fn remove_name_record(&self, hash: &Digest) -> Result<bool> {
        self.remove_record(&self.name_record_path(hash))
    }

    fn remove_record(&self, path: &Path) -> Result<bool> {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).at(Step::Remove, path),
        }
        if self.is_durable() {
            cove_sys::fs::sync_parent(path).at(Step::Sync, path)?;
        }
        Ok(true)
    }

    fn names_by_image(&self) -> Result<BTreeMap<Digest, Vec<Reference>>> {
        let directory = self.path("images/names");
        let mut names: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for entry in std::fs::read_dir(&directory).at(Step::List, &directory)? {
            let path = entry.at(Step::List, &directory)?.path();
            let Some(record) = read_record::<NameRecord>(&path)? else {
                continue;
            };
            // Only what the grammar allows was ever written.
            if let Ok(reference) = Reference::parse_docker(&record.reference) {
                names.entry(record.image).or_default().push(reference);
            }
        }
        for list in names.values_mut() {
            list.sort_by_key(ToString::to_string);
        }
        Ok(names)
    }

    fn write_name(&self, name: &Reference, image: &Digest) -> Result<()> {
        let name = name.clone().with_default_tag();
        let record = NameRecord {
            reference: name.to_string(),
            image: *image,
        };
        self.write_record(&self.name_path(&name), &record)
    }

    fn write_record(&self, path: &Path, record: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(record).map_err(|source| Error::Document {
            what: path.display().to_string(),
            source,
        })?;
        let mut staged = StagedFile::new(&self.tmp())?;
        staged.file_mut().write_all(&text).at(Step::Write, path)?;
        staged.persist(path, self.is_durable())
    }

    fn image_path(&self, id: &Digest) -> std::path::PathBuf {
        self.path("images/by-id").join(format!("{}.json", id.hex()))
    }

    /// References may be longer than a file name: their hash is not.
    fn name_path(&self, name: &Reference) -> std::path::PathBuf {
        self.name_record_path(&digest_of(name.to_string().as_bytes()))
    }

    fn name_record_path(&self, hash: &Digest) -> std::path::PathBuf {
        self.path("images/names")
            .join(format!("{}.json", hash.hex()))
    }
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match cove_sys::fs::read(path, RECORD_LIMIT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.at(Step::Read, path)?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| Error::Document {
            what: path.display().to_string(),
            source,
        })
}
