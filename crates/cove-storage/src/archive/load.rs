//! Loading archives in one pass: layers are unpacked as they come by, since a
//! pipe cannot be read twice; the documents that join them come in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::Path;

use cove_model::image::{Compression, Descriptor, ImageConfig, Index, Manifest, media_type};
use cove_model::{Digest, Reference};

use super::documents::DockerImage;
use super::{FULL_NAME, REF_NAME, parse};
use crate::blob::{BLOB_LIMIT, digest_of};
use crate::error::{Error, Result};
use crate::image::{ImageLayer, ImageRecord};
use crate::inflate::{Decoder, compression_of, detect};
use crate::layer::open_directory;
use crate::lease::Lease;
use crate::pack::{export, through_a_pipe};
use crate::store::Store;
use crate::tar::reader::TarReader;
use crate::tar::{BLOCK, Entry, Kind, Limits};
use crate::unpack::{StagedLayer, Unpack};

/// All documents of one archive together.
const DOCUMENTS_LIMIT: u64 = 4 * BLOB_LIMIT;
/// How deep indexes may lead to indexes.
const INDEX_DEPTH: usize = 4;

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
    /// compressed or not; durable on return, in a durable store.
    ///
    /// # Errors
    /// When the archive is damaged, incomplete or of another form; no image
    /// is recorded then.
    pub fn load(&self, reader: impl Read + Send) -> Result<Vec<Loaded>> {
        let (compression, reader) = detect(reader)?;
        let decoder = Decoder::new(compression, reader).map_err(Error::Source)?;
        self.load_tar(decoder)
    }

    /// Reads images from an OCI layout, or an unpacked docker-archive, in a
    /// directory.
    ///
    /// # Errors
    /// Those of [`Store::load`].
    pub fn load_layout(&self, path: &Path) -> Result<Vec<Loaded>> {
        let directory = open_directory(path)?;
        through_a_pipe(
            |out| export(&directory, path, out),
            |archive| self.load(archive),
        )
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
        let mut contents = Contents::default();
        while let Some(entry) = tar.next()? {
            self.member(&mut tar, &entry, &lease, &mut contents)?;
        }
        let plans = contents.plans()?;
        drop(behind);
        self.publish(&lease, std::mem::take(&mut contents.staged))?;
        plans
            .into_iter()
            .map(|plan| self.record_plan(&lease, plan))
            .collect()
    }

    fn member<R: io::BufRead + Send, W: Write + Send>(
        &self,
        tar: &mut TarReader<R, W>,
        entry: &Entry,
        lease: &Lease,
        contents: &mut Contents,
    ) -> Result<()> {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        match entry.kind {
            Kind::File => {}
            // Older `docker save` links equal layers.
            Kind::HardLink => {
                contents
                    .links
                    .insert(path, String::from_utf8_lossy(&entry.link).into_owned());
                return Ok(());
            }
            Kind::Symlink => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                let target = [parent.as_bytes(), b"/", &entry.link].concat();
                if let Ok(target) = crate::tar::names::normalize(&target, &Limits::default()) {
                    contents
                        .links
                        .insert(path, String::from_utf8_lossy(&target).into_owned());
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        let size = tar.payload_len();
        let mut payload = PayloadReader { tar };
        let mut start = Vec::with_capacity(BLOCK);
        (&mut payload)
            .take(BLOCK as u64)
            .read_to_end(&mut start)
            .map_err(Error::Source)?;
        let compression = compression_of(&start)?;
        let is_tar = start.get(257..262).is_some_and(|magic| magic == b"ustar")
            || (start.len() == BLOCK && !matches!(start[0], b'{' | b'['));
        if compression == Compression::None && !is_tar {
            return contents.document(path, size, start, &mut payload);
        }
        // A layer that is there need not be unpacked: its name claims the
        // digest, and what the image uses is found by digest again.
        if let Some(known) = self.known_layer(&path, lease)? {
            contents.layers.insert(path, known);
            return io::copy(&mut payload, &mut io::sink())
                .map(drop)
                .map_err(Error::Source);
        }
        let stream = io::Cursor::new(start).chain(payload);
        let staged = self.unpack(stream, &Unpack::new(compression))?;
        let info = staged.info();
        let known = Known {
            diff_id: info.diff_id,
            compressed: info.compressed,
            size: info.size,
        };
        contents.layers.insert(path, known);
        contents.staged.push(staged);
        Ok(())
    }

    fn known_layer(&self, path: &str, lease: &Lease) -> Result<Option<Known>> {
        let name = path.strip_prefix("blobs/sha256/").unwrap_or(path);
        let Ok(digest) = Digest::from_hex(name.strip_suffix(".tar").unwrap_or(name)) else {
            return Ok(None);
        };
        let found = if self.has_layer(&digest) {
            Some(digest)
        } else {
            self.layer_of_blob(&digest)
        };
        let Some(diff_id) = found else {
            return Ok(None);
        };
        lease.protect(&[diff_id])?;
        match self.layer(&diff_id) {
            Ok(layer) => {
                let size = layer.info().size;
                Ok(Some(Known {
                    diff_id,
                    compressed: digest,
                    size,
                }))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn record_plan(&self, lease: &Lease, plan: Plan) -> Result<Loaded> {
        let Plan {
            config,
            manifest,
            diff_ids,
            created,
            size,
            names,
        } = plan;
        let Some((bytes, manifest)) = manifest else {
            let record = self.record_image(lease, &config, created, &diff_ids, &names)?;
            return Ok(Loaded {
                id: record.id,
                names,
            });
        };
        let id = digest_of(&config);
        lease.protect(&[id, digest_of(&bytes)])?;
        self.put_bytes(&config)?;
        let layer = |(descriptor, diff_id): (&Descriptor, &Digest)| ImageLayer {
            diff_id: *diff_id,
            compressed: descriptor.digest,
            size: descriptor.size,
            media_type: descriptor.media_type.clone(),
        };
        let record = ImageRecord {
            id,
            manifest: self.put_bytes(&bytes)?,
            manifest_media_type: manifest
                .media_type
                .clone()
                .unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned()),
            repo_digests: BTreeSet::new(),
            layers: manifest.layers.iter().zip(&diff_ids).map(layer).collect(),
            size,
            created,
        };
        self.put_image(&record, &names)?;
        Ok(Loaded { id, names })
    }
}

/// A layer of the archive by the name it has there.
#[derive(Debug, Clone, Copy)]
struct Known {
    diff_id: Digest,
    compressed: Digest,
    /// Bytes of its files.
    size: u64,
}

/// What the archive turned out to hold.
#[derive(Default)]
struct Contents {
    documents: BTreeMap<String, Vec<u8>>,
    documents_size: u64,
    layers: BTreeMap<String, Known>,
    links: BTreeMap<String, String>,
    staged: Vec<StagedLayer>,
}

/// An image whose parts are all there and fit.
struct Plan {
    config: Vec<u8>,
    /// The manifest of an OCI layout, which is kept.
    manifest: Option<(Vec<u8>, Manifest)>,
    diff_ids: Vec<Digest>,
    created: Option<String>,
    size: u64,
    names: Vec<Reference>,
}

impl Contents {
    fn document(
        &mut self,
        path: String,
        size: u64,
        start: Vec<u8>,
        rest: &mut impl Read,
    ) -> Result<()> {
        self.documents_size += size;
        if size > BLOB_LIMIT || self.documents_size > DOCUMENTS_LIMIT {
            return Err(Error::TooLarge {
                what: "a document of the archive",
                limit: BLOB_LIMIT,
            });
        }
        let mut bytes = start;
        rest.read_to_end(&mut bytes).map_err(Error::Source)?;
        self.documents.insert(path, bytes);
        Ok(())
    }

    fn plans(&self) -> Result<Vec<Plan>> {
        if let Some(bytes) = self.documents.get("manifest.json") {
            let images: Vec<DockerImage> = parse("manifest.json", bytes)?;
            return images.iter().map(|image| self.docker_plan(image)).collect();
        }
        if let Some(bytes) = self.documents.get("index.json") {
            let index: Index = parse("index.json", bytes)?;
            let mut plans = Vec::new();
            self.index_plans(&index, &[], INDEX_DEPTH, &mut plans)?;
            if !plans.is_empty() {
                return Ok(plans);
            }
        }
        let what = "the stream is neither a docker-archive nor an OCI layout with an image";
        Err(Error::Archive(what.to_owned()))
    }

    fn docker_plan(&self, image: &DockerImage) -> Result<Plan> {
        let config = self.named_document(&image.config)?;
        let mut layers = Vec::new();
        for path in &image.layers {
            layers.push(self.layer_at(path)?);
        }
        let mut names = Vec::new();
        for tag in image.repo_tags.iter().flatten() {
            let name = Reference::parse_docker(tag)
                .map_err(|error| Error::Archive(format!("manifest.json: {error}")))?;
            names.push(name.with_default_tag());
        }
        plan(config, None, &layers, names)
    }

    fn index_plans(
        &self,
        index: &Index,
        names: &[Reference],
        depth: usize,
        plans: &mut Vec<Plan>,
    ) -> Result<()> {
        for descriptor in &index.manifests {
            // Archives may hold one platform of many, and attestations.
            let Some(bytes) = self.blob(descriptor)? else {
                continue;
            };
            if descriptor
                .platform
                .as_ref()
                .is_some_and(|platform| platform.os == "unknown")
            {
                continue;
            }
            let own = names_of(descriptor);
            let names = if own.is_empty() { names } else { &own };
            match descriptor.media_type.as_str() {
                media_type::OCI_INDEX | media_type::DOCKER_LIST if depth > 0 => {
                    let index: Index = parse("an index of the archive", bytes)?;
                    self.index_plans(&index, names, depth - 1, plans)?;
                }
                media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
                    plans.push(self.manifest_plan(bytes, names)?);
                }
                other => {
                    return Err(Error::Archive(format!("unsupported media type {other}")));
                }
            }
        }
        Ok(())
    }

    fn manifest_plan(&self, bytes: &[u8], names: &[Reference]) -> Result<Plan> {
        let manifest: Manifest = parse("a manifest of the archive", bytes)?;
        let config = self
            .blob(&manifest.config)?
            .ok_or_else(|| missing(&manifest.config.digest))?;
        let mut layers = Vec::new();
        for descriptor in &manifest.layers {
            let path = blob_path(&descriptor.digest);
            let layer = self.layer_at(&path)?;
            if layer.compressed != descriptor.digest {
                let what = "a layer of the archive";
                let (expected, actual) = (descriptor.digest, layer.compressed);
                return Err(Error::Digest {
                    what,
                    expected,
                    actual,
                });
            }
            layers.push(layer);
        }
        plan(
            config,
            Some((bytes.to_vec(), manifest)),
            &layers,
            names.to_vec(),
        )
    }

    /// A document by digest, verified.
    fn blob(&self, descriptor: &Descriptor) -> Result<Option<&[u8]>> {
        let Some(bytes) = self.documents.get(&blob_path(&descriptor.digest)) else {
            return Ok(None);
        };
        let what = "a document of the archive";
        crate::blob::check_size(what, Some(descriptor.size), bytes.len() as u64)?;
        crate::blob::check_digest(what, &descriptor.digest, &digest_of(bytes))?;
        Ok(Some(bytes))
    }

    fn named_document(&self, path: &str) -> Result<&[u8]> {
        let path = self.resolved(path);
        let bytes = self.documents.get(path);
        bytes
            .map(Vec::as_slice)
            .ok_or_else(|| Error::Archive(format!("{path} is missing")))
    }

    fn layer_at(&self, path: &str) -> Result<Known> {
        let path = self.resolved(path);
        let layer = self.layers.get(path).copied();
        layer.ok_or_else(|| Error::Archive(format!("the layer {path} is missing")))
    }

    fn resolved<'a>(&'a self, path: &'a str) -> &'a str {
        let path = path.strip_prefix("./").unwrap_or(path);
        self.links.get(path).map_or(path, String::as_str)
    }
}

fn plan(
    config: &[u8],
    manifest: Option<(Vec<u8>, Manifest)>,
    layers: &[Known],
    names: Vec<Reference>,
) -> Result<Plan> {
    let parsed = ImageConfig::parse(config).map_err(|source| Error::Document {
        what: "the configuration of an image".to_owned(),
        source,
    })?;
    let found: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    if parsed.rootfs.diff_ids.len() != found.len() {
        return Err(Error::Archive(
            "manifest and configuration differ in the number of layers".to_owned(),
        ));
    }
    for (expected, actual) in parsed.rootfs.diff_ids.iter().zip(&found) {
        crate::blob::check_digest("a layer of the archive", expected, actual)?;
    }
    Ok(Plan {
        config: config.to_vec(),
        manifest,
        diff_ids: found,
        created: parsed.created,
        size: layers.iter().map(|layer| layer.size).sum(),
        names,
    })
}

fn names_of(descriptor: &Descriptor) -> Vec<Reference> {
    let text = descriptor.annotations.get(FULL_NAME).or_else(|| {
        // A tag alone names no image.
        descriptor
            .annotations
            .get(REF_NAME)
            .filter(|name| name.contains([':', '/']))
    });
    let reference = text.and_then(|text| Reference::parse_docker(text).ok());
    reference
        .map(Reference::with_default_tag)
        .into_iter()
        .collect()
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn missing(digest: &Digest) -> Error {
    Error::Archive(format!("the blob {digest} is missing"))
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
