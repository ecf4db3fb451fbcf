//! Which images an archive makes: decided before anything is recorded. What
//! one document says costs no more than that document, however often others
//! refer to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cove_model::entry::nearest;
use cove_model::image::{Descriptor, ImageConfig, Index, Manifest, Platform, media_type};
use cove_model::{Digest, Reference};

use super::contents::{Contents, Document, Known};
use super::documents::DockerImage;
use super::{FULL_NAME, REF_NAME, parse};
use crate::blob::check_digest;
use crate::error::{Error, Result};

/// How deep indexes may lead to indexes.
const INDEX_DEPTH: usize = 4;
/// Images of one archive.
const IMAGES_LIMIT: usize = 4096;
/// Layers of one image; overlayfs takes 500.
const LAYERS_LIMIT: usize = 500;

/// An image whose parts are all there and fit.
pub(super) struct Plan<'a> {
    pub(super) config: &'a Document,
    /// The manifest of an OCI layout, which is kept.
    pub(super) manifest: Option<(&'a Document, Manifest)>,
    pub(super) layers: Vec<Known>,
    pub(super) created: Option<String>,
    pub(super) names: Vec<Reference>,
}

/// Finds a layer that is not in the archive.
pub(super) type Stored<'s> = &'s dyn Fn(&Digest) -> Result<Option<Known>>;

/// The images of an archive; of one that is there for several platforms the
/// nearest to `wanted`. A docker-archive may leave out layers that are `stored`.
pub(super) fn plans<'a>(
    contents: &'a Contents,
    wanted: &Platform,
    stored: Stored<'_>,
) -> Result<Vec<Plan<'a>>> {
    let mut planner = Planner {
        contents,
        wanted,
        stored,
        configs: BTreeMap::new(),
        chosen: BTreeMap::new(),
        planned: BTreeMap::new(),
        plans: Vec::new(),
    };
    if let Some(document) = contents.document("manifest.json") {
        let images: Vec<DockerImage> = parse("manifest.json", &document.bytes)?;
        for image in &images {
            planner.docker_image(image)?;
        }
        return Ok(planner.plans);
    }
    if let Some(document) = contents.document("index.json") {
        planner.layout(&parse("index.json", &document.bytes)?)?;
        if !planner.plans.is_empty() {
            return Ok(planner.plans);
        }
    }
    let what = "the stream is neither a docker-archive nor an OCI layout with an image";
    Err(Error::Archive(what.to_owned()))
}

struct Planner<'a, 'w> {
    contents: &'a Contents,
    wanted: &'w Platform,
    stored: Stored<'w>,
    configs: BTreeMap<Digest, ImageConfig>,
    /// The manifest that each index led to, if any.
    chosen: BTreeMap<Digest, Option<Descriptor>>,
    /// The plan of each manifest.
    planned: BTreeMap<Digest, usize>,
    plans: Vec<Plan<'a>>,
}

