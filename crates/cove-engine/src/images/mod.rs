//! Images: what is here, by which names, and what happens to them.

mod archive;
pub(crate) mod changes;
mod inspect;
mod login;
mod pull;
mod remove;

use std::collections::BTreeMap;

use cove_model::event::{Happening, ImageChange};
use cove_model::image::ImageConfig;
use cove_model::{Digest, Reference};

use crate::Engine;

pub use archive::{ImportRequest, Loaded, SaveFormat};
pub use inspect::HistoryEntry;
pub use pull::{PullOptions, PullPolicy, Pulled};
pub use remove::{Fate, Object, Problem, PruneReport, Removal};

/// The images of an installation: see [`Engine::images`].
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    engine: &'a Engine,
}

impl Engine {
    /// The images that are here, and those that a registry has.
    #[must_use]
    pub const fn images(&self) -> Images<'_> {
        Images { engine: self }
    }
}

impl Images<'_> {
    /// Notes what became of an image, with the labels that it has by now.
    pub(crate) fn note(&self, id: &Digest, name: Option<String>, change: ImageChange) {
        self.engine.note(Happening::Image {
            id: id.to_string(),
            name,
            labels: self.labels(id),
            change,
        });
    }

    /// The labels of an image; none where it is gone or damaged.
    fn labels(&self, id: &Digest) -> BTreeMap<String, String> {
        self.config_of(id)
            .map(|config| config.config.labels)
            .unwrap_or_default()
    }
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// The digest of its configuration, which is its id.
    pub id: Digest,
    /// Its names with a tag.
    pub tags: Vec<Reference>,
    /// Its names by content, where a registry gave it one.
    pub repo_digests: Vec<Reference>,
    /// When it came to be, in RFC 3339; empty when it does not say.
    pub created: String,
    /// Bytes of the files in all its layers.
    pub size: u64,
    /// Its configuration.
    pub config: ImageConfig,
    /// Why the configuration cannot be read, which is empty then.
    pub damage: Option<String>,
    /// Uncompressed digests of its layers, base first.
    pub layers: Vec<Digest>,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The image that it was made from here.
    pub parent: Option<Digest>,
}
