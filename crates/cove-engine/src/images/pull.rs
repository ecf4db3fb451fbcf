//! Pulling: the registry's layers go through verification, inflation and
//! unpacking in one stream each, several at once; what is here is not fetched.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use cove_image::{
    Client, CredentialStore, Environment, ImageLayer, Options, Registries, ResolvedImage,
};
use cove_model::event::{Happening, ImageChange};
use cove_model::image::{Compression, Descriptor, Platform};
use cove_model::{Digest, Reference};
use cove_storage::{
    Claim, ImageLayer as StoredLayer, ImageRecord, Lease, Settler, StagedLayer, Unpack,
};

use super::{ImageInfo, Images};
use crate::Engine;
use crate::error::{Error, Result};
use crate::progress::{Cancel, LayerState, Progress, PullEvent};

/// Layers in flight at once. Each takes two threads and a few MiB; more only
/// helps where the registry is far away, which this many hides well enough.
const PARALLEL_LAYERS: usize = 4;

/// When a registry is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before every use.
    Always,
    /// When the image is not here.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// How an image is pulled.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The platform, when not the host's.
    pub platform: Option<Platform>,
    /// Ends it.
    pub cancel: Cancel,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image's full name, with the tag or digest that was asked for.
    pub reference: Reference,
    /// The image's id.
    pub id: Digest,
    /// The digest the registry gave for the name.
    pub digest: Digest,
    /// Whether anything here changed.
    pub newer: bool,
}

