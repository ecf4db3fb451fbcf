//! Archives of images: docker-archive and OCI layout, as tar streams or
//! directories.

mod contents;
mod documents;
mod load;
mod plan;
mod save;

use std::collections::BTreeSet;
use std::io::Read;

use cove_model::image::{Descriptor, ImageConfig, Manifest, media_type};
use cove_model::{Digest, Reference, nullable};

use crate::blob::digest_of;
use crate::error::{Error, Result};
use crate::image::{ImageLayer, ImageRecord};
use crate::inflate::detect;
use crate::lease::Lease;
use crate::store::Store;
use crate::unpack::{StagedLayer, Unpack};

pub use load::Loaded;
pub use save::{Format, Saved};

/// The reference as image tools write it into an OCI index.
const FULL_NAME: &str = "io.containerd.image.name";
/// The tag alone, from the OCI specification.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Store {
    /// Makes an image of layers (by diff id, base first) that are in the
    /// store and protected by `lease`: writes its configuration, with these
    /// layers as its root, and a manifest of uncompressed layers. `parent` is the
    /// image that it was made from, if it was.
    ///
    /// # Errors
    /// When a layer is missing or a document cannot be written.
    pub fn create_image(
        &self,
        lease: &Lease,
        mut config: ImageConfig,
        layers: &[Digest],
        names: &[Reference],
        parent: Option<Digest>,
    ) -> Result<ImageRecord> {
        "layers".clone_into(&mut config.rootfs.kind);
        config.rootfs.diff_ids = layers.to_vec();
        let bytes = document("the image's configuration", &config)?;
        self.record_image(lease, &bytes, config.created, layers, names, parent)
    }

    /// Unpacks a root file system, compressed or not, as one layer.
    ///
    /// # Errors
    /// Those of [`Store::unpack`], and when it is compressed in another way.
    pub fn import(&self, reader: impl Read + Send) -> Result<StagedLayer> {
        let (compression, reader) = detect(reader)?;
        self.unpack(reader, &Unpack::new(compression))
    }

    /// Records an image of a configuration that is kept as it is.
    pub(crate) fn record_image(
        &self,
        lease: &Lease,
        config: &[u8],
        created: Option<String>,
        layers: &[Digest],
        names: &[Reference],
        parent: Option<Digest>,
    ) -> Result<ImageRecord> {
        let id = digest_of(config);
        let mut size = 0;
        let mut descriptors = Vec::with_capacity(layers.len());
        for diff_id in layers {
            let layer = self.layer(diff_id)?;
            size += layer.info().size;
            let tar_size = layer.info().tar_size;
            descriptors.push(Descriptor::new(media_type::OCI_LAYER, *diff_id, tar_size));
        }
        let manifest = plain_manifest(&id, config.len() as u64, descriptors);
        let bytes = document("the image's manifest", &manifest)?;
        lease.protect(&[id, digest_of(&bytes)])?;
        self.put_bytes(config)?;
        let record = ImageRecord {
            id,
            manifest: self.put_bytes(&bytes)?,
            manifest_media_type: media_type::OCI_MANIFEST.to_owned(),
            repo_digests: BTreeSet::new(),
            layers: manifest.layers.iter().map(uncompressed).collect(),
            size,
            created,
            parent,
        };
        self.put_image(&record, names)?;
        Ok(record)
    }
}

fn uncompressed(descriptor: &Descriptor) -> ImageLayer {
    ImageLayer {
        diff_id: descriptor.digest,
        compressed: descriptor.digest,
        size: descriptor.size,
        media_type: descriptor.media_type.clone(),
    }
}

fn plain_manifest(id: &Digest, config_size: u64, layers: Vec<Descriptor>) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        config: Descriptor::new(media_type::OCI_CONFIG, *id, config_size),
        layers,
        annotations: std::collections::BTreeMap::new(),
    }
}

fn document(what: &str, value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|source| Error::Document {
        what: what.to_owned(),
        source,
    })
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    nullable::from_slice(bytes).map_err(|source| Error::Document {
        what: what.to_owned(),
        source,
    })
}
