//! The JSON documents of a docker-archive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One image of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    #[serde(default)]
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    /// Docker writes `null` for an image without layers.
    #[serde(default)]
    pub(crate) layers: Vec<String>,
}

/// The file `repositories`: name, tag, id of the topmost layer.
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, String>>;

#[cfg(test)]
mod tests {
    use cove_model::nullable;
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_as_if_absent() {
        let document = json!([{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["l"]}]);
        let read = |value| nullable::from_value::<Vec<DockerImage>>(value).unwrap();
        let pairs = testkit::nulls::pairs(&document, &[]);
        assert_eq!(pairs.len(), 3);
        for pair in pairs {
            assert_eq!(read(pair.null), read(pair.absent), "{}", pair.path);
        }
        assert!(
            nullable::from_slice::<Repositories>(b"null")
                .unwrap()
                .is_empty()
        );
    }
}
