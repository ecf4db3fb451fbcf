//! Images as data: layers, configuration and manifest, in OCI's or Docker's
//! media types. [`crate::registry::Registry::push`] uploads them;
//! [`Image::write_layout`] puts them on disk.
//!
//! Ready-made: [`busybox`], [`debian`], [`many`], [`hostile`].

pub mod busybox;
pub mod debian;
pub mod hostile;
pub mod layer;
pub mod many;
pub mod tree;

use std::path::Path;

use cove_model::Digest;
use cove_model::image::{
    Compression, Descriptor, ImageConfig, Index, Manifest, Platform, RunConfig, media_type,
};

pub use layer::{Blob, Layer, sha256};
pub use tree::{Entry, Tree};

/// Whose media types an image is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// The OCI image specification's.
    #[default]
    Oci,
    /// Docker schema 2's.
    Docker,
}

impl Family {
    /// Media type of a manifest.
    #[must_use]
    pub const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_MANIFEST,
            Self::Docker => media_type::DOCKER_MANIFEST,
        }
    }

    /// Media type of an index.
    #[must_use]
    pub const fn index(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_INDEX,
            Self::Docker => media_type::DOCKER_LIST,
        }
    }

    const fn config(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_CONFIG,
            Self::Docker => media_type::DOCKER_CONFIG,
        }
    }

    const fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, Compression::None) => media_type::OCI_LAYER,
            (Self::Oci, Compression::Gzip) => media_type::OCI_LAYER_GZIP,
            (Self::Oci, Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
            (Self::Docker, Compression::None) => media_type::DOCKER_LAYER,
            // What has no type of its own is found out by whoever unpacks it.
            (Self::Oci, Compression::Xz | Compression::Bzip2) => media_type::OCI_LAYER_GZIP,
            (Self::Docker, Compression::Gzip | Compression::Xz | Compression::Bzip2) => {
                media_type::DOCKER_LAYER_GZIP
            }
            (Self::Docker, Compression::Zstd) => media_type::DOCKER_LAYER_ZSTD,
        }
    }
}

/// An image that can be pushed.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its configuration; `rootfs` and `history` follow the layers.
    pub config: ImageConfig,
    /// Base first.
    pub layers: Vec<Layer>,
    /// Media types.
    pub family: Family,
}

impl Image {
    /// An image for this machine of the given layers.
    #[must_use]
    pub fn new(layers: Vec<Layer>, run: RunConfig) -> Self {
        let mut config = ImageConfig {
            created: Some("2023-11-14T22:13:20Z".to_owned()),
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            config: run,
            ..ImageConfig::default()
        };
        for (n, layer) in layers.iter().enumerate() {
            config.rootfs.diff_ids.push(layer.diff_id);
            config.history.push(cove_model::image::History {
                created: config.created.clone(),
                created_by: Some(format!("testkit layer {n}")),
                ..Default::default()
            });
        }
        Self {
            config,
            layers,
            family: Family::Oci,
        }
    }

