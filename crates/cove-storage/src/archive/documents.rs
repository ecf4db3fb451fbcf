//! The JSON documents of a docker-archive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One image of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    pub(crate) layers: Vec<String>,
}

/// The file `repositories`: name, tag, id of the topmost layer.
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, String>>;
