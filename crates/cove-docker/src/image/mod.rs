//! Docker's document of an image.

use std::path::Path;

use cove_engine::ImageInfo;
use cove_model::Reference;
use serde_json::{Map, Value, json};

use super::{Frame, config};
use crate::format::time::ZERO;

/// The document; layers are below `root`.
pub(crate) fn document(image: &ImageInfo, root: &Path) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    let names = |references: &[Reference]| {
        references
            .iter()
            .map(|name| name.familiar().into())
            .collect::<Vec<Value>>()
    };
    let document = &image.config;
    let comment = document
        .history
        .last()
        .and_then(|step| step.comment.clone());
    put("Id", image.id.to_string().into());
    put("RepoTags", names(&image.tags).into());
    put("RepoDigests", names(&image.repo_digests).into());
    put(
        "Parent",
        image
            .parent
            .map_or_else(String::new, |parent| parent.to_string())
            .into(),
    );
    put("Comment", comment.unwrap_or_default().into());
    put(
        "Created",
        if image.created.is_empty() {
            ZERO
        } else {
            &image.created
        }
        .into(),
    );
    put("DockerVersion", "".into());
    put("Author", document.author.clone().unwrap_or_default().into());
    put("Config", config(&document.config, &Frame::default()));
    put("Architecture", document.architecture.as_str().into());
    if let Some(variant) = &document.variant {
        put("Variant", variant.as_str().into());
    }
    put("Os", document.os.as_str().into());
    put("Size", image.size.into());
    put(
        "GraphDriver",
        json!({"Data": layers(image, root), "Name": "overlay2"}),
    );
    let diff_ids: Vec<String> = image.layers.iter().map(ToString::to_string).collect();
    put("RootFS", json!({"Type": "layers", "Layers": diff_ids}));
    put("Metadata", json!({"LastTagTime": ZERO}));
    Value::Object(fields)
}

/// The directories of the layers, as overlayfs takes them.
fn layers(image: &ImageInfo, root: &Path) -> Value {
    let path = |layer: &cove_model::Digest| {
        root.join("layers")
            .join(layer.hex())
            .join("diff")
            .display()
            .to_string()
    };
    let mut paths: Vec<String> = image.layers.iter().rev().map(path).collect();
    if paths.is_empty() {
        return json!({});
    }
    let upper = paths.remove(0);
    let mut data = Map::new();
    if !paths.is_empty() {
        data.insert("LowerDir".to_owned(), paths.join(":").into());
    }
    data.insert("UpperDir".to_owned(), upper.into());
    Value::Object(data)
}