impl<'a> Planner<'a, '_> {
    fn docker_image(&mut self, image: &DockerImage) -> Result<()> {
        let config = self
            .contents
            .document(&image.config)
            .ok_or_else(|| Error::Archive(format!("{} is missing", image.config)))?;
        let diff_ids = self.config(config)?.rootfs.diff_ids.clone();
        let numbered: Vec<(usize, &String)> = image.layers.iter().enumerate().collect();
        let layers = layers(&numbered, |(number, path)| {
            let missing = match self.contents.layer(path) {
                Ok(layer) => return Ok(layer),
                Err(missing) => missing,
            };
            let diff_id = diff_ids.get(*number);
            let stored = diff_id.map_or(Ok(None), self.stored)?;
            stored.ok_or(missing)
        })?;
        let mut names = Vec::new();
        for tag in image.repo_tags.iter().flatten() {
            let name = Reference::parse_tag(tag)
                .map_err(|error| Error::Archive(format!("manifest.json: {error}")))?;
            names.push(name);
        }
        self.plan(config, None, layers, names)
    }

    /// One name may stand for an image for each of several platforms; what
    /// has no name is an image of its own.
    fn layout(&mut self, index: &Index) -> Result<()> {
        let mut images: Vec<Vec<&Descriptor>> = Vec::new();
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in self.present(index) {
            let number = match name_of(entry).filter(|_| entry.platform.is_some()) {
                Some(name) => *named.entry(name).or_insert(images.len()),
                None => images.len(),
            };
            match images.get_mut(number) {
                Some(platforms) => platforms.push(entry),
                None => images.push(vec![entry]),
            }
        }
        for platforms in images {
            let Some(entry) = self.pick(&platforms)? else {
                continue;
            };
            if let Some(manifest) = self.manifest_of(entry, INDEX_DEPTH)? {
                self.manifest(&manifest, reference_of(entry))?;
            }
        }
        Ok(())
    }

    /// Archives may hold one platform of many, and attestations.
    fn present<'i>(&self, index: &'i Index) -> Vec<&'i Descriptor> {
        let unknown = |entry: &&Descriptor| {
            let platform = entry.platform.as_ref();
            platform.is_some_and(|platform| platform.os == "unknown")
        };
        let entries = index.manifests.iter();
        entries
            .filter(|entry| self.contents.has_blob(&entry.digest) && !unknown(entry))
            .collect()
    }

    /// The only entry, whatever it is for, or the nearest.
    fn pick<'i>(&self, entries: &[&'i Descriptor]) -> Result<Option<&'i Descriptor>> {
        match entries {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            several => {
                let nearest = nearest(several.iter().copied(), self.wanted);
                nearest.map(Some).ok_or_else(|| {
                    let Platform {
                        os, architecture, ..
                    } = self.wanted;
                    Error::Archive(format!(
                        "the archive has an image for several platforms, but none for {os}/{architecture}"
                    ))
                })
            }
        }
    }

    /// From an entry of an index to the manifest of the platform.
    fn manifest_of(&mut self, entry: &Descriptor, depth: usize) -> Result<Option<Descriptor>> {
        match entry.media_type.as_str() {
            kind @ (media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => {
                // Its annotations may be long, and it asked for often.
                Ok(Some(Descriptor::new(kind, entry.digest, entry.size)))
            }
            media_type::OCI_INDEX | media_type::DOCKER_LIST if depth > 0 => {
                if let Some(known) = self.chosen.get(&entry.digest) {
                    return Ok(known.clone());
                }
                let document = blob(self.contents, entry)?;
                let index: Index = parse("an index of the archive", &document.bytes)?;
                let chosen = match self.pick(&self.present(&index))? {
                    Some(entry) => self.manifest_of(entry, depth - 1)?,
                    None => None,
                };
                self.chosen.insert(entry.digest, chosen.clone());
                Ok(chosen)
            }
            other => Err(Error::Archive(format!("unsupported media type {other}"))),
        }
    }

    /// Plans the image of a manifest, or gives it another name.
    fn manifest(&mut self, entry: &Descriptor, name: Option<Reference>) -> Result<()> {
        if let Some(plan) = self.planned.get(&entry.digest) {
            self.plans[*plan].names.extend(name);
            return Ok(());
        }
        let document = blob(self.contents, entry)?;
        let manifest: Manifest = parse("a manifest of the archive", &document.bytes)?;
        let config = blob(self.contents, &manifest.config)?;
        let layers = layers(&manifest.layers, |layer| {
            self.contents.layer_blob(&layer.digest)
        })?;
        self.planned.insert(entry.digest, self.plans.len());
        let names = name.into_iter().collect();
        self.plan(config, Some((document, manifest)), layers, names)
    }

    /// A configuration, parsed once.
    fn config(&mut self, config: &Document) -> Result<&ImageConfig> {
        Ok(match self.configs.entry(config.digest) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let parsed =
                    ImageConfig::parse(&config.bytes).map_err(|source| Error::Document {
                        what: "the configuration of an image".to_owned(),
                        source,
                    })?;
                new.insert(parsed)
            }
        })
    }

    fn plan(
        &mut self,
        config: &'a Document,
        manifest: Option<(&'a Document, Manifest)>,
        layers: Vec<Known>,
        names: Vec<Reference>,
    ) -> Result<()> {
        if self.plans.len() == IMAGES_LIMIT {
            return Err(Error::Archive(format!(
                "the archive has more than {IMAGES_LIMIT} images"
            )));
        }
        let parsed = self.config(config)?;
        let diff_ids = &parsed.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            return Err(Error::Archive(
                "manifest and configuration differ in the number of layers".to_owned(),
            ));
        }
        for (expected, layer) in diff_ids.iter().zip(&layers) {
            check_digest("a layer of the archive", expected, &layer.diff_id)?;
        }
        let created = parsed.created.clone();
        self.plans.push(Plan {
            config,
            manifest,
            layers,
            created,
            names,
        });
        Ok(())
    }
}

/// The layers that a document lists.
fn layers<T>(listed: &[T], find: impl Fn(&T) -> Result<Known>) -> Result<Vec<Known>> {
    if listed.len() > LAYERS_LIMIT {
        return Err(Error::Archive(format!(
            "an image of {} layers cannot be used, the limit is {LAYERS_LIMIT}",
            listed.len()
        )));
    }
    listed.iter().map(find).collect()
}

fn blob<'a>(contents: &'a Contents, descriptor: &Descriptor) -> Result<&'a Document> {
    contents
        .blob(descriptor)?
        .ok_or_else(|| Error::Archive(format!("the blob {} is missing", descriptor.digest)))
}

/// What an entry of the outermost index is called there.
fn name_of(entry: &Descriptor) -> Option<&str> {
    let annotation = |key| entry.annotations.get(key).map(String::as_str);
    annotation(FULL_NAME).or_else(|| annotation(REF_NAME))
}

fn reference_of(entry: &Descriptor) -> Option<Reference> {
    let name = name_of(entry)?;
    // A tag alone names no image.
    let names = entry.annotations.contains_key(FULL_NAME) || name.contains([':', '/']);
    Reference::parse_tag(name).ok().filter(|_| names)
}