impl Images<'_> {
    /// Fetches an image. Once this returns it survives a power cut.
    ///
    /// # Errors
    /// When the registry does not give it, or it is not what its digests say;
    /// nothing of it is left then.
    pub fn pull(
        &self,
        name: &str,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Pulled> {
        self.engine.require_root()?;
        let environment = Environment::of_process();
        let registries = Registries::load(&environment)
            .map_err(|error| Error::Invalid(crate::error::sentence(&error)))?;
        let candidates = registries
            .resolve(name)
            .map_err(|error| Error::Invalid(crate::error::sentence(&error)))?;
        let credentials = CredentialStore::new(environment.clone());
        let client = Client::new(environment, credentials, Options::default());
        let image = client
            .resolve(&candidates, options.platform.as_ref())
            .map_err(Error::Registry)?;
        let asked = image.name.digest().map_or_else(
            || image.name.tag().unwrap_or_default().to_owned(),
            ToString::to_string,
        );
        progress.event(&PullEvent::Resolved {
            repository: image.name.repository(),
            tag: &asked,
        });
        let newer = match self.fetch(&client, &image, options, progress) {
            // Whatever it says, it is the echo of that.
            Err(_) if options.cancel.is_cancelled() => return Err(Error::Cancelled),
            other => other?,
        };
        let (digest, id) = (image.digest(), image.manifest.config.digest);
        let reference = image.name.familiar();
        self.engine.note(Happening::Image {
            id: reference.clone(),
            name: Some(image.name.familiar_name()),
            labels: image.config.config.labels.clone(),
            change: ImageChange::Pull,
        });
        progress.event(&PullEvent::Done {
            digest: &digest,
            reference: &reference,
            newer,
        });
        Ok(Pulled {
            reference: image.name,
            id,
            digest,
            newer,
        })
    }

    /// Brings everything of a resolved image into the store and names it;
    /// whether anything changed.
    fn fetch(
        &self,
        client: &Client,
        image: &ResolvedImage,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<bool> {
        let lease = Lease::new(&self.engine.store).map_err(Error::Storage)?;
        let mut relied_on: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
        relied_on.extend([
            image.manifest_descriptor.digest,
            image.manifest.config.digest,
        ]);
        lease.protect(&relied_on).map_err(Error::Storage)?;

        let (fetched, settler) = self.fetch_layers(client, image, &lease, options, progress)?;
        for bytes in [&image.manifest_bytes, &image.config_bytes] {
            self.engine.store.put_bytes(bytes).map_err(Error::Storage)?;
        }
        let id = image.manifest.config.digest;
        // A digest beside a tag says what to take, not what to call it.
        let name = match image.name.digest() {
            None => Some(image.name.clone()),
            Some(_) => None,
        };
        let before = match &name {
            Some(name) => self
                .engine
                .store
                .find_reference(name)
                .map_err(Error::Storage)?,
            None => self.engine.store.image_record(&id).is_ok().then_some(id),
        };
        let record = ImageRecord {
            id,
            manifest: image.manifest_descriptor.digest,
            manifest_media_type: image.manifest_descriptor.media_type.clone(),
            repo_digests: [image.name.with_digest(image.digest()).to_string()].into(),
            layers: image.layers.iter().map(stored).collect(),
            size: self.size_of(image.layers.iter().map(|layer| &layer.diff_id))?,
            created: image.config.created.clone(),
            parent: None,
        };
        self.engine
            .store
            .put_image(&record, name.as_slice())
            .map_err(Error::Storage)?;
        drop(lease);
        if let Some(settler) = &settler {
            self.engine.settle_later(settler);
        }
        Ok(fetched || before != Some(id))
    }

    /// Brings the layers that are missing; whether there were any, and who is
    /// to settle them.
    fn fetch_layers(
        &self,
        client: &Client,
        image: &ResolvedImage,
        lease: &Lease,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<(bool, Option<Settler>)> {
        let mut missing: Vec<&ImageLayer> = Vec::new();
        // Of these the layer is here, or on its way by another blob; whether theirs holds it
        // too, only they can tell.
        let mut unproven: Vec<&ImageLayer> = Vec::new();
        for layer in &image.layers {
            let id = short(&layer.descriptor);
            if is_held(self.engine, layer) {
                progress.event(&PullEvent::Layer {
                    id: &id,
                    state: LayerState::Exists,
                });
            } else if self.engine.store.has_layer(&layer.diff_id)
                || missing.iter().any(|other| other.diff_id == layer.diff_id)
            {
                if !missing.iter().any(|other| same(other, layer)) {
                    unproven.push(layer);
                }
            } else {
                progress.event(&PullEvent::Layer {
                    id: &id,
                    state: LayerState::Waiting,
                });
                missing.push(layer);
            }
        }
        for layer in unproven {
            self.prove(client, image, layer, progress)?;
        }
        if missing.is_empty() {
            return Ok((false, None));
        }
        // Two pulls that share layers wait for each other's claims. All take
        // them in one order, one after the other, so they cannot wait in a ring.
        missing.sort_by_key(|layer| layer.diff_id);
        // Layers that come compressed are settled later, if that can be.
        let plain = |layer: &&ImageLayer| layer.compression == Compression::None;
        let settler = if missing.iter().any(plain) {
            None
        } else {
            let bytes = missing.iter().map(|layer| layer.descriptor.size).sum();
            self.engine.store.settler(bytes).map_err(Error::Storage)?
        };
        let behind = match &settler {
            Some(_) => None,
            None => Some(self.engine.store.write_behind().map_err(Error::Storage)?),
        };
        let batch = Batch {
            engine: self.engine,
            client,
            image,
            settler: settler.as_ref(),
            progress,
            stop: AtomicBool::new(false),
            cancel: &options.cancel,
        };
        let staged = batch.run(&missing)?;
        if options.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        drop(behind);
        let ids: Vec<Digest> = staged
            .iter()
            .map(|(layer, _)| layer.info().diff_id)
            .collect();
        let (layers, claims): (Vec<StagedLayer>, Vec<Claim>) = staged.into_iter().unzip();
        let published = self
            .engine
            .store
            .publish(lease, layers)
            .map_err(Error::Storage)?;
        drop(claims);
        for layer in &missing {
            if ids.contains(&layer.diff_id) {
                let id = short(&layer.descriptor);
                progress.event(&PullEvent::Layer {
                    id: &id,
                    state: LayerState::Complete,
                });
            }
        }
        Ok((!published.is_empty(), settler))
    }
}

impl Images<'_> {
    /// Reads the blob of a layer that is here, to see that it holds the layer.
    fn prove(
        &self,
        client: &Client,
        image: &ResolvedImage,
        layer: &ImageLayer,
        progress: &dyn Progress,
    ) -> Result<()> {
        let blob = client
            .fetch_blob(&image.endpoint, &layer.descriptor)
            .map_err(Error::Registry)?;
        self.engine
            .store
            .check_blob(blob, &promised(layer))
            .map_err(Error::Storage)?;
        progress.event(&PullEvent::Layer {
            id: &short(&layer.descriptor),
            state: LayerState::Exists,
        });
        Ok(())
    }
}

/// Whether a layer is here and known to be what its blob holds.
fn is_held(engine: &Engine, layer: &ImageLayer) -> bool {
    let blob = (&layer.descriptor.digest, layer.descriptor.size);
    engine.store.holds(&layer.diff_id, blob, layer.compression)
}

/// Whether two layers of an image are the same in every respect that is verified.
fn same(one: &ImageLayer, other: &ImageLayer) -> bool {
    let parts = |layer: &ImageLayer| {
        (
            layer.diff_id,
            layer.descriptor.digest,
            layer.descriptor.size,
            layer.compression,
        )
    };
    parts(one) == parts(other)
}

/// What manifest and configuration say of a layer.
fn promised(layer: &ImageLayer) -> Unpack<'_> {
    let mut what = Unpack::new(layer.compression);
    what.compressed = Some((layer.descriptor.digest, layer.descriptor.size));
    what.diff_id = Some(layer.diff_id);
    what
}

