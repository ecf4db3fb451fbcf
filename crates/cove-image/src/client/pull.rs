//! What an image is, before its layers are fetched.

use cove_model::image::{Compression, Descriptor, ImageConfig, Manifest, Platform};
use cove_model::{Digest, Reference};

use super::Client;
use super::document::{self, Document, DocumentError};
use super::manifest::Fetched;
use super::request::Inner;
use super::token::Session;
use crate::error::Error;
use crate::registries::{Candidate, Endpoint};

/// Indexes within indexes that are followed.
const NESTING: usize = 4;

/// One layer to fetch, verify and unpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// How the blob is compressed, by its media type.
    pub compression: Compression,
}

/// Everything about an image but the bytes of its layers. All that is here
/// has been verified against its digest.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// The image's full name: the candidate's.
    pub name: Reference,
    /// Where the image was found and its layers are fetched from.
    pub endpoint: Endpoint,
    /// Whether that is a mirror.
    pub mirror: bool,
    /// The index that the name led to, if it was one, with its bytes.
    pub index: Option<(Descriptor, Vec<u8>)>,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's type, digest and size.
    pub manifest_descriptor: Descriptor,
    /// The manifest's bytes.
    pub manifest_bytes: Vec<u8>,
    /// The configuration. Its digest is the image's id.
    pub config: ImageConfig,
    /// The configuration's bytes.
    pub config_bytes: Vec<u8>,
    /// The layers, base first.
    pub layers: Vec<ImageLayer>,
}

impl ResolvedImage {
    /// The digest that the name stands for: the index's, else the manifest's.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.index
            .as_ref()
            .map_or(self.manifest_descriptor.digest, |(index, _)| index.digest)
    }

    /// Whether the image is for the platform of this build; a single manifest
    /// for another one is taken when none was asked for, which the user is
    /// warned of.
    #[must_use]
    pub fn is_for_host(&self) -> bool {
        self.config.platform().runs_on(&Platform::host())
    }

    /// Compressed bytes of all layers.
    #[must_use]
    pub fn layer_bytes(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| layer.descriptor.size)
            .fold(0, u64::saturating_add)
    }
}

impl Client {
    /// Asks the candidates in their order and returns the first image found.
    /// `platform` is what the user asked for; without it an index is searched
    /// for the host's platform, and a single manifest is taken as it is.
    ///
    /// # Errors
    /// The only candidate's reason, or all of them.
    pub fn resolve(
        &self,
        candidates: &[Candidate],
        platform: Option<&Platform>,
    ) -> Result<ResolvedImage, Error> {
        let mut reasons = Vec::new();
        let mut last = None;
        for candidate in candidates {
            if let Some(error) = last.take() {
                let asked = candidates
                    .get(reasons.len())
                    .map_or("", |c| &c.endpoint.host);
                reasons.push(format!("{asked} ({error})"));
            }
            match self.inner.resolve_one(candidate, platform) {
                Ok(image) => return Ok(image),
                Err(error) => last = Some(error),
            }
        }
        let final_host = candidates
            .last()
            .map(|candidate| candidate.endpoint.host.clone());
        match (last, final_host) {
            (Some(error), Some(host)) if !reasons.is_empty() => {
                reasons.push(host);
                let name = candidates[0].name.familiar();
                Err(Error::Candidates {
                    name,
                    asked: reasons.join(", "),
                    source: Box::new(error),
                })
            }
            (Some(error), _) => Err(error),
            (None, _) => Err(Error::NoCandidates),
        }
    }
}

