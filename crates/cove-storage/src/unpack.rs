//! Unpacking: from a compressed stream to a verified, staged layer, and from
//! staged layers to published ones.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use cove_model::Digest;
use cove_model::image::Compression;

use crate::blob::{check_digest, check_size};
use crate::error::{At, Error, Result, Step};
use crate::layer::{LayerInfo, open_directory};
use crate::lease::Lease;
use crate::payload;
use crate::recipe::RecipeWriter;
use crate::redo::{self, Header, Log, Logged};
use crate::settler::Settler;
use crate::staging::{StagedFile, Staging};
use crate::store::Store;
use crate::stream::{self, Inflated, Wire};
use crate::tar::reader::TarReader;
use crate::tar::{Entry, Kind, Limits, names};
use crate::tree::{Tree, WHITEOUT};
use crate::xattr;

/// How a layer's stream is to be read and what it must turn out to be.
#[derive(Clone, Copy)]
pub struct Unpack<'a> {
    /// The stream's compression.
    pub compression: Compression,
    /// Digest and length in bytes of the stream as it comes, where known.
    pub compressed: Option<(Digest, u64)>,
    /// Digest of the uncompressed archive, where known.
    pub diff_id: Option<Digest>,
    /// Who settles the layer, which then has a redo log where digest and length
    /// of the compressed stream are known.
    pub settler: Option<&'a Settler>,
    /// What the archive may cost.
    pub limits: Limits,
    /// Called from another thread with each number of bytes that came in.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Unpack<'_> {
    /// Nothing known beforehand, default limits, no progress.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            compressed: None,
            diff_id: None,
            settler: None,
            limits: Limits::default(),
            progress: &|_| {},
        }
    }

    /// What came, if it is what was promised.
    fn check_wire(&self, wire: Option<Wire>) -> Result<Wire> {
        let wire = wire.ok_or(Error::Source(std::io::ErrorKind::UnexpectedEof.into()))?;
        if let Some((expected, expected_size)) = &self.compressed {
            check_size("the layer's blob", Some(*expected_size), wire.size)?;
            check_digest("the layer's blob", expected, &wire.digest)?;
        }
        Ok(wire)
    }

    fn check_archive(&self, diff_id: &Digest) -> Result<()> {
        match &self.diff_id {
            Some(expected) => check_digest("the uncompressed layer", expected, diff_id),
            None => Ok(()),
        }
    }

    /// The header of the log that the layer needs; none where a sync does as
    /// well.
    fn log_header(&self) -> Option<Header> {
        let (compressed, size) = self.compressed?;
        let settler = self.settler?;
        // What is not compressed is as long as the tree.
        (self.compression != Compression::None).then(|| Header {
            boot: settler.boot.clone(),
            settler: settler.name.clone(),
            compression: self.compression,
            compressed,
            size,
        })
    }
}

/// A layer that is unpacked and verified but has no name yet; dropping it
/// removes it.
#[derive(Debug)]
pub struct StagedLayer {
    staging: Staging,
    info: LayerInfo,
    /// Whether its redo log is on the disk.
    logged: bool,
}

impl StagedLayer {
    /// What is known of it.
    #[must_use]
    pub const fn info(&self) -> &LayerInfo {
        &self.info
    }

    pub(crate) fn into_staging(self) -> Staging {
        self.staging
    }
}

/// Files from this length on are written back as soon as they are whole: the
/// sync at the end then finds little to do. For small ones the call would
/// cost more than it saves.
const WRITE_BACK_FROM: u64 = 64 << 10;