    /// The same image in other media types.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// The same image with another run configuration.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut RunConfig)) -> Self {
        change(&mut self.config.config);
        self
    }

    /// The same image said to be for another platform.
    #[must_use]
    pub fn platform(mut self, platform: &Platform) -> Self {
        self.config.os.clone_from(&platform.os);
        self.config.architecture.clone_from(&platform.architecture);
        self.config.variant.clone_from(&platform.variant);
        self
    }

    /// The platform of the configuration.
    #[must_use]
    pub fn own_platform(&self) -> Platform {
        Platform {
            os: self.config.os.clone(),
            architecture: self.config.architecture.clone(),
            variant: self.config.variant.clone(),
        }
    }

    /// The configuration blob; its digest is Docker's image id.
    ///
    /// # Panics
    /// Never: the configuration is serializable.
    #[must_use]
    pub fn config_blob(&self) -> Blob {
        Blob::bytes(serde_json::to_vec(&self.config).expect("a configuration serializes"))
    }

    /// The manifest document.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        let config = self.config_blob();
        Manifest {
            schema_version: 2,
            media_type: Some(self.family.manifest().to_owned()),
            config: Descriptor::new(self.family.config(), config.digest, config.size),
            layers: self
                .layers
                .iter()
                .map(|layer| {
                    let kind = self.family.layer(layer.compression);
                    Descriptor::new(kind, layer.blob.digest, layer.blob.size)
                })
                .collect(),
            annotations: std::collections::BTreeMap::new(),
        }
    }

    /// The manifest's bytes, whose digest is the image's in a registry.
    ///
    /// # Panics
    /// Never: the manifest is serializable.
    #[must_use]
    pub fn manifest_blob(&self) -> Blob {
        Blob::bytes(serde_json::to_vec(&self.manifest()).expect("a manifest serializes"))
    }

    /// The sum of the layers' compressed sizes in bytes.
    #[must_use]
    pub fn compressed_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.blob.size).sum()
    }

    /// Writes an OCI layout with this image under `tag` into the directory.
    ///
    /// # Panics
    /// When the directory cannot be written.
    pub fn write_layout(&self, directory: &Path, tag: &str) {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("the layout's directory is made");
        let manifest = self.manifest_blob();
        for blob in self
            .layers
            .iter()
            .map(|l| &l.blob)
            .chain([&self.config_blob(), &manifest])
        {
            blob.write(&blobs.join(blob.digest.hex()));
        }
        let mut entry = Descriptor::new(self.family.manifest(), manifest.digest, manifest.size);
        entry.annotations.insert(
            "org.opencontainers.image.ref.name".to_owned(),
            tag.to_owned(),
        );
        let index = index_blob(Family::Oci, vec![entry]);
        index.write(&directory.join("index.json"));
        std::fs::write(
            directory.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .expect("the layout's version file is written");
    }

    /// Unpacks the layers in order with Debian's tar: a root file system for
    /// runtimes that want a directory. Whiteouts are not applied.
    ///
    /// # Panics
    /// When tar fails.
    pub fn write_rootfs(&self, directory: &Path) {
        std::fs::create_dir_all(directory).expect("the root's directory is made");
        for layer in &self.layers {
            let file = tempfile::NamedTempFile::new().expect("a temporary file");
            layer.blob.write(file.path());
            crate::cmd::Cmd::new("tar")
                .args([
                    "--extract",
                    "--numeric-owner",
                    "--xattrs-include=*",
                    "--file",
                ])
                .arg(file.path())
                .arg("--directory")
                .arg(directory)
                .args(match layer.compression {
                    Compression::None => &[] as &[&str],
                    Compression::Gzip => &["--gzip"],
                    Compression::Zstd => &["--zstd"],
                    Compression::Xz => &["--xz"],
                    Compression::Bzip2 => &["--bzip2"],
                })
                .ok();
        }
    }
}

/// An index document as a blob.
///
/// # Panics
/// Never: the index is serializable.
#[must_use]
pub fn index_blob(family: Family, manifests: Vec<Descriptor>) -> Blob {
    let index = Index {
        schema_version: 2,
        media_type: Some(family.index().to_owned()),
        manifests,
        annotations: std::collections::BTreeMap::new(),
    };
    Blob::bytes(serde_json::to_vec(&index).expect("an index serializes"))
}

/// An index entry for an image.
#[must_use]
pub fn index_entry(image: &Image) -> Descriptor {
    let manifest = image.manifest_blob();
    let mut entry = Descriptor::new(image.family.manifest(), manifest.digest, manifest.size);
    entry.platform = Some(image.own_platform());
    entry
}

/// A digest that no blob has.
#[must_use]
pub const fn absent_digest() -> Digest {
    Digest::from_bytes([0xab; 32])
}

/// The environment every ready-made image sets.
#[must_use]
pub fn default_env() -> Vec<String> {
    vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()]
}
