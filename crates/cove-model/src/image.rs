//! The documents of an image: index, manifest and configuration, as the OCI
//! image specification 1.1 and Docker's schema 2 define them.
//!
//! Unknown fields are ignored here: the stored bytes stay the truth, these
//! types are a view of them. They are read by [`crate::nullable`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::nullable;
pub use crate::platform::Platform;

/// Media types that Cove reads.
pub mod media_type {
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, uncompressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker schema 2 manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, uncompressed (BuildKit).
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker layer, zstd (BuildKit).
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
}

/// How a layer's tar stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A plain tar stream.
    None,
    /// RFC 1952, possibly of several members.
    Gzip,
    /// RFC 8878, possibly of several frames.
    Zstd,
    /// No media type of a layer says so; archives come so.
    Xz,
    /// As [`Compression::Xz`].
    Bzip2,
}

impl Compression {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The compression that a layer's media type declares; `None` when the
    /// type is no layer that Cove can unpack.
    #[must_use]
    pub fn of_layer(media_type: &str) -> Option<Self> {
        match media_type {
            media_type::OCI_LAYER | media_type::DOCKER_LAYER => Some(Self::None),
            media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Some(Self::Gzip),
            media_type::OCI_LAYER_ZSTD | media_type::DOCKER_LAYER_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Points to a blob: its type, digest and length in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// The blob's content digest.
    pub digest: Digest,
    /// The blob's length in bytes.
    #[serde(default)]
    pub size: u64,
    /// The platform an index entry is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor without platform and annotations.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// An image index or Docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// The document's own media type; OCI leaves it optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests, in order of preference.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// The document's own media type; OCI leaves it optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration blob.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image configuration with Docker's additions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time of creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Go's name of the processor architecture.
    #[serde(default)]
    pub architecture: String,
    /// Go's name of the operating system.
    #[serde(default)]
    pub os: String,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container of this image runs.
    #[serde(default)]
    pub config: RunConfig,
    /// The layers by the digest of their uncompressed tar streams.
    #[serde(deserialize_with = "said")]
    pub rootfs: RootFs,
    /// How the image came to be, one entry per build step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

impl ImageConfig {
    /// Reads a configuration. Whoever accepts one and whoever reads it again
    /// later come here, so that what was accepted can be read.
    ///
    /// # Errors
    /// When it is no JSON, or says something other than a configuration does.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        nullable::from_slice(bytes)
    }

    /// What the image is for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform {
            // Images of before 2014 leave it out.
            os: if self.os.is_empty() {
                "linux".to_owned()
            } else {
                self.os.clone()
            },
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }
}

/// What must be there.
fn said<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)?.ok_or_else(|| serde::de::Error::missing_field("rootfs"))
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Digests of the uncompressed layers, base first; Docker leaves the list
    /// of an image without layers out, Go's OCI types write `null`.
    #[serde(default)]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

/// One build step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339 time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True when the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// How a container runs: the `config` object of an image and, completed by
/// the user's flags, Docker's `Config` of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User and optional group, by name or number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports the image listens on, as `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `KEY=value` pairs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program; its arguments are followed by `cmd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments, or the program where there is no entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that get an anonymous volume.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels; data, never configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How health is checked; Docker's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<serde_json::Value>,
    /// The shell of shell-form instructions; Docker's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Triggers for builds on top; Docker's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
}

