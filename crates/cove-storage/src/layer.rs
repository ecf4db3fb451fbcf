//! Layers that are in the store: where they lie and how their archive is
//! given back byte for byte.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cove_model::Digest;
use cove_model::image::Compression;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Result, Step};
use crate::recipe::{Ingredient, RecipeReader};
use crate::store::Store;
use crate::tar::Segment;
use crate::tree::{BENEATH, RootMetadata};

/// The longest `layer.json` that is accepted.
pub(crate) const LAYER_RECORD_LIMIT: u64 = 16 << 20;

/// What is known of a layer without looking into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// Digest of the uncompressed archive; the layer's name.
    pub diff_id: Digest,
    /// Length of the uncompressed archive in bytes.
    pub tar_size: u64,
    /// Length of all regular files in bytes.
    pub size: u64,
    /// Members of the archive.
    pub entries: u64,
    /// Digest of the blob it was unpacked from, the archive itself where it
    /// was not compressed.
    pub compressed: Digest,
    /// Length of that blob in bytes.
    pub compressed_size: u64,
    /// The root directory, where the archive names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootMetadata>,
    /// Whether everything below this layer is hidden.
    #[serde(default)]
    pub opaque_root: bool,
    /// Whether overlay metadata is in `user.overlay.*` attributes.
    #[serde(default)]
    pub user_xattr: bool,
    /// Members left out because this user may not make them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// Numbers of the payloads whose file a later member replaced.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub replaced: BTreeSet<u64>,
}

/// A layer in the store. Its files never change; a [`crate::Lease`] or an
/// image keeps it there.
#[derive(Debug, Clone)]
pub struct Layer {
    directory: PathBuf,
    info: LayerInfo,
}

impl Store {
    /// The layer `diff_id`, whole: made anew if another boot ended before it
    /// was on the disk.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not in the store; when it cannot be made
    /// anew.
    pub fn layer(&self, diff_id: &Digest) -> Result<Layer> {
        self.make_whole(diff_id)?;
        self.layer_as_it_is(diff_id)
    }

    /// The layer `diff_id`, which may not be whole.
    pub(crate) fn layer_as_it_is(&self, diff_id: &Digest) -> Result<Layer> {
        let directory = self.layer_path(diff_id);
        let path = directory.join("layer.json");
        let bytes = match cove_sys::fs::read(&path, LAYER_RECORD_LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound {
                    kind: "layer",
                    name: diff_id.to_string(),
                });
            }
            other => other.at(Step::Read, &path)?,
        };
        let info = serde_json::from_slice(&bytes).map_err(|source| Error::Document {
            what: path.display().to_string(),
            source,
        })?;
        Ok(Layer { directory, info })
    }

    /// Whether the layer `diff_id` is in the store.
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        // One rename brings all of a layer, so its directory says enough.
        self.layer_path(diff_id).is_dir()
    }

    /// The layer that the compressed blob `compressed` holds, if it is in the
    /// store: then the blob need not be fetched.
    #[must_use]
    pub fn layer_of_blob(&self, compressed: &Digest) -> Option<Digest> {
        let (diff_id, _) = self.blob_note(compressed)?;
        self.has_layer(&diff_id).then_some(diff_id)
    }

    /// Whether the layer `diff_id` is in the store and it has been seen that a
    /// blob of this digest and length, read as a manifest says, holds it. What
    /// a manifest and a configuration say of each other is not enough: in a
    /// store without the layer it would be found out if they lied.
    #[must_use]
    pub fn holds(
        &self,
        diff_id: &Digest,
        (blob, size): (&Digest, u64),
        compression: Compression,
    ) -> bool {
        let Ok(layer) = self.layer_as_it_is(diff_id) else {
            return false;
        };
        let info = layer.info();
        if compression == Compression::None {
            return blob == diff_id && size == info.tar_size;
        }
        // What is not compressed is refused where it is said to be.
        blob != diff_id
            && ((blob, size) == (&info.compressed, info.compressed_size)
                || self.blob_note(blob) == Some((*diff_id, Some(size))))
    }

    /// What is noted of a blob: the layer that it holds, and its length, which
    /// notes of an older Cove lack.
    fn blob_note(&self, compressed: &Digest) -> Option<(Digest, Option<u64>)> {
        let path = self.path("by-blob").join(compressed.hex());
        let text = cove_sys::fs::read_to_string(&path, 128).ok()?;
        let (diff_id, size) = match text.split_once(' ') {
            Some((diff_id, size)) => (diff_id, Some(size.parse().ok()?)),
            None => (text.as_str(), None),
        };
        Some((Digest::from_hex(diff_id).ok()?, size))
    }

    /// Every layer in the store, in no particular order.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn layers(&self) -> Result<Vec<Digest>> {
        digests_in(&self.path("layers"))
    }

    /// Where the files of a layer are, or would be.
    #[must_use]
    pub fn layer_files(&self, diff_id: &Digest) -> PathBuf {
        self.layer_path(diff_id).join("diff")
    }

    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.path("layers").join(diff_id.hex())
    }
}

