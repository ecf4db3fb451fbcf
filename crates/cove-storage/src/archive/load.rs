//! Loading archives in one pass: layers are unpacked as they come by, since a
//! pipe cannot be read twice; the documents that join them come in any order.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;

use cove_model::image::{Compression, Descriptor, Platform, media_type};
use cove_model::{Digest, Reference};

use super::contents::{Contents, Known};
use super::plan::{Plan, plans};
use crate::error::{Error, Result};
use crate::image::{ImageLayer, ImageRecord};
use crate::inflate::{Guarded, compression_of};
use crate::layer::open_directory;
use crate::lease::Lease;
use crate::pack::{export_whole, through_a_pipe};
use crate::store::Store;
use crate::tar::reader::TarReader;
use crate::tar::{BLOCK, Entry, Kind, Limits};
use crate::unpack::{StagedLayer, Unpack};

/// An image that came from an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: Digest,
    /// The names it was given.
    pub names: Vec<Reference>,
}

impl Store {
    /// Reads images from a docker-archive or an OCI layout in a tar stream,
    /// compressed or not; of one for several platforms the host's. Durable on
    /// return, in a durable store.
    ///
    /// # Errors
    /// When the archive is damaged, incomplete or of another form; no image
    /// is recorded then.
    pub fn load(&self, reader: impl Read + Send) -> Result<Vec<Loaded>> {
        // An archive may hold any number of layers, each with its own limits.
        let limits = Limits {
            bytes: u64::MAX,
            ..Limits::default()
        };
        self.load_within(reader, limits)
    }

    fn load_within(&self, reader: impl Read + Send, limits: Limits) -> Result<Vec<Loaded>> {
        self.load_tar(Guarded::new(reader, limits)?)
    }

    /// Reads images from an OCI layout, or an unpacked docker-archive, in a
    /// directory.
    ///
    /// # Errors
    /// Those of [`Store::load`].
    pub fn load_layout(&self, path: &Path) -> Result<Vec<Loaded>> {
        let directory = open_directory(path)?;
        through_a_pipe(
            |out| export_whole(&directory, path, out),
            |archive| self.load(archive),
        )
    }