impl Store {
    /// Unpacks one layer into staging and verifies it. Any number of these
    /// may run at once; each uses two threads and a few MiB.
    ///
    /// # Errors
    /// When the stream fails, is not what was promised, or holds an archive
    /// that is damaged, hostile, ambiguous or beyond the limits; nothing
    /// stays then.
    pub fn unpack(&self, reader: impl Read + Send, what: &Unpack<'_>) -> Result<StagedLayer> {
        let staging = Staging::new(&self.tmp())?;
        let mut log = what
            .log_header()
            .and_then(|header| Log::begin(staging.path(), &header).ok());
        // What has a log is written back once it is acknowledged.
        let write_back = self.is_durable() && log.is_none();
        let reader = Logged {
            reader,
            log: &mut log,
        };
        let (inflater, inflated) = stream::pipe();
        let (wire, unpacked) = std::thread::scope(|scope| {
            let inflating = scope
                .spawn(move || inflater.run(reader, what.compression, &what.limits, what.progress));
            let unpacked = self.unpack_tar(inflated, &staging, what, write_back);
            // A panic there is one here.
            let wire = inflating
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (wire, unpacked)
        });
        // When both sides failed, the inflating one did first, unless it only
        // stopped because nobody listened any more.
        let wire = wire?;
        let mut info = unpacked?;
        let Wire { digest, size } = what.check_wire(wire)?;
        what.check_archive(&info.diff_id)?;
        info.compressed = digest;
        info.compressed_size = size;
        write_record(&staging.path().join("layer.json"), &info)?;
        let logged = log.is_some_and(|log| log.finish(staging.fd()).is_ok());
        Ok(StagedLayer {
            staging,
            info,
            logged,
        })
    }

    /// Gives verified layers their names. In a durable store their content
    /// survives a power cut from then on (the names do as soon as an image is
    /// recorded): by redo logs, which [`Store::settle`] ends later, or where
    /// one has none by a sync of the file system first, most of which happened
    /// while unpacking. A layer that another process published meanwhile is
    /// kept as it is. `lease` protects the layers from then on.
    ///
    /// # Errors
    /// When anything cannot be written; a write-back error since the first of
    /// the layers was begun is one, where a sync is needed.
    pub fn publish(&self, lease: &Lease, layers: Vec<StagedLayer>) -> Result<Vec<LayerInfo>> {
        if layers.is_empty() {
            return Ok(Vec::new());
        }
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.info.diff_id).collect();
        lease.protect(&diff_ids)?;
        if self.is_durable() && !layers.iter().all(|layer| layer.logged) {
            // Each descriptor tells the errors since it was opened; after the
            // first call the others find nothing left to write.
            for StagedLayer { staging, .. } in &layers {
                rustix::fs::syncfs(staging.fd()).at(Step::Sync, staging.path())?;
                crate::staging::remove(&staging.path().join(redo::NAME))?;
            }
        }
        let mut published = Vec::with_capacity(layers.len());
        for StagedLayer { staging, info, .. } in layers {
            drop(staging.persist(&self.layer_path(&info.diff_id))?);
            published.push(info);
        }
        for info in &published {
            let blob = Wire {
                digest: info.compressed,
                size: info.compressed_size,
            };
            self.note_blob(&blob, &info.diff_id)?;
        }
        Ok(published)
    }

    /// Makes the names of layers durable, whoever gave or took them.
    pub(crate) fn sync_layer_names(&self) -> Result<()> {
        let path = self.path("layers");
        if self.is_durable() {
            rustix::fs::fsync(open_directory(&path)?).at(Step::Sync, &path)?;
        }
        Ok(())
    }

    /// Reads a blob that is said to hold a layer which is in the store, and
    /// remembers that it does ([`Store::holds`]).
    ///
    /// # Errors
    /// When the stream fails or is not what was promised.
    pub fn check_blob(&self, reader: impl Read + Send, what: &Unpack<'_>) -> Result<()> {
        let (inflater, inflated) = stream::pipe();
        let (wire, archive) = std::thread::scope(|scope| {
            let inflating = scope
                .spawn(move || inflater.run(reader, what.compression, &what.limits, what.progress));
            let archive = inflated.finish().map_err(Error::Source);
            // A panic there is one here.
            let wire = inflating
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (wire, archive)
        });
        let wire = what.check_wire(wire?)?;
        let (diff_id, _) = archive?;
        what.check_archive(&diff_id)?;
        self.note_blob(&wire, &diff_id)
    }

    /// Remembers that a blob holds the layer `diff_id`. Lost in a power cut,
    /// the blob is only fetched once more.
    fn note_blob(&self, blob: &Wire, diff_id: &Digest) -> Result<()> {
        let path = self.path("by-blob").join(blob.digest.hex());
        let mut staged = StagedFile::new(&self.tmp())?;
        write!(staged.file_mut(), "{} {}", diff_id.hex(), blob.size).at(Step::Write, &path)?;
        staged.persist(&path, false)
    }

    fn unpack_tar(
        &self,
        input: Inflated,
        staging: &Staging,
        what: &Unpack<'_>,
        write_back: bool,
    ) -> Result<LayerInfo> {
        let recipe_path = staging.path().join("tar.recipe");
        let recipe = File::create(&recipe_path).at(Step::Create, &recipe_path)?;
        let recipe = RecipeWriter::new(recipe).at(Step::Write, &recipe_path)?;
        let overlay = xattr::Namespace::new(self.user_xattr());
        let diff = staging.path().join("diff");
        let mut tree = Tree::new(&diff, staging.path().join("replaced"), overlay, what.limits)?;
        let mut input = input;
        let mut reader = TarReader::new(&mut input, recipe, what.limits);
        let mut size = 0;
        while let Some(entry) = reader.next()? {
            let written = place(&mut reader, &mut tree, &entry, &diff, write_back)
                .map_err(|error| located(error, &reader))?;
            size += written;
        }
        let entries = reader.entries();
        tree.finish()?;
        reader
            .into_literals()
            .finish()
            .at(Step::Write, &recipe_path)?;
        let (diff_id, tar_size) = input.finish().map_err(Error::Source)?;
        Ok(LayerInfo {
            diff_id,
            tar_size,
            size,
            entries,
            compressed: diff_id,
            compressed_size: tar_size,
            root: tree.root_metadata,
            opaque_root: tree.opaque_root,
            user_xattr: self.user_xattr(),
            skipped: tree.skipped,
            replaced: tree.replaced,
        })
    }
}

