//! What an archive of images turned out to hold, by the names it has there.

use std::collections::BTreeMap;
use std::io::Read;

use cove_model::Digest;
use cove_model::image::Descriptor;

use crate::blob::{BLOB_LIMIT, check_digest, check_size, digest_of};
use crate::error::{Error, Result};

/// All that is remembered of one archive, in bytes.
const KEPT_LIMIT: u64 = 4 * BLOB_LIMIT;
/// What a member costs beside its name and its content.
const OVERHEAD: u64 = 128;

/// A layer by what it is elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) diff_id: Digest,
    pub(super) compressed: Digest,
    /// Bytes of its files.
    pub(super) size: u64,
}

/// A member that is no layer, whole.
pub(super) struct Document {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
}

/// Documents and layers of an archive. Whoever made it decides how many there
/// are and how they are called, so all of it is counted.
#[derive(Default)]
pub(super) struct Contents {
    documents: BTreeMap<String, Document>,
    layers: BTreeMap<String, Known>,
    links: BTreeMap<String, String>,
    kept: u64,
}

impl Contents {
    /// Takes a document of `size` bytes, which begins with `start`.
    pub(super) fn add_document(
        &mut self,
        path: String,
        size: u64,
        start: Vec<u8>,
        rest: &mut impl Read,
    ) -> Result<()> {
        if size > BLOB_LIMIT {
            return Err(Error::TooLarge {
                what: "a document of the archive",
                limit: BLOB_LIMIT,
            });
        }
        self.keep(path.len() as u64 + size)?;
        let mut bytes = start;
        rest.read_to_end(&mut bytes).map_err(Error::Source)?;
        let digest = digest_of(&bytes);
        self.documents.insert(path, Document { bytes, digest });
        Ok(())
    }

    pub(super) fn add_layer(&mut self, path: String, layer: Known) -> Result<()> {
        self.keep(path.len() as u64)?;
        self.layers.insert(path, layer);
        Ok(())
    }

    /// Older `docker save` links equal layers.
    pub(super) fn add_link(&mut self, path: String, target: String) -> Result<()> {
        self.keep((path.len() + target.len()) as u64)?;
        self.links.insert(path, target);
        Ok(())
    }

    fn keep(&mut self, bytes: u64) -> Result<()> {
        self.kept += OVERHEAD + bytes;
        if self.kept > KEPT_LIMIT {
            return Err(Error::TooLarge {
                what: "what the archive has beside its layers",
                limit: KEPT_LIMIT,
            });
        }
        Ok(())
    }

    /// The document of this name, if it is there.
    pub(super) fn document(&self, path: &str) -> Option<&Document> {
        self.documents.get(self.resolved(path))
    }

    /// A document by digest, verified.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Option<&Document>> {
        let Some(document) = self.documents.get(&blob_path(&descriptor.digest)) else {
            return Ok(None);
        };
        let what = "a document of the archive";
        check_size(what, Some(descriptor.size), document.bytes.len() as u64)?;
        check_digest(what, &descriptor.digest, &document.digest)?;
        Ok(Some(document))
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.documents.contains_key(&blob_path(digest))
    }

    /// The layer of this name.
    pub(super) fn layer(&self, path: &str) -> Result<Known> {
        let path = self.resolved(path);
        let layer = self.layers.get(path).copied();
        layer.ok_or_else(|| Error::Archive(format!("the layer {path} is missing")))
    }

    /// The layer of this digest, verified.
    pub(super) fn layer_blob(&self, digest: &Digest) -> Result<Known> {
        let layer = self.layer(&blob_path(digest))?;
        check_digest("a layer of the archive", digest, &layer.compressed)?;
        Ok(layer)
    }

    fn resolved<'a>(&'a self, path: &'a str) -> &'a str {
        // Some write their documents as if the archive were a root.
        let path = path.trim_start_matches("./").trim_start_matches('/');
        self.links.get(path).map_or(path, String::as_str)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_as_content_is() {
        let name = |n: u64| format!("{n:04000}");
        let fill = |add: &dyn Fn(&mut Contents, String) -> Result<()>| {
            let mut contents = Contents::default();
            let count = KEPT_LIMIT / 4000;
            let error = (0..count).find_map(|n| add(&mut contents, name(n)).err());
            assert!(matches!(error, Some(Error::TooLarge { .. })), "{error:?}");
        };
        fill(&|contents, name| contents.add_link(name, String::new()));
        fill(&|contents, name| contents.add_document(name, 0, Vec::new(), &mut std::io::empty()));
        let digest = digest_of(b"");
        let layer = Known {
            diff_id: digest,
            compressed: digest,
            size: 0,
        };
        fill(&|contents, name| contents.add_layer(name, layer));
    }
}
