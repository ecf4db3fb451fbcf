//! Scratch roots: layers with an own one on top, in which programs run that
//! are no instances (a step of a build, a helper). What they write becomes a
//! layer, or is dropped.
//!
//! There is no record and no supervisor. The caller's process holds the locks
//! that say that somebody is at work; when it dies, the next command ends what
//! runs and removes the rest, as it does for instances.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use cove_model::Digest;
use cove_model::instance::{InstanceId, InstanceSpec};
use cove_storage::{Lease, Lowers, Snapshot};
use cove_supervisor::state::take_over;
use cove_supervisor::workload::ContainerStdio;
use rustix::fs::FlockOperation;

use crate::Engine;
use crate::driver::process::{Launch, exit_status};
use crate::error::{Error, Result};
use crate::instances::random_id;
use crate::receipts::Receipts;
use crate::turn::take_turn;

/// A root of layers that programs can be run in, one after the other.
#[derive(Debug)]
pub struct Scratch<'a> {
    engine: &'a Engine,
    id: InstanceId,
    /// Where its own layer is.
    place: PathBuf,
    snapshot: Snapshot,
    lowers: Lowers,
    /// Nobody collects its layers, sweeps its place or clears away what runs.
    lease: Lease,
    _swept_by_nobody: OwnedFd,
    _ended_by_nobody: OwnedFd,
}

impl Engine {
    /// Makes a scratch root of layers that are here, base first. It is gone
    /// when it is dropped.
    ///
    /// # Errors
    /// When a layer is not here, or a directory cannot be made.
    pub fn scratch(&self, layers: &[Digest]) -> Result<Scratch<'_>> {
        self.require_root()?;
        let lease = Lease::new(&self.store).map_err(Error::Storage)?;
        lease.protect(layers).map_err(Error::Storage)?;
        let lowers = self.store.lowers(layers).map_err(Error::Storage)?;
        let id = random_id()?;
        let (place, swept_by_nobody) = self.place_of(&id)?;
        let snapshot = self.store.prepare(&place, layers);
        let runtime = self.roots.runtime_dir(id.as_str());
        crate::make_private(&runtime)?;
        let locked = take_over(&runtime).and_then(|lock| lock.ok_or_else(taken));
        let ended_by_nobody = locked.map_err(|source| Error::File {
            action: "lock",
            path: runtime,
            source,
        })?;
        Ok(Scratch {
            engine: self,
            id,
            snapshot: snapshot.map_err(Error::Storage)?,
            place,
            lowers,
            lease,
            _swept_by_nobody: swept_by_nobody,
            _ended_by_nobody: ended_by_nobody,
        })
    }

    /// A new directory that is swept once its lock is let go.
    fn place_of(&self, id: &InstanceId) -> Result<(PathBuf, OwnedFd)> {
        let place = self.roots.root.join("tmp").join(format!("scratch-{id}"));
        loop {
            fs::create_dir(&place).map_err(|source| Error::File {
                action: "make",
                path: place.clone(),
                source,
            })?;
            // Who sweeps may have been there before the lock was ours.
            if let Some(lock) = take_turn(&place, FlockOperation::LockExclusive)?
                && place.exists()
            {
                return Ok((place, lock));
            }
        }
    }
}

impl Scratch<'_> {
    /// Runs a program in it, as `spec` says. The calling process must be
    /// single-threaded and sealed (`cove_sys::seal`).
    ///
    /// # Errors
    /// Why the program cannot run.
    pub fn run(&self, spec: &InstanceSpec, stdio: [OwnedFd; 3]) -> Result<ScratchRun<'_>> {
        let executable = cove_sys::seal::host_executable().map_err(|source| Error::Stream {
            action: "find the own executable",
            source,
        })?;
        let launch = Launch {
            roots: &self.engine.roots,
            id: self.id.as_str(),
            spec,
            directory: &self.place,
            lowers: &self.lowers,
            executable: &executable,
        };
        let [stdin, stdout, stderr] = stdio;
        let (launched, created) = launch.create(ContainerStdio::Pipes {
            stdin,
            stdout,
            stderr,
        })?;
        // From here on it is undone when this is dropped.
        let run = ScratchRun {
            scratch: self,
            pidfd: created.pidfd,
        };
        launched.start()?;
        Ok(run)
    }

    /// Makes a layer of what was written, but for what was mounted at
    /// `mounts`, and gives its uncompressed digest. It is kept for as long as
    /// this lives, or an image has it.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn commit(&self, mounts: &[&str]) -> Result<Digest> {
        let store = &self.engine.store;
        let staged = store
            .commit(&self.snapshot.upper, self.lowers.directories(), mounts)
            .map_err(Error::Storage)?;
        let layer = staged.info().diff_id;
        store
            .publish(&self.lease, vec![staged])
            .map_err(Error::Storage)?;
        Ok(layer)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let receipts = Receipts::of_scratch(&self.engine.roots, self.id.as_str(), &self.place);
        // What cannot be undone now is left to the next command.
        drop(receipts.undo());
    }
}

/// A program in a scratch root: a child of this process, which is ended when
/// this is dropped. As a descriptor it is readable once it has ended.
#[derive(Debug)]
pub struct ScratchRun<'a> {
    scratch: &'a Scratch<'a>,
    pidfd: OwnedFd,
}

impl ScratchRun<'_> {
    /// Waits for its end: 0–255, 128+n for signal n.
    ///
    /// # Errors
    /// When it is no child of this process any more.
    pub fn wait(self) -> Result<i32> {
        exit_status(self.pidfd.as_fd())
    }
}

impl AsFd for ScratchRun<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for ScratchRun<'_> {
    fn drop(&mut self) {
        let Scratch { engine, id, .. } = self.scratch;
        // What cannot be undone now is left to who drops the root.
        drop(Receipts::of_run(&engine.roots, id.as_str()).undo());
    }
}

fn taken() -> std::io::Error {
    std::io::ErrorKind::ResourceBusy.into()
}
