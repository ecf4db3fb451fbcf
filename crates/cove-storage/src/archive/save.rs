//! Saving images: layers come back byte for byte by their recipes, and are
//! verified on the way out.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use cove_model::image::{Descriptor, Index, media_type};
use cove_model::{Digest, Reference};
use sha2::{Digest as _, Sha256};

use super::documents::{DockerImage, Repositories};
use super::{FULL_NAME, REF_NAME, document, plain_manifest};
use crate::blob::{BLOB_LIMIT, check_digest, digest_of};
use crate::error::{At, Error, Result, Step};
use crate::image::ImageRecord;
use crate::lease::Lease;
use crate::store::Store;
use crate::tar::Kind;
use crate::tar::Time;
use crate::tar::writer::{Member, TarWriter};

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What `docker save` writes and `docker load` reads.
    Docker,
    /// An OCI image layout.
    Oci,
}

/// An image to save and the names that it is to have in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The image.
    pub id: Digest,
    /// Its names there.
    pub names: Vec<Reference>,
}

impl Store {
    /// Writes images as one tar stream.
    ///
    /// # Errors
    /// When an image is missing or damaged, or the sink fails.
    pub fn save(&self, images: &[Saved], format: Format, out: impl Write) -> Result<()> {
        let mut target = Target::Tar(TarWriter::new(out));
        self.save_to(images, format, &mut target)?;
        match target {
            Target::Tar(tar) => tar.finish().map(drop),
            Target::Directory(_) => Ok(()),
        }
    }

    /// Writes images as an OCI layout into the empty or missing directory
    /// `path`.
    ///
    /// # Errors
    /// When an image is missing or damaged, or the directory cannot be written.
    pub fn save_layout(&self, images: &[Saved], path: &Path) -> Result<()> {
        let blobs = path.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).at(Step::Create, &blobs)?;
        let mut target: Target<std::io::Sink> = Target::Directory(path.to_owned());
        self.save_to(images, Format::Oci, &mut target)
    }

    fn save_to<W: Write>(
        &self,
        images: &[Saved],
        format: Format,
        target: &mut Target<W>,
    ) -> Result<()> {
        let records = images
            .iter()
            .map(|image| Ok((self.image_record(&image.id)?, image.names.as_slice())))
            .collect::<Result<Vec<_>>>()?;
        // Writing takes long; a removal meanwhile must take nothing away.
        let lease = Lease::new(self)?;
        for (record, _) in &records {
            lease.protect(&record.content())?;
            self.require_content(record)?;
        }
        let mut written = BTreeSet::new();
        match format {
            Format::Docker => self.save_docker(&records, target, &mut written),
            Format::Oci => self.save_oci(&records, target, &mut written),
        }
    }

    fn save_docker<W: Write>(
        &self,
        images: &[(ImageRecord, &[Reference])],
        target: &mut Target<W>,
        written: &mut BTreeSet<Digest>,
    ) -> Result<()> {
        let mut manifest = Vec::new();
        let mut repositories = Repositories::new();
        for (record, names) in images {
            let id = &record.id;
            let layers: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
            let path = |digest: &Digest| format!("{}.tar", digest.hex());
            for diff_id in &layers {
                if written.insert(*diff_id) {
                    self.save_layer(diff_id, &path(diff_id), target)?;
                }
            }
            let config = format!("{}.json", id.hex());
            if written.insert(*id) {
                target.bytes(&config, &self.blob(id, BLOB_LIMIT)?)?;
            }
            for name in *names {
                if let (Some(tag), Some(top)) = (name.tag(), layers.last()) {
                    let tags = repositories.entry(name.familiar_name()).or_default();
                    tags.insert(tag.to_owned(), top.hex());
                }
            }
            manifest.push(DockerImage {
                config,
                repo_tags: Some(names.iter().map(Reference::familiar).collect()),
                layers: layers.iter().map(path).collect(),
            });
        }
        target.bytes("manifest.json", &document("manifest.json", &manifest)?)?;
        target.bytes("repositories", &document("repositories", &repositories)?)
    }

    fn save_oci<W: Write>(
        &self,
        images: &[(ImageRecord, &[Reference])],
        target: &mut Target<W>,
        written: &mut BTreeSet<Digest>,
    ) -> Result<()> {
        let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        target.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let mut manifests = Vec::new();
        for (record, names) in images {
            let id = &record.id;
            let mut layers = Vec::new();
            for layer in &record.layers {
                let diff_id = layer.diff_id;
                if written.insert(diff_id) {
                    self.save_layer(&diff_id, &blob(&diff_id), target)?;
                }
                let size = self.layer(&diff_id)?.info().tar_size;
                layers.push(Descriptor::new(media_type::OCI_LAYER, diff_id, size));
            }
            let config = self.blob(id, BLOB_LIMIT)?;
            if written.insert(*id) {
                target.bytes(&blob(id), &config)?;
            }
            let manifest = plain_manifest(id, config.len() as u64, layers);
            let bytes = document("the image's manifest", &manifest)?;
            let digest = digest_of(&bytes);
            if written.insert(digest) {
                target.bytes(&blob(&digest), &bytes)?;
            }
            let size = bytes.len() as u64;
            let plain = Descriptor::new(media_type::OCI_MANIFEST, digest, size);
            manifests.extend(names.iter().map(|name| named(&plain, name)));
            if names.is_empty() {
                manifests.push(plain);
            }
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests,
            annotations: std::collections::BTreeMap::new(),
        };
        target.bytes("index.json", &document("index.json", &index)?)
    }

    fn save_layer<W: Write>(
        &self,
        diff_id: &Digest,
        path: &str,
        target: &mut Target<W>,
    ) -> Result<()> {
        let layer = self.layer(diff_id)?;
        let mut tar = layer.tar()?;
        target.stream(path, layer.info().tar_size, diff_id, &mut tar)
    }
}

