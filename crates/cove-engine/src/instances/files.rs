//! The files of an instance: what it changed, as a list, an image, an archive.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cove_model::event::{ImageChange, InstanceChange};
use cove_model::image::History;
use cove_model::instance::Record;
use cove_model::{Digest, Reference};
pub use cove_storage::{Change, ChangeKind};
use cove_storage::{Lease, Lowers, Snapshot};

use super::Instances;
use crate::driver;
use crate::error::{Error, Result};
use crate::images::changes;

/// How an image is made of an instance.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// The new image's name; without it the image is dangling.
    pub name: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
    /// Instructions of a Dockerfile that alter the configuration.
    pub changes: Vec<String>,
    /// Whether a running instance is frozen meanwhile.
    pub pause: bool,
}

/// Bytes of the files below a directory.
#[must_use]
pub fn size_of_tree(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of_tree(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) | Err(_) => 0,
    });
    sizes.sum()
}

/// The directories that an instance's root is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootParts {
    /// Those of the image's layers, base last.
    pub lower: Vec<PathBuf>,
    /// What the instance changes.
    pub upper: PathBuf,
    /// Overlayfs's own working space.
    pub work: PathBuf,
}

impl Instances<'_> {
    /// The directories that an instance's root is made of.
    #[must_use]
    pub fn root_parts(&self, record: &Record) -> RootParts {
        let snapshot = Snapshot::in_directory(&self.directory(record));
        let layers = record.image.layers.iter().rev();
        RootParts {
            lower: layers
                .map(|layer| self.engine.store.layer_files(layer))
                .collect(),
            upper: snapshot.upper,
            work: snapshot.work,
        }
    }

    /// Bytes of the files that an instance wrote.
    #[must_use]
    pub fn written(&self, record: &Record) -> u64 {
        size_of_tree(&self.root_parts(record).upper)
    }

    /// What an instance changed in its image.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn diff(&self, record: &Record) -> Result<Vec<Change>> {
        let (upper, lowers) = self.layers_of(record)?;
        self.engine
            .store
            .changes(&upper, lowers.directories(), &mount_points(record))
            .map_err(Error::Storage)
    }

    /// Makes an image of an instance's image and changes. Once this returns
    /// it survives a power cut.
    ///
    /// # Errors
    /// When the instance is running and cannot be frozen, a change is none,
    /// or something cannot be read or written.
    pub fn commit(&self, record: &Record, request: &CommitRequest) -> Result<Digest> {
        let name = request
            .name
            .as_deref()
            .map(Reference::parse_tag)
            .transpose()
            .map_err(Error::Reference)?;
        let mut run = record.spec.run.clone();
        changes::apply_to_container(&mut run, &request.changes)?;
        let running = self.status(record)?.state.is_running();
        // The supervisor thaws it when this ends, or when we are killed.
        let _frozen = (request.pause && running)
            .then(|| self.hold(record))
            .transpose()?;
        let mut config = self.engine.images().config_of(&record.image.id)?;
        // The container's configuration, as Docker commits it.
        config.config = run;
        let now = jiff::Timestamp::now().to_string();
        config.created = Some(now.clone());
        config.author.clone_from(&request.author);
        config.history.push(History {
            created: Some(now),
            created_by: Some(record.spec.argv.join(" ")),
            author: request.author.clone(),
            comment: request.message.clone(),
            empty_layer: false,
        });
        let lease = Lease::new(&self.engine.store).map_err(Error::Storage)?;
        lease
            .protect(&record.image.layers)
            .map_err(Error::Storage)?;
        let (upper, lowers) = self.layers_of(record)?;
        let staged = self
            .engine
            .store
            .commit(&upper, lowers.directories(), &mount_points(record))
            .map_err(Error::Storage)?;
        let mut layers = record.image.layers.clone();
        layers.push(staged.info().diff_id);
        self.engine
            .store
            .publish(&lease, vec![staged])
            .map_err(Error::Storage)?;
        let image = self
            .engine
            .store
            .create_image(
                &lease,
                config,
                &layers,
                name.as_slice(),
                Some(record.image.id),
            )
            .map_err(Error::Storage)?;
        let reference = name.map(|name| name.familiar());
        if reference.is_some() {
            let images = self.engine.images();
            images.note(&image.id, reference.clone(), ImageChange::Tag);
        }
        let committed = InstanceChange::Commit {
            comment: request.message.clone().unwrap_or_default(),
            image: image.id.to_string(),
            reference,
        };
        self.note(record, committed);
        Ok(image.id)
    }

    /// Writes the whole root of an instance as an archive, without what is
    /// mounted in it.
    ///
    /// # Errors
    /// When a file cannot be read or the stream takes no more.
    pub fn export(&self, record: &Record, out: impl Write) -> Result<()> {
        let root = self.root_of(record)?;
        let name = PathBuf::from(format!("the root of container {}", record.name));
        cove_storage::export(&root, &name, out).map_err(Error::Storage)?;
        self.note(record, InstanceChange::Export);
        Ok(())
    }

    /// Where an instance's own changes are, and the layers below them.
    fn layers_of(&self, record: &Record) -> Result<(PathBuf, Lowers)> {
        let snapshot = Snapshot::in_directory(&self.directory(record));
        let lowers = self.engine.store.lowers(&record.image.layers);
        Ok((snapshot.upper, lowers.map_err(Error::Storage)?))
    }

    /// The root of an instance as a directory: that of its first process when
    /// it runs, else its layers mounted where no mount table shows them.
    pub(crate) fn root_of(&self, record: &Record) -> Result<OwnedFd> {
        let status = self.status(record)?;
        if let Some(init) = status.init.filter(|_| status.state.is_running()) {
            return driver::process::root(init.pid);
        }
        let lowers = self.engine.store.lowers(&record.image.layers);
        let snapshot = Snapshot::in_directory(&self.directory(record));
        lowers
            .and_then(|lowers| lowers.mount(&snapshot, false))
            .map_err(Error::Storage)
    }
}

/// Where something is mounted in an instance. What an image lacks of it is
/// made in the instance's own layer, unless the store's skeleton has it.
fn mount_points(record: &Record) -> Vec<&str> {
    let spec = &record.spec;
    let init = (spec.init == Some(true)).then_some(crate::spec::INIT_PATH);
    let users = spec.mounts.iter().map(|mount| mount.target.as_str());
    users.chain(init).collect()
}
