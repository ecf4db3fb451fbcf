//! Tells what a registry's document is, and refuses what could be two things
//! (CVE-2021-41190).

use cove_model::image::{ImageConfig, Index, Manifest, media_type};
use cove_model::nullable;
use serde_json::Value;

/// Docker's schema 1, signed and not.
const SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// An index or a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// Why bytes are no document that Cove uses.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// No JSON, or fields that are missing or of the wrong type.
    #[error("invalid JSON")]
    Json(#[source] serde_json::Error),
    /// The document's type is none of an image.
    #[error("unsupported media type {0}")]
    MediaType(String),
    /// The oldest format.
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported; the image has to be built and pushed anew"
    )]
    Schema1,
    /// `schemaVersion` is something else than 2.
    #[error("unsupported schema version {0}")]
    SchemaVersion(String),
    /// What the registry declares is not what the document says.
    #[error("declared as {declared}, but the document says {found}")]
    Declared {
        /// The `Content-Type` or the descriptor's media type.
        declared: String,
        /// The document's own.
        found: String,
    },
    /// The fields of an index and of a manifest in one document.
    #[error("the document is both an index and a manifest")]
    Ambiguous,
    /// A layer whose type Cove cannot unpack.
    #[error("layer {digest} has the unsupported media type {media_type}")]
    LayerType {
        /// The layer.
        digest: String,
        /// Its type.
        media_type: String,
    },
    /// Content that lies elsewhere.
    #[error(
        "{0} is a foreign layer, to be fetched from urls outside the registry, which is refused"
    )]
    Foreign(String),
    /// The two lists of layers differ.
    #[error("the manifest has {layers} layers, the configuration {diff_ids} diff_ids")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
    /// More layers than can be mounted.
    #[error("{0} layers are more than the limit")]
    TooManyLayers(usize),
    /// A layer of an impossible size.
    #[error("layer {digest} claims an impossible size of {size} bytes")]
    LayerSize {
        /// The layer.
        digest: String,
        /// What it claims.
        size: u64,
    },
    /// `rootfs.type` is something else than `layers`.
    #[error("unsupported rootfs type \"{0}\"")]
    RootFs(String),
    /// Indexes within indexes without end.
    #[error("indexes are nested too deeply")]
    Nesting,
}