type LayerReader<'a> = TarReader<&'a mut Inflated, RecipeWriter>;

/// Makes one member; returns how many bytes of file content it had.
fn place(
    reader: &mut LayerReader<'_>,
    tree: &mut Tree,
    entry: &Entry,
    diff: &Path,
    write_back: bool,
) -> Result<u64> {
    let (parent, name) = names::split(&entry.path);
    if let Some(part) = parent
        .split(|&b| b == b'/')
        .find(|part| part.starts_with(WHITEOUT))
    {
        // AUFS kept its own things in directories of this name.
        if part.starts_with(b".wh..wh.") {
            return Ok(0);
        }
        return Err(reader.fail(crate::error::TarError::Whiteout));
    }
    if name.starts_with(WHITEOUT) {
        tree.whiteout(parent, name)?;
        return Ok(0);
    }
    if entry.kind != Kind::File {
        tree.create_other(entry)?;
        return Ok(0);
    }
    let (fd, path) = tree.create_file(entry)?;
    let stored = reader.payload_len();
    let mut number = None;
    if stored > 0 {
        let sparse = entry.sparse.as_deref();
        number = Some(
            reader
                .literals()
                .payload(&path, stored, sparse)
                .at(Step::Write, diff)?,
        );
    }
    payload::write(reader, entry, &fd, || in_layer(diff, entry))?;
    tree.finish_file(&fd, entry, number)?;
    if write_back && stored >= WRITE_BACK_FROM {
        // Only a head start; the sync before publishing tells any error.
        let _told_by_the_last_sync = cove_sys::writeback::start(&fd);
    }
    Ok(stored)
}

fn in_layer(diff: &Path, entry: &Entry) -> std::path::PathBuf {
    diff.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&entry.path))
}

/// The tree does not know where in the archive it is.
fn located(error: Error, reader: &LayerReader<'_>) -> Error {
    match error {
        Error::Tar {
            entry: None,
            source,
            ..
        } => reader.fail(source),
        other => other,
    }
}

fn write_record(path: &Path, info: &LayerInfo) -> Result<()> {
    let text = serde_json::to_vec(info).map_err(|source| Error::Document {
        what: path.display().to_string(),
        source,
    })?;
    std::fs::write(path, text).at(Step::Write, path)
}
