//! The JSON documents of a docker-archive.

use std::collections::BTreeMap;

use cove_model::image::null_as_default;
use serde::{Deserialize, Serialize};

/// One image of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    /// Docker writes `null` for an image without layers.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) layers: Vec<String>,
}

/// The file `repositories`: name, tag, id of the topmost layer.
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, String>>;
