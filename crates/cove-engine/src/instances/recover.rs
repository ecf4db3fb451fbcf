//! What killed commands and supervisors, and the end of a boot, left half-way.
//!
//! Every command begins with [`Engine::recover`]. Whether somebody is still at
//! work on something is told by a lock: staging places, leases and creations
//! are locked by their command, a runtime directory by its supervisor, the
//! start of an instance by the turn of the command that starts it.

use std::io;

use cove_model::instance::InstanceId;
use cove_storage::Snapshot;
use cove_supervisor::state::take_over;

use super::Instances;
use crate::Engine;
use crate::error::{Error, Result};
use crate::receipts::{Receipts, forget};

impl Engine {
    /// Removes creations without a record, staging places and leases without
    /// an owner, runtime directories without an instance, and instances that
    /// were to be removed at an end which a boot or a power cut was.
    ///
    /// # Errors
    /// The first, when something cannot be removed; the rest is all the same.
    pub fn recover(&self) -> Result<()> {
        let creations = self.state.sweep().map_err(Error::State);
        let staged = self.store.sweep().map_err(Error::Storage);
        let instances = self.instances().recover();
        creations.and(staged).and(instances)
    }
}

impl Instances<'_> {
    fn recover(&self) -> Result<()> {
        // First what runs, then what exists: an instance exists before it runs.
        let mut running = self.awake()?;
        let known = self.engine.state.ids().map_err(Error::State)?;
        let mut first = Ok(());
        for id in &known {
            if !running.remove(id.as_str()) {
                first = first.and(self.end_transient(id));
            }
        }
        for id in &running {
            first = first.and(self.end_runtime(id));
        }
        first
    }

    /// Removes what runs of an instance that does not exist.
    fn end_runtime(&self, id: &str) -> Result<()> {
        let runtime = self.engine.roots.runtime_dir(id);
        match take_over(&runtime) {
            // A supervisor that lives removes its own things.
            Ok(None) => Ok(()),
            Ok(Some(_lock)) => Receipts::of_boot(&self.engine.roots, id).undo(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Receipts::of_boot(&self.engine.roots, id).undo()
            }
            Err(source) => Err(Error::File {
                action: "lock",
                path: runtime,
                source,
            }),
        }
    }

    /// Removes an instance of `--rm` that ran when the boot or the power
    /// ended. Its changes were never synced: overlayfs left a mark that says
    /// so, and would not mount them again.
    fn end_transient(&self, id: &InstanceId) -> Result<()> {
        let snapshot = Snapshot::in_directory(&self.engine.state.directory(id));
        if !snapshot.is_volatile() || self.engine.roots.runtime_dir(id.as_str()).exists() {
            return Ok(());
        }
        match self.engine.state.get(id) {
            Ok(record) if record.spec.auto_remove => {
                match forget(&self.engine.roots, id).and_then(Receipts::undo) {
                    // Another command was faster.
                    Err(Error::State(cove_state::Error::NotFound { .. })) => Ok(()),
                    other => other,
                }
            }
            Ok(_) | Err(cove_state::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::State(error)),
        }
    }
}