/// The empty object that Go's `map[string]struct{}` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_of_dockers_with_nulls_is_read() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],
            "Volumes":{"/v":{}},"Labels":null,"ExposedPorts":{"80/tcp":{}},"WorkingDir":""},
            "rootfs":{"type":"layers","diff_ids":[]},"history":null}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.config.cmd.unwrap(), ["sh"]);
        assert!(config.config.volumes.contains_key("/v"));
        assert!(config.history.is_empty());
        let bare = r#"{"architecture":"amd64","os":"linux","config":null,
            "rootfs":{"type":"layers","diff_ids":[]}}"#;
        assert!(ImageConfig::parse(bare.as_bytes()).is_ok());
    }

    #[test]
    fn an_image_without_layers_is_read_as_each_tool_writes_it() {
        for rootfs in [
            r#"{"type":"layers"}"#,
            r#"{"type":"layers","diff_ids":null}"#,
            r#"{"type":"layers","diff_ids":[]}"#,
        ] {
            let text = format!(r#"{{"os":null,"rootfs":{rootfs}}}"#);
            let config = ImageConfig::parse(text.as_bytes()).unwrap();
            assert_eq!(config.rootfs, RootFs::default(), "{rootfs}");
            assert_eq!(config.platform().os, "linux");
        }
        assert!(ImageConfig::parse(b"{}").is_err());
        let manifest = format!(
            r#"{{"schemaVersion":2,"layers":null,"annotations":null,
                "config":{{"mediaType":"c","size":1,"digest":"sha256:{}","annotations":null}}}}"#,
            "a".repeat(64)
        );
        let manifest: Manifest = nullable::from_slice(manifest.as_bytes()).unwrap();
        assert!(manifest.layers.is_empty());
    }

    fn descriptor() -> serde_json::Value {
        json!({
            "mediaType": "application/x", "size": 1,
            "digest": format!("sha256:{}", "a".repeat(64)),
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
            "annotations": {"k": "v"},
        })
    }

    /// What is read of each pair of documents, one with `null`, must be equal.
    fn null_is_as_if_absent<T>(document: &serde_json::Value)
    where
        T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let read = |value: &serde_json::Value| {
            let bytes = value.to_string();
            assert_eq!(
                nullable::from_slice::<T>(bytes.as_bytes()).ok(),
                nullable::from_value::<T>(value.clone()).ok(),
            );
            nullable::from_slice::<T>(bytes.as_bytes()).ok()
        };
        assert!(read(document).is_some());
        let free = [
            "annotations",
            "Labels",
            "ExposedPorts",
            "Volumes",
            "Healthcheck",
        ];
        let pairs = testkit::nulls::pairs(document, &free);
        assert!(pairs.len() > 5);
        let mut readable = 0;
        for pair in pairs {
            let null = read(&pair.null);
            assert_eq!(null, read(&pair.absent), "{}", pair.path);
            readable += usize::from(null.is_some());
        }
        assert!(readable > 5);
    }

    #[test]
    fn null_is_as_if_absent_in_every_field() {
        null_is_as_if_absent::<Index>(&json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
            "manifests": [descriptor()], "annotations": {"k": "v"},
        }));
        null_is_as_if_absent::<Manifest>(&json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": descriptor(), "layers": [descriptor()], "annotations": {"k": "v"},
        }));
        null_is_as_if_absent::<ImageConfig>(&json!({
            "created": "2020-01-01T00:00:00Z", "author": "me", "architecture": "amd64",
            "os": "linux", "variant": "v1",
            "config": {
                "User": "u", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=1"],
                "Entrypoint": ["e"], "Cmd": ["c"], "Volumes": {"/v": {}},
                "WorkingDir": "/w", "Labels": {"k": "v"}, "StopSignal": "TERM",
                "Healthcheck": {"Test": ["NONE"]}, "Shell": ["sh"], "OnBuild": ["RUN x"],
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", "b".repeat(64))]},
            "history": [{
                "created": "2020-01-01T00:00:00Z", "created_by": "x", "author": "me",
                "comment": "c", "empty_layer": true,
            }],
        }));
    }

    #[test]
    fn a_name_that_says_null_is_still_a_name() {
        let text = r#"{"rootfs":{"type":"layers"},"config":{
            "Volumes":{"/v":null},"ExposedPorts":{"80/tcp":null},"Labels":{"k":null},"Env":[null]}}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap().config;
        assert!(config.volumes.contains_key("/v"));
        assert!(config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(config.labels["k"], "");
        assert_eq!(config.env, [""]);
    }
}