    /// A layer that is here, which the lease protects from then on;
    /// `compressed` is what the archive calls it.
    fn stored_layer(
        &self,
        lease: &Lease,
        diff_id: &Digest,
        compressed: &Digest,
    ) -> Result<Option<Known>> {
        lease.protect(&[*diff_id])?;
        match self.layer(diff_id) {
            Ok(layer) => Ok(Some(Known {
                diff_id: *diff_id,
                compressed: *compressed,
                size: layer.info().size,
            })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn load_tar(&self, reader: impl Read + Send) -> Result<Vec<Loaded>> {
        let lease = Lease::new(self)?;
        let behind = self.write_behind()?;
        let input = io::BufReader::with_capacity(256 << 10, reader);
        // Layers have limits of their own; this one only bounds the members.
        let limits = Limits {
            file: u64::MAX / 2,
            ..Limits::default()
        };
        let mut tar = TarReader::new(input, io::sink(), limits);
        let mut loading = Loading {
            store: self,
            lease: &lease,
            contents: Contents::default(),
            staged: Vec::new(),
        };
        while let Some(entry) = tar.next()? {
            loading.member(&mut tar, &entry)?;
        }
        let Loading {
            contents,
            mut staged,
            ..
        } = loading;
        let stored = |diff_id: &Digest| self.stored_layer(&lease, diff_id, diff_id);
        let plans = plans(&contents, &Platform::host(), &stored)?;
        drop(behind);
        let used: BTreeSet<Digest> = plans
            .iter()
            .flat_map(|plan| plan.layers.iter().map(|layer| layer.diff_id))
            .collect();
        staged.retain(|layer| used.contains(&layer.info().diff_id));
        self.publish(&lease, staged)?;
        plans
            .into_iter()
            .map(|plan| self.record_plan(&lease, plan))
            .collect()
    }

    fn record_plan(&self, lease: &Lease, plan: Plan<'_>) -> Result<Loaded> {
        let Plan {
            config,
            manifest,
            layers,
            created,
            names,
        } = plan;
        let Some((document, manifest)) = manifest else {
            let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
            let record =
                self.record_image(lease, &config.bytes, created, &diff_ids, &names, None)?;
            return Ok(Loaded {
                id: record.id,
                names,
            });
        };
        lease.protect(&[config.digest, document.digest])?;
        let layer = |(descriptor, known): (&Descriptor, &Known)| ImageLayer {
            diff_id: known.diff_id,
            compressed: descriptor.digest,
            size: descriptor.size,
            media_type: descriptor.media_type.clone(),
        };
        let record = ImageRecord {
            id: self.put_bytes(&config.bytes)?,
            manifest: self.put_bytes(&document.bytes)?,
            manifest_media_type: manifest
                .media_type
                .clone()
                .unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned()),
            repo_digests: BTreeSet::new(),
            layers: manifest.layers.iter().zip(&layers).map(layer).collect(),
            size: layers.iter().map(|layer| layer.size).sum(),
            created,
            parent: None,
        };
        self.put_image(&record, &names)?;
        Ok(Loaded {
            id: record.id,
            names,
        })
    }
}

/// An archive that is coming in.
struct Loading<'a> {
    store: &'a Store,
    lease: &'a Lease,
    contents: Contents,
    staged: Vec<StagedLayer>,
}

impl Loading<'_> {
    fn member<R: io::BufRead + Send, W: Write + Send>(
        &mut self,
        tar: &mut TarReader<R, W>,
        entry: &Entry,
    ) -> Result<()> {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        match entry.kind {
            // What is stored is not the file then, and a map may make it endless.
            Kind::File if entry.sparse.is_some() => Err(Error::Archive(format!(
                "{path} is stored as a sparse file, which an archive of images must not have"
            ))),
            Kind::File => self.file(tar, path),
            Kind::HardLink => {
                let target = String::from_utf8_lossy(&entry.link).into_owned();
                self.contents.add_link(path, target)
            }
            Kind::Symlink => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                let target = [parent.as_bytes(), b"/", &entry.link].concat();
                match crate::tar::names::normalize(&target, &Limits::default()) {
                    Ok(target) => {
                        let target = String::from_utf8_lossy(&target).into_owned();
                        self.contents.add_link(path, target)
                    }
                    Err(_) => Ok(()),
                }
            }
            Kind::Char | Kind::Block | Kind::Directory | Kind::Fifo => Ok(()),
        }
    }

    fn file<R: io::BufRead + Send, W: Write + Send>(
        &mut self,
        tar: &mut TarReader<R, W>,
        path: String,
    ) -> Result<()> {
        let size = tar.payload_len();
        let mut payload = PayloadReader { tar };
        let mut start = Vec::with_capacity(BLOCK);
        (&mut payload)
            .take(BLOCK as u64)
            .read_to_end(&mut start)
            .map_err(Error::Source)?;
        let compression = compression_of(&start);
        let is_tar = start.get(257..262).is_some_and(|magic| magic == b"ustar")
            || (start.len() == BLOCK && !matches!(start[0], b'{' | b'['));
        if compression == Compression::None && !is_tar {
            return self.contents.add_document(path, size, start, &mut payload);
        }
        // A layer that is there need not be unpacked: its name claims the
        // digest, and what the image uses is found by digest again.
        if let Some(known) = self.known_layer(&path)? {
            self.contents.add_layer(path, known)?;
            return io::copy(&mut payload, &mut io::sink())
                .map(drop)
                .map_err(Error::Source);
        }
        let stream = io::Cursor::new(start).chain(payload);
        let staged = self.store.unpack(stream, &Unpack::new(compression))?;
        let info = staged.info();
        let known = Known {
            diff_id: info.diff_id,
            compressed: info.compressed,
            size: info.size,
        };
        self.contents.add_layer(path, known)?;
        self.staged.push(staged);
        Ok(())
    }

    fn known_layer(&self, path: &str) -> Result<Option<Known>> {
        let name = path.strip_prefix("blobs/sha256/").unwrap_or(path);
        let Ok(digest) = Digest::from_hex(name.strip_suffix(".tar").unwrap_or(name)) else {
            return Ok(None);
        };
        let found = if self.store.has_layer(&digest) {
            Some(digest)
        } else {
            self.store.layer_of_blob(&digest)
        };
        match found {
            Some(diff_id) => self.store.stored_layer(self.lease, &diff_id, &digest),
            None => Ok(None),
        }
    }
}

/// The current member's payload as a stream.
struct PayloadReader<'a, R, W> {
    tar: &'a mut TarReader<R, W>,
}

impl<R: io::BufRead, W: Write> Read for PayloadReader<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tar.read_payload(buffer).map_err(|error| match error {
            Error::Source(error) => error,
            other => io::Error::other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cove_model::error::sentence;

    #[test]
    fn an_archive_that_is_a_bomb_from_outside_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_with(directory.path(), false).unwrap();
        let limits = Limits {
            ratio_from: 64 << 10,
            ..Limits::default()
        };
        // Zeros: an empty archive, however long.
        let bomb = zstd::encode_all(io::repeat(0).take(4 << 20), 1).unwrap();
        let error = store.load_within(bomb.as_slice(), limits).unwrap_err();
        assert!(sentence(&error).contains("inflates to more"), "{error:?}");
        let plain = store.load_within(io::repeat(0).take(4 << 20), limits);
        assert!(matches!(plain, Err(Error::Archive(_))), "{plain:?}");
    }
}