impl Document {
    /// Reads a document that was declared as `declared`: the `Content-Type`
    /// or the media type of the descriptor that led here.
    pub(super) fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, DocumentError> {
        let value: Value = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        let declared = declared.map(essence).filter(|text| !is_generic(text));
        let own = value
            .get("mediaType")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if SCHEMA1.contains(&declared.as_deref().unwrap_or_default())
            || value.get("schemaVersion") == Some(&Value::from(1))
        {
            return Err(DocumentError::Schema1);
        }
        if value.get("schemaVersion") != Some(&Value::from(2)) {
            let found = value
                .get("schemaVersion")
                .filter(|version| !version.is_null())
                .map_or("none".to_owned(), Value::to_string);
            return Err(DocumentError::SchemaVersion(found));
        }
        if let (Some(declared), Some(found)) = (&declared, &own)
            && declared != found
        {
            return Err(DocumentError::Declared {
                declared: declared.clone(),
                found: found.clone(),
            });
        }
        let has = |name: &str| value.get(name).is_some_and(|field| !field.is_null());
        let (indexed, layered) = (
            has("manifests"),
            has("layers") || has("config") || has("fsLayers"),
        );
        if indexed && layered {
            return Err(DocumentError::Ambiguous);
        }
        let kind = own.or(declared);
        let is_index = match kind.as_deref() {
            Some(media_type::OCI_INDEX | media_type::DOCKER_LIST) => true,
            Some(media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => false,
            Some(other) => return Err(DocumentError::MediaType(other.to_owned())),
            None => indexed,
        };
        if is_index && layered || !is_index && indexed {
            return Err(DocumentError::Ambiguous);
        }
        foreign(&value)?;
        if is_index {
            return Ok(Self::Index(
                nullable::from_value(value).map_err(DocumentError::Json)?,
            ));
        }
        Ok(Self::Manifest(
            nullable::from_value(value).map_err(DocumentError::Json)?,
        ))
    }
}

/// Reads a configuration.
pub(super) fn parse_config(bytes: &[u8]) -> Result<ImageConfig, DocumentError> {
    let config = ImageConfig::parse(bytes).map_err(DocumentError::Json)?;
    if config.rootfs.kind != "layers" {
        return Err(DocumentError::RootFs(config.rootfs.kind));
    }
    Ok(config)
}

/// Whether a media type is one of an image's configuration; the generic ones
/// are those that Docker takes too, because old registries wrote them.
pub(super) fn is_config(kind: &str) -> bool {
    matches!(
        kind,
        media_type::OCI_CONFIG
            | media_type::DOCKER_CONFIG
            | "application/octet-stream"
            | "application/json"
            | "text/html"
            | ""
    )
}

/// A media type without parameters.
fn essence(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// What simple file servers say, which says nothing.
fn is_generic(content_type: &str) -> bool {
    matches!(
        content_type,
        "" | "application/json" | "text/plain" | "application/octet-stream" | "binary/octet-stream"
    )
}

fn foreign(value: &Value) -> Result<(), DocumentError> {
    let lists = ["layers", "manifests"]
        .into_iter()
        .filter_map(|name| value.get(name)?.as_array());
    for entry in lists.flatten().chain(value.get("config")) {
        if entry
            .get("urls")
            .and_then(Value::as_array)
            .is_some_and(|urls| !urls.is_empty())
        {
            let digest = entry
                .get("digest")
                .and_then(Value::as_str)
                .unwrap_or("an entry");
            return Err(DocumentError::Foreign(digest.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn blob(kind: &str) -> Value {
        json!({"mediaType": kind, "size": 1, "digest": format!("sha256:{}", "a".repeat(64))})
    }

    fn manifest() -> Value {
        json!({"schemaVersion": 2, "config": blob(media_type::OCI_CONFIG),
            "layers": [blob(media_type::OCI_LAYER_GZIP)]})
    }

    fn parse(value: &Value, declared: Option<&str>) -> Result<Document, DocumentError> {
        Document::parse(value.to_string().as_bytes(), declared)
    }

    #[test]
    fn honest_documents_are_told_apart() {
        let index = json!({"schemaVersion": 2, "manifests": [blob(media_type::OCI_MANIFEST)]});
        for (value, declared, is_index) in [
            (
                manifest(),
                Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
                false,
            ),
            (manifest(), None, false),
            (manifest(), Some("application/json"), false),
            (index.clone(), Some(media_type::OCI_INDEX), true),
            (index, None, true),
        ] {
            let document = parse(&value, declared).unwrap();
            assert_eq!(matches!(document, Document::Index(_)), is_index, "{value}");
        }
        let mut scratch = manifest();
        scratch["layers"] = Value::Null;
        scratch["annotations"] = Value::Null;
        assert!(matches!(parse(&scratch, None), Ok(Document::Manifest(m)) if m.layers.is_empty()));
    }

    #[test]
    fn liars_are_refused() {
        type Check = fn(&DocumentError) -> bool;
        let with = |key: &str, field: Value| {
            let mut value = manifest();
            value[key] = field;
            value
        };
        let mut foreign = manifest();
        foreign["layers"][0]["urls"] = json!(["https://evil.example/x"]);
        let list = Some(media_type::DOCKER_LIST);
        let cases: Vec<(Value, Option<&str>, Check)> = vec![
            (with("manifests", json!([])), None, |e| {
                matches!(e, DocumentError::Ambiguous)
            }),
            (manifest(), list, |e| matches!(e, DocumentError::Ambiguous)),
            (
                json!({"schemaVersion": 2, "manifests": []}),
                Some(media_type::OCI_MANIFEST),
                |e| matches!(e, DocumentError::Ambiguous),
            ),
            (
                with("mediaType", media_type::OCI_INDEX.into()),
                Some(media_type::OCI_MANIFEST),
                |e| matches!(e, DocumentError::Declared { .. }),
            ),
            (manifest(), Some("application/vnd.x"), |e| {
                matches!(e, DocumentError::MediaType(_))
            }),
            (with("schemaVersion", 1.into()), None, |e| {
                matches!(e, DocumentError::Schema1)
            }),
            (manifest(), Some(SCHEMA1[1]), |e| {
                matches!(e, DocumentError::Schema1)
            }),
            (with("schemaVersion", "2".into()), None, |e| {
                matches!(e, DocumentError::SchemaVersion(_))
            }),
            (foreign, None, |e| matches!(e, DocumentError::Foreign(_))),
            (with("layers", json!([{"size": -1}])), None, |e| {
                matches!(e, DocumentError::Json(_))
            }),
            (json!([]), None, |e| {
                matches!(e, DocumentError::SchemaVersion(_))
            }),
        ];
        for (value, declared, check) in cases {
            let error = parse(&value, declared).unwrap_err();
            assert!(check(&error), "{value} {declared:?}: {error:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(
            Document::parse(deep.as_bytes(), None),
            Err(DocumentError::Json(_))
        ));
    }

    #[test]
    fn a_configuration_has_a_type_that_docker_takes() {
        for kind in ["application/octet-stream", "text/html", "application/json"] {
            assert!(is_config(kind), "{kind}");
        }
        // Artifacts say what they are.
        for kind in ["application/vnd.oci.empty.v1+json", media_type::OCI_LAYER] {
            assert!(!is_config(kind), "{kind}");
        }
    }

    #[test]
    fn configurations_are_checked() {
        let good =
            json!({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":null}});
        assert!(parse_config(good.to_string().as_bytes()).is_ok());
        let base = json!({"os":"linux","architecture":"amd64","rootfs":{"type":"layers+base","diff_ids":[]}});
        assert!(matches!(
            parse_config(base.to_string().as_bytes()),
            Err(DocumentError::RootFs(_))
        ));
        assert!(matches!(parse_config(b"{}"), Err(DocumentError::Json(_))));
    }
}