fn named(plain: &Descriptor, name: &Reference) -> Descriptor {
    let mut descriptor = plain.clone();
    descriptor
        .annotations
        .insert(FULL_NAME.to_owned(), name.to_string());
    if let Some(tag) = name.tag() {
        descriptor
            .annotations
            .insert(REF_NAME.to_owned(), tag.to_owned());
    }
    descriptor
}

/// Where an archive goes.
enum Target<W> {
    Tar(TarWriter<W>),
    Directory(PathBuf),
}

impl<W: Write> Target<W> {
    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        match self {
            // One time for all, so that the same images are the same archive.
            Self::Tar(tar) => tar.file(path, 0o644, Time::default(), bytes),
            Self::Directory(directory) => {
                let path = directory.join(path);
                std::fs::write(&path, bytes).at(Step::Write, &path)
            }
        }
    }

    /// A layer of `size` bytes that must have the digest `diff_id`.
    fn stream(
        &mut self,
        path: &str,
        size: u64,
        diff_id: &Digest,
        content: &mut impl Read,
    ) -> Result<()> {
        match self {
            Self::Tar(tar) => {
                let member =
                    Member::plain(path.as_bytes(), Kind::File, 0o644, Time::default(), size);
                tar.header(&member)?;
                copy(content, size, diff_id, |bytes| tar.data(bytes))?;
                tar.pad(size)
            }
            Self::Directory(directory) => {
                let path = directory.join(path);
                let mut file = File::create(&path).at(Step::Create, &path)?;
                copy(content, size, diff_id, |bytes| {
                    file.write_all(bytes).at(Step::Write, &path)
                })
            }
        }
    }
}

fn copy(
    content: &mut impl Read,
    size: u64,
    diff_id: &Digest,
    mut put: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let damaged = |what: String| Error::Damaged {
        layer: *diff_id,
        what,
    };
    let mut hasher = Sha256::new();
    let mut left = size;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = content
            .read(&mut buffer)
            .map_err(|error| damaged(error.to_string()))?;
        if count == 0 {
            break;
        }
        left = left
            .checked_sub(count as u64)
            .ok_or_else(|| damaged("it is longer than it was".to_owned()))?;
        hasher.update(&buffer[..count]);
        put(&buffer[..count])?;
    }
    if left > 0 {
        return Err(damaged("it is shorter than it was".to_owned()));
    }
    check_digest(
        "the stored layer",
        diff_id,
        &Digest::from_bytes(hasher.finalize().into()),
    )
}
