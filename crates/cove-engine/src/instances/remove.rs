//! Removing instances, and what crashed commands left of them.

use std::path::Path;

use cove_model::control::StopTimeout;
use cove_model::instance::Record;
use cove_model::status::State as Life;
use cove_state::State;

use crate::error::{Error, Result};
use crate::supervise::remove_tree;
use crate::{Engine, Roots};

/// What a prune removed.
#[derive(Debug, Default)]
pub struct PrunedInstances {
    /// The ids of the removed instances.
    pub removed: Vec<String>,
    /// Bytes given back.
    pub reclaimed: u64,
}

impl Engine {
    /// Removes an instance; with `force` a running one is killed first.
    ///
    /// # Errors
    /// When it runs and `force` is not given, or something cannot be removed.
    pub fn remove(&self, record: &Record, force: bool) -> Result<()> {
        let status = self.status(record)?;
        let running = status.state.is_running() || status.state == Life::Restarting;
        if running && !force {
            let what = match status.state {
                Life::Paused => "paused and must be unpaused first",
                Life::Restarting => {
                    "restarting: stop the container before removing or force remove"
                }
                Life::Running | Life::Created | Life::Exited | Life::Dead => {
                    "running: stop the container before removing or force remove"
                }
            };
            return Err(Error::Conflict(format!(
                "cannot remove container \"{}\": container is {what}",
                record.name
            )));
        }
        if running {
            if status.state == Life::Paused {
                self.unpause(record)?;
            }
            match self.stop(record, StopTimeout::Millis(0), Some("KILL")) {
                // It was about to end and to be removed anyway.
                Ok(()) | Err(Error::Unreachable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match forget(&self.roots, record) {
            // With --rm its supervisor removes it, too.
            Err(Error::State(cove_state::Error::NotFound { .. })) if record.spec.auto_remove => {
                Ok(())
            }
            other => other,
        }
    }

    /// Removes every instance that is down and that `matches` accepts.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn prune_instances(&self, matches: impl Fn(&Record) -> bool) -> Result<PrunedInstances> {
        let mut pruned = PrunedInstances::default();
        for instance in self.instances()? {
            let down = matches!(
                instance.status.state,
                Life::Created | Life::Exited | Life::Dead
            );
            if down && matches(&instance.record) {
                let directory = self.directory(&instance.record);
                let bytes = size_of_tree(&directory.join("upper"));
                self.remove(&instance.record, false)?;
                pruned.removed.push(instance.record.id.to_string());
                pruned.reclaimed += bytes;
            }
        }
        Ok(pruned)
    }

    /// Removes what killed commands left half-way: creations without a
    /// record, staging and runtime directories without an instance.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn recover(&self) -> Result<()> {
        self.state.sweep().map_err(Error::State)?;
        self.store.sweep().map_err(Error::Storage)?;
        let containers = self.roots.runroot.join("containers");
        let known = self.state.ids().map_err(Error::State)?;
        let entries = match std::fs::read_dir(&containers) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(Error::File {
                    action: "read",
                    path: containers,
                    source,
                });
            }
        };
        for entry in entries {
            let path = entry
                .map_err(|source| Error::File {
                    action: "read",
                    path: containers.clone(),
                    source,
                })?
                .path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if known.iter().any(|id| id.as_str() == name) {
                continue;
            }
            let alive = cove_supervisor::state::observe(&path)
                .is_ok_and(|seen| seen.is_some_and(|seen| seen.supervised));
            if !alive {
                forget_runtime(&self.roots, &name)?;
            }
        }
        Ok(())
    }
}

/// Removes an instance that is down. The first step decides; what a crash
/// leaves after it is swept.
pub(crate) fn forget(roots: &Roots, record: &Record) -> Result<()> {
    let state = State::open(&roots.root).map_err(Error::State)?;
    let trash = roots
        .root
        .join("tmp")
        .join(format!("removed-{}", record.id));
    state.remove(record, &trash).map_err(Error::State)?;
    remove_tree(&trash).map_err(|source| Error::File {
        action: "remove",
        path: trash,
        source,
    })?;
    forget_runtime(roots, record.id.as_str())
}

/// Removes what an instance had that dies with a boot.
fn forget_runtime(roots: &Roots, id: &str) -> Result<()> {
    match cove_sandbox::Container::load(&roots.sandbox(), id) {
        Ok(container) => {
            container.delete(true).map_err(Error::Sandbox)?;
        }
        Err(cove_sandbox::Error::NotFound(_)) => {}
        Err(error) => return Err(Error::Sandbox(error)),
    }
    let path = roots.runtime_dir(id);
    remove_tree(&path).map_err(|source| Error::File {
        action: "remove",
        path,
        source,
    })
}

/// Bytes that the files below a directory occupy.
pub(crate) fn size_of_tree(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of_tree(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
