//! Removing instances.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cove_model::control::{Request, StopTimeout};
use cove_model::instance::Record;
use cove_model::status::State as Life;
use cove_state::State;
use cove_supervisor::state::take_over;
use rustix::fs::FlockOperation;

use super::Instances;
use super::lifecycle::is_down;
use super::recover::take_turn;
use super::status::Instance;
use crate::Roots;
use crate::error::{Error, ErrorKind, Result};
use crate::supervise::remove_tree;

/// How often a supervisor that appears is ended before that is an error.
const ATTEMPTS: usize = 4;

/// What a prune removed.
#[derive(Debug, Default)]
pub struct PrunedInstances {
    /// The ids of the removed instances.
    pub removed: Vec<String>,
    /// Bytes given back.
    pub reclaimed: u64,
    /// Why some could not be removed.
    pub failed: Vec<Error>,
}

impl Instances<'_> {
    /// Removes an instance; with `force` a running one is killed first.
    ///
    /// # Errors
    /// When it runs and `force` is not given, or something cannot be removed.
    pub fn remove(&self, record: &Record, force: bool) -> Result<()> {
        let status = self.status(record)?;
        let running = status.state.is_running() || status.state == Life::Restarting;
        if running && !force {
            return Err(not_now(record, status.state.as_str()));
        }
        if running {
            self.end_now(record)?;
        }
        // Nobody starts it while it is removed.
        let _lock = self.without_supervisor(record, force || status.state == Life::Created)?;
        match forget(&self.engine.roots, record).and_then(Remains::clear) {
            // With --rm its supervisor removes it, too.
            Err(Error::State(cove_state::Error::NotFound { .. })) if record.spec.auto_remove => {
                Ok(())
            }
            other => other,
        }
    }

    /// Kills an instance; when this returns it is down.
    fn end_now(&self, record: &Record) -> Result<()> {
        let request = Request::Stop {
            timeout: StopTimeout::Millis(0),
            signal: Some(cove_model::signal::KILL),
        };
        match self.ask(record, &request) {
            // It was about to end and to be removed anyway.
            Ok(()) | Err(Error::Unreachable { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The lock of an instance's supervisor, taken by us. One that is there
    /// although the instance is down has been told to start it, by a command
    /// that was killed since or in this moment: with `force` it is ended.
    fn without_supervisor(&self, record: &Record, force: bool) -> Result<Option<OwnedFd>> {
        let runtime = self.runtime_dir(record);
        for _ in 0..ATTEMPTS {
            match take_over(&runtime) {
                Ok(Some(lock)) => return Ok(Some(lock)),
                Ok(None) if force => self.end_now(record)?,
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => {
                    return Err(Error::File {
                        action: "lock",
                        path: runtime,
                        source,
                    });
                }
            }
        }
        Err(not_now(record, "starting"))
    }

    /// Removes every instance that is down and that `matches` accepts. One that another
    /// command removes or starts meanwhile is not for this one.
    ///
    /// # Errors
    /// When it cannot be told which there are.
    pub fn prune(&self, matches: impl Fn(&Record) -> bool) -> Result<PrunedInstances> {
        let mut pruned = PrunedInstances::default();
        for Instance { record, status } in self.list()? {
            if !is_down(status.state) || !matches(&record) {
                continue;
            }
            let bytes = self.written(&record);
            match self.remove(&record, false) {
                Ok(()) => {
                    pruned.removed.push(record.id.to_string());
                    pruned.reclaimed += bytes;
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                }
                Err(error) => pruned.failed.push(error),
            }
        }
        Ok(pruned)
    }
}

/// Removes an instance that is down, in one step: it exists no longer, and its
/// name is free. What still lies on the disk is for the caller to clear away.
pub(crate) fn forget(roots: &Roots, record: &Record) -> Result<Remains> {
    let state = State::open(&roots.root).map_err(Error::State)?;
    let trash = roots
        .root
        .join("tmp")
        .join(format!("removed-{}", record.id));
    state.remove(record, &trash).map_err(Error::State)?;
    let turn = take_turn(&trash, FlockOperation::LockExclusive)?;
    Ok(Remains {
        roots: roots.clone(),
        id: record.id.to_string(),
        trash,
        _turn: turn,
    })
}

/// What lies on the disk of an instance that exists no longer. Dropped without
/// being cleared, or by a crash, it is left to the next command.
#[derive(Debug)]
pub(crate) struct Remains {
    roots: Roots,
    id: String,
    trash: PathBuf,
    /// Not swept by others meanwhile.
    _turn: Option<OwnedFd>,
}

impl Remains {
    /// Removes the files. Every block that is freed may be a discard that is
    /// waited for, so this can take as long as a whole run.
    pub(crate) fn clear(self) -> Result<()> {
        remove_tree(&self.trash).map_err(|source| Error::File {
            action: "remove",
            path: self.trash,
            source,
        })?;
        forget_runtime(&self.roots, &self.id)
    }
}

/// Removes what an instance had that dies with a boot.
pub(super) fn forget_runtime(roots: &Roots, id: &str) -> Result<()> {
    forget_sandbox(roots, id)?;
    let path = roots.runtime_dir(id);
    remove_tree(&path).map_err(|source| Error::File {
        action: "remove",
        path,
        source,
    })
}

/// Removes what the sandbox has of an instance, its processes included.
pub(crate) fn forget_sandbox(roots: &Roots, id: &str) -> Result<()> {
    let container = cove_sandbox::Container::load(&roots.sandbox(), id);
    match container.and_then(|container| container.delete(true)) {
        // Somebody may have been faster.
        Ok(_) | Err(cove_sandbox::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(Error::Sandbox(error)),
    }
}

fn not_now(record: &Record, state: &str) -> Error {
    let procedure = match state {
        "paused" => "Unpause and then stop",
        _ => "Stop",
    };
    Error::Conflict(format!(
        "You cannot remove a {state} container {}. {procedure} the container before attempting \
         removal or force remove",
        record.id
    ))
}
