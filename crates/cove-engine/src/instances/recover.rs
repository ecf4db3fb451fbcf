//! What killed commands and supervisors, and the end of a boot, left half-way.
//!
//! Every command begins with [`Engine::recover`]. Whether somebody is still at
//! work on something is told by a lock: staging places, leases and creations
//! are locked by their command, a runtime directory by its supervisor, the
//! start of an instance by the turn of the command that starts it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use cove_model::instance::Record;
use cove_supervisor::state::take_over;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::Instances;
use super::remove::{Remains, forget, forget_runtime, forget_sandbox};
use crate::Engine;
use crate::error::{Error, Result};

/// Where overlayfs says, in an instance's directory, that it was mounted and
/// that nothing was synced.
pub(crate) const VOLATILE_MARK: &str = "work/work/incompat/volatile";

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
            Ok(Some(_lock)) => forget_runtime(&self.engine.roots, id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                forget_runtime(&self.engine.roots, id)
            }
            Err(source) => Err(Error::File {
                action: "lock",
                path: runtime,
                source,
            }),
        }
    }

    /// The ids of which there is anything that dies with a boot. All others are
    /// down for certain.
    pub(super) fn awake(&self) -> Result<BTreeSet<String>> {
        let mut ids = names(&self.engine.roots.runroot.join("containers"))?;
        ids.extend(names(&self.engine.roots.sandbox())?);
        Ok(ids)
    }

    /// Removes an instance of `--rm` that ran when the boot or the power
    /// ended. Its changes were never synced: overlayfs left a mark that says
    /// so, and would not mount them again.
    fn end_transient(&self, id: &cove_model::instance::InstanceId) -> Result<()> {
        let mark = self.engine.state.directory(id).join(VOLATILE_MARK);
        if !mark.exists() || self.engine.roots.runtime_dir(id.as_str()).exists() {
            return Ok(());
        }
        match self.engine.state.get(id) {
            Ok(record) if record.spec.auto_remove => {
                match forget(&self.engine.roots, &record).and_then(Remains::clear) {
                    // Another command was faster.
                    Err(Error::State(cove_state::Error::NotFound { .. })) => Ok(()),
                    other => other,
                }
            }
            Ok(_) | Err(cove_state::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::State(error)),
        }
    }

    /// Removes what the sandbox has of an instance that is down, because its
    /// supervisor was killed while it made or removed it. What cannot be
    /// removed is no reason not to say how the instance is; a start says why.
    pub(super) fn clear_sandbox(&self, record: &Record) {
        if self
            .engine
            .roots
            .sandbox()
            .join(record.id.as_str())
            .exists()
        {
            drop(self.try_clear_sandbox(record.id.as_str()));
        }
    }

    /// Leaves an instance alone that somebody starts now.
    fn try_clear_sandbox(&self, id: &str) -> Result<()> {
        let runtime = self.engine.roots.runtime_dir(id);
        let turn = take_turn(&runtime, FlockOperation::NonBlockingLockExclusive)?;
        let lock = take_over(&runtime).map_err(|source| Error::File {
            action: "lock",
            path: runtime,
            source,
        })?;
        if turn.is_none() || lock.is_none() {
            return Ok(());
        }
        forget_sandbox(&self.engine.roots, id)
    }
}

/// Takes the turn of this command at a runtime directory; it is over when the
/// descriptor is closed. `None`: the directory is gone, and the instance with
/// it, or (without waiting) another command has its turn.
pub(super) fn take_turn(runtime: &Path, operation: FlockOperation) -> Result<Option<OwnedFd>> {
    let fail = |action| {
        move |errno: Errno| Error::File {
            action,
            path: runtime.to_owned(),
            source: errno.into(),
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(runtime, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.map_err(fail("open"))?,
    };
    match rustix::io::retry_on_intr(|| flock(&directory, operation)) {
        Ok(()) => Ok(Some(directory)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(fail("lock")(errno)),
    }
}

/// The right to change an instance's record together with what runs by it: an update, and its
/// supervisor while it creates what it has read. Nobody who has it asks a supervisor anything,
/// since that may be waiting for it.
#[derive(Debug)]
pub(crate) struct RecordLock(Option<OwnedFd>);

impl RecordLock {
    /// Waits for the lock of the instance's directory. One that is gone is nobody's any more.
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        take_turn(directory, FlockOperation::LockExclusive).map(Self)
    }
}

impl Drop for RecordLock {
    fn drop(&mut self) {
        if let Some(directory) = &self.0 {
            // Closing is not enough: a process that was born meanwhile has the descriptor, too.
            // To unlock what is open cannot fail.
            flock(directory, FlockOperation::Unlock).unwrap_or(());
        }
    }
}

/// The names in a directory, which need not be there.
fn names(path: &Path) -> Result<BTreeSet<String>> {
    let fail = |source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        other => other.map_err(fail)?,
    };
    entries
        .map(|entry| {
            Ok(entry
                .map_err(fail)?
                .file_name()
                .to_string_lossy()
                .into_owned())
        })
        .collect()
}