impl Inner {
    fn resolve_one(
        &self,
        candidate: &Candidate,
        wanted: Option<&Platform>,
    ) -> Result<ResolvedImage, Error> {
        let endpoint = &candidate.endpoint;
        let session = self.session(endpoint);
        let reference = &endpoint.reference;
        let first = self.manifest(&session, reference, reference.digest().copied(), None)?;
        let (index, found) = self.descend(&session, reference, first, wanted)?;
        let Document::Manifest(manifest) = found.document else {
            return Err(Error::Document {
                what: format!("index {}", found.descriptor.digest),
                source: DocumentError::Nesting,
            });
        };
        let invalid = |source| Error::Document {
            what: format!(
                "manifest {} of {}",
                found.descriptor.digest,
                reference.familiar()
            ),
            source,
        };
        self.check_layers(&manifest).map_err(invalid)?;
        let config_bytes =
            self.small_blob(&session, &manifest.config, self.wire.options.limits.config)?;
        let config = document::parse_config(&config_bytes).map_err(|source| Error::Document {
            what: format!("configuration {}", manifest.config.digest),
            source,
        })?;
        check_platform(&candidate.name, &config, wanted)?;
        let layers = pair(&manifest, &config).map_err(invalid)?;
        Ok(ResolvedImage {
            name: candidate.name.clone(),
            endpoint: endpoint.clone(),
            mirror: candidate.mirror,
            index,
            manifest,
            manifest_descriptor: found.descriptor,
            manifest_bytes: found.bytes,
            config,
            config_bytes,
            layers,
        })
    }

    /// From an index to the manifest of the platform.
    #[expect(
        clippy::type_complexity,
        reason = "the outermost index beside what it led to"
    )]
    fn descend(
        &self,
        session: &Session,
        reference: &Reference,
        first: Fetched,
        wanted: Option<&Platform>,
    ) -> Result<(Option<(Descriptor, Vec<u8>)>, Fetched), Error> {
        let wanted = wanted.cloned().unwrap_or_else(Platform::host);
        let mut outermost = None;
        let mut fetched = first;
        for _ in 0..NESTING {
            let Document::Index(index) = &fetched.document else {
                return Ok((outermost, fetched));
            };
            let Some(entry) = index.entry_for(&wanted).cloned() else {
                return Err(Error::NoPlatform {
                    platform: Box::new(wanted),
                });
            };
            let digest = Some(entry.digest);
            let next = self.manifest(session, reference, digest, Some(&entry))?;
            outermost.get_or_insert((fetched.descriptor, fetched.bytes));
            fetched = next;
        }
        match fetched.document {
            Document::Manifest(_) => Ok((outermost, fetched)),
            Document::Index(_) => Err(fetched.invalid("index", DocumentError::Nesting)),
        }
    }

    fn check_layers(&self, manifest: &Manifest) -> Result<(), DocumentError> {
        let limits = &self.wire.options.limits;
        if !document::is_config(&manifest.config.media_type) {
            return Err(DocumentError::MediaType(manifest.config.media_type.clone()));
        }
        if manifest.layers.len() > limits.layers {
            return Err(DocumentError::TooManyLayers(manifest.layers.len()));
        }
        for layer in &manifest.layers {
            let (digest, size) = (layer.digest.to_string(), layer.size);
            if Compression::of_layer(&layer.media_type).is_none() {
                let media_type = layer.media_type.clone();
                return Err(DocumentError::LayerType { digest, media_type });
            }
            if size == 0 || size > limits.layer {
                return Err(DocumentError::LayerSize { digest, size });
            }
        }
        Ok(())
    }
}

fn pair(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<ImageLayer>, DocumentError> {
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(DocumentError::LayerCount { layers, diff_ids });
    }
    let pairs = manifest.layers.iter().zip(&config.rootfs.diff_ids);
    pairs
        .map(|(descriptor, diff_id)| {
            let compression = Compression::of_layer(&descriptor.media_type).ok_or_else(|| {
                DocumentError::LayerType {
                    digest: descriptor.digest.to_string(),
                    media_type: descriptor.media_type.clone(),
                }
            })?;
            Ok(ImageLayer {
                descriptor: descriptor.clone(),
                diff_id: *diff_id,
                compression,
            })
        })
        .collect()
}

/// An image for another system never runs; one for another processor is
/// refused when the user asked for a platform.
fn check_platform(
    name: &Reference,
    config: &ImageConfig,
    wanted: Option<&Platform>,
) -> Result<(), Error> {
    let actual = config.platform();
    if let Some(wanted) = wanted
        && !actual.runs_on(wanted)
    {
        return Err(Error::OtherPlatform {
            name: name.familiar(),
            wanted: Box::new(wanted.clone()),
            actual: Box::new(actual),
        });
    }
    if actual.os != "linux" {
        return Err(Error::OperatingSystem(actual.os));
    }
    Ok(())
}
