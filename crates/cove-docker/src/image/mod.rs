//! Images: the document of one, the rows of their list and of their history.

mod history;
mod list;

use cove_engine::{Engine, ImageInfo};
use cove_model::Reference;

use crate::container::{Config, GraphDriver};
use crate::document::document;
use crate::time::ZERO;

pub use history::Step;
pub use list::{Filter, Named, Row, id};

document! {
    /// Docker's document of an image.
    pub struct Image {
        id: String = "Id" / "ID",
        repo_tags: Vec<String> = "RepoTags",
        repo_digests: Vec<String> = "RepoDigests",
        parent: String = "Parent",
        comment: String = "Comment",
        created: String = "Created",
        container: String = "Container" hidden,
        container_config: Config = "ContainerConfig" hidden,
        docker_version: String = "DockerVersion",
        author: String = "Author",
        config: Config = "Config",
        architecture: String = "Architecture",
        variant: String = "Variant" omitempty,
        os: String = "Os",
        os_version: String = "OsVersion" omitempty,
        size: u64 = "Size",
        virtual_size: u64 = "VirtualSize" hidden,
        graph_driver: GraphDriver = "GraphDriver",
        root_fs: RootFs = "RootFS",
        metadata: Metadata = "Metadata",
    }

    /// The layers.
    pub struct RootFs {
        kind: String = "Type",
        layers: Vec<String> = "Layers",
        base_layer: String = "BaseLayer" omitempty,
    }

    /// What is known of an image here only.
    pub struct Metadata {
        last_tag_time: String = "LastTagTime",
    }
}

impl Image {
    /// The document.
    #[must_use]
    pub fn of(engine: &Engine, image: &ImageInfo) -> Self {
        let names = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
        let document = &image.config;
        let last = document.history.last();
        Self {
            id: image.id.to_string(),
            repo_tags: names(&image.tags),
            repo_digests: names(&image.repo_digests),
            parent: image
                .parent
                .map_or_else(String::new, |parent| parent.to_string()),
            comment: last
                .and_then(|step| step.comment.clone())
                .unwrap_or_default(),
            created: if image.created.is_empty() {
                ZERO.to_owned()
            } else {
                image.created.clone()
            },
            author: document.author.clone().unwrap_or_default(),
            config: Config::of(&document.config),
            architecture: document.architecture.clone(),
            variant: document.variant.clone().unwrap_or_default(),
            os: document.os.clone(),
            size: image.size,
            virtual_size: image.size,
            graph_driver: layers(engine, image),
            root_fs: RootFs {
                kind: "layers".to_owned(),
                layers: image.layers.iter().map(ToString::to_string).collect(),
                ..RootFs::default()
            },
            metadata: Metadata {
                last_tag_time: ZERO.to_owned(),
            },
            ..Self::default()
        }
    }
}

/// The directories of the layers, as overlayfs takes them.
fn layers(engine: &Engine, image: &ImageInfo) -> GraphDriver {
    let layers = image.layers.iter().rev();
    let mut paths = layers.map(|layer| engine.images().layer_files(layer).display().to_string());
    let upper = paths.next().map(|path| ("UpperDir", path));
    let lower = paths.collect::<Vec<_>>().join(":");
    let lower = (!lower.is_empty()).then_some(("LowerDir", lower));
    GraphDriver::of(lower.into_iter().chain(upper))
}