/// The layers of one pull on their way.
struct Batch<'a> {
    engine: &'a Engine,
    client: &'a Client,
    image: &'a ResolvedImage,
    settler: Option<&'a Settler>,
    progress: &'a dyn Progress,
    /// Set by the first failure, so that the others end early.
    stop: AtomicBool,
    cancel: &'a Cancel,
}

impl Batch<'_> {
    /// Fetches and unpacks; the claims keep other processes waiting until
    /// what is staged has been published.
    fn run(&self, missing: &[&ImageLayer]) -> Result<Vec<(StagedLayer, Claim)>> {
        let staged = Mutex::new(Vec::new());
        let failure = Mutex::new(None);
        let (jobs, queue) = mpsc::sync_channel::<(&ImageLayer, Claim)>(0);
        let queue = Mutex::new(queue);
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_LAYERS.min(missing.len()) {
                scope.spawn(|| {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((layer, claim)) = job else { break };
                        match self.one(layer) {
                            Ok(unpacked) => staged
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push((unpacked, claim)),
                            Err(error) => {
                                let stopped = self.stop.swap(true, Ordering::Relaxed);
                                let mut first =
                                    failure.lock().unwrap_or_else(PoisonError::into_inner);
                                // What the others say is only the echo of the stop.
                                if !stopped {
                                    *first = Some(error);
                                }
                            }
                        }
                    }
                });
            }
            for layer in missing {
                if self.stop.load(Ordering::Relaxed) || self.cancel.is_cancelled() {
                    break;
                }
                match self.engine.store.claim(&layer.diff_id) {
                    // Another process may have brought it while we waited.
                    Ok(_) if is_held(self.engine, layer) => {
                        let id = short(&layer.descriptor);
                        let event = PullEvent::Layer {
                            id: &id,
                            state: LayerState::Exists,
                        };
                        self.progress.event(&event);
                    }
                    Ok(claim) => {
                        if jobs.send((layer, claim)).is_err() {
                            break;
                        }
                    }
                    Err(error) => {
                        self.stop.store(true, Ordering::Relaxed);
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(Error::Storage(error));
                        break;
                    }
                }
            }
            drop(jobs);
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(staged.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn one(&self, layer: &ImageLayer) -> Result<StagedLayer> {
        let id = short(&layer.descriptor);
        let total = layer.descriptor.size;
        let done = AtomicU64::new(0);
        let count = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            self.progress.event(&PullEvent::Layer {
                id: &id,
                state: LayerState::Pulling { done, total },
            });
        };
        let blob = self
            .client
            .fetch_blob(&self.image.endpoint, &layer.descriptor)
            .map_err(Error::Registry)?;
        let mut what = promised(layer);
        what.settler = self.settler;
        what.progress = &count;
        let reader = Stoppable {
            blob,
            stop: &self.stop,
            cancel: self.cancel,
        };
        self.engine
            .store
            .unpack(reader, &what)
            .map_err(Error::Storage)
    }
}

/// A blob that breaks off when another layer failed, or nobody wants it any more.
struct Stoppable<'a, R> {
    blob: R,
    stop: &'a AtomicBool,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer of the image failed"));
        }
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        self.blob.read(buffer)
    }
}

fn stored(layer: &ImageLayer) -> StoredLayer {
    StoredLayer {
        diff_id: layer.diff_id,
        compressed: layer.descriptor.digest,
        size: layer.descriptor.size,
        media_type: layer.descriptor.media_type.clone(),
    }
}

/// What Docker calls a layer: the beginning of its blob's digest.
fn short(layer: &Descriptor) -> String {
    let mut hex = layer.digest.hex();
    hex.truncate(12);
    hex
}

impl Images<'_> {
    /// The image that a `run` is to use, fetched where the policy says so.
    pub(crate) fn for_run(
        &self,
        name: &str,
        policy: PullPolicy,
        platform: Option<&Platform>,
        progress: &dyn Progress,
    ) -> Result<ImageInfo> {
        let options = PullOptions {
            platform: platform.cloned(),
            cancel: Cancel::default(),
        };
        match policy {
            PullPolicy::Always => {
                self.pull(name, &options, progress)?;
                self.get(name)
            }
            PullPolicy::Never => self.get(name),
            PullPolicy::Missing => match self.get(name) {
                Ok(image) if platform.is_none_or(|wanted| image.is_for(wanted)) => Ok(image),
                Ok(_) | Err(Error::NoSuchImage { .. }) => {
                    let reference = Reference::parse_docker(name)
                        .map_err(Error::Reference)?
                        .with_default_tag()
                        .familiar();
                    progress.event(&PullEvent::Missing {
                        reference: &reference,
                    });
                    self.pull(name, &options, progress)?;
                    self.get(name)
                }
                Err(error) => Err(error),
            },
        }
    }
}