impl Layer {
    /// What is known of it.
    #[must_use]
    pub const fn info(&self) -> &LayerInfo {
        &self.info
    }

    /// The overlay lower directory.
    #[must_use]
    pub fn diff(&self) -> PathBuf {
        self.directory.join("diff")
    }

    /// The uncompressed archive, byte for byte. Fails while reading when a
    /// file is missing or shorter than it was.
    ///
    /// # Errors
    /// When the recipe cannot be opened.
    pub fn tar(&self) -> Result<LayerTar> {
        let path = self.directory.join("tar.recipe");
        let file = File::open(&path).at(Step::Open, &path)?;
        let recipe = RecipeReader::new(file).at(Step::Read, &path)?;
        let diff = open_directory(&self.diff())?;
        let aside = if self.info.replaced.is_empty() {
            None
        } else {
            Some(open_directory(&self.directory.join("replaced"))?)
        };
        Ok(LayerTar {
            recipe,
            diff,
            aside,
            replaced: self.info.replaced.clone(),
            payloads: 0,
            literal: Vec::new(),
            position: 0,
            file: None,
        })
    }
}

/// A layer's archive, rebuilt while it is read.
pub struct LayerTar {
    recipe: RecipeReader,
    diff: OwnedFd,
    aside: Option<OwnedFd>,
    replaced: BTreeSet<u64>,
    payloads: u64,
    literal: Vec<u8>,
    position: usize,
    file: Option<Payload>,
}

struct Payload {
    file: File,
    runs: std::vec::IntoIter<Segment>,
    run: Segment,
}

impl Read for LayerTar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.position < self.literal.len() {
                let rest = &self.literal[self.position..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.position += count;
                return Ok(count);
            }
            if let Some(payload) = &mut self.file {
                match payload.read(buffer)? {
                    0 => self.file = None,
                    count => return Ok(count),
                }
                continue;
            }
            match self.recipe.next()? {
                None => return Ok(0),
                Some(Ingredient::Literal(bytes)) => {
                    self.literal = bytes;
                    self.position = 0;
                }
                Some(Ingredient::Payload { path, runs }) => self.open(&path, runs)?,
            }
        }
    }
}

impl LayerTar {
    fn open(&mut self, path: &[u8], runs: Vec<Segment>) -> io::Result<()> {
        let number = self.payloads;
        self.payloads += 1;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = match &self.aside {
            Some(aside) if self.replaced.contains(&number) => {
                rustix::fs::openat2(aside, number.to_string(), flags, Mode::empty(), BENEATH)
            }
            _ => rustix::fs::openat2(&self.diff, path, flags, Mode::empty(), BENEATH),
        };
        let file = File::from(opened.map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("{}: {error}", path.escape_ascii()))
        })?);
        let run = Segment {
            offset: 0,
            length: 0,
        };
        self.file = Some(Payload {
            file,
            runs: runs.into_iter(),
            run,
        });
        Ok(())
    }
}

impl Payload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.run.length == 0 {
            match self.runs.next() {
                Some(run) => self.run = run,
                None => return Ok(0),
            }
        }
        let wanted = usize::try_from(self.run.length).map_or(buffer.len(), |n| n.min(buffer.len()));
        let count = self.file.read_at(&mut buffer[..wanted], self.run.offset)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file of the layer is shorter than it was",
            ));
        }
        self.run.offset += count as u64;
        self.run.length -= count as u64;
        Ok(count)
    }
}

pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).at(Step::Open, path)
}

/// The entries of a directory that are named by the digits of a digest.
pub(crate) fn digests_in(path: &Path) -> Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for entry in std::fs::read_dir(path).at(Step::List, path)? {
        let name = entry.at(Step::List, path)?.file_name();
        let name = name.to_string_lossy();
        if let Ok(digest) = Digest::from_hex(name.strip_suffix(".json").unwrap_or(&name)) {
            digests.push(digest);
        }
    }
    Ok(digests)
}
