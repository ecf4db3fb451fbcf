//! `system df`: what takes how much of the disk.

use std::collections::{BTreeMap, BTreeSet};

use cove_engine::{Engine, ImageInfo, Instance};
use cove_model::Digest;

use crate::container::is_active;
use crate::error::{Error, Result};
use crate::image::Named;
use crate::rows::row;
use crate::time::Clock;
use crate::{container, human, image};

row! {
    /// What a row of `system df` has.
    pub struct Row = "*formatter.diskUsageImagesContext" {
        active: String = "Active" "ACTIVE",
        reclaimable: String = "Reclaimable" "RECLAIMABLE",
        size: String = "Size" "SIZE",
        total_count: String = "TotalCount" "TOTAL",
        kind: String = "Type" "TYPE",
    }
}

impl Row {
    /// The columns of the table, when nobody names others.
    pub const DEFAULT: &[&str] = &["Type", "TotalCount", "Active", "Size", "Reclaimable"];
}

/// What is on the disk.
#[derive(Debug)]
pub struct DiskUsage {
    images: Vec<ImageInfo>,
    /// With the bytes that each wrote.
    instances: Vec<(Instance, u64)>,
    /// Bytes of each layer: those that images share are stored, and counted, once.
    layers: BTreeMap<Digest, u64>,
}

impl DiskUsage {
    /// Looks at the disk.
    ///
    /// # Errors
    /// When images or containers cannot be listed.
    pub fn of(engine: &Engine) -> Result<Self> {
        let images = engine.images().list().map_err(Error::Engine)?;
        let instances = engine.instances().list().map_err(Error::Engine)?.instances;
        let layers: BTreeSet<Digest> = images
            .iter()
            .flat_map(|image| image.layers.iter().copied())
            .collect();
        let size = |layer| {
            let files = engine.images().layer_files(&layer);
            (layer, cove_engine::size_of_tree(&files))
        };
        let written = |instance: Instance| {
            let size = engine.instances().written(&instance.record);
            (instance, size)
        };
        Ok(Self {
            images,
            instances: instances.into_iter().map(written).collect(),
            layers: layers.into_iter().map(size).collect(),
        })
    }

    /// A row for each kind of thing.
    #[must_use]
    pub fn summary(&self) -> Vec<Row> {
        let uses = self.uses();
        let used: Vec<&ImageInfo> = self
            .images
            .iter()
            .filter(|image| uses.contains_key(&image.id))
            .collect();
        let needed: BTreeSet<&Digest> = used.iter().flat_map(|image| &image.layers).collect();
        let spare = self
            .layers
            .iter()
            .filter(|(layer, _)| !needed.contains(*layer))
            .map(|(_, size)| size);
        let down = |(instance, _): &&(Instance, u64)| !is_active(instance.status.state);
        let reclaimable: u64 = self
            .instances
            .iter()
            .filter(down)
            .map(|(_, size)| size)
            .sum();
        let active = self.instances.len() - self.instances.iter().filter(down).count();
        vec![
            Kind {
                name: "Images",
                total: self.images.len(),
                active: used.len(),
                size: self.layers.values().sum(),
                reclaimable: spare.sum(),
            }
            .row(),
            Kind {
                name: "Containers",
                total: self.instances.len(),
                active,
                size: self.instances.iter().map(|(_, size)| size).sum(),
                reclaimable,
            }
            .row(),
        ]
    }

    /// The columns of [`DiskUsage::images`].
    pub const IMAGES: &[&str] = &[
        "Repository",
        "Tag",
        "ID",
        "CreatedSince",
        "Size",
        "Containers",
    ];

    /// A row for each image.
    #[must_use]
    pub fn images(&self, clock: &Clock) -> Vec<image::Row> {
        let uses = self.uses();
        let row = |image: &ImageInfo| image::Row {
            containers: uses.get(&image.id).unwrap_or(&0).to_string(),
            ..image::Row::of(&Named::first(image), clock, true)
        };
        self.images.iter().map(row).collect()
    }

    /// The columns of [`DiskUsage::containers`].
    pub const CONTAINERS: &[&str] = &[
        "ID",
        "Image",
        "LocalVolumes",
        "Size",
        "RunningFor",
        "Status",
        "Names",
    ];

    /// A row for each container.
    #[must_use]
    pub fn containers(&self, engine: &Engine, clock: &Clock) -> Vec<container::Row> {
        let shown = container::Shown {
            clock,
            cut: true,
            sized: false,
        };
        let row = |(instance, size): &(Instance, u64)| container::Row {
            size: human::short_size(*size),
            ..container::Row::of(engine, instance, &shown)
        };
        self.instances.iter().map(row).collect()
    }

    /// How many containers are made from each image that any is made from.
    fn uses(&self) -> BTreeMap<Digest, usize> {
        let mut uses = BTreeMap::new();
        for (instance, _) in &self.instances {
            *uses.entry(instance.record.image.id).or_insert(0) += 1;
        }
        uses
    }
}

/// What one kind of thing takes.
struct Kind {
    name: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

impl Kind {
    fn row(&self) -> Row {
        let share = match self.size {
            0 => 0,
            size => u128::from(self.reclaimable) * 100 / u128::from(size),
        };
        Row {
            active: self.active.to_string(),
            reclaimable: format!("{} ({share}%)", human::size(self.reclaimable)),
            size: human::size(self.size),
            total_count: self.total.to_string(),
            kind: self.name.to_owned(),
        }
    }
}
